//! MP4 (ISO/IEC 14496-12, -15): the first H.264 track, whole or in fragments.
//!
//! The containers are walked here and only the boxes that matter are decoded, by `mp4-atom`: an odd box in a sound
//! track or in the metadata does not stop the pictures.

mod avc;
mod boxes;
mod edits;
mod fragments;
mod samples;

use super::{
    Read, Trouble, clock,
    packets::{Packet, Packets},
};
use avc::Avc;
use boxes::Boxes;
use edits::Presented;
use samples::{Sample, Samples};
use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    time::Duration,
};
use visavis_core::media::Codec;

/// The table of frames (`moov`) is at most this many bytes: some 20 hours.
const LARGEST_TABLE: u64 = 64 << 20;

pub(super) struct Mp4 {
    file: BufReader<File>,
    /// Of each sample description.
    avc: Vec<Avc>,
    samples: Samples,
    timescale: u32,
    interval: Duration,
    presented: Presented,
    /// The index of the next one.
    next: usize,
    /// Whose parameter sets the decoder has.
    description: Option<u16>,
}

impl Mp4 {
    /// Reads the tables; `notes` get what is left out.
    pub(super) fn open(mut file: BufReader<File>, notes: &mut Vec<String>) -> Read<Self> {
        let moov = boxes::find_moov(&mut file)?;
        let mut video = None;
        for (kind, body) in Boxes::of(&moov).collect::<Read<Vec<_>>>()? {
            if kind != *b"trak" {
                continue;
            }
            match Track::read(body) {
                Ok(Track::Video(track)) if video.is_none() => video = Some(track),
                Ok(Track::Video(_)) => notes.push("a second video track is skipped".into()),
                Ok(Track::Sound(name)) if name == "AAC" => {
                    notes.push("the AAC sound track is skipped: visavis sends Opus".into());
                }
                Ok(Track::Sound(name)) => notes.push(format!(
                    "the {name} sound track is skipped: sound is read from WAV and Ogg Opus files"
                )),
                // A broken track beside a good one is none of our business; alone it is what to report.
                Err(trouble) if video.is_none() => video = Some(Err(trouble)),
                Ok(Track::Other) | Err(_) => {}
            }
        }
        let video = video.ok_or_else(|| Trouble::unsupported("there is no video track in this MP4"))??;
        let mut samples = Samples::read(&video)?;
        if samples.is_empty() {
            samples = fragments::read(&mut file, &moov, &video)?;
        }
        samples.check(file.get_ref().metadata()?.len(), video.avc.len())?;
        let presented = edits::presented(&video, &moov, &samples)?;
        notes.extend(presented.note.clone());
        let interval = clock::interval(samples.usual_duration(), 1, video.timescale.into());
        Ok(Self {
            file,
            avc: video.avc,
            timescale: video.timescale,
            interval: interval.unwrap_or(Duration::from_millis(40)),
            presented,
            samples,
            next: 0,
            description: None,
        })
    }

    fn read_sample(&mut self, sample: Sample) -> Read<Vec<u8>> {
        // Mostly the next sample follows directly, and is in the buffer.
        let here = self.file.stream_position()?;
        match i64::try_from(i128::from(sample.offset) - i128::from(here)) {
            Ok(distance) => self.file.seek_relative(distance)?,
            Err(_) => {
                self.file.seek(SeekFrom::Start(sample.offset))?;
            }
        }
        let mut data = vec![0; sample.size as usize];
        self.file.read_exact(&mut data)?;
        Ok(data)
    }
}

impl Packets for Mp4 {
    fn codec(&self) -> Codec {
        Codec::H264
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn next(&mut self) -> Read<Option<Packet>> {
        let Some(sample) = self.samples.get(self.next) else {
            return Ok(None);
        };
        let data = self.read_sample(sample)?;
        let avc = &self.avc[sample.description as usize];
        let with_parameters = sample.keyframe || self.description != Some(sample.description);
        self.description = Some(sample.description);
        self.next += 1;
        let time = self.presented.time(sample);
        Ok(Some(Packet {
            data: avc.annex_b(&data, with_parameters)?,
            time: clock::nanoseconds(time.into(), 1, self.timescale.into())?,
        }))
    }

    fn rewind(&mut self) -> Read<()> {
        self.next = 0;
        self.description = None;
        Ok(())
    }
}

/// What a `trak` is.
enum Track {
    Video(Read<VideoTrack>),
    /// Its codec's name.
    Sound(String),
    Other,
}

/// What is needed of a video track's boxes.
pub(super) struct VideoTrack {
    id: u32,
    /// Ticks a second of its times.
    timescale: u32,
    edits: Option<mp4_atom::Elst>,
    avc: Vec<Avc>,
    /// The body of `stbl`.
    table: Vec<u8>,
}

impl Track {
    fn read(trak: &[u8]) -> Read<Self> {
        let mdia = boxes::one(trak, *b"mdia")?;
        let handler: mp4_atom::Hdlr = boxes::decode(mdia, *b"hdlr")?;
        let kind: [u8; 4] = handler.handler.into();
        if kind != *b"vide" && kind != *b"soun" {
            return Ok(Self::Other);
        }
        let table = boxes::one(boxes::one(mdia, *b"minf")?, *b"stbl")?;
        let descriptions = boxes::one(table, *b"stsd")?;
        // Version, flags and the count come before the entries.
        let descriptions = descriptions.get(8..).unwrap_or_default();
        let descriptions: Vec<_> = Boxes::of(descriptions).collect::<Read<_>>()?;
        if kind == *b"soun" {
            let name = descriptions.first().map(|(kind, _)| codec_name(*kind));
            return Ok(Self::Sound(name.unwrap_or_else(|| "empty".into())));
        }
        Ok(Self::Video(VideoTrack::read(trak, mdia, table, &descriptions)))
    }
}

impl VideoTrack {
    fn read(trak: &[u8], mdia: &[u8], table: &[u8], descriptions: &[([u8; 4], &[u8])]) -> Read<Self> {
        let mut avc = Vec::new();
        for (kind, entry) in descriptions {
            match kind {
                b"avc1" | b"avc3" => avc.push(Avc::read(entry)?),
                b"encv" => return Err(Trouble::unsupported("the video track is encrypted")),
                other => {
                    let name = codec_name(*other);
                    return Err(Trouble::unsupported(format!(
                        "codec {name} in MP4; H.264 can be read"
                    )));
                }
            }
        }
        if avc.is_empty() {
            return Err(Trouble::damaged("the video track says no codec"));
        }
        let media: mp4_atom::Mdhd = boxes::decode(mdia, *b"mdhd")?;
        if media.timescale == 0 {
            return Err(Trouble::damaged("the video track has no time scale"));
        }
        let header: mp4_atom::Tkhd = boxes::decode(trak, *b"tkhd")?;
        let edits = match boxes::find(trak, *b"edts")? {
            Some(edts) => boxes::decode_if(edts, *b"elst")?,
            None => None,
        };
        Ok(Self {
            id: header.track_id,
            timescale: media.timescale,
            edits,
            avc,
            table: table.to_vec(),
        })
    }
}

/// What people call it.
fn codec_name(kind: [u8; 4]) -> String {
    let known = match &kind {
        b"mp4a" => "AAC",
        b"Opus" => "Opus",
        b"ac-3" => "AC-3",
        b"ec-3" => "E-AC-3",
        b"fLaC" => "FLAC",
        b".mp3" => "MP3",
        b"alac" => "ALAC",
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => "HEVC (H.265)",
        b"vvc1" | b"vvi1" => "VVC (H.266)",
        b"av01" => "AV1",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"mp4v" => "MPEG-4 Visual",
        b"enca" => "encrypted",
        _ => return format!("`{}`", kind.escape_ascii()),
    };
    known.into()
}
