//! Tracks that come and go in a call, with frames on them.

use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;
use visavis_core::{
    Codec, ConnectionState, Direction, MediaKind, PairConfig, PeerPair, Sdp, Side, TrackSender, Transceiver,
};
use visavis_tests::{
    Call, Peer, World, alive_tasks, deadline, eventually,
    frames::Plan,
    media::{flow, line, prefer, way},
    ping,
};

const SIDES: [Side; 2] = [Side::Offerer, Side::Answerer];

fn other(side: Side) -> Side {
    match side {
        Side::Offerer => Side::Answerer,
        Side::Answerer => Side::Offerer,
    }
}

fn lines(peer: &Peer) -> usize {
    let sdp: Sdp = peer.local_description().unwrap().sdp.parse().unwrap();
    sdp.sections().len()
}

async fn mid(transceiver: &Transceiver) -> Option<String> {
    transceiver.state().await.unwrap().mid
}

/// Small pictures, each round with numbers of its own.
fn plan() -> Plan {
    Plan::new(Codec::H264).sizes(&[1_500, 300])
}

/// Five frames from the side that has `ours`.
async fn five(ours: &Transceiver, theirs: &Transceiver, round: u32) {
    let ends = way(ours, theirs, Side::Offerer);
    flow(ends, plan(), round * 15..round * 15 + 5, 2).await;
}

/// Nothing can be sent.
fn silent(sender: &TrackSender) {
    assert_eq!(sender.codec(), None);
    let before = sender.stats().frames_dropped;
    assert!(!sender.try_send(plan().frame(0, true)));
    assert_eq!(sender.stats().frames_dropped, before + 1);
}

/// Adds a video track on one side; gives its transceiver and the other side's.
async fn added(call: &mut Call, by: Side) -> (Transceiver, Transceiver) {
    for side in SIDES {
        call.side(side).0.log.drain().await;
    }
    let ours = call.side(by).0.add_track(MediaKind::Video).await.unwrap();
    let theirs = call.side(other(by)).0.log.track().await;
    call.side(by).0.log.stable().await;
    assert_eq!(mid(&ours).await, mid(&theirs).await);
    (ours, theirs)
}

/// A track removed and added 20 times, by each side: the m-line is used again, and frames arrive each time.
pub(super) async fn removed_and_added_20_times(world: World) {
    let mut call = world.call().await;
    for by in SIDES {
        let (first, _) = added(&mut call, by).await;
        let before = lines(&call.offerer);
        for round in 0..20 {
            let (ours, theirs) = if round == 0 {
                (first.clone(), remote(&mut call, by, &first).await)
            } else {
                added(&mut call, by).await
            };
            assert_eq!(
                mid(&ours).await,
                mid(&first).await,
                "round {round}: the same m-line"
            );
            five(&ours, &theirs, round).await;
            call.side(by).0.log.drain().await;
            call.side(by).0.pc.remove_track(&ours).await.unwrap();
            call.side(by).0.log.stable().await;
            silent(&ours.sender());
            assert!(!ours.sender().is_ended());
            assert_eq!(
                (lines(&call.offerer), lines(&call.answerer)),
                (before, before),
                "round {round}"
            );
        }
        assert_eq!(first.sender().stats().frames_sent, 100);
        ping(&call.a, &call.b).await;
    }
    call.close().await;
}

/// The other side's transceiver of the same m-line.
async fn remote(call: &mut Call, by: Side, ours: &Transceiver) -> Transceiver {
    let wanted = mid(ours).await;
    for transceiver in call.side(other(by)).0.transceivers().await.unwrap() {
        if mid(&transceiver).await == wanted {
            return transceiver;
        }
    }
    panic!("the m-line {wanted:?} has no transceiver on the other side");
}

/// A stopped transceiver's m-line goes to the next one, which is another object with the same mid.
pub(super) async fn stopped_and_added_20_times(world: World) {
    let mut call = world.call().await;
    for by in SIDES {
        let mut first = None;
        for round in 0..20 {
            for side in SIDES {
                call.side(side).0.log.drain().await;
            }
            let (peer, _) = call.side(by);
            let ours = peer
                .add_transceiver(MediaKind::Video, Direction::SendOnly)
                .await
                .unwrap();
            let theirs = call.side(other(by)).0.log.track().await;
            call.side(by).0.log.stable().await;
            let here = (mid(&ours).await, lines(&call.offerer));
            assert_eq!(
                *first.get_or_insert(here.clone()),
                here,
                "round {round}: the same m-line"
            );
            assert_eq!(mid(&theirs).await, here.0);
            five(&ours, &theirs, round).await;
            assert_eq!(ours.sender().stats().frames_sent, 5, "a new track counts from 0");
            call.side(by).0.log.drain().await;
            ours.stop().await.unwrap();
            call.side(by).0.log.stable().await;
            assert_eq!(deadline("never ready", ours.sender().ready()).await, None);
            assert!(deadline("the end", ours.receiver().recv()).await.is_none());
            silent(&ours.sender());
        }
        ping(&call.a, &call.b).await;
        // What follows is on the m-line of the other side's first transceiver, or on one of its own.
        let (peer, _) = call.side(by);
        let last = peer
            .add_transceiver(MediaKind::Video, Direction::Inactive)
            .await
            .unwrap();
        assert_eq!(mid(&last).await, first.and_then(|f| f.0));
    }
    call.close().await;
}

/// Each side adds a track in a call that began without media.
pub(super) async fn added_in_mid_call_by_the_answerer_then_the_offerer(world: World) {
    let mut call = world.call().await;
    let (from_b, at_a) = added(&mut call, Side::Answerer).await;
    five(&from_b, &at_a, 0).await;
    // The offerer's video goes the other way on the same m-line.
    let (from_a, at_b) = added(&mut call, Side::Offerer).await;
    assert_eq!(mid(&from_a).await, mid(&from_b).await);
    assert_eq!(lines(&call.offerer), 2);
    five(&from_a, &at_b, 0).await;
    five(&from_b, &at_a, 1).await;
    // And sound on one of its own.
    let sound = call.offerer.add_track(MediaKind::Audio).await.unwrap();
    let theirs = call.answerer.log.track().await;
    flow(
        way(&sound, &theirs, Side::Offerer),
        Plan::new(Codec::Opus),
        0..10,
        2,
    )
    .await;
    tokio::join!(five(&from_a, &at_b, 1), five(&from_b, &at_a, 2));
    for sender in [from_a.sender(), from_b.sender(), sound.sender()] {
        assert_eq!(sender.stats().frames_dropped, 0);
    }
    ping(&call.a, &call.b).await;
    call.close().await;
}

/// Each direction lets through what it says, and what nobody takes is counted.
pub(super) async fn directions_with_frames(world: World) {
    let media = [line(Codec::H264, Direction::SendRecv)];
    let mut call = world.media_call(&media).await;
    let (ours, theirs) = (call.ours[0].clone(), call.theirs[0].clone());
    let mut round = 0;
    let steps = [
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
        Direction::SendRecv,
    ];
    for by in SIDES {
        let (chooser, follower) = match by {
            Side::Offerer => (&ours, &theirs),
            Side::Answerer => (&theirs, &ours),
        };
        for wish in steps {
            let (peer, _) = call.call.side(by);
            peer.log.drain().await;
            if chooser.state().await.unwrap().direction != wish {
                chooser.set_direction(wish).await.unwrap();
                peer.log.stable().await;
            }
            for (from, to, sends) in [
                (chooser, follower, wish.sends()),
                (follower, chooser, wish.receives()),
            ] {
                if sends {
                    five(from, to, round).await;
                } else {
                    silent(&from.sender());
                    assert!(to.receiver().try_recv().is_none());
                }
            }
            round += 1;
        }
    }
    // Sent in 6 of 10 steps by each: all but where its direction said no.
    for transceiver in [&ours, &theirs] {
        let stats = (transceiver.sender().stats(), transceiver.receiver().stats());
        assert_eq!((stats.0.frames_sent, stats.1.frames_received), (30, 30));
        assert_eq!(stats.1.gaps, 0, "nothing was lost in between");
    }
    ping(&call.call.a, &call.call.b).await;
    call.close().await;
}

/// Preferences that change in a call count from the next negotiation on: the codec changes, back again, and frames of
/// the new one flow.
pub(super) async fn codec_changed_in_a_call(world: World) {
    // Every codec is negotiated at first, H.264 the best.
    let mut media = line(Codec::H264, Direction::SendRecv);
    media.codecs.clear();
    let mut call = world.media_call(&[media]).await;
    let (ours, theirs) = (call.ours[0].clone(), call.theirs[0].clone());
    let codecs = [
        Codec::H264,
        Codec::Vp8,
        Codec::H264,
        Codec::Vp9,
        Codec::Vp8,
        Codec::H264,
    ];
    for (round, codec) in (0_u32..).zip(codecs) {
        let by = SIDES[round as usize % 2];
        if round > 0 {
            for transceiver in [&ours, &theirs] {
                prefer(transceiver, &[codec]).await;
            }
            // A preference alone asks for no negotiation (W3C), so something else does.
            let (peer, _) = call.call.side(by);
            peer.log.drain().await;
            peer.add_transceiver(MediaKind::Audio, Direction::SendOnly)
                .await
                .unwrap();
            peer.log.stable().await;
        }
        for side in SIDES {
            let ends = way(&ours, &theirs, side);
            assert_eq!(ends.0.codec(), Some(codec), "round {round}, the {side}");
            let plan = Plan::new(codec).sizes(&[2_500, 300]);
            flow(ends, plan, round * 15..round * 15 + 6, 2).await;
        }
    }
    ping(&call.call.a, &call.call.b).await;
    call.close().await;
}

/// Hung up in mid-stream: whoever reads or waits hears of it, and no task stays.
pub(super) async fn hang_up_with_media(world: World) {
    let pair = world.pair(PairConfig {
        media: vec![
            line(Codec::Opus, Direction::SendRecv),
            line(Codec::H264, Direction::SendRecv),
        ],
        ..PairConfig::default()
    });
    pair.start().await.unwrap();
    for _ in 0..5 {
        let call = deadline("a call", pair.call()).await.expect("a call");
        let mut tasks = JoinSet::new();
        let mut receivers = Vec::new();
        for side in SIDES {
            let tracks = &call.side(side).transceivers;
            assert_eq!(tracks.len(), 2);
            for (index, codec) in [Codec::Opus, Codec::H264].into_iter().enumerate() {
                let (sender, receiver) = (tracks[index].sender(), tracks[index].receiver());
                receivers.push(receiver.clone());
                tasks.spawn(async move { while receiver.recv().await.is_some() {} });
                tasks.spawn(async move {
                    let plan = Plan::new(codec).sizes(&[900, 300]);
                    let mut n = 0;
                    while sender.ready().await.is_some() {
                        sender.try_send(plan.frame(n, n % 10 == 0));
                        n += 1;
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                    assert!(sender.is_ended());
                    assert!(!sender.try_send(plan.frame(n, true)));
                });
            }
        }
        eventually("frames each way", || {
            receivers.iter().all(|r| r.stats().frames_received > 20)
        })
        .await;
        deadline("hanging up", pair.hang_up()).await.unwrap();
        deadline("the end of every reader and sender", async {
            while let Some(ended) = tasks.join_next().await {
                ended.expect("a reader or a sender");
            }
        })
        .await;
        assert!(receivers.iter().all(|r| r.try_recv().is_none()));
        eventually("no task stays", || alive_tasks() == 0).await;
    }
    // One side leaves: the other one's tracks fall silent and end when it closes.
    let call = deadline("a call", pair.call()).await.expect("a call");
    let ends = way(
        &call.offerer.transceivers[1],
        &call.answerer.transceivers[1],
        Side::Offerer,
    );
    flow(ends.clone(), Plan::new(Codec::H264).sizes(&[2_000]), 0..10, 2).await;
    let (offerer, answerer) = (Arc::clone(&call), Arc::clone(&call));
    deadline("close", offerer.offerer.peer.close()).await;
    assert_eq!(deadline("never ready", ends.0.ready()).await, None);
    deadline("closed there", answerer.answerer.channel.closed()).await;
    deadline("close", answerer.answerer.peer.close()).await;
    assert!(deadline("the end", ends.1.recv()).await.is_none());
    assert_eq!(call.answerer.peer.connection_state(), ConnectionState::Closed);
    pair.hang_up().await.unwrap();
}
