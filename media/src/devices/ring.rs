//! Sound between a device's callback and its reader or writer: bounded, and what is lost is counted.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::Error;

/// Interleaved samples.
pub(crate) struct Ring {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    samples: VecDeque<f32>,
    /// At most so many.
    most: usize,
    /// When the last of them came in.
    newest: Option<Instant>,
    /// Samples that were dropped, and that were missing.
    overrun: u64,
    underrun: u64,
    /// Whether the taking side waits until there is a reserve again.
    filling: bool,
    failed: Option<Error>,
}

impl Ring {
    /// For at most `most` samples. Give channels times frames, or the channels of what is lost change places.
    pub(crate) fn new(most: usize) -> Self {
        let state = State {
            samples: VecDeque::with_capacity(most),
            most,
            newest: None,
            overrun: 0,
            underrun: 0,
            filling: true,
            failed: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Puts samples in; the oldest go if there are too many, so many that `rest` stay.
    pub(crate) fn push(&self, samples: impl ExactSizeIterator<Item = f32>, rest: usize) {
        let mut state = self.lock();
        if state.samples.len() + samples.len() > state.most {
            let surplus = state.samples.len().saturating_sub(rest);
            state.samples.drain(..surplus);
            state.overrun += surplus as u64;
        }
        let room = state.most - state.samples.len();
        state.overrun += samples.len().saturating_sub(room) as u64;
        state.samples.extend(samples.take(room));
        state.newest = Some(Instant::now());
        self.changed.notify_all();
    }

    /// Waits for at least one sample and takes all. The time is that of the last of them; none if nothing came.
    ///
    /// # Errors
    ///
    /// What the device said.
    pub(crate) fn take_all(&self, out: &mut Vec<f32>, deadline: Duration) -> Result<Option<Instant>, Error> {
        let empty = |state: &mut State| state.samples.is_empty() && state.failed.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), deadline, empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        if state.samples.is_empty() {
            return Ok(None);
        }
        out.extend(state.samples.drain(..));
        Ok(state.newest)
    }

    /// Fills `out` for the device, with silence until there are `reserve` samples and when there are none.
    pub(crate) fn fill(&self, out: &mut [f32], reserve: usize) {
        let mut state = self.lock();
        if state.filling && state.samples.len() < reserve {
            out.fill(0.0);
            return;
        }
        state.filling = false;
        let count = out.len().min(state.samples.len());
        for (to, from) in out.iter_mut().zip(state.samples.drain(..count)) {
            *to = from;
        }
        out[count..].fill(0.0);
        if count < out.len() {
            state.underrun += (out.len() - count) as u64;
            state.filling = true;
        }
        if state.samples.is_empty() {
            self.changed.notify_all();
        }
    }

    /// Plays what is there, without a reserve, and waits until it is gone.
    pub(crate) fn drain(&self, deadline: Duration) {
        let mut state = self.lock();
        state.filling = false;
        drop(
            self.changed
                .wait_timeout_while(state, deadline, |state| !state.samples.is_empty()),
        );
    }

    /// Whether anything came yet, waiting for it.
    pub(crate) fn wait(&self, deadline: Duration) -> bool {
        let silent = |state: &mut State| state.newest.is_none() && state.failed.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), deadline, silent);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.newest.is_some() || state.failed.is_some()
    }

    /// Drops what is there.
    pub(crate) fn clear(&self) {
        self.lock().samples.clear();
    }

    /// The device's last word.
    pub(crate) fn fail(&self, error: Error) {
        self.lock().failed = Some(error);
        self.changed.notify_all();
    }

    /// What the device said, once.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.lock().failed.take()
    }

    pub(crate) fn overrun(&self) -> u64 {
        self.lock().overrun
    }

    pub(crate) fn underrun(&self) -> u64 {
        self.lock().underrun
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_lost() {
        let ring = Ring::new(10);
        ring.push((0..8).map(|n| n as f32), 4);
        ring.push((8..12).map(|n| n as f32), 4);
        assert_eq!(ring.overrun(), 4);
        let mut out = Vec::new();
        assert!(ring.take_all(&mut out, Duration::ZERO).unwrap().is_some());
        assert_eq!(out, [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        assert!(ring.take_all(&mut out, Duration::ZERO).unwrap().is_none());
    }

    #[test]
    fn plays_from_a_reserve() {
        let ring = Ring::new(10);
        // Bit for bit: nothing is computed.
        let bits = |samples: &[f32]| samples.iter().map(|sample| sample.to_bits()).collect::<Vec<_>>();
        let mut out = [1.0; 4];
        ring.push([2.0; 3].into_iter(), 0);
        ring.fill(&mut out, 5);
        assert_eq!(bits(&out), bits(&[0.0; 4]));
        ring.push([3.0; 3].into_iter(), 0);
        ring.fill(&mut out, 5);
        assert_eq!(bits(&out), bits(&[2.0, 2.0, 2.0, 3.0]));
        ring.fill(&mut out, 5);
        assert_eq!((bits(&out), ring.underrun()), (bits(&[3.0, 3.0, 0.0, 0.0]), 2));
    }
}
