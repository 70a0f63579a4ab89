//! IVF: the simplest container of video, read by `FFmpeg`, `GStreamer` and the tools of libvpx.

use super::{create, failed};
use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};
use visavis_core::{
    Error, Result,
    media::{Codec, EncodedFrame, MediaTime},
};

/// Where the header has the width and height, 16 bits each.
const SIZE_AT: u64 = 12;
/// Where the header has the number of frames.
const COUNT_AT: u64 = 24;

/// Records encoded pictures (VP8, VP9, or H.264 as Annex B) into IVF, with their times in 1/90,000 s.
///
/// Each picture is in the file when [`write`](Self::write) returns, so a program that dies leaves a file that can be
/// read; only the number of frames in its header, which readers do not need, stays 0 until [`finish`](Self::finish).
#[derive(Debug)]
pub struct IvfRecorder<W = File> {
    file: W,
    codec: Codec,
    size: Option<(u16, u16)>,
    frames: u32,
    skipped: u64,
}

impl IvfRecorder {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for Opus; `NotFound`, `NotAllowed` or `NotReadable` if the file cannot be created.
    pub fn create(path: impl AsRef<Path>, codec: Codec) -> Result<Self> {
        Self::new(create(path.as_ref())?, codec)
    }
}

impl<W: Write + Seek> IvfRecorder<W> {
    /// Writes into `file` from its beginning.
    ///
    /// # Errors
    ///
    /// As for [`create`](IvfRecorder::create).
    pub fn new(mut file: W, codec: Codec) -> Result<Self> {
        let fourcc = match codec {
            Codec::Vp8 => b"VP80",
            Codec::Vp9 => b"VP90",
            Codec::H264 => b"H264",
            Codec::Opus => return Err(Error::invalid_input("record", "IVF holds no sound; use Ogg")),
        };
        let mut header = [0; 32];
        header[..4].copy_from_slice(b"DKIF");
        header[6..8].copy_from_slice(&32_u16.to_le_bytes());
        header[8..12].copy_from_slice(fourcc);
        header[16..20].copy_from_slice(&codec.clock_rate().to_le_bytes());
        header[20..24].copy_from_slice(&1_u32.to_le_bytes());
        file.write_all(&header).map_err(failed)?;
        Ok(Self {
            file,
            codec,
            size: None,
            frames: 0,
            skipped: 0,
        })
    }

    /// Notes the width and height in pixels for the header; decoders take them from the pictures. By default they are
    /// what the first VP8 keyframe says, and otherwise 0.
    pub fn set_size(&mut self, width: u16, height: u16) {
        self.size = Some((width, height));
    }

    /// Appends a picture. Pictures before the first keyframe are left out: nothing could decode them.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the codec is another; `NotReadable` if the disk is full or fails.
    pub fn write(&mut self, frame: &EncodedFrame) -> Result<()> {
        if frame.codec != self.codec {
            let message = format!("a frame of {} in a recording of {}", frame.codec, self.codec);
            return Err(Error::invalid_input("record", message));
        }
        if self.frames == 0 && !frame.keyframe {
            self.skipped += 1;
            return Ok(());
        }
        let payload = frame.payload.as_ref();
        if self.codec == Codec::Vp8 && frame.keyframe {
            self.size = self.size.or_else(|| vp8_size(payload));
        }
        let length = u32::try_from(payload.len())
            .map_err(|_| Error::invalid_input("record", "a picture of more than 4 GiB"))?;
        let time = MediaTime::after(0, frame.time, self.codec.clock_rate()).ticks;
        let mut record = Vec::with_capacity(12 + payload.len());
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(&time.to_le_bytes());
        record.extend_from_slice(payload);
        // One write, so that a file is cut within a picture only by a full disk.
        self.file.write_all(&record).map_err(failed)?;
        if self.frames == 0 {
            self.patch_header().map_err(failed)?;
        }
        self.frames = self.frames.saturating_add(1);
        Ok(())
    }

    /// Pictures in the file.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Pictures left out because no keyframe had come yet.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Completes the header, and gives the file back.
    ///
    /// # Errors
    ///
    /// `NotReadable` if it cannot be written.
    pub fn finish(mut self) -> Result<W> {
        self.patch_header()
            .and_then(|()| self.file.flush())
            .map_err(failed)?;
        Ok(self.file)
    }

    fn patch_header(&mut self) -> io::Result<()> {
        let (width, height) = self.size.unwrap_or((0, 0));
        self.file.seek(SeekFrom::Start(SIZE_AT))?;
        self.file.write_all(&width.to_le_bytes())?;
        self.file.write_all(&height.to_le_bytes())?;
        self.file.seek(SeekFrom::Start(COUNT_AT))?;
        self.file.write_all(&self.frames.to_le_bytes())?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(())
    }
}

/// The size in a VP8 keyframe's header (RFC 6386 §9.1).
fn vp8_size(payload: &[u8]) -> Option<(u16, u16)> {
    let header = payload.get(..10)?;
    let field = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]) & 0x3fff;
    (header[0] & 1 == 0 && header[3..6] == [0x9d, 0x01, 0x2a]).then(|| (field(6), field(8)))
}
