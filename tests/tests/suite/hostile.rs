//! Descriptions and candidates that nobody should have sent.

use std::{collections::BTreeSet, fmt::Write, net::IpAddr, time::Duration};
use visavis_core::{
    Candidate, ChannelInit, ChannelState, ConnectionState, DtlsState, Error, ErrorKind, PeerConfig, Sdp,
    SessionDescription, Side, SignalingState,
};
use visavis_tests::{
    Peer, World, connect_with, connected, deadline, exchange, expect_kind,
    mutate::{self, Random},
    peers::{opened, words},
    ping,
};

/// What is wrong with a description, and how it becomes so.
type Spoil = (&'static str, fn(&str) -> String);

const BAD: &[Spoil] = &[
    ("empty", |_| String::new()),
    ("not SDP", |_| "<html>".to_owned()),
    ("a NUL", |_| "\0".to_owned()),
    ("only a version", |_| "v=0\r\n".to_owned()),
    ("no m-lines", |s| s[..s.find("m=").unwrap_or(0)].to_owned()),
    ("cut in the middle of a line", |s| {
        s[..s.find("m=").unwrap_or(0) + 7].to_owned()
    }),
    ("no fingerprint", |s| without(s, "a=fingerprint:")),
    ("a fingerprint that is no fingerprint", |s| {
        s.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 ZZ")
    }),
    ("an unknown hash", |s| s.replace("sha-256", "crc-32")),
    ("no ufrag", |s| without(s, "a=ice-ufrag:")),
    ("no password", |s| without(s, "a=ice-pwd:")),
    ("a ufrag that is too short", |s| {
        s.replace("a=ice-ufrag:", "a=ice-ufrag:x\r\na=x-was:")
    }),
    ("a password with a space", |s| {
        s.replace("a=ice-pwd:", "a=ice-pwd: ")
    }),
    ("no mid", |s| without(s, "a=mid:")),
    ("an empty mid", |s| s.replace("a=mid:", "a=mid:\r\na=x-was:")),
    ("an m-line of another world", |s| {
        s.replace("m=application", "m=image")
    }),
    ("a protocol of another world", |s| {
        s.replace("UDP/DTLS/SCTP", "UDP/BFCP")
    }),
    ("the same m-line twice", |s| {
        let at = s.find("m=").unwrap_or(0);
        format!("{s}{}", &s[at..])
    }),
    ("a DTLS role that does not exist", |s| {
        replace_value(s, "a=setup:", "leader")
    }),
    ("a port out of range", |s| {
        s.replace("m=application 9 ", "m=application 99999 ")
    }),
    ("too long", |s| {
        let mut long = s.to_owned();
        while long.len() <= 256 * 1024 {
            long += "a=x-padding:0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
        }
        long
    }),
    ("too many m-lines", |s| {
        let mut long = s.to_owned();
        for i in 0..200 {
            let _ = write!(
                long,
                "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:x{i}\r\n"
            );
        }
        long
    }),
];

fn without(sdp: &str, start: &str) -> String {
    let lines = sdp.lines().filter(|l| !l.starts_with(start));
    lines.flat_map(|l| [l, "\r\n"]).collect()
}

fn replace_value(sdp: &str, start: &str, value: &str) -> String {
    let mut out = String::new();
    for line in sdp.lines() {
        match line.strip_prefix(start) {
            Some(_) => out.extend([
                start, value, "
",
            ]),
            None => out.extend([
                line, "
",
            ]),
        }
    }
    out
}

/// That the remote side's writing is at fault is said, with words.
fn is_bad(result: Result<(), Error>, what: &str) {
    match result {
        Ok(()) => panic!("{what}: accepted"),
        Err(error) => {
            let kind = error.kind();
            assert!(
                matches!(kind, ErrorKind::InvalidInput | ErrorKind::LimitExceeded),
                "{what}: {kind:?}: {error}"
            );
            words(&error);
        }
    }
}

/// Offers that cannot be used are refused with what is wrong with them, and a good one still connects.
pub(super) async fn bad_offers(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    a.set_local_description(None).await.unwrap();
    deadline("gathering", a.gathered()).await.unwrap();
    let offer = a.local_description().unwrap();
    for (what, spoil) in BAD {
        let bad = spoil(&offer.sdp);
        assert_ne!(bad, offer.sdp, "{what}");
        is_bad(
            b.set_remote_description(SessionDescription::offer(bad)).await,
            what,
        );
        assert_eq!(b.signaling_state(), SignalingState::Stable, "{what}");
        assert_eq!(b.remote_description(), None, "{what}");
    }
    b.set_remote_description(offer).await.unwrap();
    b.set_local_description(None).await.unwrap();
    deadline("gathering", b.gathered()).await.unwrap();
    a.set_remote_description(b.local_description().unwrap())
        .await
        .unwrap();
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
    ping(&ours, &theirs).await;
    // And in the call: the offer of a session whose m-lines moved.
    let again = a.create_offer().await.unwrap().sdp;
    for (what, spoil) in BAD {
        is_bad(
            b.set_remote_description(SessionDescription::offer(spoil(&again)))
                .await,
            what,
        );
    }
    let moved = replace_value(&again, "a=mid:", "moved").replace("a=group:BUNDLE", "a=x-group:BUNDLE");
    is_bad(
        b.set_remote_description(SessionDescription::offer(moved)).await,
        "an m-line with another mid",
    );
    ping(&ours, &theirs).await;
    exchange(&a, &b).await.unwrap();
    ping(&ours, &theirs).await;
}

/// So are answers.
pub(super) async fn bad_answers(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    a.set_local_description(None).await.unwrap();
    deadline("gathering", a.gathered()).await.unwrap();
    b.set_remote_description(a.local_description().unwrap())
        .await
        .unwrap();
    b.set_local_description(None).await.unwrap();
    deadline("gathering", b.gathered()).await.unwrap();
    let answer = b.local_description().unwrap();
    let also: &[Spoil] = &[
        ("an undecided DTLS role", |s| {
            replace_value(s, "a=setup:", "actpass")
        }),
        ("another mid", |s| {
            replace_value(&without(s, "a=group:"), "a=mid:", "elsewhere")
        }),
        ("another kind", |s| {
            s.replace(
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
                "m=audio 9 UDP/TLS/RTP/SAVPF 0",
            )
        }),
    ];
    for (what, spoil) in BAD.iter().chain(also) {
        let bad = spoil(&answer.sdp);
        assert_ne!(bad, answer.sdp, "{what}");
        is_bad(
            a.set_remote_description(SessionDescription::answer(bad)).await,
            what,
        );
        assert_eq!(a.signaling_state(), SignalingState::HaveLocalOffer, "{what}");
        assert_eq!(a.remote_description(), None, "{what}");
    }
    a.set_remote_description(answer).await.unwrap();
    connected(&a, &b).await;
    opened(&ours).await;
    let theirs = b.log.channel().await;
    ping(&ours, &theirs).await;
}

fn candidate(line: &str) -> Candidate {
    Candidate {
        candidate: line.to_owned(),
        sdp_m_line_index: Some(0),
        ..Candidate::default()
    }
}

/// Malformed candidates, those of no m-line and those of another generation are refused; those of no stack's kind
/// are skipped.
pub(super) async fn bad_candidates(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let long = format!(
        "candidate:1 1 udp 1 127.0.0.1 5000 typ host {}",
        "x y ".repeat(300)
    );
    let bad = [
        "candidate:",
        "nonsense",
        "candidate:1 1 udp 2113937151 127.0.0.1 5000",
        "candidate:1 1 udp 2113937151 127.0.0.1 70000 typ host",
        "candidate:1 1 udp 2113937151 127.0.0.1 -1 typ host",
        "candidate:1 1 udp 99999999999 127.0.0.1 5000 typ host",
        "candidate:1 99999 udp 1 127.0.0.1 5000 typ host",
        "candidate:1 1 sctp 1 127.0.0.1 5000 typ host",
        "candidate:1 1 udp 1 127.0.0.1 5000 typ gateway",
        "candidate:1 1 udp 1 not!an!address 5000 typ host",
        "candidate:123456789012345678901234567890123 1 udp 1 127.0.0.1 5000 typ host",
        "candidate:1 1 udp 1 127.0.0.1 5000 typ host\r\na=setup:active",
        &long,
    ];
    for peer in [&a, &b] {
        for line in bad {
            is_bad(peer.add_ice_candidate(candidate(line)).await, line);
        }
        let lost = Candidate {
            sdp_m_line_index: None,
            ..candidate("candidate:1 1 udp 1 127.0.0.1 5000 typ host")
        };
        is_bad(peer.add_ice_candidate(lost).await, "no m-line named");
    }
    let theirs = connect_with(&a, &mut b, &ours).await;
    for peer in [&a, &b] {
        for line in bad {
            is_bad(peer.add_ice_candidate(candidate(line)).await, line);
        }
        let good = "candidate:1 1 udp 2113937151 127.0.0.1 5000 typ host";
        for (what, bad) in [
            (
                "a mid that does not exist",
                Candidate {
                    sdp_mid: Some("nowhere".into()),
                    ..candidate(good)
                },
            ),
            (
                "an m-line that does not exist",
                Candidate {
                    sdp_m_line_index: Some(9),
                    ..candidate(good)
                },
            ),
            (
                "another generation",
                Candidate {
                    username_fragment: Some("stale".into()),
                    ..candidate(good)
                },
            ),
        ] {
            is_bad(peer.add_ice_candidate(bad).await, what);
        }
        // Well-formed, but of a kind that no stack speaks.
        for line in [
            "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
            "candidate:1 1 udp 1 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 54596 typ host",
            "candidate:1 1 udp 1 127.0.0.1 0 typ host",
            "candidate:1 2 udp 1 127.0.0.1 5000 typ host",
            "candidate:1 1 udp 1 0.0.0.0 5000 typ host",
            "candidate:1 1 udp 1 224.0.0.1 5000 typ host",
        ] {
            peer.add_ice_candidate(candidate(line)).await.unwrap();
        }
        assert_eq!(peer.connection_state(), ConnectionState::Connected);
    }
    ping(&ours, &theirs).await;
}

/// A stranger's candidates are kept, but not without end.
pub(super) async fn too_many_candidates(world: World) {
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let flood = |i: u16| {
        candidate(&format!(
            "candidate:{i} 1 udp 1 127.0.0.1 {} typ host",
            20_000 + i
        ))
    };
    // Before the description, on a third peer: a stranger's candidates are kept, but not without end.
    let third = world.peer(Side::Answerer).await;
    let mut kept = 0;
    let error = loop {
        match third.add_ice_candidate(flood(kept)).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 10_000, "there is no limit");
    };
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(kept >= 16, "the limit is too low for an honest peer");
    third.close().await;
    // In a call.
    let theirs = connect_with(&a, &mut b, &ours).await;
    let mut kept = 0;
    let error = loop {
        match b.add_ice_candidate(flood(kept)).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 10_000, "there is no limit");
    };
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    ping(&ours, &theirs).await;
    assert_eq!(a.connection_state(), ConnectionState::Connected);
}

/// The same description with another certificate's fingerprint.
fn forged(description: &SessionDescription) -> SessionDescription {
    let at = description
        .sdp
        .find("a=fingerprint:sha-256 ")
        .expect("a fingerprint")
        + 22;
    let end = at + description.sdp[at..].find("\r\n").expect("its end");
    let forged: String = description.sdp[at..end]
        .chars()
        .map(|c| match c {
            ':' => ':',
            '0' => '1',
            _ => '0',
        })
        .collect();
    SessionDescription {
        kind: description.kind,
        sdp: description.sdp.replace(&description.sdp[at..end], &forged),
    }
}

/// A call whose offer or answer has a forged fingerprint: the side that got it refuses the other's certificate.
async fn forge(world: World, victim: Side) {
    let short = |side| PeerConfig {
        connect_timeout: Duration::from_secs(8),
        ..world.config(side)
    };
    let mut a = world.peer_with(Side::Offerer, short(Side::Offerer)).await;
    let mut b = world.peer_with(Side::Answerer, short(Side::Answerer)).await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    let theirs = match victim {
        Side::Offerer => None,
        Side::Answerer => Some(b.create_data_channel(ChannelInit::new("t")).await.unwrap()),
    };
    a.set_local_description(None).await.unwrap();
    deadline("gathering", a.gathered()).await.unwrap();
    let mut offer = a.local_description().unwrap();
    if victim == Side::Answerer {
        offer = forged(&offer);
    }
    b.set_remote_description(offer).await.unwrap();
    b.set_local_description(None).await.unwrap();
    deadline("gathering", b.gathered()).await.unwrap();
    let mut answer = b.local_description().unwrap();
    if victim == Side::Offerer {
        answer = forged(&answer);
    }
    a.set_remote_description(answer).await.unwrap();
    let (deceived, channel) = match victim {
        Side::Offerer => (&mut a, &ours),
        Side::Answerer => (&mut b, theirs.as_ref().unwrap()),
    };
    deceived.log.connection(ConnectionState::Failed).await;
    assert!(
        !deceived.log.dtls().contains(&DtlsState::Connected),
        "{:?}",
        deceived.log.dtls()
    );
    assert!(!deceived.log.connections().contains(&ConnectionState::Connected));
    let reason = deceived.failure().expect("a reason");
    assert!(reason.to_lowercase().contains("fingerprint"), "{reason}");
    assert_ne!(channel.state(), ChannelState::Open);
    let opened = deadline("the channel's end", channel.opened()).await;
    expect_kind(opened, ErrorKind::Closed, "a channel of a failed connection");
    assert_ne!(
        ours.state(),
        ChannelState::Open,
        "no channel opens on either side"
    );
}

/// A certificate with another fingerprint than the answer's is no connection, on either side.
pub(super) async fn wrong_fingerprint_in_the_answer(world: World) {
    forge(world, Side::Offerer).await;
}

/// Nor is one with another fingerprint than the offer's.
pub(super) async fn wrong_fingerprint_in_the_offer(world: World) {
    forge(world, Side::Answerer).await;
}

/// Whether two descriptions say the same of the transport, of the m-lines and of what numbers mean, or less. One
/// that says something else, but is well formed, is another session, which the stacks would rightly switch to: it is
/// tried on peers of its own.
pub(super) fn same_session(mutated: &str, real: &str) -> bool {
    let summary = |text: &str| -> Option<String> {
        let sdp: Sdp = text.parse().ok()?;
        sdp.check().ok()?;
        let mut out = String::new();
        for section in sdp.sections() {
            let _ = write!(
                out,
                "{:?} {:?} {};",
                section.kind(),
                section.mid(),
                section.is_rejected()
            );
            for name in [
                "ice-ufrag",
                "ice-pwd",
                "fingerprint",
                "setup",
                "ice-lite",
                "sctp-port",
            ] {
                let _ = write!(out, "{:?};", section.attribute(name));
            }
        }
        Some(out)
    };
    let numbers = |text: &str| -> Vec<String> {
        let meant = ["m=", "a=rtpmap:", "a=extmap:", "a=ssrc", "a=max-message-size:"];
        let lines = text.lines().filter(|l| meant.iter().any(|m| l.starts_with(m)));
        lines.map(str::to_owned).collect()
    };
    // A payload type keeps its parameters as well as its name (RFC 8843 §9.1).
    let parameters = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|l| l.starts_with("a=fmtp:"));
        lines.map(str::to_owned).collect()
    };
    let known = numbers(real);
    summary(mutated) == summary(real)
        && numbers(mutated).iter().all(|l| known.contains(l))
        && parameters(mutated) == parameters(real)
}

/// Mutated text must not make us send to addresses outside this machine.
fn stays_here(text: &str) -> bool {
    let words = text.split([' ', '\r', '\n']);
    let mut addresses = words.filter_map(|w| w.parse::<IpAddr>().ok());
    addresses.all(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// Each of these is a clear refusal, whoever is at fault.
pub(super) fn is_clear(error: &Error) {
    words(error);
    assert!(
        !matches!(
            error.kind(),
            ErrorKind::InvalidState | ErrorKind::Timeout | ErrorKind::Network
        ),
        "{:?}: {error}",
        error.kind()
    );
}

/// Gives `to` a mutated answer of `from` and then the real one.
pub(super) async fn answer(random: &mut Random, from: &Peer, to: &Peer, count: &mut Count) {
    let real = match from.set_local_description(None).await {
        Ok(real) => real,
        Err(error) => {
            let offer = from.remote_description().map(|d| d.sdp).unwrap_or_default();
            panic!("a real offer is not answered any more ({error}):\n{offer}");
        }
    };
    let mutated = mutate::description(random, &real.sdp);
    let mut refusal = None;
    if same_session(&mutated, &real.sdp) || mutated.parse::<Sdp>().is_ok_and(|s| s.check().is_err()) {
        let result = deadline(
            "a mutated answer",
            to.set_remote_description(SessionDescription::answer(&mutated)),
        )
        .await;
        count.add(&result);
        match result {
            Ok(()) => return,
            Err(error) => {
                is_clear(&error);
                refusal = Some(error);
            }
        }
    }
    assert_eq!(to.signaling_state(), SignalingState::HaveLocalOffer);
    let set = deadline("the real answer", to.set_remote_description(real)).await;
    if let Err(error) = set {
        panic!("the real answer is refused ({error}) after a mutated one was ({refusal:?}):\n{mutated}");
    }
}

#[derive(Debug, Default)]
pub(super) struct Count {
    accepted: usize,
    refused: usize,
}

impl Count {
    pub(super) fn add<T>(&mut self, result: &Result<T, Error>) {
        match result {
            Ok(_) => self.accepted += 1,
            Err(_) => self.refused += 1,
        }
    }
}

/// Mutated offers, answers and candidates against a live call.
pub(super) async fn mutated_in_a_call(world: World) {
    const ROUNDS: u64 = 300;
    let (a, mut b) = world.peers().await;
    let ours = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
    for kind in [visavis_core::MediaKind::Audio, visavis_core::MediaKind::Video] {
        a.add_transceiver(kind, visavis_core::Direction::SendRecv)
            .await
            .unwrap();
    }
    let theirs = connect_with(&a, &mut b, &ours).await;
    ping(&ours, &theirs).await;
    let mut random = Random::new(0x5EED);
    let mut count = Count::default();
    for round in 0..ROUNDS {
        let (from, to) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let real = from.set_local_description(None).await.unwrap();
        // A mutated offer in the place of the real one.
        let mutated = mutate::description(&mut random, &real.sdp);
        let result = deadline(
            "a mutated offer",
            to.set_remote_description(SessionDescription::offer(&mutated)),
        )
        .await;
        count.add(&result);
        let mut answered = false;
        match result {
            Ok(()) if same_session(&mutated, &real.sdp) => {
                // Down into the stack.
                match deadline("an answer to a mutated offer", to.create_answer()).await {
                    Ok(_) => answered = true,
                    Err(error) => {
                        is_clear(&error);
                        to.set_remote_description(SessionDescription::rollback())
                            .await
                            .unwrap();
                    }
                }
            }
            Ok(()) => to
                .set_remote_description(SessionDescription::rollback())
                .await
                .unwrap(),
            Err(error) => is_clear(&error),
        }
        if !answered {
            assert_eq!(to.signaling_state(), SignalingState::Stable);
            to.set_remote_description(real).await.unwrap();
        }
        answer(&mut random, to, from, &mut count).await;
        for peer in [&a, &b] {
            let line =
                "candidate:1 1 udp 2113937151 127.0.0.1 5000 typ host generation 0 ufrag abcd network-id 1";
            let line = mutate::candidate(&mut random, line);
            if world.is_memory() || stays_here(&line) {
                let result = deadline("a mutated candidate", peer.add_ice_candidate(candidate(&line))).await;
                count.add(&result);
                if let Err(error) = result {
                    is_clear(&error);
                }
            }
            assert_eq!(peer.signaling_state(), SignalingState::Stable);
        }
        if round % 10 == 0 {
            ping(&ours, &theirs).await;
        }
    }
    println!("{}: {count:?}", world.stacks);
    assert!(count.accepted + count.refused >= 1000, "{count:?}");
    assert!(
        count.refused > count.accepted / 4,
        "the mutations are too tame: {count:?}"
    );
    ping(&ours, &theirs).await;
    exchange(&a, &b).await.unwrap();
    exchange(&b, &a).await.unwrap();
    let later = b.create_data_channel(ChannelInit::new("later")).await.unwrap();
    opened(&later).await;
    ping(&ours, &theirs).await;
    assert_eq!(a.connection_state(), ConnectionState::Connected);
    assert_eq!(b.connection_state(), ConnectionState::Connected);
}

/// Mutated first offers, and first answers, into stacks that are new to them: errors at worst.
pub(super) async fn mutated_at_the_start(world: World) {
    const ROUNDS: u64 = 60;
    let mut random = Random::new(0xFADE);
    let mut count = Count::default();
    for round in 0..ROUNDS {
        let (a, b) = world.peers().await;
        a.create_data_channel(ChannelInit::new("t")).await.unwrap();
        a.add_transceiver(visavis_core::MediaKind::Video, visavis_core::Direction::SendRecv)
            .await
            .unwrap();
        a.set_local_description(None).await.unwrap();
        deadline("gathering", a.gathered()).await.unwrap();
        let offer = a.local_description().unwrap();
        let mut into_b = offer.clone();
        if round % 2 == 0 {
            into_b.sdp = mutate::description(&mut random, &offer.sdp);
            if !world.is_memory() && !stays_here(&into_b.sdp) {
                continue;
            }
        }
        let answer = async {
            b.set_remote_description(into_b).await?;
            b.set_local_description(None).await
        };
        let result = deadline("a mutated first offer", answer).await;
        if round % 2 == 0 {
            count.add(&result);
        }
        if let Err(error) = result {
            is_clear(&error);
        } else {
            deadline("gathering", b.gathered()).await.unwrap();
            let answer = b.local_description().unwrap();
            let mutated = mutate::description(&mut random, &answer.sdp);
            if world.is_memory() || stays_here(&mutated) {
                let set = a.set_remote_description(SessionDescription::answer(mutated));
                let result = deadline("a mutated first answer", set).await;
                count.add(&result);
                if let Err(error) = result {
                    is_clear(&error);
                }
            }
        }
        deadline("close", a.close()).await;
        deadline("close", b.close()).await;
    }
    println!("{}: {count:?}", world.stacks);
    // Nothing that happened to those peers has harmed others.
    let call = world.call().await;
    ping(&call.a, &call.b).await;
    call.close().await;
}
