//! A server in a process of its own.

use super::http::{self, Reply};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep};
use visavis_core::Backend;

/// Callers that are not gone after this long stay.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `visavis echo`; killed when it is dropped.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    // Open for as long as it runs.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it on a free port and waits until it listens.
    pub(super) fn start(args: &str) -> Self {
        let mut child = crate::visavis(&format!("echo --port 0 {args}"))
            .stderr(std::process::Stdio::inherit())
            .spawn()
            .expect("visavis runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("a line of JSON");
        let url = ready["listening"].as_str().expect("where it listens");
        let mut address: SocketAddr = url
            .strip_prefix("http://")
            .expect("a URL")
            .parse()
            .expect("an address");
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Self {
            child,
            address,
            _stdout: stdout,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        http::request(self.address, method, path, headers, body).await
    }

    /// Sends an offer.
    pub(super) async fn post(&self, offer: &Value) -> Reply {
        let json = [("Content-Type", "application/json")];
        self.request("POST", "/offer", &json, &offer.to_string()).await
    }

    pub(super) async fn stats(&self) -> Value {
        let reply = self.request("GET", "/stats", &[], "").await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    /// The stats when they are as wanted.
    pub(super) async fn stats_when(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let stats = self.stats().await;
            if wanted(&stats) {
                return stats;
            }
            assert!(began.elapsed() < PATIENCE, "not what is waited for: {stats}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until nobody calls any more.
    pub(super) async fn empty(&self) {
        self.stats_when(|stats| stats["callers"] == serde_json::json!([]))
            .await;
    }

    /// Waits for its end; the exit code.
    pub(super) async fn ended(mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The stack of that name.
pub(super) fn backend(name: &str) -> Arc<dyn Backend> {
    match name {
        "str0m" => Arc::new(visavis_str0m::Str0m::new()),
        "webrtc-rs" => Arc::new(visavis_webrtc_rs::WebrtcRs::new()),
        _ => panic!("there is no stack {name}"),
    }
}
