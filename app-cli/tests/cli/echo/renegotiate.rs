//! Offers in mid-call.

use super::{Caller, Reply, STACKS, Server};
use crate::probe::endpoint::{another_fingerprint, changed};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use visavis_core::{Codec, Direction, Sdp, SessionDescription, Transceiver};
use visavis_tests::{
    deadline,
    frames::{Plan, Reader},
};

/// Where the next offers of a call go.
struct Call<'a> {
    server: &'a Server,
    caller: Caller,
    path: String,
}

impl<'a> Call<'a> {
    /// A call that has a channel, and a track of each codec.
    async fn new(server: &'a Server, stack: &str, codecs: &[Codec]) -> Self {
        let caller = Caller::new(stack, codecs).await;
        let reply = server.post(&caller.offer().await).await;
        caller.connect(&reply).await;
        assert_eq!(reply.header("access-control-expose-headers"), Some("Location"));
        let path = reply.header("location").expect("where to offer anew").to_owned();
        Self { server, caller, path }
    }

    async fn post(&self, body: &Value) -> Reply {
        let json = [("Content-Type", "application/json")];
        self.server
            .request("POST", &self.path, &json, &body.to_string())
            .await
    }

    /// Offers what is wanted now; the answer, set.
    async fn renegotiate(&self) -> Sdp {
        self.renegotiate_with(str::to_owned).await
    }

    /// The same with an SDP that is changed on its way.
    async fn renegotiate_with(&self, change: fn(&str) -> String) -> Sdp {
        let offer = changed(&self.caller.offer().await.to_string(), change);
        let reply = self.post(&serde_json::from_str(&offer).expect("JSON")).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let answer: SessionDescription = serde_json::from_value(reply.json()).expect("an answer");
        let set = self.caller.peer.set_remote_description(answer.clone()).await;
        set.expect("the answer fits");
        answer.sdp.parse().expect("SDP")
    }

    async fn add(&mut self, codec: Codec) -> Transceiver {
        let peer = &self.caller.peer;
        let added = peer.add_transceiver(codec.kind(), Direction::SendRecv).await;
        let transceiver = added.expect("a transceiver");
        let preferred = transceiver.set_codec_preferences(&[codec]).await;
        preferred.expect("a codec");
        transceiver
    }

    /// Changes a direction; what the answer makes of it.
    async fn direct(&self, transceiver: &Transceiver, direction: Direction) -> Option<Direction> {
        transceiver.set_direction(direction).await.expect("a direction");
        self.renegotiate().await;
        transceiver.state().await.expect("a state").current_direction
    }
}

/// Frames that go out at their pace and come back, numbered on through interruptions.
struct Video {
    transceiver: Transceiver,
    plan: Plan,
    next: u32,
    reader: Reader,
}

impl Video {
    fn new(transceiver: Transceiver, codec: Codec) -> Self {
        let plan = Plan::new(codec)
            .sizes(&[2_000, 300, 12_000])
            .keyframes_on_request();
        Self {
            transceiver,
            plan,
            next: 0,
            reader: Reader::new(plan),
        }
    }

    /// Sends until so many of the frames sent from now on are back.
    async fn echoed(&mut self, frames: u32) {
        let (sender, receiver) = (self.transceiver.sender(), self.transceiver.receiver());
        assert_eq!(deadline("a codec", sender.ready()).await, Some(self.plan.codec));
        let began = Instant::now();
        let (first, next, plan) = (self.next, &mut self.next, self.plan);
        let send = async {
            for n in 0.. {
                sleep_until(began + plan.interval() * n).await;
                let keyframe = sender.take_keyframe_request();
                *next += u32::from(sender.try_send(plan.frame(*next, keyframe)));
            }
        };
        let until = first + frames;
        tokio::select! {
            () = send => unreachable!("it goes on"),
            () = self.reader.read_until(&receiver, until..u32::MAX) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn video_is_added_dropped_and_added_again() {
    for server in STACKS.map(|stack| Server::start(&format!("--backend {stack}"))) {
        for (stack, codec) in [("str0m", Codec::H264), ("webrtc-rs", Codec::Vp8)] {
            let mut call = Call::new(&server, stack, &[]).await;
            call.caller.echo("before").await;
            let transceiver = call.add(codec).await;
            let answer = call.renegotiate().await;
            assert_eq!(answer.sections().len(), 2);
            let mut video = Video::new(transceiver.clone(), codec);
            video.echoed(30).await;
            // It wants pictures and sends none: nothing is echoed.
            let dropped = call.direct(&transceiver, Direction::RecvOnly).await;
            assert_eq!(dropped, Some(Direction::Inactive));
            assert_eq!(transceiver.sender().codec(), None);
            call.caller.echo("without").await;
            let again = call.direct(&transceiver, Direction::SendRecv).await;
            assert_eq!(again, Some(Direction::SendRecv));
            video.echoed(30).await;
            // One that only sends is received and not sent back.
            let one_way = call.direct(&transceiver, Direction::SendOnly).await;
            assert_eq!(one_way, Some(Direction::SendOnly));
            assert_eq!(
                call.direct(&transceiver, Direction::Inactive).await,
                Some(Direction::Inactive)
            );
            call.direct(&transceiver, Direction::SendRecv).await;
            video.echoed(30).await;
            // A second track beside it.
            let second = call.add(Codec::Opus).await;
            call.renegotiate().await;
            let mut sound = Video {
                plan: Plan::new(Codec::Opus),
                reader: Reader::new(Plan::new(Codec::Opus)),
                ..Video::new(second, Codec::Opus)
            };
            tokio::join!(video.echoed(20), sound.echoed(20));
            call.caller.echo("after").await;
            let stats = server.stats().await;
            assert_eq!(stats["callers"].as_array().map(Vec::len), Some(1), "{stats}");
            call.caller.peer.close().await;
            server.empty().await;
            let gone = call.post(&json!({ "type": "offer", "sdp": "v=0" })).await;
            assert_eq!(
                gone.status, 400,
                "what cannot be read is said first: {}",
                gone.body
            );
        }
        let totals = &server.stats().await["totals"];
        assert_eq!(
            (&totals["answered"], &totals["renegotiated"]),
            (&json!(2), &json!(14))
        );
    }
}

/// The SDP with its second m-line rejected, as a browser writes it whose transceiver was stopped.
fn stopped(sdp: &str) -> String {
    let mut sections: Vec<_> = sdp.split("m=").map(str::to_owned).collect();
    let line = &mut sections[2];
    let mid = line.lines().find_map(|line| line.strip_prefix("a=mid:"));
    let mid = format!(" {}", mid.expect("a mid"));
    *line = line.replacen(" 9 ", " 0 ", 1);
    let (group, rest) = sections[0].split_once("a=group:").expect("a group");
    let (mids, rest) = rest.split_once("\r\n").expect("a line");
    sections[0] = format!("{group}a=group:{}\r\n{rest}", mids.replace(&mid, ""));
    sections.join("m=")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_transceiver_is_no_more_and_the_next_has_an_m_line_of_its_own() {
    for stack in STACKS {
        let server = Server::start(&format!("--backend {stack}"));
        let mut call = Call::new(&server, "str0m", &[]).await;
        let first = call.add(Codec::H264).await;
        call.renegotiate().await;
        Video::new(first.clone(), Codec::H264).echoed(10).await;
        let inactive = first.set_direction(Direction::Inactive).await;
        inactive.expect("a direction");
        let answer = call.renegotiate_with(stopped).await;
        let line = answer.sections().nth(1).expect("two m-lines");
        assert!(
            line.is_rejected() || line.direction() == Direction::Inactive,
            "{answer}"
        );
        call.caller.echo("goes on").await;
        let second = call.add(Codec::H264).await;
        let answer = call.renegotiate_with(stopped).await;
        assert_eq!(answer.sections().len(), 3, "{answer}");
        Video::new(second, Codec::H264).echoed(10).await;
        call.caller.peer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ice_restarts_in_mid_call() {
    for server in STACKS.map(|stack| Server::start(&format!("--backend {stack}"))) {
        for stack in STACKS {
            let call = Call::new(&server, stack, &[Codec::H264]).await;
            let mut video = Video::new(call.caller.transceivers[0].clone(), Codec::H264);
            video.echoed(10).await;
            let remote = || call.caller.peer.remote_description().expect("an answer").sdp;
            let ufrag = |sdp: &Sdp| sdp.ice_ufrag().expect("a ufrag").to_owned();
            let before = ufrag(&remote().parse().expect("SDP"));
            call.caller.peer.restart_ice().await.expect("asked for");
            let answer = call.renegotiate().await;
            assert_ne!(ufrag(&answer), before, "{stack}");
            video.echoed(30).await;
            call.caller.echo("after the restart").await;
            call.caller.peer.close().await;
            server.empty().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_later_offer_leaves_the_call_as_it_was() {
    for stack in STACKS {
        let server = Server::start(&format!("--backend {stack}"));
        let call = Call::new(&server, "str0m", &[Codec::H264]).await;
        let mut video = Video::new(call.caller.transceivers[0].clone(), Codec::H264);
        let offer = call.caller.offer().await;
        let stranger = changed(&offer.to_string(), another_fingerprint);
        let stranger = serde_json::from_str(&stranger).expect("JSON");
        let without = |name: &str| {
            let sdp = offer["sdp"].as_str().expect("SDP").lines();
            let kept = sdp.filter(|line| !line.starts_with(name));
            json!({ "type": "offer", "sdp": kept.flat_map(|line| [line, "\r\n"]).collect::<String>() })
        };
        for (body, words) in [
            (json!("hello"), "not the JSON of an offer"),
            (json!({ "type": "answer", "sdp": offer["sdp"] }), "`answer`"),
            (without("a=ice-"), "a=ice-ufrag is missing"),
            (stranger, "the fingerprint is not that of the session"),
        ] {
            let reply = call.post(&body).await;
            assert_eq!(reply.status, 400, "{}", reply.body);
            assert!(reply.body.contains(words), "{words}: {}", reply.body);
        }
        for (method, path, status) in [
            ("POST", "/callers/0123456789abcdef0123456789abcdef/offer", 404),
            ("POST", "/callers/1/offer", 404),
            ("GET", call.path.as_str(), 405),
            ("OPTIONS", call.path.as_str(), 204),
        ] {
            let reply = server.request(method, path, &[], &offer.to_string()).await;
            assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
            assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        }
        let answer = call.post(&offer).await.json();
        let answer = serde_json::from_value(answer).expect("an answer");
        let set = call.caller.peer.set_remote_description(answer).await;
        set.expect("the answer fits");
        video.echoed(10).await;
        call.caller.peer.close().await;
        server.empty().await;
        let gone = call.post(&offer).await;
        assert_eq!(gone.status, 404, "{}", gone.body);
        let totals = &server.stats().await["totals"];
        assert_eq!(
            (&totals["offers"], &totals["refused"]),
            (&json!(9), &json!(7)),
            "{totals}"
        );
    }
}
