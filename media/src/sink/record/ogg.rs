//! Ogg Opus (RFC 7845).

use super::{create, failed};
use ::ogg::writing::{PacketWriteEndInfo, PacketWriter};
use std::{fs::File, io::Write, path::Path, time::Duration};
use visavis_core::{
    Error, Result,
    media::{Codec, EncodedFrame},
};

/// Samples at the beginning that are the encoder's delay: 6.5 ms, libopus's. The sender's own is not in RTP.
const PRE_SKIP: u16 = 312;
/// Any number: there is one stream in the file.
const SERIAL: u32 = 0x7669_7361;
/// Samples after which a page ends: a program that dies loses at most a second.
const PAGE: u64 = 48_000;
/// The longest loss that is filled: ten minutes.
const LONGEST_GAP: u64 = 600 * 48_000;

/// Records Opus packets into Ogg, with up to a second in memory.
///
/// A lost packet is replaced by one of the same length that asks the player's decoder to conceal it (RFC 7845 §4.1), so
/// that what follows keeps its time. A program that dies leaves a file that can be read, without its last second.
pub struct OggOpusRecorder<W: Write = File> {
    ogg: PacketWriter<'static, W>,
    channels: u8,
    /// The time of the first packet.
    began: Option<Duration>,
    /// The end of the packets written and held back, in samples.
    granule: u64,
    page_began: u64,
    /// The last packet and its end: the file's last one has to be marked.
    held_back: Option<(Vec<u8>, u64)>,
    packets: u64,
    concealed: u64,
}

impl OggOpusRecorder {
    /// Creates the file, or empties it, for sound of 1 or 2 channels.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for other channels; `NotFound`, `NotAllowed` or `NotReadable` if the file cannot be created.
    pub fn create(path: impl AsRef<Path>, channels: u8) -> Result<Self> {
        Self::new(create(path.as_ref())?, channels)
    }
}

impl<W: Write> OggOpusRecorder<W> {
    /// Writes into `file`.
    ///
    /// # Errors
    ///
    /// As for [`create`](OggOpusRecorder::create).
    pub fn new(file: W, channels: u8) -> Result<Self> {
        if !(1..=2).contains(&channels) {
            return Err(Error::invalid_input(
                "record",
                format!("{channels} channels, not 1 or 2"),
            ));
        }
        let mut ogg = PacketWriter::new(file);
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend_from_slice(&PRE_SKIP.to_le_bytes());
        head.extend_from_slice(&48_000_u32.to_le_bytes());
        head.extend_from_slice(&[0, 0, 0]); // no gain, channel mapping family 0
        ogg.write_packet(head, SERIAL, PacketWriteEndInfo::EndPage, 0)
            .map_err(failed)?;
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&7_u32.to_le_bytes());
        tags.extend_from_slice(b"visavis");
        tags.extend_from_slice(&0_u32.to_le_bytes()); // no comments
        ogg.write_packet(tags, SERIAL, PacketWriteEndInfo::EndPage, 0)
            .map_err(failed)?;
        Ok(Self {
            ogg,
            channels,
            began: None,
            granule: 0,
            page_began: 0,
            held_back: None,
            packets: 0,
            concealed: 0,
        })
    }

    /// Appends a packet. One that comes after a later one is left out.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is not Opus, or has no valid length; `NotReadable` if the disk is full or fails.
    pub fn write(&mut self, frame: &EncodedFrame) -> Result<()> {
        if frame.codec != Codec::Opus {
            return Err(Error::invalid_input(
                "record",
                format!("{} in a recording of Opus", frame.codec),
            ));
        }
        let packet = frame.payload.as_ref();
        let length = samples(packet)
            .ok_or_else(|| Error::invalid_input("record", "an Opus packet without a valid length"))?;
        let began = *self.began.get_or_insert(frame.time);
        let Some(since) = frame.time.checked_sub(began) else {
            return Ok(());
        };
        // To the nearest 2.5 ms, of which every packet is a multiple: times are rounded.
        let start = (since.as_micros() as u64).saturating_add(1_250) / 2_500 * 120;
        if start < self.granule {
            return Ok(());
        }
        if start - self.granule > LONGEST_GAP {
            // Not a loss but another clock: it goes on from here.
            self.began = Some(
                frame
                    .time
                    .saturating_sub(Duration::from_secs(self.granule) / 48_000),
            );
        } else {
            // The packet's own mode, bandwidth and length of frames, with one frame of no bytes.
            let nothing = vec![packet[0] & !3];
            let step = frame_samples(packet[0]);
            while self.granule + step <= start {
                self.push(nothing.clone(), step)?;
                self.concealed += 1;
            }
        }
        self.packets += 1;
        self.push(packet.to_vec(), length)
    }

    /// Packets in the file.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets in the file that stand for lost sound.
    pub fn concealed(&self) -> u64 {
        self.concealed
    }

    /// Writes what is held back, marks the end, and gives the file back.
    ///
    /// # Errors
    ///
    /// `NotReadable` if it cannot be written.
    pub fn finish(mut self) -> Result<W> {
        if let Some((packet, end)) = self.held_back.take() {
            self.ogg
                .write_packet(packet, SERIAL, PacketWriteEndInfo::EndStream, end)
                .map_err(failed)?;
        }
        let mut file = self.ogg.into_inner();
        file.flush().map_err(failed)?;
        Ok(file)
    }

    fn push(&mut self, packet: Vec<u8>, samples: u64) -> Result<()> {
        self.granule += samples;
        let Some((packet, end)) = self.held_back.replace((packet, self.granule)) else {
            return Ok(());
        };
        let page_ends = end - self.page_began >= PAGE;
        let info = if page_ends {
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
        self.ogg.write_packet(packet, SERIAL, info, end).map_err(failed)?;
        if page_ends {
            self.page_began = end;
            self.ogg.inner_mut().flush().map_err(failed)?;
        }
        Ok(())
    }
}

impl<W: Write> std::fmt::Debug for OggOpusRecorder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpusRecorder")
            .field("channels", &self.channels)
            .field("packets", &self.packets)
            .field("concealed", &self.concealed)
            .finish_non_exhaustive()
    }
}

/// Samples of a packet at 48 kHz (RFC 6716 §3.1 and §3.2); `None` if it is none or longer than 120 ms.
fn samples(packet: &[u8]) -> Option<u64> {
    let toc = *packet.first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1)? & 0x3f),
    };
    let samples = frames * frame_samples(toc);
    (1..=5_760).contains(&samples).then_some(samples)
}

/// Samples of each frame in a packet, at 48 kHz, by its first byte (RFC 6716 §3.1, table 2).
fn frame_samples(toc: u8) -> u64 {
    match toc >> 3 {
        config @ 0..12 => [480, 960, 1_920, 2_880][usize::from(config % 4)],
        config @ 12..16 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    }
}
