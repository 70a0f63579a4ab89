//! Addresses, and what the stats say of the traffic between them.

use std::{
    net::{IpAddr, Ipv6Addr, UdpSocket},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use visavis_core::{Candidate, CandidateType, ChannelInit, ErrorKind, PeerConfig, SessionDescription, Side};
use visavis_tests::{
    DEADLINE, World, connect_by_hand, connect_with, connected, deadline, expect_kind, peers::opened, ping,
};

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Why a test cannot run on this machine.
pub(super) fn skip(name: &str) -> Option<&'static str> {
    let needs_v6 = ["ipv6::", "address_families_mixed::", "unreachable_ipv6::"];
    let needs_v6 = needs_v6.iter().any(|case| name.starts_with(case));
    (needs_v6 && UdpSocket::bind((V6, 0)).is_err()).then_some("::1 cannot be bound on this machine")
}

pub(super) async fn stats(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let fresh = a.stats().await.unwrap();
    assert_eq!(fresh.transport.selected_pair, None);
    assert_eq!(fresh.transport.packets_received, 0);
    let theirs = connect_with(&a, &mut b, &ours).await;
    for _ in 0..10 {
        ours.send(vec![1; 100_000]).await.unwrap();
        assert_eq!(visavis_tests::peers::recv(&theirs).await.len(), 100_000);
    }
    for (peer, side) in [(&a, Side::Offerer), (&b, Side::Answerer)] {
        let capabilities = world.backend(side).capabilities();
        // A round trip is known after a while.
        let began = Instant::now();
        let report = loop {
            let report = peer.stats().await.unwrap();
            let pair = report.transport.selected_pair;
            if pair.is_some_and(|p| p.rtt.is_some() || !capabilities.rtt_stats) {
                break report;
            }
            assert!(
                began.elapsed() < DEADLINE,
                "{side}: no selected pair with its RTT: {report:?}"
            );
            sleep(Duration::from_millis(50)).await;
        };
        let transport = report.transport;
        let pair = transport.selected_pair.unwrap();
        assert_eq!(pair.local.ip(), world.bind(side)[0].ip(), "{side}");
        let other = if side == Side::Offerer {
            Side::Answerer
        } else {
            Side::Offerer
        };
        assert_eq!(pair.remote.ip(), world.bind(other)[0].ip(), "{side}");
        assert_ne!(pair.local.port(), 0);
        assert_eq!(pair.local_type, Some(CandidateType::Host), "{side}");
        if let Some(rtt) = pair.rtt {
            assert!(rtt < Duration::from_secs(2), "{side}: {rtt:?}");
            if world.is_memory() {
                assert!(
                    rtt >= Duration::from_millis(9),
                    "{side}: {rtt:?} on a path of 10 ms"
                );
            }
        }
        assert!(
            transport.packets_sent > 10 && transport.packets_received > 10,
            "{side}: {transport:?}"
        );
        let (most, least) = if side == Side::Offerer {
            (transport.bytes_sent, transport.bytes_received)
        } else {
            (transport.bytes_received, transport.bytes_sent)
        };
        assert!(most >= 1_000_000, "{side}: {transport:?}");
        assert!(least >= 1_000 && least < most, "{side}: {transport:?}");
        assert_eq!(
            transport.retransmissions.is_some(),
            capabilities.retransmission_stats,
            "{side}"
        );
        assert_eq!(report.channels.len(), 1);
        assert_eq!(report.channels[0].0, "t");
    }
    assert_eq!(a.stats().await.unwrap().channels[0].1.bytes_sent, 1_000_000);
    assert_eq!(b.stats().await.unwrap().channels[0].1.bytes_received, 1_000_000);
}

/// A call on these addresses; every one of them has its candidate.
async fn on(world: World) {
    let (mut a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    connect_by_hand(&a, &b).await;
    for (peer, side) in [(&mut a, Side::Offerer), (&mut b, Side::Answerer)] {
        let mut found: Vec<_> = peer
            .log
            .candidates()
            .await
            .iter()
            .filter(|c| !c.is_end())
            .map(|c| c.parse().unwrap().socket_addr().unwrap().ip())
            .collect();
        let mut bound: Vec<_> = world.bind(side).iter().map(std::net::SocketAddr::ip).collect();
        found.sort_unstable();
        bound.sort_unstable();
        assert_eq!(found, bound, "{side}");
    }
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
    ping(&ours, &theirs).await;
    a.close().await;
    b.close().await;
}

pub(super) async fn ipv6(world: World) {
    on(world.with_addresses([vec![V6], vec![V6]])).await;
}

pub(super) async fn several_addresses(world: World) {
    let [two, three]: [Vec<IpAddr>; 2] = [
        vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])],
        vec![
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([127, 0, 0, 3]),
            IpAddr::from([127, 0, 0, 4]),
        ],
    ];
    on(world.with_addresses([two, three])).await;
    // An address that is not this host's.
    let config = PeerConfig {
        bind: vec!["192.0.2.77:0".parse().unwrap()],
        ..PeerConfig::default()
    };
    for side in [Side::Offerer, Side::Answerer] {
        let made = visavis_core::PeerConnection::new(
            &**world.backend(side),
            config.clone(),
            std::sync::Arc::clone(world.host(side)),
        )
        .await;
        expect_kind(made.map(|_| ()), ErrorKind::Network, "an address of nobody");
    }
}

pub(super) async fn address_families_mixed(world: World) {
    on(world.with_addresses([vec![V4, V6], vec![V6]])).await;
    on(world.with_addresses([vec![V4], vec![V4, V6]])).await;
}

/// Candidates that the stack has no use for, each before the one that works.
const USELESS: &[&str] = &[
    "candidate:1 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active",
    "candidate:2 1 TCP 1518280446 127.0.0.1 40001 typ host tcptype passive generation 0",
    "candidate:3 1 tcp 1518280445 127.0.0.1 40002 typ host tcptype so",
    "candidate:4 1 udp 2113937151 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 54596 typ host generation 0",
    "candidate:5 1 udp 2113937150 printer.local. 54596 typ host",
    "candidate:6 1 udp 2122262783 2001:db8::7 5000 typ host",
    "candidate:7 1 udp 2122262782 fe80::1 5000 typ host",
    "candidate:8 1 udp 2122262781 ::ffff:192.0.2.7 5000 typ host",
    "candidate:9 1 udp 1686052607 2001:db8::7 5001 typ srflx raddr :: rport 0",
    "candidate:10 1 udp 41885439 2001:db8::8 5001 typ relay raddr 192.0.2.7 rport 5000",
    "candidate:11 1 ssltcp 1518280444 127.0.0.1 443 typ host",
];

/// Connects over the useless candidates of both sides, in the descriptions or one by one.
async fn over_useless_candidates(world: &World, in_sdp: bool) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let mut set = Vec::new();
    for (from, to) in [(&a, &b), (&b, &a)] {
        from.set_local_description(None).await.unwrap();
        deadline("gathering", from.gathered()).await.unwrap();
        let description = from.local_description().unwrap();
        let own = description.sdp.find("a=candidate:").unwrap();
        let (before, after) = description.sdp.split_at(own);
        let lines: String = USELESS.iter().flat_map(|line| ["a=", line, "\r\n"]).collect();
        let sdp = if in_sdp {
            format!("{before}{lines}{after}")
        } else {
            description.sdp
        };
        let description = SessionDescription {
            kind: description.kind,
            sdp,
        };
        if !in_sdp {
            // Some of them wait for the description.
            set.push(add_useless(to).await);
        }
        to.set_remote_description(description).await.unwrap();
    }
    if !in_sdp {
        for peer in [&a, &b] {
            set.push(add_useless(peer).await);
        }
        assert!(
            set.iter().all(|refused| *refused <= 1),
            "only ssltcp is not understood: {set:?}"
        );
    }
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
    ping(&ours, &theirs).await;
    for peer in [&a, &b] {
        let pair = peer.stats().await.unwrap().transport.selected_pair.unwrap();
        assert!(
            !USELESS
                .iter()
                .any(|line| line.contains(&format!(" {} ", pair.remote.port())))
        );
    }
    a.close().await;
    b.close().await;
}

/// How many of them are errors.
async fn add_useless(peer: &visavis_core::PeerConnection) -> usize {
    let mut refused = 0;
    for line in USELESS {
        let candidate = Candidate {
            candidate: (*line).to_owned(),
            sdp_m_line_index: Some(0),
            ..Candidate::default()
        };
        if let Err(error) = peer.add_ice_candidate(candidate).await {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{line}: {error}");
            refused += 1;
        }
    }
    refused
}

pub(super) async fn useless_candidates(world: World) {
    over_useless_candidates(&world, true).await;
    over_useless_candidates(&world, false).await;
}

/// The same where there is IPv6, but no way to those addresses.
pub(super) async fn unreachable_ipv6(world: World) {
    let world = world.with_addresses([vec![V4, V6], vec![V6, V4]]);
    over_useless_candidates(&world, true).await;
    over_useless_candidates(&world, false).await;
}
