//! The peer connection that applications use, the same on every stack (W3C WebRTC §4).

mod jsep;
mod owner;
mod transceiver;

pub use transceiver::{Transceiver, TransceiverState};

use crate::net::RepeatingNet;
use crate::{
    Backend, Candidate, ChannelInit, DataChannel, Direction, DtlsState, EngineConfig, Error, EventSink,
    IceState, Mark, MediaKind, Net, Result, Sdp, SdpType, SessionDescription, StatsReport, Timeline,
    channel::Hub, lock,
};
use owner::{Op, Owner, Reply};
use serde::Serialize;
use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument;

/// How a peer connection is set up.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Where to bind; port 0 picks one, an unspecified address means every interface of its family. Default:
    /// empty, every usable interface. A call within one machine binds `127.0.0.1:0`.
    pub bind: Vec<SocketAddr>,
    /// A peer not heard from for this long makes the connection `disconnected`, from which it may recover by
    /// itself. A connection that carries nothing is checked two or three times in it, and each 15 s at the least (RFC 7675,
    /// RFC 8445 §11). Who keeps thousands of idle ones saves most of their processor time by a longer one, such as the 30 s
    /// after which RFC 7675 has consent end. Default: 5 s.
    pub disconnected_after: Duration,
    /// A connection `disconnected` for this long is `failed`. Default: 20 s.
    pub failed_after: Duration,
    /// A connection `disconnected` for this long restarts ICE by itself, and again 10 s and more after that, until it
    /// is `failed`. So does one at once when the interface in use is gone,
    /// where [`bind`](Self::bind) leaves the choice of interfaces to us. It becomes `negotiationneeded`: with a
    /// [`Negotiator`](crate::Negotiator) nothing is left to do. `None`: only `restart_ice` restarts, as W3C has it.
    /// Default: 2 s.
    pub restart_after: Option<Duration>,
    /// ICE and DTLS that take longer than this make the connection `failed`. Default: 30 s.
    pub connect_timeout: Duration,
    /// What logs call this peer. Default: `peer`.
    pub name: String,
    /// Where the steps are marked. Default: a new one.
    pub timeline: Timeline,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            bind: Vec::new(),
            disconnected_after: Duration::from_secs(5),
            failed_after: Duration::from_secs(20),
            restart_after: Some(Duration::from_secs(2)),
            connect_timeout: Duration::from_secs(30),
            name: "peer".to_owned(),
            timeline: Timeline::default(),
        }
    }
}

impl PeerConfig {
    /// For two peers on this machine: binds `127.0.0.1:0`.
    pub fn loopback() -> Self {
        Self {
            bind: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            ..Self::default()
        }
    }
}

/// Where an exchange of descriptions stands (W3C `RTCSignalingState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalingState {
    /// No exchange is under way.
    Stable,
    /// Our offer waits for its answer.
    HaveLocalOffer,
    /// The remote offer waits for our answer.
    HaveRemoteOffer,
    /// Closed.
    Closed,
}

/// Where gathering stands (W3C `RTCIceGatheringState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GatheringState {
    /// Not started.
    New,
    /// Under way.
    Gathering,
    /// All candidates of this generation are known.
    Complete,
}

/// The state of all transports together (W3C `RTCPeerConnectionState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Nothing has started.
    New,
    /// ICE or DTLS is under way.
    Connecting,
    /// ICE and DTLS are up.
    Connected,
    /// The remote peer is not heard from; this may heal by itself.
    Disconnected,
    /// Given up; see [`PeerConnection::failure`].
    Failed,
    /// Closed.
    Closed,
}

macro_rules! display_states {
    ($($state:ident { $($variant:ident => $name:literal),+ $(,)? })+) => {$(
        impl fmt::Display for $state {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }
    )+};
}

display_states! {
    SignalingState {
        Stable => "stable",
        HaveLocalOffer => "have-local-offer",
        HaveRemoteOffer => "have-remote-offer",
        Closed => "closed",
    }
    GatheringState { New => "new", Gathering => "gathering", Complete => "complete" }
    ConnectionState {
        New => "new",
        Connecting => "connecting",
        Connected => "connected",
        Disconnected => "disconnected",
        Failed => "failed",
        Closed => "closed",
    }
    IceState {
        New => "new",
        Checking => "checking",
        Connected => "connected",
        Completed => "completed",
        Disconnected => "disconnected",
        Failed => "failed",
        Closed => "closed",
    }
}

/// What happens on a peer connection, in the order in which W3C fires it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PeerEvent {
    /// An offer should be made (`negotiationneeded`).
    NegotiationNeeded,
    /// `signalingstatechange`.
    SignalingState(SignalingState),
    /// `icegatheringstatechange`.
    GatheringState(GatheringState),
    /// `iceconnectionstatechange`.
    IceState(IceState),
    /// `statechange` of the DTLS transport. `Closed` is the remote peer's goodbye.
    DtlsState(DtlsState),
    /// `connectionstatechange`.
    ConnectionState(ConnectionState),
    /// A local candidate to send to the remote peer, the last one being the end of candidates (`icecandidate`).
    Candidate(Candidate),
    /// The remote peer opened a data channel (`datachannel`).
    DataChannel(DataChannel),
    /// The remote description says that the remote peer sends on this transceiver (`track`).
    Track(Transceiver),
}

/// A subscription to a peer's events; ends when the peer connection is closed.
///
/// The first subscription also gets what happened before it. Later ones start where they begin.
#[derive(Debug)]
pub struct PeerEvents(mpsc::UnboundedReceiver<PeerEvent>);

impl PeerEvents {
    /// The next event, or `None` once the peer connection is closed and all was read.
    pub async fn next(&mut self) -> Option<PeerEvent> {
        self.0.recv().await
    }
}

/// One side of a WebRTC connection (W3C `RTCPeerConnection`). Clones are the same connection.
///
/// One task owns the stack's [`Engine`](crate::Engine) and takes one call after another, which is the W3C
/// operations queue. Dropping the last clone closes the connection.
#[derive(Debug, Clone)]
pub struct PeerConnection {
    ops: mpsc::Sender<Op>,
    shared: Arc<Shared>,
}

/// What the handles and the owner task share.
#[derive(Debug)]
struct Shared {
    stack: &'static str,
    hub: Arc<Hub>,
    signaling: watch::Sender<SignalingState>,
    gathering: watch::Sender<GatheringState>,
    ice: watch::Sender<IceState>,
    connection: watch::Sender<ConnectionState>,
    descriptions: Mutex<Descriptions>,
    subscribers: Mutex<Subscribers>,
    failure: Mutex<Option<String>>,
    negotiation_needed: AtomicBool,
}

/// The descriptions in force, written out only when somebody asks for them.
#[derive(Debug, Default)]
struct Descriptions {
    local: Option<(SdpType, Sdp)>,
    remote: Option<(SdpType, Sdp)>,
    /// The candidates of our generation.
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
enum Subscribers {
    /// Nobody has subscribed yet: kept for the first who does.
    Backlog(Vec<PeerEvent>),
    Live(Vec<Subscriber>),
    Ended,
}

#[derive(Debug)]
struct Subscriber {
    /// What it is woken for.
    wants: fn(&PeerEvent) -> bool,
    events: mpsc::UnboundedSender<PeerEvent>,
}

impl Subscriber {
    /// `false`: it is gone.
    fn tell(&self, event: &PeerEvent) -> bool {
        if (self.wants)(event) {
            self.events.send(event.clone()).is_ok()
        } else {
            !self.events.is_closed()
        }
    }
}

impl Shared {
    fn emit(&self, event: &PeerEvent) {
        match &mut *lock(&self.subscribers) {
            Subscribers::Backlog(events) => events.push(event.clone()),
            Subscribers::Live(subscribers) => subscribers.retain(|s| s.tell(event)),
            Subscribers::Ended => {}
        }
    }

    /// Changes a state and tells of it as one step: whoever has seen the state has the event.
    fn publish<T: Copy>(&self, state: &watch::Sender<T>, to: T, event: fn(T) -> PeerEvent) {
        state.send_modify(|state| {
            *state = to;
            self.emit(&event(to));
        });
    }

    fn end_events(&self) {
        let mut subscribers = lock(&self.subscribers);
        if matches!(*subscribers, Subscribers::Live(_)) {
            *subscribers = Subscribers::Ended;
        }
    }
}

impl PeerConnection {
    /// A peer connection on `backend`, its sockets bound on `net`.
    ///
    /// # Errors
    ///
    /// [`Network`](crate::ErrorKind::Network) when no socket could be bound.
    pub async fn new(backend: &dyn Backend, config: PeerConfig, net: Arc<dyn Net>) -> Result<Self> {
        let span = tracing::info_span!("peer", name = %config.name, stack = backend.name());
        let hub = Arc::new(Hub::new(config.timeline.clone()));
        let (sink, events) = EventSink::new(Arc::clone(&hub));
        let engine_config = EngineConfig {
            bind: config.bind.clone(),
            disconnected_after: config.disconnected_after,
            name: config.name.clone(),
        };
        let engine = backend
            .engine(engine_config, Arc::new(RepeatingNet::new(Arc::clone(&net))), sink)
            .instrument(span.clone())
            .await?;
        config.timeline.mark(Mark::PeerCreated);
        let shared = Arc::new(Shared {
            stack: backend.name(),
            hub,
            signaling: watch::Sender::new(SignalingState::Stable),
            gathering: watch::Sender::new(GatheringState::New),
            ice: watch::Sender::new(IceState::New),
            connection: watch::Sender::new(ConnectionState::New),
            descriptions: Mutex::default(),
            subscribers: Mutex::new(Subscribers::Backlog(Vec::new())),
            failure: Mutex::default(),
            negotiation_needed: AtomicBool::new(false),
        });
        let (ops, queue) = mpsc::channel(64);
        let owner = Owner::new(
            engine,
            Arc::clone(&shared),
            &config,
            &net,
            events,
            ops.downgrade(),
        );
        tokio::spawn(owner.run(queue).instrument(span));
        Ok(Self { ops, shared })
    }

    /// The stack's name.
    pub fn stack(&self) -> &'static str {
        self.shared.stack
    }

    /// The times of this peer's steps.
    pub fn timeline(&self) -> &Timeline {
        &self.shared.hub.timeline
    }

    /// Subscribes to what happens from now on; the first subscription also gets what happened before.
    pub fn events(&self) -> PeerEvents {
        self.events_of(|_| true)
    }

    /// Subscribes to some of what happens. Who waits for these is woken for no others.
    pub(crate) fn events_of(&self, wants: fn(&PeerEvent) -> bool) -> PeerEvents {
        let (events, rx) = mpsc::unbounded_channel();
        let subscriber = Subscriber { wants, events };
        let mut subscribers = lock(&self.shared.subscribers);
        match &mut *subscribers {
            Subscribers::Live(live) => live.push(subscriber),
            Subscribers::Ended => {}
            Subscribers::Backlog(backlog) => {
                for event in backlog.drain(..) {
                    subscriber.tell(&event);
                }
                let closed = *self.shared.signaling.borrow() == SignalingState::Closed;
                *subscribers = if closed {
                    Subscribers::Ended
                } else {
                    Subscribers::Live(vec![subscriber])
                };
            }
        }
        PeerEvents(rx)
    }

    /// Writes an offer for the transceivers and channels there are (W3C `createOffer`).
    ///
    /// # Errors
    ///
    /// [`InvalidState`](crate::ErrorKind::InvalidState) unless the signaling state is `stable`.
    pub async fn create_offer(&self) -> Result<SessionDescription> {
        self.call("create_offer", Op::CreateOffer).await
    }

    /// Answers the remote offer (W3C `createAnswer`). From here on that offer cannot be rolled back, for the
    /// stacks apply an offer and answer it in one step.
    ///
    /// # Errors
    ///
    /// [`InvalidState`](crate::ErrorKind::InvalidState) unless the signaling state is `have-remote-offer`.
    pub async fn create_answer(&self) -> Result<SessionDescription> {
        self.call("create_answer", Op::CreateAnswer).await
    }

    /// Sets what `create_offer` or `create_answer` returned, unchanged, or takes the pending offer back with a
    /// rollback. `None` creates what the state asks for first, and it is returned (W3C
    /// `setLocalDescription()`). Gathering starts.
    ///
    /// # Errors
    ///
    /// [`InvalidState`](crate::ErrorKind::InvalidState),
    /// [`InvalidModification`](crate::ErrorKind::InvalidModification) if the description was changed.
    pub async fn set_local_description(
        &self,
        description: impl Into<Option<SessionDescription>>,
    ) -> Result<SessionDescription> {
        let description = description.into();
        self.call("set_local_description", |reply| Op::SetLocal(description, reply))
            .await
    }

    /// Sets the remote peer's offer or answer, or rolls its offer back. An offer that meets our own pending one
    /// rolls ours back first (W3C `setRemoteDescription`).
    ///
    /// # Errors
    ///
    /// [`InvalidState`](crate::ErrorKind::InvalidState), [`InvalidInput`](crate::ErrorKind::InvalidInput) when
    /// the SDP cannot be used; the session is then as it was.
    pub async fn set_remote_description(&self, description: SessionDescription) -> Result<()> {
        self.call("set_remote_description", |reply| {
            Op::SetRemote(description, reply)
        })
        .await
    }

    /// Adds a remote candidate; one that comes before the description it belongs to is kept for it.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when it is malformed, names no m-line or belongs to
    /// another generation; [`LimitExceeded`](crate::ErrorKind::LimitExceeded). A well-formed candidate of a kind
    /// that no stack speaks (TCP, a name) is skipped without an error.
    pub async fn add_ice_candidate(&self, candidate: Candidate) -> Result<()> {
        self.call("add_ice_candidate", |reply| Op::AddCandidate(candidate, reply))
            .await
    }

    /// Adds an audio or video m-line to the next offer (W3C `addTransceiver`). The m-line of a stopped transceiver
    /// is used again.
    pub async fn add_transceiver(&self, kind: MediaKind, direction: Direction) -> Result<Transceiver> {
        self.call("add_transceiver", |reply| {
            Op::AddTransceiver(kind, direction, reply)
        })
        .await
    }

    /// Starts to send audio or video (W3C `addTrack`): on a transceiver that does not send, if there is one, or on a
    /// new one. An m-line of a remote offer that wants to receive takes a new one, so a called peer that adds its
    /// tracks first answers `sendrecv`.
    pub async fn add_track(&self, kind: MediaKind) -> Result<Transceiver> {
        self.call("add_track", |reply| Op::AddTrack(kind, reply)).await
    }

    /// Stops to send on a transceiver (W3C `removeTrack`); takes effect by negotiation.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a transceiver of another connection.
    pub async fn remove_track(&self, transceiver: &Transceiver) -> Result<()> {
        self.call("remove_track", Op::Transceivers).await?;
        if !transceiver.is_of(&self.ops) {
            return Err(Error::new(
                crate::ErrorKind::InvalidInput,
                "remove_track",
                "the transceiver is of another peer connection",
            ));
        }
        let direction = transceiver.state().await?.direction;
        transceiver
            .set_direction(Direction::new(false, direction.receives()))
            .await
    }

    /// The transceivers, in the order in which they were made (W3C `getTransceivers`).
    pub async fn transceivers(&self) -> Result<Vec<Transceiver>> {
        self.call("transceivers", Op::Transceivers).await
    }

    /// Opens a data channel, now or when the connection is up (W3C `createDataChannel`).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) when the parameters cannot be, or the negotiated id is in
    /// use.
    pub async fn create_data_channel(&self, init: ChannelInit) -> Result<DataChannel> {
        self.call("create_data_channel", |reply| Op::CreateChannel(init, reply))
            .await
    }

    /// Asks for new ICE credentials in the next offer (W3C `restartIce`).
    pub async fn restart_ice(&self) -> Result<()> {
        self.call("restart_ice", Op::RestartIce).await
    }

    /// What the connection counts.
    pub async fn stats(&self) -> Result<StatsReport> {
        self.call("stats", Op::Stats).await
    }

    /// Closes the connection: every channel, socket and task of it has ended when this returns. Closing twice is
    /// no error.
    pub async fn close(&self) {
        let _ = self.call("close", Op::Close).await;
    }

    /// The signaling state.
    pub fn signaling_state(&self) -> SignalingState {
        *self.shared.signaling.borrow()
    }

    /// The gathering state.
    pub fn gathering_state(&self) -> GatheringState {
        *self.shared.gathering.borrow()
    }

    /// The state of ICE.
    pub fn ice_state(&self) -> IceState {
        *self.shared.ice.borrow()
    }

    /// The state of all transports.
    pub fn connection_state(&self) -> ConnectionState {
        *self.shared.connection.borrow()
    }

    /// Why the connection is `failed`.
    pub fn failure(&self) -> Option<String> {
        lock(&self.shared.failure).clone()
    }

    /// Waits for a state of the connection.
    ///
    /// # Errors
    ///
    /// [`Transport`](crate::ErrorKind::Transport) with the reason when it fails or is closed before that.
    pub async fn wait_for(&self, wanted: ConnectionState) -> Result<()> {
        let mut states = self.shared.connection.subscribe();
        let over = |s: ConnectionState| matches!(s, ConnectionState::Failed | ConnectionState::Closed);
        let state = states
            .wait_for(|s| *s == wanted || over(*s))
            .await
            .map_or(ConnectionState::Closed, |s| *s);
        if state == wanted {
            return Ok(());
        }
        let reason = self
            .failure()
            .unwrap_or_else(|| format!("the connection is {state}"));
        Err(Error::new(crate::ErrorKind::Transport, "wait_for", reason))
    }

    /// Waits until every candidate of this generation is in [`local_description`](Self::local_description).
    pub async fn gathered(&self) -> Result<()> {
        let mut states = self.shared.gathering.subscribe();
        let mut closed = self.shared.signaling.subscribe();
        tokio::select! {
            biased;
            complete = states.wait_for(|s| *s == GatheringState::Complete) => complete.map(drop).map_err(|_| Error::closed("gathered")),
            _ = closed.wait_for(|s| *s == SignalingState::Closed) => Err(Error::closed("gathered")),
        }
    }

    /// The local description, pending or current, with the candidates found so far.
    pub fn local_description(&self) -> Option<SessionDescription> {
        let gathered = self.gathering_state() == GatheringState::Complete;
        let descriptions = lock(&self.shared.descriptions);
        let (kind, mut sdp) = descriptions.local.clone()?;
        sdp.put_candidates(&descriptions.candidates, gathered);
        Some(SessionDescription {
            kind,
            sdp: sdp.to_string(),
        })
    }

    /// The remote description, pending or current, without its candidates.
    pub fn remote_description(&self) -> Option<SessionDescription> {
        let (kind, sdp) = lock(&self.shared.descriptions).remote.clone()?;
        Some(SessionDescription {
            kind,
            sdp: sdp.to_string(),
        })
    }

    /// Whether an offer should be made, as the last `NegotiationNeeded` said.
    pub fn negotiation_needed(&self) -> bool {
        self.shared.negotiation_needed.load(Ordering::Relaxed)
    }

    async fn call<T>(&self, operation: &'static str, op: impl FnOnce(Reply<T>) -> Op) -> Result<T> {
        call(&self.ops, operation, op).await
    }
}

async fn call<T>(
    ops: &mpsc::Sender<Op>,
    operation: &'static str,
    op: impl FnOnce(Reply<T>) -> Op,
) -> Result<T> {
    let (reply, result) = oneshot::channel();
    ops.send(op(reply)).await.map_err(|_| Error::closed(operation))?;
    result.await.map_err(|_| Error::closed(operation))?
}
