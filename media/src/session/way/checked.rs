//! Checks of the receiver that stop when its source is replaced.

use crate::sink::{AudioVerifier, Reports, VideoVerifier};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::time::Instant;
use visavis_core::{
    AudioFrame, Result, VideoFrame,
    media::{AudioSink, VideoSink},
};

/// What was found, and the way to stop looking.
#[derive(Debug)]
pub(super) struct Check<R> {
    pub(super) reports: Reports<R>,
    stopped: Arc<AtomicBool>,
}

impl<R> Check<R> {
    /// Looks at nothing any more: what comes is of another source than the one that is known.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// What was found up to now. `frames` tells how many frames a report is about: one about none says nothing once
    /// checking has stopped.
    pub(super) fn report(&self, frames: impl FnOnce(&R) -> u64) -> Option<R> {
        let report = self.reports.report();
        (!self.stopped.load(Ordering::Acquire) || frames(&report) > 0).then_some(report)
    }
}

/// A verifier that is given what comes until checking stops.
pub(super) struct Checked<V> {
    verifier: V,
    stopped: Arc<AtomicBool>,
}

impl<V> Checked<V> {
    /// The verifier as a sink, and its check.
    pub(super) fn new<R>(verifier: V, reports: Reports<R>) -> (Self, Check<R>) {
        let stopped = Arc::<AtomicBool>::default();
        let check = Check {
            reports,
            stopped: Arc::clone(&stopped),
        };
        (Self { verifier, stopped }, check)
    }
}

impl VideoSink for Checked<VideoVerifier> {
    fn show(&mut self, frame: &VideoFrame, at: Instant) -> Result<()> {
        if self.stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        self.verifier.show(frame, at)
    }
}

impl AudioSink for Checked<AudioVerifier> {
    fn play(&mut self, frame: &AudioFrame, at: Instant) -> Result<()> {
        if self.stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        self.verifier.play(frame, at)
    }
}
