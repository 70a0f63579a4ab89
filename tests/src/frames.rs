//! Frames without a codec: each says which it is, and its content is the same wherever it is made, so the receiver
//! makes it again and compares.

use crate::{
    bitstream::{content, difference, read},
    deadline,
};
use std::{ops::Range, time::Duration};
use tokio::time::Instant;
use visavis_core::{Codec, IncomingFrame, MediaTime, OutgoingFrame};

/// Sizes of pictures in bytes, from nearly nothing to much more than a queue of packets.
pub const PICTURES: &[usize] = &[
    2_000, 10, 1_150, 1_199, 1_200, 1_201, 2_400, 12_000, 60_000, 200_000, 100,
];

/// Sizes of packets of sound in bytes.
pub const SOUNDS: &[usize] = &[10, 60, 120, 400, 1_000];

/// What a track sends: frame by frame from a number.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The codec.
    pub codec: Codec,
    /// The frames' sizes in bytes, in turn.
    pub sizes: &'static [usize],
    /// Every how many frames a keyframe comes by itself.
    pub keyframes: u32,
    /// The timestamp of frame 0.
    pub first: u64,
    /// Ticks from one frame to the next.
    pub step: u64,
    /// When frame 0 is captured.
    pub epoch: Instant,
}

impl Plan {
    /// 30 pictures, or 50 packets of sound, a second.
    pub fn new(codec: Codec) -> Self {
        let (sizes, step) = match codec {
            Codec::Opus => (SOUNDS, 960),
            _ => (PICTURES, 3_000),
        };
        Self {
            codec,
            sizes,
            keyframes: 15,
            first: 1_000_000,
            step,
            epoch: Instant::now(),
        }
    }

    /// The same with these sizes.
    pub fn sizes(self, sizes: &'static [usize]) -> Self {
        Self { sizes, ..self }
    }

    /// The same with another timestamp of frame 0.
    pub fn starting_at(self, first: u64) -> Self {
        Self { first, ..self }
    }

    /// The same with keyframes only where they are asked for.
    pub fn keyframes_on_request(self) -> Self {
        Self {
            keyframes: u32::MAX,
            ..self
        }
    }

    /// From one frame to the next.
    pub fn interval(&self) -> Duration {
        self.time_of(self.step)
    }

    fn time_of(&self, ticks: u64) -> Duration {
        MediaTime {
            ticks,
            rate: self.codec.clock_rate(),
        }
        .since(0)
    }

    /// When frame `n` is captured, if it is sent at its pace.
    pub fn captured(&self, n: u32) -> Instant {
        self.epoch + self.time_of(u64::from(n) * self.step)
    }

    /// The timestamp of frame `n`.
    pub fn media_time(&self, n: u32) -> MediaTime {
        MediaTime {
            ticks: self.first + u64::from(n) * self.step,
            rate: self.codec.clock_rate(),
        }
    }

    /// Whether frame `n` is a keyframe that nobody needs to ask for. Sound is always one.
    pub fn is_keyframe(&self, n: u32) -> bool {
        self.codec == Codec::Opus || n.is_multiple_of(self.keyframes)
    }

    /// The size of frame `n`, if it is large enough for what it must hold.
    pub fn size(&self, n: u32) -> usize {
        self.sizes[n as usize % self.sizes.len()]
    }

    /// Frame `n`, captured now.
    pub fn frame(&self, n: u32, keyframe: bool) -> OutgoingFrame {
        OutgoingFrame {
            codec: self.codec,
            payload: content(self.codec, n, self.size(n), keyframe).into(),
            keyframe,
            media_time: self.media_time(n),
            captured: Instant::now(),
        }
    }

    /// Checks everything that a frame says of itself, and gives its number.
    ///
    /// # Panics
    ///
    /// When anything is not as it was sent.
    pub fn check(&self, frame: &IncomingFrame) -> u32 {
        let payload = frame.payload.as_ref();
        assert_eq!(frame.codec, self.codec);
        let Some((n, keyframe)) = read(self.codec, payload) else {
            let start = &payload[..payload.len().min(24)];
            panic!(
                "{} bytes of {} without a number (contiguous: {}): {start:02x?}",
                payload.len(),
                self.codec,
                frame.contiguous
            );
        };
        if let Some(difference) = difference(self.codec, payload, (n, keyframe), self.size(n)) {
            panic!(
                "{} frame {n} (keyframe: {keyframe}, contiguous: {}): {difference}",
                self.codec, frame.contiguous
            );
        }
        assert_eq!(
            frame.keyframe, keyframe,
            "{} frame {n}: the keyframe flag",
            self.codec
        );
        assert_eq!(frame.media_time.rate, self.codec.clock_rate());
        // On the wire there are 32 bits.
        let (arrived, sent) = (frame.media_time.ticks as u32, self.media_time(n).ticks as u32);
        assert_eq!(arrived, sent, "{} frame {n}: the timestamp", self.codec);
        n
    }
}

/// Reads a track's frames, and checks that they come in order, say so when something is missing, and keep their
/// distance in media time.
#[derive(Debug)]
pub struct Reader {
    plan: Plan,
    first: Option<(u32, u64)>,
    last: Option<u32>,
    /// The numbers that came.
    pub arrived: Vec<u32>,
    /// Of these, those that followed a gap.
    pub after_gaps: Vec<u32>,
}

impl Reader {
    /// Nothing was read yet.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            first: None,
            last: None,
            arrived: Vec::new(),
            after_gaps: Vec::new(),
        }
    }

    /// Takes the next frame and gives its number.
    ///
    /// # Panics
    ///
    /// When it is not as it was sent, comes out of order, or hides that something is missing before it.
    pub fn take(&mut self, frame: &IncomingFrame) -> u32 {
        let n = self.plan.check(frame);
        let codec = self.plan.codec;
        if let Some(last) = self.last {
            assert!(n > last, "{codec} frame {n} after {last}");
            assert!(
                !frame.contiguous || n == last + 1,
                "{codec} frame {n} follows {last} and says that nothing is missing"
            );
        }
        let (first, ticks) = *self.first.get_or_insert((n, frame.media_time.ticks));
        assert_eq!(
            frame.media_time.ticks - ticks,
            u64::from(n - first) * self.plan.step,
            "{codec}: the media time from frame {first} to {n}"
        );
        self.last = Some(n);
        self.arrived.push(n);
        if !frame.contiguous {
            self.after_gaps.push(n);
        }
        n
    }

    /// Reads until a number in `until` came.
    ///
    /// # Panics
    ///
    /// When nothing comes in time, or the track ends.
    pub async fn read_until(&mut self, receiver: &visavis_core::TrackReceiver, until: Range<u32>) {
        loop {
            let what = format!(
                "{} frame {until:?}, the last being {:?}",
                self.plan.codec, self.last
            );
            let frame = deadline(&what, receiver.recv()).await;
            let frame = frame.unwrap_or_else(|| panic!("the track ended before: {what}"));
            if until.contains(&self.take(&frame)) {
                return;
            }
        }
    }
}
