//! ICE's checks on their way in and out: which of them the library must not see yet, must see again, or must not send.

use crate::socket::{Batch, lock};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::Instant;
use webrtc::runtime::RecvMeta;

/// The first byte of STUN (RFC 7983 §7).
pub(crate) const STUN: RangeInclusive<u8> = 0..=3;

/// So many checks of one address, and so many in all, are held by a socket until there is a remote description.
const MAX_OF_ONE: usize = 4;
const MAX_EARLY: usize = 32;

/// How long an answerer waits for the offerer's first check before it sends its own.
const FIRST_CHECK: Duration = Duration::from_millis(100);

/// ICE paces its checks by as much (RFC 8445 §14.2).
const PACE: Duration = Duration::from_millis(50);

/// How a Binding request and its success response begin (RFC 8489 §5), and the length of their header.
const REQUEST: [u8; 2] = [0x00, 0x01];
const SUCCESS: [u8; 2] = [0x01, 0x01];
const HEADER: usize = 20;

/// The attribute with which an offerer nominates (RFC 8445 §16.1).
const USE_CANDIDATE: [u8; 2] = [0x00, 0x25];

/// An answerer's wait for the offerer's first check.
#[derive(Debug, Default)]
pub(crate) struct FirstCheck {
    until: Mutex<Option<Instant>>,
    /// Whether `until` is of interest, so that a packet need not lock to know.
    waits: AtomicBool,
}

impl FirstCheck {
    /// An offer with new credentials was answered.
    pub(crate) fn wait(&self) {
        *lock(&self.until) = Some(Instant::now() + FIRST_CHECK);
        self.waits.store(true, SeqCst);
    }

    /// Whether this must not leave yet.
    pub(crate) fn is_hasty(&self, contents: &[u8]) -> bool {
        if !self.waits.load(SeqCst) || !contents.starts_with(&REQUEST) {
            return false;
        }
        let hasty = lock(&self.until).is_some_and(|until| Instant::now() < until);
        if !hasty {
            self.waits.store(false, SeqCst);
        }
        hasty
    }

    /// Looks at what has arrived.
    pub(crate) fn observe(&self, contents: &[u8]) {
        if contents.starts_with(&REQUEST) {
            self.waits.store(false, SeqCst);
        }
    }
}

/// The last check that one socket sent.
///
/// The answerer's ICE checks in turn whenever it is checked, even if its own is due at that moment and goes out as well.
#[derive(Debug, Default)]
pub(crate) struct LastCheck(Mutex<Option<(Instant, SocketAddr)>>);

impl LastCheck {
    /// Whether this repeats the last check, sooner than any timer of ICE does.
    pub(crate) fn is_repeated_by(&self, contents: &[u8], destination: SocketAddr) -> bool {
        if !contents.starts_with(&REQUEST) {
            return false;
        }
        let (now, mut last) = (Instant::now(), lock(&self.0));
        let repeats = last.is_some_and(|(at, whom)| whom == destination && now - at < PACE);
        if repeats && !nominates(contents) {
            return true;
        }
        *last = Some((now, destination));
        false
    }
}

/// The checks that have come to one socket: to ICE it matters which it was.
#[derive(Default)]
pub(crate) struct Checks {
    /// What came before the remote description.
    early: VecDeque<Batch>,
    /// The last nomination, while ICE has no pair.
    nomination: Option<Batch>,
    /// It is to be read again.
    again: bool,
}

impl Checks {
    /// Keeps what is too early. The newest win: the remote peer no longer waits for an answer to old ones.
    pub(crate) fn hold(&mut self, contents: &[u8], meta: RecvMeta) {
        let of_it = |(_, other): &Batch| other.addr == meta.addr;
        if self.early.iter().filter(|read| of_it(read)).count() >= MAX_OF_ONE {
            let oldest = self.early.iter().position(of_it);
            oldest.and_then(|oldest| self.early.remove(oldest));
        } else if self.early.len() >= MAX_EARLY {
            self.early.pop_front();
        }
        self.early.push_back((contents.into(), meta));
    }

    /// Looks at STUN that the library reads. Returns whether it must read the nomination again after that.
    pub(crate) fn observe(&mut self, contents: &[u8], meta: &RecvMeta, has_pair: bool) -> bool {
        if has_pair {
            self.nomination = None;
            return false;
        }
        let mut answered = false;
        for datagram in contents.chunks(meta.stride) {
            if datagram.starts_with(&REQUEST) && nominates(datagram) {
                let mut its_meta = *meta;
                (its_meta.len, its_meta.stride) = (datagram.len(), datagram.len());
                self.nomination = Some((datagram.into(), its_meta));
            }
            answered |= datagram.starts_with(&SUCCESS);
        }
        self.again |= answered
            && self
                .nomination
                .as_ref()
                .is_some_and(|(_, its)| its.addr == meta.addr);
        self.again
    }

    /// What is to be read now.
    pub(crate) fn take(&mut self, described: bool) -> Option<Batch> {
        if std::mem::take(&mut self.again) && self.nomination.is_some() {
            return self.nomination.clone();
        }
        if described { self.early.pop_front() } else { None }
    }
}

/// Whether a check nominates its pair.
fn nominates(check: &[u8]) -> bool {
    let mut rest = check.get(HEADER..).unwrap_or_default();
    while let [kind @ .., high, low] = rest.get(..4).unwrap_or_default() {
        if *kind == USE_CANDIDATE {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low])).next_multiple_of(4);
        rest = rest.get(4 + length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: [u8; 2], number: u8, attributes: &[u8]) -> Vec<u8> {
        let mut message = vec![number; HEADER];
        message[..2].copy_from_slice(&kind);
        message.extend_from_slice(attributes);
        message
    }

    fn read(contents: &[u8], stride: usize, port: u16) -> RecvMeta {
        let mut meta = RecvMeta::default();
        (meta.addr, meta.len, meta.stride) = (([127, 0, 0, 1], port).into(), contents.len(), stride);
        meta
    }

    /// USERNAME with three bytes, and what nominates.
    const ATTRIBUTES: [u8; 12] = [0, 6, 0, 3, b'a', b':', b'b', 0, 0, 0x25, 0, 0];

    #[test]
    fn the_newest_early_checks_of_each_address_are_kept() {
        let mut checks = Checks::default();
        let hold = |checks: &mut Checks, number: u8, port: u16| {
            let check = message(REQUEST, number, &[]);
            checks.hold(&check, read(&check, check.len(), port));
        };
        hold(&mut checks, 100, 1);
        for number in 0..10 {
            hold(&mut checks, number, 2);
        }
        assert!(checks.take(false).is_none());
        let numbers = |checks: &mut Checks| {
            let reads = std::iter::from_fn(|| checks.take(true));
            reads.map(|(contents, _)| contents[2]).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&mut checks), [100, 6, 7, 8, 9]);
        for port in 0..100 {
            hold(&mut checks, port as u8, port);
        }
        assert_eq!(numbers(&mut checks), (68..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_nomination_is_read_again_behind_the_answer() {
        let mut checks = Checks::default();
        let nomination = message(REQUEST, 1, &ATTRIBUTES);
        let answer = message(SUCCESS, 2, &[]);
        let see = |checks: &mut Checks, contents: &[u8], port, has_pair| {
            let stride = contents.len().min(nomination.len());
            checks.observe(contents, &read(contents, stride, port), has_pair)
        };
        assert!(!see(&mut checks, &answer, 1, false), "there is no nomination");
        assert!(!see(&mut checks, &nomination, 1, false));
        assert!(!see(&mut checks, &answer, 2, false), "of somebody else");
        assert!(checks.take(true).is_none());
        assert!(see(&mut checks, &answer, 1, false));
        assert_eq!(*checks.take(true).unwrap().0, nomination);
        assert!(checks.take(true).is_none(), "once an answer");
        // Both in one read.
        let both = [nomination.clone(), answer.clone()].concat();
        assert!(see(&mut Checks::default(), &both, 1, false));
        // There is a pair, and then an ICE restart.
        assert!(!see(&mut checks, &answer, 1, true));
        assert!(!see(&mut checks, &answer, 1, false));
    }

    #[test]
    fn only_a_nomination_nominates() {
        assert!(nominates(&message(REQUEST, 0, &ATTRIBUTES)));
        assert!(!nominates(&message(REQUEST, 0, &ATTRIBUTES[..8])));
        for length in 0..HEADER + 11 {
            assert!(
                !nominates(&message(REQUEST, 0, &ATTRIBUTES)[..length]),
                "{length}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_check_is_waited_for() {
        let first = FirstCheck::default();
        let (request, answer) = (message(REQUEST, 0, &[]), message(SUCCESS, 0, &[]));
        assert!(!first.is_hasty(&request));
        first.wait();
        assert!(first.is_hasty(&request) && !first.is_hasty(&answer));
        first.observe(&answer);
        assert!(first.is_hasty(&request));
        first.observe(&request);
        assert!(!first.is_hasty(&request));
        first.wait();
        assert!(first.is_hasty(&request));
        tokio::time::advance(FIRST_CHECK).await;
        assert!(!first.is_hasty(&request));
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_made_twice_goes_once() {
        let (last, here, there) = (
            LastCheck::default(),
            ([127, 0, 0, 1], 1).into(),
            ([127, 0, 0, 1], 2).into(),
        );
        let (check, answer) = (message(REQUEST, 0, &[]), message(SUCCESS, 0, &[]));
        assert!(!last.is_repeated_by(&check, here));
        assert!(last.is_repeated_by(&check, here) && !last.is_repeated_by(&answer, here));
        assert!(
            !last.is_repeated_by(&message(REQUEST, 0, &ATTRIBUTES), here),
            "it nominates"
        );
        assert!(!last.is_repeated_by(&check, there) && !last.is_repeated_by(&check, here));
        tokio::time::advance(PACE).await;
        assert!(!last.is_repeated_by(&check, here));
    }
}
