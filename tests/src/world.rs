//! The two stacks of a case and the network between them.

use crate::{Peer, trace::Trace};
use std::{
    fmt::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use visavis_core::{
    Backend, MemoryNetwork, Net, PairConfig, PeerConfig, RealNet, SamePage, Side, Timeline,
    net::{impair::Impairments, memory::MemoryNet},
};
use visavis_str0m::Str0m;
use visavis_webrtc_rs::WebrtcRs;

/// A stack under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// `visavis-str0m`.
    Str0m,
    /// `visavis-webrtc-rs`.
    WebrtcRs,
}

impl Stack {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Str0m, Self::WebrtcRs];

    /// A backend of it.
    pub fn backend(self) -> Arc<dyn Backend> {
        match self {
            Self::Str0m => Arc::new(Str0m::new()),
            Self::WebrtcRs => Arc::new(WebrtcRs::new()),
        }
    }

    /// One whose timers are the same in every run of a seed. (Those of webrtc-rs have no jitter.)
    fn seeded(self, seed: u64) -> Arc<dyn Backend> {
        match self {
            // Each seed is kept by the backend.
            Self::Str0m => Arc::new(Str0m::new().dangerously_seeded(seed % 64)),
            Self::WebrtcRs => self.backend(),
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Str0m => "str0m",
            Self::WebrtcRs => "webrtc-rs",
        })
    }
}

/// An ordered pair of stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stacks {
    /// Runs the side that calls.
    pub offerer: Stack,
    /// Runs the side that is called.
    pub answerer: Stack,
}

impl Stacks {
    /// The four ordered pairs.
    pub fn all() -> impl Iterator<Item = Self> {
        Stack::ALL
            .into_iter()
            .flat_map(|offerer| Stack::ALL.map(|answerer| Self { offerer, answerer }))
    }

    fn seeded(self, seed: u64) -> [Arc<dyn Backend>; 2] {
        [self.offerer.seeded(2 * seed), self.answerer.seeded(2 * seed + 1)]
    }

    /// The stack of a side.
    pub fn side(self, side: Side) -> Stack {
        match side {
            Side::Offerer => self.offerer,
            Side::Answerer => self.answerer,
        }
    }

    /// Whether either side runs `stack`.
    pub fn has(self, stack: Stack) -> bool {
        self.offerer == stack || self.answerer == stack
    }
}

impl fmt::Display for Stacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.offerer, self.answerer)
    }
}

/// What carries the packets of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Sockets on `127.0.0.1`, and the wall clock.
    Real,
    /// A network in memory, and Tokio's paused clock.
    Memory {
        /// One way.
        delay: Duration,
    },
}

impl Network {
    /// The network in memory that every case runs on: 5 ms one way.
    pub const MEMORY: Self = Self::Memory {
        delay: Duration::from_millis(5),
    };
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Real => "real",
            Self::Memory { .. } => "memory",
        })
    }
}

/// The newest network in memory of a case, to replay what failed on it.
#[derive(Debug, Clone, Default)]
pub struct LastPath {
    /// What was sent on it.
    pub trace: Option<Trace>,
    /// The seed of its losses, if the case tries several.
    pub seed: Option<u64>,
}

/// A case's world. Clones are the same world.
#[derive(Debug, Clone)]
pub struct World {
    name: String,
    /// The stacks.
    pub stacks: Stacks,
    /// The network.
    pub network: Network,
    backends: [Arc<dyn Backend>; 2],
    memory: Option<MemoryNetwork>,
    hosts: [Arc<dyn Net>; 2],
    memory_hosts: Option<[Arc<MemoryNet>; 2]>,
    follows: bool,
    addresses: [Vec<IpAddr>; 2],
    timelines: Arc<Mutex<Vec<(String, Timeline)>>>,
    last: Arc<Mutex<LastPath>>,
    /// How many addresses hosts in memory were given.
    given: Arc<AtomicU16>,
}

impl World {
    /// A world with a host of its own for each side.
    pub fn new(stacks: Stacks, network: Network) -> Self {
        let backends = match network {
            Network::Real => [stacks.offerer.backend(), stacks.answerer.backend()],
            Network::Memory { .. } => stacks.seeded(0),
        };
        Self::with_backends(stacks, network, backends)
    }

    fn with_backends(stacks: Stacks, network: Network, backends: [Arc<dyn Backend>; 2]) -> Self {
        let given = Arc::new(AtomicU16::new(0));
        let mut last = LastPath::default();
        let (memory, memory_hosts, hosts, addresses) = match network {
            Network::Real => {
                let loopback = vec![IpAddr::from([127, 0, 0, 1])];
                (
                    None,
                    None,
                    [RealNet::shared(), RealNet::shared()],
                    [loopback.clone(), loopback],
                )
            }
            Network::Memory { delay } => {
                let memory = MemoryNetwork::new(delay);
                last.trace = Some(Trace::of(&memory));
                let addresses = [vec![fresh_address(&given)], vec![fresh_address(&given)]];
                let hosts = [0, 1].map(|i| memory.host(addresses[i].clone()));
                (Some(memory), Some(hosts.clone()), hosts.map(shared), addresses)
            }
        };
        Self {
            name: String::new(),
            stacks,
            network,
            backends,
            memory,
            hosts,
            memory_hosts,
            follows: false,
            addresses,
            timelines: Arc::default(),
            last: Arc::new(Mutex::new(last)),
            given,
        }
    }

    /// The same for the run of this name.
    pub(crate) fn named(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    /// The name of the run that it is the world of.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same with backends that are set up in another way.
    pub fn with(&self, backends: [Arc<dyn Backend>; 2]) -> Self {
        Self {
            backends,
            ..self.clone()
        }
    }

    /// The same stacks on a network in memory with another delay.
    pub fn with_delay(&self, delay: Duration) -> Self {
        let mut other = Self::with_backends(self.stacks, Network::Memory { delay }, self.backends.clone());
        other.timelines = Arc::clone(&self.timelines);
        *lock(&self.last) = lock(&other.last).clone();
        other.last = Arc::clone(&self.last);
        other.named(self.name.clone())
    }

    /// The same stacks on a network in memory with such paths.
    pub fn on_paths(&self, impairments: Impairments, seed: u64) -> Self {
        let other = self.with(self.stacks.seeded(seed)).with_delay(impairments.delay);
        other.memory().set_impairments(impairments, seed);
        lock(&other.last).seed = Some(seed);
        other
    }

    /// The newest network in memory.
    pub fn last_path(&self) -> LastPath {
        lock(&self.last).clone()
    }

    /// The same with these addresses a side. On the network in memory only their number counts: hosts get fresh
    /// ones.
    pub fn with_addresses(&self, addresses: [Vec<IpAddr>; 2]) -> Self {
        let mut other = self.clone();
        if let Some(memory) = &self.memory {
            other.addresses = addresses.map(|side| side.iter().map(|_| fresh_address(&self.given)).collect());
            let hosts = [0, 1].map(|i| memory.host(other.addresses[i].clone()));
            other.memory_hosts = Some(hosts.clone());
            other.hosts = hosts.map(shared);
        } else {
            other.addresses = addresses;
        }
        other
    }

    /// The network in memory.
    ///
    /// # Panics
    ///
    /// On real sockets.
    pub fn memory(&self) -> &MemoryNetwork {
        self.memory.as_ref().expect("a case for the network in memory")
    }

    /// Whether packets travel in memory.
    pub fn is_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// The backend of a side.
    pub fn backend(&self, side: Side) -> &Arc<dyn Backend> {
        &self.backends[side as usize]
    }

    /// The host of a side.
    pub fn host(&self, side: Side) -> &Arc<dyn Net> {
        &self.hosts[side as usize]
    }

    /// The same with peers that bind every interface there is, and follow when others come.
    pub fn following(&self) -> Self {
        Self {
            follows: true,
            ..self.clone()
        }
    }

    /// A host in memory, whose addresses can change.
    ///
    /// # Panics
    ///
    /// On real sockets.
    pub fn memory_host(&self, side: Side) -> &MemoryNet {
        let hosts = self
            .memory_hosts
            .as_ref()
            .expect("a case for the network in memory");
        &hosts[side as usize]
    }

    /// An address that no host has.
    pub fn fresh_address(&self) -> IpAddr {
        fresh_address(&self.given)
    }

    /// What a side binds.
    pub fn bind(&self, side: Side) -> Vec<SocketAddr> {
        if self.follows {
            return Vec::new();
        }
        let addresses = self.addresses[side as usize].iter();
        addresses.map(|ip| SocketAddr::new(*ip, 0)).collect()
    }

    /// A configuration for a side, its timeline printed should the case fail.
    pub fn config(&self, side: Side) -> PeerConfig {
        let config = PeerConfig {
            bind: self.bind(side),
            name: side.to_string(),
            ..PeerConfig::default()
        };
        self.keep(format!("{side} ({})", self.stacks.side(side)), &config.timeline);
        config
    }

    /// Prints this timeline should the case fail.
    pub fn keep(&self, name: String, timeline: &Timeline) {
        let mut timelines = lock(&self.timelines);
        timelines.push((name, timeline.clone()));
    }

    /// A peer connection of a side.
    pub async fn peer(&self, side: Side) -> Peer {
        self.peer_with(side, self.config(side)).await
    }

    /// A peer connection of a side, set up in this way.
    pub async fn peer_with(&self, side: Side, config: PeerConfig) -> Peer {
        Peer::new(&**self.backend(side), config, Arc::clone(self.host(side))).await
    }

    /// One peer connection a side.
    pub async fn peers(&self) -> (Peer, Peer) {
        (self.peer(Side::Offerer).await, self.peer(Side::Answerer).await)
    }

    /// A same-page pair on this world, its other settings those of `config`.
    pub fn pair(&self, mut config: PairConfig) -> SamePage {
        config.offerer.bind = self.bind(Side::Offerer);
        config.answerer.bind = self.bind(Side::Answerer);
        let [offerer, answerer] = self.backends.clone();
        SamePage::on(offerer, answerer, self.hosts.clone(), config)
    }

    /// The timelines of every peer so far, as text.
    pub fn timelines(&self) -> String {
        let timelines = lock(&self.timelines);
        let entries: Vec<_> = timelines.iter().map(|(name, t)| (name, t.entries())).collect();
        let began = entries.iter().filter_map(|(_, e)| e.first()).map(|e| e.1).min();
        let mut text = String::new();
        // A case that calls fifty times failed in the last of them.
        for (name, entries) in entries.iter().skip(entries.len().saturating_sub(6)) {
            let _ = write!(text, "  {name}:");
            for (mark, at) in entries {
                let ms = began.map_or(0.0, |began| (*at - began).as_secs_f64() * 1000.0);
                let _ = write!(text, " {} {ms:.1}", mark.name());
            }
            text += "\n";
        }
        text
    }
}

fn shared(host: Arc<MemoryNet>) -> Arc<dyn Net> {
    host
}

/// An address of `127.10.0.0/16` that no other host of the world has, bindable on this machine. Each world counts for
/// itself, so a case has the same addresses, and by them the same losses, in every run.
fn fresh_address(given: &AtomicU16) -> IpAddr {
    let n = given.fetch_add(1, Ordering::Relaxed);
    IpAddr::from([127, 10, (n / 250 % 250) as u8, (n % 250 + 1) as u8])
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
