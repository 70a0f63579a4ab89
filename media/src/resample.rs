//! Changing the sample rate of sound, and its number of channels.

use rubato::{
    Async, FixedAsync, Indexing, Resampler as _, SincInterpolationParameters, WindowFunction,
    audioadapter_buffers::direct::InterleavedSlice,
};
use visavis_core::{Error, ErrorKind, Result};

/// Output frames at a time: 5 ms at 48 kHz.
const CHUNK: usize = 240;
/// Filter length in samples: 0.7 ms of delay at 48 kHz, which is taken out.
const FILTER: usize = 64;
/// Rates that make sense, in samples a second.
const RATES: std::ops::RangeInclusive<u32> = 2_000..=768_000;

/// Changes the rate of interleaved sound. Its own delay is taken out: the first sample stays the first.
pub(crate) struct Resampler {
    /// None if the rates are equal.
    inner: Option<Async<f32>>,
    channels: usize,
    /// Input that is not used yet, interleaved.
    input: Vec<f32>,
    chunk: Vec<f32>,
    /// Output frames that are the filter's delay, still to be dropped.
    delay: usize,
    /// Frames that went in and came out.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// From and to samples a second.
    ///
    /// # Errors
    ///
    /// [`NotSupported`](ErrorKind::NotSupported) for a rate outside of 2 to 768 kHz.
    pub(crate) fn new(from: u32, to: u32, channels: u8) -> Result<Self> {
        let channels = usize::from(channels);
        let unsupported = |text| Error::new(ErrorKind::NotSupported, "resample", text);
        if !RATES.contains(&from) || !RATES.contains(&to) {
            return Err(unsupported(format!("{from} to {to} samples a second")));
        }
        let parameters = SincInterpolationParameters::new(FILTER, WindowFunction::BlackmanHarris2);
        let ratio = f64::from(to) / f64::from(from);
        let inner = (from != to)
            .then(|| Async::new_sinc(ratio, 1.0, &parameters, CHUNK, channels, FixedAsync::Output))
            .transpose()
            .map_err(|error| unsupported(error.to_string()))?;
        Ok(Self {
            // `output_delay` counts from the sample before the first.
            delay: inner
                .as_ref()
                .map_or(0, |_| (ratio * FILTER as f64 / 2.0 - 1.0).round() as usize),
            inner,
            channels,
            input: Vec::new(),
            chunk: vec![0.0; CHUNK * channels],
            taken: 0,
            given: 0,
        })
    }

    /// Puts in interleaved samples, and appends to `out` what is ready.
    pub(crate) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<()> {
        let Some(inner) = &self.inner else {
            out.extend_from_slice(samples);
            return Ok(());
        };
        self.taken += (samples.len() / self.channels) as u64;
        self.input.extend_from_slice(samples);
        let mut needed = inner.input_frames_next();
        let mut used = 0;
        while self.input.len() / self.channels >= used + needed {
            used += self.process(used, None, out)?;
            needed = self.inner.as_ref().map_or(0, Async::input_frames_next);
        }
        self.input.drain(..used * self.channels);
        Ok(())
    }

    /// Appends to `out` what is left inside, filled up to the length of what went in.
    pub(crate) fn finish(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let Some(inner) = &self.inner else {
            return Ok(());
        };
        let expected = (self.taken as f64 * inner.resample_ratio()).round() as u64;
        while self.given < expected {
            let before = out.len();
            let left = self.input.len() / self.channels;
            self.process(0, Some(left), out)?;
            self.input.clear();
            let surplus = self.given.saturating_sub(expected) as usize * self.channels;
            out.truncate(out.len().saturating_sub(surplus).max(before));
        }
        Ok(())
    }

    /// One chunk from the input's frame `at` on; how many of its frames were used.
    fn process(&mut self, at: usize, partial: Option<usize>, out: &mut Vec<f32>) -> Result<usize> {
        let failed =
            |error: &dyn std::fmt::Display| Error::new(ErrorKind::Media, "resample", error.to_string());
        let Some(inner) = &mut self.inner else {
            return Ok(0);
        };
        let frames = self.input.len() / self.channels;
        let input =
            InterleavedSlice::new(&self.input, self.channels, frames).map_err(|error| failed(&error))?;
        let mut output = InterleavedSlice::new_mut(&mut self.chunk, self.channels, CHUNK)
            .map_err(|error| failed(&error))?;
        let mut indexing = Indexing::new().input_offset(at);
        indexing.partial_len = partial;
        let (used, made) = inner
            .process_into_buffer(&input, &mut output, Some(&indexing))
            .map_err(|error| failed(&error))?;
        let dropped = self.delay.min(made);
        self.delay -= dropped;
        out.extend_from_slice(&self.chunk[dropped * self.channels..made * self.channels]);
        self.given += (made - dropped) as u64;
        Ok(used)
    }
}

/// Interleaved samples of `from` channels as 1 or 2: two and more become stereo, as ITU-R BS.775 mixes 5.1 down.
pub(crate) fn downmix(samples: &[f32], from: usize, out: &mut Vec<f32>) {
    const HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    match from {
        0 => {}
        1 | 2 => out.extend_from_slice(samples),
        _ => {
            for frame in samples.chunks_exact(from) {
                // WAVE's order: left, right, centre, LFE (left out), then pairs behind and beside. Four are two pairs.
                let (centre, pairs) = match from {
                    4 => (0.0, &frame[2..]),
                    _ => (frame[2] * HALF, frame.get(4..).unwrap_or_default()),
                };
                let (mut left, mut right) = (frame[0] + centre, frame[1] + centre);
                for pair in pairs.chunks(2) {
                    left += pair[0] * HALF;
                    right += pair[pair.len() - 1] * HALF;
                }
                // So that full scale on all channels does not clip.
                let scale = 1.0 / (1.0 + HALF * (1 + pairs.len().div_ceil(2)) as f32);
                out.extend([left * scale, right * scale]);
            }
        }
    }
}

/// One channel as two equal ones, which is what is encoded for calls.
pub(crate) fn to_stereo(samples: Vec<f32>, channels: u8) -> Vec<f32> {
    match channels {
        1 => samples.iter().flat_map(|sample| [*sample; 2]).collect(),
        _ => samples,
    }
}

/// Interleaved samples with another number of channels, 1 or 2 of them in.
#[cfg(feature = "audio-device")]
pub(crate) fn remix(samples: &[f32], from: usize, to: usize, out: &mut Vec<f32>) {
    for frame in samples.chunks_exact(from.max(1)) {
        match (from, to) {
            (2, 1) => out.push(f32::midpoint(frame[0], frame[1])),
            (1, _) => out.extend((0..to).map(|channel| if channel < 2 { frame[0] } else { 0.0 })),
            _ => out.extend((0..to).map(|channel| frame.get(channel).copied().unwrap_or(0.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f32, frames: usize) -> Vec<f32> {
        let step = std::f32::consts::TAU * hertz / rate as f32;
        (0..frames).map(|n| (step * n as f32).sin()).collect()
    }

    #[test]
    fn keeps_length_and_phase() {
        for (from, to) in [
            (44_100, 48_000),
            (48_000, 44_100),
            (8_000, 48_000),
            (44_101, 48_000),
            (192_000, 48_000),
        ] {
            let input = tone(from, 440.0, from as usize);
            let mut resampler = Resampler::new(from, to, 1).unwrap();
            let mut out = Vec::new();
            for chunk in input.chunks(777) {
                resampler.push(chunk, &mut out).unwrap();
            }
            resampler.finish(&mut out).unwrap();
            assert_eq!(out.len(), to as usize, "{from} to {to}");
            let expected = tone(to, 440.0, to as usize);
            let worst = out.iter().zip(&expected).skip(1_000).take(to as usize - 2_000);
            let worst = worst.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Half a sample is 0.03 of a period's steepest part.
            assert!(worst < 0.03, "{from} to {to}: {worst}");
        }
    }

    #[test]
    fn mixes_down() {
        for channels in 3..9 {
            let mut out = Vec::new();
            downmix(&vec![1.0; channels], channels, &mut out);
            assert_eq!(out.len(), 2);
            assert!(
                out.iter().all(|sample| (0.5..1.001).contains(sample)),
                "{channels}: {out:?}"
            );
        }
    }
}
