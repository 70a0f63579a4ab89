//! Finds the beeps of [`Tone`](crate::source::Tone) in sound.

use crate::source::BEEPS;
use std::{f64::consts::TAU, time::Duration};
use tokio::time::Instant;

/// Samples of the windows in which loudness is measured: 1 ms at 48 kHz.
const WINDOW: usize = 48;
/// Samples after the onset by which the pitch is told: 40 ms.
const LISTEN: usize = 1_920;
/// Mean square from which it is loud: −19 dBFS, between the steady tone's −29 and the beep's −9.
const LOUD: f64 = 0.0126;
/// Mean square below which it is not any more: −22 dBFS.
const QUIET: f64 = 0.0063;
/// Windows that are not loud, after which a beep is over: 20 ms, so that a lost packet does not split it.
const OVER: u32 = 20;
/// The share of the energy that a beep has at its pitch, at least.
const PURE: f64 = 0.5;

/// A sample's two times: on the media clock and when it is played.
pub(super) type When = (Duration, Instant);

/// Something loud.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loud {
    /// Its first window's first sample.
    pub(super) began: When,
    /// Which of the four beeps it is; `None` if it is something else.
    pub(super) pitch: Option<usize>,
}

/// Takes samples one by one.
#[derive(Debug, Default)]
pub(super) struct Detector {
    window: Vec<f32>,
    window_began: Option<When>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Quiet,
    /// Since when, and the samples since then.
    Listening(When, Vec<f32>),
    /// Windows in a row that were not loud.
    Loud(u32),
}

impl Detector {
    /// Takes a sample; something loud is reported once its pitch is known.
    pub(super) fn take(&mut self, sample: f32, when: impl FnOnce() -> When) -> Option<Loud> {
        let began = *self.window_began.get_or_insert_with(when);
        self.window.push(sample);
        if self.window.len() < WINDOW {
            return None;
        }
        let power = self
            .window
            .iter()
            .map(|sample| f64::from(*sample).powi(2))
            .sum::<f64>()
            / WINDOW as f64;
        let found = match &mut self.state {
            State::Quiet if power >= LOUD => {
                self.state = State::Listening(began, self.window.clone());
                None
            }
            State::Quiet => None,
            State::Listening(began, samples) => {
                samples.extend_from_slice(&self.window);
                let heard = (samples.len() >= LISTEN).then(|| Loud {
                    began: *began,
                    pitch: pitch(samples),
                });
                if heard.is_some() {
                    self.state = State::Loud(0);
                }
                heard
            }
            State::Loud(quiet) => {
                *quiet = if power < QUIET { *quiet + 1 } else { 0 };
                if *quiet >= OVER {
                    self.state = State::Quiet;
                }
                None
            }
        };
        self.forget_window();
        found
    }

    /// The next sample does not follow the last one.
    pub(super) fn forget_window(&mut self) {
        self.window.clear();
        self.window_began = None;
    }

    /// Whether the sample just taken may belong to a beep.
    pub(super) fn is_loud(&self) -> bool {
        !matches!(self.state, State::Quiet)
    }
}

/// Which beep has most of the energy of `samples`.
fn pitch(samples: &[f32]) -> Option<usize> {
    let total = samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum::<f64>();
    let energies = BEEPS.map(|hertz| energy(samples, hertz));
    let best = (0..BEEPS.len()).max_by(|a, b| energies[*a].total_cmp(&energies[*b]))?;
    (energies[best] >= PURE * total).then_some(best)
}

/// The energy of `samples` at a frequency. Exact for whole periods, good for many.
pub(super) fn energy(samples: &[f32], hertz: u32) -> f64 {
    let step = TAU * f64::from(hertz) / 48_000.0;
    let (sine_step, cosine_step) = step.sin_cos();
    let (mut sine, mut cosine) = (0.0, 1.0);
    let (mut in_phase, mut across) = (0.0, 0.0);
    for sample in samples {
        let sample = f64::from(*sample);
        across += sample * sine;
        in_phase += sample * cosine;
        (sine, cosine) = (
            sine * cosine_step + cosine * sine_step,
            cosine * cosine_step - sine * sine_step,
        );
    }
    2.0 / samples.len().max(1) as f64 * (in_phase * in_phase + across * across)
}
