//! Each library in each variant, on loopback and in memory.

use crate::{ByHand, Error, Variant, all};
use std::{net::IpAddr, sync::Arc, time::Duration};
use visavis_core::{MemoryNetwork, Net, RealNet};

fn find(name: &str, variant: Variant) -> Arc<dyn ByHand> {
    let mut all = all().into_iter();
    all.find(|one| one.name() == name && one.variant() == variant)
        .unwrap()
}

fn real() -> [Arc<dyn Net>; 2] {
    [RealNet::shared(), RealNet::shared()]
}

/// Two hosts of a network on which every datagram takes a millisecond.
fn memory() -> [Arc<dyn Net>; 2] {
    let network = MemoryNetwork::new(Duration::from_millis(1));
    [1, 2].map(|last| network.host([IpAddr::from([127, 11, 0, last])]) as Arc<dyn Net>)
}

/// Does all work that there is, `factor` times, and returns how long each took.
async fn exercise(one: &dyn ByHand, nets: [Arc<dyn Net>; 2], factor: u64) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut note = |what: &str, size: usize, count: u64, took: Duration| {
        let each = count as f64 / took.as_secs_f64();
        let (name, variant) = (one.name(), one.variant().name());
        let megabytes = each * size as f64 / 1e6;
        println!("{name:>9} {variant:<8} {what:<11} {size:>5} B {each:>9.0}/s {megabytes:>6.1} MB/s");
        times.push(took);
    };
    let mut pair = one.connect(nets).await.unwrap();
    for size in [1_200, 12_000, 60_000] {
        let count = 50 * factor;
        let took = pair.frames(size, 8, count).await.unwrap();
        let window = pair.window(size, 8);
        note(&format!("frames x{window}"), size, count, took);
    }
    for (size, count) in [(64 * 1024, 50 * factor), (100, 500 * factor)] {
        let took = pair.messages(size, count).await.unwrap();
        note("messages", size, count, took);
    }
    let count = 100 * factor;
    let took = pair.round_trips(100, count).await.unwrap();
    note("round trips", 100, count, took);
    // Frames go on after something else, and after a run of another size.
    pair.frames(1_200, 1, 3).await.unwrap();
    pair.close().await.unwrap();
    times
}

macro_rules! on_loopback {
    ($($name:ident: $library:literal, $variant:expr;)+) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn calls() {
                for _ in 0..3 {
                    find($library, $variant).handshake(real()).await.unwrap();
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn works_on_two_threads() {
                exercise(&*find($library, $variant), real(), 1).await;
            }

            #[tokio::test]
            async fn works_on_one_thread() {
                exercise(&*find($library, $variant), real(), 1).await;
            }
        }
    )+};
}

on_loopback! {
    str0m_defaults: "str0m", Variant::Defaults;
    str0m_tuned: "str0m", Variant::Tuned;
    webrtc_rs_defaults: "webrtc-rs", Variant::Defaults;
    webrtc_rs_tuned: "webrtc-rs", Variant::Tuned;
}

#[tokio::test(start_paused = true)]
async fn str0m_is_exact_in_memory() {
    for variant in [Variant::Defaults, Variant::Tuned] {
        let one = find("str0m", variant);
        let first = one.handshake(memory()).await.unwrap();
        assert_eq!(one.handshake(memory()).await.unwrap(), first);
        let first = exercise(&*one, memory(), 1).await;
        assert_eq!(exercise(&*one, memory(), 1).await, first);
    }
}

/// The library's driver looks at what is ready in random order (`futures::select!`), so one run differs from the next
/// by a millisecond. The order is the same in each process.
#[tokio::test(start_paused = true)]
async fn tuned_webrtc_rs_runs_in_memory() {
    let one = find("webrtc-rs", Variant::Tuned);
    let first = one.handshake(memory()).await.unwrap();
    let second = one.handshake(memory()).await.unwrap();
    println!("{first:?} {second:?}");
    assert!(
        first.abs_diff(second) <= Duration::from_millis(5),
        "{first:?} {second:?}"
    );
    let times = exercise(&*one, memory(), 1).await;
    println!("{times:?}");
}

#[tokio::test(start_paused = true)]
async fn webrtc_rs_with_its_defaults_needs_real_sockets() {
    let one = find("webrtc-rs", Variant::Defaults);
    let refused = one.handshake(memory()).await.unwrap_err();
    assert!(matches!(refused, Error::Unsupported("webrtc-rs")), "{refused}");
}
