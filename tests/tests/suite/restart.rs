//! ICE restarts (RFC 8445 §9, W3C `restartIce`).

use std::time::Duration;
use tokio::time::{Instant, sleep};
use visavis_core::{ConnectionState, DataChannel, Message, Side};
use visavis_tests::{Call, World, deadline, eventually, ping, within};

pub(crate) fn ufrag(sdp: &str) -> String {
    let line = sdp.lines().find_map(|l| l.strip_prefix("a=ice-ufrag:"));
    line.expect("an ufrag").to_owned()
}

fn ufrags(call: &Call) -> [String; 4] {
    let of = |d: Option<visavis_core::SessionDescription>| ufrag(&d.expect("a description").sdp);
    [
        of(call.offerer.local_description()),
        of(call.offerer.remote_description()),
        of(call.answerer.local_description()),
        of(call.answerer.remote_description()),
    ]
}

/// Restarts ICE from one side and waits for the exchange and for the new candidates of both.
async fn restart(call: &mut Call, by: Side) {
    for side in [Side::Offerer, Side::Answerer] {
        call.side(side).0.log.drain().await;
    }
    let before = ufrags(call);
    call.side(by).0.restart_ice().await.unwrap();
    call.side(by).0.log.stable().await;
    for side in [Side::Offerer, Side::Answerer] {
        let peer = &call.side(side).0.pc;
        deadline("new candidates", peer.gathered()).await.unwrap();
    }
    let after = ufrags(call);
    for (before, after) in before.iter().zip(&after) {
        assert_ne!(before, after, "both sides have new credentials");
    }
    assert_eq!(after[0], after[3]);
    assert_eq!(after[1], after[2]);
}

async fn restarted(world: World, by: Side) {
    let mut call = world.call().await;
    ping(&call.a, &call.b).await;
    restart(&mut call, by).await;
    ping(&call.a, &call.b).await;
    // The new pair is in use: far past what a dead one would live.
    if world.is_memory() {
        sleep(Duration::from_secs(60)).await;
    }
    ping(&call.a, &call.b).await;
    for peer in [&call.offerer, &call.answerer] {
        let state = deadline("connected again", peer.wait_for(ConnectionState::Connected)).await;
        state.unwrap();
        assert!(!peer.negotiation_needed());
    }
    for side in [Side::Offerer, Side::Answerer] {
        let log = &mut call.side(side).0.log;
        log.drain().await;
        let states = log.connections();
        assert!(!states.contains(&ConnectionState::Failed), "{side}: {states:?}");
        assert_eq!(log.dtls().len(), 2, "an ICE restart leaves DTLS alone");
    }
    call.close().await;
}

pub(super) async fn by_the_offerer(world: World) {
    restarted(world, Side::Offerer).await;
}

pub(super) async fn by_the_answerer(world: World) {
    restarted(world, Side::Answerer).await;
}

pub(super) async fn again_and_again(world: World) {
    let mut call = world.call().await;
    for round in 0..6 {
        let by = if round % 2 == 0 {
            Side::Offerer
        } else {
            Side::Answerer
        };
        let began = Instant::now();
        restart(&mut call, by).await;
        ping(&call.a, &call.b).await;
        println!(
            "{}: restart {round} by the {by} took {:?}",
            world.stacks,
            began.elapsed()
        );
    }
    call.close().await;
}

pub(crate) async fn send_until(channel: &DataChannel, end: Instant) -> u32 {
    let mut n = 0;
    while Instant::now() < end {
        deadline("room to send", channel.send(format!("{n}")))
            .await
            .unwrap();
        n += 1;
        sleep(Duration::from_millis(5)).await;
    }
    channel.send("end").await.unwrap();
    n
}

pub(crate) async fn receive_all(channel: &DataChannel) -> u32 {
    let mut n = 0;
    loop {
        // SCTP waits longer each time for a path that is gone, up to a minute (RFC 9260 §6.3.3).
        let message = within(Duration::from_secs(120), "the next message", channel.recv()).await;
        let message = message.expect("an open channel");
        if message == Message::from("end") {
            return n;
        }
        assert_eq!(message, Message::from(format!("{n}")), "lost or out of order");
        n += 1;
    }
}

pub(super) async fn while_messages_flow(world: World) {
    let mut call = world.call().await;
    let (a, b) = (call.a.clone(), call.b.clone());
    let end = Instant::now() + Duration::from_millis(1_500);
    let traffic = async {
        tokio::join!(
            send_until(&a, end),
            send_until(&b, end),
            receive_all(&a),
            receive_all(&b)
        )
    };
    let restarts = async {
        for by in [Side::Offerer, Side::Answerer] {
            eventually("messages before the restart", || {
                a.stats().messages_received > 20 && b.stats().messages_received > 20
            })
            .await;
            restart(&mut call, by).await;
        }
        assert!(Instant::now() < end, "the restarts outlived the traffic");
    };
    let ((from_a, from_b, at_a, at_b), ()) = tokio::join!(traffic, restarts);
    assert_eq!((from_a, from_b), (at_b, at_a));
    ping(&a, &b).await;
    call.close().await;
}
