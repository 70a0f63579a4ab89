//! The pump of a data channel, which carries its messages between the library and core.

use crate::{
    convert,
    driver::Peer,
    socket::{Opening, lock},
};
use bytes::Bytes;
use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};
use tokio::sync::{Notify, OwnedMutexGuard};
use visavis_core::{ChannelPort, Flow, Mark, Message};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelState};

/// How much a channel hands to SCTP before it waits, in bytes. Above it, core's queue holds what is to be sent.
pub(crate) const SEND_LIMIT: usize = 512 * 1024;

/// A closing channel waits this long for what it sent to be acknowledged.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Closes the port however the task ends, so that nobody waits for a channel without a pump.
pub(crate) struct PumpGuard(Option<(Arc<Peer>, ChannelPort)>);

impl PumpGuard {
    pub(crate) fn new(peer: &Arc<Peer>, port: ChannelPort) -> Self {
        peer.pumps.fetch_add(1, Relaxed);
        Self(Some((Arc::clone(peer), port)))
    }

    fn peer(&self) -> Option<&Arc<Peer>> {
        self.0.as_ref().map(|(peer, _)| peer)
    }

    pub(crate) fn disarm(mut self) {
        if let Some((peer, _)) = self.0.take() {
            peer.pumps.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for PumpGuard {
    fn drop(&mut self) {
        if let Some((peer, port)) = self.0.take() {
            peer.pumps.fetch_sub(1, Relaxed);
            if !peer.replaced.load(Relaxed) {
                port.set_closed();
            }
        }
    }
}

/// Carries one channel's messages between the library and core, in the crew's task; it ends when the channel does.
pub(crate) struct Pump {
    guard: PumpGuard,
    /// Dropping the library's handle would stop its events, so it lives as long as the channel.
    dc: Arc<dyn DataChannel>,
    port: ChannelPort,
    /// It was opened here. The ids of the others are the remote peer's to give away.
    local: bool,
    opening: Mutex<Option<Opening>>,
    open: AtomicBool,
    stream: Mutex<Option<u16>>,
    /// Held from closing the stream until its id is kept.
    closing: Mutex<Option<OwnedMutexGuard<()>>>,
    sendable: Notify,
    readable: Notify,
}

impl Pump {
    pub(crate) fn new(peer: &Arc<Peer>, dc: Arc<dyn DataChannel>, port: ChannelPort, local: bool) -> Self {
        Self {
            guard: PumpGuard::new(peer, port.clone()),
            dc,
            port,
            local,
            opening: Mutex::new(local.then(|| peer.link.opening())),
            open: AtomicBool::new(false),
            stream: Mutex::new(None),
            closing: Mutex::new(None),
            sendable: Notify::new(),
            readable: Notify::new(),
        }
    }

    pub(crate) async fn run(self) {
        // A channel that is negotiated out of band while SCTP is up is open at once and without an event.
        if matches!(self.dc.ready_state().await, Ok(RTCDataChannelState::Open)) {
            self.set_open().await;
        }
        // None of them ends but when the channel is over, so none is cancelled half-way.
        tokio::select! {
            biased;
            () = self.dispatch() => {}
            () = self.receive() => {}
            () = self.send() => {}
        }
        let (stream, ids) = (lock(&self.stream).take(), lock(&self.closing).take());
        let agreed = self.port.init().negotiated.is_some();
        let Some(peer) = self.guard.peer().map(Arc::clone) else {
            return;
        };
        let reset_here = ids.is_some();
        let ids = match ids {
            Some(ids) => Some(ids),
            None if self.local && !agreed => Some(Arc::clone(&peer.ids).lock_owned().await),
            None => None,
        };
        // Closes the port; whoever opens another channel now waits for `ids`.
        drop(self.guard);
        if let (Some(stream), Some(ids), false) = (stream, ids, peer.muted.load(Relaxed)) {
            drop(self.dc);
            if agreed {
                peer.linger(stream, ids).await;
            } else {
                peer.retire(stream, reset_here, ids).await;
            }
        }
    }

    /// Core wakes one waiter; sending and receiving both wait, and neither may wait for the other.
    async fn dispatch(&self) {
        loop {
            self.port.woken().await;
            self.sendable.notify_one();
            self.readable.notify_one();
        }
    }

    async fn receive(&self) {
        let Some(peer) = self.guard.peer() else { return };
        let mut stalled = None;
        loop {
            while self.port.is_paused() {
                stalled.get_or_insert_with(|| peer.link.stall());
                self.readable.notified().await;
            }
            let mut next = self.dc.poll();
            let ready = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
            let event = match ready {
                Poll::Ready(event) => event,
                Poll::Pending => {
                    peer.link.all_read();
                    stalled = None;
                    next.await
                }
            };
            match event {
                Some(DataChannelEvent::OnMessage(message)) => {
                    peer.link.count_read();
                    // A pause is looked for above, so that it holds for an application that pauses later, too.
                    let (Flow::Continue | Flow::Pause) = self.port.deliver(convert::message(message));
                }
                Some(DataChannelEvent::OnOpen) => self.set_open().await,
                Some(DataChannelEvent::OnBufferedAmountLow) => {
                    self.refresh().await;
                    self.sendable.notify_one();
                }
                Some(DataChannelEvent::OnClose) | None => return,
                Some(_) => {}
            }
        }
    }

    async fn send(&self) {
        let Some(peer) = self.guard.peer() else { return };
        let mut passes = None;
        loop {
            if !peer.link.has_pair() && self.open.load(Relaxed) && !self.port.wants_close() {
                // Subscribed before the second look, so that no pass is missed.
                let passes = passes.get_or_insert_with(|| peer.link.passes());
                passes.mark_unchanged();
                if !peer.link.has_pair() {
                    let _ = passes.changed().await;
                }
                continue;
            }
            passes = None;
            if let Some(message) = self
                .open
                .load(Relaxed)
                .then(|| self.port.pop_outgoing())
                .flatten()
            {
                // Waits while SCTP holds the limit.
                let sent = match message {
                    Message::Text(text) => self.dc.send_text(&text).await,
                    Message::Binary(bytes) => self.dc.send(bytes.into()).await,
                };
                if let Err(error) = sent {
                    tracing::debug!(%error, "the data channel does not send any more");
                    // So that it is counted with those that were not sent.
                    self.port.unpop(Message::Binary(Bytes::new()));
                    return;
                }
                if self.port.in_stack() >= SEND_LIMIT / 2 {
                    self.refresh().await;
                }
            } else if self.port.wants_close() {
                self.close().await;
                return;
            } else {
                self.sendable.notified().await;
            }
        }
    }

    async fn set_open(&self) {
        if self.open.swap(true, Relaxed) {
            return;
        }
        lock(&self.opening).take();
        let Some(peer) = self.guard.peer() else { return };
        let id = match self.port.init().negotiated {
            Some(id) => Some(id),
            None => peer.stream_id(self.dc.id()).await,
        };
        *lock(&self.stream) = id;
        peer.secure();
        peer.events.mark(Mark::SctpUp);
        self.port.set_open(id.unwrap_or_default());
        self.sendable.notify_one();
    }

    async fn refresh(&self) {
        self.port
            .set_in_stack(self.dc.outstanding_bytes().await.unwrap_or(0));
    }

    /// Closes when what was sent has been acknowledged, or cannot be.
    async fn close(&self) {
        let Some(peer) = self.guard.peer() else { return };
        let Some(pc) = peer.pc() else { return };
        if !self.open.load(Relaxed) && !peer.is_sctp_up(&*pc).await {
            // Nobody was told of it.
            let _ = self.dc.close().await;
            return;
        }
        let acknowledged = async {
            loop {
                self.refresh().await;
                if self.open.load(Relaxed) && self.port.in_stack() == 0 {
                    return;
                }
                self.sendable.notified().await;
            }
        };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, acknowledged).await;
        if self.local {
            *lock(&self.closing) = Some(Arc::clone(&peer.ids).lock_owned().await);
        }
        if let Err(error) = self.dc.close().await {
            tracing::debug!(%error, "the data channel was closed already");
            return;
        }
        // Its end comes as an event.
        tokio::time::sleep(CLOSE_PATIENCE).await;
    }
}
