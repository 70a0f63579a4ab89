//! A sender that lowers its bitrate when the network says so, and raises it again.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use visavis_core::{Bitrate, PairConfig, PeerPair, Side, net::impair::Impairments};
use visavis_media::{
    session::{CallMedia, MediaPlan, OpenMedia},
    source::FrameRate,
};
use visavis_tests::{DEADLINE, World, deadline, within};

/// What the encoders may use.
const CEILING: u64 = 1_000_000;

/// How often a way is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What was seen of a way.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// Since the media began.
    at: Duration,
    /// What the encoder aims at.
    target: u64,
    decoded: u64,
    bytes: u64,
    /// From capture to decoding, of the last picture.
    age: Duration,
    /// Packets of sound that arrived.
    sound: u64,
}

/// Looks at both ways of a call with pictures of this size while the path from the offerer changes: from these
/// seconds on it is like that.
async fn watched(
    world: &World,
    size: (usize, usize),
    changes: &[(u64, &str)],
    seconds: u64,
) -> [Vec<Look>; 2] {
    let mut plan = MediaPlan::checked(size, FrameRate::new(30, 1).unwrap());
    plan.both_ways = true;
    plan.video.as_mut().unwrap().bitrate = Some(Bitrate::from_bps(CEILING));
    let pair = world.pair(PairConfig {
        media: plan.pair_media(),
        ..PairConfig::default()
    });
    pair.start().await.unwrap();
    let opened = OpenMedia::open(&plan).await.unwrap();
    let call = deadline("the call", pair.call()).await.unwrap();
    let media = CallMedia::start(&call, &plan, opened, DEADLINE).await.unwrap();
    let began = Instant::now();
    let [from, to] = [Side::Offerer, Side::Answerer].map(|side| world.bind(side)[0].ip());
    let mut changes = changes.iter().peekable();
    let mut looks = [Vec::new(), Vec::new()];
    let looking = async {
        for step in 1..=(seconds * 1_000 / LOOK.as_millis() as u64) as u32 {
            sleep_until(began + LOOK * step).await;
            let at = LOOK * step;
            if let Some((_, path)) = changes.next_if(|(second, _)| at >= Duration::from_secs(*second)) {
                let path: Impairments = path.parse().unwrap();
                world.memory().set_link(from, to, path);
            }
            for side in [Side::Offerer, Side::Answerer] {
                let live = media.live(side).unwrap();
                looks[side as usize].push(Look {
                    at,
                    target: live.target.map_or(CEILING, Bitrate::bps),
                    decoded: live.decoded,
                    bytes: live.bytes_sent,
                    age: live.capture_to_decode.unwrap_or_default(),
                    sound: live.packets_received,
                });
            }
        }
    };
    within(Duration::from_secs(seconds + 60), "the call", looking).await;
    drop(media);
    pair.hang_up().await.unwrap();
    looks
}

/// The largest time without a new picture.
fn longest_gap(looks: &[Look]) -> Duration {
    let (mut since, mut decoded, mut longest) = (looks[0].at, looks[0].decoded, Duration::ZERO);
    for look in looks {
        longest = longest.max(look.at.saturating_sub(since));
        if look.decoded > decoded {
            (since, decoded) = (look.at, look.decoded);
        }
    }
    longest
}

/// Bits a second of pictures that were sent.
fn rate(looks: &[Look]) -> u64 {
    let (first, last) = (looks[0], looks[looks.len() - 1]);
    ((last.bytes - first.bytes) as f64 * 8.0 / last.at.saturating_sub(first.at).as_secs_f64()) as u64
}

/// Those of these seconds.
fn between(looks: &[Look], seconds: std::ops::Range<u64>) -> &[Look] {
    let index = |second: u64| (second * 1_000 / LOOK.as_millis() as u64) as usize;
    &looks[index(seconds.start)..index(seconds.end)]
}

/// From second 5 to 25 the path carries 500 kbit/s, which is less than the pictures take.
async fn bottleneck(world: World, limit: &str) {
    let world = world.with_delay(Duration::from_millis(30));
    let changes = [(5, limit), (25, "delay=30ms")];
    let [limited, free] = watched(&world, (640, 480), &changes, 40).await;
    let before = rate(between(&limited, 2..5));
    let under = between(&limited, 8..25);
    let mut ages: Vec<_> = under.iter().map(|look| look.age).collect();
    ages.sort_unstable();
    let p95 = ages[ages.len() * 95 / 100];
    let onset = longest_gap(between(&limited, 5..8));
    let least = under.iter().map(|look| look.target).min().unwrap();
    let recovered = between(&limited, 25..40)
        .iter()
        .find(|look| look.target > CEILING * 8 / 10)
        .map(|look| look.at.saturating_sub(Duration::from_secs(25)));
    println!(
        "{}: {limit}: {before} bit/s before, {} under the limit (target at least {least}), {} after; age p95 {p95:.0?}, \
         most {:.0?}; longest gap at the onset {onset:.0?}, later {:.0?}; recovered after {recovered:?}",
        world.stacks,
        rate(under),
        rate(between(&limited, 37..40)),
        ages[ages.len() - 1],
        longest_gap(under),
    );
    assert!(before > 500_000, "the limit is one: {before}");
    assert!(p95 < Duration::from_secs(1), "{p95:?}");
    for seconds in [5..8, 8..25, 25..40] {
        let gap = longest_gap(between(&limited, seconds.clone()));
        assert!(
            gap < Duration::from_millis(1_500),
            "{gap:?} in seconds {seconds:?}"
        );
    }
    assert!(
        longest_gap(under) < Duration::from_secs(1),
        "{:?}",
        longest_gap(under)
    );
    assert!(under.iter().all(|look| look.target < 500_000), "{under:?}");
    assert!(rate(under) > 150_000, "{}", rate(under));
    let sound = under[under.len() - 1].sound - under[0].sound;
    assert!(sound > 17 * 50 * 95 / 100, "{sound} packets of sound");
    assert!(recovered.is_some(), "{:?}", limited.last());
    assert!(rate(between(&limited, 37..40)) > before * 8 / 10);
    // The other way has nothing to do with it, but that its feedback comes late.
    assert!(free.iter().all(|look| look.target == CEILING), "{free:?}");
}

pub(super) async fn a_bottleneck(world: World) {
    bottleneck(world, "delay=30ms,rate=500kbps").await;
}

pub(super) async fn a_bottleneck_with_a_long_queue(world: World) {
    bottleneck(world, "delay=30ms,rate=500kbps,queue=1s").await;
}

/// Nothing is taken from a path that carries all, and not much from one that loses some.
pub(super) async fn a_clean_path_is_not_limited(world: World) {
    let world = world.with_delay(Duration::from_millis(30));
    let looks = watched(&world, (320, 240), &[(15, "delay=30ms,loss=1%")], 45).await;
    for looks in looks {
        assert!(between(&looks, 0..15).iter().all(|look| look.target == CEILING));
        let least = looks.iter().map(|look| look.target).min();
        assert!(least > Some(CEILING * 7 / 10), "{least:?}");
    }
}
