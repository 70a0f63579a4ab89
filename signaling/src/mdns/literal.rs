//! Signaling whose received signals have literal addresses.

use super::{MAX_NAMES, Resolver, lookup_name, named_candidate, split};
use async_trait::async_trait;
use std::collections::HashSet;
use tokio::task::JoinSet;
use visavis_core::{Candidate, Result, Signal, Signaling};

/// The most candidates that wait for their names. One name may be in several: a port for each m-line.
const MAX_SEARCHES: usize = 64;

/// Wraps any signaling so that what is received has literal addresses in place of mDNS names. What is sent is not
/// changed.
///
/// Nothing waits for a name: a candidate with one comes when it is found, as if the remote peer had trickled it then,
/// and the rest comes as it was sent, in order. So a description comes at once, without those candidates, and they
/// follow. Only the end of candidates and the end of the signaling come after them. A candidate whose name is not found
/// within [`DEADLINE`](super::DEADLINE) is left out, and so are those after the first [`MAX_NAMES`] names of a
/// description and of its trickled candidates.
#[derive(Debug)]
pub struct Literal<S> {
    inner: S,
    resolver: Resolver,
    searches: JoinSet<Option<Candidate>>,
    /// The names that were looked up since the last description.
    tried: HashSet<String>,
    /// What comes when the searches are over: the end of candidates, and the end of the signaling.
    no_more_candidates: Option<Candidate>,
    ended: bool,
}

impl<S: Signaling> Literal<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, resolver: Resolver) -> Self {
        Self {
            inner,
            resolver,
            searches: JoinSet::new(),
            tried: HashSet::new(),
            no_more_candidates: None,
            ended: false,
        }
    }

    /// What of this signal can be told now.
    fn take(&mut self, signal: Signal) -> Option<Signal> {
        match signal {
            Signal::Description(description) => {
                let (description, named) = split(description);
                self.tried.clear();
                for candidate in named {
                    self.search(candidate);
                }
                Some(Signal::Description(description))
            }
            Signal::Candidate(candidate) if candidate.is_end() && !self.searches.is_empty() => {
                self.no_more_candidates = Some(candidate);
                None
            }
            Signal::Candidate(candidate) if named_candidate(&candidate.candidate).is_some() => {
                self.search(candidate);
                None
            }
            other => Some(other),
        }
    }

    fn search(&mut self, candidate: Candidate) {
        let name = named_candidate(&candidate.candidate).and_then(|parsed| lookup_name(&parsed));
        let wanted = name.is_some_and(|name| {
            self.tried.contains(&name) || (self.tried.len() < MAX_NAMES && self.tried.insert(name))
        });
        if !wanted || self.searches.len() >= MAX_SEARCHES {
            tracing::debug!(candidate = %candidate.candidate, "an mDNS candidate is left out");
            return;
        }
        let resolver = self.resolver.clone();
        self.searches
            .spawn(async move { resolver.literal_candidate(candidate).await });
    }
}

#[async_trait]
impl<S: Signaling> Signaling for Literal<S> {
    async fn send(&mut self, signal: Signal) -> Result<()> {
        self.inner.send(signal).await
    }

    // Cancel safe: nothing is held over an await but what is in `self`.
    async fn recv(&mut self) -> Result<Option<Signal>> {
        loop {
            if self.searches.is_empty() {
                if let Some(end) = self.no_more_candidates.take() {
                    return Ok(Some(Signal::Candidate(end)));
                }
                if self.ended {
                    return Ok(None);
                }
            }
            tokio::select! {
                biased;
                // First, so that those that are over make room.
                Some(found) = self.searches.join_next() => if let Ok(Some(candidate)) = found {
                    return Ok(Some(Signal::Candidate(candidate)));
                },
                signal = self.inner.recv(), if !self.ended => match signal? {
                    None => self.ended = true,
                    Some(signal) => if let Some(now) = self.take(signal) {
                        return Ok(Some(now));
                    }
                }
            }
        }
    }
}
