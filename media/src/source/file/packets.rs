//! From the coded frames of a container to pictures in display order.

use super::{Read, Trouble, h264, pictures::Pictures};
use crate::codec::{self, h264::H264FileDecoder};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};
use visavis_core::media::{Codec, VideoDecoder, VideoFrame};

/// A coded frame.
pub(super) struct Packet {
    /// As [`EncodedFrame::payload`](visavis_core::media::EncodedFrame::payload) has it.
    pub(super) data: Vec<u8>,
    /// When its picture is shown, in nanoseconds from the first one that is; negative if it is not.
    pub(super) time: i64,
}

/// The coded frames of a file in decoding order.
pub(super) trait Packets: Send {
    fn codec(&self) -> Codec;

    /// The nominal time from one picture to the next.
    fn interval(&self) -> Duration;

    fn next(&mut self) -> Read<Option<Packet>>;

    /// Back to the first one.
    fn rewind(&mut self) -> Read<()>;
}

/// Packets with their decoder.
pub(super) struct Decoded<P> {
    packets: P,
    decoder: Decoder,
    /// Packets that were read.
    number: u64,
    /// Decoded, in display order.
    ready: VecDeque<VideoFrame>,
    ended: bool,
}

enum Decoder {
    /// H.264, whose pictures come out in another order than they go in. What went in and did not come out yet has
    /// its times here: the next picture has the smallest.
    Reordering(H264FileDecoder, BinaryHeap<Reverse<i64>>),
    /// A picture comes out at once, or never.
    Direct(Box<dyn VideoDecoder>),
}

impl<P: Packets> Decoded<P> {
    pub(super) fn new(packets: P) -> Read<Self> {
        Ok(Self {
            decoder: Decoder::new(packets.codec())?,
            packets,
            number: 0,
            ready: VecDeque::new(),
            ended: false,
        })
    }

    fn advance(&mut self) -> Read<()> {
        let next = self.packets.next();
        let Some(packet) = next.map_err(|trouble| trouble.in_frame(self.number + 1))? else {
            self.ended = true;
            return self.decoder.finish(&mut self.ready);
        };
        self.number += 1;
        // An encoder that skipped a picture left it empty.
        if packet.data.is_empty() {
            return Ok(());
        }
        let decoded = self.decoder.decode(&packet, &mut self.ready);
        decoded.map_err(|trouble| trouble.in_frame(self.number))
    }
}

impl<P: Packets> Pictures for Decoded<P> {
    fn interval(&self) -> Duration {
        self.packets.interval()
    }

    fn next(&mut self) -> Read<Option<VideoFrame>> {
        while self.ready.is_empty() && !self.ended {
            self.advance()?;
        }
        Ok(self.ready.pop_front())
    }

    fn rewind(&mut self) -> Read<()> {
        self.packets.rewind()?;
        self.decoder = Decoder::new(self.packets.codec())?;
        self.number = 0;
        self.ready.clear();
        self.ended = false;
        Ok(())
    }
}

impl Decoder {
    fn new(codec: Codec) -> Read<Self> {
        Ok(match codec {
            Codec::H264 => Self::Reordering(H264FileDecoder::new()?, BinaryHeap::new()),
            codec => Self::Direct(codec::video_decoder(codec)?),
        })
    }

    fn decode(&mut self, packet: &Packet, ready: &mut VecDeque<VideoFrame>) -> Read<()> {
        match self {
            Self::Reordering(decoder, times) => {
                h264::check(&packet.data)?;
                times.push(Reverse(packet.time));
                if let Some(picture) = decoder.decode(&packet.data)? {
                    put(ready, picture, times.pop());
                }
            }
            Self::Direct(decoder) => {
                if let Some(picture) = decoder.decode(&packet.data, Duration::ZERO)? {
                    put(ready, picture, Some(Reverse(packet.time)));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, ready: &mut VecDeque<VideoFrame>) -> Read<()> {
        if let Self::Reordering(decoder, times) = self {
            for picture in decoder.flush()? {
                put(ready, picture, times.pop());
            }
            if !times.is_empty() {
                // Which ones cannot be told, so the times of the others may be wrong.
                return Err(Trouble::damaged(format!(
                    "{} frames gave no picture",
                    times.len()
                )));
            }
        }
        Ok(())
    }
}

/// With its time, unless it is not to be shown.
fn put(ready: &mut VecDeque<VideoFrame>, mut picture: VideoFrame, time: Option<Reverse<i64>>) {
    if let Some(time) = time.and_then(|Reverse(time)| u64::try_from(time).ok()) {
        picture.time = Duration::from_nanos(time);
        ready.push_back(picture);
    }
}
