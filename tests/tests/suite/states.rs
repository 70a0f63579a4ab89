//! Calls in the wrong state: the same error, with the same text, on every stack.

use visavis_core::{
    Candidate, ChannelInit, Direction, ErrorKind, MediaKind, SdpType, SessionDescription, Side,
    SignalingState,
};
use visavis_tests::{Peer, World, connect_by_hand, connected, expect_kind};

/// Every call that a signaling state may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    CreateOffer,
    CreateAnswer,
    Local(SdpType),
    Remote(SdpType),
}

const ATTEMPTS: [Attempt; 8] = [
    Attempt::CreateOffer,
    Attempt::CreateAnswer,
    Attempt::Local(SdpType::Offer),
    Attempt::Local(SdpType::Answer),
    Attempt::Local(SdpType::Rollback),
    Attempt::Remote(SdpType::Offer),
    Attempt::Remote(SdpType::Answer),
    Attempt::Remote(SdpType::Rollback),
];

/// Tries it, and gives the words of the refusal.
async fn refused(peer: &Peer, attempt: Attempt, state: SignalingState) -> String {
    let what = format!("{attempt:?} in {state}");
    let description = |kind| SessionDescription {
        kind,
        sdp: String::new(),
    };
    let text = match attempt {
        Attempt::CreateOffer => expect_kind(peer.create_offer().await, ErrorKind::InvalidState, what),
        Attempt::CreateAnswer => expect_kind(peer.create_answer().await, ErrorKind::InvalidState, what),
        Attempt::Local(kind) => {
            let result = peer.set_local_description(description(kind)).await;
            expect_kind(result, ErrorKind::InvalidState, what)
        }
        Attempt::Remote(kind) => {
            let result = peer.set_remote_description(description(kind)).await;
            expect_kind(result, ErrorKind::InvalidState, what)
        }
    };
    assert_eq!(peer.signaling_state(), state, "the state is as it was");
    format!("{state}: {text}")
}

/// What each state refuses: all but these.
fn allowed(state: SignalingState) -> &'static [Attempt] {
    match state {
        SignalingState::Stable => &[
            Attempt::CreateOffer,
            Attempt::Local(SdpType::Offer),
            Attempt::Remote(SdpType::Offer),
        ],
        SignalingState::HaveLocalOffer => &[
            Attempt::Local(SdpType::Rollback),
            Attempt::Remote(SdpType::Offer),
            Attempt::Remote(SdpType::Answer),
        ],
        SignalingState::HaveRemoteOffer => &[
            Attempt::CreateAnswer,
            Attempt::Local(SdpType::Answer),
            Attempt::Remote(SdpType::Rollback),
        ],
        SignalingState::Closed => &[],
    }
}

async fn refusals(peer: &Peer, texts: &mut Vec<String>) {
    let state = peer.signaling_state();
    for attempt in ATTEMPTS {
        if !allowed(state).contains(&attempt) {
            texts.push(refused(peer, attempt, state).await);
        }
    }
}

/// Takes a peer of `side` through every state, and collects what each refuses.
async fn tour(world: &World, side: Side) -> Vec<String> {
    let (us, them) = (world.peer(side).await, world.peer(side).await);
    let mut texts = Vec::new();
    for peer in [&us, &them] {
        peer.create_data_channel(ChannelInit::new("t")).await.unwrap();
    }
    refusals(&us, &mut texts).await;
    us.set_local_description(None).await.unwrap();
    refusals(&us, &mut texts).await;
    us.set_local_description(SessionDescription::rollback())
        .await
        .unwrap();
    let offer = them.create_offer().await.unwrap();
    us.set_remote_description(offer).await.unwrap();
    refusals(&us, &mut texts).await;
    us.create_answer().await.unwrap();
    refusals(&us, &mut texts).await;
    us.set_local_description(None).await.unwrap();
    refusals(&us, &mut texts).await;
    us.close().await;
    refusals(&us, &mut texts).await;
    texts
}

/// Every call that a state of signaling refuses, in every state, with the same words on every stack; none changes
/// anything.
pub(super) async fn wrong_state(world: World) {
    let offerer = tour(&world, Side::Offerer).await;
    let answerer = tour(&world, Side::Answerer).await;
    assert_eq!(offerer, answerer, "the same words on {}", world.stacks);
    assert_eq!(offerer.len(), 5 + 5 + 5 + 5 + 5 + 8);
    // None of these have disturbed anything: the same peers would connect.
    let (a, b) = world.peers().await;
    a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let mut ignored = Vec::new();
    refusals(&a, &mut ignored).await;
    refusals(&b, &mut ignored).await;
    connect_by_hand(&a, &b).await;
    refusals(&a, &mut ignored).await;
    refusals(&b, &mut ignored).await;
    connected(&a, &b).await;
}

/// Provisional answers are refused, as the capabilities say.
pub(super) async fn provisional_answers(world: World) {
    let (a, b) = world.peers().await;
    a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    b.set_remote_description(offer).await.unwrap();
    let mut answer = b.create_answer().await.unwrap();
    answer.kind = SdpType::Pranswer;
    assert!(!world.backend(Side::Offerer).capabilities().pranswer);
    expect_kind(
        b.set_local_description(answer.clone()).await,
        ErrorKind::NotSupported,
        "a local pranswer",
    );
    expect_kind(
        a.set_remote_description(answer).await,
        ErrorKind::NotSupported,
        "a remote pranswer",
    );
    assert_eq!(a.signaling_state(), SignalingState::HaveLocalOffer);
    assert_eq!(b.signaling_state(), SignalingState::HaveRemoteOffer);
}

/// Every call on a closed connection is refused, with the same words on every stack; closing twice is no error.
pub(super) async fn closed_peer(world: World) {
    let mut all = Vec::new();
    for side in [Side::Offerer, Side::Answerer] {
        let peer = world.peer(side).await;
        let audio = peer
            .add_transceiver(MediaKind::Audio, Direction::SendRecv)
            .await
            .unwrap();
        peer.close().await;
        peer.close().await;
        let kind = ErrorKind::InvalidState;
        let texts = vec![
            expect_kind(
                peer.create_data_channel(ChannelInit::new("t")).await,
                kind,
                "create_data_channel",
            ),
            expect_kind(
                peer.add_transceiver(MediaKind::Audio, Direction::SendRecv).await,
                kind,
                "add_transceiver",
            ),
            expect_kind(
                peer.add_ice_candidate(Candidate::end(None)).await,
                kind,
                "add_ice_candidate",
            ),
            expect_kind(peer.restart_ice().await, kind, "restart_ice"),
            expect_kind(peer.stats().await, kind, "stats"),
            expect_kind(peer.gathered().await, kind, "gathered"),
            expect_kind(audio.state().await, kind, "state"),
            expect_kind(
                audio.set_direction(Direction::Inactive).await,
                kind,
                "set_direction",
            ),
            expect_kind(audio.stop().await, kind, "stop"),
        ];
        all.push(texts);
    }
    assert_eq!(all[0], all[1], "the same words on {}", world.stacks);
}
