//! What each stack makes of other people's descriptions: `tests/sdp`, taken in calls by `interop/`.

use super::steady;
use std::{fmt::Write, fs, path::PathBuf};
use visavis_core::{ChannelInit, Codec, Direction, MediaKind, Sdp, SessionDescription, Side, SignalingState};
use visavis_tests::{Network, Stack, Stacks, World, media::prefer, runner::runtime};

/// The corpus: names without `.sdp`, and texts.
fn corpus() -> Vec<(String, String)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sdp");
    let files = fs::read_dir(directory).expect("tests/sdp");
    let mut corpus: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sdp"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("a description"))
        })
        .collect();
    corpus.sort_unstable();
    corpus
}

fn world(stack: Stack) -> World {
    let stacks = Stacks {
        offerer: stack,
        answerer: stack,
    };
    World::new(stacks, Network::MEMORY)
}

/// What the stack answers that would send on every m-line.
async fn answer(stack: Stack, offer: &str) -> String {
    let peer = world(stack).peer(Side::Answerer).await;
    let taken = peer
        .set_remote_description(SessionDescription::offer(offer))
        .await;
    taken.expect("the offer");
    for transceiver in peer.transceivers().await.expect("transceivers") {
        let set = transceiver.set_direction(Direction::SendRecv).await;
        set.expect("a direction");
    }
    let answer = peer.set_local_description(None).await.expect("an answer");
    peer.close().await;
    steady(&answer.sdp)
}

/// What the stack has agreed on after an answer to its offer, and what it would offer next.
async fn next_offer(stack: Stack, name: &str, answer: &str) -> String {
    let peer = world(stack).peer(Side::Offerer).await;
    let kinds = name.split_once(&format!("-to-{stack}-")).expect("kinds").1;
    for kind in kinds.split('-') {
        let codec = match kind {
            "audio" => Codec::Opus,
            "h264" => Codec::H264,
            "vp8" => Codec::Vp8,
            "data" => {
                let channel = peer.create_data_channel(ChannelInit::new("data")).await;
                channel.expect("a data channel");
                continue;
            }
            "mdns" => continue,
            other => panic!("{name}: what is {other}?"),
        };
        let added = peer.add_transceiver(codec.kind(), Direction::SendRecv).await;
        let preferred = if codec.kind() == MediaKind::Video {
            &[codec][..]
        } else {
            &[]
        };
        prefer(&added.expect("a transceiver"), preferred).await;
    }
    let offer = peer.set_local_description(None).await.expect("an offer");
    let answer = SessionDescription::answer(with_mids_of(&offer.sdp, answer));
    peer.set_remote_description(answer).await.expect("the answer");
    assert_eq!(peer.signaling_state(), SignalingState::Stable);
    let mut text = String::new();
    for transceiver in peer.transceivers().await.expect("transceivers") {
        let state = transceiver.state().await.expect("a state");
        let direction = state.current_direction.expect("a negotiated direction");
        let _ = writeln!(text, "{}: {direction}", transceiver.kind());
    }
    text += &steady(&peer.create_offer().await.expect("another offer").sdp);
    peer.close().await;
    text
}

/// An answer to another offer of the same m-lines: mids are random on one of the stacks.
fn with_mids_of(offer: &str, answer: &str) -> String {
    let mids = |sdp: &str| -> Vec<String> {
        let sdp: Sdp = sdp.parse().expect("a description");
        sdp.sections()
            .map(|section| section.mid().expect("a mid").to_owned())
            .collect()
    };
    let (theirs, ours) = (mids(answer), mids(offer));
    assert_eq!(theirs.len(), ours.len(), "m-lines");
    let ours_for = |mid: &str| {
        theirs
            .iter()
            .position(|theirs| theirs == mid)
            .map(|at| ours[at].as_str())
    };
    let mut text = String::new();
    for line in answer.lines() {
        if let Some(mid) = line.strip_prefix("a=mid:") {
            let _ = write!(text, "a=mid:{}", ours_for(mid).expect("a mid"));
        } else if let Some(group) = line.strip_prefix("a=group:BUNDLE ") {
            let mids: Vec<_> = group.split(' ').filter_map(ours_for).collect();
            let _ = write!(text, "a=group:BUNDLE {}", mids.join(" "));
        } else {
            text += line;
        }
        text += "\r\n";
    }
    text
}

fn offers(stack: Stack) {
    let mut count = 0;
    for (name, offer) in corpus().into_iter().filter(|(name, _)| name.contains("-offer-")) {
        let runtime = runtime(Network::MEMORY).expect("a runtime");
        let answer = runtime.block_on(answer(stack, &offer));
        insta::assert_snapshot!(format!("{stack}_answers_{name}"), answer);
        count += 1;
    }
    assert!(count > 0, "there are offers in tests/sdp");
}

fn answers(stack: Stack) {
    let mut count = 0;
    let to = format!("-answer-to-{stack}-");
    for (name, answer) in corpus().into_iter().filter(|(name, _)| name.contains(&to)) {
        let runtime = runtime(Network::MEMORY).expect("a runtime");
        let offer = runtime.block_on(next_offer(stack, &name, &answer));
        insta::assert_snapshot!(format!("{stack}_after_{name}"), offer);
        count += 1;
    }
    assert!(count > 0, "there are answers to {stack} in tests/sdp");
}

#[test]
fn each_description_is_for_a_test() {
    for (name, _) in corpus() {
        let to = Stack::ALL.map(|stack| format!("-answer-to-{stack}-"));
        assert!(
            name.contains("-offer-") || to.iter().any(|to| name.contains(to)),
            "{name}"
        );
    }
}

#[test]
fn offers_answered_by_str0m() {
    offers(Stack::Str0m);
}

#[test]
fn offers_answered_by_webrtc_rs() {
    offers(Stack::WebrtcRs);
}

#[test]
fn answers_to_str0m() {
    answers(Stack::Str0m);
}

#[test]
fn answers_to_webrtc_rs() {
    answers(Stack::WebrtcRs);
}
