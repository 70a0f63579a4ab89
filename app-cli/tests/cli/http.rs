//! As much of an HTTP client as the tests need: a request a connection.

use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A request that takes longer than this hangs.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: String,
    pub(super) body: String,
}

impl Reply {
    /// The body's JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The value of a header; its name in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.lines().filter_map(|line| line.split_once(": "));
        headers.find_map(|(n, value)| n.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// Asks, and waits for the answer.
pub(super) fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let headers: String = headers
        .iter()
        .flat_map(|(name, value)| [*name, ": ", *value, "\r\n"])
        .collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    ask(server, &head, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

fn ask(server: SocketAddr, head: &str, body: &str) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(head.as_bytes())?;
    // A server that has seen enough may answer before it was all sent.
    let sent = stream.write_all(body.as_bytes());
    let mut text = Vec::new();
    let read = stream.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let Some((headers, body)) = text.split_once("\r\n\r\n") else {
        sent.and(read)?;
        return Err(io::Error::other(format!("no answer: {text:?}")));
    };
    let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Reply {
        status: status.ok_or_else(|| io::Error::other("no status"))?,
        headers: headers.to_owned(),
        body: body.to_owned(),
    })
}
