//! What an [`AudioVerifier`](super::AudioVerifier) found, and what it thinks of it.

use super::{super::Summary, were};
use serde::Serialize;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// From when on the sound played is bad.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AudioLimits {
    /// The share of beeps, from 0 to 1, that may be missing. Default 0.
    pub missing_beeps: f64,
    /// The share of beeps, from 0 to 1, that may be shifted. Default 0: raise it together with the one above, for a lost
    /// packet may hide the beginning of a beep.
    pub irregular_beeps: f64,
    /// Longest silence in milliseconds. Default 100: the tone never stops, and what is lost should be concealed.
    pub silence_ms: f64,
    /// Milliseconds of sound that may be missing on the media clock. Default 0.
    pub missing_ms: f64,
    /// Lowest and highest median level of the steady tone in dBFS. Default −35 and −23; it is sent at −29.
    pub steady_dbfs: (f64, f64),
    /// Lowest median of the steady tone over everything else in dB. Default 10.
    pub tone_snr_db: f64,
    /// Longest delay in milliseconds, compared with the sound that was played the soonest. Default 500.
    pub delay_ms: f64,
}

impl Default for AudioLimits {
    fn default() -> Self {
        Self {
            missing_beeps: 0.0,
            irregular_beeps: 0.0,
            silence_ms: 100.0,
            missing_ms: 0.0,
            steady_dbfs: (-35.0, -23.0),
            tone_snr_db: 10.0,
            delay_ms: 500.0,
        }
    }
}

/// The beginning of a beep, to the millisecond.
#[derive(Debug, Clone, Copy)]
pub struct Onset {
    /// On the media clock: the frame's time and the samples since.
    pub time: Duration,
    /// When it was played: the moment that the sink was given and the samples since.
    pub at: Instant,
    /// The second of the source's clock that it belongs to, modulo 4, as its pitch tells.
    pub second_modulo_4: u8,
}

/// What an [`AudioVerifier`](super::AudioVerifier) found. What is not known is `None`.
#[derive(Debug, Clone, Serialize)]
pub struct AudioReport {
    /// Frames played.
    pub frames: u64,
    /// Seconds of sound played.
    pub played_s: f64,
    /// Frames that are not 48 kHz with one or two channels; they are not looked into.
    pub wrong_format: u64,
    /// Places at which the media clock jumps forward.
    pub gaps: u64,
    /// Milliseconds that are missing there.
    pub missing_ms: f64,
    /// Places at which the media clock jumps back.
    pub overlaps: u64,
    /// RMS level of each frame in dBFS (0 for a constant 1; −120 for nothing).
    pub level_dbfs: Option<Summary>,
    /// RMS level between the beeps in dBFS.
    pub steady_dbfs: Option<Summary>,
    /// The steady tone over everything else, between the beeps, in dB.
    pub tone_snr_db: Option<Summary>,
    /// Milliseconds of frames below −60 dBFS.
    pub silent_ms: f64,
    /// The longest run of them in milliseconds.
    pub longest_silence_ms: f64,
    /// Beeps heard.
    pub beeps: u64,
    /// Beeps that should have been heard, by the media clock, from the first sample to the last.
    pub missing_beeps: u64,
    /// Beeps that are not a whole number of seconds after the one before, by more than 30 ms of the media clock.
    pub irregular_beeps: u64,
    /// Beeps whose pitch is not the one whose turn it was: seconds were lost or repeated unseen.
    pub out_of_turn: u64,
    /// Loud sounds that are no beep, and beeps less than half a second after another.
    pub other_noises: u64,
    /// Milliseconds of the media clock from the nearest full second to a beep. Near 0, but for the codec's delay, if the
    /// media clock is the source's; constant if it began elsewhere.
    pub beep_offset_ms: Option<Summary>,
    /// How much later than the sound that was played the soonest each frame was played, in milliseconds.
    pub delay_ms: Option<Summary>,
    /// When the last sound ended.
    #[serde(skip)]
    pub ended: Option<Instant>,
    /// The last 60 beeps.
    #[serde(skip)]
    pub onsets: VecDeque<Onset>,
    /// By what it is judged.
    pub limits: AudioLimits,
}

impl AudioReport {
    /// `good` or `bad`, and why, in words.
    pub fn verdict(&self) -> String {
        let mut figures = vec![format!("{:.1} s of sound, {} beeps", self.played_s, self.beeps)];
        if let Some(steady) = self.steady_dbfs {
            figures.push(format!("tone {:.0} dBFS", steady.median));
        }
        if let Some(snr) = self.tone_snr_db {
            figures.push(format!("{:.0} dB above the rest", snr.median));
        }
        super::verdict(&figures, &self.problems())
    }

    /// What is wrong if no sound was played for longer than the limit of silence before `now`, in words. The other problems
    /// do not say it, for a report does not know whether sound was still to come.
    pub fn stalled(&self, now: Instant) -> Option<String> {
        let since = super::signed_ms(now, self.ended?);
        (since > self.limits.silence_ms).then(|| format!("no sound for the last {since:.0} ms"))
    }

    /// What is wrong, in words; empty if nothing is.
    pub fn problems(&self) -> Vec<String> {
        let limits = self.limits;
        let mut found = Vec::new();
        let mut check = |bad: bool, text: &dyn Fn() -> String| {
            if bad {
                found.push(text());
            }
        };
        let expected = self.beeps + self.missing_beeps;

        check(self.frames == 0, &|| "no sound was played".into());
        check(self.wrong_format > 0, &|| {
            format!("{} not 48 kHz, mono or stereo", were(self.wrong_format, "frame"))
        });
        check(self.longest_silence_ms > limits.silence_ms, &|| {
            let (silent, longest) = (self.silent_ms / 1_000.0, self.longest_silence_ms / 1_000.0);
            format!(
                "{silent:.2} s of {:.2} s were silent, {longest:.2} s at once",
                self.played_s
            )
        });
        check(self.missing_ms > limits.missing_ms, &|| {
            format!(
                "{:.0} ms of sound are missing in {} gaps",
                self.missing_ms, self.gaps
            )
        });
        check(self.overlaps > 0, &|| {
            format!("the media clock went back {} times", self.overlaps)
        });
        let share = |beeps| beeps as f64 / expected.max(1) as f64;
        check(share(self.missing_beeps) > limits.missing_beeps, &|| {
            format!("{} missing of {expected}", were(self.missing_beeps, "beep"))
        });
        check(share(self.irregular_beeps) > limits.irregular_beeps, &|| {
            format!(
                "{} shifted: not a whole second after the last",
                were(self.irregular_beeps, "beep")
            )
        });
        check(self.out_of_turn > 0, &|| {
            format!(
                "{} out of turn: seconds were lost or repeated",
                were(self.out_of_turn, "beep")
            )
        });
        check(self.other_noises > 0, &|| {
            format!("{} heard besides", were(self.other_noises, "loud noise"))
        });
        if let Some(steady) = self.steady_dbfs {
            let (low, high) = limits.steady_dbfs;
            check(!(low..=high).contains(&steady.median), &|| {
                format!("the tone is at {:.0} dBFS, not at −29", steady.median)
            });
        }
        if let Some(snr) = self.tone_snr_db {
            check(snr.median < limits.tone_snr_db, &|| {
                format!(
                    "the tone is distorted: {:.0} dB above the rest, limit {}",
                    snr.median, limits.tone_snr_db
                )
            });
        }
        if let Some(delay) = self.delay_ms {
            check(delay.max > limits.delay_ms, &|| {
                format!(
                    "sound was played up to {:.0} ms late, limit {}",
                    delay.max, limits.delay_ms
                )
            });
        }
        found
    }
}
