//! H.264 frames that can be told apart: constrained baseline, one slice each, and parameter sets before the first.

use crate::Error;

/// Frames differ, and repeat after this many, more than can be under way. The first of them is a keyframe.
pub const PERIOD: u64 = 64;

/// Ticks of the 90 kHz clock from one frame to the next, at 30 frames a second.
pub const STEP: u32 = 3_000;

/// The parameter sets of a keyframe, 640x480, and the start code of its slice.
const PARAMETERS: [u8; 34] = [
    0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02, 0x80, 0xf6, 0x84, 0x0a, 0x11, 0x24, 0x3c, 0x60, 0xca,
    0x80, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x65, 0x88,
];

/// The frames of one size, in the bytes that a library shares.
#[derive(Debug)]
pub struct Frames<P> {
    size: usize,
    frames: Vec<Frame<P>>,
}

#[derive(Debug)]
struct Frame<P> {
    payload: P,
    keyframe: bool,
    /// Where its slice begins.
    slice: usize,
}

impl<P: From<Vec<u8>> + AsRef<[u8]> + Clone> Frames<P> {
    /// The frames of `size` bytes. One smaller than its own headers is as long as these.
    pub fn new(size: usize) -> Self {
        let frames = (0..PERIOD as usize).map(|n| Frame::new(n, size)).collect();
        Self { size, frames }
    }

    /// The size that was asked for.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Frame `number`.
    pub fn payload(&self, number: u64) -> P {
        self.frame(number).payload.clone()
    }

    /// Checks that frame `number` arrived: its slice, byte for byte, and as much before it. Start codes have three or
    /// four bytes (H.264, Annex B).
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`].
    pub fn check(&self, number: u64, arrived: &[u8]) -> Result<(), Error> {
        let Frame {
            payload,
            keyframe,
            slice,
        } = self.frame(number);
        let sent = payload.as_ref();
        let codes = if *keyframe { 3 } else { 1 };
        let what = if arrived.len().abs_diff(sent.len()) > codes {
            "another length"
        } else if !arrived.ends_with(&sent[*slice..]) {
            "other bytes in its slice"
        } else {
            return Ok(());
        };
        let step = "frames";
        Err(Error::Damaged { step, number, what })
    }

    fn frame(&self, number: u64) -> &Frame<P> {
        &self.frames[(number % PERIOD) as usize]
    }
}

impl<P: From<Vec<u8>>> Frame<P> {
    /// Frame `n`: one slice, after its parameter sets if it is a keyframe.
    fn new(n: usize, size: usize) -> Self {
        let keyframe = n == 0;
        let mut bytes = if keyframe {
            PARAMETERS.to_vec()
        } else {
            vec![0, 0, 0, 1, 0x41, 0x9a]
        };
        let slice = bytes.len() - 2;
        // No byte is 0, so there is no start code inside.
        bytes.extend((bytes.len()..size).map(|i| 0x80 | ((i * 31 + n * 7) % 127) as u8));
        Self {
            payload: bytes.into(),
            keyframe,
            slice,
        }
    }
}

/// How far the timestamp of one frame is from that of the one before it must be, and is not.
pub(crate) fn check_step(number: u64, before: u32, now: u32) -> Result<(), Error> {
    if now.wrapping_sub(before) == STEP {
        return Ok(());
    }
    let (step, what) = ("frames", "another timestamp");
    Err(Error::Damaged { step, number, what })
}
