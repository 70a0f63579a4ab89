//! The latest picture of a device: one place, which the device's thread fills and the reader empties.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use visavis_core::Error;

/// One place for what a device gives.
pub(super) struct Latest<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    item: Option<T>,
    /// What were replaced before they were taken.
    dropped: u64,
    /// Why nothing more comes, until it was told.
    failed: Option<Error>,
    /// The reader wants no more.
    stopped: bool,
    /// The device is free.
    closed: bool,
}

/// What the reader found.
pub(super) enum Taken<T> {
    Item(T),
    Failed(Error),
    /// Nothing came in time.
    TimedOut,
    /// Nothing will come, and why was told before.
    Closed,
}

impl<T> Latest<T> {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                item: None,
                dropped: 0,
                failed: None,
                stopped: false,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Puts the newest in; false if no more are wanted.
    pub(super) fn put(&self, item: T) -> bool {
        let mut state = self.lock();
        if state.item.replace(item).is_some() {
            state.dropped += 1;
        }
        self.changed.notify_all();
        !state.stopped
    }

    /// The device gives no more.
    pub(super) fn fail(&self, error: Error) {
        self.lock().failed = Some(error);
        self.changed.notify_all();
    }

    /// The device is free.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for the next one.
    pub(super) fn take(&self, deadline: Duration) -> Taken<T> {
        let waiting = |state: &mut State<T>| state.item.is_none() && state.failed.is_none() && !state.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), deadline, waiting);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(item) = state.item.take() {
            return Taken::Item(item);
        }
        match state.failed.take() {
            Some(error) => Taken::Failed(error),
            None if state.closed => Taken::Closed,
            None => Taken::TimedOut,
        }
    }

    /// Waits until there is one, or none can come.
    pub(super) fn wait(&self, deadline: Duration) {
        let waiting = |state: &mut State<T>| state.item.is_none() && state.failed.is_none() && !state.closed;
        drop(self.changed.wait_timeout_while(self.lock(), deadline, waiting));
    }

    /// Whether there is one.
    pub(super) fn is_filled(&self) -> bool {
        self.lock().item.is_some()
    }

    /// Counts one that is of no use.
    pub(super) fn count_dropped(&self) {
        self.lock().dropped += 1;
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Wants no more, and waits until the device is free.
    pub(super) fn stop(&self, deadline: Duration) {
        self.lock().stopped = true;
        drop(
            self.changed
                .wait_timeout_while(self.lock(), deadline, |state| !state.closed),
        );
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
