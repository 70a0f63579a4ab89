//! Checks what a receiver shows and plays against what [`Pattern`](crate::source::Pattern) and
//! [`Tone`](crate::source::Tone) sent, without a list that grows: a run of days takes no more memory than a minute.

mod audio;
mod beep;
mod fidelity;
mod heard;
mod order;
mod shown;
mod skew;
mod video;

pub use audio::AudioVerifier;
pub use heard::{AudioLimits, AudioReport, Onset};
pub use shown::{SecondShown, VideoLimits, VideoReport};
pub use skew::{Skew, SkewMeter, skew};
pub use video::VideoVerifier;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// Seconds of which the moments are kept, for [`skew()`].
const SECONDS_KEPT: usize = 60;

/// Reads a verifier's report while it runs, from anywhere.
#[derive(Clone)]
pub struct Reports<R> {
    read: Arc<dyn Fn() -> R + Send + Sync>,
}

impl<R> Reports<R> {
    /// The report up to now.
    pub fn report(&self) -> R {
        (self.read)()
    }
}

impl<R> fmt::Debug for Reports<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").finish_non_exhaustive()
    }
}

/// A handle on `state`, of which `report` makes a report.
fn reports<S: Send + 'static, R>(state: &Arc<Mutex<S>>, report: fn(&S) -> R) -> Reports<R>
where
    R: 'static,
{
    let state = Arc::clone(state);
    Reports {
        read: Arc::new(move || report(&lock(&state))),
    }
}

/// A poisoned lock only means that someone else panicked: numbers stay numbers.
fn lock<S>(state: &Mutex<S>) -> MutexGuard<'_, S> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds from `earlier` to `later`, below zero if it is the other way round.
fn signed_ms(later: Instant, earlier: Instant) -> f64 {
    match later.checked_duration_since(earlier) {
        Some(after) => after.as_secs_f64() * 1_000.0,
        None => -earlier.duration_since(later).as_secs_f64() * 1_000.0,
    }
}

/// `good` and some figures, or what is wrong.
fn verdict(figures: &[String], problems: &[String]) -> String {
    let figures = figures.join(", ");
    match problems {
        [] => format!("good: {figures}"),
        problems => format!("bad: {} ({figures})", problems.join("; ")),
    }
}

/// `1 picture was`, `2 pictures were`.
fn were(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun} was")
    } else {
        format!("{count} {noun}s were")
    }
}

#[cfg(test)]
mod tests;
