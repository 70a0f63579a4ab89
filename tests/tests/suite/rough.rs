//! Bad paths, again and again with other seeds. `VISAVIS_SEEDS=100` has that many of each tried.

use crate::flow::{receive, send};
use std::time::Duration;
use tokio::time::Instant;
use visavis_core::{Codec, ConnectionState, Direction, PairConfig, PeerPair, Side, net::impair::Impairments};
use visavis_tests::{
    CallSetup, Stack, World,
    frames::Plan,
    media::{AtOnce, line, paced, watch},
    ping, within,
};

fn impairments(text: &str) -> Impairments {
    text.parse().expect("impairments")
}

/// Calls with each of twenty seeds, none of which may fail. The median of the milliseconds until the channel is open.
async fn handshakes(world: &World, text: &str) -> Option<f64> {
    let impairments = impairments(text);
    let limit = Duration::from_secs(120);
    let once = async |seed| {
        let world = world.on_paths(impairments, seed);
        let mut config = PairConfig {
            timeout: limit,
            ..PairConfig::default()
        };
        config.offerer.connect_timeout = limit;
        config.answerer.connect_timeout = limit;
        let pair = world.pair(config);
        pair.start().await.unwrap();
        let setup = pair.call().await.unwrap().setup();
        pair.hang_up().await.unwrap();
        setup.as_secs_f64() * 1e3
    };
    let mut times = world.each_seed(20, once).await?;
    times.sort_unstable_by(f64::total_cmp);
    let [median, most] = [times.len() / 2, times.len() - 1].map(|n| times[n]);
    println!(
        "{}: {text}: median {median:.0} ms, most {most:.0} ms",
        world.stacks
    );
    Some(median)
}

/// None fails, and half of them take at most half of what they take with the stacks' own timers.
pub(super) async fn handshakes_at_10_percent_loss(world: World) {
    if let Some(median) = handshakes(&world, "delay=50ms,loss=10%").await {
        assert!(median <= 1_000.0, "{median}");
    }
}

pub(super) async fn handshakes_at_30_percent_loss(world: World) {
    if let Some(median) = handshakes(&world, "delay=50ms,loss=30%").await {
        assert!(median <= 3_500.0, "{median}");
    }
}

/// Losses in rows, and datagrams that come late or twice. No wrong bits: nothing protects a handshake from them but
/// UDP's checksum.
pub(super) async fn handshakes_on_a_rough_path(world: World) {
    handshakes(
        &world,
        "delay=50ms,jitter=20ms,loss=10%,burst=3,reorder=5%,duplicate=5%",
    )
    .await;
}

/// Half a call is enough: a path on which only one direction is bad.
pub(super) async fn handshakes_with_one_bad_direction(world: World) {
    let once = async |seed| {
        let world = world.on_paths(impairments("delay=30ms"), seed);
        let [a, b] = [Side::Offerer, Side::Answerer].map(|side| world.bind(side)[0].ip());
        let (from, to) = if seed % 2 == 0 { (a, b) } else { (b, a) };
        let bad = impairments("delay=30ms,loss=30%");
        world.memory().set_link(from, to, bad);
        let call = world.call().await;
        let lost = world.memory().counts().lost;
        world.memory().set_impairments(Impairments::default(), 0);
        call.close().await;
        lost
    };
    if let Some(lost) = world.each_seed(10, once).await {
        assert!(lost.iter().step_by(2).any(|lost| *lost > 0), "{lost:?}");
        assert!(lost.iter().skip(1).step_by(2).any(|lost| *lost > 0), "{lost:?}");
    }
}

/// 10 MiB in messages of all sizes, whole and in order. Bits go wrong once DTLS is up.
pub(super) async fn bulk_on_a_rough_path(world: World) {
    const SIZE: usize = 16_384;
    const COUNT: usize = 10 * 1024 * 1024 / SIZE;
    let once = async |seed| {
        let world = world.on_paths(impairments("delay=10ms"), seed);
        let call = world
            .call_with(CallSetup {
                // Many checks in a row are lost; the path is there.
                disconnected_after: Duration::from_secs(60),
                failed_after: Duration::from_secs(60),
                ..CallSetup::default()
            })
            .await;
        let bad = impairments("delay=10ms,loss=10%,reorder=5%,duplicate=5%,corrupt=1%");
        world.memory().set_impairments(bad, seed);
        let began = Instant::now();
        let transfer = async { tokio::join!(send(&call.a, COUNT, SIZE), receive(&call.b, COUNT, SIZE)) };
        within(Duration::from_secs(3_600), "10 MiB", transfer).await;
        let took = began.elapsed().as_secs_f64();
        let counts = world.memory().counts();
        assert!(counts.lost > 500 && counts.corrupted > 50, "{counts:?}");
        assert_eq!(call.b.stats().bytes_received, (COUNT * SIZE) as u64);
        world
            .memory()
            .set_impairments(Impairments::delay(Duration::from_millis(10)), 0);
        ping(&call.a, &call.b).await;
        call.close().await;
        took
    };
    if let Some(mut times) = world.each_seed(2, once).await {
        times.sort_unstable_by(f64::total_cmp);
        let [median, most] = [times.len() / 2, times.len() - 1].map(|n| times[n]);
        println!(
            "{}: 10 MiB, {} seeds: median {median:.0} s, most {most:.0} s",
            world.stacks,
            times.len()
        );
    }
}

/// The path is gone for 3 s in the middle of a call: pictures move again within 2 s of its return, without a new
/// handshake, and what was lost is not waited for.
pub(super) async fn pictures_after_a_partition(world: World) {
    let world = world.with_delay(Duration::from_millis(30));
    let mut call = world.media_call(&[line(Codec::H264, Direction::SendRecv)]).await;
    let plan = Plan::new(Codec::H264).sizes(&[9_000]).keyframes_on_request();
    let (sender, receiver) = call.way(Side::Offerer, 0);
    let frames = |seconds: f64| (seconds / plan.interval().as_secs_f64()) as u32;
    let (gone, back, end) = (frames(3.0), frames(6.0), frames(12.0));
    let mut tasks = AtOnce::default();
    let memory = world.memory().clone();
    tasks.and(async move {
        paced(sender.clone(), plan, 0..gone, Duration::ZERO).0.await;
        memory.set_blocked(true);
        paced(sender.clone(), plan, gone..back, Duration::ZERO).0.await;
        memory.set_blocked(false);
        paced(sender, plan, back..end + 1, Duration::ZERO).0.await;
    });
    let watched = watch(receiver, plan, end);
    let watched = within(Duration::from_secs(60), "the last picture", watched).await;
    tasks.end().await;
    let first = watched.reader.arrived.iter().copied().find(|n| *n >= back);
    let first = first.expect("a picture after the partition");
    println!(
        "{}: picture {} of those after the partition is the first",
        world.stacks,
        first - back
    );
    assert!(first - back <= frames(2.0), "the first is {} late", first - back);
    let after = watched.reader.arrived.iter().filter(|n| **n >= back).count() as u32;
    assert_eq!(after, end + 1 - first, "none is missing from then on");
    for side in [Side::Offerer, Side::Answerer] {
        let (peer, _) = call.call.side(side);
        peer.log.drain().await;
        assert!(!peer.log.connections().contains(&ConnectionState::Failed));
    }
    call.close().await;
}

/// Round trips until the channel is open on a path without loss: what the protocols need, and one for each stack's
/// ways ([findings](../../../docs/findings.md)).
pub(super) async fn round_trips_of_a_clean_path(world: World) {
    const RTT: Duration = Duration::from_millis(100);
    let world = world.with_delay(RTT / 2);
    let pair = world.pair(PairConfig::default());
    pair.start().await.unwrap();
    let sent = world.memory().counts().sent;
    let call = pair.call().await.unwrap();
    let trips = call.setup().as_secs_f64() / RTT.as_secs_f64();
    println!(
        "{}: {trips:.2} round trips, {} datagrams",
        world.stacks,
        world.memory().counts().sent - sent
    );
    let most = match [Side::Offerer, Side::Answerer].map(|side| world.stacks.side(side)) {
        [Stack::Str0m, Stack::Str0m] => 6.0,
        [Stack::WebrtcRs, Stack::WebrtcRs] => 7.2,
        _ => 7.5,
    };
    assert!(trips <= most, "{trips} round trips");
    pair.hang_up().await.unwrap();
}
