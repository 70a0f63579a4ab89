//! All callers there are, and what is counted of those there were.

use super::caller::Caller;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// The callers.
#[derive(Debug)]
pub(super) struct Callers {
    max: usize,
    last_id: AtomicU64,
    /// How many places are taken: by callers, and by offers that are being answered.
    taken: watch::Sender<usize>,
    present: Mutex<BTreeMap<u64, Arc<Caller>>>,
    pub(super) totals: Totals,
}

/// What is counted since the start. What present callers have echoed is added when they end.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Offers that came, the first ones of callers and later ones.
    pub(super) offers: AtomicU64,
    /// Of these, answered with an error.
    pub(super) refused: AtomicU64,
    /// Of these, the first of a caller, and answered.
    pub(super) answered: AtomicU64,
    /// Of these, a later one, and answered.
    pub(super) renegotiated: AtomicU64,
    /// Callers who connected.
    pub(super) connected: AtomicU64,
    /// Callers who are gone.
    pub(super) ended: AtomicU64,
    pub(super) frames_echoed: AtomicU64,
    pub(super) frames_dropped: AtomicU64,
    pub(super) messages_echoed: AtomicU64,
    pub(super) bytes_echoed: AtomicU64,
}

/// A caller's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// The caller's.
    pub(super) id: u64,
    taken: watch::Sender<usize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.send_modify(|taken| *taken -= 1);
    }
}

impl Callers {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            last_id: AtomicU64::new(0),
            taken: watch::Sender::new(0),
            present: Mutex::default(),
            totals: Totals::default(),
        }
    }

    /// How many there may be.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// A place for one more, if there is any.
    pub(super) fn admit(&self) -> Option<Place> {
        let admitted = self.taken.send_if_modified(|taken| {
            let room = *taken < self.max;
            *taken += usize::from(room);
            room
        });
        admitted.then(|| Place {
            id: count(&self.last_id),
            taken: self.taken.clone(),
        })
    }

    /// Whether every place is free.
    pub(super) fn is_empty(&self) -> bool {
        *self.taken.borrow() == 0
    }

    /// Somebody got an answer.
    pub(super) fn arrived(&self, caller: &Arc<Caller>) {
        count(&self.totals.answered);
        self.lock().insert(caller.id, Arc::clone(caller));
    }

    /// Somebody is gone.
    pub(super) fn left(&self, caller: &Caller) {
        let Some(caller) = self.lock().remove(&caller.id) else {
            return;
        };
        count(&self.totals.ended);
        let (counts, totals) = (&caller.counts, &self.totals);
        for (count, total) in [
            (&counts.frames_echoed, &totals.frames_echoed),
            (&counts.frames_dropped, &totals.frames_dropped),
            (&counts.messages_echoed, &totals.messages_echoed),
            (&counts.bytes_echoed, &totals.bytes_echoed),
        ] {
            total.fetch_add(count.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// The caller who got this token.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Caller>> {
        self.lock().values().find(|caller| caller.token == token).cloned()
    }

    /// Those who are here, in the order in which they came.
    pub(super) fn present(&self) -> Vec<Arc<Caller>> {
        self.lock().values().cloned().collect()
    }

    /// Waits until every place is free.
    pub(super) async fn none_left(&self) {
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Caller>>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more; the number that it is.
pub(super) fn count(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed) + 1
}
