//! Decoded sound in a WAV file.

use super::record::{create, failed};
use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::{
    Error, ErrorKind, Result,
    media::{AudioFrame, AudioSink},
};

const HEADER: u32 = 44;
/// The longest gap of the media clock that is filled with silence; a longer one is another clock.
const LONGEST_GAP: Duration = Duration::from_secs(60);

/// Records sound into a WAV file of 16 bits a sample, with the rate and channels of the first frame.
///
/// Gaps of the media clock become silence, so that what follows keeps its time. The header is right after each second
/// of sound, so a program that dies leaves a file that can be read.
#[derive(Debug)]
pub struct WavSink<W: Write + Seek = BufWriter<File>> {
    file: W,
    /// Samples a second, and channels.
    format: Option<(u32, u8)>,
    /// Bytes of samples.
    length: u32,
    /// Of which the header knows.
    length_in_header: u32,
    end: Duration,
}

impl WavSink {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotAllowed` or `NotReadable` if it cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::new(BufWriter::new(create(path.as_ref())?)))
    }
}

impl<W: Write + Seek> WavSink<W> {
    /// Writes into `file` from its beginning.
    pub fn new(file: W) -> Self {
        Self {
            file,
            format: None,
            length: 0,
            length_in_header: 0,
            end: Duration::ZERO,
        }
    }

    /// The file, after [`finish`](AudioSink::finish).
    pub fn into_inner(self) -> W {
        self.file
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let length = u32::try_from(bytes.len())
            .ok()
            .and_then(|length| self.length.checked_add(length));
        let Some(length) = length.filter(|length| *length < u32::MAX - HEADER) else {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                "record",
                "a WAV file holds no more than 4 GiB",
            ));
        };
        self.file.write_all(bytes).map_err(failed)?;
        self.length = length;
        Ok(())
    }

    fn write_header(&mut self) -> io::Result<()> {
        let (rate, channels) = self.format.unwrap_or((48_000, 2));
        let block = u32::from(channels) * 2;
        let mut header = Vec::with_capacity(HEADER as usize);
        header.extend_from_slice(b"RIFF");
        header.extend_from_slice(&(HEADER - 8 + self.length).to_le_bytes());
        header.extend_from_slice(b"WAVEfmt ");
        header.extend_from_slice(&16_u32.to_le_bytes());
        header.extend_from_slice(&1_u16.to_le_bytes()); // PCM
        header.extend_from_slice(&u16::from(channels).to_le_bytes());
        header.extend_from_slice(&rate.to_le_bytes());
        header.extend_from_slice(&(rate * block).to_le_bytes());
        header.extend_from_slice(&(block as u16).to_le_bytes());
        header.extend_from_slice(&16_u16.to_le_bytes());
        header.extend_from_slice(b"data");
        header.extend_from_slice(&self.length.to_le_bytes());
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header)?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.flush()?;
        self.length_in_header = self.length;
        Ok(())
    }
}

impl<W: Write + Seek + Send> AudioSink for WavSink<W> {
    fn play(&mut self, frame: &AudioFrame, _at: Instant) -> Result<()> {
        let playable = (8_000..=192_000).contains(&frame.rate) && (1..=2).contains(&frame.channels);
        if !playable || self.format.is_some_and(|(rate, _)| rate != frame.rate) {
            let message = format!(
                "{} Hz and {} channels do not fit the recording",
                frame.rate, frame.channels
            );
            return Err(Error::invalid_input("record", message));
        }
        if self.format.is_none() {
            self.format = Some((frame.rate, frame.channels));
            self.end = frame.time;
            self.write_header().map_err(failed)?;
        }
        let channels = self.format.map_or(frame.channels, |(_, channels)| channels);
        let second = frame.rate * u32::from(channels) * 2;

        let gap = frame.time.saturating_sub(self.end);
        if gap > Duration::from_millis(1) && gap <= LONGEST_GAP {
            let samples = (gap.as_secs_f64() * f64::from(frame.rate)).round() as usize;
            self.append(&vec![0; samples * usize::from(channels) * 2])?;
        }
        let from = usize::from(frame.channels);
        let mut bytes = Vec::with_capacity(frame.samples.len() / from * usize::from(channels) * 2);
        for samples in frame.samples.chunks_exact(from) {
            match (from, channels) {
                (1, 2) => bytes.extend([pcm(samples[0]), pcm(samples[0])].into_iter().flatten()),
                (2, 1) => bytes.extend(pcm(f32::midpoint(samples[0], samples[1]))),
                _ => bytes.extend(samples.iter().copied().flat_map(pcm)),
            }
        }
        self.append(&bytes)?;
        self.end = frame.time + Duration::from_secs((frame.samples.len() / from) as u64) / frame.rate;
        if self.length - self.length_in_header >= second {
            self.write_header().map_err(failed)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.write_header().map_err(failed)
    }
}

/// A sample of 16 bits; what is beyond full scale is clipped.
fn pcm(sample: f32) -> [u8; 2] {
    ((sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn frame(time_ms: u64, channels: u8, value: f32) -> AudioFrame {
        AudioFrame {
            samples: vec![value; 960 * usize::from(channels)],
            rate: 48_000,
            channels,
            time: Duration::from_millis(time_ms),
        }
    }

    fn field(file: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn gaps_are_silent_and_the_header_fits() {
        let mut sink = WavSink::new(Cursor::new(Vec::new()));
        let now = Instant::now();
        sink.play(&frame(1_000, 1, 2.0), now).unwrap();
        sink.play(&frame(1_060, 2, -0.5), now).unwrap();
        let mut other_rate = frame(1_080, 1, 0.0);
        other_rate.rate = 44_100;
        assert!(sink.play(&other_rate, now).is_err());
        sink.finish().unwrap();
        let file = sink.into_inner().into_inner();
        assert_eq!(
            (&file[..4], &file[8..16], &file[36..40]),
            (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..])
        );
        assert_eq!((field(&file, 4), field(&file, 40)), (36 + 4 * 1_920, 4 * 1_920));
        assert_eq!((field(&file, 24), field(&file, 28)), (48_000, 96_000));
        assert_eq!(file.len(), 44 + 4 * 1_920);
        let sample =
            |index: usize| i16::from_le_bytes(file[44 + 2 * index..46 + 2 * index].try_into().unwrap());
        assert_eq!(
            [sample(0), sample(959), sample(960), sample(2_879), sample(2_880)],
            [32_767, 32_767, 0, 0, -16_384]
        );
    }

    #[test]
    fn the_header_is_right_without_an_end() {
        let mut sink = WavSink::new(Cursor::new(Vec::new()));
        for number in 0..120 {
            sink.play(&frame(20 * number, 2, 0.1), Instant::now()).unwrap();
        }
        let file = sink.into_inner().into_inner();
        assert!(field(&file, 40) >= 2 * 48_000 * 4 && field(&file, 40) as usize <= file.len() - 44);
    }
}
