//! Offers that cross (W3C WebRTC §10.7).

use std::time::Duration;
use visavis_core::{ChannelInit, Direction, IceMode, MediaKind, SignalingState, Transceiver};
use visavis_tests::{
    CallSetup, World, connected, exchange, negotiators, pass_candidates, peers::opened, ping,
};

/// Longer than it takes to make an offer, so that the offers meet on their way.
const SIGNALING: Duration = Duration::from_millis(50);

/// Both sides call at once: the polite one gives way, and all that both wanted is negotiated.
pub(super) async fn at_the_start(world: World) {
    let (mut a, mut b) = world.peers().await;
    let of_a = a.create_data_channel(ChannelInit::new("of a")).await.unwrap();
    let of_b = b.create_data_channel(ChannelInit::new("of b")).await.unwrap();
    let _negotiators = negotiators(&a, &b, IceMode::Trickle, SIGNALING);
    connected(&a, &b).await;
    let at_b = b.log.channel().await;
    let at_a = a.log.channel().await;
    for channel in [&of_a, &of_b, &at_a, &at_b] {
        opened(channel).await;
    }
    assert_eq!((at_a.label(), at_b.label()), ("of b", "of a"));
    ping(&of_a, &at_b).await;
    ping(&of_b, &at_a).await;
    b.log.drain().await;
    let states = b.log.signaling();
    assert!(
        states.starts_with(&[SignalingState::HaveLocalOffer])
            && states.contains(&SignalingState::HaveRemoteOffer),
        "the offers did not cross: {states:?}"
    );
    for peer in [&a, &b] {
        assert_eq!(peer.signaling_state(), SignalingState::Stable);
        assert!(!peer.negotiation_needed());
    }
}

async fn mid(transceiver: &Transceiver) -> Option<String> {
    transceiver.state().await.unwrap().mid
}

/// Both sides add a track at once in a call.
pub(super) async fn in_a_call(world: World) {
    let mut call = world
        .call_with(CallSetup {
            signaling: SIGNALING,
            ..CallSetup::default()
        })
        .await;
    call.answerer.log.forget();
    let audio = call
        .offerer
        .add_transceiver(MediaKind::Audio, Direction::SendOnly)
        .await
        .unwrap();
    let video = call
        .answerer
        .add_transceiver(MediaKind::Video, Direction::SendOnly)
        .await
        .unwrap();
    let at_b = call.answerer.log.track().await;
    let at_a = call.offerer.log.track().await;
    assert_eq!((at_b.kind(), at_a.kind()), (MediaKind::Audio, MediaKind::Video));
    assert!(
        call.answerer
            .log
            .signaling()
            .contains(&SignalingState::HaveLocalOffer),
        "the offers did not cross"
    );
    // The polite side's own offer ends the dance.
    call.answerer.log.stable().await;
    assert_eq!(mid(&audio).await, mid(&at_b).await);
    assert_eq!(mid(&video).await, mid(&at_a).await);
    assert_ne!(mid(&audio).await, mid(&video).await);
    ping(&call.a, &call.b).await;
    call.close().await;
}

/// The same by hand: setting a remote offer takes our own back.
pub(super) async fn by_hand(world: World) {
    let (mut a, mut b) = world.peers().await;
    let of_a = a.create_data_channel(ChannelInit::new("of a")).await.unwrap();
    b.add_transceiver(MediaKind::Audio, Direction::SendRecv)
        .await
        .unwrap();
    let of_b = b.create_data_channel(ChannelInit::new("of b")).await.unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    let ignored = b.set_local_description(None).await.unwrap();
    // The polite side takes its offer back by setting the other's.
    b.set_remote_description(offer).await.unwrap();
    assert_eq!(b.signaling_state(), SignalingState::HaveRemoteOffer);
    let answer = b.set_local_description(None).await.unwrap();
    assert_ne!(answer.sdp, ignored.sdp);
    a.set_remote_description(answer).await.unwrap();
    pass_candidates(&a, &b).await;
    connected(&a, &b).await;
    let at_b = b.log.channel().await;
    let at_a = a.log.channel().await;
    for channel in [&of_a, &of_b, &at_a, &at_b] {
        opened(channel).await;
    }
    ping(&of_a, &at_b).await;
    ping(&of_b, &at_a).await;
    // What the polite side wanted goes into an offer of its own.
    assert!(b.negotiation_needed());
    exchange(&b, &a).await.unwrap();
    let track = a.log.track().await;
    assert_eq!(track.kind(), MediaKind::Audio);
    assert!(!b.negotiation_needed());
    ping(&of_a, &at_b).await;
}
