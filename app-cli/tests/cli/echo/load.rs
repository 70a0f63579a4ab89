//! Many callers at once.

use super::{Caller, STACKS, Server, bad};
use serde_json::Value;
use std::{env, fs, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use visavis_core::Codec;
use visavis_tests::frames::Plan;

/// 150 kbit/s at 30 pictures a second.
const SIZES: &[usize] = &[625];

/// What all callers of a run saw.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    /// Frames that were sent, in all.
    pub(super) sent: u64,
    /// Frames that came back, in all.
    pub(super) frames: u64,
    /// The most frames that a caller is short of.
    pub(super) worst: u64,
    /// How long it took until all were connected.
    pub(super) connected: Duration,
}

/// So many callers at once, of both stacks in turn: each connects, has messages echoed, sends video for `time` once
/// all are there, and hangs up.
pub(super) async fn calls(server: &Server, callers: usize, time: Duration) -> Seen {
    let began = Instant::now();
    let mut connecting = JoinSet::new();
    for n in 0..callers {
        let address = server.address();
        let codec = [Codec::H264, Codec::Vp8][n / 2 % 2];
        connecting.spawn(async move {
            let caller = Caller::new(STACKS[n % 2], &[codec]).await;
            let offer = caller.offer().await.to_string();
            let reply = super::request(address, "POST", "/offer", &[], &offer).await;
            caller.connect(&reply).await;
            caller.echo(format!("caller {n}")).await;
            (caller, codec)
        });
    }
    let connected = connecting.join_all().await;
    let mut seen = Seen {
        connected: began.elapsed(),
        ..Seen::default()
    };
    let mut watching = JoinSet::new();
    for (caller, codec) in connected {
        watching.spawn(async move {
            let counts = send_and_count(&caller, codec, time).await;
            caller.echo("goodbye").await;
            caller.peer.close().await;
            counts
        });
    }
    for (sent, back) in watching.join_all().await {
        seen.sent += sent;
        seen.frames += back;
        seen.worst = seen.worst.max(sent.saturating_sub(back));
    }
    seen
}

/// How many frames were sent, and how many came back.
async fn send_and_count(caller: &Caller, codec: Codec, time: Duration) -> (u64, u64) {
    let plan = Plan::new(codec).sizes(SIZES).keyframes_on_request();
    let (sender, receiver) = (caller.transceivers[0].sender(), caller.transceivers[0].receiver());
    let mut last = None;
    let mut back = 0;
    let send = async {
        let began = Instant::now();
        let mut n = 0;
        while began.elapsed() < time {
            sleep_until(began + plan.interval() * n).await;
            sender.try_send(plan.frame(n, sender.take_keyframe_request()));
            n += 1;
        }
        // The last ones are on their way.
        sleep(Duration::from_millis(500)).await;
    };
    let read = async {
        while let Some(frame) = receiver.recv().await {
            // A machine with too much to do leaves frames out, up to a keyframe.
            let n = plan.check(&frame);
            assert!(last.is_none_or(|last| n > last), "frame {n} after {last:?}");
            last = Some(n);
            back += 1;
        }
    };
    tokio::select! {
        () = send => {}
        () = read => panic!("the track ended"),
    }
    (sender.stats().frames_sent, back)
}

/// The resident memory of a process in KiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok());
    kib.unwrap_or(0)
}

/// How much more memory, in KiB, a server at rest may have after many callers than after a few: what the allocator
/// cannot give back because something that is in use lies beside it.
const MORE_MEMORY: u64 = 8 * 1024;

/// The resident memory of a server in KiB when everybody has left, the least within a second: not much more than
/// `before`.
pub(super) async fn memory_at_rest(server: &Server, before: u64) -> u64 {
    server.empty().await;
    let began = Instant::now();
    let mut least = u64::MAX;
    loop {
        least = memory(server.pid()).min(least);
        let enough = least <= before.saturating_add(MORE_MEMORY);
        if enough && began.elapsed() > Duration::from_secs(1) {
            return least;
        }
        assert!(
            enough || began.elapsed() < Duration::from_secs(30),
            "{least} KiB, and {before} before"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// The open files of a process.
pub(super) fn files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; ECHO_CALLERS and ECHO_ROUNDS say how many, 200 and 3 by default"]
async fn two_hundred_callers_and_bad_requests() {
    let number = |name: &str, default| env::var(name).map_or(default, |n| n.parse().expect("a number"));
    let (callers, rounds) = (number("ECHO_CALLERS", 200), number("ECHO_ROUNDS", 3));
    for stack in STACKS {
        let server = Server::start(&format!("--backend {stack}"));
        let pid = server.pid();
        let figures = |what: &str| println!("{stack}: {what}: {} KiB, {} files", memory(pid), files(pid));
        calls(&server, 20, Duration::from_secs(1)).await;
        let few = memory_at_rest(&server, u64::MAX).await;
        figures("after 20 callers");
        for round in 1..=rounds {
            let peak = async {
                let mut peak = 0;
                loop {
                    peak = memory(pid).max(peak);
                    println!("{stack}: {peak} KiB at most so far");
                    sleep(Duration::from_secs(5)).await;
                }
            };
            let seen = tokio::select! {
                seen = calls(&server, callers, Duration::from_secs(10)) => seen,
                () = peak => unreachable!("it goes on"),
            };
            memory_at_rest(&server, few).await;
            let connected = seen.connected;
            println!("{stack}: round {round}: all connected after {connected:?}: {seen:?}");
            figures("after they left");
        }
        let caller = Caller::new("str0m", &[]).await;
        let offer = caller.offer().await;
        for (what, body, status, _) in bad(&offer) {
            for _ in 0..500 {
                let reply = server.request("POST", "/offer", &[], &body).await;
                assert_eq!(reply.status, status, "{what}: {}", reply.body);
            }
        }
        figures("after 500 bad requests of each kind");
        caller.connect(&server.post(&offer).await).await;
        caller.echo("served as before").await;
        let totals: Value = server.stats().await["totals"].clone();
        println!("{stack}: {totals}");
        caller.peer.close().await;
        memory_at_rest(&server, few).await;
        figures("in the end");
    }
}
