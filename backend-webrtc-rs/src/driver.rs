//! What runs beside the library's own driver: its event handler, a watch over DTLS, and a pump for each channel.

use crate::{
    convert,
    runtime::Tasks,
    socket::{Link, Opening, lock},
};
use async_trait::async_trait;
use bytes::Bytes;
use rtc::peer_connection::transport::{RTCDtlsTransportState, RTCSctpTransportState};
use std::{
    collections::HashSet,
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};
use tokio::sync::{Notify, OwnedMutexGuard};
use tracing::Span;
use visavis_core::{
    ChannelInit, ChannelPort, DtlsState, EngineEvent, Error, ErrorKind, EventSink, Flow, Mark, Message,
};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent, RTCDataChannelId, RTCDataChannelState},
    peer_connection::{
        PeerConnection, PeerConnectionEventHandler, RTCIceConnectionState, RTCIceGatheringState,
        RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCStatsReportEntry, StatsSelector,
        transport::DtlsTransport,
    },
};

/// How much a channel hands to SCTP before it waits, in bytes. Above it, core's queue holds what is to be sent.
pub(crate) const SEND_LIMIT: usize = 512 * 1024;

/// A closing channel waits this long for what it sent to be acknowledged.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A channel with an agreed stream id waits this long for an earlier one on that stream to be gone.
const LINGER_PATIENCE: Duration = Duration::from_secs(1);

/// A new channel waits this long for the reset of one that was just closed.
const RESET_PATIENCE: Duration = Duration::from_millis(20);

/// When the remote peer has closed, channels have this long to hand over what had arrived.
const DRAIN_PATIENCE: Duration = Duration::from_millis(50);

/// What the event handler, the watch and the pumps of one peer share.
pub(crate) struct Peer {
    events: EventSink,
    link: Arc<Link>,
    tasks: Arc<Tasks>,
    span: Span,
    pc: OnceLock<Weak<dyn PeerConnection>>,
    /// The engine has closed or replaced the connection: nothing more is to be told of it.
    muted: AtomicBool,
    /// The channels go on in another connection.
    replaced: AtomicBool,
    secured: AtomicBool,
    pumps: AtomicUsize,
    /// Held while a stream id changes hands.
    ids: Arc<tokio::sync::Mutex<()>>,
    /// Agreed stream ids that were closed here and are still being reset. See [`Peer::linger`].
    lingering: Mutex<HashSet<u16>>,
    /// Placeholders for stream ids. See [`Peer::retire`].
    retired: Mutex<Vec<Arc<dyn DataChannel>>>,
}

impl Peer {
    pub(crate) fn new(events: EventSink, link: Arc<Link>, tasks: Arc<Tasks>, span: Span) -> Arc<Self> {
        Arc::new(Self {
            events,
            link,
            tasks,
            span,
            pc: OnceLock::new(),
            muted: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            secured: AtomicBool::new(false),
            pumps: AtomicUsize::new(0),
            ids: Arc::default(),
            lingering: Mutex::default(),
            retired: Mutex::default(),
        })
    }

    /// Names the connection that this is about, once it exists.
    pub(crate) fn attach(&self, pc: &Arc<dyn PeerConnection>) {
        let _ = self.pc.set(Arc::downgrade(pc));
    }

    pub(crate) fn mute(&self) {
        self.muted.store(true, Relaxed);
    }

    /// Lets go of what would keep the connection in memory: it holds its handler, and that holds this.
    pub(crate) fn forget(&self) {
        lock(&self.retired).clear();
    }

    /// Leaves the channels open when their pumps end, for those of another connection.
    pub(crate) fn replace(&self) {
        self.mute();
        self.replaced.store(true, Relaxed);
    }

    fn push(&self, event: EngineEvent) {
        if !self.muted.load(Relaxed) {
            self.events.push(event);
        }
    }

    fn pc(&self) -> Option<Arc<dyn PeerConnection>> {
        self.pc.get().and_then(Weak::upgrade)
    }

    /// Starts the pump of a channel that exists in the library.
    pub(crate) fn start_pump(self: &Arc<Self>, dc: Arc<dyn DataChannel>, port: ChannelPort, local: bool) {
        let opening = local.then(|| self.link.opening());
        let pump = Pump {
            guard: PumpGuard::new(self, port.clone()),
            dc,
            port,
            local,
            opening: Mutex::new(opening),
            open: AtomicBool::new(false),
            stream: Mutex::new(None),
            closing: Mutex::new(None),
            sendable: Notify::new(),
            readable: Notify::new(),
        };
        self.tasks.spawn(&self.span, pump.run());
    }

    /// Creates a channel in the library, and starts its pump. Once SCTP was negotiated, this waits until it is up:
    /// what the library would write during SCTP's own handshake is lost.
    pub(crate) async fn create_channel(self: Arc<Self>, port: ChannelPort, sctp_negotiated: bool) {
        let guard = PumpGuard::new(&self, port.clone());
        let Some(pc) = self.pc() else { return };
        if sctp_negotiated {
            let mut passes = self.link.passes();
            while !self.is_sctp_up(&*pc).await {
                tokio::select! {
                    biased;
                    _ = passes.changed() => {}
                    () = port.woken() => {}
                }
                if port.wants_close() {
                    return;
                }
            }
        }
        let init = port.init();
        if let Some(id) = init.negotiated {
            let mut passes = self.link.passes();
            let free =
                async { while lock(&self.lingering).contains(&id) && passes.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(2 * LINGER_PATIENCE, free).await;
        }
        let ids = self.ids.lock().await;
        let created = pc
            .create_data_channel(&init.label, Some(convert::channel_init(init)))
            .await;
        drop(ids);
        match created {
            Ok(dc) => {
                guard.disarm();
                self.start_pump(dc, port, true);
            }
            Err(error) => tracing::warn!(%error, label = init.label, "the data channel was not created"),
        }
    }

    async fn is_sctp_up(&self, pc: &dyn PeerConnection) -> bool {
        match pc.sctp().await {
            Some(sctp) => matches!(sctp.state().await, Ok(RTCSctpTransportState::Connected)),
            None => false,
        }
    }

    /// Keeps the id of a stream whose channel is over from the next channel, for good.
    ///
    /// The library frees the id at once. A new channel would take it and never open where SCTP still resets the old
    /// stream, here or at the remote peer. A placeholder with the same id prevents that; the end of the reset
    /// removes it (unless the stream was gone already), and then a second one lasts. There are 32,000 ids.
    async fn retire(&self, id: u16, reset_here: bool, ids: OwnedMutexGuard<()>) {
        let Some(placeholder) = self.place(id).await else {
            return;
        };
        if !reset_here {
            lock(&self.retired).push(placeholder);
            return;
        }
        // Another channel waits meanwhile, so that none is given the id between the two placeholders.
        let mut ids = Some(ids);
        let in_time = tokio::time::timeout(RESET_PATIENCE, over(&*placeholder)).await;
        let mut ended = matches!(in_time, Ok(true));
        if !ended {
            ids = None;
            ended = over(&*placeholder).await;
        }
        if ended {
            let _ids = match ids {
                Some(ids) => ids,
                None => Arc::clone(&self.ids).lock_owned().await,
            };
            if let Some(placeholder) = self.place(id).await {
                lock(&self.retired).push(placeholder);
            }
        }
    }

    /// As [`retire`](Self::retire) for an id that the applications agreed on, which they may use again.
    async fn linger(&self, id: u16, ids: OwnedMutexGuard<()>) {
        lock(&self.lingering).insert(id);
        let placeholder = self.place(id).await;
        drop(ids);
        if let Some(placeholder) = placeholder {
            let _ = tokio::time::timeout(LINGER_PATIENCE, over(&*placeholder)).await;
        }
        lock(&self.lingering).remove(&id);
        self.link.nudge();
    }

    async fn place(&self, id: u16) -> Option<Arc<dyn DataChannel>> {
        let init = convert::channel_init(&ChannelInit::new("").negotiated(id));
        self.pc()?.create_data_channel("", Some(init)).await.ok()
    }

    /// The SCTP stream of a channel. The library's handle does not tell, its statistics do.
    async fn stream_id(&self, channel: RTCDataChannelId) -> Option<u16> {
        let wanted = format!("RTCDataChannel_{channel}");
        let now = tokio::time::Instant::now().into_std();
        let report = self.pc()?.get_stats(now, StatsSelector::None).await;
        report.iter().find_map(|entry| match entry {
            RTCStatsReportEntry::DataChannel(stats) if stats.stats.id == wanted => {
                Some(stats.data_channel_identifier)
            }
            _ => None,
        })
    }
}

/// Waits for the end of a channel; false if the connection ended first.
async fn over(channel: &dyn DataChannel) -> bool {
    loop {
        match channel.poll().await {
            Some(DataChannelEvent::OnClose) => return true,
            Some(_) => {}
            None => return false,
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

/// The library awaits these on its driver task, so none of them waits for anything but the library's own lock.
pub(crate) struct Handler(pub(crate) Arc<Peer>);

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Some(candidate) = convert::local_candidate(&event.candidate) {
            self.0.push(EngineEvent::Candidate(candidate));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.push(EngineEvent::GatheringComplete);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        let peer = &self.0;
        let selected = matches!(
            state,
            RTCIceConnectionState::Connected
                | RTCIceConnectionState::Completed
                | RTCIceConnectionState::Disconnected
        );
        peer.link.select(selected);
        if let Some(state) = convert::ice_state(state) {
            peer.push(EngineEvent::Ice(state));
        }
        if selected && !peer.secured.load(Relaxed) {
            peer.push(EngineEvent::Dtls(DtlsState::Connecting));
        }
        peer.link.nudge();
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let peer = &self.0;
        // The library's `connected` is ICE and DTLS together, and comes again after each `disconnected`.
        if state == RTCPeerConnectionState::Connected && !peer.secured.swap(true, Relaxed) {
            peer.link.set_secured();
            peer.push(EngineEvent::Dtls(DtlsState::Connected));
        }
        peer.link.nudge();
    }

    async fn on_data_channel(&self, dc: Arc<dyn DataChannel>) {
        // Read here and not in the pump, so that channels are announced in the order in which they were opened.
        let init = match describe(&*dc).await {
            Ok(init) => init,
            Err(error) => {
                tracing::debug!(%error, "a data channel was gone before it was announced");
                return;
            }
        };
        match self.0.events.incoming_channel(init) {
            Some(port) => self.0.start_pump(dc, port, false),
            None => drop(dc.close().await),
        }
    }
}

async fn describe(dc: &dyn DataChannel) -> webrtc::error::Result<ChannelInit> {
    Ok(ChannelInit {
        label: dc.label().await?,
        protocol: dc.protocol().await?,
        ordered: dc.ordered().await?,
        reliability: convert::reliability(dc.max_retransmits().await?, dc.max_packet_life_time().await?),
        negotiated: None,
    })
}

/// Tells of the end of DTLS, which the library reports to nobody, and of the end of its driver.
pub(crate) async fn watch(peer: Arc<Peer>, driver_stopped: Arc<Notify>) {
    loop {
        tokio::select! {
            biased;
            () = driver_stopped.notified() => {
                let secured = peer.secured.load(Relaxed);
                let message = if secured {
                    "webrtc-rs's driver ended"
                } else {
                    "webrtc-rs gave up the DTLS handshake"
                };
                peer.push(EngineEvent::Dtls(DtlsState::Failed));
                peer.push(EngineEvent::Failed(Error::new(ErrorKind::Transport, "connect", message)));
                return;
            }
            () = peer.link.alerted() => {}
        }
        if !peer.secured.load(Relaxed) && peer.link.is_refused() {
            peer.push(EngineEvent::Dtls(DtlsState::Failed));
            return;
        }
        let Some(pc) = peer.pc() else { return };
        let closed = match dtls_transport(&*pc).await {
            Some(dtls) => matches!(dtls.state().await, Ok(RTCDtlsTransportState::Closed)),
            None => false,
        };
        if closed {
            // What arrived before the goodbye is on its way through the pumps.
            let drained = async {
                while peer.pumps.load(Relaxed) > 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let _ = tokio::time::timeout(DRAIN_PATIENCE, drained).await;
            peer.push(EngineEvent::Dtls(DtlsState::Closed));
            return;
        }
    }
}

/// The one DTLS transport, by whatever leads to it.
pub(crate) async fn dtls_transport(pc: &dyn PeerConnection) -> Option<Arc<dyn DtlsTransport>> {
    if let Some(sctp) = pc.sctp().await {
        return Some(sctp.transport());
    }
    for sender in pc.get_senders().await {
        if let Ok(Some(dtls)) = sender.transport().await {
            return Some(dtls);
        }
    }
    for receiver in pc.get_receivers().await {
        if let Ok(Some(dtls)) = receiver.transport().await {
            return Some(dtls);
        }
    }
    None
}

/// Closes the port however the task ends, so that nobody waits for a channel without a pump.
struct PumpGuard(Option<(Arc<Peer>, ChannelPort)>);

impl PumpGuard {
    fn new(peer: &Arc<Peer>, port: ChannelPort) -> Self {
        peer.pumps.fetch_add(1, Relaxed);
        Self(Some((Arc::clone(peer), port)))
    }

    fn peer(&self) -> Option<&Arc<Peer>> {
        self.0.as_ref().map(|(peer, _)| peer)
    }

    fn disarm(mut self) {
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

/// Carries one channel's messages between the library and core. One task; it ends when the channel does.
struct Pump {
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
    async fn run(self) {
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
        loop {
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
