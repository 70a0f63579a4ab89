//! Peers behind network address translators, without STUN servers.

use std::time::Duration;
use tokio::time::{Instant, sleep};
use visavis_core::{
    ChannelInit, ConnectionState, PeerConfig, Side,
    net::{Nat, NatKind},
};
use visavis_tests::{World, connect_by_hand, ping, within};

const KINDS: [(&str, NatKind); 4] = [
    ("full cone", NatKind::FULL_CONE),
    ("restricted", NatKind::RESTRICTED),
    ("port-restricted", NatKind::PORT_RESTRICTED),
    ("symmetric", NatKind::SYMMETRIC),
];

/// The same stacks on a network of their own, with these sides behind a NAT each.
fn behind(world: &World, kind: NatKind, sides: &[Side]) -> World {
    let world = world.with_delay(Duration::from_millis(5));
    for side in sides {
        let inside = world.bind(*side)[0].ip();
        let nat = Nat::new(kind, world.fresh_address(), [inside]);
        world.memory().add_nat(nat);
    }
    world
}

/// The other side is public: it learns of a peer-reflexive candidate from the checks (RFC 8445 §7.3.1.3).
async fn behind_a_nat(world: World, side: Side) {
    for (name, kind) in KINDS {
        let world = behind(&world, kind, &[side]);
        let began = Instant::now();
        let call = world.call().await;
        println!(
            "{}: {side} behind a {name} NAT: {} ms",
            world.stacks,
            began.elapsed().as_millis()
        );
        ping(&call.a, &call.b).await;
        // Longer than a mapping lives that is not used.
        sleep(3 * kind.timeout).await;
        ping(&call.a, &call.b).await;
        let public = match side {
            Side::Offerer => &call.answerer,
            Side::Answerer => &call.offerer,
        };
        let pair = public.stats().await.unwrap().transport.selected_pair;
        let remote = pair.expect("a pair").remote.ip();
        assert_ne!(remote, world.bind(side)[0].ip(), "the address inside");
        call.close().await;
    }
}

pub(super) async fn offerer_behind_a_nat(world: World) {
    behind_a_nat(world, Side::Offerer).await;
}

pub(super) async fn answerer_behind_a_nat(world: World) {
    behind_a_nat(world, Side::Answerer).await;
}

/// The NAT gives other ports in mid-call, as one that was restarted.
pub(super) async fn nat_rebinding(world: World) {
    for side in [Side::Offerer, Side::Answerer] {
        for (name, kind) in KINDS {
            let world = behind(&world, kind, &[side]);
            let call = world.call().await;
            ping(&call.a, &call.b).await;
            world.memory().rebind_nats();
            let began = Instant::now();
            call.a.send("there").await.unwrap();
            call.b.send("and back").await.unwrap();
            let come = within(Duration::from_secs(60), "messages after the rebinding", async {
                (call.b.recv().await, call.a.recv().await)
            })
            .await;
            assert_eq!(come, (Some("there".into()), Some("and back".into())));
            println!(
                "{}: {name} NAT of the {side} rebinds: {} ms",
                world.stacks,
                began.elapsed().as_millis()
            );
            sleep(Duration::from_secs(60)).await;
            ping(&call.a, &call.b).await;
            for peer in [&call.offerer, &call.answerer] {
                assert_eq!(peer.connection_state(), ConnectionState::Connected);
            }
            call.close().await;
        }
    }
}

/// Neither can be reached: that takes a server, which neither stack has here. It is said so.
pub(super) async fn both_behind_nats(world: World) {
    let world = behind(&world, NatKind::FULL_CONE, &[Side::Offerer, Side::Answerer]);
    let config = |side| PeerConfig {
        connect_timeout: Duration::from_secs(10),
        ..world.config(side)
    };
    let mut a = world.peer_with(Side::Offerer, config(Side::Offerer)).await;
    let mut b = world.peer_with(Side::Answerer, config(Side::Answerer)).await;
    a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    connect_by_hand(&a, &b).await;
    for peer in [&mut a, &mut b] {
        peer.log.connection(ConnectionState::Failed).await;
        let failure = peer.failure().expect("a reason");
        assert!(failure.contains("ICE found no pair"), "{failure}");
    }
    a.close().await;
    b.close().await;
}
