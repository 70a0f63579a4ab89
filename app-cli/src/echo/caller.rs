//! One caller: how the offer is answered, what is sent back, and when it ends.

use super::{
    Echo,
    callers::{Place, count},
    channel,
    offer::Offer,
    refusal::Refusal,
    track,
};
use crate::numbers::millis;
use axum::http::StatusCode;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use visavis_core::{
    ConnectionState, Direction, DtlsState, PeerConfig, PeerConnection, PeerEvent, PeerEvents,
    SessionDescription, Transceiver,
};

/// A peer that does not close within this time is let go.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Somebody who got an answer.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) id: u64,
    /// When the offer came.
    pub(super) began: Instant,
    pub(super) peer: PeerConnection,
    pub(super) counts: Arc<Counts>,
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

/// Answers an offer, all candidates inside, and has a task live the rest of the call.
pub(super) async fn answer(echo: &Arc<Echo>, offer: Offer) -> Result<SessionDescription, Refusal> {
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
    let (caller, events, transceivers, place, answer) = match made {
        Ok(Some(Ok(made))) => made?,
        Ok(Some(Err(error))) => {
            tracing::error!(%error, "an offer could not be answered");
            return Err(Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer failed by an error in this program",
            ));
        }
        Ok(None) | Err(_) => {
            return Err(Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                format!("there was no answer within {:?}", echo.answer_timeout),
            ));
        }
    };
    echo.callers.arrived(&caller);
    tokio::spawn(live(Arc::clone(echo), caller, events, transceivers, place));
    Ok(answer)
}

type Made = (
    Arc<Caller>,
    PeerEvents,
    Vec<Transceiver>,
    Place,
    SessionDescription,
);

/// Makes the peer connection and its answer.
async fn make(echo: Arc<Echo>, offer: Offer, place: Place) -> Result<Made, Refusal> {
    let began = Instant::now();
    let id = place.id;
    let config = PeerConfig {
        name: format!("caller {id}"),
        ..echo.peer.clone()
    };
    let made = async {
        let peer = PeerConnection::new(&*echo.backend, config, visavis_core::RealNet::shared()).await?;
        let events = peer.events();
        peer.set_remote_description(offer.description.clone()).await?;
        let transceivers = peer.transceivers().await?;
        for transceiver in &transceivers {
            let mid = transceiver.state().await?.mid;
            // All others only receive, which is what an offer makes them.
            if let Some(sent) = mid.and_then(|mid| offer.sent(&mid)) {
                transceiver.set_direction(Direction::SendRecv).await?;
                transceiver.set_codec_preferences(&[sent.codec]).await?;
            }
        }
        peer.set_local_description(None).await?;
        peer.gathered().await?;
        let answer = peer
            .local_description()
            .ok_or_else(|| visavis_core::Error::closed("answer"))?;
        Ok::<_, visavis_core::Error>((peer, events, transceivers, answer))
    };
    let (peer, events, transceivers, answer) = made.await.map_err(|error| Refusal::of(&error))?;
    let caller = Caller {
        id,
        began,
        peer,
        counts: Arc::default(),
    };
    Ok((Arc::new(caller), events, transceivers, place, answer))
}

/// The call from its answer to its end. Its place is free when this has ended, whatever happened.
async fn live(
    echo: Arc<Echo>,
    caller: Arc<Caller>,
    events: PeerEvents,
    transceivers: Vec<Transceiver>,
    place: Place,
) {
    let call = tokio::spawn(call(Arc::clone(&echo), Arc::clone(&caller), events, transceivers));
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
}

/// Sends everything back until the call is over; why it is.
async fn call(
    echo: Arc<Echo>,
    caller: Arc<Caller>,
    mut events: PeerEvents,
    transceivers: Vec<Transceiver>,
) -> String {
    // Dropped, and so ended, with this function.
    let mut echoes = JoinSet::new();
    for transceiver in transceivers {
        let counts = Arc::clone(&caller.counts);
        let (receiver, sender) = (transceiver.receiver(), transceiver.sender());
        echoes.spawn(async move {
            track::echo(receiver, sender, &counts).await;
            Ok(())
        });
    }
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
