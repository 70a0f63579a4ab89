//! IVF: the container of libvpx's tools. A 32-byte header, then each frame after a 12-byte one.

use super::{
    Read, Trouble, clock,
    packets::{Packet, Packets},
    pictures::LARGEST,
};
use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    time::Duration,
};
use visavis_core::media::Codec;

/// A frame is at most this many bytes.
const LARGEST_FRAME: u32 = 64 << 20;

pub(super) struct Ivf {
    file: BufReader<File>,
    codec: Codec,
    /// Bytes before the first frame.
    header: u64,
    /// Ticks a second, as a fraction.
    rate: (u32, u32),
    interval: Duration,
    /// The first frame's time, in ticks.
    first: Option<u64>,
}

impl Ivf {
    pub(super) fn open(mut file: BufReader<File>) -> Read<Self> {
        let mut header = [0; 32];
        file.read_exact(&mut header)?;
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let codec = match &header[8..12] {
            b"VP80" => Codec::Vp8,
            b"VP90" => Codec::Vp9,
            b"H264" | b"h264" | b"avc1" => Codec::H264,
            other => {
                let name = String::from_utf8_lossy(other);
                return Err(Trouble::unsupported(format!(
                    "codec {name} in IVF; VP8, VP9 and H.264 can be read"
                )));
            }
        };
        let size = (usize::from(u16_at(12)), usize::from(u16_at(14)));
        if size.0.max(size.1) > LARGEST {
            return Err(Trouble::damaged(format!(
                "{} x {} pixels is too large",
                size.0, size.1
            )));
        }
        let rate = (u32_at(16), u32_at(20));
        if rate.0 == 0 || rate.1 == 0 {
            return Err(Trouble::damaged("the header's time base is zero"));
        }
        let length = u64::from(u16_at(6));
        if length < 32 {
            return Err(Trouble::damaged(
                "the header says that it is shorter than a header",
            ));
        }
        let mut ivf = Self {
            file,
            codec,
            header: length,
            rate,
            interval: Duration::from_millis(40),
            first: None,
        };
        ivf.rewind()?;
        ivf.measure()?;
        Ok(ivf)
    }

    /// The interval from the first two frames: the time base may be finer than the frame rate.
    fn measure(&mut self) -> Read<()> {
        let mut times = Vec::new();
        for _ in 0..2 {
            let Some((size, ticks)) = self.frame_header()? else {
                break;
            };
            times.push(ticks);
            self.file.seek_relative(i64::from(size))?;
        }
        self.first = times.first().copied();
        let ticks = match times[..] {
            [first, second] => second.saturating_sub(first).max(1),
            _ => 1,
        };
        if let Some(interval) = clock::interval(ticks, self.rate.1.into(), self.rate.0.into()) {
            self.interval = interval;
        }
        self.rewind()
    }

    /// Length in bytes and time in ticks.
    fn frame_header(&mut self) -> Read<Option<(u32, u64)>> {
        let mut header = Vec::with_capacity(12);
        (&mut self.file).take(12).read_to_end(&mut header)?;
        let Ok(header) = <[u8; 12]>::try_from(header.as_slice()) else {
            if header.is_empty() {
                return Ok(None);
            }
            return Err(Trouble::damaged("the file is cut off"));
        };
        let [a, b, c, d, ticks @ ..] = header;
        let size = u32::from_le_bytes([a, b, c, d]);
        if size > LARGEST_FRAME {
            return Err(Trouble::damaged(format!("{size} bytes is too much for a frame")));
        }
        Ok(Some((size, u64::from_le_bytes(ticks))))
    }
}

impl Packets for Ivf {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn next(&mut self) -> Read<Option<Packet>> {
        let Some((size, ticks)) = self.frame_header()? else {
            return Ok(None);
        };
        let mut data = Vec::new();
        if (&mut self.file).take(size.into()).read_to_end(&mut data)? != size as usize {
            return Err(Trouble::damaged("the file is cut off"));
        }
        let since = i128::from(ticks) - i128::from(self.first.unwrap_or(ticks));
        Ok(Some(Packet {
            data,
            time: clock::nanoseconds(since, self.rate.1.into(), self.rate.0.into())?,
        }))
    }

    fn rewind(&mut self) -> Read<()> {
        self.file.seek(SeekFrom::Start(self.header))?;
        Ok(())
    }
}
