//! Movie fragments (ISO/IEC 14496-12 §8.8), as browsers and streaming servers write them.

use super::{
    super::Read,
    Trouble, VideoTrack, boxes,
    boxes::{Boxes, Place},
    samples::{Sample, Samples},
};
use mp4_atom::{Tfdt, Tfhd, Trex, Trun};
use std::{fs::File, io::BufReader};

/// `sample_is_non_sync_sample` of the sample flags.
const NOT_SYNC: u32 = 1 << 16;

/// The samples of all fragments.
pub(super) fn read(file: &mut BufReader<File>, moov: &[u8], track: &VideoTrack) -> Read<Samples> {
    let Some(mvex) = boxes::find(moov, *b"mvex")? else {
        return Ok(Samples::default());
    };
    let mut defaults = Trex::default();
    for item in Boxes::of(mvex) {
        let (kind, body) = item?;
        if kind == *b"trex" {
            let trex: Trex = boxes::decode_body(body, kind)?;
            if trex.track_id == track.id {
                defaults = trex;
            }
        }
    }
    let mut reader = Fragments {
        track: track.id,
        defaults,
        samples: Samples::default(),
        decoded: 0,
    };
    boxes::walk(file, |file, place| {
        if place.kind == *b"moof" {
            reader.moof(&boxes::read_body(file, place)?, place)?;
        }
        Ok(None::<()>)
    })?;
    Ok(reader.samples)
}

struct Fragments {
    track: u32,
    defaults: Trex,
    samples: Samples,
    /// The decoding time of the next sample, in ticks.
    decoded: i64,
}

impl Fragments {
    fn moof(&mut self, body: &[u8], place: Place) -> Read<()> {
        // Where the data of the track fragment before this one ended, if it says nothing else.
        let mut end = place.begin;
        for item in Boxes::of(body) {
            let (kind, traf) = item?;
            if kind == *b"traf" {
                end = self.traf(traf, place.begin, end)?;
            }
        }
        Ok(())
    }

    fn traf(&mut self, traf: &[u8], moof: u64, end: u64) -> Read<u64> {
        let header: Tfhd = boxes::decode(traf, *b"tfhd")?;
        let base = match header.base_data_offset {
            Some(base) => base,
            None if header.default_base_is_moof => moof,
            None => end,
        };
        let ours = header.track_id == self.track;
        if ours && let Some(time) = boxes::decode_if::<Tfdt>(traf, *b"tfdt")? {
            let time = i64::try_from(time.base_media_decode_time)
                .ok()
                .filter(|time| *time < 1 << 60);
            self.decoded = time.ok_or_else(|| Trouble::damaged("a fragment's time makes no sense"))?;
        }
        let mut offset = base;
        for item in Boxes::of(traf) {
            let (kind, body) = item?;
            if kind == *b"trun" {
                let run: Trun = boxes::decode_body(body, kind)?;
                if let Some(from) = run.data_offset {
                    offset = base
                        .checked_add_signed(from.into())
                        .ok_or_else(|| Trouble::damaged("a fragment is beyond the file"))?;
                }
                offset = self.run(&run, &header, offset, ours)?;
            }
        }
        Ok(offset)
    }

    /// Where the run's data ends.
    fn run(&mut self, run: &Trun, header: &Tfhd, mut offset: u64, ours: bool) -> Read<u64> {
        let default = &self.defaults;
        let size = header.default_sample_size.unwrap_or(default.default_sample_size);
        let duration = header
            .default_sample_duration
            .unwrap_or(default.default_sample_duration);
        let flags = header
            .default_sample_flags
            .unwrap_or(default.default_sample_flags);
        let description = header
            .sample_description_index
            .unwrap_or(default.default_sample_description_index);
        if !ours {
            // Another track's: only its length matters, and its count may lie.
            let sizes = run
                .samples
                .iter()
                .take(1 << 20)
                .map(|sample| sample.size.unwrap_or(size));
            return Ok(sizes.fold(offset, |end, size| end.saturating_add(size.into())));
        }
        for sample in &run.samples {
            let size = sample.size.unwrap_or(size);
            let duration = sample.duration.unwrap_or(duration);
            self.samples.push(Sample {
                offset,
                size,
                time: self.decoded + sample.cts.unwrap_or(0),
                duration,
                description: u16::try_from(description.wrapping_sub(1)).unwrap_or(u16::MAX),
                keyframe: sample.flags.unwrap_or(flags) & NOT_SYNC == 0,
            })?;
            self.decoded = self.decoded.saturating_add(duration.into());
            offset = offset.saturating_add(size.into());
        }
        Ok(offset)
    }
}
