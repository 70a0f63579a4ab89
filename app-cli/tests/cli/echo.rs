//! `visavis echo`, called by both stacks over real sockets.

mod load;
mod renegotiate;
mod server;

use crate::{http::Reply, server::Server};
use serde_json::{Value, json};
use server::{backend, request};
use std::{io::Read, net::TcpStream, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};
use visavis_core::{
    ChannelInit, Codec, ConnectionState, DataChannel, Direction, Message, PeerConfig, PeerConnection,
    RealNet, SessionDescription, Transceiver,
};
use visavis_tests::{
    deadline,
    frames::{Plan, Reader},
};

const STACKS: [&str; 2] = ["str0m", "webrtc-rs"];

/// Somebody who calls.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) peer: PeerConnection,
    channel: DataChannel,
    transceivers: Vec<Transceiver>,
}

impl Caller {
    /// A peer that wants a channel, and a track of each codec.
    async fn new(stack: &str, codecs: &[Codec]) -> Self {
        Self::with(stack, codecs, PeerConfig::loopback()).await
    }

    pub(crate) async fn with(stack: &str, codecs: &[Codec], config: PeerConfig) -> Self {
        let peer = PeerConnection::new(&*backend(stack), config, RealNet::shared()).await;
        let peer = peer.expect("a peer");
        let channel = peer.create_data_channel(ChannelInit::new("echo")).await;
        let mut transceivers = Vec::new();
        for codec in codecs {
            let transceiver = peer.add_transceiver(codec.kind(), Direction::SendRecv).await;
            let transceiver = transceiver.expect("a transceiver");
            let preferred = transceiver.set_codec_preferences(&[*codec]).await;
            preferred.expect("a codec");
            transceivers.push(transceiver);
        }
        Self {
            peer,
            channel: channel.expect("a channel"),
            transceivers,
        }
    }

    /// The offer with all its candidates, as JSON.
    pub(crate) async fn offer(&self) -> Value {
        let set = self.peer.set_local_description(None).await;
        set.expect("an offer");
        deadline("gathering", self.peer.gathered())
            .await
            .expect("gathering");
        let offer = self.peer.local_description().expect("an offer");
        serde_json::to_value(offer).expect("JSON")
    }

    /// Takes the answer and connects.
    async fn connect(&self, answer: &Reply) {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer: SessionDescription = serde_json::from_value(answer.json()).expect("an answer");
        assert!(answer.sdp.contains("a=candidate:"), "{}", answer.sdp);
        let set = self.peer.set_remote_description(answer).await;
        set.expect("the answer fits");
        let connected = self.peer.wait_for(ConnectionState::Connected);
        deadline("a connection", connected).await.expect("a connection");
    }

    async fn call(server: &Server, stack: &str, codecs: &[Codec]) -> Self {
        let caller = Self::new(stack, codecs).await;
        caller.connect(&server.post(&caller.offer().await).await).await;
        caller
    }

    /// Sends a message and checks that it comes back.
    pub(crate) async fn echo(&self, message: impl Into<Message>) {
        let message = message.into();
        deadline("an open channel", self.channel.opened())
            .await
            .expect("open");
        self.channel.send(message.clone()).await.expect("sent");
        let back = deadline("the echo", self.channel.recv()).await;
        assert!(back == Some(message), "not what was sent: {back:?}");
    }

    /// Sends frames at their pace, keyframes only where they are asked for, and reads until `until` is back. The
    /// middle one of those in between asks for a keyframe.
    async fn watch(&self, track: usize, plan: Plan, until: u32) {
        let transceiver = &self.transceivers[track];
        let (sender, receiver) = (transceiver.sender(), transceiver.receiver());
        assert_eq!(deadline("a codec", sender.ready()).await, Some(plan.codec));
        let send = async {
            let began = Instant::now();
            for n in 0.. {
                sleep_until(began + plan.interval() * n).await;
                let keyframe = plan.codec == Codec::Opus || sender.take_keyframe_request();
                sender.try_send(plan.frame(n, keyframe));
            }
        };
        let read = async {
            let mut reader = Reader::new(plan);
            reader.read_until(&receiver, until / 2..until).await;
            if plan.codec == Codec::Opus {
                return reader.read_until(&receiver, until..u32::MAX).await;
            }
            let asked = sender.stats().keyframe_requests;
            let keyframes = receiver.stats().keyframes_received;
            receiver.request_keyframe();
            while receiver.stats().keyframes_received == keyframes {
                let next = reader.arrived.last().expect("some") + 1;
                reader.read_until(&receiver, next..u32::MAX).await;
            }
            assert!(
                sender.stats().keyframe_requests > asked,
                "the server asked for it"
            );
            reader.read_until(&receiver, until..u32::MAX).await;
            assert_eq!(reader.after_gaps.len(), 0, "{:?}", reader.after_gaps);
        };
        tokio::select! {
            () = send => unreachable!("it goes on"),
            () = read => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_come_back_as_they_were() {
    for server in STACKS.map(|stack| Server::start(&format!("--backend {stack}"))) {
        for stack in STACKS {
            let caller = Caller::call(&server, stack, &[]).await;
            caller.echo("Grüße, 世界").await;
            caller.echo(vec![0, 1, 2, 255]).await;
            caller.echo("x".repeat(1_000)).await;
            caller.echo("y".repeat(60_000)).await;
            caller.echo(vec![7; 60_000]).await;
            // Text is text and bytes are bytes, also where both are the same.
            caller.echo("same").await;
            caller.echo(b"same".to_vec()).await;
            // More than both ends keep: nobody reads for a while, and nothing is lost.
            let sent = async {
                for n in 0..200_u32 {
                    let message = vec![n as u8; 60_000];
                    caller.channel.send(message).await.expect("sent");
                }
            };
            let read = async {
                sleep(Duration::from_millis(300)).await;
                for n in 0..200_u32 {
                    let back = deadline("an echo", caller.channel.recv()).await.expect("open");
                    assert!(back == Message::from(vec![n as u8; 60_000]), "message {n}");
                }
            };
            tokio::join!(sent, read);
            let second = caller.peer.create_data_channel(ChannelInit::new("second")).await;
            let second = Caller {
                channel: second.expect("a channel"),
                ..caller
            };
            second.echo("on its own channel").await;
            // A message is counted when it has been sent, which may be after it was seen.
            let stats = server
                .stats_when(|stats| stats["callers"][0]["messages_echoed"] == 208)
                .await;
            let one = &stats["callers"][0];
            assert_eq!(one["state"], "connected", "{stats}");
            assert!(one["selected_pair"]["remote"].is_string(), "{stats}");
            second.peer.close().await;
            server.empty().await;
        }
        let totals = &server.stats().await["totals"];
        assert_eq!(totals["messages_echoed"], 416, "{totals}");
        assert_eq!((&totals["connected"], &totals["ended"]), (&json!(2), &json!(2)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_come_back_and_keyframes_are_asked_for() {
    for server in STACKS.map(|stack| Server::start(&format!("--backend {stack}"))) {
        for (stack, codec) in [
            ("str0m", Codec::H264),
            ("webrtc-rs", Codec::H264),
            ("str0m", Codec::Vp8),
            ("webrtc-rs", Codec::Vp9),
        ] {
            let caller = Caller::call(&server, stack, &[codec, Codec::Opus]).await;
            let video = Plan::new(codec)
                .sizes(&[2_000, 300, 12_000])
                .keyframes_on_request();
            let sound = Plan::new(Codec::Opus);
            tokio::join!(caller.watch(0, video, 40), caller.watch(1, sound, 60));
            let stats = server.stats().await;
            let one = &stats["callers"][0];
            assert_eq!(one["frames_dropped"], 0, "{stats}");
            assert!(one["frames_echoed"].as_u64() >= Some(100), "{stats}");
            let name = serde_json::to_value(codec).expect("a name");
            assert_eq!(one["codecs"], json!([name, "opus"]), "{stats}");
            caller.peer.close().await;
            server.empty().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_track_that_only_sends_is_received() {
    for stack in STACKS {
        let server = Server::start(&format!("--backend {stack}"));
        let caller = Caller::new("str0m", &[Codec::Vp8, Codec::H264, Codec::Opus]).await;
        for (transceiver, direction) in
            caller
                .transceivers
                .iter()
                .zip([Direction::SendOnly, Direction::RecvOnly, Direction::SendRecv])
        {
            transceiver.set_direction(direction).await.expect("a direction");
        }
        caller.connect(&server.post(&caller.offer().await).await).await;
        let mut current = Vec::new();
        for transceiver in &caller.transceivers {
            let state = transceiver.state().await.expect("a state");
            current.push(state.current_direction.expect("negotiated"));
        }
        assert_eq!(
            current,
            [Direction::SendOnly, Direction::Inactive, Direction::SendRecv],
            "seen from the caller"
        );
        caller.peer.close().await;
    }
}

/// The requests that are refused, with their status and what the error says.
fn bad(offer: &Value) -> Vec<(&'static str, String, u16, &'static str)> {
    let sdp = offer["sdp"].as_str().expect("an SDP");
    let with = |sdp: &str| json!({ "type": "offer", "sdp": sdp }).to_string();
    let without = |name: &str| {
        let lines = sdp.lines().filter(|line| !line.starts_with(name));
        with(&lines.flat_map(|line| [line, "\r\n"]).collect::<String>())
    };
    vec![
        ("too long", "x".repeat(65_537), 413, "65536"),
        ("much too long", "x".repeat(3_000_000), 413, "65536"),
        ("bad JSON", "{\"type\": \"offer\", ".to_owned(), 400, "JSON"),
        ("no body", String::new(), 400, "JSON"),
        ("bad SDP", with("v=1\r\nnonsense"), 400, "does not parse"),
        (
            "an answer",
            json!({ "type": "answer", "sdp": sdp }).to_string(),
            400,
            "`answer`",
        ),
        ("no credentials", without("a=ice-"), 400, "a=ice-ufrag is missing"),
        (
            "an unsupported transport",
            with(&sdp.replace("UDP/DTLS/SCTP", "UDP/SCTP")),
            400,
            "not a protocol of WebRTC",
        ),
        (
            "no m-lines",
            with(&sdp[..sdp.find("m=").expect("one")]),
            400,
            "no m-lines",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_answered_and_the_server_goes_on() {
    for stack in STACKS {
        let server = Server::start(&format!("--backend {stack}"));
        let caller = Caller::new("str0m", &[]).await;
        let offer = caller.offer().await;
        let refused = bad(&offer);
        for (what, body, status, words) in &refused {
            let reply = server.request("POST", "/offer", &[], body).await;
            assert_eq!(reply.status, *status, "{what}: {}", reply.body);
            let error = reply.json()["error"].as_str().expect("an error").to_owned();
            assert!(error.contains(words), "{what}: {error}");
            assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{what}");
        }
        for (method, path, status) in [
            ("GET", "/offer", 405),
            ("DELETE", "/stats", 405),
            ("GET", "/nothing", 404),
            ("POST", "/quit", 403),
        ] {
            let reply = server.request(method, path, &[], "").await;
            assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
            assert!(
                reply.json()["error"].is_string(),
                "{method} {path}: {}",
                reply.body
            );
        }
        let reply = server.request("OPTIONS", "/offer", &[], "").await;
        assert_eq!(reply.status, 204);
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-headers"), Some("content-type"));
        let page = server.request("GET", "/", &[], "").await;
        assert!(page.status == 200 && page.body.contains("RTCPeerConnection"));
        // The very offer that was mutilated.
        caller.connect(&server.post(&offer).await).await;
        caller.echo("still here").await;
        let totals = &server.stats().await["totals"];
        assert_eq!(totals["refused"], refused.len(), "{totals}");
        assert_eq!(totals["answered"], 1, "{totals}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_never_connects_or_falls_silent_is_given_up() {
    for stack in STACKS {
        let server = Server::start(&format!(
            "--backend {stack} --connect-timeout 1s --silence 4s --max-callers 1"
        ));
        let caller = Caller::new("webrtc-rs", &[]).await;
        let offer = caller.offer().await;
        assert_eq!(server.post(&offer).await.status, 200);
        let full = server.post(&offer).await;
        assert_eq!(full.status, 503, "{}", full.body);
        caller.peer.close().await;
        server.empty().await;
        // Its sockets are gone at once, and no goodbye is said.
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let call = runtime.spawn({
            let server = server.address();
            async move {
                let caller = Caller::new("str0m", &[]).await;
                let offer = caller.offer().await.to_string();
                let reply = request(server, "POST", "/offer", &[], &offer).await;
                caller.connect(&reply).await;
                caller.echo("one").await;
                caller
            }
        });
        let caller = call.await.expect("a call");
        runtime.shutdown_background();
        drop(caller);
        server.empty().await;
        let totals = &server.stats().await["totals"];
        assert_eq!(
            (&totals["answered"], &totals["connected"]),
            (&json!(2), &json!(1))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_call_at_once() {
    for stack in STACKS {
        let server = Server::start(&format!("--backend {stack}"));
        let seen = load::calls(&server, 20, Duration::from_secs(2)).await;
        assert!(seen.frames > 20 * 30, "{seen:?}");
        let few = load::memory_at_rest(&server, u64::MAX).await;
        let seen = load::calls(&server, 60, Duration::from_secs(1)).await;
        assert!(seen.frames > 60 * 10, "{seen:?}");
        load::memory_at_rest(&server, few).await;
        let totals = &server.stats().await["totals"];
        assert_eq!(totals["connected"], 80, "{totals}");
        assert_eq!(totals["ended"], 80, "{totals}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ask_for_nothing_are_few_and_end() {
    let server = Server::start("");
    let before = load::files(server.pid());
    let idle: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(server.address()).expect("the system takes it"))
        .collect();
    // Waits behind them.
    let stats = server.stats();
    let most = async {
        let mut most = 0;
        loop {
            most = load::files(server.pid()).max(most);
            assert!(most <= before + 140, "{most} files, {before} before");
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        stats = stats => assert_eq!(stats["callers"], json!([])),
        () = most => unreachable!("it goes on"),
    }
    let ended = tokio::task::spawn_blocking(move || {
        for mut stream in idle {
            let limit = stream.set_read_timeout(Some(Duration::from_secs(30)));
            limit.expect("a limit");
            let mut said = Vec::new();
            stream.read_to_end(&mut said).expect("it ends");
        }
    });
    ended.await.expect("all have ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_and_every_interface() {
    for (listen, bind) in [
        ("::1", "[::1]:0"),
        ("0.0.0.0", "127.0.0.1:0"),
        ("::", "127.0.0.1:0"),
    ] {
        let server = Server::start(&format!("--listen {listen}"));
        let config = PeerConfig {
            bind: vec![bind.parse().expect("an address")],
            ..PeerConfig::default()
        };
        let caller = Caller::with("webrtc-rs", &[], config).await;
        caller.connect(&server.post(&caller.offer().await).await).await;
        caller.echo(listen).await;
        caller.peer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quit_is_for_scripts() {
    let server = Server::start("--allow-quit");
    let caller = Caller::call(&server, "str0m", &[]).await;
    let page = [("Origin", "http://127.0.0.1")];
    let refused = server.request("POST", "/quit", &page, "").await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert_eq!(server.request("GET", "/quit", &[], "").await.status, 405);
    assert_eq!(server.request("POST", "/quit", &[], "").await.status, 200);
    caller.left_by_the_server().await;
    assert_eq!(server.ended().await, Some(0));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_all_calls() {
    for (stack, signal, code) in [("str0m", "-TERM", 143), ("webrtc-rs", "-INT", 130)] {
        let server = Server::start(&format!("--backend {stack}"));
        let caller = Caller::call(&server, "str0m", &[]).await;
        caller.echo("before").await;
        crate::signal(signal, server.pid());
        caller.left_by_the_server().await;
        assert_eq!(server.ended().await, Some(code));
    }
}

impl Caller {
    /// Waits until the server has said goodbye.
    async fn left_by_the_server(&self) {
        deadline("the goodbye", self.channel.closed()).await;
        self.peer.close().await;
    }
}

#[test]
fn a_port_that_is_taken_is_said() {
    let server = Server::start("");
    let port = server.address().port();
    let output = crate::run(&format!("echo --port {port}"));
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{errors}"
    );
    assert!(output.stdout.is_empty());
}
