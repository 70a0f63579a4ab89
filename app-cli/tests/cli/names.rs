//! Candidates with mDNS names, as browsers send them, in a network namespace of the test's own. Who has the name is
//! reached by it and in no other way: it gets no candidate, so it cannot send the first check.

use crate::{
    echo::Caller,
    probe::{
        endpoint::{Endpoint, changed, without_candidates},
        works,
    },
    server::Server,
    two_terminals::call,
};
use mdns_sd::{ServiceDaemon, ServiceInfo};
use serde_json::{Value, json};
use std::process::Command;
use visavis_core::{ConnectionState, PeerConfig, SessionDescription};
use visavis_tests::deadline;

const INSIDE: &str = "VISAVIS_TEST_NAMESPACE";

/// This host on its network.
const ADDRESS: &str = "10.78.0.1";

/// Its name.
const NAME: &str = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local";

/// Nobody's.
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000.local";

const STACKS: [&str; 2] = ["str0m", "webrtc-rs"];

const NETWORK: &str = r#"set -e
ip link set lo up
ip link add near type veth peer name far
ip address add 10.78.0.1/24 dev near
ip link set far up
ip link set near up
for _ in $(seq 100); do
    ip -br link show near | grep -q ' UP ' && exec "$@"
    sleep 0.05
done
echo 'the interface does not come up' >&2
exit 1"#;

/// Whether this process is in the test's network. Otherwise runs `test` there, or says why that cannot be.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let allowed = Command::new("unshare").args(["--net", "ip", "link"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        let words = "left out: it needs root, unshare and ip (iproute2), for a network namespace";
        assert!(std::env::var_os("VISAVIS_REQUIRE_ALL").is_none(), "{words}");
        println!("{words}");
        return false;
    }
    let status = Command::new("unshare")
        .args(["--net", "sh", "-c", NETWORK, "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("a shell");
    assert!(status.success(), "{test} in its network: {status}");
    false
}

/// Says on the network where the name is, until dropped.
struct Responder(ServiceDaemon);

impl Responder {
    fn start() -> Self {
        let daemon = ServiceDaemon::new().expect("mDNS");
        let host = format!("{NAME}.");
        let service = ServiceInfo::new("_visavis._udp.local.", NAME, &host, ADDRESS, 9, None);
        let mut service = service.expect("a service");
        service.set_requires_probe(false);
        daemon.register(service).expect("it is told");
        Self(daemon)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.0.shutdown();
    }
}

/// The SDP with the name in place of the address, and after a candidate whose name nobody has.
fn named(sdp: &str) -> String {
    let lines = sdp.lines().flat_map(|line| {
        let with = |name| line.replace(&format!(" {ADDRESS} "), &format!(" {name} ")) + "\r\n";
        if line.starts_with("a=candidate:") {
            vec![with(UNKNOWN), with(NAME)]
        } else {
            vec![format!("{line}\r\n")]
        }
    });
    let named: String = lines.collect();
    assert!(named.contains(NAME), "{sdp}");
    named
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_echo_are_reached_by_their_names() {
    if !inside("names::callers_of_echo_are_reached_by_their_names") {
        return;
    }
    let _responder = Responder::start();
    for theirs in STACKS {
        let server = Server::start(&format!("--listen {ADDRESS} --backend {theirs}"));
        for ours in STACKS {
            let config = PeerConfig {
                bind: vec![format!("{ADDRESS}:0").parse().expect("an address")],
                ..PeerConfig::default()
            };
            let caller = Caller::with(ours, &[], config).await;
            let offer = changed(&caller.offer().await.to_string(), named);
            let reply = server.post(&serde_json::from_str(&offer).expect("JSON")).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            let answer = changed(&reply.body, without_candidates);
            let answer: SessionDescription = serde_json::from_str(&answer).expect("an answer");
            let set = caller.peer.set_remote_description(answer).await;
            set.expect("the answer fits");
            let connected = caller.peer.wait_for(ConnectionState::Connected);
            deadline("a connection", connected).await.expect("a connection");
            caller.echo("by name").await;
            let stats = server.stats_when(|stats| stats["callers"][0]["messages_echoed"] == 1);
            let pair = &stats.await["callers"][0]["selected_pair"];
            assert_eq!(pair["remote_type"], "host", "{theirs} with {ours}: {pair}");
            caller.peer.close().await;
            server.empty().await;
        }
        assert_eq!(server.stats().await["totals"]["connected"], json!(2));
    }
}

#[tokio::test]
async fn probe_offer_and_answer_reach_names() {
    if !inside("names::probe_offer_and_answer_reach_names") {
        return;
    }
    let _responder = Responder::start();
    for stack in STACKS {
        let server = Server::start(&format!("--listen {ADDRESS}"));
        let endpoint = Endpoint::between(server.address(), without_candidates, named);
        let report = works(&endpoint.url(), &format!("--backend {stack} --bind {ADDRESS}"));
        assert_eq!(report["data_echo_ok"], true, "{report}");
        // By the name of the one, and then of the other.
        let ours = format!("--bind {ADDRESS} --backend {stack}");
        let offer = format!("{ours} --video none --audio none --duration 500ms");
        for name_of in ["offer", "answer"] {
            let [called, answered] = call(&offer, &ours, |blob| {
                let description: Value = serde_json::from_str(blob).expect("JSON");
                let change = if description["type"] == name_of {
                    named
                } else {
                    without_candidates
                };
                changed(blob, change) + "\n"
            });
            assert!(called["texts"].as_u64() >= Some(1), "{called}");
            assert_eq!(answered["ok"], true, "{answered}");
        }
    }
}
