//! Where the work is done: the stacks, set up as the profile says, and the network between them.

use crate::{
    handicap,
    netns::{self, Namespace},
    tap::Tap,
    work::{Arm, Handicap, Network, Profile, Visit},
};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use visavis_core::{
    Backend, IceMode, KeyExchange, MemoryNetwork, Net, PairConfig, PeerPair, RealNet, SamePage, SrtpProfile,
};

/// Two stacks, the offerer's first.
pub type Stacks = [Arc<dyn Backend>; 2];

/// What a stack is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether the next call's certificate is made ahead of it.
    pub certificates_ahead: bool,
    /// What is the same on every stack, in the equal profile.
    pub equal: Option<Equal>,
}

/// What the equal profile sets. That the library for cryptography, the DTLS version, the socket buffers and the
/// runtime are the same is so in every build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Equal {
    /// The only SRTP protection profile.
    pub srtp_profile: SrtpProfile,
    /// The only named group.
    pub key_exchange: KeyExchange,
    /// The RTP packet target in bytes.
    pub rtp_packet_size: usize,
}

impl Equal {
    /// As the results are made.
    pub const PROFILE: Self = Self {
        srtp_profile: SrtpProfile::AeadAes256Gcm,
        key_exchange: KeyExchange::X25519,
        rtp_packet_size: 1200,
    };
}

/// Makes the stack of a name.
pub type MakeStack = fn(&str, Settings) -> Option<Arc<dyn Backend>>;

/// Everything that a visit needs and this library cannot know: the stacks of the program.
#[derive(Clone, Copy)]
pub struct Lab {
    /// The names of the stacks.
    pub names: &'static [&'static str],
    /// Makes one of them.
    pub stack: MakeStack,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Lab {
    /// Every ordered pair of its stacks.
    pub fn pairs(&self) -> Vec<Arm> {
        let pairs = self
            .names
            .iter()
            .flat_map(|a| self.names.iter().map(move |b| (*a, *b)));
        pairs
            .map(|(a, b)| Arm::Pair(a.to_owned(), b.to_owned()))
            .collect()
    }

    /// What a visit works with.
    ///
    /// # Errors
    ///
    /// As [`site_of`](Self::site_of).
    pub fn site(&self, visit: &Visit, network: Network, certificates_ahead: bool) -> Result<Site, String> {
        let mut site = self.site_of(
            &visit.arm,
            visit.profile,
            &visit.handicaps,
            network,
            certificates_ahead,
        )?;
        if let (Network::Loopback, Some(namespace)) = (network, &visit.namespace) {
            site.nets[1] = handicap::net(Namespace::shared(namespace), &visit.handicaps);
            site.hosts = netns::ADDRESSES.map(IpAddr::from);
        }
        Ok(site)
    }

    /// The two stacks of an arm, set up, and the network between them.
    ///
    /// # Errors
    ///
    /// When a stack is not in this build, or the arm is no pair of stacks.
    pub fn site_of(
        &self,
        arm: &Arm,
        profile: Profile,
        handicaps: &[Handicap],
        network: Network,
        certificates_ahead: bool,
    ) -> Result<Site, String> {
        let (Arm::Pair(offerer, answerer) | Arm::Again(offerer, answerer)) = arm else {
            return Err(format!("{arm} is no pair of stacks"));
        };
        let settings = Settings {
            certificates_ahead,
            equal: (profile == Profile::Equal).then_some(Equal::PROFILE),
        };
        let stack = |name: &str| -> Result<_, String> {
            let stack = (self.stack)(name, settings).ok_or_else(|| format!("there is no stack {name}"))?;
            Ok(handicap::stack(stack, handicaps))
        };
        let stacks = [stack(offerer)?, stack(answerer)?];
        let (nets, hosts) = nets(network);
        Ok(Site {
            stacks,
            nets: nets.map(|net| handicap::net(net, handicaps)),
            hosts,
        })
    }
}

/// A host for each side, and its address.
pub fn nets(network: Network) -> ([Arc<dyn Net>; 2], [IpAddr; 2]) {
    match network {
        Network::Loopback => (
            [RealNet::shared(), RealNet::shared()],
            [Ipv4Addr::LOCALHOST.into(); 2],
        ),
        Network::Simulated(rtt) => {
            let memory = MemoryNetwork::new(Duration::from_millis(rtt.into()) / 2);
            // webrtc binds a real socket first, so hosts have addresses that the machine has too.
            let hosts = [2, 3].map(|host| IpAddr::from([127, 0, 0, host]));
            (hosts.map(|host| memory.host([host]) as Arc<dyn Net>), hosts)
        }
    }
}

/// Two stacks and the network between them.
#[derive(Debug, Clone)]
pub struct Site {
    /// The stacks, the offerer's first.
    pub stacks: Stacks,
    nets: [Arc<dyn Net>; 2],
    hosts: [IpAddr; 2],
}

impl Site {
    /// Two given stacks on loopback.
    pub fn loopback(stacks: Stacks) -> Self {
        let (nets, hosts) = nets(Network::Loopback);
        Self { stacks, nets, hosts }
    }

    /// A pair on this network that is ready to call.
    pub async fn pair(&self, config: PairConfig) -> SamePage {
        self.pair_on(self.nets.clone(), config).await
    }

    /// The same with the offerer's packets read on their way.
    pub async fn tapped_pair(&self, config: PairConfig) -> (SamePage, Arc<Tap>) {
        let [offerer, answerer] = self.nets.clone();
        let tap = Arc::new(Tap::new(offerer));
        (self.pair_on([tap.clone(), answerer], config).await, tap)
    }

    async fn pair_on(&self, nets: [Arc<dyn Net>; 2], mut config: PairConfig) -> SamePage {
        for (peer, host) in [&mut config.offerer, &mut config.answerer]
            .into_iter()
            .zip(self.hosts)
        {
            peer.bind = vec![SocketAddr::new(host, 0)];
        }
        let [offerer, answerer] = self.stacks.clone();
        let pair = SamePage::on(offerer, answerer, nets, config);
        // The only refusal is that it was started before.
        let _ = pair.start().await;
        pair
    }
}

/// When candidates travel.
pub(crate) fn ice_mode(trickle: bool) -> IceMode {
    if trickle { IceMode::Trickle } else { IceMode::Full }
}
