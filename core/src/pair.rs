//! Two peers on one page: Start, Call, Hang Up, on any two stacks.

use crate::{
    Backend, ChannelInit, Codec, ConnectionState, DataChannel, Direction, Error, ErrorKind, IceMode, Mark,
    MediaKind, Negotiator, Net, PeerConfig, PeerConnection, PeerEvent, PeerEvents, RealNet, Result, Role,
    Signal, Signaling, Timeline, Transceiver, lock,
    signaling::{InMemory, in_memory},
};
use async_trait::async_trait;
use serde::Serialize;
use std::{
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

/// The same-page demo's two peers, callable again after each hang-up.
#[async_trait]
pub trait PeerPair: fmt::Debug + Send + Sync {
    /// Where the pair stands, and so which buttons are enabled.
    fn state(&self) -> PairState;

    /// Subscribes to what happens from now on.
    fn events(&self) -> PairEvents;

    /// Opens the sources of media.
    ///
    /// # Errors
    ///
    /// [`InvalidState`](ErrorKind::InvalidState) unless [`PairState::can_start`].
    async fn start(&self) -> Result<()>;

    /// Makes both peers and connects them; returns when the data channel is open on both sides.
    ///
    /// # Errors
    ///
    /// The step at which the call failed, and why. The pair can call again.
    async fn call(&self) -> Result<Arc<Call>, CallFailure>;

    /// Closes both peers. Ends a call that is being made, too.
    ///
    /// # Errors
    ///
    /// [`InvalidState`](ErrorKind::InvalidState) unless [`PairState::can_hang_up`].
    async fn hang_up(&self) -> Result<()>;
}

/// Where a [`PeerPair`] stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    /// Fresh: only Start is enabled.
    Idle,
    /// Started, or hung up: only Call is enabled.
    Ready,
    /// A call is being made: only Hang Up is enabled.
    Calling,
    /// Connected: only Hang Up is enabled.
    InCall,
}

impl PairState {
    /// Whether Start is enabled.
    pub fn can_start(self) -> bool {
        self == Self::Idle
    }

    /// Whether Call is enabled.
    pub fn can_call(self) -> bool {
        self == Self::Ready
    }

    /// Whether Hang Up is enabled.
    pub fn can_hang_up(self) -> bool {
        matches!(self, Self::Calling | Self::InCall)
    }
}

impl fmt::Display for PairState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Ready => "ready",
            Self::Calling => "calling",
            Self::InCall => "in-call",
        })
    }
}

/// One of the two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The demo's `pc1`, which calls.
    Offerer,
    /// The demo's `pc2`, which is called.
    Answerer,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offerer => "offerer",
            Self::Answerer => "answerer",
        })
    }
}

/// What happens on a pair.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PairEvent {
    /// The buttons changed.
    State(PairState),
    /// A step of one side, when it happened.
    Step(Side, Mark, Instant),
    /// What one side's peer connection reported.
    Peer(Side, PeerEvent),
    /// What one side sent to the other over signaling, when it did.
    Signal(Side, Signal, Instant),
}

/// A subscription to a pair's events.
#[derive(Debug)]
pub struct PairEvents(mpsc::UnboundedReceiver<PairEvent>);

impl PairEvents {
    /// The next event, or `None` once the pair is gone.
    pub async fn next(&mut self) -> Option<PairEvent> {
        self.0.recv().await
    }
}

/// How a [`SamePage`] pair calls.
#[derive(Debug, Clone)]
pub struct PairConfig {
    /// The calling side's peer. Default: [`PeerConfig::loopback`].
    pub offerer: PeerConfig,
    /// The called side's peer. Default: [`PeerConfig::loopback`].
    pub answerer: PeerConfig,
    /// When candidates travel. Default: trickle.
    pub ice: IceMode,
    /// A call that takes longer to open its channel has failed. Default: 10 s.
    pub timeout: Duration,
    /// The data channel that the offerer opens. Default: reliable and ordered, labelled `visavis`.
    pub channel: ChannelInit,
    /// The media m-lines of the offer, in this order, before the data channel's. Default: none.
    pub media: Vec<PairMedia>,
}

/// A media m-line of a [`SamePage`] call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairMedia {
    /// Audio or video.
    pub kind: MediaKind,
    /// Which way it goes, seen from the offerer. Where the offerer receives, the answerer adds a track.
    pub direction: Direction,
    /// What both sides take, best first; empty for all that visavis knows.
    pub codecs: Vec<Codec>,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self {
            offerer: PeerConfig {
                name: "offerer".to_owned(),
                ..PeerConfig::loopback()
            },
            answerer: PeerConfig {
                name: "answerer".to_owned(),
                ..PeerConfig::loopback()
            },
            ice: IceMode::Trickle,
            timeout: Duration::from_secs(10),
            channel: ChannelInit::new("visavis"),
            media: Vec::new(),
        }
    }
}

/// A call that is up.
#[derive(Debug)]
pub struct Call {
    /// The calling side.
    pub offerer: CallSide,
    /// The called side.
    pub answerer: CallSide,
    /// When `call` was entered.
    pub began: Instant,
}

impl Call {
    /// The side of that name.
    pub fn side(&self, side: Side) -> &CallSide {
        match side {
            Side::Offerer => &self.offerer,
            Side::Answerer => &self.answerer,
        }
    }

    /// From entering `call` to the channel being open on both sides.
    pub fn setup(&self) -> Duration {
        let opened = [&self.offerer, &self.answerer].map(|s| s.peer.timeline().get(Mark::ChannelOpen));
        opened
            .into_iter()
            .flatten()
            .max()
            .map_or(Duration::ZERO, |at| at - self.began)
    }
}

/// One side of a [`Call`].
#[derive(Debug)]
pub struct CallSide {
    /// Its peer connection.
    pub peer: PeerConnection,
    /// Its end of the data channel, open.
    pub channel: DataChannel,
    /// Its transceivers, in the order of [`PairConfig::media`].
    pub transceivers: Vec<Transceiver>,
}

/// Why there was no call.
#[derive(Debug, thiserror::Error)]
#[error("the call failed at {} after {:.1} s: {reason}", step.map_or("peer_created", Mark::name), after.as_secs_f64())]
pub struct CallFailure {
    /// The first step that one side did not reach; `None` if a peer could not even be made.
    pub step: Option<Mark>,
    /// Which side did not reach it.
    pub side: Side,
    /// How long the call had been going.
    pub after: Duration,
    /// What went wrong, in words.
    pub reason: String,
    /// Whether it was hung up rather than failed.
    pub hung_up: bool,
    /// The steps that each side did reach.
    pub timelines: [Timeline; 2],
    /// The error below, where there is one.
    #[source]
    pub source: Option<Error>,
}

impl CallFailure {
    /// The steps that [`step`](Self::step) may name, in order.
    pub const STEPS: [Mark; 7] = [
        Mark::PeerCreated,
        Mark::LocalDescriptionSet,
        Mark::RemoteDescriptionSet,
        Mark::IceConnected,
        Mark::DtlsConnected,
        Mark::SctpUp,
        Mark::ChannelOpen,
    ];
}

/// A [`PeerPair`] whose sides may run on different stacks.
#[derive(Debug, Clone)]
pub struct SamePage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backends: [Arc<dyn Backend>; 2],
    nets: [Arc<dyn Net>; 2],
    config: PairConfig,
    state: watch::Sender<PairState>,
    subscribers: Mutex<Vec<mpsc::UnboundedSender<PairEvent>>>,
    calls: AtomicU64,
    active: Mutex<Option<Active>>,
}

type Marks = mpsc::UnboundedReceiver<(Mark, Instant)>;

/// What a hang-up has to end.
#[derive(Debug)]
struct Active {
    call: u64,
    peers: [PeerConnection; 2],
    tasks: JoinSet<()>,
}

impl SamePage {
    /// A pair on the machine's network.
    pub fn new(offerer: Arc<dyn Backend>, answerer: Arc<dyn Backend>, config: PairConfig) -> Self {
        Self::on(offerer, answerer, [RealNet::shared(), RealNet::shared()], config)
    }

    /// A pair on given networks, the offerer's first.
    pub fn on(
        offerer: Arc<dyn Backend>,
        answerer: Arc<dyn Backend>,
        nets: [Arc<dyn Net>; 2],
        config: PairConfig,
    ) -> Self {
        Self(Arc::new(Inner {
            backends: [offerer, answerer],
            nets,
            config,
            state: watch::Sender::new(PairState::Idle),
            subscribers: Mutex::default(),
            calls: AtomicU64::new(0),
            active: Mutex::default(),
        }))
    }
}

#[async_trait]
impl PeerPair for SamePage {
    fn state(&self) -> PairState {
        *self.0.state.borrow()
    }

    fn events(&self) -> PairEvents {
        let (tx, rx) = mpsc::unbounded_channel();
        lock(&self.0.subscribers).push(tx);
        PairEvents(rx)
    }

    async fn start(&self) -> Result<()> {
        self.0.change("start", PairState::can_start, PairState::Ready)
    }

    async fn call(&self) -> Result<Arc<Call>, CallFailure> {
        let began = Instant::now();
        let (timelines, marks) = self.0.timelines();
        let refused = |error: Error| failure(&timelines, began, None, Some(error));
        self.0
            .change("call", PairState::can_call, PairState::Calling)
            .map_err(refused)?;
        // Whatever ends this future early, a drop included, the pair can call again.
        let id = self.0.calls.fetch_add(1, Ordering::Relaxed);
        let calling = Calling(Some((&self.0, id)));
        let mut hung_up = self.0.state.subscribe();
        let result = tokio::select! {
            biased;
            _ = hung_up.wait_for(|s| *s != PairState::Calling) => None,
            result = tokio::time::timeout(self.0.config.timeout, self.0.connect(id, &timelines, marks)) => Some(result),
        };
        let (reason, error) = match result {
            Some(Ok(Ok((offerer, answerer)))) => {
                calling.keep();
                if self
                    .0
                    .change("call", |s| s == PairState::Calling, PairState::InCall)
                    .is_ok()
                {
                    return Ok(Arc::new(Call {
                        offerer,
                        answerer,
                        began,
                    }));
                }
                (None, None)
            }
            Some(Ok(Err(error))) => (Some(error.to_string()), Some(error)),
            Some(Err(_)) => (
                Some(format!("it took longer than {:?}", self.0.config.timeout)),
                None,
            ),
            None => (None, None),
        };
        let active = self.0.take_active(id);
        if let Some(active) = active {
            active.end(false).await;
        }
        Err(failure(&timelines, began, reason, error))
    }

    async fn hang_up(&self) -> Result<()> {
        self.0
            .change("hang_up", PairState::can_hang_up, PairState::Ready)?;
        let active = lock(&self.0.active).take();
        if let Some(active) = active {
            active.end(true).await;
        }
        Ok(())
    }
}

/// Puts the state back when a call was not made.
struct Calling<'a>(Option<(&'a Inner, u64)>);

impl Calling<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        if let Some((inner, id)) = self.0 {
            drop(inner.take_active(id));
            let _ = inner.change("call", |s| s == PairState::Calling, PairState::Ready);
        }
    }
}

impl Inner {
    fn change(
        &self,
        operation: &'static str,
        allowed: impl Fn(PairState) -> bool,
        to: PairState,
    ) -> Result<()> {
        let mut from = PairState::Idle;
        let changed = self.state.send_if_modified(|state| {
            from = *state;
            let allowed = allowed(from);
            if allowed {
                *state = to;
            }
            allowed
        });
        if !changed {
            let order = "the order is start, call, hang_up, call again";
            return Err(Error::new(
                ErrorKind::InvalidState,
                operation,
                format!("the pair is {from}; {order}"),
            ));
        }
        self.emit(&PairEvent::State(to));
        Ok(())
    }

    /// What is to end of call `id`, unless a hang-up has taken it or another call has begun.
    fn take_active(&self, id: u64) -> Option<Active> {
        lock(&self.active).take_if(|active| active.call == id)
    }

    fn emit(&self, event: &PairEvent) {
        lock(&self.subscribers).retain(|s| s.send(event.clone()).is_ok());
    }

    /// A timeline a side, observed if anybody listens.
    fn timelines(&self) -> ([Timeline; 2], [Option<Marks>; 2]) {
        let observed = !lock(&self.subscribers).is_empty();
        let [(a, a_marks), (b, b_marks)] = [(), ()].map(|()| {
            if !observed {
                return (Timeline::default(), None);
            }
            let (tx, rx) = mpsc::unbounded_channel();
            (Timeline::with_observer(Some(tx)), Some(rx))
        });
        ([a, b], [a_marks, b_marks])
    }

    async fn connect(
        self: &Arc<Self>,
        id: u64,
        timelines: &[Timeline; 2],
        marks: [Option<Marks>; 2],
    ) -> Result<(CallSide, CallSide)> {
        let peer = |side: Side| {
            let index = side as usize;
            let config = if side == Side::Offerer {
                &self.config.offerer
            } else {
                &self.config.answerer
            };
            let config = PeerConfig {
                timeline: timelines[index].clone(),
                ..config.clone()
            };
            PeerConnection::new(&*self.backends[index], config, Arc::clone(&self.nets[index]))
        };
        let (offerer, answerer) = tokio::try_join!(peer(Side::Offerer), peer(Side::Answerer))?;
        let mut tasks = JoinSet::new();
        let [offerer_marks, answerer_marks] = marks;
        for (side, peer, marks) in [
            (Side::Offerer, &offerer, offerer_marks),
            (Side::Answerer, &answerer, answerer_marks),
        ] {
            if let Some(marks) = marks {
                tasks.spawn(forward(Arc::downgrade(self), side, peer.events(), marks));
            }
        }
        for media in &self.config.media {
            let transceiver = offerer.add_transceiver(media.kind, media.direction).await?;
            prefer(&transceiver, media).await?;
            if media.direction.receives() {
                prefer(&answerer.add_track(media.kind).await?, media).await?;
            }
        }
        let channel = offerer.create_data_channel(self.config.channel.clone()).await?;
        let mut incoming = answerer.events_of(|event| matches!(event, PeerEvent::DataChannel(_)));
        let (errors, mut failed) = mpsc::channel(2);
        let (to_answerer, to_offerer) = in_memory();
        let calling = Negotiator::new(&offerer, Role::Impolite, self.config.ice);
        let called = Negotiator::new(&answerer, Role::Polite, self.config.ice).awaiting_offer();
        let mut ends = [&offerer, &answerer].map(|peer| peer.events_of(is_end));
        for (side, negotiator, signaling) in [
            (Side::Offerer, calling, to_answerer),
            (Side::Answerer, called, to_offerer),
        ] {
            let pair = Arc::downgrade(self);
            let signaling = Told {
                pair,
                side,
                signaling,
            };
            tasks.spawn(run(negotiator, signaling, errors.clone()));
        }
        *lock(&self.active) = Some(Active {
            call: id,
            peers: [offerer.clone(), answerer.clone()],
            tasks,
        });

        let opened = async {
            let theirs = match self.config.channel.negotiated {
                Some(_) => answerer.create_data_channel(self.config.channel.clone()).await?,
                None => loop {
                    match incoming.next().await {
                        Some(PeerEvent::DataChannel(channel)) => break channel,
                        Some(_) => {}
                        None => return Err(Error::closed("call")),
                    }
                },
            };
            theirs.opened().await?;
            channel.opened().await?;
            Ok(theirs)
        };
        let over = async {
            let [ours, theirs] = &mut ends;
            let ended = tokio::select! {
                biased;
                _ = ours.next() => &offerer,
                _ = theirs.next() => &answerer,
            };
            ended.wait_for(ConnectionState::Closed).await
        };
        let theirs = tokio::select! {
            biased;
            theirs = opened => theirs?,
            Some(error) = failed.recv() => return Err(error),
            over = over => return Err(over.err().unwrap_or_else(|| Error::closed("call"))),
        };
        let ours = offerer.transceivers().await?;
        let theirs_by_line = by_line(&ours, &answerer.transceivers().await?).await?;
        Ok((
            CallSide {
                peer: offerer,
                channel,
                transceivers: ours,
            },
            CallSide {
                peer: answerer,
                channel: theirs,
                transceivers: theirs_by_line,
            },
        ))
    }
}

fn is_end(event: &PeerEvent) -> bool {
    use ConnectionState::{Closed, Failed};
    matches!(event, PeerEvent::ConnectionState(Closed | Failed))
}

async fn prefer(transceiver: &Transceiver, media: &PairMedia) -> Result<()> {
    if media.codecs.is_empty() {
        return Ok(());
    }
    transceiver.set_codec_preferences(&media.codecs).await
}

/// `theirs` in the order of the m-lines of `ours`.
async fn by_line(ours: &[Transceiver], theirs: &[Transceiver]) -> Result<Vec<Transceiver>> {
    let mut sorted = Vec::new();
    for our in ours {
        let mid = our.state().await?.mid;
        for their in theirs {
            if their.state().await?.mid == mid {
                sorted.push(their.clone());
            }
        }
    }
    Ok(sorted)
}

/// Negotiates for one side until the call ends; tells of an error once and goes on, so that a bad description in
/// mid-call does not end it.
async fn run(mut negotiator: Negotiator, mut signaling: impl Signaling, errors: mpsc::Sender<Error>) {
    while let Err(error) = negotiator.run(&mut signaling).await {
        tracing::warn!(%error, "negotiation");
        let fatal = error.kind() == ErrorKind::Network;
        let _ = errors.try_send(error);
        if fatal {
            return;
        }
    }
    let _ = signaling.send(Signal::Bye).await;
}

/// Signaling that tells the pair's subscribers what one side sends.
struct Told {
    pair: Weak<Inner>,
    side: Side,
    signaling: InMemory,
}

#[async_trait]
impl Signaling for Told {
    async fn send(&mut self, signal: Signal) -> Result<()> {
        if let Some(pair) = self.pair.upgrade()
            && !lock(&pair.subscribers).is_empty()
        {
            pair.emit(&PairEvent::Signal(self.side, signal.clone(), Instant::now()));
        }
        self.signaling.send(signal).await
    }

    async fn recv(&mut self) -> Result<Option<Signal>> {
        self.signaling.recv().await
    }
}

/// Sends one side's steps and events to the pair's subscribers until its peer connection is closed.
async fn forward(pair: Weak<Inner>, side: Side, mut events: PeerEvents, mut marks: Marks) {
    loop {
        let event = tokio::select! {
            biased;
            Some((mark, at)) = marks.recv() => PairEvent::Step(side, mark, at),
            event = events.next() => match event {
                Some(event) => PairEvent::Peer(side, event),
                None => return,
            },
        };
        match pair.upgrade() {
            Some(pair) => pair.emit(&event),
            None => return,
        }
    }
}

impl Active {
    async fn end(mut self, graceful: bool) {
        let [offerer, answerer] = &self.peers;
        tokio::join!(offerer.close(), answerer.close());
        if graceful {
            // The peers' events have ended, and with them the tasks that read them.
            while self.tasks.join_next().await.is_some() {}
        }
        self.tasks.shutdown().await;
    }
}

fn failure(
    timelines: &[Timeline; 2],
    began: Instant,
    reason: Option<String>,
    source: Option<Error>,
) -> CallFailure {
    let missing = CallFailure::STEPS.into_iter().find_map(|step| {
        let side = timelines.iter().position(|t| t.get(step).is_none())?;
        Some((step, if side == 0 { Side::Offerer } else { Side::Answerer }))
    });
    CallFailure {
        step: missing.map(|m| m.0),
        side: missing.map_or(Side::Offerer, |m| m.1),
        after: began.elapsed(),
        hung_up: reason.is_none() && source.is_none(),
        reason: reason
            .or_else(|| source.as_ref().map(ToString::to_string))
            .unwrap_or_else(|| "hung up".to_owned()),
        timelines: timelines.clone(),
        source,
    }
}
