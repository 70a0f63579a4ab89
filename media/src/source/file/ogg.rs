//! Ogg Opus (RFC 7845).

use super::{Read, Trouble, sound::Sound};
use crate::codec;
use ogg::{OggReadError, Packet, PacketReader};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Seek, SeekFrom},
    time::Duration,
};
use visavis_core::media::AudioDecoder;

/// A packet and the pages around it are at most this many bytes.
const LARGEST_PACKET: u64 = 1 << 20;
/// A file has at most this many streams.
const MOST_STREAMS: usize = 64;

pub(super) struct OggOpus {
    file: File,
    stream: Stream,
}

/// A file from its beginning on.
struct Stream {
    reader: PacketReader<Limited>,
    header: Header,
    decoder: Box<dyn AudioDecoder>,
    /// Samples of a channel that the decoder gave.
    decoded: u64,
    /// The granule position of the first of them.
    origin: u64,
    first_page: bool,
    ended: bool,
}

/// The identification header (§5.1).
#[derive(Debug, Clone, Copy)]
struct Header {
    serial: u32,
    channels: u8,
    /// Samples to drop at the beginning.
    pre_skip: u64,
    /// To multiply with.
    gain: f32,
}

impl OggOpus {
    pub(super) fn open(file: BufReader<File>) -> Read<Self> {
        let file = file.into_inner();
        Ok(Self {
            stream: Stream::open(&file)?,
            file,
        })
    }
}

impl Sound for OggOpus {
    fn rate(&self) -> u32 {
        48_000
    }

    fn channels(&self) -> u8 {
        self.stream.header.channels
    }

    fn read(&mut self, out: &mut Vec<f32>) -> Read<bool> {
        self.stream.read(out)
    }

    fn rewind(&mut self) -> Read<()> {
        self.stream = Stream::open(&self.file)?;
        Ok(())
    }
}

impl Stream {
    fn open(file: &File) -> Read<Self> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        let mut reader = PacketReader::new(Limited {
            file: BufReader::with_capacity(64 * 1024, file),
            left: LARGEST_PACKET,
        });
        let mut serials = HashSet::new();
        let header = loop {
            let Some(packet) = packet(&mut reader)? else {
                return Err(Trouble::unsupported("there is no Opus stream in this Ogg file"));
            };
            if !packet.first_in_stream() {
                // All streams begin before the first of them goes on (RFC 3533 §4).
                return Err(Trouble::unsupported("the sound in this Ogg file is not Opus"));
            }
            if !serials.insert(packet.stream_serial()) || serials.len() > MOST_STREAMS {
                return Err(Trouble::damaged("there are too many streams in this Ogg file"));
            }
            if packet.data.starts_with(b"OpusHead") {
                break Header::read(&packet)?;
            }
        };
        let mut stream = Self {
            reader,
            header,
            decoder: codec::audio_decoder()?,
            decoded: 0,
            origin: 0,
            first_page: true,
            ended: false,
        };
        match stream.packet()? {
            Some(tags) if tags.data.starts_with(b"OpusTags") => Ok(stream),
            _ => Err(Trouble::damaged(
                "the comment header of the Opus stream is missing",
            )),
        }
    }

    /// The next one of our stream.
    fn packet(&mut self) -> Read<Option<Packet>> {
        let mut others = 0;
        while let Some(packet) = packet(&mut self.reader)? {
            if packet.stream_serial() == self.header.serial {
                return Ok(Some(packet));
            }
            others += usize::from(packet.first_in_stream());
            if others > MOST_STREAMS {
                return Err(Trouble::damaged("there are too many streams in this Ogg file"));
            }
        }
        Ok(None)
    }

    fn read(&mut self, out: &mut Vec<f32>) -> Read<bool> {
        if self.ended {
            return Ok(false);
        }
        let Some(packet) = self.packet()? else {
            self.ended = true;
            return Ok(false);
        };
        self.ended = packet.last_in_stream();
        let begin = self.decoded;
        let time = Duration::from_nanos(begin * 1_000_000_000 / 48_000);
        let frame = self.decoder.decode(Some(&packet.data), time)?;
        let channels = usize::from(self.header.channels);
        let samples = match (usize::from(frame.channels), channels) {
            (from, to) if from == to => frame.samples,
            (1, _) => frame.samples.iter().flat_map(|sample| [*sample; 2]).collect(),
            _ => frame
                .samples
                .chunks_exact(2)
                .map(|pair| f32::midpoint(pair[0], pair[1]))
                .collect(),
        };
        self.decoded += (samples.len() / channels) as u64;
        let position = packet.absgp_page();
        // The last page's position cuts the end off (§4.4), and no other page's is before its samples.
        let end = self.decoded.min(position.saturating_sub(self.origin)).max(begin);
        if self.first_page && packet.last_in_page() {
            // A recording of a stream may begin anywhere (§4.3).
            self.first_page = false;
            self.origin = position.saturating_sub(self.decoded);
        }
        let from = self.header.pre_skip.clamp(begin, end) - begin;
        let kept = &samples[from as usize * channels..(end - begin) as usize * channels];
        out.extend(kept.iter().map(|sample| sample * self.header.gain));
        Ok(true)
    }
}

impl Header {
    fn read(packet: &Packet) -> Read<Self> {
        let data = &packet.data;
        let fixed: [u8; 11] = data
            .get(8..19)
            .and_then(|fixed| fixed.try_into().ok())
            .ok_or_else(|| Trouble::damaged("the Opus header is cut off"))?;
        let [
            version,
            channels,
            skip_low,
            skip_high,
            _,
            _,
            _,
            _,
            gain_low,
            gain_high,
            family,
        ] = fixed;
        if version >= 16 {
            return Err(Trouble::unsupported(format!("version {version} of Ogg Opus")));
        }
        if family > 1 || !(1..=2).contains(&channels) {
            return Err(Trouble::unsupported(format!(
                "Opus with {channels} channels, mapping family {family}; mono and stereo can be read"
            )));
        }
        // dB in 1/256 steps.
        let gain = f32::from(i16::from_le_bytes([gain_low, gain_high])) / 256.0;
        Ok(Self {
            serial: packet.stream_serial(),
            channels,
            pre_skip: u16::from_le_bytes([skip_low, skip_high]).into(),
            gain: 10_f32.powf(gain / 20.0),
        })
    }
}

fn packet(reader: &mut PacketReader<Limited>) -> Read<Option<Packet>> {
    reader.get_mut().left = LARGEST_PACKET;
    reader.read_packet().map_err(|error| match error {
        OggReadError::ReadError(error) => error.into(),
        OggReadError::HashMismatch(..) => Trouble::damaged("the checksum of an Ogg page is wrong"),
        error => Trouble::damaged(error.to_string()),
    })
}

/// A packet may go over any number of pages, and `ogg` collects them.
struct Limited {
    file: BufReader<File>,
    left: u64,
}

impl io::Read for Limited {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = (&mut self.file).take(self.left).read(buf)?;
        if count == 0 && self.left == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an Ogg packet is too long",
            ));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

impl Seek for Limited {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        match position {
            SeekFrom::Current(distance) => {
                self.file.seek_relative(distance)?;
                self.file.stream_position()
            }
            position => self.file.seek(position),
        }
    }
}
