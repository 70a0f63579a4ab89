//! Checks the sound that is played.

use super::{
    Reports, SECONDS_KEPT,
    beep::{Detector, Loud, When, energy},
    heard::{AudioLimits, AudioReport, Onset},
    lock, reports, signed_ms,
};
use crate::{sink::stats::Histogram, source::STEADY};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::{
    Result,
    media::{AudioFrame, AudioSink},
};

const RATE: u32 = 48_000;
/// Samples of 25 ms: eleven periods of the steady tone.
const BLOCK: usize = 1_200;
/// Mean square below which there is silence: −60 dBFS.
const SILENCE: f64 = 1e-6;
/// Jumps of the media clock up to this are rounding.
const ROUNDING: Duration = Duration::from_millis(2);
/// A beep this soon after the sound began, or began again, may have begun earlier.
const CUT: Duration = Duration::from_millis(20);
/// How far a beep may be from a whole number of seconds after the one before: a lost and concealed packet's length,
/// and some.
const REGULAR_S: f64 = 0.030;

/// A sink that checks the sound of a [`Tone`](crate::source::Tone): its level, its purity, and its beeps.
///
/// What it finds is in the [`AudioReport`], which [`reports`](Self::reports) gives at any time.
#[derive(Debug)]
pub struct AudioVerifier {
    state: Arc<Mutex<State>>,
}

impl AudioVerifier {
    /// Expects a tone.
    pub fn new() -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new())),
        }
    }

    /// What is bad; see [`AudioLimits::default`].
    #[must_use]
    pub fn limits(self, limits: AudioLimits) -> Self {
        lock(&self.state).limits = limits;
        self
    }

    /// Reads the report at any time.
    pub fn reports(&self) -> Reports<AudioReport> {
        reports(&self.state, State::report)
    }
}

impl Default for AudioVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl AudioSink for AudioVerifier {
    fn play(&mut self, frame: &AudioFrame, at: Instant) -> Result<()> {
        lock(&self.state).play(frame, at);
        Ok(())
    }
}

#[derive(Debug)]
struct State {
    limits: AudioLimits,
    frames: u64,
    samples: u64,
    wrong_format: u64,
    /// Where on the media clock the sound began, where it last began again after a jump, and where it ends.
    began: Option<Duration>,
    began_again: Duration,
    end: Duration,
    ended: Option<Instant>,
    gaps: u64,
    missing_ms: f64,
    overlaps: u64,
    level: Histogram,
    silent_ms: f64,
    silence_ms: f64,
    longest_silence_ms: f64,
    block: Vec<f32>,
    block_is_loud: bool,
    /// The last block's level and purity: a beep that follows would blur it, so it counts only after the next.
    held_back: Option<(f64, f64)>,
    steady: Histogram,
    tone_snr: Histogram,
    detector: Detector,
    beeps: u64,
    missing_beeps: u64,
    irregular_beeps: u64,
    out_of_turn: u64,
    other_noises: u64,
    offset_ms: Histogram,
    /// The last beep, and whether it was cut.
    last: Option<(Onset, bool)>,
    /// The first moment and time, from which delays count.
    origin: Option<When>,
    delay_ms: Histogram,
    onsets: VecDeque<Onset>,
}

impl State {
    fn new() -> Self {
        let decibels = || Histogram::new(-120.0, 0.1, 1_300);
        Self {
            limits: AudioLimits::default(),
            frames: 0,
            samples: 0,
            wrong_format: 0,
            began: None,
            began_again: Duration::ZERO,
            end: Duration::ZERO,
            ended: None,
            gaps: 0,
            missing_ms: 0.0,
            overlaps: 0,
            level: decibels(),
            silent_ms: 0.0,
            silence_ms: 0.0,
            longest_silence_ms: 0.0,
            block: Vec::with_capacity(BLOCK),
            block_is_loud: false,
            held_back: None,
            steady: decibels(),
            tone_snr: Histogram::new(-20.0, 0.1, 1_000),
            detector: Detector::default(),
            beeps: 0,
            missing_beeps: 0,
            irregular_beeps: 0,
            out_of_turn: 0,
            other_noises: 0,
            offset_ms: Histogram::new(-500.0, 1.0, 1_000),
            last: None,
            origin: None,
            delay_ms: Histogram::new(-1_000.0, 1.0, 4_000),
            onsets: VecDeque::with_capacity(SECONDS_KEPT),
        }
    }

    fn play(&mut self, frame: &AudioFrame, at: Instant) {
        self.frames += 1;
        let channels = usize::from(frame.channels);
        if frame.rate != RATE || !(1..=2).contains(&channels) {
            self.wrong_format += 1;
            return;
        }
        self.clock(frame.time, at);
        let count = frame.samples.len() / channels;
        let length = |samples: usize| Duration::from_secs(samples as u64) / RATE;
        let mut power = 0.0;
        for (index, samples) in frame.samples.chunks_exact(channels).enumerate() {
            let sample = samples.iter().sum::<f32>() / channels as f32;
            power += f64::from(sample).powi(2);
            let when = || (frame.time + length(index), at + length(index));
            if let Some(loud) = self.detector.take(sample, when) {
                self.loud(loud);
            }
            self.block_is_loud |= self.detector.is_loud();
            self.block.push(sample);
            if self.block.len() == BLOCK {
                self.finish_block();
            }
        }
        self.samples += count as u64;
        self.end = frame.time + length(count);
        self.ended = Some(at + length(count));
        if count > 0 {
            self.loudness(power / count as f64, length(count).as_secs_f64() * 1_000.0);
        }
    }

    /// Follows the media clock and the delay from it to the moment of playing.
    fn clock(&mut self, time: Duration, at: Instant) {
        let (first, origin) = *self.origin.get_or_insert((time, at));
        self.delay_ms
            .add(signed_ms(at, origin) - (time.as_secs_f64() - first.as_secs_f64()) * 1_000.0);

        let Some(_) = self.began else {
            self.began = Some(time);
            self.began_again = time;
            return;
        };
        if time > self.end + ROUNDING {
            self.gaps += 1;
            self.missing_ms += time.saturating_sub(self.end).as_secs_f64() * 1_000.0;
        } else if time + ROUNDING < self.end {
            self.overlaps += 1;
        } else {
            return;
        }
        self.began_again = time;
        self.detector.forget_window();
        self.block.clear();
        self.block_is_loud = false;
        self.held_back = None;
    }

    fn loudness(&mut self, power: f64, length_ms: f64) {
        self.level.add(dbfs(power));
        if power < SILENCE {
            self.silent_ms += length_ms;
            self.silence_ms += length_ms;
            self.longest_silence_ms = self.longest_silence_ms.max(self.silence_ms);
        } else {
            self.silence_ms = 0.0;
        }
    }

    fn finish_block(&mut self) {
        let held_back = self.held_back.take();
        if !self.block_is_loud {
            if let Some((level, snr)) = held_back {
                self.steady.add(level);
                self.tone_snr.add(snr);
            }
            let total = self
                .block
                .iter()
                .map(|sample| f64::from(*sample).powi(2))
                .sum::<f64>();
            let power = total / BLOCK as f64;
            if power >= SILENCE {
                let tone = energy(&self.block, STEADY);
                let snr = 10.0 * (tone.max(1e-12) / (total - tone).max(1e-12)).log10();
                self.held_back = Some((dbfs(power), snr.clamp(-20.0, 80.0)));
            }
        }
        self.block.clear();
        self.block_is_loud = self.detector.is_loud();
    }

    fn loud(&mut self, Loud { began, pitch }: Loud) {
        let (time, at) = began;
        let too_soon = self
            .last
            .is_some_and(|(last, _)| time.abs_diff(last.time) < Duration::from_millis(500));
        let Some(pitch) = pitch.filter(|_| !too_soon) else {
            self.other_noises += 1;
            return;
        };
        let onset = Onset {
            time,
            at,
            second_modulo_4: pitch as u8,
        };
        let cut = time.saturating_sub(self.began_again) < CUT;
        self.beeps += 1;
        match self.last.replace((onset, cut)) {
            None => self.missing_beeps += seconds_in(time.saturating_sub(self.began.unwrap_or(time))),
            Some((last, last_cut)) => {
                let passed = time.as_secs_f64() - last.time.as_secs_f64();
                let seconds = passed.round();
                self.missing_beeps += (seconds - 1.0).max(0.0) as u64;
                let regular = cut || last_cut || (passed - seconds).abs() <= REGULAR_S;
                self.irregular_beeps += u64::from(!regular);
                let turn = (u64::from(last.second_modulo_4) + seconds.max(0.0) as u64) % 4;
                self.out_of_turn += u64::from(turn != pitch as u64);
            }
        }
        if !cut {
            let seconds = time.as_secs_f64();
            self.offset_ms.add((seconds - seconds.round()) * 1_000.0);
            if self.onsets.len() == SECONDS_KEPT {
                self.onsets.pop_front();
            }
            self.onsets.push_back(onset);
        }
    }

    fn report(&self) -> AudioReport {
        let since = self
            .last
            .map(|(last, _)| last.time)
            .or(self.began)
            .unwrap_or(self.end);
        let delay_ms = self.delay_ms.summary();
        AudioReport {
            frames: self.frames,
            played_s: self.samples as f64 / f64::from(RATE),
            wrong_format: self.wrong_format,
            gaps: self.gaps,
            missing_ms: self.missing_ms,
            overlaps: self.overlaps,
            level_dbfs: self.level.summary(),
            steady_dbfs: self.steady.summary(),
            tone_snr_db: self.tone_snr.summary(),
            silent_ms: self.silent_ms,
            longest_silence_ms: self.longest_silence_ms,
            beeps: self.beeps,
            missing_beeps: self.missing_beeps + seconds_in(self.end.saturating_sub(since)),
            irregular_beeps: self.irregular_beeps,
            out_of_turn: self.out_of_turn,
            other_noises: self.other_noises,
            beep_offset_ms: self.offset_ms.summary(),
            delay_ms: delay_ms.map(|delay| delay.minus(delay.min)),
            ended: self.ended,
            onsets: self.onsets.clone(),
            limits: self.limits,
        }
    }
}

/// How many beeps surely fit into `time` after a beep; one that began just now is not known yet.
fn seconds_in(time: Duration) -> u64 {
    time.saturating_sub(Duration::from_millis(100)).as_secs()
}

fn dbfs(power: f64) -> f64 {
    10.0 * power.max(1e-12).log10()
}
