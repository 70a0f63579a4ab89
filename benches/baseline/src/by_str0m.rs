//! str0m by hand: a task for each peer, which owns its `Rtc` and its socket and runs the loop of str0m's README.

mod dtls;
mod peer;
mod wire;
mod work;

use crate::{
    ByHand, Connected, Error, Variant,
    error::{At, bounded, watched},
    frames::Frames,
    messages::Message,
    net,
};
use async_trait::async_trait;
use peer::{Handle, Peer};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use str0m::{
    Rtc, RtcConfig,
    change::{SdpAnswer, SdpOffer},
    config::DtlsCert,
    media::{Direction, MediaKind, Mid},
};
use tokio::{sync::Semaphore, time::Instant};
use visavis_core::Net;
use work::Work;

/// str0m, in one of its variants.
pub(crate) struct Str0mByHand {
    variant: Variant,
    /// Made ahead of the next call.
    certificates: Mutex<Vec<DtlsCert>>,
}

impl fmt::Debug for Str0mByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Private keys are in it.
        f.debug_tuple("Str0mByHand").field(&self.variant).finish()
    }
}

impl Str0mByHand {
    pub(crate) fn new(variant: Variant) -> Self {
        // What the first peer of a process would wait for; an error here comes again, and is reported, in a call.
        let _ = dtls::warm_up();
        let by_hand = Self {
            variant,
            certificates: Mutex::default(),
        };
        by_hand.refill();
        by_hand
    }

    /// Each certificate is used once: a peer cannot be recognised by it.
    fn refill(&self) {
        if self.variant == Variant::Tuned {
            let certificates = std::iter::repeat_with(dtls::certificate).flatten();
            *self.lock() = certificates.take(2).collect();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<DtlsCert>> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer that is not negotiated yet.
    fn rtc(&self, media: bool, now: Instant) -> Rtc {
        let mut config = RtcConfig::new();
        if self.variant == Variant::Tuned {
            config = config
                // One DTLS configuration for all peers: each one that is built runs a self-test of 0.85 ms.
                .set_crypto_provider(dtls::provider())
                // Shorter descriptions are written and parsed faster.
                .clear_codecs()
                .enable_h264(media);
            // Made before the call: 45 µs less in the handshake.
            if let Some(certificate) = self.lock().pop() {
                config = config.set_dtls_cert(certificate);
            }
        }
        config.build(now.into_std())
    }

    async fn call(&self, nets: [Arc<dyn Net>; 2], media: bool) -> Result<(Pair, Duration), Error> {
        let addresses = [net::address(&*nets[0])?, net::address(&*nets[1])?];
        let began = Instant::now();
        let peer = |side: usize| {
            let rtc = self.rtc(media, began);
            Peer::new(rtc, &*nets[side], addresses[side], self.variant)
        };
        let (mut offerer, mut answerer) = (peer(0)?, peer(1)?);
        let mut change = offerer.rtc.sdp_api();
        let video = media.then(|| change.add_media(MediaKind::Video, Direction::SendOnly, None, None, None));
        change.add_channel("baseline".to_owned());
        let (offer, pending) = change.apply().ok_or("there is nothing to offer").at("offer")?;
        let offer = SdpOffer::from_sdp_string(&offer.to_sdp_string()).at("offer")?;
        let answer = answerer.rtc.sdp_api().accept_offer(offer).at("answer")?;
        let answer = SdpAnswer::from_sdp_string(&answer.to_sdp_string()).at("answer")?;
        offerer
            .rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .at("set the answer")?;
        let (mut offerer, mut answerer) = (offerer.start(), answerer.start());
        let opened = bounded("open the data channel", async {
            tokio::try_join!(offerer.opened(), answerer.opened())
        });
        let (a, b) = opened.await?;
        let pair = Pair {
            variant: self.variant,
            offerer,
            answerer,
            video,
            frames: Arc::new(Frames::new(0)),
            sent: 0,
        };
        self.refill();
        Ok((pair, a.max(b) - began))
    }
}

#[async_trait]
impl ByHand for Str0mByHand {
    fn name(&self) -> &'static str {
        "str0m"
    }

    fn variant(&self) -> Variant {
        self.variant
    }

    async fn handshake(&self, nets: [Arc<dyn Net>; 2]) -> Result<Duration, Error> {
        let (pair, took) = Box::pin(self.call(nets, false)).await?;
        Box::new(pair).close().await?;
        Ok(took)
    }

    async fn connect(&self, nets: [Arc<dyn Net>; 2]) -> Result<Box<dyn Connected>, Error> {
        let (pair, _) = Box::pin(self.call(nets, true)).await?;
        Ok(Box::new(pair))
    }
}

/// Two peers that are connected.
#[derive(Debug)]
struct Pair {
    variant: Variant,
    offerer: Handle,
    answerer: Handle,
    video: Option<Mid>,
    /// Those of the last size asked for.
    frames: Arc<Frames<Arc<[u8]>>>,
    /// Frames so far: their timestamps go on.
    sent: u64,
}

impl Pair {
    /// Gives both sides work, the answerer first. The time is from the offerer's
    /// first to the last of either.
    async fn both(
        &mut self,
        step: &'static str,
        count: u64,
        progress: &AtomicU64,
        [send, receive]: [Work; 2],
    ) -> Result<Duration, Error> {
        let Self {
            offerer, answerer, ..
        } = self;
        watched(step, progress, count, async {
            let receiving = answerer.give(step, receive).await?;
            let sending = offerer.give(step, send).await?;
            let (sent, received) =
                tokio::try_join!(offerer.done(step, sending), answerer.done(step, receiving))?;
            Ok(sent.last.max(received.last) - sent.first)
        })
        .await
    }
}

#[async_trait]
impl Connected for Pair {
    async fn frames(&mut self, size: usize, window: usize, count: u64) -> Result<Duration, Error> {
        let mid = self.video.ok_or(Error::Ended("frames"))?;
        if self.frames.size() != size {
            self.frames = Arc::new(Frames::new(size));
        }
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        let room = Arc::new(Semaphore::new(self.window(size, window)));
        let progress = Arc::new(AtomicU64::new(0));
        let send = Work::SendFrames {
            mid,
            frames: Arc::clone(&self.frames),
            numbers: numbers.clone(),
            room: Arc::clone(&room),
            has_room: false,
        };
        let receive = Work::ReceiveFrames {
            frames: Arc::clone(&self.frames),
            numbers,
            before: None,
            room,
            progress: Arc::clone(&progress),
        };
        self.both("frames", count, &progress, [send, receive]).await
    }

    async fn messages(&mut self, size: usize, count: u64) -> Result<Duration, Error> {
        let progress = Arc::new(AtomicU64::new(0));
        let message = Message::new(size);
        let send = Work::SendMessages {
            message: message.clone(),
            numbers: 0..count,
            at_once: match self.variant {
                // As the README asks: one mutation, and then all that follows from it.
                Variant::Defaults => 1,
                // As many as SCTP takes, so that small ones share packets.
                Variant::Tuned => u64::MAX,
            },
        };
        let receive = Work::ReceiveMessages {
            message,
            numbers: 0..count,
            progress: Arc::clone(&progress),
        };
        self.both("messages", count, &progress, [send, receive]).await
    }

    async fn round_trips(&mut self, size: usize, count: u64) -> Result<Duration, Error> {
        let progress = Arc::new(AtomicU64::new(0));
        let ask = Work::Ask {
            message: Message::new(size),
            numbers: 0..count,
            asked: false,
            progress: Arc::clone(&progress),
        };
        let echo = Work::Echo {
            left: count,
            heard: None,
        };
        self.both("round trips", count, &progress, [ask, echo]).await
    }

    async fn close(self: Box<Self>) -> Result<(), Error> {
        let Self {
            offerer, answerer, ..
        } = *self;
        bounded("close", async {
            // One after the other, as a call is hung up: the second hears of it.
            offerer.close().await?;
            answerer.close().await
        })
        .await
    }
}

/// Counts what has arrived.
fn count_one(progress: &AtomicU64) {
    progress.fetch_add(1, Relaxed);
}
