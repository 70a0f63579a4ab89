//! Peers, calls, and the ways to connect them.

use crate::{Log, World, deadline, signals::delayed};
use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use visavis_core::{
    Backend, ChannelInit, ConnectionState, DataChannel, Error, ErrorKind, IceMode, Message, Net, PeerConfig,
    PeerConnection, Result, Role, Sdp, Side, negotiate,
};

/// A peer connection and what it reported from its start.
#[derive(Debug)]
pub struct Peer {
    /// The peer connection.
    pub pc: PeerConnection,
    /// Its events.
    pub log: Log,
}

impl Deref for Peer {
    type Target = PeerConnection;

    fn deref(&self) -> &PeerConnection {
        &self.pc
    }
}

impl Peer {
    /// A new peer connection.
    pub async fn new(backend: &dyn Backend, config: PeerConfig, net: Arc<dyn Net>) -> Self {
        let pc = deadline("a new peer connection", PeerConnection::new(backend, config, net)).await;
        let pc = pc.expect("a new peer connection");
        let log = Log::new(pc.events());
        Self { pc, log }
    }
}

/// How [`World::call_with`] sets a call up.
#[derive(Debug, Clone)]
pub struct CallSetup {
    /// When candidates travel.
    pub ice: IceMode,
    /// The first data channel.
    pub channel: ChannelInit,
    /// How long each signal takes.
    pub signaling: Duration,
    /// [`PeerConfig::disconnected_after`] of both.
    pub disconnected_after: Duration,
    /// [`PeerConfig::failed_after`] of both.
    pub failed_after: Duration,
    /// [`PeerConfig::restart_after`] of both.
    pub restart_after: Option<Duration>,
}

impl Default for CallSetup {
    fn default() -> Self {
        let peer = PeerConfig::default();
        Self {
            ice: IceMode::Trickle,
            channel: ChannelInit::new("first"),
            signaling: Duration::ZERO,
            disconnected_after: peer.disconnected_after,
            failed_after: peer.failed_after,
            restart_after: peer.restart_after,
        }
    }
}

/// Two connected peers with one data channel, negotiating by themselves.
#[derive(Debug)]
pub struct Call {
    /// The side that called; impolite.
    pub offerer: Peer,
    /// The side that was called; polite.
    pub answerer: Peer,
    /// The offerer's end of the first channel.
    pub a: DataChannel,
    /// The answerer's end of it.
    pub b: DataChannel,
    /// The tasks that negotiate.
    pub negotiators: JoinSet<()>,
}

impl Call {
    /// Closes both peers and waits for the tasks that negotiate.
    pub async fn close(mut self) {
        self.offerer.close().await;
        self.answerer.close().await;
        deadline("the negotiators' end", async {
            while let Some(ended) = self.negotiators.join_next().await {
                ended.expect("a negotiator");
            }
        })
        .await;
    }

    /// The peer of a side, and its end of the channel.
    pub fn side(&mut self, side: Side) -> (&mut Peer, &DataChannel) {
        match side {
            Side::Offerer => (&mut self.offerer, &self.a),
            Side::Answerer => (&mut self.answerer, &self.b),
        }
    }
}

impl World {
    /// Two peers, connected by perfect negotiation with trickle, and an open channel.
    pub async fn call(&self) -> Call {
        self.call_with(CallSetup::default()).await
    }

    /// The same, set up in this way.
    pub async fn call_with(&self, setup: CallSetup) -> Call {
        let config = |side| PeerConfig {
            disconnected_after: setup.disconnected_after,
            failed_after: setup.failed_after,
            restart_after: setup.restart_after,
            ..self.config(side)
        };
        let mut offerer = self.peer_with(Side::Offerer, config(Side::Offerer)).await;
        let mut answerer = self.peer_with(Side::Answerer, config(Side::Answerer)).await;
        let a = offerer
            .create_data_channel(setup.channel.clone())
            .await
            .expect("a data channel");
        let negotiators = negotiators(&offerer, &answerer, setup.ice, setup.signaling);
        let b = match setup.channel.negotiated {
            Some(_) => answerer
                .create_data_channel(setup.channel)
                .await
                .expect("its other end"),
            None => answerer.log.channel().await,
        };
        opened(&a).await;
        opened(&b).await;
        connected(&offerer, &answerer).await;
        offerer.log.drain().await;
        answerer.log.drain().await;
        Call {
            offerer,
            answerer,
            a,
            b,
            negotiators,
        }
    }
}

/// Negotiates for both peers, the first being impolite, over signaling that takes `delay`.
pub fn negotiators(a: &PeerConnection, b: &PeerConnection, ice: IceMode, delay: Duration) -> JoinSet<()> {
    let (mut to_b, mut to_a) = delayed(delay);
    let mut tasks = JoinSet::new();
    let (a, b) = (a.clone(), b.clone());
    tasks.spawn(async move {
        let ended = negotiate(&a, &mut to_b, Role::Impolite, ice).await;
        ended.expect("the impolite side negotiates");
    });
    tasks.spawn(async move {
        let ended = negotiate(&b, &mut to_a, Role::Polite, ice).await;
        ended.expect("the polite side negotiates");
    });
    tasks
}

/// One exchange of offer and answer without candidates.
pub async fn exchange(a: &PeerConnection, b: &PeerConnection) -> Result<()> {
    b.set_remote_description(a.set_local_description(None).await?)
        .await?;
    a.set_remote_description(b.set_local_description(None).await?)
        .await
}

/// One exchange with every candidate inside the descriptions.
pub async fn connect_by_hand(a: &PeerConnection, b: &PeerConnection) {
    for (from, to) in [(a, b), (b, a)] {
        from.set_local_description(None)
            .await
            .expect("a local description");
        deadline("gathering", from.gathered()).await.expect("gathering");
        let description = from.local_description().expect("a local description");
        to.set_remote_description(description)
            .await
            .expect("a remote description");
    }
}

/// Connects by hand and waits for `ours`, a channel of `a`. Returns its other end.
pub async fn connect_with(a: &Peer, b: &mut Peer, ours: &DataChannel) -> DataChannel {
    connect_by_hand(a, b).await;
    connected(a, b).await;
    opened(ours).await;
    b.log.channel().await
}

/// Gives each peer the other's candidates of this generation, as they are in its description by now.
pub async fn pass_candidates(a: &PeerConnection, b: &PeerConnection) {
    for (from, to) in [(a, b), (b, a)] {
        deadline("gathering", from.gathered()).await.expect("gathering");
        let description = from.local_description().expect("a local description");
        let mut sdp: Sdp = description.sdp.parse().expect("our own description");
        let (candidates, ended) = sdp.take_candidates();
        assert!(ended, "gathered, and not the end of candidates");
        for candidate in candidates {
            to.add_ice_candidate(candidate).await.expect("a candidate");
        }
    }
}

/// Waits until both peers are connected.
pub async fn connected(a: &PeerConnection, b: &PeerConnection) {
    for peer in [a, b] {
        let state = deadline("connected", peer.wait_for(ConnectionState::Connected)).await;
        state.expect("connected");
    }
}

/// Waits until a channel is open.
pub async fn opened(channel: &DataChannel) {
    let what = format!("channel `{}` open", channel.label());
    deadline(&what, channel.opened()).await.expect("an open channel");
}

/// The next message.
pub async fn recv(channel: &DataChannel) -> Message {
    let what = format!("a message on `{}`", channel.label());
    let message = deadline(&what, channel.recv()).await;
    message.unwrap_or_else(|| panic!("the channel closed before: {what}"))
}

/// A message each way, and nothing else on the way.
pub async fn ping(a: &DataChannel, b: &DataChannel) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for (from, to) in [(a, b), (b, a)] {
        let text = format!("ping {}", NEXT.fetch_add(1, Ordering::Relaxed));
        deadline("room to send", from.send(text.as_str()))
            .await
            .expect("a message");
        assert_eq!(recv(to).await, Message::from(text));
    }
}

/// Checks that `result` is an error of `kind` with words in it, and gives the words.
pub fn expect_kind<T: fmt::Debug>(result: Result<T>, kind: ErrorKind, what: impl fmt::Display) -> String {
    match result {
        Ok(value) => panic!("{what}: expected {kind:?}, got {value:?}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{what}: {error}");
            words(&error)
        }
    }
}

/// An error's words: the operation and what to do, never nothing.
pub fn words(error: &Error) -> String {
    let text = error.to_string();
    assert!(text.starts_with(error.operation()), "{text}");
    assert!(
        text.len() > error.operation().len() + 10,
        "says too little: {text}"
    );
    text
}
