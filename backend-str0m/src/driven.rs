//! The `Rtc`, which can only be touched in a way that keeps str0m's contract.

use crate::error;
use std::{collections::VecDeque, fmt, time::Instant};
use str0m::{Event, Input, Output, Rtc, RtcError, media::Mid, net};

/// An [`Rtc`] that is always drained.
///
/// str0m asks that `poll_output` is called until it says `Timeout` after every mutation. Here a mutation is a
/// closure, and the draining comes with it, so it cannot be forgotten. What came out waits in the queues.
pub(crate) struct Driven {
    /// Boxed, for it is large, and the task that holds it is moved on its way to Tokio.
    rtc: Box<Rtc>,
    wake: Instant,
    transmits: VecDeque<net::Transmit>,
    events: VecDeque<Occurrence>,
    error: Option<RtcError>,
}

/// What happens in an `Rtc`.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events, and they are moved once"
)]
pub(crate) enum Occurrence {
    Event(Event),
    /// The packets of a frame came, and cannot be put together.
    Spoilt(Mid),
}

impl fmt::Debug for Driven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driven")
            .field("rtc", &self.rtc)
            .finish_non_exhaustive()
    }
}

impl Driven {
    pub(crate) fn new(rtc: Box<Rtc>, now: Instant) -> Self {
        let mut driven = Self {
            rtc,
            wake: now,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            error: None,
        };
        driven.timeout(now);
        driven
    }

    /// One mutation, and all that follows from it.
    pub(crate) fn with<T>(&mut self, mutate: impl FnOnce(&mut Rtc) -> T) -> T {
        let value = mutate(&mut self.rtc);
        self.drain();
        value
    }

    /// Reads without changing anything.
    pub(crate) fn peek(&self) -> &Rtc {
        &self.rtc
    }

    /// Time has passed.
    pub(crate) fn timeout(&mut self, now: Instant) {
        self.input(Input::Timeout(now));
    }

    /// A datagram came, or time has passed.
    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.and_input(input, |_| {});
    }

    /// One mutation that an input follows at once, and all that follows from both.
    pub(crate) fn and_input(&mut self, input: Input<'_>, mutate: impl FnOnce(&mut Rtc)) {
        let handled = self.with(|rtc| {
            mutate(rtc);
            rtc.handle_input(input)
        });
        if let Err(e) = handled {
            if error::is_fatal(&e) {
                self.fail(e);
            } else {
                tracing::debug!(error = %e, "a datagram was refused");
            }
        }
    }

    /// When [`timeout`](Self::timeout) is due.
    pub(crate) fn wake(&self) -> Instant {
        self.wake
    }

    /// What is to be sent, in order.
    pub(crate) fn transmits(&mut self) -> &mut VecDeque<net::Transmit> {
        &mut self.transmits
    }

    pub(crate) fn next(&mut self) -> Option<Occurrence> {
        self.events.pop_front()
    }

    /// What ended the connection, once.
    pub(crate) fn take_error(&mut self) -> Option<RtcError> {
        self.error.take()
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(wake)) => {
                    self.wake = wake;
                    return;
                }
                Ok(Output::Transmit(transmit)) => self.transmits.push_back(transmit),
                Ok(Output::Event(event)) => self.events.push_back(Occurrence::Event(event)),
                // One frame the less; the packets are gone, so that this ends.
                Err(RtcError::Packet(mid, _, e)) => {
                    tracing::debug!(%mid, error = %e, "the packets of a frame do not fit together");
                    self.events.push_back(Occurrence::Spoilt(mid));
                }
                Err(e) => self.fail(e),
            }
        }
    }

    fn fail(&mut self, error: RtcError) {
        // A disconnected Rtc is inert, so that draining ends with the next poll.
        self.rtc.disconnect();
        self.error.get_or_insert(error);
    }
}
