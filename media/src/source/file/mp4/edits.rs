//! The edit list (ISO/IEC 14496-12 §8.6.6): which part of a track is shown.

use super::{
    super::Read,
    Trouble, VideoTrack, boxes,
    samples::{Sample, Samples},
};

/// What is shown, in the track's ticks.
#[derive(Debug)]
pub(super) struct Presented {
    /// The time of the first picture that is shown.
    first: i64,
    /// Pictures from here on are not shown.
    end: i64,
    /// What is left out.
    pub(super) note: Option<String>,
}

impl Presented {
    /// Time from the first picture that is shown; negative if this one is not.
    pub(super) fn time(&self, sample: Sample) -> i64 {
        if sample.time >= self.end {
            return -1;
        }
        sample.time.saturating_sub(self.first)
    }
}

/// Follows the first edit that shows something. A pause before it only delays, and is left out.
pub(super) fn presented(track: &VideoTrack, moov: &[u8], samples: &Samples) -> Read<Presented> {
    let (mut begin, mut end, mut note) = (i64::MIN, i64::MAX, None);
    let entries = track
        .edits
        .as_ref()
        .map(|edits| edits.entries.as_slice())
        .unwrap_or_default();
    let mut shown = entries.iter().filter_map(|edit| Some((edit, edit.media_time?)));
    if let Some((edit, time)) = shown.next() {
        begin = i64::try_from(time).map_err(|_| Trouble::damaged("an edit's time makes no sense"))?;
        let movie: mp4_atom::Mvhd = boxes::decode(moov, *b"mvhd")?;
        // Rounded up, for the movie's ticks are mostly coarser. Zero: to the end, as fragmented files have it.
        if edit.segment_duration > 0 && movie.timescale > 0 {
            let scaled = u128::from(edit.segment_duration) * u128::from(track.timescale);
            let ticks = scaled.div_ceil(u128::from(movie.timescale));
            end = begin.saturating_add(i64::try_from(ticks).unwrap_or(i64::MAX));
        }
        if shown.next().is_some() {
            note = Some("only the first part of the video track's edit list is shown".into());
        }
    }
    let times = samples.iter().map(|sample| sample.time);
    let first = times.filter(|time| (begin..end).contains(time)).min();
    Ok(Presented {
        first: first.ok_or_else(|| Trouble::damaged("the edit list leaves no picture to show"))?,
        end,
        note,
    })
}
