//! An endpoint for `visavis probe`: echoes what a caller sends, or does not, as it is told.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::{runtime::Runtime, time::Instant};
use visavis_core::{
    Backend, DataChannel, Message, OutgoingFrame, PeerConfig, PeerConnection, PeerEvent, RealNet,
    SessionDescription, Transceiver,
};

/// What is wrong with an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Takes the request and never answers.
    Hangs,
    /// Answers with this status and body.
    Body(u16, &'static str),
    /// Speaks something else.
    NotHttp,
    /// Answers with the fingerprint of another certificate.
    Fingerprint,
    /// Answers with candidates where nobody is.
    Unreachable,
    /// Changes what it echoes.
    SpoilsMessages,
    /// Sends no pictures and no sound back.
    KeepsMedia,
}

/// An endpoint on a port of its own, for as long as the test runs.
pub(super) struct Endpoint {
    port: u16,
}

impl Endpoint {
    pub(super) fn start(stack: &str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let stack = stack.to_owned();
        thread::spawn(move || {
            let runtime = Runtime::new().expect("a runtime");
            let mut calls = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.expect("a caller");
                calls.push(answer(&runtime, &stack, fault, stream));
            }
        });
        Self { port }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A URL at which nobody listens.
    pub(super) fn free_port() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("it is bound"))
    }
}

/// Answers one request; what keeps the call, or the connection, alive.
fn answer(
    runtime: &Runtime,
    stack: &str,
    fault: Fault,
    mut stream: TcpStream,
) -> (TcpStream, Option<PeerConnection>) {
    let body = request(&stream);
    let (status, body, peer) = match fault {
        Fault::Hangs => return (stream, None),
        Fault::NotHttp => {
            let _ = stream.write_all(b"220 mail is welcome\r\n");
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return (stream, None);
        }
        Fault::Body(status, body) => (status, body.to_owned(), None),
        _ => {
            let offer: SessionDescription = serde_json::from_slice(&body).expect("an offer");
            let (peer, answer) = runtime.block_on(call(stack, fault, offer));
            let body = serde_json::to_string(&answer).expect("JSON");
            (200, body, Some(peer))
        }
    };
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close");
    let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    (stream, peer)
}

/// The body of `POST /offer`.
fn request(stream: &TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    reader.read_line(&mut line).expect("a request");
    assert!(line.starts_with("POST /offer HTTP/1.1"), "{line}");
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    body
}

fn backend(stack: &str) -> Arc<dyn Backend> {
    match stack {
        #[cfg(feature = "str0m")]
        "str0m" => Arc::new(visavis_str0m::Str0m::new()),
        #[cfg(feature = "webrtc-rs")]
        "webrtc-rs" => Arc::new(visavis_webrtc_rs::WebrtcRs::new()),
        other => panic!("no stack {other}"),
    }
}

async fn call(stack: &str, fault: Fault, offer: SessionDescription) -> (PeerConnection, SessionDescription) {
    let config = PeerConfig::loopback();
    let peer = PeerConnection::new(&*backend(stack), config, RealNet::shared())
        .await
        .expect("a peer");
    let sdp: visavis_core::Sdp = offer.sdp.parse().expect("SDP");
    let mut tracks = Vec::new();
    for kind in sdp.sections().filter_map(|line| line.kind()) {
        if kind != visavis_core::MediaKind::Application {
            tracks.push(peer.add_track(kind).await.expect("a track"));
        }
    }
    let mut events = peer.events();
    peer.set_remote_description(offer).await.expect("a good offer");
    peer.set_local_description(None).await.expect("an answer");
    peer.gathered().await.expect("candidates");
    let mut answer = peer.local_description().expect("an answer");
    match fault {
        Fault::Fingerprint => answer.sdp = another_fingerprint(&answer.sdp),
        Fault::Unreachable => {
            let lines = answer
                .sdp
                .lines()
                .filter(|line| !line.starts_with("a=candidate:"));
            answer.sdp = lines.flat_map(|line| [line, "\r\n"]).collect();
            peer.close().await;
        }
        _ => {}
    }
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let PeerEvent::DataChannel(channel) = event {
                tokio::spawn(echo_messages(channel, fault));
            }
        }
    });
    if fault != Fault::KeepsMedia {
        for track in tracks {
            tokio::spawn(echo_frames(track));
        }
    }
    (peer, answer)
}

/// The same answer with one digit changed in each fingerprint.
fn another_fingerprint(sdp: &str) -> String {
    let change = |line: &str| match line.strip_prefix("a=fingerprint:sha-256 ") {
        Some(hash) => {
            let digit = if hash.starts_with('0') { '1' } else { '0' };
            format!("a=fingerprint:sha-256 {digit}{}\r\n", &hash[1..])
        }
        None => format!("{line}\r\n"),
    };
    sdp.lines().map(change).collect()
}

async fn echo_messages(channel: DataChannel, fault: Fault) {
    assert_eq!(channel.label(), "echo");
    while let Some(mut message) = channel.recv().await {
        if fault == Fault::SpoilsMessages && message.as_text().is_some() {
            message = Message::from("x".repeat(message.len()));
        }
        if channel.send(message).await.is_err() {
            return;
        }
    }
}

async fn echo_frames(track: Transceiver) {
    let (sender, receiver) = (track.sender(), track.receiver());
    loop {
        let frame = tokio::select! {
            frame = receiver.recv() => frame,
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                if sender.take_keyframe_request() {
                    receiver.request_keyframe();
                }
                continue;
            }
        };
        let Some(frame) = frame else { return };
        if sender.take_keyframe_request() && !frame.keyframe {
            receiver.request_keyframe();
        }
        sender.try_send(OutgoingFrame {
            codec: frame.codec,
            payload: frame.payload,
            keyframe: frame.keyframe,
            media_time: frame.media_time,
            captured: Instant::now(),
        });
    }
}
