//! When an offer is needed, what one exchange leaves behind, and what the operations queue does.

use std::time::Duration;
use visavis_core::{
    Candidate, ChannelInit, Codec, ConnectionState, Direction, ErrorKind, GatheringState, IceMode, MediaKind,
    PeerEvent, SdpType, SessionDescription, Side, SignalingState,
};
use visavis_tests::{
    Peer, World, connect_by_hand, connect_with, connected, deadline, exchange, expect_kind, frames::Plan,
    media::line, negotiators, pass_candidates, peers::opened, ping,
};

/// How often an offer was asked for since the last look.
async fn asked(peer: &mut Peer) -> usize {
    peer.log.drain().await;
    let asked = peer
        .log
        .pick(|e| matches!(e, PeerEvent::NegotiationNeeded).then_some(()))
        .len();
    peer.log.forget();
    asked
}

/// Reads on until gathering is over.
async fn gathered(peer: &mut Peer) {
    let over = |e: &PeerEvent| matches!(e, PeerEvent::GatheringState(GatheringState::Complete)).then_some(());
    peer.log.find("the end of gathering", over).await;
}

/// An offer is asked for once, however much is added before it is made.
pub(super) async fn asked_once(world: World) {
    let (mut a, _b) = world.peers().await;
    assert_eq!(asked(&mut a).await, 0);
    a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    assert_eq!(asked(&mut a).await, 1);
    a.create_data_channel(ChannelInit::new("another")).await.unwrap();
    a.add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    a.add_track(MediaKind::Video).await.unwrap();
    a.create_offer().await.unwrap();
    assert_eq!(asked(&mut a).await, 0);
    assert!(a.negotiation_needed());
}

/// What is added while an offer is out asks for the next one, and only when the exchange is over.
pub(super) async fn asked_when_stable(world: World) {
    let (mut a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    asked(&mut a).await;
    let audio = a
        .add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    assert_eq!(asked(&mut a).await, 0, "an offer is out");
    b.set_remote_description(offer).await.unwrap();
    b.add_track(MediaKind::Video).await.unwrap();
    assert_eq!(asked(&mut b).await, 0, "an offer waits for its answer");
    let answer = b.set_local_description(None).await.unwrap();
    assert_eq!(asked(&mut b).await, 1);
    a.set_remote_description(answer).await.unwrap();
    assert_eq!(asked(&mut a).await, 1);
    assert_eq!(audio.state().await.unwrap().mid, None);
    exchange(&a, &b).await.unwrap();
    assert_eq!(asked(&mut b).await, 1, "it is still wanted, so it is said again");
    exchange(&b, &a).await.unwrap();
    for peer in [&mut a, &mut b] {
        assert_eq!(asked(peer).await, 0);
        assert!(!peer.negotiation_needed());
    }
    pass_candidates(&a, &b).await;
    connected(&a, &b).await;
    opened(&ours).await;
}

/// Each change of a transceiver, and a wish for new ICE credentials, asks for an offer; no change asks for none.
pub(super) async fn asked_by_each_change(world: World) {
    let (mut a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let video = a.add_track(MediaKind::Video).await.unwrap();
    let theirs = connect_with(&a, &mut b, &ours).await;
    asked(&mut a).await;
    video.set_direction(Direction::SendRecv).await.unwrap();
    assert_eq!(asked(&mut a).await, 0, "it was sendrecv before");
    a.create_data_channel(ChannelInit::new("second")).await.unwrap();
    assert_eq!(asked(&mut a).await, 0, "a second channel needs no offer");
    for step in ["direction", "remove", "add", "stop", "restart"] {
        match step {
            "direction" => video.set_direction(Direction::SendOnly).await.unwrap(),
            "remove" => a.remove_track(&video).await.unwrap(),
            "add" => drop(a.add_track(MediaKind::Video).await.unwrap()),
            "stop" => video.stop().await.unwrap(),
            _ => a.restart_ice().await.unwrap(),
        }
        assert_eq!(asked(&mut a).await, 1, "{step}");
        exchange(&a, &b).await.unwrap();
        assert_eq!(asked(&mut a).await, 0, "{step}, negotiated");
        assert!(!a.negotiation_needed() && !b.negotiation_needed(), "{step}");
        assert_eq!(asked(&mut b).await, 0, "{step}: the answerer asks for nothing");
        if step == "restart" {
            pass_candidates(&a, &b).await;
            connected(&a, &b).await;
        }
        ping(&ours, &theirs).await;
    }
}

/// An offer that is rolled back is asked for again.
pub(super) async fn asked_after_a_rollback(world: World) {
    let (mut a, _b) = world.peers().await;
    a.add_track(MediaKind::Audio).await.unwrap();
    for _ in 0..3 {
        assert_eq!(asked(&mut a).await, 1);
        a.set_local_description(None).await.unwrap();
        assert_eq!(asked(&mut a).await, 0);
        a.set_local_description(SessionDescription::rollback())
            .await
            .unwrap();
    }
    assert_eq!(asked(&mut a).await, 1);
}

/// Calls that nobody waits for in between take effect one after the other.
pub(super) async fn operations_queue(world: World) {
    let (a, mut b) = world.peers().await;
    let (ours, offer, again, set, late) = tokio::join!(
        a.create_data_channel(ChannelInit::new("t")),
        a.create_offer(),
        a.create_offer(),
        a.set_local_description(None),
        a.create_offer(),
    );
    let (ours, set) = (ours.unwrap(), set.unwrap());
    assert_eq!(offer.unwrap().kind, SdpType::Offer);
    assert_eq!(again.unwrap().kind, SdpType::Offer);
    assert_eq!(set.kind, SdpType::Offer);
    expect_kind(late, ErrorKind::InvalidState, "an offer is out");
    let (remote, answer, local) = tokio::join!(
        b.set_remote_description(set),
        b.create_answer(),
        b.set_local_description(None),
    );
    remote.unwrap();
    let local = local.unwrap();
    assert_eq!(answer.unwrap(), local);
    a.set_remote_description(local).await.unwrap();
    pass_candidates(&a, &b).await;
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
    // A call whose caller went away takes place all the same.
    drop(tokio::time::timeout(Duration::ZERO, a.add_track(MediaKind::Audio)).await);
    assert_eq!(a.transceivers().await.unwrap().len(), 1);
    ping(&ours, &theirs).await;
}

/// The candidates of one side are enough: the other side learns where its peer is from the checks.
pub(super) async fn candidates_of_one_side(world: World) {
    for of_the_offerer in [true, false] {
        let (mut a, mut b) = world.peers().await;
        let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
        exchange(&a, &b).await.unwrap();
        let (from, to) = if of_the_offerer {
            (&mut a, &mut b)
        } else {
            (&mut b, &mut a)
        };
        for candidate in from.log.candidates().await {
            to.add_ice_candidate(candidate).await.unwrap();
        }
        connected(&a, &b).await;
        opened(&ours).await;
        ping(&ours, &b.log.channel().await).await;
        a.close().await;
        b.close().await;
    }
}

/// A candidate finds its m-line by mid or by index, the mid first; without a ufrag it is of the generation in force.
pub(super) async fn candidates_by_mid_or_index(world: World) {
    for by_mid in [true, false] {
        let (mut a, mut b) = world.peers().await;
        let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
        a.add_transceiver(MediaKind::Audio, Direction::SendRecv)
            .await
            .unwrap();
        exchange(&a, &b).await.unwrap();
        let (of_a, of_b) = (a.log.candidates().await, b.log.candidates().await);
        for (to, candidates) in [(&b, of_a), (&a, of_b)] {
            for candidate in candidates {
                let mut bare = Candidate {
                    username_fragment: None,
                    ..candidate
                };
                if by_mid {
                    // Not looked at.
                    bare.sdp_m_line_index = Some(9);
                } else {
                    bare.sdp_mid = None;
                }
                to.add_ice_candidate(bare).await.unwrap();
            }
        }
        connected(&a, &b).await;
        opened(&ours).await;
        ping(&ours, &b.log.channel().await).await;
        a.close().await;
        b.close().await;
    }
}

/// Gathering starts with the local description, once; only an ICE restart starts it again.
pub(super) async fn gathering_again(world: World) {
    use GatheringState::{Complete, Gathering, New};
    let (mut a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    assert_eq!(a.gathering_state(), New);
    let offer = a.create_offer().await.unwrap();
    b.set_remote_description(offer.clone()).await.unwrap();
    b.set_remote_description(SessionDescription::rollback())
        .await
        .unwrap();
    for peer in [&mut a, &mut b] {
        peer.log.drain().await;
        assert!(peer.log.gathering().is_empty(), "nothing local is set yet");
        assert_eq!(peer.gathering_state(), New);
    }
    connect_by_hand(&a, &b).await;
    connected(&a, &b).await;
    opened(&ours).await;
    a.add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    exchange(&a, &b).await.unwrap();
    for peer in [&mut a, &mut b] {
        gathered(peer).await;
        peer.log.drain().await;
        assert_eq!(
            peer.log.gathering(),
            [Gathering, Complete],
            "a later offer gathers nothing"
        );
        peer.log.forget();
    }
    a.restart_ice().await.unwrap();
    connect_by_hand(&a, &b).await;
    for peer in [&mut a, &mut b] {
        gathered(peer).await;
        assert_eq!(
            peer.log.gathering(),
            [Gathering, Complete],
            "an ICE restart gathers again"
        );
    }
    connected(&a, &b).await;
}

/// The transceivers of a remote offer that is rolled back are gone, and come again with the next offer.
pub(super) async fn rolled_back_transceivers(world: World) {
    let (a, mut b) = world.peers().await;
    a.add_track(MediaKind::Audio).await.unwrap();
    a.add_track(MediaKind::Video).await.unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    for _ in 0..3 {
        b.set_remote_description(offer.clone()).await.unwrap();
        assert_eq!(b.transceivers().await.unwrap().len(), 2);
        b.set_remote_description(SessionDescription::rollback())
            .await
            .unwrap();
        assert!(b.transceivers().await.unwrap().is_empty());
        assert_eq!(b.signaling_state(), SignalingState::Stable);
    }
    b.set_remote_description(offer).await.unwrap();
    let answer = b.set_local_description(None).await.unwrap();
    a.set_remote_description(answer).await.unwrap();
    pass_candidates(&a, &b).await;
    connected(&a, &b).await;
    let kinds: Vec<_> = b
        .transceivers()
        .await
        .unwrap()
        .iter()
        .map(visavis_core::Transceiver::kind)
        .collect();
    assert_eq!(kinds, [MediaKind::Audio, MediaKind::Video]);
    b.log.drain().await;
}

/// Transceivers come in the order in which they were made, and are those that the calls gave.
pub(super) async fn transceivers_in_order(world: World) {
    let (a, b) = world.peers().await;
    let kinds = [MediaKind::Video, MediaKind::Audio, MediaKind::Video];
    assert!(a.transceivers().await.unwrap().is_empty());
    for kind in kinds {
        a.add_transceiver(kind, Direction::SendRecv).await.unwrap();
    }
    let mids = async |peer: &Peer| {
        let mut mids = Vec::new();
        for transceiver in peer.transceivers().await.unwrap() {
            mids.push((transceiver.kind(), transceiver.state().await.unwrap().mid));
        }
        mids
    };
    assert_eq!(mids(&a).await, kinds.map(|kind| (kind, None)));
    exchange(&a, &b).await.unwrap();
    let of_a = mids(&a).await;
    assert_eq!(of_a, mids(&b).await);
    assert!(of_a.iter().all(|(_, mid)| mid.is_some()));
}

/// An answer that allows more than its offer counts as far as the offer does.
pub(super) async fn answer_wider_than_the_offer(world: World) {
    let (mut a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let audio = a
        .add_transceiver(MediaKind::Audio, Direction::SendOnly)
        .await
        .unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    b.set_remote_description(offer).await.unwrap();
    let mut answer = b.set_local_description(None).await.unwrap();
    assert!(answer.sdp.contains("a=recvonly"), "{}", answer.sdp);
    answer.sdp = answer.sdp.replace("a=recvonly", "a=sendrecv");
    a.set_remote_description(answer).await.unwrap();
    let state = audio.state().await.unwrap();
    assert_eq!(state.current_direction, Some(Direction::SendOnly));
    pass_candidates(&a, &b).await;
    connected(&a, &b).await;
    opened(&ours).await;
    ping(&ours, &b.log.channel().await).await;
    a.log.drain().await;
    let tracks = a.log.pick(|e| matches!(e, PeerEvent::Track(_)).then_some(()));
    assert!(tracks.is_empty(), "nothing was offered to be received");
}

/// A track that was added before the offer came goes where the offer wants to receive.
pub(super) async fn tracks_where_they_are_wanted(world: World) {
    let (a, b) = world.peers().await;
    for direction in [Direction::SendOnly, Direction::RecvOnly] {
        a.add_transceiver(MediaKind::Audio, direction).await.unwrap();
    }
    let theirs = b.add_track(MediaKind::Audio).await.unwrap();
    exchange(&a, &b).await.unwrap();
    let wanted = a.transceivers().await.unwrap()[1].state().await.unwrap();
    let theirs = theirs.state().await.unwrap();
    assert_eq!(theirs.mid, wanted.mid);
    assert_eq!(theirs.current_direction, Some(Direction::SendOnly));
}

/// Frames of another codec are dropped and counted; after a drop a keyframe is asked for, and until it comes all that
/// is not one is dropped as well.
pub(super) async fn refused_frames(world: World) {
    let call = world.media_call(&[line(Codec::Vp8, Direction::SendOnly)]).await;
    let (sender, receiver) = call.way(Side::Offerer, 0);
    let plan = Plan::new(Codec::Vp8).sizes(&[1_500]);
    let other = Plan::new(Codec::H264).sizes(&[1_500]);
    assert_eq!(
        deadline("something to send", sender.ready()).await,
        Some(Codec::Vp8)
    );
    assert!(
        sender.take_keyframe_request(),
        "the first frame is to be a keyframe"
    );
    assert!(!sender.take_keyframe_request(), "to ask takes the request");
    assert!(!sender.try_send(plan.frame(0, false)), "no keyframe has gone yet");
    assert!(sender.take_keyframe_request());
    let mut sent = 0;
    for (n, frame, goes) in [
        (1, plan.frame(1, true), true),
        (2, plan.frame(2, false), true),
        (3, other.frame(3, true), false),
        (4, plan.frame(4, false), false),
        (5, plan.frame(5, true), true),
        (6, plan.frame(6, false), true),
    ] {
        assert_eq!(sender.try_send(frame), goes, "frame {n}");
        assert_eq!(sender.take_keyframe_request(), !goes, "frame {n}");
        if goes {
            sent += 1;
            let frame = deadline("a frame", receiver.recv()).await.expect("a track");
            assert_eq!(plan.check(&frame), n);
            assert_eq!(frame.keyframe, n == 1 || n == 5);
        }
    }
    let stats = sender.stats();
    assert_eq!((stats.frames_sent, stats.frames_dropped), (sent, 3));
    assert_eq!(receiver.stats().frames_received, sent);
    call.close().await;
}

/// A direction is a wish until it is negotiated.
pub(super) async fn direction_is_a_wish(world: World) {
    let (a, b) = world.peers().await;
    let audio = a
        .add_transceiver(MediaKind::Audio, Direction::RecvOnly)
        .await
        .unwrap();
    let wish = async || {
        let state = audio.state().await.unwrap();
        (state.direction, state.current_direction)
    };
    assert_eq!(wish().await, (Direction::RecvOnly, None));
    audio.set_direction(Direction::SendRecv).await.unwrap();
    assert_eq!(wish().await, (Direction::SendRecv, None));
    audio.set_direction(Direction::SendOnly).await.unwrap();
    exchange(&a, &b).await.unwrap();
    assert_eq!(wish().await, (Direction::SendOnly, Some(Direction::SendOnly)));
    audio.set_direction(Direction::Inactive).await.unwrap();
    assert_eq!(wish().await, (Direction::Inactive, Some(Direction::SendOnly)));
    exchange(&a, &b).await.unwrap();
    assert_eq!(wish().await, (Direction::Inactive, Some(Direction::Inactive)));
}

/// A track that is removed leaves what is received, and what did not send stays as it is; another connection's track is
/// refused.
pub(super) async fn removed_tracks(world: World) {
    let (a, b) = world.peers().await;
    for (wish, left) in [
        (Direction::SendRecv, Direction::RecvOnly),
        (Direction::SendOnly, Direction::Inactive),
        (Direction::RecvOnly, Direction::RecvOnly),
        (Direction::Inactive, Direction::Inactive),
    ] {
        let track = a.add_transceiver(MediaKind::Audio, wish).await.unwrap();
        expect_kind(
            b.remove_track(&track).await,
            ErrorKind::InvalidInput,
            "another connection's track",
        );
        assert_eq!(track.state().await.unwrap().direction, wish);
        exchange(&a, &b).await.unwrap();
        for _ in 0..2 {
            a.remove_track(&track).await.unwrap();
            assert_eq!(track.state().await.unwrap().direction, left, "{wish}");
        }
        exchange(&a, &b).await.unwrap();
        assert!(!track.state().await.unwrap().stopped);
    }
    let track = a.add_track(MediaKind::Video).await.unwrap();
    b.close().await;
    expect_kind(
        b.remove_track(&track).await,
        ErrorKind::InvalidState,
        "a closed connection",
    );
    a.close().await;
    expect_kind(
        a.remove_track(&track).await,
        ErrorKind::InvalidState,
        "a closed connection",
    );
}

/// `addTrack` takes a transceiver of its kind that does not send, and else makes one; an m-line of a remote offer takes
/// what was added before.
pub(super) async fn added_tracks(world: World) {
    let (a, b) = world.peers().await;
    let waiting = a
        .add_transceiver(MediaKind::Audio, Direction::RecvOnly)
        .await
        .unwrap();
    a.add_transceiver(MediaKind::Video, Direction::RecvOnly)
        .await
        .unwrap();
    a.add_track(MediaKind::Audio).await.unwrap();
    assert_eq!(a.transceivers().await.unwrap().len(), 2);
    assert_eq!(waiting.state().await.unwrap().direction, Direction::SendRecv);
    a.add_track(MediaKind::Audio).await.unwrap();
    assert_eq!(
        a.transceivers().await.unwrap().len(),
        3,
        "the first one sends already"
    );
    let theirs = b.add_track(MediaKind::Audio).await.unwrap();
    exchange(&a, &b).await.unwrap();
    assert_eq!(b.transceivers().await.unwrap().len(), 3);
    assert_eq!(
        theirs.state().await.unwrap().mid,
        waiting.state().await.unwrap().mid
    );
    assert_eq!(
        waiting.state().await.unwrap().current_direction,
        Some(Direction::SendRecv)
    );
}

/// No codecs, and codecs of the other kind, are refused; the preferences are as they were.
pub(super) async fn refused_preferences(world: World) {
    let (a, _b) = world.peers().await;
    let video = a.add_track(MediaKind::Video).await.unwrap();
    let before = video.state().await.unwrap().codecs;
    for bad in [&[][..], &[Codec::Opus], &[Codec::Vp8, Codec::Opus]] {
        let result = video.set_codec_preferences(bad).await;
        expect_kind(result, ErrorKind::InvalidInput, format!("{bad:?}"));
    }
    assert_eq!(video.state().await.unwrap().codecs, before);
    assert_eq!(before, [Codec::H264, Codec::Vp8, Codec::Vp9], "the default");
    video
        .set_codec_preferences(&[Codec::Vp9, Codec::Vp8])
        .await
        .unwrap();
    assert_eq!(video.state().await.unwrap().codecs, [Codec::Vp9, Codec::Vp8]);
}

/// Whoever waits on a connection hears of its end: for a state, for candidates, for frames, for something to send.
pub(super) async fn waits_end_with_the_connection(world: World) {
    let (a, _b) = world.peers().await;
    let video = a.add_track(MediaKind::Video).await.unwrap();
    let (sender, receiver, peer) = (video.sender(), video.receiver(), a.pc.clone());
    let waits = tokio::spawn(async move {
        tokio::join!(
            peer.wait_for(ConnectionState::Connected),
            peer.gathered(),
            sender.ready(),
            sender.changed(None),
            receiver.recv(),
        )
    });
    tokio::task::yield_now().await;
    a.close().await;
    let (state, gathered, ready, (), frame) = deadline("every wait", waits).await.unwrap();
    expect_kind(state, ErrorKind::Transport, "wait_for");
    assert!(gathered.is_err() && ready.is_none() && frame.is_none());
    assert!(video.sender().is_ended());
    assert!(deadline("ready", video.sender().ready()).await.is_none());
}

/// The first subscription has what happened before it, later ones have what comes after them, and all of them end.
pub(super) async fn subscriptions(world: World) {
    let (a, b) = world.peers().await;
    let first = b.log.seen().len();
    assert_eq!(first, 0);
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    a.set_local_description(None).await.unwrap();
    a.gathered().await.unwrap();
    let mut late = a.events();
    b.set_remote_description(a.local_description().unwrap())
        .await
        .unwrap();
    b.set_local_description(None).await.unwrap();
    b.gathered().await.unwrap();
    a.set_remote_description(b.local_description().unwrap())
        .await
        .unwrap();
    connected(&a, &b).await;
    opened(&ours).await;
    a.close().await;
    let mut seen = Vec::new();
    while let Some(event) = deadline("the end of the events", late.next()).await {
        seen.push(event);
    }
    assert!(
        matches!(seen[0], PeerEvent::SignalingState(SignalingState::Stable)),
        "it begins with what came after it: {seen:?}"
    );
    assert!(
        !seen
            .iter()
            .any(|e| matches!(e, PeerEvent::GatheringState(_) | PeerEvent::NegotiationNeeded))
    );
    let mut after = a.events();
    assert!(deadline("nothing after the end", after.next()).await.is_none());
}

/// Closed in every state of signaling: at once `closed`, for good, and the other side can still roll back and go on.
pub(super) async fn closed_in_each_state(world: World) {
    for state in [
        SignalingState::Stable,
        SignalingState::HaveLocalOffer,
        SignalingState::HaveRemoteOffer,
    ] {
        let (a, mut b) = world.peers().await;
        let ours = b.create_data_channel(ChannelInit::new("t")).await.unwrap();
        a.create_data_channel(ChannelInit::new("gone")).await.unwrap();
        match state {
            SignalingState::HaveLocalOffer => {
                let offer = a.set_local_description(None).await.unwrap();
                b.set_remote_description(offer).await.unwrap();
            }
            SignalingState::HaveRemoteOffer => {
                let offer = b.set_local_description(None).await.unwrap();
                a.set_remote_description(offer).await.unwrap();
            }
            _ => {}
        }
        assert_eq!(a.signaling_state(), state);
        a.close().await;
        assert_eq!(a.signaling_state(), SignalingState::Closed);
        assert_eq!(a.connection_state(), ConnectionState::Closed);
        let rollback = SessionDescription::rollback();
        match b.signaling_state() {
            SignalingState::HaveLocalOffer => drop(b.set_local_description(rollback).await.unwrap()),
            SignalingState::HaveRemoteOffer => b.set_remote_description(rollback).await.unwrap(),
            _ => {}
        }
        let c = world.peer(Side::Offerer).await;
        let _negotiators = negotiators(&b, &c, IceMode::Trickle, Duration::ZERO);
        connected(&b, &c).await;
        opened(&ours).await;
        b.log.drain().await;
    }
}
