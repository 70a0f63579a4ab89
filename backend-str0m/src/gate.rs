//! What holds a remote peer's data back while an application is behind with reading.
//!
//! str0m hands on all that SCTP delivers and has no way to leave it there. So between DTLS and SCTP packets wait here,
//! bounded, and the remote SCTP, without acknowledgements, stops when its window is full. What acknowledges our own
//! data passes: else two peers that are both behind would wait for each other for ever. Not before DTLS, where it cannot
//! be told apart, and where what waited would come out too late for DTLS's own protection against replay.

use crate::sctp::{HEADER, HEARTBEAT, HEARTBEAT_ACK, SACK, chunks, pad, seal};
use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So many packets wait; more are dropped, and SCTP sends them again. About what SCTP's window of 1 MiB lets a peer
/// send.
const MAX_HELD: usize = 1024;

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

    /// Lets the oldest packet go to SCTP when DTLS is next polled. Returns whether there was one.
    pub(crate) fn release(&self) -> bool {
        let mut state = self.lock();
        let oldest = state.held.pop_front();
        let any = oldest.is_some();
        state.due.extend(oldest);
        any
    }

    pub(crate) fn is_closed(&self) -> bool {
        let state = self.lock();
        state.closed || !state.held.is_empty()
    }

    /// Writes a packet that was let go into `out`, and returns its length.
    pub(crate) fn take_due(&self, out: &mut [u8]) -> Option<usize> {
        let packet = self.lock().due.pop_front()?;
        copy(&packet, out)
    }

    /// A packet came to the closed gate: writes what may go to SCTP into `out`, and returns its length.
    ///
    /// What passes is only what acknowledges, and the question whether we live. All else keeps its order.
    pub(crate) fn pass(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
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
        assert!(gate.is_closed(), "what comes now would overtake");
        assert_eq!(due(&gate), None);
        for waits in waiting {
            assert!(gate.release());
            assert_eq!(due(&gate), Some(waits));
        }
        assert!(!gate.release() && !gate.is_closed());
    }

    #[test]
    fn a_packet_with_both_is_taken_apart() {
        let gate = Gate::default();
        assert_eq!(
            pass(&gate, &packet(&[SACK, DATA, HEARTBEAT, DATA])),
            Some(packet(&[SACK, HEARTBEAT]))
        );
        assert!(gate.release());
        assert_eq!(due(&gate), Some(packet(&[DATA, DATA])));
    }

    #[test]
    fn what_waits_is_bounded() {
        let gate = Gate::default();
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
        for length in 0..40 {
            let mut malformed = packet(&[SACK, DATA, SACK]);
            malformed.truncate(length);
            pass(&gate, &malformed);
        }
        assert_eq!(pass(&gate, &[]), Some(Vec::new()), "that is for SCTP to refuse");
    }
}
