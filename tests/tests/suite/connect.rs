//! Connecting: the ways candidates travel, and the order of states.

use std::{net::IpAddr, time::Duration};
use tokio::sync::mpsc;
use visavis_core::{
    CandidateTransport, ChannelInit, ConnectionState, DataChannel, DtlsState, ErrorKind, GatheringState,
    IceMode, IceState, Mark, PeerConfig, PeerEvent, SdpType, SessionDescription, Side, SignalingState,
};
use visavis_tests::{
    CallSetup, Peer, World, connect_by_hand, connected, deadline, exchange, expect_kind, peers::opened, ping,
};

/// Descriptions and candidates travel as they come; ICE, DTLS, SCTP and the channel come up in this order.
pub(super) async fn trickle(world: World) {
    let call = world.call().await;
    ping(&call.a, &call.b).await;
    for peer in [&call.offerer, &call.answerer] {
        assert_eq!(peer.signaling_state(), SignalingState::Stable);
        for mark in [
            Mark::PeerCreated,
            Mark::LocalDescriptionSet,
            Mark::RemoteDescriptionSet,
            Mark::FirstCandidate,
            Mark::IceConnected,
            Mark::DtlsConnected,
            Mark::SctpUp,
            Mark::ChannelOpen,
        ] {
            assert!(peer.timeline().get(mark).is_some(), "{mark:?} is not marked");
        }
        let steps = [
            Mark::IceConnected,
            Mark::DtlsConnected,
            Mark::SctpUp,
            Mark::ChannelOpen,
        ];
        assert!(
            steps.map(|m| peer.timeline().get(m)).is_sorted(),
            "ICE, DTLS, SCTP and the channel come up in this order"
        );
    }
    call.close().await;
}

/// The same by hand: neither description has candidates, which are added afterwards.
pub(super) async fn trickle_by_hand(world: World) {
    let (mut a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let offer = a.create_offer().await.unwrap();
    assert!(
        !offer.sdp.contains("a=candidate"),
        "a trickled offer has no candidates"
    );
    assert_eq!(a.set_local_description(offer.clone()).await.unwrap(), offer);
    b.set_remote_description(offer).await.unwrap();
    let answer = b.create_answer().await.unwrap();
    assert!(
        !answer.sdp.contains("a=candidate"),
        "a trickled answer has no candidates"
    );
    assert_eq!(b.set_local_description(answer.clone()).await.unwrap(), answer);
    a.set_remote_description(answer).await.unwrap();
    for candidate in a.log.candidates().await {
        b.add_ice_candidate(candidate).await.unwrap();
    }
    for candidate in b.log.candidates().await {
        a.add_ice_candidate(candidate).await.unwrap();
    }
    connected(&a, &b).await;
    let theirs = b.log.channel().await;
    opened(&ours).await;
    ping(&ours, &theirs).await;
}

/// Descriptions travel when all candidates are in them.
pub(super) async fn full_sdp(world: World) {
    let call = world
        .call_with(CallSetup {
            ice: IceMode::Full,
            ..CallSetup::default()
        })
        .await;
    ping(&call.a, &call.b).await;
    call.close().await;
}

/// The same by hand: candidates and their end are in the local descriptions.
pub(super) async fn full_sdp_by_hand(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    connect_by_hand(&a, &b).await;
    for peer in [&a, &b] {
        let sdp = peer.local_description().unwrap().sdp;
        assert!(sdp.contains("\r\na=candidate:"), "{sdp}");
        assert!(sdp.contains("\r\na=end-of-candidates\r\n"), "{sdp}");
    }
    connected(&a, &b).await;
    let theirs = b.log.channel().await;
    opened(&ours).await;
    ping(&ours, &theirs).await;
}

/// Somebody copies the answer into another window, and takes five minutes for it.
pub(super) async fn an_answer_carried_by_hand(world: World) {
    let config = |side| PeerConfig {
        connect_timeout: Duration::from_secs(600),
        ..world.config(side)
    };
    let a = world.peer_with(Side::Offerer, config(Side::Offerer)).await;
    let mut b = world.peer_with(Side::Answerer, config(Side::Answerer)).await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    a.set_local_description(None).await.unwrap();
    deadline("gathering", a.gathered()).await.unwrap();
    b.set_remote_description(a.local_description().unwrap())
        .await
        .unwrap();
    b.set_local_description(None).await.unwrap();
    deadline("gathering", b.gathered()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    a.set_remote_description(b.local_description().unwrap())
        .await
        .unwrap();
    connected(&a, &b).await;
    let theirs = b.log.channel().await;
    opened(&ours).await;
    ping(&ours, &theirs).await;
}

/// Candidates that overtake their description are kept for it.
pub(super) async fn candidates_before_the_description(world: World) {
    let (mut a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let offer = a.set_local_description(None).await.unwrap();
    for candidate in a.log.candidates().await {
        b.add_ice_candidate(candidate).await.unwrap();
    }
    b.set_remote_description(offer).await.unwrap();
    let answer = b.set_local_description(None).await.unwrap();
    for candidate in b.log.candidates().await {
        a.add_ice_candidate(candidate).await.unwrap();
    }
    a.set_remote_description(answer).await.unwrap();
    connected(&a, &b).await;
    let theirs = b.log.channel().await;
    opened(&ours).await;
    ping(&ours, &theirs).await;
}

/// Each side tells its candidates, each with mid, m-line and ufrag, and then their end, between the states of
/// gathering.
pub(super) async fn end_of_candidates(world: World) {
    let (mut a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    exchange(&a, &b).await.unwrap();
    let mut ends = Vec::new();
    for peer in [&mut a, &mut b] {
        let candidates = peer.log.candidates().await;
        let (end, found) = candidates.split_last().unwrap();
        assert!(end.is_end());
        assert_eq!(found.len(), 1, "one address, one candidate: {found:?}");
        let sdp = peer.local_description().unwrap().sdp;
        for candidate in &candidates {
            let ufrag = candidate.username_fragment.as_ref().unwrap();
            assert!(sdp.contains(&format!("a=ice-ufrag:{ufrag}\r\n")), "{candidate:?}");
        }
        let parsed = found[0].parse().unwrap();
        assert_eq!(parsed.transport, CandidateTransport::Udp);
        assert_eq!(found[0].sdp_m_line_index, Some(0));
        assert!(found[0].sdp_mid.is_some());
        ends.push(candidates);
    }
    let of_b = ends.pop().unwrap();
    for candidate in of_b {
        a.add_ice_candidate(candidate).await.unwrap();
    }
    for candidate in ends.pop().unwrap() {
        b.add_ice_candidate(candidate).await.unwrap();
    }
    connected(&a, &b).await;
    opened(&ours).await;
    // Between the candidates of a generation and its end: nothing else of gathering.
    for peer in [&mut a, &mut b] {
        peer.log.drain().await;
        assert_eq!(
            peer.log.gathering(),
            [GatheringState::Gathering, GatheringState::Complete]
        );
        let order: String = peer
            .log
            .pick(|e| match e {
                PeerEvent::GatheringState(GatheringState::Gathering) => Some('g'),
                PeerEvent::GatheringState(_) => Some('c'),
                PeerEvent::Candidate(c) if c.is_end() => Some('e'),
                PeerEvent::Candidate(_) => Some('.'),
                _ => None,
            })
            .into_iter()
            .collect();
        assert_eq!(order, "g.ec");
    }
}

/// Signaling, gathering, ICE, DTLS and connection go through their states in the order of W3C, and closing fires
/// nothing.
pub(super) async fn state_order(world: World) {
    let mut call = world.call().await;
    ping(&call.a, &call.b).await;
    for side in [Side::Offerer, Side::Answerer] {
        let pending = match side {
            Side::Offerer => SignalingState::HaveLocalOffer,
            Side::Answerer => SignalingState::HaveRemoteOffer,
        };
        let log = &mut call.side(side).0.log;
        log.drain().await;
        assert_eq!(log.signaling(), [pending, SignalingState::Stable], "{side}");
        assert_eq!(
            log.gathering(),
            [GatheringState::Gathering, GatheringState::Complete],
            "{side}"
        );
        let ice = log.ice();
        assert!(
            ice.starts_with(&[IceState::Checking, IceState::Connected]),
            "{side}: {ice:?}"
        );
        assert!(matches!(ice[2..], [] | [IceState::Completed]), "{side}: {ice:?}");
        assert_eq!(
            log.dtls(),
            [DtlsState::Connecting, DtlsState::Connected],
            "{side}"
        );
        assert_eq!(
            log.connections(),
            [ConnectionState::Connecting, ConnectionState::Connected],
            "{side}"
        );
        let position = |what: &str, f: fn(&PeerEvent) -> bool| {
            let found = log.seen().iter().position(f);
            found.unwrap_or_else(|| panic!("{side}: no {what}"))
        };
        let order = [
            position("pending exchange", |e| matches!(e, PeerEvent::SignalingState(_))),
            position("gathering", |e| matches!(e, PeerEvent::GatheringState(_))),
            position("candidate", |e| matches!(e, PeerEvent::Candidate(_))),
        ];
        assert!(order.is_sorted(), "{side}: {:?}", log.seen());
        let order = [
            position("checking", |e| {
                matches!(e, PeerEvent::IceState(IceState::Checking))
            }),
            position("connecting", |e| {
                matches!(e, PeerEvent::ConnectionState(ConnectionState::Connecting))
            }),
            position("ICE connected", |e| {
                matches!(e, PeerEvent::IceState(IceState::Connected))
            }),
            position("DTLS connecting", |e| {
                matches!(e, PeerEvent::DtlsState(DtlsState::Connecting))
            }),
            position("DTLS connected", |e| {
                matches!(e, PeerEvent::DtlsState(DtlsState::Connected))
            }),
            position("connected", |e| {
                matches!(e, PeerEvent::ConnectionState(ConnectionState::Connected))
            }),
        ];
        assert!(order.is_sorted(), "{side}: {:?}", log.seen());
    }
    let asked = |log: &visavis_tests::Log| {
        log.pick(|e| matches!(e, PeerEvent::NegotiationNeeded).then_some(()))
            .len()
    };
    assert_eq!(asked(&call.offerer.log), 1);
    assert_eq!(asked(&call.answerer.log), 0);
    call.offerer.close().await;
    call.offerer.log.forget();
    call.offerer.log.end().await;
    let late = call.offerer.log.seen();
    assert!(late.is_empty(), "close fires nothing (W3C §4.4.2): {late:?}");
    assert_eq!(call.offerer.signaling_state(), SignalingState::Closed);
    assert_eq!(call.offerer.ice_state(), IceState::Closed);
    assert_eq!(call.offerer.connection_state(), ConnectionState::Closed);
    call.offerer.close().await;
}

/// Local and remote descriptions are there as soon as they are set, with the candidates found by then.
pub(super) async fn descriptions(world: World) {
    let (a, b) = world.peers().await;
    a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    assert_eq!(a.local_description(), None);
    let offer = a.set_local_description(None).await.unwrap();
    assert_eq!(a.local_description().unwrap().kind, SdpType::Offer);
    assert_eq!(a.remote_description(), None);
    b.set_remote_description(offer.clone()).await.unwrap();
    assert_eq!(b.remote_description(), Some(offer));
    assert_eq!(b.local_description(), None);
    let answer = b.set_local_description(None).await.unwrap();
    assert_eq!(b.local_description().unwrap().kind, SdpType::Answer);
    a.set_remote_description(answer.clone()).await.unwrap();
    assert_eq!(a.remote_description(), Some(answer));
    deadline("gathering", a.gathered()).await.unwrap();
    let gathered = a.local_description().unwrap();
    assert!(gathered.sdp.contains("a=end-of-candidates"));
    assert_eq!(a.gathering_state(), GatheringState::Complete);
}

/// Without a channel or a transceiver there is nothing to offer, and that is said.
pub(super) async fn nothing_to_offer(world: World) {
    let (a, _b) = world.peers().await;
    expect_kind(a.create_offer().await, ErrorKind::InvalidState, "create_offer");
    expect_kind(
        a.set_local_description(None).await,
        ErrorKind::InvalidState,
        "set_local_description",
    );
    assert!(!a.negotiation_needed());
    assert_eq!(a.signaling_state(), SignalingState::Stable);
    a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    assert!(a.negotiation_needed());
    a.create_offer().await.unwrap();
}

/// How a STUN Binding request and its success response begin (RFC 8489 §5), and their transaction.
const REQUEST: [u8; 2] = [0x00, 0x01];
const SUCCESS: [u8; 2] = [0x01, 0x01];

/// A check or its answer on the network.
#[derive(Debug)]
struct Check {
    from: IpAddr,
    kind: [u8; 2],
    transaction: [u8; 12],
}

/// All checks and answers from now on, in the order of sending.
fn checks(world: &World) -> mpsc::UnboundedReceiver<Check> {
    let (seen, checks) = mpsc::unbounded_channel();
    world.memory().set_filter(move |datagram| {
        if let Some((&kind, rest)) = datagram.contents.split_first_chunk()
            && [REQUEST, SUCCESS].contains(&kind)
            && let Some(transaction) = rest.get(6..18)
        {
            let transaction = transaction.try_into().expect("12 bytes");
            let from = datagram.from.ip();
            // The case may have seen enough.
            let _ = seen.send(Check {
                from,
                kind,
                transaction,
            });
        }
        false
    });
    checks
}

async fn next_check(
    checks: &mut mpsc::UnboundedReceiver<Check>,
    what: &str,
    wanted: impl Fn(&Check) -> bool,
) -> Check {
    deadline(what, async {
        loop {
            let check = checks.recv().await.expect("the network");
            if wanted(&check) {
                return check;
            }
        }
    })
    .await
}

/// Both have each other's candidates, but the offerer has no answer yet.
async fn half_way(world: &World) -> (Peer, Peer, DataChannel, SessionDescription) {
    let (a, b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    a.set_local_description(None).await.unwrap();
    deadline("gathering", a.gathered()).await.unwrap();
    b.set_remote_description(a.local_description().unwrap())
        .await
        .unwrap();
    b.set_local_description(None).await.unwrap();
    deadline("gathering", b.gathered()).await.unwrap();
    let answer = b.local_description().unwrap();
    (a, b, ours, answer)
}

/// The answerer's checks are there before its answer is. The newest are answered as soon as that comes: some peers
/// repeat one only after half a second.
pub(super) async fn checks_before_the_answer(world: World) {
    let mut checks = checks(&world);
    let (a, mut b, ours, answer) = half_way(&world).await;
    let answerer = world.bind(Side::Answerer)[0].ip();
    let mut early = Vec::new();
    for _ in 0..3 {
        let check = next_check(&mut checks, "the answerer's check", |check| {
            check.from == answerer && check.kind == REQUEST
        });
        early.push(check.await.transaction);
    }
    // The last is still on its way.
    let arrived = early[1];
    a.set_remote_description(answer).await.unwrap();
    next_check(&mut checks, "an answer to the check that came early", |check| {
        check.from != answerer && check.kind == SUCCESS && check.transaction == arrived
    })
    .await;
    connected(&a, &b).await;
    let theirs = b.log.channel().await;
    opened(&ours).await;
    ping(&ours, &theirs).await;
}

/// The answerer leaves the first check to the offerer, whose check proves that it has the answer.
pub(super) async fn the_first_check_is_the_offerers(world: World) {
    let mut checks = checks(&world);
    let (a, mut b, ours, answer) = half_way(&world).await;
    // The answer is on its way for a moment.
    tokio::time::sleep(Duration::from_millis(60)).await;
    a.set_remote_description(answer).await.unwrap();
    let first = next_check(&mut checks, "a check", |_| true).await;
    assert_eq!(
        (first.from, first.kind),
        (world.bind(Side::Offerer)[0].ip(), REQUEST)
    );
    connected(&a, &b).await;
    let theirs = b.log.channel().await;
    opened(&ours).await;
    ping(&ours, &theirs).await;
}
