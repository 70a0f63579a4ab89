//! What travels between two connected peers.

use super::{
    assemble::Assembler,
    call::{Peer, Track},
};
use crate::{
    Connected, Error, Variant,
    error::{At, bounded, watched},
    frames::{Frames, STEP, check_step},
    messages::Message,
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use rtc::{media::Sample, rtp_transceiver::PayloadType};
use std::{
    fmt,
    ops::Range,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval},
};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    media_stream::track_remote::{TrackRemote, TrackRemoteEvent},
};

/// So many packets of media may be under way. The driver gives them to the application through a queue of 256, and
/// drops what does not fit.
const TUNED_PACKETS: usize = 200;

/// With its defaults the library leaves a socket's buffer at 208 KiB, which is full with 92 packets.
const DEFAULT_PACKETS: usize = 64;

/// The payload of a packet that the library makes: 1,200 bytes less a header of RTP and one of fragments.
const PAYLOAD: usize = 1_186;

/// How often a reader that waits sends a word, and with that makes the other side answer. One pass of the driver takes
/// at most 256 messages out of SCTP, and what is left waits for the next datagram, which a quiet peer sends after
/// seconds.
const KICK: Duration = Duration::from_millis(1);

/// Two peers that are connected.
pub(super) struct Pair {
    offerer: Peer,
    answerer: Peer,
    outgoing: Option<Track>,
    incoming: Option<Arc<dyn TrackRemote>>,
    assembler: Assembler,
    channels: [Arc<dyn DataChannel>; 2],
    /// Those of the last size asked for.
    frames: Frames<Bytes>,
    /// Frames so far, and the timestamp of the last.
    sent: u64,
    timestamp: Option<u32>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("offerer", &self.offerer)
            .field("answerer", &self.answerer)
            .finish_non_exhaustive()
    }
}

impl Pair {
    pub(super) fn new(
        offerer: Peer,
        answerer: Peer,
        outgoing: Option<Track>,
        channels: [Arc<dyn DataChannel>; 2],
    ) -> Self {
        Self {
            offerer,
            answerer,
            outgoing,
            incoming: None,
            assembler: Assembler::default(),
            channels,
            frames: Frames::new(0),
            sent: 0,
            timestamp: None,
        }
    }
}

#[async_trait]
impl Connected for Pair {
    fn window(&self, size: usize, wanted: usize) -> usize {
        let packets = match self.offerer.variant() {
            Variant::Defaults => DEFAULT_PACKETS,
            Variant::Tuned => TUNED_PACKETS,
        };
        wanted.min(packets / size.div_ceil(PAYLOAD).max(1)).max(1)
    }

    async fn frames(&mut self, size: usize, window: usize, count: u64) -> Result<Duration, Error> {
        if self.frames.size() != size {
            self.frames = Frames::new(size);
        }
        let window = self.window(size, window);
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        let Self {
            answerer,
            outgoing,
            incoming,
            assembler,
            frames,
            timestamp,
            ..
        } = self;
        let outgoing = outgoing.as_ref().ok_or(Error::Ended("frames"))?;
        let (room, progress) = (Semaphore::new(window), AtomicU64::new(0));
        let payload_type = bounded("frames", outgoing.payload_type()).await?;
        let send = send_frames(outgoing, payload_type, frames, numbers.clone(), &room);
        let receive = async {
            let track = match incoming {
                Some(track) => track,
                None => incoming.insert(answerer.track().await?),
            };
            for number in numbers {
                let frame = loop {
                    if let Some(frame) = assembler.pop()? {
                        break frame;
                    }
                    match track.poll().await {
                        Some(TrackRemoteEvent::OnRtpPacket(packet)) => assembler.push(packet),
                        Some(_) => {}
                        None => return Err(Error::Ended("frames")),
                    }
                };
                frames.check(number, &frame.bytes)?;
                if let Some(before) = timestamp.replace(frame.timestamp) {
                    check_step(number, before, frame.timestamp)?;
                }
                progress.fetch_add(1, Relaxed);
                room.add_permits(1);
            }
            Ok(())
        };
        let began = Instant::now();
        watched("frames", &progress, count, async {
            tokio::try_join!(send, receive)
        })
        .await?;
        Ok(began.elapsed())
    }

    async fn messages(&mut self, size: usize, count: u64) -> Result<Duration, Error> {
        let step = "messages";
        let [from, to] = &self.channels;
        let progress = AtomicU64::new(0);
        let (mut sent, mut expected) = (Message::new(size), Message::new(size));
        let mut kick = interval(KICK);
        kick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let kicks = self.answerer.variant() == Variant::Tuned;
        let send = async {
            for number in 0..count {
                from.send(BytesMut::from(sent.numbered(number))).await.at(step)?;
            }
            Ok(())
        };
        let receive = async {
            for number in 0..count {
                let mut arrives = pin!(next(&**to, step));
                let message = loop {
                    tokio::select! {
                        biased;
                        message = &mut arrives => break message?,
                        _ = kick.tick(), if kicks => to.send_text("kick").await.at(step)?,
                    }
                };
                expected.check(step, number, &message)?;
                progress.fetch_add(1, Relaxed);
            }
            Ok(())
        };
        let began = Instant::now();
        let both = async { tokio::try_join!(send, receive) };
        // What comes back is of no interest, but 256 events that nobody takes stop a driver.
        let ignore = async { while next(&**from, step).await.is_ok() {} };
        watched(step, &progress, count, async {
            tokio::select! {
                both = both => both.map(drop),
                () = ignore => Err(Error::Ended(step)),
            }
        })
        .await?;
        Ok(began.elapsed())
    }

    async fn round_trips(&mut self, size: usize, count: u64) -> Result<Duration, Error> {
        let step = "round trips";
        let [near, far] = &self.channels;
        let progress = AtomicU64::new(0);
        let mut message = Message::new(size);
        let ask = async {
            for number in 0..count {
                near.send(BytesMut::from(message.numbered(number)))
                    .await
                    .at(step)?;
                let back = next(&**near, step).await?;
                message.check(step, number, &back)?;
                progress.fetch_add(1, Relaxed);
            }
            Ok(())
        };
        let echo = async {
            for _ in 0..count {
                let heard = next(&**far, step).await?;
                far.send(heard).await.at(step)?;
            }
            Ok(())
        };
        let began = Instant::now();
        watched(step, &progress, count, async { tokio::try_join!(ask, echo) }).await?;
        Ok(began.elapsed())
    }

    async fn close(self: Box<Self>) -> Result<(), Error> {
        bounded("close", async {
            self.offerer.close().await?;
            self.answerer.close().await
        })
        .await
    }
}

async fn send_frames(
    track: &Track,
    payload_type: PayloadType,
    frames: &Frames<Bytes>,
    numbers: Range<u64>,
    room: &Semaphore,
) -> Result<(), Error> {
    // A nanosecond more than it is, for the library rounds down to ticks.
    let duration = Duration::from_nanos(u64::from(STEP) * 1_000_000_000 / 90_000 + 1);
    for number in numbers {
        room.acquire().await.at("frames")?.forget();
        let sample = Sample {
            data: frames.payload(number),
            duration,
            ..Sample::new(Instant::now().into_std())
        };
        track
            .samples
            .write_sample(track.ssrc, payload_type, &sample, &[])
            .await
            .at("frames")?;
    }
    Ok(())
}

/// The next message. Kicks are the only text, and nobody waits for them.
async fn next(channel: &dyn DataChannel, step: &'static str) -> Result<BytesMut, Error> {
    loop {
        match channel.poll().await {
            Some(DataChannelEvent::OnMessage(message)) if !message.is_string => return Ok(message.data),
            Some(DataChannelEvent::OnClose) | None => return Err(Error::Ended(step)),
            Some(_) => {}
        }
    }
}
