//! Addresses, and what the stats say of the traffic between them.

use std::{
    net::{IpAddr, Ipv6Addr, UdpSocket},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use visavis_core::{CandidateType, ChannelInit, ErrorKind, PeerConfig, Side};
use visavis_tests::{DEADLINE, World, connect_by_hand, connected, expect_kind, peers::opened, ping};

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Why a test cannot run on this machine.
pub(super) fn skip(name: &str) -> Option<&'static str> {
    let needs_v6 = name.starts_with("ipv6::") || name.starts_with("address_families_mixed::");
    (needs_v6 && UdpSocket::bind((V6, 0)).is_err()).then_some("::1 cannot be bound on this machine")
}

pub(super) async fn stats(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let fresh = a.stats().await.unwrap();
    assert_eq!(fresh.transport.selected_pair, None);
    assert_eq!(fresh.transport.packets_received, 0);
    connect_by_hand(&a, &b).await;
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
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
