//! One caller: how the offer is answered, what is sent back, and when it ends.

use super::{
    Echo,
    callers::{Place, count},
    channel,
    negotiation::Negotiation,
    offer::Offer,
    refusal::Refusal,
    track,
};
use crate::numbers::millis;
use axum::http::StatusCode;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use visavis_core::{
    ConnectionState, DtlsState, PeerConfig, PeerConnection, PeerEvent, PeerEvents, SessionDescription,
    Transceiver,
};
use visavis_media::memory;

/// A peer that does not close within this time is let go.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Somebody who got an answer.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) id: u64,
    /// What only the caller knows, to offer anew.
    pub(super) token: String,
    /// When the first offer came.
    pub(super) began: Instant,
    pub(super) peer: PeerConnection,
    pub(super) counts: Arc<Counts>,
    /// Not there while an offer is being answered, and no more once one was given up over.
    negotiation: Mutex<Option<Negotiation>>,
}

impl Caller {
    fn negotiation(&self) -> MutexGuard<'_, Option<Negotiation>> {
        self.negotiation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller was sent back.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) frames_echoed: AtomicU64,
    /// Frames that came and were not sent back.
    pub(super) frames_dropped: AtomicU64,
    pub(super) messages_echoed: AtomicU64,
    pub(super) bytes_echoed: AtomicU64,
}

/// Answers the first offer of a caller, all candidates inside, and has a task live the rest of the call.
pub(super) async fn answer(
    echo: &Arc<Echo>,
    offer: Offer,
) -> Result<(SessionDescription, Arc<Caller>), Refusal> {
    if *echo.over.borrow() {
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server is ending",
        ));
    }
    let place = echo.callers.admit().ok_or_else(|| {
        let max = echo.callers.max();
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("there are {max} callers, and no more are taken; try again later"),
        )
    })?;
    // In a task, so that a panic in there is an error here; in a set, so that it ends if nobody waits any more.
    let mut making = JoinSet::new();
    making.spawn(make(Arc::clone(echo), offer, place));
    let made = timeout(echo.answer_timeout, making.join_next()).await;
    let (caller, called, answer) = match made {
        Ok(Some(Ok(made))) => made?,
        Ok(Some(Err(error))) => return Err(failed(&error)),
        Ok(None) | Err(_) => return Err(took_too_long(echo)),
    };
    echo.callers.arrived(&caller);
    tokio::spawn(live(Arc::clone(echo), Arc::clone(&caller), called));
    Ok((answer, caller))
}

/// Answers a later offer of a caller, one at a time. One that the stack panics or hangs over ends the call.
pub(super) async fn answer_again(
    echo: &Arc<Echo>,
    caller: Arc<Caller>,
    offer: Offer,
) -> Result<SessionDescription, Refusal> {
    let Some(negotiation) = caller.negotiation().take() else {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "another offer of this caller is being answered; send one after the other",
        ));
    };
    let (id, limit) = (caller.id, echo.answer_timeout);
    // Goes on without the request, for an offer that is answered by half would leave the session in between.
    let answering = tokio::spawn(async move {
        let (negotiation, answer) = timeout(limit, negotiation.answer(&offer)).await.ok()?;
        *caller.negotiation() = negotiation;
        Some(answer)
    });
    match answering.await {
        Ok(Some(Ok(answer))) => {
            count(&echo.callers.totals.renegotiated);
            echo.tell(id, "another offer was answered");
            Ok(answer)
        }
        Ok(Some(Err(error))) => Err(Refusal::of(&error)),
        Ok(None) => Err(took_too_long(echo)),
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &JoinError) -> Refusal {
    tracing::error!(%error, "an offer could not be answered");
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the answer failed by an error in this program",
    )
}

fn took_too_long(echo: &Echo) -> Refusal {
    Refusal::new(
        StatusCode::GATEWAY_TIMEOUT,
        format!("there was no answer within {:?}", echo.answer_timeout),
    )
}

/// What the task of a call needs beside the caller.
#[derive(Debug)]
struct Called {
    events: PeerEvents,
    tracks: mpsc::UnboundedReceiver<Transceiver>,
    place: Place,
}

type Made = (Arc<Caller>, Called, SessionDescription);

/// Makes the peer connection and its answer.
async fn make(echo: Arc<Echo>, offer: Offer, place: Place) -> Result<Made, Refusal> {
    let began = Instant::now();
    let id = place.id;
    let token = token()?;
    let config = PeerConfig {
        name: format!("caller {id}"),
        ..echo.peer.clone()
    };
    let made = async {
        let peer = PeerConnection::new(&*echo.backend, config, visavis_core::RealNet::shared()).await?;
        let events = peer.events();
        let (negotiation, tracks) = Negotiation::new(peer.clone(), echo.names.clone());
        let (negotiation, answer) = negotiation.answer(&offer).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // Names that are still looked up would keep it alive.
                peer.close().await;
                return Err(error);
            }
        };
        let caller = Caller {
            id,
            token,
            began,
            peer,
            counts: Arc::default(),
            negotiation: Mutex::new(negotiation),
        };
        let called = Called {
            events,
            tracks,
            place,
        };
        Ok::<_, visavis_core::Error>((Arc::new(caller), called, answer))
    };
    made.await.map_err(|error| Refusal::of(&error))
}

/// Nobody guesses it: 128 random bits.
fn token() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "this machine gives no random numbers",
        )
    })?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// The call from its answer to its end. Its place is free when this has ended, whatever happened.
async fn live(echo: Arc<Echo>, caller: Arc<Caller>, called: Called) {
    let Called {
        events,
        tracks,
        place,
    } = called;
    let call = tokio::spawn(call(Arc::clone(&echo), Arc::clone(&caller), events, tracks));
    let why = call.await.unwrap_or_else(|error| {
        tracing::error!(caller = caller.id, %error, "a call failed");
        "ended by an error in this program".to_owned()
    });
    // Its sockets are gone when it is not listed any more.
    if timeout(CLOSE_TIMEOUT, caller.peer.close()).await.is_err() {
        tracing::warn!(
            caller = caller.id,
            "the peer did not close within {CLOSE_TIMEOUT:?}"
        );
    }
    echo.callers.left(&caller);
    let Counts {
        frames_echoed,
        messages_echoed,
        ..
    } = &*caller.counts;
    let [frames, messages] = [frames_echoed, messages_echoed].map(|count| count.load(Ordering::Relaxed));
    echo.tell(
        caller.id,
        &format!(
            "{why} after {:.1} s, {frames} frames and {messages} messages echoed",
            caller.began.elapsed().as_secs_f64()
        ),
    );
    drop((caller, place));
    if echo.callers.is_empty() {
        // Off the async threads, for it takes milliseconds.
        tokio::task::spawn_blocking(memory::give_back);
    }
}

/// Sends everything back until the call is over; why it is.
async fn call(
    echo: Arc<Echo>,
    caller: Arc<Caller>,
    mut events: PeerEvents,
    mut tracks: mpsc::UnboundedReceiver<Transceiver>,
) -> String {
    // Dropped, and so ended, with this function.
    let mut echoes = JoinSet::new();
    let room = Arc::new(Semaphore::new(channel::READ_AHEAD));
    let mut over = echo.over.subscribe();
    let mut connected = false;
    // The peer connection has the same limit for ICE and DTLS each; this one is for both together.
    let limit = caller.began + echo.peer.connect_timeout;
    loop {
        let event = tokio::select! {
            _ = over.wait_for(|over| *over) => return "ended by us".to_owned(),
            () = sleep_until(limit), if !connected => return "given up: it never connected".to_owned(),
            Some(ended) = echoes.join_next() => {
                match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(channel::Stuck)) => return "given up: it does not read what comes back".to_owned(),
                    Err(error) => tracing::error!(caller = caller.id, %error, "an echo failed"),
                }
                continue;
            }
            track = tracks.recv() => {
                let Some(track) = track else {
                    return "given up: an offer of it could not be answered".to_owned();
                };
                let counts = Arc::clone(&caller.counts);
                // As long as the call, also while the caller does not send on it.
                echoes.spawn(async move {
                    track::echo(track.receiver(), track.sender(), &counts).await;
                    Ok(())
                });
                continue;
            }
            event = events.next() => event,
        };
        match event {
            None => return "closed".to_owned(),
            Some(PeerEvent::DtlsState(DtlsState::Closed)) => return "gone".to_owned(),
            Some(PeerEvent::ConnectionState(ConnectionState::Connected)) if !connected => {
                connected = true;
                count(&echo.callers.totals.connected);
                let took = millis(caller.began.elapsed());
                echo.tell(caller.id, &format!("connected after {took:.0} ms"));
            }
            Some(PeerEvent::ConnectionState(ConnectionState::Failed)) => {
                let reason = caller.peer.failure().unwrap_or_default();
                return format!("given up: {reason}");
            }
            Some(PeerEvent::DataChannel(channel)) => {
                let (counts, room) = (Arc::clone(&caller.counts), Arc::clone(&room));
                echoes.spawn(async move { channel::echo(channel, room, &counts).await });
            }
            Some(_) => {}
        }
    }
}
