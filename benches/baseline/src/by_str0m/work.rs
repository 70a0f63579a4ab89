//! What a peer's application does. With a sans-IO library it lives in the peer's loop, where events come without a
//! queue and frames are written without one.

use super::count_one;
use crate::{
    Error,
    error::At,
    frames::{Frames, STEP, check_step},
    messages::Message,
};
use std::{
    ops::Range,
    sync::{Arc, atomic::AtomicU64},
};
use str0m::{
    Event, Rtc,
    channel::ChannelId,
    format::Codec,
    media::{Frequency, MediaTime, Mid},
};
use tokio::{sync::Semaphore, time::Instant};

/// What a peer does beside keeping the connection up. `numbers` are those that are left.
pub(super) enum Work {
    Nothing,
    SendFrames {
        mid: Mid,
        frames: Arc<Frames<Arc<[u8]>>>,
        numbers: Range<u64>,
        room: Arc<Semaphore>,
        /// It has taken room for one already.
        has_room: bool,
    },
    ReceiveFrames {
        frames: Arc<Frames<Arc<[u8]>>>,
        numbers: Range<u64>,
        /// The timestamp of the frame before.
        before: Option<u32>,
        room: Arc<Semaphore>,
        progress: Arc<AtomicU64>,
    },
    SendMessages {
        message: Message,
        numbers: Range<u64>,
        /// So many before the peer is drained.
        at_once: u64,
    },
    ReceiveMessages {
        message: Message,
        numbers: Range<u64>,
        progress: Arc<AtomicU64>,
    },
    Ask {
        message: Message,
        numbers: Range<u64>,
        asked: bool,
        progress: Arc<AtomicU64>,
    },
    Echo {
        left: u64,
        heard: Option<Vec<u8>>,
    },
}

impl Work {
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::SendFrames { numbers, .. }
            | Self::ReceiveFrames { numbers, .. }
            | Self::SendMessages { numbers, .. }
            | Self::ReceiveMessages { numbers, .. }
            | Self::Ask { numbers, .. } => numbers.is_empty(),
            Self::Echo { left, .. } => *left == 0,
        }
    }

    /// What to wait for before there is another turn.
    pub(super) fn room(&self) -> Option<Arc<Semaphore>> {
        match self {
            Self::SendFrames { room, .. } => Some(Arc::clone(room)),
            _ => None,
        }
    }

    /// There is room for a frame.
    pub(super) fn take_room(&mut self) {
        if let Self::SendFrames { has_room, .. } = self {
            *has_room = true;
        }
    }

    pub(super) fn handle(&mut self, event: Event) -> Result<(), Error> {
        match (self, event) {
            (
                Self::ReceiveFrames {
                    frames,
                    numbers,
                    before,
                    room,
                    progress,
                },
                Event::MediaData(data),
            ) => {
                let number = numbers.next().ok_or(Error::Ended("frames"))?;
                if !data.contiguous {
                    let (step, what) = ("frames", "packets were lost before it");
                    return Err(Error::Damaged { step, number, what });
                }
                frames.check(number, &data.data)?;
                let timestamp = data.time.numer() as u32;
                if let Some(before) = before.replace(timestamp) {
                    check_step(number, before, timestamp)?;
                }
                count_one(progress);
                room.add_permits(1);
            }
            (
                Self::ReceiveMessages {
                    message,
                    numbers,
                    progress,
                },
                Event::ChannelData(data),
            ) => {
                let number = numbers.next().ok_or(Error::Ended("messages"))?;
                message.check("messages", number, &data.data)?;
                count_one(progress);
            }
            (
                Self::Ask {
                    message,
                    numbers,
                    asked,
                    progress,
                },
                Event::ChannelData(data),
            ) => {
                let number = numbers.next().ok_or(Error::Ended("round trips"))?;
                message.check("round trips", number, &data.data)?;
                count_one(progress);
                *asked = false;
            }
            (Self::Echo { heard, .. }, Event::ChannelData(data)) => *heard = Some(data.data),
            (Self::Nothing, _) => {}
            (_, Event::Closed) => return Err(Error::Ended("closed by the other side")),
            _ => {}
        }
        Ok(())
    }

    /// Writes frames or messages, if there is one and it is its turn. Returns whether it did.
    pub(super) fn turn(
        &mut self,
        rtc: &mut Rtc,
        channel: Option<ChannelId>,
        now: Instant,
    ) -> Result<bool, Error> {
        match self {
            Self::SendFrames {
                mid,
                frames,
                numbers,
                room,
                has_room,
            } => {
                if !std::mem::take(has_room) {
                    let Ok(permit) = room.try_acquire() else {
                        return Ok(false);
                    };
                    permit.forget();
                }
                let Some(number) = numbers.next() else {
                    return Ok(false);
                };
                write_frame(rtc, *mid, number, frames.payload(number), now)?;
                Ok(true)
            }
            Self::SendMessages {
                message,
                numbers,
                at_once,
            } => {
                let before = numbers.start;
                while numbers.start - before < *at_once
                    && !numbers.is_empty()
                    && write(rtc, channel, message.numbered(numbers.start))?
                {
                    numbers.start += 1;
                }
                Ok(numbers.start > before)
            }
            Self::Ask {
                message,
                numbers,
                asked,
                ..
            } if !*asked => {
                *asked = write(rtc, channel, message.numbered(numbers.start))?;
                Ok(*asked)
            }
            Self::Echo { left, heard } => {
                let Some(data) = heard.take() else {
                    return Ok(false);
                };
                let wrote = write(rtc, channel, &data)?;
                if wrote {
                    *left -= 1;
                } else {
                    *heard = Some(data);
                }
                Ok(wrote)
            }
            _ => Ok(false),
        }
    }
}

/// Writes a message, if there is room for it.
fn write(rtc: &mut Rtc, channel: Option<ChannelId>, message: &[u8]) -> Result<bool, Error> {
    let channel = channel.and_then(|id| rtc.channel(id));
    let mut channel = channel.ok_or(Error::Ended("write"))?;
    channel.write(true, message).at("write")
}

fn write_frame(rtc: &mut Rtc, mid: Mid, number: u64, payload: Arc<[u8]>, now: Instant) -> Result<(), Error> {
    let writer = rtc.writer(mid).ok_or(Error::Ended("frames"))?;
    let h264 = writer.payload_params().find(|params| {
        params.spec().codec == Codec::H264 && params.spec().format.packetization_mode == Some(1)
    });
    let pt = h264.ok_or("H.264 is not negotiated").at("frames")?.pt();
    let time = MediaTime::new(number * u64::from(STEP), Frequency::NINETY_KHZ);
    writer.write(pt, now.into_std(), time, payload).at("frames")
}
