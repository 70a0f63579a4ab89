//! A quiet tone that beeps at each full second.

use std::{f64::consts::TAU, time::Duration};
use visavis_core::{
    Result,
    media::{AudioFrame, AudioSource},
};

/// Samples a second and channel.
pub(crate) const RATE: u32 = 48_000;
/// Samples of a frame and channel: 20 ms.
const FRAME: u64 = 960;
/// Hertz of the steady tone.
pub(crate) const STEADY: u32 = 440;
/// Hertz of the beeps: that of second `s` has the pitch `s mod 4`, so that a beep is not taken for its neighbour.
pub(crate) const BEEPS: [u32; 4] = [1_760, 880, 1_109, 1_319];

/// −26 dBFS.
const STEADY_PEAK: f64 = 0.0501;
/// −6 dBFS.
const BEEP_PEAK: f64 = 0.501;
/// Samples of a beep: 100 ms.
const BEEP: u64 = 4_800;
/// Samples in which a beep rises: 1 ms, steep but without a click.
const ATTACK: u64 = 48;
/// Samples in which it falls: 5 ms.
const RELEASE: u64 = 240;

/// A steady tone of 440 Hz at −26 dBFS, and at each full second (0, 1, 2 …) a beep of 100 ms at −6 dBFS, while
/// [`Pattern`](super::Pattern) flashes. It never ends.
///
/// The beeps' pitches are 1760, 880, 1109 and 1319 Hz in turn: a receiver can tell which second it hears even if the
/// sound is late by up to two.
#[derive(Debug, Clone)]
pub struct Tone {
    channels: u8,
    next: u64,
}

impl Tone {
    /// Stereo, with the same on both channels: what `opus/48000/2` takes.
    pub fn new() -> Self {
        Self { channels: 2, next: 0 }
    }

    /// The same on one channel.
    pub fn mono() -> Self {
        Self { channels: 1, next: 0 }
    }

    /// Frame `number` of 20 ms, counted from 0.
    pub fn frame(&self, number: u64) -> AudioFrame {
        let first = number * FRAME;
        let channels = usize::from(self.channels);
        let samples = (first..first + FRAME).flat_map(|at| std::iter::repeat_n(sample(at), channels));
        AudioFrame {
            samples: samples.collect(),
            rate: RATE,
            channels: self.channels,
            time: Duration::from_millis(20 * number),
        }
    }
}

impl Default for Tone {
    fn default() -> Self {
        Self::new()
    }
}

impl AudioSource for Tone {
    fn next(&mut self) -> Result<Option<AudioFrame>> {
        let frame = self.frame(self.next);
        self.next += 1;
        Ok(Some(frame))
    }
}

/// Sample `at`, counted from 0.
fn sample(at: u64) -> f32 {
    let in_second = at % u64::from(RATE);
    let mut value = STEADY_PEAK * sine(STEADY, in_second);
    if in_second < BEEP {
        let pitch = BEEPS[(at / u64::from(RATE)) as usize % BEEPS.len()];
        let rise = in_second as f64 / ATTACK as f64;
        let fall = (BEEP - in_second) as f64 / RELEASE as f64;
        value += BEEP_PEAK * rise.min(fall).min(1.0) * sine(pitch, in_second);
    }
    value as f32
}

/// A sine of whole hertz `at` samples after a full second, with no error that grows.
fn sine(hertz: u32, at: u64) -> f64 {
    (TAU * (u64::from(hertz) * at % u64::from(RATE)) as f64 / f64::from(RATE)).sin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beeps_begin_with_the_second() {
        let tone = Tone::mono();
        for second in [0, 1, 2, 3, 3_600] {
            let peak = |frame: AudioFrame| frame.samples.into_iter().map(f32::abs).fold(0.0, f32::max);
            assert!(peak(tone.frame(second * 50)) > 0.5);
            assert!(peak(tone.frame(second * 50 + 4)) > 0.5);
            assert!(peak(tone.frame(second * 50 + 5)) < 0.06);
            assert!(peak(tone.frame(second * 50 + 49)) < 0.06);
        }
    }

    #[test]
    fn frames_join_and_do_not_clip() {
        let mut tone = Tone::new();
        let mut last = 0.0;
        for number in 0..200 {
            let frame = tone.next().unwrap().unwrap();
            assert_eq!(
                (frame.samples.len(), frame.time),
                (1_920, Duration::from_millis(20 * number))
            );
            for pair in frame.samples.chunks(2) {
                assert_eq!(pair[0].to_bits(), pair[1].to_bits());
                assert!(pair[0].abs() < 0.6 && (pair[0] - last).abs() < 0.2);
                last = pair[0];
            }
        }
    }
}
