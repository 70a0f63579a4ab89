//! Where a track's samples are and when they are shown (ISO/IEC 14496-12 §8.6, §8.7).

use super::{super::Read, Trouble, VideoTrack, boxes};
use mp4_atom::{Co64, Ctts, Stco, Stsc, Stss, Stsz, StszSamples, Stts};
use std::collections::HashMap;

/// A sample is at most this many bytes.
const LARGEST_SAMPLE: u32 = 64 << 20;
/// A track has at most this many: 18 hours at 60 a second, or 128 MiB of table.
const MOST: usize = 4_000_000;

/// A coded picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Bytes into the file.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) size: u32,
    /// When it is shown, in the track's ticks, before edits.
    pub(super) time: i64,
    /// How long, in the track's ticks.
    pub(super) duration: u32,
    /// The index of its sample description.
    pub(super) description: u16,
    pub(super) keyframe: bool,
}

/// Those of a track, in decoding order.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    /// From the tables of a file that is not fragmented.
    pub(super) fn read(track: &VideoTrack) -> Read<Self> {
        let table = track.table.as_slice();
        let sizes: Stsz = boxes::decode(table, *b"stsz")?;
        let count = match &sizes.samples {
            StszSamples::Identical { count, .. } => *count as usize,
            StszSamples::Different { sizes } => sizes.len(),
        };
        if count > MOST {
            return Err(Trouble::damaged(format!("{count} frames are too many")));
        }
        if count == 0 {
            return Ok(Self::default());
        }
        let chunks = match boxes::decode_if::<Co64>(table, *b"co64")? {
            Some(wide) => wide.entries,
            None => boxes::decode::<Stco>(table, *b"stco")?
                .entries
                .into_iter()
                .map(u64::from)
                .collect(),
        };
        let mut samples = Vec::with_capacity(count.min(64 * 1024));
        place(
            &mut samples,
            count,
            &sizes.samples,
            &chunks,
            &boxes::decode(table, *b"stsc")?,
        )?;
        time(
            &mut samples,
            &boxes::decode(table, *b"stts")?,
            boxes::decode_if(table, *b"ctts")?.as_ref(),
        )?;
        match boxes::decode_if::<Stss>(table, *b"stss")? {
            Some(keyframes) => {
                for number in keyframes.entries {
                    let index = (number as usize).wrapping_sub(1);
                    if let Some(sample) = samples.get_mut(index) {
                        sample.keyframe = true;
                    }
                }
            }
            None => samples.iter_mut().for_each(|sample| sample.keyframe = true),
        }
        Ok(Self(samples))
    }

    pub(super) fn push(&mut self, sample: Sample) -> Read<()> {
        if self.0.len() >= MOST {
            return Err(Trouble::damaged("there are too many frames"));
        }
        self.0.push(sample);
        Ok(())
    }

    pub(super) fn get(&self, index: usize) -> Option<Sample> {
        self.0.get(index).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Sample> {
        self.0.iter().copied()
    }

    /// Whether all of them are in the file and have a description.
    pub(super) fn check(&self, length: u64, descriptions: usize) -> Read<()> {
        if self.is_empty() {
            return Err(Trouble::damaged("there is no picture in this file"));
        }
        for (index, sample) in self.0.iter().enumerate() {
            let trouble = |text: &str| Err(Trouble::damaged(text).in_frame(index as u64 + 1));
            let end = sample.offset.checked_add(sample.size.into());
            if end.is_none_or(|end| end > length) {
                return trouble("it is beyond the end of the file: the file is cut off or damaged");
            }
            if sample.size == 0 || sample.size > LARGEST_SAMPLE {
                return trouble("its size makes no sense");
            }
            if usize::from(sample.description) >= descriptions {
                return trouble("it has no sample description");
            }
        }
        Ok(())
    }

    /// The most common duration, in ticks.
    pub(super) fn usual_duration(&self) -> u64 {
        let mut counts = HashMap::new();
        for sample in self.iter().take(10_000) {
            *counts.entry(sample.duration).or_insert(0_u32) += 1;
        }
        let usual = counts
            .into_iter()
            .max_by_key(|(duration, count)| (*count, *duration));
        usual.map_or(0, |(duration, _)| duration.into())
    }
}

/// Offsets, sizes and descriptions, from the tables of chunks.
fn place(
    samples: &mut Vec<Sample>,
    count: usize,
    sizes: &StszSamples,
    chunks: &[u64],
    runs: &Stsc,
) -> Read<()> {
    let mut runs = runs.entries.iter().peekable();
    let mut run = None;
    for (number, &chunk) in (1_u32..).zip(chunks) {
        while let Some(next) = runs.next_if(|run| run.first_chunk <= number) {
            run = Some(next);
        }
        let run = run.ok_or_else(|| Trouble::damaged("the first chunk of frames has no size"))?;
        let mut offset = chunk;
        for _ in 0..run.samples_per_chunk {
            if samples.len() == count {
                return Ok(());
            }
            let size = match sizes {
                StszSamples::Identical { size, .. } => *size,
                StszSamples::Different { sizes } => sizes[samples.len()],
            };
            samples.push(Sample {
                offset,
                size,
                time: 0,
                duration: 0,
                description: u16::try_from(run.sample_description_index.wrapping_sub(1)).unwrap_or(u16::MAX),
                keyframe: false,
            });
            offset = offset.saturating_add(size.into());
        }
    }
    if samples.len() < count {
        return Err(Trouble::damaged("the table of frames is cut off"));
    }
    Ok(())
}

/// Times: decoding times plus composition offsets.
fn time(samples: &mut [Sample], durations: &Stts, offsets: Option<&Ctts>) -> Read<()> {
    let mut durations = durations
        .entries
        .iter()
        .flat_map(|run| (0..run.sample_count).map(|_| run.sample_delta));
    let mut offsets = offsets.map(|offsets| {
        let runs = offsets.entries.iter();
        // Offsets of 32 bits, although the table has room for more.
        runs.flat_map(|run| (0..run.sample_count).map(|_| run.sample_offset))
    });
    let mut decoded = 0_i64;
    for sample in samples {
        let cut_off = || Trouble::damaged("the table of frame times is cut off");
        sample.duration = durations.next().ok_or_else(cut_off)?;
        let offset = match &mut offsets {
            Some(offsets) => offsets.next().ok_or_else(cut_off)?,
            None => 0,
        };
        // At most 4,000,000 times 2³² and 2³².
        sample.time = decoded + offset;
        decoded += i64::from(sample.duration);
    }
    Ok(())
}
