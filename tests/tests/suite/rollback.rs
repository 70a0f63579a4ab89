//! Taking an offer back (RFC 9429 §4.1.10.2).

use visavis_core::{
    ChannelInit, ConnectionState, Direction, ErrorKind, MediaKind, SessionDescription, SignalingState,
};
use visavis_tests::{
    World, connect_by_hand, connect_with, connected, exchange, expect_kind, peers::opened, ping,
};

/// An offer of ours is taken back before the call, and another one connects.
pub(super) async fn local_by_hand(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let audio = a
        .add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    for _ in 0..3 {
        a.set_local_description(None).await.unwrap();
        assert!(audio.state().await.unwrap().mid.is_some());
        let rolled_back = a
            .set_local_description(SessionDescription::rollback())
            .await
            .unwrap();
        assert_eq!(rolled_back, SessionDescription::rollback());
        assert_eq!(a.signaling_state(), SignalingState::Stable);
        assert_eq!(a.local_description(), None);
        assert_eq!(audio.state().await.unwrap().mid, None);
        assert!(a.negotiation_needed());
    }
    expect_kind(
        a.set_local_description(SessionDescription::rollback()).await,
        ErrorKind::InvalidState,
        "nothing to take back",
    );
    // The next offer is another one.
    a.add_transceiver(MediaKind::Video, Direction::SendOnly)
        .await
        .unwrap();
    let theirs = connect_with(&a, &mut b, &ours).await;
    ping(&ours, &theirs).await;
    assert!(audio.state().await.unwrap().mid.is_some());
}

/// Offers of ours are taken back in a call, which goes on as it was.
pub(super) async fn local_in_a_call(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let theirs = connect_with(&a, &mut b, &ours).await;
    let before = a.local_description();
    for peer in [&a, &b] {
        peer.add_transceiver(MediaKind::Audio, Direction::SendRecv)
            .await
            .unwrap();
        let before = peer.local_description();
        peer.set_local_description(None).await.unwrap();
        ping(&ours, &theirs).await;
        peer.set_local_description(SessionDescription::rollback())
            .await
            .unwrap();
        assert_eq!(peer.local_description(), before);
        ping(&ours, &theirs).await;
    }
    assert_eq!(a.local_description(), before);
    // An offer that was only created is forgotten when another comes.
    a.create_offer().await.unwrap();
    exchange(&b, &a).await.unwrap();
    ping(&ours, &theirs).await;
    exchange(&a, &b).await.unwrap();
    ping(&ours, &theirs).await;
    for peer in [&a, &b] {
        assert_eq!(peer.connection_state(), ConnectionState::Connected);
        assert!(!peer.negotiation_needed());
    }
}

/// A remote offer is taken back before it is answered, and comes again.
pub(super) async fn remote_before_the_answer(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    a.add_transceiver(MediaKind::Video, Direction::SendRecv)
        .await
        .unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    for _ in 0..3 {
        b.set_remote_description(offer.clone()).await.unwrap();
        assert_eq!(b.signaling_state(), SignalingState::HaveRemoteOffer);
        b.set_remote_description(SessionDescription::rollback())
            .await
            .unwrap();
        assert_eq!(b.signaling_state(), SignalingState::Stable);
        assert_eq!(b.remote_description(), None);
    }
    expect_kind(
        b.set_remote_description(SessionDescription::rollback()).await,
        ErrorKind::InvalidState,
        "nothing to take back",
    );
    a.set_local_description(SessionDescription::rollback())
        .await
        .unwrap();
    let theirs = connect_with(&a, &mut b, &ours).await;
    ping(&ours, &theirs).await;
}

/// After `create_answer` a remote offer cannot be taken back, as the capabilities say, and can still be answered.
pub(super) async fn remote_after_the_answer(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    a.set_local_description(None).await.unwrap();
    a.gathered().await.unwrap();
    b.set_remote_description(a.local_description().unwrap())
        .await
        .unwrap();
    let answer = b.create_answer().await.unwrap();
    assert!(
        !b.backend_rolls_back(&world),
        "update this case: a stack rolls back after the answer"
    );
    let text = expect_kind(
        b.set_remote_description(SessionDescription::rollback()).await,
        ErrorKind::NotSupported,
        "rollback after create_answer",
    );
    assert!(text.contains("create_answer"), "{text}");
    assert_eq!(b.signaling_state(), SignalingState::HaveRemoteOffer);
    assert_eq!(b.create_answer().await.unwrap(), answer, "the same answer again");
    b.set_local_description(answer).await.unwrap();
    b.gathered().await.unwrap();
    a.set_remote_description(b.local_description().unwrap())
        .await
        .unwrap();
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
    ping(&ours, &theirs).await;
}

trait RollsBack {
    fn backend_rolls_back(&self, world: &World) -> bool;
}

impl RollsBack for visavis_tests::Peer {
    fn backend_rolls_back(&self, world: &World) -> bool {
        let backend = world.backend(visavis_core::Side::Answerer);
        backend.capabilities().rollback_after_answer
    }
}

/// A remote offer is taken back in a call, which goes on as it was.
pub(super) async fn remote_in_a_call(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let theirs = connect_with(&a, &mut b, &ours).await;
    a.add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    let before = b.remote_description();
    b.set_remote_description(offer.clone()).await.unwrap();
    b.set_remote_description(SessionDescription::rollback())
        .await
        .unwrap();
    assert_eq!(b.remote_description(), before);
    ping(&ours, &theirs).await;
    // The same offer can still be answered.
    b.set_remote_description(offer).await.unwrap();
    let answer = b.set_local_description(None).await.unwrap();
    a.set_remote_description(answer).await.unwrap();
    ping(&ours, &theirs).await;
    assert_eq!(b.log.track().await.kind(), MediaKind::Audio);
}

/// An ICE restart is taken back: the old credentials are in force, and the restart is still wanted.
pub(super) async fn of_an_ice_restart(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let theirs = connect_with(&a, &mut b, &ours).await;
    let ufrag = |sdp: &str| {
        let line = sdp.lines().find(|l| l.starts_with("a=ice-ufrag:"));
        line.expect("an ufrag").to_owned()
    };
    let before = ufrag(&a.local_description().unwrap().sdp);
    a.restart_ice().await.unwrap();
    let restart = a.set_local_description(None).await.unwrap();
    assert_ne!(ufrag(&restart.sdp), before, "an ICE restart has new credentials");
    ping(&ours, &theirs).await;
    a.set_local_description(SessionDescription::rollback())
        .await
        .unwrap();
    assert_eq!(ufrag(&a.local_description().unwrap().sdp), before);
    ping(&ours, &theirs).await;
    assert!(a.negotiation_needed(), "the restart is still wanted");
    connect_by_hand(&a, &b).await;
    connected(&a, &b).await;
    ping(&ours, &theirs).await;
    assert_ne!(ufrag(&a.local_description().unwrap().sdp), before);
}

/// Only what was created last, unchanged, can be set as the local description.
pub(super) async fn changed_description(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let offer = a.create_offer().await.unwrap();
    let changed = |d: &SessionDescription| SessionDescription {
        kind: d.kind,
        sdp: d.sdp.replace("a=mid:", "a=x-mine:1\r\na=mid:"),
    };
    let text = expect_kind(
        a.set_local_description(changed(&offer)).await,
        ErrorKind::InvalidModification,
        "a changed offer",
    );
    assert!(text.contains("unchanged"), "{text}");
    assert_eq!(a.signaling_state(), SignalingState::Stable);
    a.set_local_description(offer).await.unwrap();
    a.gathered().await.unwrap();
    b.set_remote_description(a.local_description().unwrap())
        .await
        .unwrap();
    let answer = b.create_answer().await.unwrap();
    expect_kind(
        b.set_local_description(changed(&answer)).await,
        ErrorKind::InvalidModification,
        "a changed answer",
    );
    assert_eq!(b.signaling_state(), SignalingState::HaveRemoteOffer);
    b.set_local_description(answer).await.unwrap();
    b.gathered().await.unwrap();
    a.set_remote_description(b.local_description().unwrap())
        .await
        .unwrap();
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
    ping(&ours, &theirs).await;
    // An offer from before another was created, or before transceivers were added.
    let old = a.create_offer().await.unwrap();
    a.add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    expect_kind(
        a.set_local_description(old).await,
        ErrorKind::InvalidModification,
        "an offer that is out of date",
    );
    exchange(&a, &b).await.unwrap();
    ping(&ours, &theirs).await;
}
