//! What holds a remote peer's data back while an application is behind with reading.
//!
//! str0m hands on all that SCTP delivers and has no way to leave it there. So between DTLS and SCTP packets wait here,
//! bounded, and the remote SCTP, without acknowledgements, stops when its window is full. What acknowledges our own
//! data passes: else two peers that are both behind would wait for each other for ever. Not before DTLS, where it cannot
//! be told apart, and where what waited would come out too late for DTLS's own protection against replay.
//!
//! Acknowledgements are changed on their way, for SCTP's cost grows with what is in flight and with each of them: those that
//! come allow no more than the path needs, and those that go wait for the last datagram of a read, for the last one says
//! all that the others did.

use crate::sctp::{HEADER, HEARTBEAT, HEARTBEAT_ACK, SACK, chunks, pad, seal};
use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So many packets wait; more are dropped, and SCTP sends them again. About what SCTP's window of 1 MiB lets a peer
/// send.
const MAX_HELD: usize = 1024;

/// So many acknowledgements are left out in a row, at most: the remote peer goes on while we read.
const MAX_DEFERRED: usize = 32;

/// The length of a SACK chunk without gaps and duplicates (RFC 9260 §3.3.4).
const PLAIN_SACK: usize = 16;

thread_local! {
    static NEW: RefCell<Option<Arc<Gate>>> = const { RefCell::new(None) };
}

/// The gate of one peer, which its driver and its DTLS share.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    held: VecDeque<Box<[u8]>>,
    /// What may go to SCTP now.
    due: VecDeque<Box<[u8]>>,
    /// More datagrams follow at once.
    reading: bool,
    /// Our last acknowledgement, which the next one replaces, and how many it stands for.
    acknowledgement: Option<Box<[u8]>>,
    deferred: usize,
    /// At most so many bytes of ours may be under way.
    window: Option<usize>,
}

impl State {
    /// Whether what comes must wait, if only for what came before it.
    fn is_closed(&self) -> bool {
        self.closed || !self.held.is_empty()
    }
}

impl Gate {
    /// The gate of the DTLS that `build` makes: str0m makes that by a provider without a peer.
    pub(crate) fn of<T>(build: impl FnOnce() -> T) -> (Arc<Self>, T) {
        let gate = Arc::<Self>::default();
        NEW.set(Some(Arc::clone(&gate)));
        let built = build();
        NEW.set(None);
        (gate, built)
    }

    /// The gate of the peer that is being made.
    pub(crate) fn current() -> Arc<Self> {
        NEW.with_borrow(Clone::clone).unwrap_or_default()
    }

    /// Closes the gate, or opens it as soon as nothing waits.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.lock().closed = closed;
    }

    /// Whether something waits.
    pub(crate) fn holds(&self) -> bool {
        !self.lock().held.is_empty()
    }

    /// More datagrams follow at once, or none does. Returns whether an acknowledgement is left, which goes when DTLS is
    /// next polled.
    pub(crate) fn set_reading(&self, reading: bool) -> bool {
        let mut state = self.lock();
        state.reading = reading;
        !reading && state.acknowledgement.is_some()
    }

    /// Whether a packet of ours waits: one that acknowledges and nothing else, while more is read.
    pub(crate) fn defer(&self, packet: &[u8]) -> bool {
        if !is_plain_acknowledgement(packet) {
            return false;
        }
        let mut state = self.lock();
        let defers = state.reading && state.deferred < MAX_DEFERRED;
        state.deferred = if defers { state.deferred + 1 } else { 0 };
        // This one says all that an earlier one did.
        state.acknowledgement = defers.then(|| packet.into());
        defers
    }

    /// The acknowledgement that waited, once nothing more is read.
    pub(crate) fn take_acknowledgement(&self) -> Option<Box<[u8]>> {
        let mut state = self.lock();
        if state.reading {
            return None;
        }
        state.deferred = 0;
        state.acknowledgement.take()
    }

    /// Lets the oldest packet go to SCTP when DTLS is next polled. Returns whether there was one.
    pub(crate) fn release(&self) -> bool {
        let mut state = self.lock();
        let oldest = state.held.pop_front();
        let any = oldest.is_some();
        state.due.extend(oldest);
        any
    }

    /// Limits what of ours is under way, in bytes: SCTP itself has no such setting, but asks the remote peer how much it
    /// may send (RFC 9260 §6.2.1), and the answers come through here.
    pub(crate) fn set_window(&self, window: Option<usize>) {
        self.lock().window = window;
    }

    /// Writes a packet that was let go into `out`, and returns its length.
    pub(crate) fn take_due(&self, out: &mut [u8]) -> Option<usize> {
        let packet = self.lock().due.pop_front()?;
        copy(&packet, out)
    }

    /// A packet came: writes what may go to SCTP into `out`, and returns its length.
    ///
    /// What passes a closed gate is only what acknowledges, and the question whether we live. All else keeps its order.
    pub(crate) fn pass(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let state = self.lock();
        let (is_closed, window) = (state.is_closed(), state.window);
        drop(state);
        let len = if is_closed {
            self.pass_closed(packet, out)?
        } else {
            copy(packet, out)?
        };
        if let Some(window) = window {
            narrow(&mut out[..len], window);
        }
        Some(len)
    }

    fn pass_closed(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let passes = |chunk: &&[u8]| matches!(chunk[0], SACK | HEARTBEAT | HEARTBEAT_ACK);
        if chunks(packet).all(|chunk| passes(&chunk)) {
            return copy(packet, out);
        }
        if !chunks(packet).any(|chunk| passes(&chunk)) {
            self.hold(packet.into());
            return None;
        }
        self.hold(only(packet, |chunk| !passes(chunk)).into());
        copy(&only(packet, passes), out)
    }

    fn hold(&self, packet: Box<[u8]>) {
        let mut state = self.lock();
        if state.held.len() < MAX_HELD {
            state.held.push_back(packet);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn copy(packet: &[u8], out: &mut [u8]) -> Option<usize> {
    out.get_mut(..packet.len())?.copy_from_slice(packet);
    Some(packet.len())
}

/// Whether a packet has one SACK without gaps and duplicates, and nothing else. One that tells of a gap counts: a sender
/// repeats what three of them miss (RFC 9260 §7.2.4).
fn is_plain_acknowledgement(packet: &[u8]) -> bool {
    packet.len() == HEADER + PLAIN_SACK
        && matches!(packet[HEADER..], [SACK, _, 0, length, ..] if length as usize == PLAIN_SACK)
}

/// Lets an acknowledgement allow `window` bytes at most.
fn narrow(packet: &mut [u8], window: usize) {
    if packet.len() < HEADER + PLAIN_SACK || packet[HEADER] != SACK {
        return;
    }
    let window = (window as u32).to_be_bytes();
    let credit = &mut packet[HEADER + 8..HEADER + 12];
    if *credit > window[..] {
        credit.copy_from_slice(&window);
        seal(packet);
    }
}

/// The packet with some of its chunks.
fn only(packet: &[u8], wanted: impl Fn(&&[u8]) -> bool) -> Vec<u8> {
    let mut part = packet[..HEADER].to_vec();
    for chunk in chunks(packet).filter(wanted) {
        part.extend_from_slice(chunk);
        pad(&mut part);
    }
    seal(&mut part);
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sctp::DATA;

    fn packet(types: &[u8]) -> Vec<u8> {
        let mut packet = vec![7; HEADER];
        for kind in types {
            packet.extend_from_slice(&[*kind, 0, 0, 6, *kind, 1, 0, 0]);
        }
        seal(&mut packet);
        packet
    }

    fn pass(gate: &Gate, packet: &[u8]) -> Option<Vec<u8>> {
        let mut out = [0; 2000];
        gate.pass(packet, &mut out).map(|len| out[..len].to_vec())
    }

    fn due(gate: &Gate) -> Option<Vec<u8>> {
        let mut out = [0; 2000];
        gate.take_due(&mut out).map(|len| out[..len].to_vec())
    }

    #[test]
    fn what_acknowledges_passes_and_all_else_waits_in_order() {
        let gate = Gate::default();
        gate.set_closed(true);
        for passing in [packet(&[SACK]), packet(&[HEARTBEAT, HEARTBEAT_ACK])] {
            assert_eq!(pass(&gate, &passing), Some(passing));
        }
        // I-DATA, FORWARD-TSN and RE-CONFIG.
        let waiting = [64, 192, 130].map(|kind| packet(&[DATA, kind]));
        for waits in &waiting {
            assert_eq!(pass(&gate, waits), None);
        }
        gate.set_closed(false);
        assert!(gate.lock().is_closed(), "what comes now would overtake");
        assert_eq!(due(&gate), None);
        for waits in waiting {
            assert!(gate.release());
            assert_eq!(due(&gate), Some(waits));
        }
        assert!(!gate.release() && !gate.lock().is_closed());
    }

    #[test]
    fn a_packet_with_both_is_taken_apart() {
        let gate = Gate::default();
        gate.set_closed(true);
        assert_eq!(
            pass(&gate, &packet(&[SACK, DATA, HEARTBEAT, DATA])),
            Some(packet(&[SACK, HEARTBEAT]))
        );
        assert!(gate.release());
        assert_eq!(due(&gate), Some(packet(&[DATA, DATA])));
    }

    fn sack(credit: u32) -> Vec<u8> {
        let mut packet = vec![7; HEADER];
        packet.extend_from_slice(&[SACK, 0, 0, 16, 1, 2, 3, 4]);
        packet.extend_from_slice(&credit.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        seal(&mut packet);
        packet
    }

    #[test]
    fn an_acknowledgement_allows_no_more_than_the_window() {
        let gate = Gate::default();
        assert_eq!(pass(&gate, &sack(1_000_000)), Some(sack(1_000_000)));
        gate.set_window(Some(5_000));
        for closed in [false, true] {
            gate.set_closed(closed);
            assert_eq!(pass(&gate, &sack(1_000_000)), Some(sack(5_000)));
            assert_eq!(pass(&gate, &sack(4_000)), Some(sack(4_000)));
        }
        gate.set_closed(false);
        assert_eq!(pass(&gate, &packet(&[DATA, DATA])), Some(packet(&[DATA, DATA])));
    }

    #[test]
    fn of_a_burst_the_last_acknowledgement_goes() {
        let gate = Gate::default();
        assert!(!gate.defer(&sack(1)), "nothing more is read");
        gate.set_reading(true);
        assert!(gate.defer(&sack(2)) && gate.defer(&sack(3)));
        assert!(!gate.defer(&packet(&[DATA])) && !gate.defer(&packet(&[SACK, SACK])));
        assert_eq!(gate.take_acknowledgement(), None, "more is read");
        assert!(gate.set_reading(false));
        assert_eq!(gate.take_acknowledgement().as_deref(), Some(&sack(3)[..]));
        assert!(!gate.set_reading(false));
        // The last of the burst goes by itself.
        gate.set_reading(true);
        assert!(gate.defer(&sack(4)));
        gate.set_reading(false);
        assert!(!gate.defer(&sack(5)));
        assert_eq!(gate.take_acknowledgement(), None);
        // A long burst is acknowledged on the way.
        gate.set_reading(true);
        assert_eq!(
            (0..3 * (MAX_DEFERRED + 1))
                .filter(|n| !gate.defer(&sack(*n as u32)))
                .count(),
            3
        );
    }

    #[test]
    fn what_waits_is_bounded() {
        let gate = Gate::default();
        gate.set_closed(true);
        for _ in 0..2 * MAX_HELD {
            assert_eq!(pass(&gate, &packet(&[DATA])), None);
        }
        let mut held = 0;
        while gate.release() {
            held += 1;
        }
        assert_eq!(held, MAX_HELD);
    }

    #[test]
    fn malformed_packets_do_no_harm() {
        let gate = Gate::default();
        gate.set_closed(true);
        for length in 0..40 {
            let mut malformed = packet(&[SACK, DATA, SACK]);
            malformed.truncate(length);
            pass(&gate, &malformed);
        }
        assert_eq!(pass(&gate, &[]), Some(Vec::new()), "that is for SCTP to refuse");
    }
}
