//! Pictures a second as a fraction, so that the time of the millionth picture is exact.

use std::{fmt, str::FromStr, time::Duration};
use visavis_core::{Error, Result};

/// Pictures a second as a fraction: 30, or 30000/1001.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    pictures: u32,
    seconds: u32,
}

impl FrameRate {
    /// `pictures` in `seconds`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if either is zero, or for more than 1,000 pictures a second.
    pub fn new(pictures: u32, seconds: u32) -> Result<Self> {
        if pictures == 0 || seconds == 0 || u64::from(pictures) > 1_000 * u64::from(seconds) {
            let message = format!("{pictures}/{seconds} pictures a second are not above 0 and up to 1000");
            return Err(Error::invalid_input("frame_rate", message));
        }
        Ok(Self { pictures, seconds })
    }

    /// From pictures a second. 23.976, 29.97 and 59.94 and their like mean the NTSC fractions over 1001; everything
    /// else is rounded to a thousandth.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn from_fps(fps: f32) -> Result<Self> {
        let whole = (fps * 1.001).round();
        if fps.fract() != 0.0 && (fps - whole / 1.001).abs() < 0.002 {
            return Self::new((whole as u32).saturating_mul(1_000), 1_001);
        }
        if fps.fract() == 0.0 {
            return Self::new(fps as u32, 1);
        }
        Self::new((fps * 1_000.0).round() as u32, 1_000)
    }

    /// Pictures a second.
    pub fn fps(self) -> f32 {
        self.pictures as f32 / self.seconds as f32
    }

    /// From one picture to the next, to the nanosecond below.
    pub fn interval(self) -> Duration {
        self.time(1)
    }

    /// The time of picture `number`, counted from 0, to the nanosecond below. It does not drift.
    pub fn time(self, number: u32) -> Duration {
        // A picture in at most u32::MAX seconds, so up to 2^64 seconds: capped, far beyond any run.
        let nanos = u128::from(number) * u128::from(self.seconds) * 1_000_000_000 / u128::from(self.pictures);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The full second (0, 1, 2 …) that begins with picture `number`, or `None` if the picture is not the first one
    /// at or after a full second.
    pub fn second_begun_by(self, number: u32) -> Option<u64> {
        let (pictures, seconds) = (u64::from(self.pictures), u64::from(self.seconds));
        let second = u64::from(number) * seconds / pictures;
        ((second * pictures).div_ceil(seconds) == u64::from(number)).then_some(second)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            1 => write!(f, "{}", self.pictures),
            seconds => write!(f, "{}/{seconds}", self.pictures),
        }
    }
}

impl FromStr for FrameRate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = match text.split_once('/') {
            Some((pictures, seconds)) => pictures
                .parse()
                .ok()
                .zip(seconds.parse().ok())
                .map(|(p, s)| Self::new(p, s)),
            None => text.parse().ok().map(Self::from_fps),
        };
        parsed.unwrap_or_else(|| {
            let message = format!("`{text}` is not pictures a second, like 30, 29.97 or 30000/1001");
            Err(Error::invalid_input("frame_rate", message))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_after_an_hour() {
        let ntsc: FrameRate = "29.97".parse().unwrap();
        assert_eq!(ntsc.to_string(), "30000/1001");
        assert_eq!(ntsc.time(30_000 * 3), Duration::from_secs(1_001 * 3));
        assert_eq!(
            FrameRate::from_fps(30.0).unwrap().time(108_000),
            Duration::from_secs(3_600)
        );
        assert_eq!(
            FrameRate::from_fps(12.5).unwrap().time(25),
            Duration::from_secs(2)
        );
    }

    #[test]
    fn each_second_begins_with_one_picture() {
        for rate in ["30", "29.97", "25", "12.5", "59.94", "7/3"] {
            let rate: FrameRate = rate.parse().unwrap();
            let begun = (0..1_000)
                .filter_map(|n| rate.second_begun_by(n))
                .collect::<Vec<_>>();
            assert_eq!(begun, (0..begun.len() as u64).collect::<Vec<_>>(), "{rate}");
            let first = (0..1_000).find(|n| rate.second_begun_by(*n) == Some(3)).unwrap();
            assert!(
                rate.time(first) >= Duration::from_secs(3) && rate.time(first - 1) < Duration::from_secs(3)
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["0", "-1", "nan", "inf", "1/0", "0/1", "x", "", "1e9", "30/"] {
            assert!(text.parse::<FrameRate>().is_err(), "{text}");
        }
    }
}
