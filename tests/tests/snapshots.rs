//! What each stack writes, volatile values masked, and what each says it can do.
//!
//! `INSTA_UPDATE=always cargo test -p visavis-tests --test snapshots` accepts what is written now.

mod foreign;

use std::fmt::Write;
use visavis_core::{ChannelInit, Codec, Direction, MediaKind, Side, sdp::mask};
use visavis_tests::{Network, Peer, Stack, Stacks, World, media::prefer, runner::runtime};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Data,
    Audio,
    Video,
    All,
}

impl Intent {
    const ALL: [Self; 4] = [Self::Data, Self::Audio, Self::Video, Self::All];

    fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::All => "all",
        }
    }

    async fn ask(self, peer: &Peer) {
        for (kind, wanted) in [
            (MediaKind::Audio, matches!(self, Self::Audio | Self::All)),
            (MediaKind::Video, matches!(self, Self::Video | Self::All)),
        ] {
            if wanted {
                let added = peer.add_transceiver(kind, Direction::SendRecv).await;
                added.expect("a transceiver");
            }
        }
        if matches!(self, Self::Data | Self::All) {
            let channel = peer.create_data_channel(ChannelInit::new("data")).await;
            channel.expect("a data channel");
        }
    }
}

/// The masked offer and answer of a pair of stacks.
fn exchange(stacks: Stacks, intent: Intent) -> (String, String) {
    let runtime = runtime(Network::MEMORY).expect("a runtime");
    runtime.block_on(async {
        let world = World::new(stacks, Network::MEMORY);
        let (a, b) = (world.peer(Side::Offerer).await, world.peer(Side::Answerer).await);
        intent.ask(&a).await;
        let descriptions = describe(&a, &b).await;
        a.close().await;
        b.close().await;
        descriptions
    })
}

/// One exchange, masked.
async fn describe(a: &Peer, b: &Peer) -> (String, String) {
    let offer = a.set_local_description(None).await.expect("an offer");
    b.set_remote_description(offer.clone())
        .await
        .expect("a remote offer");
    let answer = b.set_local_description(None).await.expect("an answer");
    a.set_remote_description(answer.clone())
        .await
        .expect("a remote answer");
    (steady(&offer.sdp), steady(&answer.sdp))
}

/// Masked, and each run of header extensions sorted: their order means nothing and differs from run to run.
fn steady(sdp: &str) -> String {
    let masked = mask(sdp);
    let mut lines: Vec<_> = masked.split_inclusive('\n').collect();
    for run in lines.chunk_by_mut(|a, b| [a, b].iter().all(|l| l.starts_with("a=extmap:"))) {
        run.sort_unstable();
    }
    lines.concat()
}

/// The m-line of an offer, and that of its answer, for each codec alone and for each direction that the offerer wishes
/// for; the answerer would send, too.
fn m_lines(stacks: Stacks) -> Vec<(String, String, String)> {
    let codecs = Codec::ALL.map(|codec| (codec, Direction::SendRecv));
    let directions = [Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
    let directions = directions.map(|direction| (Codec::Vp8, direction));
    let runtime = runtime(Network::MEMORY).expect("a runtime");
    runtime.block_on(async {
        let world = World::new(stacks, Network::MEMORY);
        let mut described = Vec::new();
        for (codec, direction) in codecs.into_iter().chain(directions) {
            let (a, b) = (world.peer(Side::Offerer).await, world.peer(Side::Answerer).await);
            let ours = a.add_transceiver(codec.kind(), direction).await;
            prefer(&ours.expect("a transceiver"), &[codec]).await;
            b.add_track(codec.kind()).await.expect("a track");
            let (offer, answer) = describe(&a, &b).await;
            described.push((format!("{codec} {direction}"), m_line(&offer), m_line(&answer)));
            a.close().await;
            b.close().await;
        }
        described
    })
}

/// From the m-line on.
fn m_line(sdp: &str) -> String {
    sdp[sdp.find("m=").expect("an m-line")..].to_owned()
}

fn sections<'a>(sections: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (title, lines) in sections {
        let _ = writeln!(text, "--- {title}\n{lines}");
    }
    text
}

fn offers(stack: Stack) {
    for intent in Intent::ALL {
        let stacks = Stacks {
            offerer: stack,
            answerer: stack,
        };
        let (offer, _) = exchange(stacks, intent);
        insta::assert_snapshot!(format!("offer_{stack}_{}", intent.name()), offer);
    }
    let media = m_lines(Stacks {
        offerer: stack,
        answerer: stack,
    });
    let offers = sections(media.iter().map(|m| (m.0.as_str(), m.1.as_str())));
    insta::assert_snapshot!(format!("offers_{stack}_media"), offers);
}

fn answers(offerer: Stack, answerer: Stack) {
    for intent in Intent::ALL {
        let (_, answer) = exchange(Stacks { offerer, answerer }, intent);
        let name = format!("answer_{answerer}_to_{offerer}_{}", intent.name());
        insta::assert_snapshot!(name, answer);
    }
    let media = m_lines(Stacks { offerer, answerer });
    let answers = sections(media.iter().map(|m| (m.0.as_str(), m.2.as_str())));
    insta::assert_snapshot!(format!("answers_{answerer}_to_{offerer}_media"), answers);
}

#[test]
fn offers_of_str0m() {
    offers(Stack::Str0m);
}

#[test]
fn offers_of_webrtc_rs() {
    offers(Stack::WebrtcRs);
}

#[test]
fn answers_of_str0m_to_str0m() {
    answers(Stack::Str0m, Stack::Str0m);
}

#[test]
fn answers_of_str0m_to_webrtc_rs() {
    answers(Stack::WebrtcRs, Stack::Str0m);
}

#[test]
fn answers_of_webrtc_rs_to_str0m() {
    answers(Stack::Str0m, Stack::WebrtcRs);
}

#[test]
fn answers_of_webrtc_rs_to_webrtc_rs() {
    answers(Stack::WebrtcRs, Stack::WebrtcRs);
}

#[test]
fn capabilities() {
    insta::assert_snapshot!("capabilities", visavis_tests::conformance::capability_table());
}
