//! mDNS candidates (draft-ietf-rtcweb-mdns-ice-candidates): browsers hide their addresses behind names such as
//! `1f4712db-ea17-4bcf-a596-105139dfd8bf.local`, unless the page may use the microphone or camera.
//!
//! We resolve them once, before any stack sees them, so that it works the same on every stack. A [`Resolver`] opens
//! sockets of its own on port 5353 when the first such name comes: mDNS does not go through core's `Net`, and its
//! deadline is short of real time under Tokio's paused clock.

mod cache;
mod daemon;
mod literal;
mod peer;

pub use literal::Literal;

use async_trait::async_trait;
use cache::Cache;
use daemon::Daemon;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use visavis_core::{
    Candidate, CandidateTransport, ParsedCandidate, Sdp, SessionDescription, sdp::MAX_SDP_LEN,
};

/// The most names of one description that are looked up. Browsers have one for each address of the host; each name
/// of a stranger costs the local network two multicast queries.
pub const MAX_NAMES: usize = 16;

/// How long a name is looked for. Chromium sends one mDNS packet a second for all its pages together, and each new name
/// takes two of them: the first name after a rest is known within 1.1 s, one after a reload may take longer than this.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// How many names are looked up at once, of all descriptions together. More wait, within their deadline.
const MAX_AT_ONCE: usize = 64;

/// Finds the addresses of mDNS candidates. Clones share one cache and one mDNS daemon, which starts when the first name
/// is looked up and stops when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    names: Box<dyn Lookup>,
    cache: Cache,
    at_once: Semaphore,
}

/// There was no room for a lookup in time.
struct Busy;

/// Asks the network for a name; takes as long as it is let.
#[async_trait]
trait Lookup: Send + Sync {
    async fn lookup(&self, name: &str) -> Option<IpAddr>;
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

impl Resolver {
    /// A resolver that has not started its daemon yet.
    pub fn new() -> Self {
        Self::with(Box::new(Daemon::default()))
    }

    fn with(names: Box<dyn Lookup>) -> Self {
        Self {
            shared: Arc::new(Shared {
                names,
                cache: Cache::default(),
                at_once: Semaphore::new(MAX_AT_ONCE),
            }),
        }
    }

    /// The address of an mDNS candidate's name, or `None` if nobody on the local network answers for it within
    /// [`DEADLINE`].
    ///
    /// Only names that the draft allows are looked up, a UUID and `.local`: a stranger's candidates must not make us
    /// ask for the printer.
    pub async fn resolve(&self, name: &str) -> Option<IpAddr> {
        let name = candidate_name(name)?;
        let until = Instant::now() + DEADLINE;
        let known = self.shared.cache.entry(&name);
        let found = known.get_or_try_init(|| async {
            let _permit = self.shared.at_once.acquire().await.map_err(|_| Busy)?;
            // Too late to say of a name that nobody answers: it is not remembered.
            if until - Instant::now() < DEADLINE / 2 {
                return Err(Busy);
            }
            Ok(timeout_at(until, self.shared.names.lookup(&name))
                .await
                .ok()
                .flatten())
        });
        *timeout_at(until, found).await.ok()?.ok()?
    }

    /// The same description with literal addresses in place of mDNS names, after [`DEADLINE`] at the latest. Where
    /// candidates can be added later, [`split`] spares the wait. A candidate whose name cannot be resolved,
    /// or whose kind no stack speaks, is left out; so are names after the first [`MAX_NAMES`].
    ///
    /// What does not parse is left as it is, for core to refuse.
    pub async fn literal_description(&self, mut description: SessionDescription) -> SessionDescription {
        if !has_names(&description) {
            return description;
        }
        let mut wanted = HashSet::new();
        for parsed in description.sdp.lines().filter_map(named_candidate) {
            if wanted.len() < MAX_NAMES
                && let Some(name) = lookup_name(&parsed)
            {
                wanted.insert(name);
            }
        }
        let mut searches = JoinSet::new();
        for name in wanted {
            let resolver = self.clone();
            searches.spawn(async move {
                let address = resolver.resolve(&name).await?;
                Some((name, address))
            });
        }
        let mut found = HashMap::new();
        while let Some(searched) = searches.join_next().await {
            found.extend(searched.ok().flatten());
        }
        description.sdp = rewrite(&description.sdp, &found);
        description
    }

    /// The same candidate with a literal address in place of an mDNS name, or `None` if it cannot be resolved or is of
    /// a kind that no stack speaks.
    ///
    /// What does not parse is left as it is, for core to refuse.
    pub async fn literal_candidate(&self, mut candidate: Candidate) -> Option<Candidate> {
        let Some(parsed) = named_candidate(&candidate.candidate) else {
            return Some(candidate);
        };
        let address = match lookup_name(&parsed) {
            Some(name) => self.resolve(&name).await,
            None => None,
        };
        let Some(address) = address else {
            left_out(&parsed);
            return None;
        };
        candidate.candidate = with_address(&candidate.candidate, &parsed, address);
        Some(candidate)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

/// Takes the candidates with mDNS names out of a description, for a peer that does not want to wait for them: it sets
/// the description at once, and each candidate when [`Resolver::literal_candidate`] has found it. Candidates of kinds
/// that no stack speaks, and names after the first [`MAX_NAMES`], are left out.
///
/// Most calls do not need them: the browser's own checks show its address as soon as it has ours. They are for when
/// something in between lets only our checks through first.
pub fn split(mut description: SessionDescription) -> (SessionDescription, Vec<Candidate>) {
    if !has_names(&description) {
        return (description, Vec::new());
    }
    // What does not parse is for core to refuse.
    let Ok(mut sdp) = description.sdp.parse::<Sdp>() else {
        return (description, Vec::new());
    };
    let mut names = HashSet::new();
    let (mut candidates, _) = sdp.take_candidates();
    candidates.retain(|candidate| {
        let name = named_candidate(&candidate.candidate).and_then(|parsed| lookup_name(&parsed));
        name.is_some_and(|name| names.contains(&name) || (names.len() < MAX_NAMES && names.insert(name)))
    });
    let lines = description.sdp.split_inclusive('\n');
    description.sdp = lines
        .filter(|line| named_candidate(line.trim_end_matches(['\r', '\n'])).is_none())
        .collect();
    (description, candidates)
}

/// Whether a description has mDNS names. One that core refuses for its length is not looked at.
fn has_names(description: &SessionDescription) -> bool {
    description.sdp.len() <= MAX_SDP_LEN
        && description
            .sdp
            .lines()
            .any(|line| named_candidate(line).is_some())
}

/// The candidate of this line (`a=candidate:…` or `candidate:…`), if its address is a `.local` name.
fn named_candidate(line: &str) -> Option<ParsedCandidate> {
    if !line.starts_with("a=candidate:") && !line.starts_with("candidate:") {
        return None;
    }
    let parsed: ParsedCandidate = line.parse().ok()?;
    let name = parsed.address.trim_end_matches('.').to_ascii_lowercase();
    matches!(name.rsplit_once('.'), Some((_, "local"))).then_some(parsed)
}

/// The name to look up for a candidate, if one with a literal address would be used.
fn lookup_name(parsed: &ParsedCandidate) -> Option<String> {
    if parsed.transport != CandidateTransport::Udp || parsed.component != 1 {
        return None;
    }
    candidate_name(&parsed.address)
}

/// A UUID and `.local`, in lower case: all that the draft allows (§3.1.1).
fn candidate_name(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let uuid = name.strip_suffix(".local")?;
    let hyphens = [8, 13, 18, 23];
    let is_uuid = uuid.len() == 36
        && uuid.bytes().enumerate().all(|(i, b)| {
            if hyphens.contains(&i) {
                b == b'-'
            } else {
                b.is_ascii_hexdigit()
            }
        });
    is_uuid.then_some(name)
}

/// The SDP with these addresses in place, and without the candidates whose names have none.
fn rewrite(sdp: &str, found: &HashMap<String, IpAddr>) -> String {
    let mut out = String::with_capacity(sdp.len());
    for line in sdp.split_inclusive('\n') {
        let Some(parsed) = named_candidate(line.trim_end_matches(['\r', '\n'])) else {
            out.push_str(line);
            continue;
        };
        match lookup_name(&parsed).and_then(|name| found.get(&name)) {
            Some(address) => out.push_str(&with_address(line, &parsed, *address)),
            None => left_out(&parsed),
        }
    }
    out
}

/// The line with its address replaced. Nothing before the address in a line that parses has a dot, so the first
/// occurrence of the name is the address.
fn with_address(line: &str, parsed: &ParsedCandidate, address: IpAddr) -> String {
    line.replacen(&parsed.address, &address.to_string(), 1)
}

fn left_out(parsed: &ParsedCandidate) {
    tracing::debug!(name = %parsed.address, "an mDNS candidate that cannot be used is left out");
}

#[cfg(test)]
mod tests;
