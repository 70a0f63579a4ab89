//! Keyframes: asked for, and lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::{
    Codec, Direction, Side,
    track::{KEYFRAME_REQUEST_INTERVAL, MAX_REORDER_TIME},
};
use visavis_tests::{
    DEADLINE, World, eventually,
    frames::Plan,
    media::{AtOnce, MediaCall, flow, line, paced, watch},
};

pub(super) async fn keyframe_requests(world: World) {
    for codec in [Codec::H264, Codec::Vp8, Codec::Vp9] {
        let call = world.media_call(&[line(codec, Direction::SendRecv)]).await;
        let plan = Plan::new(codec).sizes(&[2_000]).keyframes_on_request();
        for side in [Side::Offerer, Side::Answerer] {
            let (sender, receiver) = call.way(side, 0);
            assert!(
                sender.take_keyframe_request(),
                "the first frame must be a keyframe"
            );
            assert!(!sender.take_keyframe_request(), "a request is taken once");
            flow((sender.clone(), receiver.clone()), plan, 0..10, 2).await;
            assert!(!sender.take_keyframe_request(), "nobody has asked");
            assert_eq!(sender.stats().keyframe_requests, 0);
            for round in 1..=3_u32 {
                let began = Instant::now();
                receiver.request_keyframe();
                receiver.request_keyframe();
                eventually("the request", || sender.stats().keyframe_requests >= round.into()).await;
                assert!(sender.take_keyframe_request());
                flow(
                    (sender.clone(), receiver.clone()),
                    plan,
                    round * 10..round * 10 + 5,
                    2,
                )
                .await;
                let again = began + KEYFRAME_REQUEST_INTERVAL;
                tokio::time::sleep_until(again).await;
            }
            assert!(!sender.take_keyframe_request(), "one request for two at once");
            let asked = (
                receiver.stats().keyframe_requests,
                sender.stats().keyframe_requests,
            );
            assert_eq!(asked, (3, 3));
            assert_eq!(receiver.stats().keyframes_received, 4);
            requests_in_the_stats(&call, side, 3).await;
        }
        call.close().await;
    }
}

/// A stack that counts PLI and FIR gets to this number; it may count at intervals.
async fn requests_in_the_stats(call: &MediaCall, side: Side, wanted: u64) {
    let began = Instant::now();
    loop {
        let (sent, received) = call.stats(side, 0).await;
        let counts = [sent.rtp.plis_received, received.rtp.plis_sent];
        if counts.into_iter().flatten().all(|count| count >= wanted) {
            return;
        }
        assert!(
            began.elapsed() < DEADLINE,
            "PLI received and sent, from the {side}: {counts:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a datagram is RTP or SRTP, retransmitted or not, with this timestamp.
fn has_timestamp(datagram: &[u8], timestamp: u32) -> bool {
    // RFC 7983: 128 to 191 is RTP or RTCP; RFC 5761: payload types that look like 192 to 223 are RTCP.
    datagram.len() > 12
        && (128..=191).contains(&datagram[0])
        && !(192..=223).contains(&datagram[1])
        && datagram[4..8] == timestamp.to_be_bytes()
}

/// A keyframe of which nothing arrives, however often it is sent again: what comes after it says so, the receiver
/// asks for another, and with that it could decode again.
pub(super) async fn lost_keyframe(world: World) {
    const LOST: u32 = 30;
    const COUNT: u32 = 90;
    let call = world.media_call(&[line(Codec::H264, Direction::SendRecv)]).await;
    for side in [Side::Offerer, Side::Answerer] {
        let plan = Plan {
            keyframes: LOST,
            ..Plan::new(Codec::H264).sizes(&[9_000])
        };
        let timestamp = plan.media_time(LOST).ticks as u32;
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        world.memory().set_filter(move |datagram| {
            let lost = has_timestamp(datagram.contents, timestamp);
            counter.fetch_add(lost.into(), Ordering::Relaxed);
            lost
        });
        let (sender, receiver) = call.way(side, 0);
        let before = sender.stats().keyframe_requests;
        let (sending, mut keyframes) = paced(sender.clone(), plan, 0..COUNT, Duration::ZERO);
        let mut tasks = AtOnce::default();
        tasks.and(sending);
        let watched = watch(receiver.clone(), plan, COUNT - 1).await;
        tasks.end().await;
        world.memory().clear_filter();
        let mut sent = Vec::new();
        while let Ok(n) = keyframes.try_recv() {
            sent.push(n);
        }
        println!(
            "{}: by the {side}, {} datagrams of the keyframe were lost; keyframes {sent:?}, gaps {:?}, held {:?}",
            world.stacks,
            dropped.load(Ordering::Relaxed),
            watched.reader.after_gaps,
            watched.held
        );
        assert!(dropped.load(Ordering::Relaxed) >= 8);
        let arrived = &watched.reader.arrived;
        assert!(!arrived.contains(&LOST));
        assert_eq!(arrived.len() as u32, COUNT - 1, "only that one is missing");
        assert_eq!(watched.reader.after_gaps, [LOST + 1]);
        assert!(
            watched.held <= MAX_REORDER_TIME + Duration::from_millis(50),
            "{:?}",
            watched.held
        );
        assert!(sender.stats().keyframe_requests > before);
        // Asked for as soon as the gap was known, and sent within a round trip and a frame or two.
        let next = sent
            .iter()
            .copied()
            .find(|n| *n > LOST)
            .expect("a keyframe after the lost one");
        let asked = plan.captured(next) - plan.captured(LOST);
        assert!(
            asked <= MAX_REORDER_TIME + Duration::from_millis(150),
            "{asked:?}"
        );
        assert!(arrived.contains(&next));
        assert_eq!(receiver.stats().gaps, 1);
    }
    call.close().await;
}
