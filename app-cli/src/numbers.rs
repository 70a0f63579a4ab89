//! Times as numbers, and how they spread.

use serde::Serialize;
use std::time::Duration;

/// Milliseconds, to the microsecond.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

/// How values spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The smallest.
    pub(crate) min: f64,
    /// The one in the middle, or the mean of the two there, to three decimals.
    pub(crate) median: f64,
    /// The smallest that 95 % of them do not exceed.
    #[serde(skip)]
    pub(crate) p95: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of the values, if there are any.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let (&min, &max) = (values.first()?, values.last()?);
        Some(Self {
            min,
            median: (f64::midpoint(values[(n - 1) / 2], values[n / 2]) * 1000.0).round() / 1000.0,
            p95: values[(n * 95).div_ceil(100) - 1],
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_by_rank() {
        assert_eq!(Spread::of(std::iter::empty()), None);
        let spread = Spread::of((1..=20).rev().map(f64::from)).unwrap();
        let expected = Spread {
            min: 1.0,
            median: 10.5,
            p95: 19.0,
            max: 20.0,
        };
        assert_eq!(spread, expected);
        assert_eq!(Spread::of([3.0].into_iter()).map(|s| s.p95), Some(3.0));
    }

    #[test]
    fn times_are_kept_to_the_microsecond() {
        assert_eq!(millis(Duration::from_nanos(1_234_567)).to_string(), "1.234");
    }
}
