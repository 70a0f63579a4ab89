//! What the tests ask a server, and wait for.

use crate::{
    http::{self, Reply},
    server::Server,
};
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use visavis_core::Backend;

/// Callers that are not gone after this long stay.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks, off the async threads.
pub(super) async fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let own = |text: &str| text.to_owned();
    let (method, path, body) = (own(method), own(path), own(body));
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (own(name), own(value)))
        .collect();
    let asked = tokio::task::spawn_blocking(move || {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        http::request(server, &method, &path, &headers, &body)
    });
    asked.await.expect("a request")
}

impl Server {
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
        request(self.address(), method, path, headers, body).await
    }

    /// Sends an offer.
    pub(crate) async fn post(&self, offer: &Value) -> Reply {
        let json = [("Content-Type", "application/json")];
        self.request("POST", "/offer", &json, &offer.to_string()).await
    }

    pub(crate) async fn stats(&self) -> Value {
        let reply = self.request("GET", "/stats", &[], "").await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }

    /// The stats when they are as wanted.
    pub(crate) async fn stats_when(&self, wanted: impl Fn(&Value) -> bool) -> Value {
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
    pub(crate) async fn empty(&self) {
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

/// The stack of that name.
pub(super) fn backend(name: &str) -> Arc<dyn Backend> {
    match name {
        "str0m" => Arc::new(visavis_str0m::Str0m::new()),
        "webrtc-rs" => Arc::new(visavis_webrtc_rs::WebrtcRs::new()),
        _ => panic!("there is no stack {name}"),
    }
}
