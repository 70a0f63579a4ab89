//! What is known of names: bounded in number and in time.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::OnceCell, time::Instant};

/// The most names that are kept. A lookup that is under way when its name is put out goes on, but is not shared.
const MAX_ENTRIES: usize = 256;

/// How long an address is kept: the lifetime of the records of mDNS (RFC 6762 §10). A browser whose address changes
/// makes a new name for the new one.
const KEPT: Duration = Duration::from_secs(120);

/// How long it is kept that nobody answers to a name. The same name comes in several candidates, and once more when
/// the caller tries again.
const KEPT_UNKNOWN: Duration = Duration::from_secs(5);

/// The outcome of a lookup, or the lookup under way, which all who ask for the name share.
pub(super) type Known = Arc<OnceCell<Option<IpAddr>>>;

/// Names and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: Mutex<HashMap<String, (Instant, Known)>>,
}

impl Cache {
    /// What is known of a name; empty if it has to be looked up.
    pub(super) fn entry(&self, name: &str) -> Known {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, known)) = entries.get(name)
            && is_fresh(*since, known, now)
        {
            return Arc::clone(known);
        }
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, (since, known)| is_fresh(*since, known, now));
        }
        if entries.len() >= MAX_ENTRIES {
            let oldest = entries.iter().min_by_key(|(_, (since, _))| *since);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                entries.remove(&oldest);
            }
        }
        let known = Known::default();
        entries.insert(name.to_owned(), (now, Arc::clone(&known)));
        known
    }
}

fn is_fresh(since: Instant, known: &Known, now: Instant) -> bool {
    let kept = match known.get() {
        Some(None) => super::DEADLINE + KEPT_UNKNOWN,
        _ => KEPT,
    };
    now.duration_since(since) < kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn is_bounded_and_forgets() {
        let cache = Cache::default();
        let address: IpAddr = [192, 0, 2, 1].into();
        cache.entry("known").set(Some(address)).unwrap();
        cache.entry("unknown").set(None).unwrap();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(cache.entry("known").get(), Some(&Some(address)));
        assert_eq!(cache.entry("unknown").get(), None, "it may be there by now");
        for i in 0..1000 {
            cache.entry(&i.to_string());
        }
        assert_eq!(cache.entries.lock().unwrap().len(), MAX_ENTRIES);
        assert_eq!(cache.entry("known").get(), None, "the oldest went first");
        tokio::time::advance(KEPT).await;
        cache.entry("999").set(Some(address)).unwrap();
    }
}
