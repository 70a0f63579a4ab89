//! File times: ticks of a file's own clock, in nanoseconds.

use super::{Read, Trouble};
use std::time::Duration;

/// No file is longer; beyond it, times are damaged.
const LONGEST: i64 = 366 * 24 * 3600 * 1_000_000_000;

/// `ticks` of `numerator / denominator` seconds each, in nanoseconds.
pub(super) fn nanoseconds(ticks: i128, numerator: u64, denominator: u64) -> Read<i64> {
    let scaled = ticks
        .checked_mul(i128::from(numerator))
        .and_then(|ticks| ticks.checked_mul(1_000_000_000))
        .and_then(|ticks| ticks.checked_div(i128::from(denominator)));
    scaled
        .and_then(|ns| i64::try_from(ns).ok())
        .filter(|ns| ns.abs() <= LONGEST)
        .ok_or_else(|| Trouble::damaged("a frame's time is more than a year"))
}

/// The same, where only lengths between a millisecond and ten seconds make sense: a frame's.
pub(super) fn interval(ticks: u64, numerator: u64, denominator: u64) -> Option<Duration> {
    let ns = nanoseconds(i128::from(ticks), numerator, denominator).ok()?;
    let length = Duration::from_nanos(u64::try_from(ns).ok()?);
    (Duration::from_millis(1)..=Duration::from_secs(10))
        .contains(&length)
        .then_some(length)
}
