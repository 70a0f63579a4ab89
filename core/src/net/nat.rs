//! Network address translators, without I/O (RFC 4787).

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::time::Instant;

/// On how much of the remote address a NAT's behaviour depends (RFC 4787 §4.1 for mappings, §5 for filtering).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependence {
    /// On nothing of it.
    EndpointIndependent,
    /// On its IP address.
    AddressDependent,
    /// On its IP address and port.
    AddressAndPortDependent,
}

impl Dependence {
    /// What of a remote address makes a difference.
    fn key(self, remote: SocketAddr) -> Option<(IpAddr, Option<u16>)> {
        match self {
            Self::EndpointIndependent => None,
            Self::AddressDependent => Some((remote.ip(), None)),
            Self::AddressAndPortDependent => Some((remote.ip(), Some(remote.port()))),
        }
    }
}

/// How a NAT behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatKind {
    /// When a host's socket gets another port outside: for each of these.
    pub mapping: Dependence,
    /// What is let in: what comes from one of these that the host has sent to.
    pub filtering: Dependence,
    /// A mapping that nothing has left through for this long is forgotten (RFC 4787 §4.3).
    pub timeout: Duration,
}

impl NatKind {
    /// Everybody may answer.
    pub const FULL_CONE: Self = Self::new(Dependence::EndpointIndependent, Dependence::EndpointIndependent);

    /// The hosts that were sent to may answer.
    pub const RESTRICTED: Self = Self::new(Dependence::EndpointIndependent, Dependence::AddressDependent);

    /// The sockets that were sent to may answer.
    pub const PORT_RESTRICTED: Self = Self::new(
        Dependence::EndpointIndependent,
        Dependence::AddressAndPortDependent,
    );

    /// Another port for each socket that is sent to, and that alone may answer.
    pub const SYMMETRIC: Self = Self::new(
        Dependence::AddressAndPortDependent,
        Dependence::AddressAndPortDependent,
    );

    /// A kind with a timeout of two minutes, the least that RFC 4787 allows.
    pub const fn new(mapping: Dependence, filtering: Dependence) -> Self {
        Self {
            mapping,
            filtering,
            timeout: Duration::from_secs(120),
        }
    }
}

/// A NAT of a [`MemoryNetwork`](super::memory::MemoryNetwork). Ports are given one after the other, so nothing in it is
/// by chance. There is no hairpinning: hosts inside do not reach each other by the public address.
#[derive(Debug)]
pub struct Nat {
    kind: NatKind,
    public: IpAddr,
    inside: Vec<IpAddr>,
    /// By port on the outside.
    mappings: HashMap<u16, Mapping>,
    last_port: u16,
}

#[derive(Debug)]
struct Mapping {
    inside: SocketAddr,
    /// What it is for, as the kind's mapping has it.
    key: Option<(IpAddr, Option<u16>)>,
    /// Where the host has sent to.
    sent_to: Vec<SocketAddr>,
    used: Instant,
}

impl Nat {
    /// A NAT with this public address, and these inside.
    pub fn new(kind: NatKind, public: IpAddr, inside: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            kind,
            public,
            inside: inside.into_iter().collect(),
            mappings: HashMap::new(),
            last_port: 20_000,
        }
    }

    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.inside.contains(&ip)
    }

    pub(super) fn public(&self) -> IpAddr {
        self.public
    }

    pub(super) fn forget(&mut self) {
        self.mappings.clear();
    }

    /// From where it seems to come what `inside` sends to `remote`.
    pub(super) fn outbound(&mut self, now: Instant, inside: SocketAddr, remote: SocketAddr) -> SocketAddr {
        let timeout = self.kind.timeout;
        self.mappings.retain(|_, mapping| mapping.used + timeout > now);
        let key = self.kind.mapping.key(remote);
        let known = self
            .mappings
            .iter()
            .find(|(_, mapping)| mapping.inside == inside && mapping.key == key)
            .map(|(port, _)| *port);
        let port = known.unwrap_or_else(|| self.free_port());
        let mapping = self.mappings.entry(port).or_insert_with(|| Mapping {
            inside,
            key,
            sent_to: Vec::new(),
            used: now,
        });
        mapping.used = now;
        if !mapping.sent_to.contains(&remote) {
            mapping.sent_to.push(remote);
        }
        SocketAddr::new(self.public, port)
    }

    /// To whom it goes what `remote` sends to this port of the public address, if it is let in.
    pub(super) fn inbound(&mut self, now: Instant, remote: SocketAddr, port: u16) -> Option<SocketAddr> {
        let (filtering, timeout) = (self.kind.filtering, self.kind.timeout);
        let mapping = self.mappings.get(&port)?;
        let wanted = filtering.key(remote);
        let lets_in = mapping.sent_to.iter().any(|to| filtering.key(*to) == wanted);
        (lets_in && mapping.used + timeout > now).then_some(mapping.inside)
    }

    /// The next port that no mapping has. A forgotten mapping's comes again only after all others.
    fn free_port(&mut self) -> u16 {
        loop {
            self.last_port = self.last_port.checked_add(1).unwrap_or(1024);
            // A host has fewer sockets than there are ports.
            if !self.mappings.contains_key(&self.last_port) {
                return self.last_port;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([127, 9, 1, last], port))
    }

    fn nat(kind: NatKind) -> Nat {
        Nat::new(kind, at(1, 0).ip(), [at(2, 0).ip()])
    }

    /// Which of three may answer a host that has sent to the first: that, another port of it, another host.
    fn lets_in(kind: NatKind) -> [bool; 3] {
        let (mut nat, now) = (nat(kind), Instant::now());
        let port = nat.outbound(now, at(2, 5), at(7, 1)).port();
        [at(7, 1), at(7, 2), at(8, 1)].map(|from| nat.inbound(now, from, port) == Some(at(2, 5)))
    }

    #[test]
    fn each_kind_lets_in_what_it_says() {
        assert_eq!(lets_in(NatKind::FULL_CONE), [true, true, true]);
        assert_eq!(lets_in(NatKind::RESTRICTED), [true, true, false]);
        assert_eq!(lets_in(NatKind::PORT_RESTRICTED), [true, false, false]);
        assert_eq!(lets_in(NatKind::SYMMETRIC), [true, false, false]);
        assert!(
            nat(NatKind::FULL_CONE)
                .inbound(Instant::now(), at(7, 1), 20_001)
                .is_none()
        );
    }

    /// Which of three remote sockets share a port outside with the first.
    fn shared(mapping: Dependence) -> [bool; 3] {
        let mut nat = nat(NatKind::new(mapping, Dependence::EndpointIndependent));
        let mut seen = |to| nat.outbound(Instant::now(), at(2, 5), to);
        let first = seen(at(7, 1));
        [at(7, 1), at(7, 2), at(8, 1)].map(|to| seen(to) == first)
    }

    #[test]
    fn each_kind_maps_as_it_says() {
        assert_eq!(shared(Dependence::EndpointIndependent), [true, true, true]);
        assert_eq!(shared(Dependence::AddressDependent), [true, true, false]);
        assert_eq!(shared(Dependence::AddressAndPortDependent), [true, false, false]);
        let mut nat = nat(NatKind::FULL_CONE);
        let [one, other] = [5, 6].map(|port| nat.outbound(Instant::now(), at(2, port), at(7, 1)));
        assert_ne!(one, other, "two sockets of a host");
    }

    #[test]
    fn a_mapping_lives_by_what_goes_out() {
        let (mut nat, start) = (nat(NatKind::FULL_CONE), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        let send = |nat: &mut Nat, seconds| nat.outbound(later(seconds), at(2, 5), at(7, 1)).port();
        let first = send(&mut nat, 0);
        assert_eq!(send(&mut nat, 100), first);
        assert!(nat.inbound(later(219), at(7, 1), first).is_some());
        assert!(nat.inbound(later(221), at(7, 1), first).is_none());
        let second = send(&mut nat, 221);
        assert_ne!(second, first);
        nat.forget();
        assert!(nat.inbound(later(221), at(7, 1), second).is_none());
        assert_ne!(send(&mut nat, 222), second);
    }
}
