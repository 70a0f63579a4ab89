//! What a [`VideoVerifier`](super::VideoVerifier) found, and what it thinks of it.

use super::super::Summary;
use serde::Serialize;
use std::collections::VecDeque;
use tokio::time::Instant;

/// From when on the pictures shown are bad.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct VideoLimits {
    /// The share of numbers, from 0 to 1, that may be missing. Default 0: raise it where the network loses packets.
    pub missing: f64,
    /// Lowest mean PSNR of luma in dB. Default 26.
    pub mean_psnr: f64,
    /// Lowest PSNR of luma of one picture in dB; below, it is damaged. Default 20.
    pub psnr: f64,
    /// Lowest PSNR of luma, in dB, of each of the 8 by 6 parts of a picture; below, it is damaged in part. Default 11.
    pub part_psnr: f64,
    /// Longest age of a picture in milliseconds; above, it is stale. Default 500.
    pub age_ms: f64,
    /// Longest time without a new picture in milliseconds. Default 1,000.
    pub pause_ms: f64,
}

impl Default for VideoLimits {
    fn default() -> Self {
        Self {
            missing: 0.0,
            mean_psnr: 26.0,
            psnr: 20.0,
            part_psnr: 11.0,
            age_ms: 500.0,
            pause_ms: 1_000.0,
        }
    }
}

/// When the picture that begins a full second of the pattern's clock was shown.
#[derive(Debug, Clone, Copy)]
pub struct SecondShown {
    /// 0, 1, 2 …
    pub second: u64,
    /// The moment that the sink was given.
    pub at: Instant,
}

/// What a [`VideoVerifier`](super::VideoVerifier) found. What is not known is `None`.
#[derive(Debug, Clone, Serialize)]
pub struct VideoReport {
    /// Pictures shown, of whatever kind.
    pub frames: u64,
    /// Pictures with a higher number than any before, and the first.
    pub in_order: u64,
    /// Pictures with the number of the one before, or shown before otherwise.
    pub repeated: u64,
    /// Pictures with a lower number than the one before.
    pub backwards: u64,
    /// Times that the numbers began anew, far below the ones before.
    pub restarts: u64,
    /// Places at which numbers are missing.
    pub gaps: u64,
    /// Numbers that were never shown, between the first and the last.
    pub missing: u64,
    /// Pictures of the right size without a readable number, also counted in `flat`.
    pub unreadable: u64,
    /// Unreadable pictures of one colour.
    pub flat: u64,
    /// Pictures of another size than the pattern's.
    pub wrong_size: u64,
    /// Pictures that were older than the limit.
    pub stale: u64,
    /// Pictures with a PSNR below the limit.
    pub damaged: u64,
    /// Other pictures with a part whose PSNR is below the limit.
    pub damaged_in_part: u64,
    /// The first number.
    pub first_number: Option<u32>,
    /// The last number.
    pub last_number: Option<u32>,
    /// PSNR of luma in dB; 100 for identical pictures.
    pub psnr_luma_db: Option<Summary>,
    /// PSNR of luma and chroma together in dB.
    pub psnr_db: Option<Summary>,
    /// PSNR of luma in the worst of 8 by 6 parts of each picture, in dB.
    pub psnr_worst_part_db: Option<Summary>,
    /// Ages in milliseconds: since the picture's time on the source's clock if the verifier knows its epoch, otherwise
    /// compared with the picture that was shown the soonest.
    pub age_ms: Option<Summary>,
    /// Whether the ages count from the source's epoch.
    pub age_from_epoch: bool,
    /// Milliseconds from one new picture to the next.
    pub interval_ms: Option<Summary>,
    /// Intervals that a person notices: over three times the nominal one and over 150 ms more than it (as `freezeCount`
    /// of WebRTC statistics).
    pub freezes: u64,
    /// When the last new picture was shown.
    #[serde(skip)]
    pub last_new: Option<Instant>,
    /// The moments of the last 60 full seconds.
    #[serde(skip)]
    pub seconds: VecDeque<SecondShown>,
    /// By what it is judged.
    pub limits: VideoLimits,
}

impl VideoReport {
    /// The share of numbers that were never shown, from 0 to 1.
    pub fn missing_share(&self) -> f64 {
        self.missing as f64 / (self.missing + self.in_order).max(1) as f64
    }

    /// `good` or `bad`, and why, in words.
    pub fn verdict(&self) -> String {
        let mut figures = vec![format!("{} pictures", self.frames)];
        if let Some(psnr) = self.psnr_luma_db {
            figures.push(format!("luma PSNR {:.1} dB, at least {:.1}", psnr.mean, psnr.min));
        }
        if let Some(age) = self.age_ms {
            figures.push(format!("age {:.0} ms, at most {:.0}", age.median, age.max));
        }
        super::verdict(&figures, &self.problems())
    }

    /// What is wrong if no new picture was shown for longer than the limit before `now`, in words. The other problems do
    /// not say it, for a report does not know whether pictures were still to come.
    pub fn stalled(&self, now: Instant) -> Option<String> {
        let since = super::signed_ms(now, self.last_new?);
        (since > self.limits.pause_ms).then(|| format!("no new picture for the last {since:.0} ms"))
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
        let pictures = |count| super::were(count, "picture");

        check(self.frames == 0, &|| "no picture was shown".into());
        check(self.repeated > 0, &|| {
            format!("{} repeated", pictures(self.repeated))
        });
        check(self.backwards > 0, &|| {
            format!("{} shown after a later one (backwards)", pictures(self.backwards))
        });
        check(self.restarts > 0, &|| {
            format!("the numbers began anew {} times", self.restarts)
        });
        check(self.missing > 0 && self.missing_share() > limits.missing, &|| {
            let share = 100.0 * self.missing_share();
            format!(
                "{} missing in {} gaps ({share:.1} %)",
                pictures(self.missing),
                self.gaps
            )
        });
        check(self.flat > 0, &|| {
            format!("{} grey or of one colour", pictures(self.flat))
        });
        check(self.unreadable > self.flat, &|| {
            format!("{} unreadable", pictures(self.unreadable - self.flat))
        });
        check(self.wrong_size > 0, &|| {
            format!("{} of the wrong size", pictures(self.wrong_size))
        });
        check(self.damaged > 0, &|| {
            format!(
                "{} damaged: PSNR below {} dB",
                pictures(self.damaged),
                limits.psnr
            )
        });
        check(self.damaged_in_part > 0, &|| {
            format!(
                "{} damaged in part: PSNR there below {} dB",
                pictures(self.damaged_in_part),
                limits.part_psnr
            )
        });
        if let Some(psnr) = self.psnr_luma_db {
            check(psnr.mean < limits.mean_psnr, &|| {
                format!("the mean PSNR is {:.1} dB, below {}", psnr.mean, limits.mean_psnr)
            });
        }
        if let (Some(age), 1..) = (self.age_ms, self.stale) {
            let text = format!(
                "{} stale: up to {:.0} ms late, limit {}",
                pictures(self.stale),
                age.max,
                limits.age_ms
            );
            found.push(text);
        }
        if let Some(longest) = self
            .interval_ms
            .map(|interval| interval.max)
            .filter(|ms| *ms > limits.pause_ms)
        {
            found.push(format!("the picture stood still for {longest:.0} ms"));
        }
        found
    }
}
