//! A side that falls silent.

use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use visavis_core::{ChannelInit, ChannelState, ConnectionState, IceState, Message, PeerConfig, Side};
use visavis_tests::{
    CallSetup, Peer, World, connect_by_hand, connected, deadline,
    peers::{opened, recv},
    ping, runner,
};

fn impatient() -> CallSetup {
    CallSetup {
        disconnected_after: Duration::from_secs(3),
        failed_after: Duration::from_secs(5),
        ..CallSetup::default()
    }
}

pub(super) async fn blocked(world: World) {
    let mut call = world.call_with(impatient()).await;
    ping(&call.a, &call.b).await;
    let began = Instant::now();
    world.memory().set_blocked(true);
    for side in [Side::Offerer, Side::Answerer] {
        let log = &mut call.side(side).0.log;
        log.connection(ConnectionState::Disconnected).await;
    }
    let disconnected = began.elapsed();
    for side in [Side::Offerer, Side::Answerer] {
        let (peer, _) = call.side(side);
        peer.log.connection(ConnectionState::Failed).await;
        assert_eq!(peer.ice_state(), IceState::Failed);
        assert!(
            peer.failure().is_some_and(|f| f.contains("not heard")),
            "{:?}",
            peer.failure()
        );
    }
    let failed = began.elapsed();
    println!(
        "{}: disconnected after {disconnected:?}, failed after {failed:?}",
        world.stacks
    );
    // Neither at once nor never: within a check's interval or so of what was asked for.
    assert!(disconnected >= Duration::from_secs(1), "{disconnected:?}");
    assert!(disconnected <= Duration::from_secs(10), "{disconnected:?}");
    assert!(failed >= disconnected + Duration::from_secs(4), "{failed:?}");
    world.memory().set_blocked(false);
    call.close().await;
    let call = world.call().await;
    ping(&call.a, &call.b).await;
    call.close().await;
}

pub(super) async fn blocked_for_a_moment(world: World) {
    let mut call = world
        .call_with(CallSetup {
            failed_after: Duration::from_secs(15),
            ..impatient()
        })
        .await;
    ping(&call.a, &call.b).await;
    world.memory().set_blocked(true);
    call.a.send("on the way").await.unwrap();
    call.b.send("on the way back").await.unwrap();
    for side in [Side::Offerer, Side::Answerer] {
        call.side(side)
            .0
            .log
            .connection(ConnectionState::Disconnected)
            .await;
    }
    assert_eq!(call.a.state(), ChannelState::Open, "disconnected is not fatal");
    world.memory().set_blocked(false);
    for side in [Side::Offerer, Side::Answerer] {
        call.side(side).0.log.connection(ConnectionState::Connected).await;
    }
    assert_eq!(recv(&call.b).await, Message::from("on the way"));
    assert_eq!(recv(&call.a).await, Message::from("on the way back"));
    ping(&call.a, &call.b).await;
    for side in [Side::Offerer, Side::Answerer] {
        let log = &mut call.side(side).0.log;
        log.drain().await;
        assert!(!log.connections().contains(&ConnectionState::Failed));
    }
    call.close().await;
}

/// What carries nothing is checked as often as `disconnected_after` needs it, and is not taken for silent.
pub(super) async fn idle_for_long(world: World) {
    const LONG: Duration = Duration::from_secs(300);
    for (limit, most) in [(5, 800), (30, 140)] {
        let limit = Duration::from_secs(limit);
        let mut call = world
            .call_with(CallSetup {
                disconnected_after: limit,
                restart_after: None,
                ..CallSetup::default()
            })
            .await;
        ping(&call.a, &call.b).await;
        let before = world.memory().counts().sent;
        sleep(LONG).await;
        let sent = world.memory().counts().sent - before;
        println!("{}: {limit:?}: {sent} datagrams in {LONG:?}", world.stacks);
        assert!(sent <= most, "{sent}");
        for side in [Side::Offerer, Side::Answerer] {
            let log = &mut call.side(side).0.log;
            log.drain().await;
            let states = [ConnectionState::Connecting, ConnectionState::Connected];
            assert_eq!(log.connections(), states);
        }
        let began = Instant::now();
        world.memory().set_blocked(true);
        sleep(limit / 2).await;
        for side in [Side::Offerer, Side::Answerer] {
            call.side(side)
                .0
                .log
                .connection(ConnectionState::Disconnected)
                .await;
        }
        let took = began.elapsed();
        assert!(took <= limit + Duration::from_secs(3), "{took:?}");
        world.memory().set_blocked(false);
        call.close().await;
    }
}

/// The answerer's runtime ends under it, as if its process had been killed: no goodbye.
pub(super) async fn killed(world: World) {
    let config = |side| PeerConfig {
        disconnected_after: Duration::from_secs(2),
        failed_after: Duration::from_secs(2),
        ..world.config(side)
    };
    let mut a = world.peer_with(Side::Offerer, config(Side::Offerer)).await;
    let elsewhere = runner::runtime(world.network).unwrap();
    let backend = Arc::clone(world.backend(Side::Answerer));
    let (config_b, net) = (config(Side::Answerer), Arc::clone(world.host(Side::Answerer)));
    let b = elsewhere.spawn(async move { Peer::new(&*backend, config_b, net).await });
    let b = b.await.unwrap();
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    connect_by_hand(&a, &b).await;
    connected(&a, &b).await;
    opened(&ours).await;
    elsewhere.shutdown_background();
    a.log.connection(ConnectionState::Disconnected).await;
    a.log.connection(ConnectionState::Failed).await;
    drop(b);
    a.close().await;
    deadline("the channel's end", ours.closed()).await;
    let call = world.call().await;
    ping(&call.a, &call.b).await;
    call.close().await;
}

pub(super) async fn nobody_answers(world: World) {
    let config = |side| PeerConfig {
        connect_timeout: Duration::from_secs(10),
        ..world.config(side)
    };
    let mut a = world.peer_with(Side::Offerer, config(Side::Offerer)).await;
    let mut b = world.peer_with(Side::Answerer, config(Side::Answerer)).await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    world.memory().set_blocked(true);
    connect_by_hand(&a, &b).await;
    for peer in [&mut a, &mut b] {
        peer.log.connection(ConnectionState::Failed).await;
        assert_eq!(
            peer.log.connections(),
            [ConnectionState::Connecting, ConnectionState::Failed]
        );
        assert!(
            peer.failure().is_some_and(|f| f.contains("ICE")),
            "{:?}",
            peer.failure()
        );
    }
    assert_ne!(ours.state(), ChannelState::Open);
    a.close().await;
    deadline("the channel's end", ours.closed()).await;
}

/// `failed` is final for ICE but not for the connection: an ICE restart brings it back, its channels with it.
pub(super) async fn failed_and_restarted(world: World) {
    for by in [Side::Offerer, Side::Answerer] {
        let mut call = world.call_with(impatient()).await;
        world.memory().set_blocked(true);
        for side in [Side::Offerer, Side::Answerer] {
            call.side(side).0.log.connection(ConnectionState::Failed).await;
        }
        assert_eq!(call.a.state(), ChannelState::Open);
        call.a.send("kept").await.unwrap();
        world.memory().set_blocked(false);
        call.side(by).0.restart_ice().await.unwrap();
        for side in [Side::Offerer, Side::Answerer] {
            call.side(side).0.log.connection(ConnectionState::Connected).await;
        }
        assert_eq!(recv(&call.b).await, Message::from("kept"));
        ping(&call.a, &call.b).await;
        assert_eq!(call.offerer.failure(), None, "a failure that is over");
        call.close().await;
    }
}
