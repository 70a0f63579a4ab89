//! The stack's end of a data channel.

use super::{ChannelInit, ChannelState, Message, RECV_HIGH_WATER, SEND_HIGH_WATER, Shared};
use crate::{Mark, lock};
use std::sync::Arc;

/// Whether the stack may go on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flow {
    /// There is room.
    Continue,
    /// Stop delivering to this channel until [`ChannelPort::is_paused`] is false again.
    Pause,
}

/// A stack's end of a data channel. Clones are the same end.
#[derive(Debug, Clone)]
pub struct ChannelPort(pub(super) Arc<Shared>);

impl ChannelPort {
    /// What the channel is to be.
    pub fn init(&self) -> &ChannelInit {
        &self.0.init
    }

    /// The channel is open on SCTP stream `id`.
    pub fn set_open(&self, id: u16) {
        lock(&self.0.queues).id = Some(id);
        // First, for whoever waits for the state reads the mark.
        self.0.hub.timeline.mark(Mark::ChannelOpen);
        self.0.state.send_if_modified(|state| {
            let opens = *state == ChannelState::Connecting;
            if opens {
                *state = ChannelState::Open;
            }
            opens
        });
    }

    /// The channel is closed; what could not be sent is counted as dropped.
    pub fn set_closed(&self) {
        self.0.close();
    }

    /// Takes the next message to hand to the stack; its bytes count as buffered in the stack until
    /// [`set_in_stack`](Self::set_in_stack) says that they have left.
    pub fn pop_outgoing(&self) -> Option<Message> {
        if matches!(
            *self.0.state.borrow(),
            ChannelState::Connecting | ChannelState::Closed
        ) {
            return None;
        }
        let mut queues = lock(&self.0.queues);
        let message = queues.outgoing.pop_front()?;
        queues.outgoing_bytes -= message.len();
        queues.in_stack += message.len();
        Some(message)
    }

    /// Puts a message back that the stack did not take.
    pub fn unpop(&self, message: Message) {
        let mut queues = lock(&self.0.queues);
        queues.in_stack = queues.in_stack.saturating_sub(message.len());
        queues.outgoing_bytes += message.len();
        queues.outgoing.push_front(message);
    }

    /// The length of the next message to send.
    pub fn next_len(&self) -> Option<usize> {
        lock(&self.0.queues).outgoing.front().map(Message::len)
    }

    /// How many bytes the stack still holds; wakes senders that wait for room.
    pub fn set_in_stack(&self, bytes: usize) {
        let mut queues = lock(&self.0.queues);
        let before = queues.buffered();
        queues.in_stack = bytes;
        let after = queues.buffered();
        let low = before > queues.low_threshold && after <= queues.low_threshold;
        drop(queues);
        if low || (before >= SEND_HIGH_WATER && after < SEND_HIGH_WATER) {
            self.0.writable.notify_waiters();
        }
    }

    /// Bytes handed to the stack and not yet released.
    pub fn in_stack(&self) -> usize {
        lock(&self.0.queues).in_stack
    }

    /// A message arrived. It is kept whatever the answer; [`Flow::Pause`] asks for no more until there is room.
    pub fn deliver(&self, message: Message) -> Flow {
        let mut queues = lock(&self.0.queues);
        queues.stats.messages_received += 1;
        queues.stats.bytes_received += message.len() as u64;
        queues.incoming_bytes += message.len();
        queues.incoming.push_back(message);
        if queues.incoming_bytes >= RECV_HIGH_WATER {
            queues.paused = true;
        }
        let paused = queues.paused;
        drop(queues);
        self.0.readable.notify_waiters();
        if paused { Flow::Pause } else { Flow::Continue }
    }

    /// Whether the application is behind.
    pub fn is_paused(&self) -> bool {
        lock(&self.0.queues).paused
    }

    /// Whether the application closed the channel and all that it sent has been taken.
    pub fn wants_close(&self) -> bool {
        *self.0.state.borrow() == ChannelState::Closing && lock(&self.0.queues).outgoing.is_empty()
    }

    /// The channel's state.
    pub fn state(&self) -> ChannelState {
        *self.0.state.borrow()
    }

    /// Waits until there may be something to send, to close, or room to receive. For a stack with a task a
    /// channel; one with a task a peer awaits [`EventSink::woken`](crate::EventSink::woken).
    pub async fn woken(&self) {
        self.0.port.notified().await;
    }
}
