//! Descriptions that nobody should have sent, in a call with media: frames go on.

use super::hostile::{Count, answer, is_clear, same_session};
use visavis_core::{Codec, ConnectionState, Direction, SessionDescription, Side, SignalingState};
use visavis_tests::{
    World, connect_by_hand, connected, deadline, exchange,
    frames::Plan,
    media::{flow, prefer, way},
    mutate::{self, Random},
};

/// Mutated offers and answers; after each few, and a good exchange, frames still flow each way, and all the time the
/// tracks can be asked.
pub(super) async fn mutated_with_media(world: World) {
    const ROUNDS: u32 = 60;
    let codecs = [Codec::Opus, Codec::H264];
    let (a, b) = world.peers().await;
    let mut lines = Vec::new();
    for codec in codecs {
        let ours = a
            .add_transceiver(codec.kind(), Direction::SendRecv)
            .await
            .unwrap();
        let theirs = b.add_track(codec.kind()).await.unwrap();
        for transceiver in [&ours, &theirs] {
            prefer(transceiver, &[codec]).await;
        }
        lines.push((ours, theirs));
    }
    connect_by_hand(&a, &b).await;
    connected(&a, &b).await;
    let mut random = Random::new(0xF00D);
    let mut count = Count::default();
    for round in 0..ROUNDS {
        let (from, to) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let real = from.set_local_description(None).await.unwrap();
        let mutated = mutate::description(&mut random, &real.sdp);
        let set = to.set_remote_description(SessionDescription::offer(&mutated));
        let result = deadline("a mutated offer", set).await;
        count.add(&result);
        let mut answered = false;
        match result {
            Ok(()) if same_session(&mutated, &real.sdp) => {
                match deadline("an answer to a mutated offer", to.create_answer()).await {
                    Ok(_) => answered = true,
                    Err(error) => is_clear(&error),
                }
            }
            Ok(()) => {}
            Err(error) => is_clear(&error),
        }
        if !answered {
            if to.signaling_state() == SignalingState::HaveRemoteOffer {
                let rollback = SessionDescription::rollback();
                to.set_remote_description(rollback).await.unwrap();
            }
            to.set_remote_description(real).await.unwrap();
        }
        answer(&mut random, to, from, &mut count).await;
        if round % 5 != 4 {
            continue;
        }
        // A mutation may have taken a codec or a direction away: a good exchange brings it back.
        exchange(from, to).await.unwrap();
        for (codec, (ours, theirs)) in codecs.into_iter().zip(&lines) {
            let plan = Plan::new(codec).sizes(&[600]);
            for side in [Side::Offerer, Side::Answerer] {
                flow(way(ours, theirs, side), plan, round * 15..round * 15 + 6, 2).await;
            }
        }
    }
    println!("{}: {count:?}", world.stacks);
    assert_eq!(a.connection_state(), ConnectionState::Connected);
    assert_eq!(b.connection_state(), ConnectionState::Connected);
    a.close().await;
    b.close().await;
}

/// A description that leaves its directions out says `sendrecv` (RFC 8866 §6.7).
pub(super) async fn direction_left_out(world: World) {
    let (a, b) = world.peers().await;
    let mut lines = Vec::new();
    for codec in [Codec::Opus, Codec::H264] {
        let ours = a
            .add_transceiver(codec.kind(), Direction::SendRecv)
            .await
            .unwrap();
        lines.push((codec, ours, b.add_track(codec.kind()).await.unwrap()));
    }
    connect_by_hand(&a, &b).await;
    connected(&a, &b).await;
    let bare = |description: SessionDescription| SessionDescription {
        kind: description.kind,
        sdp: description.sdp.replace("a=sendrecv\r\n", ""),
    };
    for round in 0..4 {
        let (from, to) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let offer = from.set_local_description(None).await.unwrap();
        assert!(offer.sdp.contains("a=sendrecv\r\n"));
        to.set_remote_description(bare(offer)).await.unwrap();
        let answer = to.set_local_description(None).await.unwrap();
        from.set_remote_description(bare(answer)).await.unwrap();
        for (codec, ours, theirs) in &lines {
            let plan = Plan::new(*codec).sizes(&[600]);
            for side in [Side::Offerer, Side::Answerer] {
                flow(way(ours, theirs, side), plan, round * 15..round * 15 + 4, 2).await;
            }
        }
    }
    a.close().await;
    b.close().await;
}
