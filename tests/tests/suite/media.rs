//! Transceivers: m-lines in the first offer and later ones, directions, tracks.

use std::time::Duration;
use visavis_core::{ChannelInit, Direction, IceMode, MediaKind, Sdp, Side, SignalingState, Transceiver};
use visavis_tests::{
    Call, Peer, World, connected, exchange, negotiators, pass_candidates, peers::opened, ping,
};

/// What was negotiated on a transceiver.
async fn current(transceiver: &Transceiver) -> Option<Direction> {
    transceiver.state().await.unwrap().current_direction
}

fn kinds(peer: &Peer) -> Vec<MediaKind> {
    let sdp: Sdp = peer.local_description().unwrap().sdp.parse().unwrap();
    sdp.sections().filter_map(|s| s.kind()).collect()
}

pub(super) async fn audio_video_and_data_in_the_first_offer(world: World) {
    let (mut a, mut b) = world.peers().await;
    let audio = a
        .add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    let video = a
        .add_transceiver(MediaKind::Video, Direction::SendOnly)
        .await
        .unwrap();
    assert_eq!(audio.kind(), MediaKind::Audio);
    assert_eq!(audio.state().await.unwrap().mid, None);
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let _negotiators = negotiators(&a, &b, IceMode::Trickle, Duration::ZERO);
    let tracks = [b.log.track().await, b.log.track().await];
    let theirs = b.log.channel().await;
    assert_eq!(
        tracks.each_ref().map(Transceiver::kind),
        [MediaKind::Audio, MediaKind::Video]
    );
    connected(&a, &b).await;
    opened(&ours).await;
    opened(&theirs).await;
    ping(&ours, &theirs).await;
    let wanted = [MediaKind::Audio, MediaKind::Video, MediaKind::Application];
    for peer in [&a, &b] {
        assert_eq!(kinds(peer), wanted);
    }
    // The called side's transceivers came with the offer, so they only receive (RFC 9429 §5.10).
    assert_eq!(current(&audio).await, Some(Direction::SendOnly));
    assert_eq!(current(&video).await, Some(Direction::SendOnly));
    for (ours, theirs) in [&audio, &video].into_iter().zip(&tracks) {
        assert_eq!(current(theirs).await, Some(Direction::RecvOnly));
        assert_eq!(ours.state().await.unwrap().mid, theirs.state().await.unwrap().mid);
    }
    a.log.drain().await;
    let at_a = a
        .log
        .pick(|e| matches!(e, visavis_core::PeerEvent::Track(_)).then_some(()));
    assert!(at_a.is_empty(), "the answerer sends nothing");
    assert!(!a.negotiation_needed());
    assert!(!b.negotiation_needed());
}

/// Adds audio and then video on one side of a call; data keeps flowing.
async fn added(call: &mut Call, by: Side) {
    let other = match by {
        Side::Offerer => Side::Answerer,
        Side::Answerer => Side::Offerer,
    };
    let a = call.a.clone();
    let b = call.b.clone();
    for (n, kind) in [MediaKind::Audio, MediaKind::Video].into_iter().enumerate() {
        let ours = call
            .side(by)
            .0
            .add_transceiver(kind, Direction::SendRecv)
            .await
            .unwrap();
        ping(&a, &b).await;
        let theirs = call.side(other).0.log.track().await;
        call.side(by).0.log.stable().await;
        assert_eq!(theirs.kind(), kind);
        assert_eq!(current(&ours).await, Some(Direction::SendOnly));
        assert_eq!(current(&theirs).await, Some(Direction::RecvOnly));
        assert_eq!(ours.state().await.unwrap().mid, theirs.state().await.unwrap().mid);
        let (peer, _) = call.side(by);
        assert_eq!(kinds(peer)[0], MediaKind::Application, "m-lines never move");
        assert_eq!(kinds(peer).len(), n + 2);
        ping(&a, &b).await;
    }
}

pub(super) async fn added_in_a_call_by_the_offerer(world: World) {
    let mut call = world.call().await;
    added(&mut call, Side::Offerer).await;
    call.close().await;
}

pub(super) async fn added_in_a_call_by_the_answerer(world: World) {
    let mut call = world.call().await;
    added(&mut call, Side::Answerer).await;
    // And then by the other side, on top of it.
    call.offerer.log.drain().await;
    let video = call
        .offerer
        .add_transceiver(MediaKind::Video, Direction::SendOnly)
        .await
        .unwrap();
    let theirs = call.answerer.log.track().await;
    call.offerer.log.stable().await;
    assert_eq!(current(&video).await, Some(Direction::SendOnly));
    assert_eq!(current(&theirs).await, Some(Direction::RecvOnly));
    ping(&call.a, &call.b).await;
    call.close().await;
}

pub(super) async fn directions(world: World) {
    let mut call = world.call().await;
    let ours = call
        .offerer
        .add_transceiver(MediaKind::Video, Direction::SendRecv)
        .await
        .unwrap();
    let theirs = call.answerer.log.track().await;
    call.offerer.log.stable().await;
    call.answerer.log.drain().await;
    // The called side sends, too: another exchange, offered by it.
    theirs.set_direction(Direction::SendRecv).await.unwrap();
    call.answerer.log.stable().await;
    let back = call.offerer.log.track().await;
    assert_eq!(back.state().await.unwrap().mid, ours.state().await.unwrap().mid);
    assert_eq!(current(&ours).await, Some(Direction::SendRecv));
    assert_eq!(current(&theirs).await, Some(Direction::SendRecv));
    ping(&call.a, &call.b).await;
    let steps = [
        (Direction::SendOnly, Direction::SendOnly, Direction::RecvOnly),
        (Direction::RecvOnly, Direction::RecvOnly, Direction::SendOnly),
        (Direction::Inactive, Direction::Inactive, Direction::Inactive),
        (Direction::SendRecv, Direction::SendRecv, Direction::SendRecv),
    ];
    for (wish, at_a, at_b) in steps {
        call.offerer.log.drain().await;
        ours.set_direction(wish).await.unwrap();
        call.offerer.log.stable().await;
        assert_eq!(current(&ours).await, Some(at_a), "wished for {wish}");
        assert_eq!(current(&theirs).await, Some(at_b), "wished for {wish}");
        assert_eq!(ours.state().await.unwrap().direction, wish);
        ping(&call.a, &call.b).await;
    }
    call.close().await;
}

/// W3C fires `track` when the remote offer is set, so that the application can say what it sends before it answers.
pub(super) async fn track_before_the_answer(world: World) {
    let (mut a, mut b) = world.peers().await;
    let ours = a
        .add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    b.set_remote_description(offer).await.unwrap();
    let theirs = b.log.track().await;
    assert_eq!(b.signaling_state(), SignalingState::HaveRemoteOffer);
    theirs.set_direction(Direction::SendRecv).await.unwrap();
    let answer = b.set_local_description(None).await.unwrap();
    assert!(answer.sdp.contains("a=sendrecv"), "{}", answer.sdp);
    a.set_remote_description(answer).await.unwrap();
    let back = a.log.track().await;
    assert_eq!(back.state().await.unwrap().mid, ours.state().await.unwrap().mid);
    for transceiver in [&ours, &theirs] {
        assert_eq!(current(transceiver).await, Some(Direction::SendRecv));
    }
    assert!(!a.negotiation_needed());
    assert!(!b.negotiation_needed());
    pass_candidates(&a, &b).await;
    connected(&a, &b).await;
}

pub(super) async fn answer_narrower_than_the_offer(world: World) {
    let (a, mut b) = world.peers().await;
    let inactive = a
        .add_transceiver(MediaKind::Audio, Direction::Inactive)
        .await
        .unwrap();
    let recv = a
        .add_transceiver(MediaKind::Video, Direction::RecvOnly)
        .await
        .unwrap();
    let both = a
        .add_transceiver(MediaKind::Video, Direction::SendRecv)
        .await
        .unwrap();
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    let directions = |sdp: &str| -> Vec<Direction> {
        let sdp: Sdp = sdp.parse().unwrap();
        let media = sdp
            .sections()
            .filter(|s| s.kind() != Some(MediaKind::Application));
        media.map(|s| s.direction()).collect()
    };
    assert_eq!(
        directions(&offer.sdp),
        [Direction::Inactive, Direction::RecvOnly, Direction::SendRecv]
    );
    b.set_remote_description(offer).await.unwrap();
    let answer = b.set_local_description(None).await.unwrap();
    assert_eq!(
        directions(&answer.sdp),
        [Direction::Inactive, Direction::Inactive, Direction::RecvOnly],
        "{}",
        answer.sdp
    );
    a.set_remote_description(answer).await.unwrap();
    assert_eq!(current(&inactive).await, Some(Direction::Inactive));
    assert_eq!(current(&recv).await, Some(Direction::Inactive));
    assert_eq!(current(&both).await, Some(Direction::SendOnly));
    pass_candidates(&a, &b).await;
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
    ping(&ours, &theirs).await;
    // The other side offers the same session again: nothing changes, nothing breaks.
    exchange(&b, &a).await.unwrap();
    ping(&ours, &theirs).await;
    exchange(&a, &b).await.unwrap();
    ping(&ours, &theirs).await;
    assert_eq!(kinds(&a), kinds(&b));
}

pub(super) async fn stopped(world: World) {
    let mut call = world.call().await;
    let ours = call
        .offerer
        .add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    let theirs = call.answerer.log.track().await;
    call.offerer.log.stable().await;
    ours.stop().await.unwrap();
    call.offerer.log.stable().await;
    assert!(ours.state().await.unwrap().stopped);
    assert_eq!(current(&ours).await, Some(Direction::Inactive));
    assert_eq!(current(&theirs).await, Some(Direction::Inactive));
    visavis_tests::expect_kind(
        ours.set_direction(Direction::SendRecv).await,
        visavis_core::ErrorKind::InvalidState,
        "a stopped transceiver",
    );
    ping(&call.a, &call.b).await;
    let another = call
        .offerer
        .add_transceiver(MediaKind::Audio, Direction::SendOnly)
        .await
        .unwrap();
    call.offerer.log.stable().await;
    assert_eq!(current(&another).await, Some(Direction::SendOnly));
    ping(&call.a, &call.b).await;
    call.close().await;
}

pub(super) async fn media_first_and_data_later(world: World) {
    let (mut a, b) = world.peers().await;
    a.add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    let _negotiators = negotiators(&a, &b, IceMode::Trickle, Duration::ZERO);
    connected(&a, &b).await;
    let ours = b.create_data_channel(ChannelInit::new("later")).await.unwrap();
    let theirs = a.log.channel().await;
    opened(&ours).await;
    opened(&theirs).await;
    ping(&ours, &theirs).await;
    assert_eq!(kinds(&b), [MediaKind::Audio, MediaKind::Application]);
}

/// Nothing is asked for: each offers the session as it is, in turn.
pub(super) async fn offered_again_by_each_side(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    for kind in [MediaKind::Audio, MediaKind::Video] {
        a.add_transceiver(kind, Direction::SendRecv).await.unwrap();
    }
    exchange(&a, &b).await.unwrap();
    pass_candidates(&a, &b).await;
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
    let lines = |peer: &Peer| {
        peer.local_description()
            .unwrap()
            .sdp
            .parse::<Sdp>()
            .unwrap()
            .sections()
            .len()
    };
    for round in 0..8 {
        let (from, to) = if round % 2 == 0 { (&b, &a) } else { (&a, &b) };
        let exchanged = exchange(from, to).await;
        exchanged.unwrap_or_else(|e| panic!("exchange {round}, offered by {}: {e}", from.stack()));
        assert_eq!((lines(&a), lines(&b)), (3, 3), "exchange {round}");
        ping(&ours, &theirs).await;
    }
}
