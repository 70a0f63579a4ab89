//! Paths that die and addresses that change in a call: it goes on, with every message.

use crate::restart::{receive_all, send_until, ufrag};
use std::{net::IpAddr, time::Duration};
use tokio::time::{Instant, sleep};
use visavis_core::{
    Codec, ConnectionState, DataChannel, Direction, GatheringState, PairConfig, PeerEvent, PeerPair, Side,
};
use visavis_tests::{
    Call, CallSetup, Peer, World, deadline,
    frames::Plan,
    media::{AtOnce, line, paced, watch},
    peers::recv,
    ping, within,
};

const BOTH: [Side; 2] = [Side::Offerer, Side::Answerer];

/// The host of a side loses its addresses and has another.
fn move_host(world: &World, side: Side) -> IpAddr {
    let address = world.fresh_address();
    world.memory_host(side).set_addresses([address]);
    address
}

/// How often ICE was restarted since the call came up.
async fn restarts(peer: &mut Peer, before: usize) -> usize {
    gatherings(peer).await - before
}

async fn gatherings(peer: &mut Peer) -> usize {
    peer.log.drain().await;
    let gathers = |e: &&PeerEvent| matches!(e, PeerEvent::GatheringState(GatheringState::Gathering));
    peer.log.seen().iter().filter(gathers).count()
}

async fn gatherings_of_both(call: &mut Call) -> [usize; 2] {
    [
        gatherings(&mut call.offerer).await,
        gatherings(&mut call.answerer).await,
    ]
}

async fn never_failed(call: &mut Call) {
    for side in BOTH {
        let log = &mut call.side(side).0.log;
        log.drain().await;
        let states = log.connections();
        assert!(!states.contains(&ConnectionState::Failed), "{side}: {states:?}");
        assert_eq!(log.dtls().len(), 2, "{side}: DTLS goes on");
    }
}

/// The address that a side uses.
async fn local(call: &mut Call, side: Side) -> IpAddr {
    let stats = call.side(side).0.stats().await.unwrap();
    stats.transport.selected_pair.expect("a pair").local.ip()
}

/// A message each way every 5 ms, while `happens` does; they all arrive, in order.
async fn while_messages_flow(
    a: &DataChannel,
    b: &DataChannel,
    length: Duration,
    happens: impl Future<Output = ()>,
) {
    let end = Instant::now() + length;
    let traffic = async {
        tokio::join!(
            send_until(a, end),
            send_until(b, end),
            receive_all(a),
            receive_all(b)
        )
    };
    let ((from_a, from_b, at_a, at_b), ()) = tokio::join!(traffic, happens);
    assert_eq!((from_a, from_b), (at_b, at_a));
}

/// Waits until messages that were sent after now have come both ways, and says how long that took.
async fn until_messages_come(world: &World, what: &str, a: &DataChannel, b: &DataChannel) {
    let began = Instant::now();
    let sent = [a, b].map(|channel| channel.stats().messages_sent);
    let come = || a.stats().messages_received > sent[1] + 1 && b.stats().messages_received > sent[0] + 1;
    within(Duration::from_secs(60), what, async {
        while !come() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    println!("{}: {what}: {} ms", world.stacks, began.elapsed().as_millis());
}

async fn addresses_change(world: World, sides: &[Side]) {
    let world = world.following();
    let mut call = world.call().await;
    let (a, b) = (call.a.clone(), call.b.clone());
    while_messages_flow(&a, &b, Duration::from_secs(4), async {
        sleep(Duration::from_secs(1)).await;
        for side in sides {
            move_host(&world, *side);
        }
        until_messages_come(&world, "an address change", &a, &b).await;
    })
    .await;
    for side in sides {
        let interfaces = world.host(*side).interfaces().unwrap();
        assert!(interfaces.contains(&local(&mut call, *side).await), "{side}");
    }
    // The new pair is one that lasts.
    sleep(Duration::from_secs(60)).await;
    ping(&a, &b).await;
    never_failed(&mut call).await;
    call.close().await;
}

pub(super) async fn address_of_the_offerer_changes(world: World) {
    addresses_change(world, &[Side::Offerer]).await;
}

pub(super) async fn address_of_the_answerer_changes(world: World) {
    addresses_change(world, &[Side::Answerer]).await;
}

pub(super) async fn both_addresses_change(world: World) {
    addresses_change(world, &BOTH).await;
}

pub(super) async fn pictures_after_an_address_change(world: World) {
    let world = world.following();
    for moving in BOTH {
        let mut call = world.media_call(&[line(Codec::H264, Direction::SendRecv)]).await;
        let plan = Plan::new(Codec::H264).sizes(&[9_000]).keyframes_on_request();
        let frames = |seconds: f64| (seconds / plan.interval().as_secs_f64()) as u32;
        let (gone, end) = (frames(2.0), frames(8.0));
        let mut tasks = AtOnce::default();
        let mut watching = Vec::new();
        for from in BOTH {
            let (sender, receiver) = call.way(from, 0);
            let world = world.clone();
            tasks.and(async move {
                paced(sender.clone(), plan, 0..gone, Duration::ZERO).0.await;
                if from == moving {
                    move_host(&world, moving);
                }
                paced(sender, plan, gone..end + 1, Duration::ZERO).0.await;
            });
            watching.push(tokio::spawn(watch(receiver, plan, end)));
        }
        for (from, watched) in BOTH.into_iter().zip(watching) {
            let watched = within(Duration::from_secs(60), "the last picture", watched)
                .await
                .unwrap();
            let arrived = &watched.reader.arrived;
            let first = *arrived
                .iter()
                .find(|n| **n > gone + 1)
                .expect("a picture after the change");
            println!(
                "{}: the {moving} moves, pictures of the {from}: {} missing, the first after the change is {}",
                world.stacks,
                end + 1 - arrived.len() as u32,
                first - gone
            );
            assert!(
                end + 1 - arrived.len() as u32 <= frames(2.0),
                "{} of {end}",
                arrived.len()
            );
            let late = arrived.iter().filter(|n| **n >= gone + frames(3.0)).count() as u32;
            assert_eq!(late, end + 1 - gone - frames(3.0), "none is missing from then on");
        }
        tasks.end().await;
        never_failed(&mut call.call).await;
        call.close().await;
    }
}

/// Nobody but the pair itself has to do anything.
pub(super) async fn a_pair_survives_an_address_change(world: World) {
    let world = world.following();
    let pair = world.pair(PairConfig::default());
    pair.start().await.unwrap();
    let call = pair.call().await.unwrap();
    let (a, b) = (&call.offerer.channel, &call.answerer.channel);
    for side in [Side::Offerer, Side::Answerer, Side::Offerer] {
        ping(a, b).await;
        move_host(&world, side);
        ping(a, b).await;
    }
    pair.hang_up().await.unwrap();
}

/// Each host has two addresses; that in use goes.
pub(super) async fn the_interface_in_use_goes(world: World) {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    for side in BOTH {
        let world = world
            .with_addresses([vec![loopback; 2], vec![loopback; 2]])
            .following();
        let mut call = world.call().await;
        let (a, b) = (call.a.clone(), call.b.clone());
        let used = local(&mut call, side).await;
        while_messages_flow(&a, &b, Duration::from_secs(3), async {
            sleep(Duration::from_secs(1)).await;
            let host = world.memory_host(side);
            let mut left = world.host(side).interfaces().unwrap();
            left.retain(|address| *address != used);
            host.set_addresses(left);
            until_messages_come(&world, "the interface in use goes", &a, &b).await;
        })
        .await;
        assert_ne!(local(&mut call, side).await, used);
        never_failed(&mut call).await;
        call.close().await;
    }
}

/// The same where nothing restarts ICE by itself: then the application has to.
pub(super) async fn the_interface_in_use_goes_without_a_restart(world: World) {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    for side in BOTH {
        let world = world
            .with_addresses([vec![loopback; 2], vec![loopback; 2]])
            .following();
        let mut call = world
            .call_with(CallSetup {
                restart_after: None,
                ..CallSetup::default()
            })
            .await;
        let before = gatherings_of_both(&mut call).await;
        let used = local(&mut call, side).await;
        let mut left = world.host(side).interfaces().unwrap();
        left.retain(|address| *address != used);
        world.memory_host(side).set_addresses(left);
        call.a.send("kept").await.unwrap();
        call.b.send("kept as well").await.unwrap();
        let (a, b) = (call.a.clone(), call.b.clone());
        let kept = tokio::spawn(async move { (b.recv().await, a.recv().await) });
        sleep(Duration::from_secs(15)).await;
        assert_eq!(gatherings_of_both(&mut call).await, before, "nobody restarts");
        call.side(side).0.restart_ice().await.unwrap();
        let kept = deadline("what was sent", kept).await.unwrap();
        assert_eq!(kept, (Some("kept".into()), Some("kept as well".into())));
        ping(&call.a, &call.b).await;
        assert_ne!(local(&mut call, side).await, used);
        never_failed(&mut call).await;
        call.close().await;
    }
}

/// While the one in use works, others that come and go do not disturb it.
pub(super) async fn another_interface_comes(world: World) {
    let world = world.following();
    let mut call = world.call().await;
    for side in BOTH {
        let host = world.memory_host(side);
        let used = local(&mut call, side).await;
        let before = gatherings(call.side(side).0).await;
        host.set_addresses([used, world.fresh_address()]);
        ping(&call.a, &call.b).await;
        host.set_addresses([used]);
        ping(&call.a, &call.b).await;
        sleep(Duration::from_secs(30)).await;
        assert_eq!(restarts(call.side(side).0, before).await, 0, "{side}");
        // What has come is found when it is needed.
        let other = world.fresh_address();
        host.set_addresses([used, other]);
        ping(&call.a, &call.b).await;
        host.set_addresses([other]);
        ping(&call.a, &call.b).await;
        assert_eq!(restarts(call.side(side).0, before).await, 1, "{side}");
        assert_eq!(local(&mut call, side).await, other);
    }
    never_failed(&mut call).await;
    call.close().await;
}

/// No address at all for a while, as on the way from one network to another.
pub(super) async fn between_two_networks(world: World) {
    let world = world.following();
    for side in BOTH {
        let mut call = world.call().await;
        let (a, b) = (call.a.clone(), call.b.clone());
        while_messages_flow(&a, &b, Duration::from_secs(14), async {
            sleep(Duration::from_secs(1)).await;
            world.memory_host(side).set_addresses([]);
            // The other side restarts ICE in the meantime, and signaling still works.
            sleep(Duration::from_secs(10)).await;
            move_host(&world, side);
            until_messages_come(&world, "between two networks", &a, &b).await;
        })
        .await;
        never_failed(&mut call).await;
        call.close().await;
    }
}

pub(super) async fn heals_without_a_restart(world: World) {
    let mut call = world.call().await;
    ping(&call.a, &call.b).await;
    let before = BOTH.map(|side| ufrag(&call.side(side).0.local_description().unwrap().sdp));
    world.memory().set_blocked(true);
    call.a.send("on the way").await.unwrap();
    for side in BOTH {
        call.side(side)
            .0
            .log
            .connection(ConnectionState::Disconnected)
            .await;
    }
    world.memory().set_blocked(false);
    for side in BOTH {
        call.side(side).0.log.connection(ConnectionState::Connected).await;
    }
    assert_eq!(recv(&call.b).await, "on the way".into());
    sleep(Duration::from_secs(60)).await;
    let after = BOTH.map(|side| ufrag(&call.side(side).0.local_description().unwrap().sdp));
    assert_eq!(before, after);
    never_failed(&mut call).await;
    call.close().await;
}

/// The path is gone for longer than that is waited for, and messages are sent meanwhile.
async fn silence(world: &World, setup: CallSetup, length: Duration) -> [usize; 2] {
    let mut call = world.call_with(setup).await;
    let (a, b) = (call.a.clone(), call.b.clone());
    let before = gatherings_of_both(&mut call).await;
    let memory = world.memory();
    while_messages_flow(&a, &b, length + Duration::from_secs(2), async {
        sleep(Duration::from_secs(1)).await;
        memory.set_blocked(true);
        sleep(length).await;
        memory.set_blocked(false);
        until_messages_come(world, &format!("{length:?} of silence"), &a, &b).await;
    })
    .await;
    sleep(Duration::from_secs(60)).await;
    ping(&a, &b).await;
    never_failed(&mut call).await;
    let mut counts = [0; 2];
    for side in BOTH {
        counts[side as usize] = restarts(call.side(side).0, before[side as usize]).await;
    }
    println!("{}: {length:?} of silence: {counts:?} restarts", world.stacks);
    call.close().await;
    counts
}

pub(super) async fn restarts_by_itself(world: World) {
    let counts = silence(&world, CallSetup::default(), Duration::from_secs(12)).await;
    assert!(counts.iter().all(|n| (1..=3).contains(n)), "{counts:?}");
}

/// The answer to the restart's offer comes 8 s after it, when the path may be back for long.
pub(super) async fn restarts_over_slow_signaling(world: World) {
    let setup = CallSetup {
        signaling: Duration::from_secs(4),
        ..CallSetup::default()
    };
    let counts = silence(&world, setup, Duration::from_secs(8)).await;
    assert!(counts.iter().all(|n| (1..=3).contains(n)), "{counts:?}");
}

/// As W3C has it: nothing happens until the application asks for it.
pub(super) async fn restarted_by_hand_alone(world: World) {
    let setup = CallSetup {
        restart_after: None,
        ..CallSetup::default()
    };
    let world = world.following();
    let mut call = world.call_with(setup).await;
    let before = gatherings_of_both(&mut call).await;
    move_host(&world, Side::Offerer);
    call.a.send("kept").await.unwrap();
    for side in BOTH {
        let peer = call.side(side).0;
        peer.log.connection(ConnectionState::Disconnected).await;
    }
    sleep(Duration::from_secs(10)).await;
    for side in BOTH {
        let peer = call.side(side).0;
        assert_eq!(restarts(peer, before[side as usize]).await, 0, "{side}");
    }
    call.offerer.restart_ice().await.unwrap();
    assert_eq!(recv(&call.b).await, "kept".into());
    ping(&call.a, &call.b).await;
    never_failed(&mut call).await;
    call.close().await;
}

/// After `failed` it is the application's to restart; what was sent meanwhile still comes.
pub(super) async fn failed_for_long_and_restarted(world: World) {
    for by in BOTH {
        let mut call = world.call().await;
        let memory = world.memory();
        memory.set_blocked(true);
        call.a.send("kept").await.unwrap();
        call.b.send("kept as well").await.unwrap();
        let failed = async {
            for side in BOTH {
                let peer = call.side(side).0.pc.clone();
                assert!(peer.wait_for(ConnectionState::Closed).await.is_err());
                assert_eq!(peer.connection_state(), ConnectionState::Failed);
            }
        };
        within(Duration::from_secs(60), "failed", failed).await;
        // Nothing more happens by itself.
        let before = gatherings_of_both(&mut call).await;
        sleep(Duration::from_secs(60)).await;
        for side in BOTH {
            assert_eq!(
                restarts(call.side(side).0, before[side as usize]).await,
                0,
                "{side}"
            );
        }
        memory.set_blocked(false);
        let began = Instant::now();
        call.side(by).0.restart_ice().await.unwrap();
        for side in BOTH {
            let peer = call.side(side).0.pc.clone();
            deadline("connected again", async {
                while peer.connection_state() != ConnectionState::Connected {
                    sleep(Duration::from_millis(1)).await;
                }
            })
            .await;
        }
        let connected = began.elapsed();
        // SCTP's own timer has backed off, up to a minute (RFC 9260 §6.3).
        let kept = within(Duration::from_secs(120), "what was sent", async {
            (call.b.recv().await, call.a.recv().await)
        })
        .await;
        assert_eq!(kept, (Some("kept".into()), Some("kept as well".into())));
        println!(
            "{}: restarted by the {by} after failed: connected after {} ms, messages after {} ms",
            world.stacks,
            connected.as_millis(),
            began.elapsed().as_millis()
        );
        ping(&call.a, &call.b).await;
        call.close().await;
    }
}
