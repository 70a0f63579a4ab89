//! Real pictures and sound, with their codecs: the pattern and the tone, checked at the far end.

use std::{sync::Arc, time::Duration};
use visavis_core::{PairConfig, PeerPair};
use visavis_media::{
    session::{CallMedia, MediaPlan, MediaReport, OpenMedia, WayReport},
    source::FrameRate,
};
use visavis_tests::{DEADLINE, World, deadline, eventually, within};

fn plan(size: (usize, usize), fps: u32) -> MediaPlan {
    MediaPlan::checked(size, FrameRate::new(fps, 1).unwrap())
}

/// A call that carries `plan` until it has gone on for `length`; `during` happens meanwhile.
async fn carry(world: &World, plan: &MediaPlan, length: Duration, during: impl AsyncFnOnce()) -> MediaReport {
    let pair = world.pair(PairConfig {
        media: plan.pair_media(),
        ..PairConfig::default()
    });
    pair.start().await.unwrap();
    let opened = OpenMedia::open(plan).await.unwrap();
    let call = deadline("the call", pair.call()).await.unwrap();
    let media = CallMedia::start(&call, plan, opened, DEADLINE).await.unwrap();
    let rate = plan.video.as_ref().map_or(0, |v| v.rate.fps().round() as u64);
    let seconds = length.as_secs();
    // The sender goes on if a little is lost.
    let arrived = media.arrived(seconds * rate * 9 / 10, seconds * 50 * 9 / 10);
    within(length * 2 + DEADLINE, "pictures and sound", async {
        tokio::join!(arrived, tokio::time::sleep(length), during());
    })
    .await;
    let report = deadline("the end of the media", media.finish()).await;
    pair.hang_up().await.unwrap();
    report
}

fn ways(report: &MediaReport) -> Vec<&WayReport> {
    let ways = [&report.offerer_to_answerer, &report.answerer_to_offerer];
    ways.into_iter().flatten().collect()
}

/// Everything arrives, in order, as it was sent, and in step.
pub(super) async fn verified_both_ways(world: World) {
    let mut plan = plan((320, 240), 30);
    plan.both_ways = true;
    let report = carry(&world, &plan, Duration::from_secs(3), async || {}).await;
    assert_eq!(report.problems(), Vec::<String>::new());
    let ways = ways(&report);
    assert_eq!(ways.len(), 2);
    for way in ways {
        let (video, audio) = (way.video.as_ref().unwrap(), way.audio.as_ref().unwrap());
        assert_eq!(video.frames.lost, 0);
        assert_eq!(video.frames.received, video.frames.decoded);
        assert_eq!(video.numbers_in_order, Some(true));
        assert!(video.psnr_db.unwrap().mean > 30.0, "{:?}", video.psnr_db);
        assert_eq!(audio.packets_lost, 0);
        assert!(audio.beeps_heard.unwrap() >= 2, "{:?}", audio.beeps_heard);
        if world.is_memory() {
            // The clock waits for the codecs, so nothing can be late.
            assert!(audio.skew_ms.unwrap().max.abs() < 40.0, "{:?}", audio.skew_ms);
            assert_eq!(video.frames.late + video.frames.not_shown, 0);
        }
    }
}

/// Sound and picture do not drift apart.
pub(super) async fn in_step_for_ten_minutes(world: World) {
    let report = carry(
        &world,
        &plan((160, 120), 2),
        Duration::from_secs(600),
        async || {},
    )
    .await;
    assert_eq!(report.problems(), Vec::<String>::new());
    let way = report.offerer_to_answerer.unwrap();
    let audio = way.audio.unwrap();
    assert!(audio.beeps_heard.unwrap() >= 600, "{:?}", audio.beeps_heard);
    assert!(audio.skew_ms.unwrap().max.abs() < 40.0, "{:?}", audio.skew_ms);
    assert!(way.video.unwrap().frames.decoded >= 1_200);
}

/// A call of 60 s both ways: of all pictures together more than this share is decoded.
async fn lossy(world: World, loss: f64, one_way: Duration, wanted: f64) {
    let world = world.with_delay(one_way);
    let mut plan = plan((320, 240), 30);
    plan.both_ways = true;
    let memory = world.memory().clone();
    let length = Duration::from_secs(60);
    let report = carry(&world, &plan, length, async || memory.set_loss(loss, 1)).await;
    let (mut sent, mut decoded, mut told) = (0, 0, Vec::new());
    for way in ways(&report) {
        let video = way.video.as_ref().unwrap();
        assert_eq!(video.numbers_in_order, Some(true));
        assert!(video.rtp.retransmissions.is_none_or(|r| r > 0), "{video:?}");
        assert!(
            video.psnr_db.unwrap().min > 20.0,
            "no damaged picture is shown: {video:?}"
        );
        sent += video.frames.sent;
        decoded += video.frames.decoded;
        told.push(format!("{:?} {:?}", video.frames, video.rtp));
    }
    let share = decoded as f64 / sent as f64;
    println!("{}: {:.2} % of {sent} pictures", world.stacks, share * 100.0);
    assert!(share > wanted, "{share:.4} of the pictures: {told:#?}");
}

pub(super) async fn decoded_at_1_percent_loss(world: World) {
    lossy(world, 0.01, Duration::from_millis(5), 0.99).await;
}

pub(super) async fn decoded_at_5_percent_loss(world: World) {
    lossy(world, 0.05, Duration::from_millis(30), 0.97).await;
}

/// Nine in ten larger datagrams get lost, also when they are sent again, for longer than a missing packet is waited for:
/// pictures, and with them the keyframes that are asked for. When the path is better all goes on with the next keyframe.
pub(super) async fn recovers_by_a_keyframe(world: World) {
    let memory = world.memory().clone();
    let plan = plan((320, 240), 30);
    let report = carry(&world, &plan, Duration::from_secs(6), async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut larger = 0_u32;
        memory.set_filter(move |datagram| {
            larger += u32::from(datagram.contents.len() > 300);
            datagram.contents.len() > 300 && !larger.is_multiple_of(10)
        });
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        memory.clear_filter();
    })
    .await;
    let video = report.offerer_to_answerer.unwrap().video.unwrap();
    let frames = video.frames;
    assert!(video.keyframes >= 2 && frames.lost > 0, "{video:?}");
    assert!(video.rtp.plis.is_none_or(|plis| plis > 0), "{video:?}");
    assert_eq!(video.numbers_in_order, Some(true));
    // 45 pictures in the bad time, up to ten that wait for what never comes, and a few until the keyframe is there.
    assert!(frames.decoded + 70 > frames.sent, "{video:?}");
    assert!(
        video.psnr_db.unwrap().min > 20.0,
        "no damaged picture is shown: {video:?}"
    );
}

/// Another call on the same pair carries media as well as the first.
pub(super) async fn media_in_every_call(world: World) {
    let plan = plan((160, 120), 30);
    let pair = world.pair(PairConfig {
        media: plan.pair_media(),
        ..PairConfig::default()
    });
    pair.start().await.unwrap();
    let before = visavis_tests::alive_tasks();
    for _ in 0..5 {
        let opened = OpenMedia::open(&plan).await.unwrap();
        let call = deadline("the call", pair.call()).await.unwrap();
        let media = CallMedia::start(&call, &plan, opened, DEADLINE).await.unwrap();
        deadline("ten pictures", media.arrived(10, 10)).await;
        let report = deadline("the end of the media", media.finish()).await;
        assert_eq!(ways(&report)[0].video.as_ref().unwrap().frames.lost, 0);
        drop(call);
        pair.hang_up().await.unwrap();
        eventually("every task has ended", || visavis_tests::alive_tasks() <= before).await;
    }
    let _ = Arc::new(pair);
}
