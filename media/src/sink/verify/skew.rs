//! Whether picture and sound belong together.

use super::{super::stats::Histogram, AudioReport, VideoReport, signed_ms};
use serde::Serialize;
use std::time::Duration;

/// From when the beep of a second is heard to when the picture of that second is shown; positive if the sound is late.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Skew {
    /// Seconds for which both were found.
    pub matched: u64,
    /// The median in milliseconds.
    pub median_ms: f64,
    /// The one farthest from zero, in milliseconds.
    pub max_ms: f64,
}

impl Skew {
    /// A limit below what people notice: 45 ms for early sound, 125 ms for late sound (ITU-R BT.1359).
    pub const LIMIT: Duration = Duration::from_millis(60);

    /// What is wrong if the median may be `limit` either way, in words; empty if nothing is.
    pub fn problems(&self, limit: Duration) -> Vec<String> {
        if self.median_ms.abs() <= limit.as_secs_f64() * 1_000.0 {
            return Vec::new();
        }
        let late = if self.median_ms > 0.0 {
            "behind"
        } else {
            "ahead of"
        };
        vec![format!(
            "the sound is {:.0} ms {late} the picture",
            self.median_ms.abs()
        )]
    }
}

/// The skew over the last minute; `None` if no second was both seen and heard.
///
/// The pitch of a beep tells which of four seconds it belongs to, so sound that is up to two seconds early or late is
/// still matched with its own second.
pub fn skew(video: &VideoReport, audio: &AudioReport) -> Option<Skew> {
    let mut skews = matches(video, audio).map(|(_, skew)| skew).collect::<Vec<_>>();
    skews.sort_by(f64::total_cmp);
    let farthest = skews.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()))?;
    Some(Skew {
        matched: skews.len() as u64,
        median_ms: skews[skews.len() / 2],
        max_ms: farthest,
    })
}

/// Follows the skew over a run of any length: give it reports at least once a minute, for they hold no more.
#[derive(Debug, Clone)]
pub struct SkewMeter {
    next_second: u64,
    skews: Histogram,
}

impl SkewMeter {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self {
            next_second: 0,
            skews: Histogram::new(-2_000.0, 1.0, 4_000),
        }
    }

    /// Takes the seconds that are new in these reports.
    pub fn update(&mut self, video: &VideoReport, audio: &AudioReport) {
        let from = self.next_second;
        for (second, skew) in matches(video, audio).filter(|(second, _)| *second >= from) {
            self.skews.add(skew);
            self.next_second = self.next_second.max(second + 1);
        }
    }

    /// The skew over all that it was given; `None` if there was nothing to compare.
    pub fn skew(&self) -> Option<Skew> {
        let summary = self.skews.summary()?;
        let max_ms = if summary.max >= -summary.min {
            summary.max
        } else {
            summary.min
        };
        Some(Skew {
            matched: summary.count,
            median_ms: summary.median,
            max_ms,
        })
    }
}

impl Default for SkewMeter {
    fn default() -> Self {
        Self::new()
    }
}

/// The seconds that were seen and heard, and the skew of each in milliseconds.
fn matches(video: &VideoReport, audio: &AudioReport) -> impl Iterator<Item = (u64, f64)> {
    video.seconds.iter().filter_map(|shown| {
        let own = audio
            .onsets
            .iter()
            .filter(|onset| u64::from(onset.second_modulo_4) == shown.second % 4);
        let skews = own
            .map(|onset| signed_ms(onset.at, shown.at))
            .filter(|skew| skew.abs() < 2_000.0);
        let nearest = skews.min_by(|a, b| a.abs().total_cmp(&b.abs()))?;
        Some((shown.second, nearest))
    })
}
