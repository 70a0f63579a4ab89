//! What runs beside the library's own driver: its event handler, a watch over DTLS, and the pumps of its channels.

use crate::{
    convert,
    crew::Crew,
    pump::{Pump, PumpGuard},
    socket::{Link, lock},
};
use async_trait::async_trait;
use rtc::peer_connection::transport::{RTCDtlsTransportState, RTCSctpTransportState};
use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::{Notify, OwnedMutexGuard};
use visavis_core::{ChannelInit, ChannelPort, DtlsState, EngineEvent, Error, ErrorKind, EventSink, Mark};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent, RTCDataChannelId},
    peer_connection::{
        PeerConnection, PeerConnectionEventHandler, RTCIceConnectionState, RTCIceGatheringState,
        RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCStatsReportEntry, StatsSelector,
        transport::DtlsTransport,
    },
};

/// A channel with an agreed stream id waits this long for an earlier one on that stream to be gone.
const LINGER_PATIENCE: Duration = Duration::from_secs(1);

/// A new channel waits this long for the reset of one that was just closed.
const RESET_PATIENCE: Duration = Duration::from_millis(20);

/// When the remote peer has closed, channels have this long to hand over what had arrived.
const DRAIN_PATIENCE: Duration = Duration::from_millis(50);

/// What the event handler, the watch and the pumps of one peer share.
pub(crate) struct Peer {
    pub(crate) events: EventSink,
    pub(crate) link: Arc<Link>,
    crew: Arc<Crew>,
    pc: OnceLock<Weak<dyn PeerConnection>>,
    /// The engine has closed or replaced the connection: nothing more is to be told of it.
    pub(crate) muted: AtomicBool,
    /// The channels go on in another connection.
    pub(crate) replaced: AtomicBool,
    secured: AtomicBool,
    /// What is being gathered was told already.
    gathering_told: AtomicBool,
    pub(crate) pumps: AtomicUsize,
    /// Held while a stream id changes hands.
    pub(crate) ids: Arc<tokio::sync::Mutex<()>>,
    /// Held while the library makes a channel. See [`Handler::on_data_channel`].
    creating: tokio::sync::Mutex<()>,
    /// The channels that were made here.
    created: Mutex<HashSet<RTCDataChannelId>>,
    /// Agreed stream ids that were closed here and are still being reset. See [`Peer::linger`].
    lingering: Mutex<HashSet<u16>>,
    /// Placeholders for stream ids, see [`Peer::retire`], and handles that must not be dropped.
    retired: Mutex<Vec<Arc<dyn DataChannel>>>,
}

impl Peer {
    pub(crate) fn new(events: EventSink, link: Arc<Link>, crew: Arc<Crew>) -> Arc<Self> {
        Arc::new(Self {
            events,
            link,
            crew,
            pc: OnceLock::new(),
            muted: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            secured: AtomicBool::new(false),
            gathering_told: AtomicBool::new(false),
            pumps: AtomicUsize::new(0),
            ids: Arc::default(),
            creating: tokio::sync::Mutex::default(),
            created: Mutex::default(),
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

    /// The next candidates were told already, in the plan of an ICE restart.
    pub(crate) fn gathering_told(&self) {
        self.gathering_told.store(true, Relaxed);
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

    /// DTLS is connected. A channel that opens may be the first to know: the library's own event comes later.
    pub(crate) fn secure(&self) {
        if !self.secured.swap(true, Relaxed) {
            self.link.set_secured();
            self.events.mark(Mark::DtlsConnected);
            self.push(EngineEvent::Dtls(DtlsState::Connected));
        }
    }

    fn push(&self, event: EngineEvent) {
        if !self.muted.load(Relaxed) {
            self.events.push(event);
        }
    }

    pub(crate) fn pc(&self) -> Option<Arc<dyn PeerConnection>> {
        self.pc.get().and_then(Weak::upgrade)
    }

    /// Starts the pump of a channel that exists in the library.
    pub(crate) fn start_pump(self: &Arc<Self>, dc: Arc<dyn DataChannel>, port: ChannelPort, local: bool) {
        self.crew.join(Pump::new(self, dc, port, local).run());
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
        let creating = self.creating.lock().await;
        let created = pc
            .create_data_channel(&init.label, Some(convert::channel_init(init)))
            .await;
        if let Ok(dc) = &created {
            lock(&self.created).insert(dc.id());
        }
        drop(creating);
        drop(ids);
        match created {
            Ok(dc) => {
                guard.disarm();
                self.start_pump(dc, port, true);
            }
            Err(error) => tracing::warn!(%error, label = init.label, "the data channel was not created"),
        }
    }

    pub(crate) async fn is_sctp_up(&self, pc: &dyn PeerConnection) -> bool {
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
    pub(crate) async fn retire(&self, id: u16, reset_here: bool, ids: OwnedMutexGuard<()>) {
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
    pub(crate) async fn linger(&self, id: u16, ids: OwnedMutexGuard<()>) {
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
    pub(crate) async fn stream_id(&self, channel: RTCDataChannelId) -> Option<u16> {
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
        if let Some(candidate) = convert::local_candidate(&event.candidate)
            && !self.0.gathering_told.load(Relaxed)
        {
            self.0.push(EngineEvent::Candidate(candidate));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete && !self.0.gathering_told.swap(false, Relaxed) {
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
        // Marked here as well as by core, which takes its time: a pump may be first with what comes after.
        if selected {
            peer.events.mark(Mark::IceConnected);
        }
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
        if state == RTCPeerConnectionState::Connected {
            peer.secure();
        }
        peer.link.nudge();
    }

    async fn on_data_channel(&self, dc: Arc<dyn DataChannel>) {
        // The library makes a channel and registers its events in two steps. One that opens between them is
        // announced as the remote peer's. It is ours, and dropping this handle would end its events.
        drop(self.0.creating.lock().await);
        if lock(&self.0.created).contains(&dc.id()) {
            lock(&self.0.retired).push(dc);
            return;
        }
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
