//! Frames on a network that loses packets: what is asked for again, what is given up, and when.

use std::time::Duration;
use tokio::sync::mpsc;
use visavis_core::{
    Codec, Direction, RtpStats, Side,
    track::{MAX_SOUND_WAIT, patience},
};
use visavis_tests::{
    World,
    frames::Plan,
    media::{AtOnce, line, paced, watch},
    ping,
};

/// A rough path.
#[derive(Debug, Clone, Copy)]
struct Path {
    loss: f64,
    one_way: Duration,
    /// The share of the pictures that must arrive.
    pictures: f64,
}

/// The stacks look at their timers at intervals.
const SLACK: Duration = Duration::from_millis(30);

const SECONDS: u64 = 30;
const LINES: [Codec; 2] = [Codec::Opus, Codec::H264];

/// 30 s of sound and pictures each way.
async fn lossy(world: &World, path: Path, seed: u64) {
    let world = world.with_delay(path.one_way);
    let media = LINES.map(|codec| line(codec, Direction::SendRecv));
    let call = world.media_call(&media).await;
    world.memory().set_loss(path.loss, seed);
    let (results, mut watched) = mpsc::unbounded_channel();
    let mut tasks = AtOnce::default();
    let mut counts = [0; 2];
    for side in [Side::Offerer, Side::Answerer] {
        for (index, codec) in LINES.into_iter().enumerate() {
            let plan = match codec {
                // Eight packets a picture.
                Codec::H264 => Plan::new(codec).sizes(&[9_000]).keyframes_on_request(),
                _ => Plan::new(codec),
            };
            let count = (SECONDS * u64::from(codec.clock_rate()) / plan.step) as u32;
            counts[index] = count;
            let (sender, receiver) = call.way(side, index);
            let memory = world.memory().clone();
            tasks.and(async move {
                paced(sender.clone(), plan, 0..count, Duration::ZERO).0.await;
                // One more on a clear path, so that the reader knows the end.
                tokio::time::sleep_until(plan.captured(count)).await;
                memory.set_loss(0.0, 0);
                assert!(sender.try_send(plan.frame(count, true)));
            });
            let results = results.clone();
            tasks.and(async move {
                let watched = watch(receiver, plan, count).await;
                let _ = results.send((side, index, watched));
            });
        }
    }
    tasks.within(Duration::from_secs(SECONDS + 30)).await;
    drop(results);
    while let Some((side, index, watched)) = watched.recv().await {
        let codec = LINES[index];
        let arrived = watched.reader.arrived.len() - 1;
        let share = arrived as f64 / f64::from(counts[index]);
        println!(
            "{}: seed {seed}, {} % lost, {codec} of the {side}: {arrived} of {}, {} gaps, held {:?} at most",
            world.stacks,
            path.loss * 100.0,
            counts[index],
            watched.reader.after_gaps.len(),
            watched.held
        );
        let wanted = match codec {
            Codec::H264 => path.pictures,
            // Sound need not be asked for again: five standard deviations below what the path lets through.
            _ => 1.0 - path.loss - 5.0 * (path.loss / f64::from(counts[index])).sqrt(),
        };
        assert!(share > wanted, "{codec} of the {side}: {share:.4} arrived");
        // A picture may wait for one before it, and then for what it lacks itself.
        let patience = match codec {
            Codec::Opus => MAX_SOUND_WAIT,
            // Some stack waits three round trips, whatever it is told.
            _ => (patience(Some(path.one_way * 2)) * 3 / 2).max(path.one_way * 2 * 4),
        };
        assert!(
            watched.held <= patience + SLACK,
            "{codec} of the {side} was held for {:?}",
            watched.held
        );
    }
    for side in [Side::Offerer, Side::Answerer] {
        let (sent, _) = call.stats(side, 1).await;
        let RtpStats {
            retransmitted_packets_sent,
            nacks_received,
            packets_sent,
            ..
        } = sent.rtp;
        let told = [retransmitted_packets_sent, nacks_received];
        assert!(
            told.into_iter().flatten().any(|count| count > 0),
            "the {side} has sent nothing again, or does not count it: {:?}",
            sent.rtp
        );
        // Once for each that is lost, and for those that are lost again; not as often as one can ask in a round trip.
        if let (Some(again), Some(all)) = (retransmitted_packets_sent, packets_sent) {
            let lost = all as f64 * path.loss;
            println!(
                "{}: the {side} sent {again} packets again of about {lost:.0} lost",
                world.stacks
            );
            assert!((again as f64) < 2.5 * lost, "{again} sent again of {lost:.0}");
        }
    }
    ping(&call.call.a, &call.call.b).await;
    call.close().await;
}

pub(super) async fn loss_1_percent(world: World) {
    let path = Path {
        loss: 0.01,
        one_way: Duration::from_millis(5),
        pictures: 0.99,
    };
    for seed in [1, 2] {
        lossy(&world, path, seed).await;
    }
}

pub(super) async fn loss_5_percent(world: World) {
    let path = Path {
        loss: 0.05,
        one_way: Duration::from_millis(30),
        pictures: 0.97,
    };
    for seed in [5, 6] {
        lossy(&world, path, seed).await;
    }
}

/// By satellite: what is lost is asked for about once a round trip, and there is time for the answer.
pub(super) async fn loss_on_a_long_path(world: World) {
    let path = Path {
        loss: 0.02,
        one_way: Duration::from_millis(300),
        pictures: 0.97,
    };
    lossy(&world, path, 7).await;
}
