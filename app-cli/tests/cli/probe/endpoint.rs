//! An endpoint for `visavis probe` that says what it is told to say.

use crate::http;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

/// What an endpoint says to an offer.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// Nothing, and the connection stays open.
    Nothing,
    /// What is no HTTP.
    Raw(&'static str),
    /// A status and a body.
    Reply(u16, String),
}

/// An endpoint on a port of its own, for as long as the test runs.
pub(crate) struct Endpoint {
    port: u16,
}

impl Endpoint {
    /// Says to each offer what `say` makes of it.
    pub(crate) fn start(mut say: impl FnMut(&str) -> Said + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.expect("a caller");
                let sent = match say(&offer(&stream)) {
                    Said::Nothing => {
                        open.push(stream);
                        continue;
                    }
                    Said::Raw(text) => write!(stream, "{text}"),
                    Said::Reply(status, body) => write!(
                        stream,
                        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n\
                         content-length: {}\r\n\r\n{body}",
                        body.len()
                    ),
                };
                // A client that has seen enough goes.
                drop(sent);
            }
        });
        Self { port }
    }

    /// One between a client and `visavis echo`, which changes the SDP that passes.
    pub(crate) fn between(
        echo: SocketAddr,
        change_offer: fn(&str) -> String,
        change_answer: fn(&str) -> String,
    ) -> Self {
        Self::start(move |offer| {
            let offer = changed(offer, change_offer);
            let reply = http::request(echo, "POST", "/offer", &[], &offer);
            assert_eq!(reply.status, 200, "{}", reply.body);
            Said::Reply(200, changed(&reply.body, change_answer))
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A URL at which nobody listens.
    pub(super) fn free_port() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("it is bound"))
    }
}

/// A description with a changed SDP.
pub(crate) fn changed(description: &str, change: impl Fn(&str) -> String) -> String {
    let description: Value = serde_json::from_str(description).expect("JSON");
    let sdp = description["sdp"].as_str().expect("SDP");
    json!({ "type": description["type"], "sdp": change(sdp) }).to_string()
}

/// The SDP without its candidates.
pub(crate) fn without_candidates(sdp: &str) -> String {
    let lines = sdp.lines().filter(|line| !line.starts_with("a=candidate:"));
    lines.flat_map(|line| [line, "\r\n"]).collect()
}

/// The SDP with one digit changed in each fingerprint.
pub(crate) fn another_fingerprint(sdp: &str) -> String {
    let change = |line: &str| match line.strip_prefix("a=fingerprint:sha-256 ") {
        Some(hash) => {
            let digit = if hash.starts_with('0') { '1' } else { '0' };
            format!("a=fingerprint:sha-256 {digit}{}\r\n", &hash[1..])
        }
        None => format!("{line}\r\n"),
    };
    sdp.lines().map(change).collect()
}

/// The body of `POST /offer`.
fn offer(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a request");
    assert!(line.starts_with("POST /offer HTTP/1.1"), "{line}");
    let mut length = 0;
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    String::from_utf8(body).expect("UTF-8")
}
