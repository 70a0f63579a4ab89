//! Names on a real network: two hosts, which are network namespaces joined by a veth pair. The tests run themselves again
//! in namespaces of their own, which end with them, whatever happens.
#![cfg(target_os = "linux")]

use mdns_sd::{ServiceDaemon, ServiceInfo};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::{
    fs::{self, File},
    net::IpAddr,
    os::fd::AsFd,
    process::Command,
    thread,
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use visavis_core::{Candidate, SessionDescription};
use visavis_signaling::mdns::Resolver;

const INSIDE: &str = "VISAVIS_TEST_NAMESPACE";

const FAR: [&str; 2] = ["10.78.0.2", "fd78::2"];

/// The network: this host is `near`, and there is one more, in the namespace `far`. `/run`, where `ip` keeps the names of
/// namespaces, is this process's own.
const NETWORK: &str = r#"set -e
mount -t tmpfs none /run
ip link set lo up
ip netns add far
ip link add near type veth peer name far netns far
ip address add 10.78.0.1/24 dev near
ip address add fd78::1/64 dev near nodad
ip link set near up
ip -n far link set lo up
ip -n far address add 10.78.0.2/24 dev far
ip -n far address add fd78::2/64 dev far nodad
ip -n far link set far up
for _ in $(seq 100); do
    ip -br link show near | grep -q ' UP ' && ip -n far -br link show far | grep -q ' UP ' && exec "$@"
    sleep 0.05
done
echo 'the interfaces do not come up' >&2
exit 1"#;

/// Whether this process is in the test's network. Otherwise runs `test` there, or says why that cannot be.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let own = ["--net", "--mount"];
    let allowed = Command::new("unshare").args(own).args(["ip", "link"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        let words = "left out: it needs root, unshare and ip (iproute2), for network namespaces";
        assert!(std::env::var_os("VISAVIS_REQUIRE_ALL").is_none(), "{words}");
        println!("{words}");
        return false;
    }
    let status = Command::new("unshare")
        .args(own)
        .args(["sh", "-c", NETWORK, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} in its network: {status}");
    false
}

/// Says on the network that `name` is at `address`, until dropped.
struct Responder(ServiceDaemon);

impl Responder {
    fn new(name: &str, address: &str) -> Self {
        let daemon = ServiceDaemon::new().unwrap();
        let host = format!("{name}.");
        let mut service = ServiceInfo::new("_visavis._udp.local.", name, &host, address, 9, None).unwrap();
        service.set_requires_probe(false);
        daemon.register(service).unwrap();
        Self(daemon)
    }

    /// On the other host: its sockets and threads are where the thread is that makes it.
    fn far(name: &'static str, address: &'static str) -> Self {
        let namespace = File::open("/run/netns/far").unwrap();
        let made = thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            Self::new(name, address)
        });
        made.join().unwrap()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.0.shutdown();
    }
}

const NAMES: [&str; 3] = [
    "1f4712db-ea17-4bcf-a596-105139dfd8bf.local",
    "2f4712db-ea17-4bcf-a596-105139dfd8bf.local",
    "3f4712db-ea17-4bcf-a596-105139dfd8bf.local",
];
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000.local";

/// How many mDNS daemons this process runs.
fn daemons() -> usize {
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    threads
        .filter(|thread| {
            let name = fs::read_to_string(thread.path().join("comm"));
            name.is_ok_and(|name| name.trim() == "mDNS_daemon")
        })
        .count()
}

async fn daemons_become(count: usize) {
    let began = Instant::now();
    while daemons() != count {
        assert!(began.elapsed() < Duration::from_secs(10), "{} daemons", daemons());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn names_of_this_host_and_the_next_are_found() {
    if !inside("names_of_this_host_and_the_next_are_found") {
        return;
    }
    let responders = [
        Responder::far(NAMES[0], FAR[0]),
        Responder::far(NAMES[1], FAR[1]),
        Responder::new(NAMES[2], "10.78.0.1"),
    ];
    daemons_become(3).await;
    let resolver = Resolver::new();
    let trickled = |name: &str| Candidate {
        candidate: format!("candidate:1 1 udp 1 {name} 5000 typ host"),
        ..Candidate::default()
    };
    let plain = SessionDescription::offer("v=0\r\na=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n");
    assert_eq!(resolver.literal_description(plain.clone()).await, plain);
    assert_eq!(resolver.resolve("printer.local").await, None);
    assert_eq!(daemons(), 3, "nothing was to be looked up");

    let began = Instant::now();
    for (name, address) in NAMES.into_iter().zip([FAR[0], FAR[1], "10.78.0.1"]) {
        let found = timeout(Duration::from_secs(10), resolver.resolve(name))
            .await
            .unwrap();
        assert_eq!(found, Some(address.parse::<IpAddr>().unwrap()), "{name}");
        println!("{name} is {address}, known after {:?}", began.elapsed());
    }
    let began = Instant::now();
    let unknown = timeout(Duration::from_secs(10), resolver.resolve(UNKNOWN))
        .await
        .unwrap();
    assert_eq!(unknown, None);
    println!("an unknown name is given up after {:?}", began.elapsed());
    assert_eq!(daemons(), 4);

    // What is known does not need the one who said it, and all names are looked for together.
    drop(responders);
    daemons_become(1).await;
    let lines: String = [NAMES[0], UNKNOWN, NAMES[1]]
        .map(|name| format!("a={}\r\n", trickled(name).candidate))
        .concat();
    let literal = resolver
        .literal_description(SessionDescription::offer(format!("v=0\r\n{lines}")))
        .await;
    assert_eq!(
        literal.sdp,
        "v=0\r\na=candidate:1 1 udp 1 10.78.0.2 5000 typ host\r\na=candidate:1 1 udp 1 fd78::2 5000 typ host\r\n"
    );
    let clone = resolver.clone();
    assert_eq!(
        clone.literal_candidate(trickled(NAMES[0])).await,
        Some(trickled(FAR[0]))
    );
    drop(resolver);
    assert_eq!(clone.literal_candidate(trickled(UNKNOWN)).await, None);
    assert_eq!(daemons(), 1);
    drop(clone);
    daemons_become(0).await;
}
