//! Frames over a network that loses packets.

use super::*;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::time::sleep_until;

/// Sends frames at this rate; returns for each that came when it was sent and how long after that it came.
async fn stream(
    call: &Call,
    codec: Codec,
    frames: u64,
    rate: u32,
    size: impl Fn(u64) -> usize,
) -> Vec<(u64, Duration, IncomingFrame)> {
    let (x, y) = &call.tracks[0];
    let start = Instant::now();
    let interval = SECOND / rate;
    let sender = async {
        for n in 0..frames {
            let ticks = n * u64::from(codec.clock_rate() / rate);
            assert!(x.sender.try_send(outgoing(codec, n, size(n), ticks)));
            sleep_until(start + interval * (n as u32 + 1)).await;
        }
        sleep(2 * SECOND).await;
    };
    let mut came = Vec::new();
    let receiver = async {
        loop {
            let frame = y.receiver.recv().await.unwrap();
            let n = frame.media_time.ticks / u64::from(codec.clock_rate() / rate);
            assert_eq!(frame.payload.as_ref(), bitstream(codec, n, size(n)));
            came.push((n, start.elapsed().abs_diff(interval * n as u32), frame));
        }
    };
    tokio::select! {
        () = sender => {}
        () = receiver => {}
    }
    let missing = came.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1);
    for pair in missing {
        assert!(!pair[1].2.contiguous, "frame {} is missing", pair[0].0 + 1);
    }
    assert!(came.is_sorted_by_key(|(n, ..)| *n));
    came
}

/// 720p at 2 Mbit/s.
fn hd(n: u64) -> usize {
    if n.is_multiple_of(300) { 100_000 } else { 8_000 }
}

#[tokio::test(start_paused = true)]
async fn lost_packets_are_repeated() {
    for (delay, loss) in [(1, 0.02), (10, 0.05), (60, 0.02), (60, 0.05)] {
        let (mut call, network) = Call::new(Duration::from_millis(delay), &[Codec::H264]).await;
        network.set_loss(loss, 11);
        let came = stream(&call, Codec::H264, 900, 30, hd).await;
        network.set_loss(0.0, 0);
        sleep(SECOND).await;
        let (a, b) = call.stats(0).await;
        let longest = came.iter().map(|(_, after, _)| *after).max().unwrap();
        println!(
            "{delay} ms, {loss}: {} of 900, at most {longest:?}; {a:?} {b:?}",
            came.len()
        );
        assert!(came.len() > 890, "{} of 900 at {delay} ms", came.len());
        assert!(a.retransmitted_packets_sent.is_some_and(|n| n > 50));
        assert!(a.nacks_received > Some(0) && b.nacks_sent >= a.nacks_received);
        assert!(b.retransmitted_packets_received.is_some_and(|n| n > 50));
        assert!(b.packets_lost.is_some_and(|n| n <= 40), "{b:?}");
        call.check();
    }
}

/// Loses packets of each frame that `hit` is true of, and its repetitions: those of which `which` is true, counted
/// from 1.
fn lose(
    network: &MemoryNetwork,
    hit: impl Fn(u32) -> bool + Send + 'static,
    which: impl Fn(u32) -> bool + Send + 'static,
) -> Arc<AtomicU64> {
    let lost = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&lost);
    let mut seen = std::collections::HashMap::new();
    network.set_filter(move |datagram| {
        let bytes = datagram.contents;
        if crate::rtp::ssrc(bytes).is_none() || datagram.from.ip() != ip(1) {
            return false;
        }
        let timestamp = u32::from_be_bytes(bytes[4..8].try_into().unwrap());
        let payload_type = bytes[1] & 0x7f;
        // H.264's own payload types; the others repeat.
        let repeats = ![108, 127, 111].contains(&payload_type);
        let index = seen.entry(timestamp).or_insert(0);
        *index += u32::from(!repeats);
        let loses = hit(timestamp) && (repeats || which(*index));
        count.fetch_add(u64::from(loses), Ordering::Relaxed);
        loses
    });
    lost
}

#[tokio::test(start_paused = true)]
async fn what_never_comes_is_waited_for_only_so_long() {
    for (delay, rate, all) in [
        (1, 30, false),
        (1, 30, true),
        (60, 30, false),
        (60, 30, true),
        (60, 120, false),
        (60, 120, true),
        (60, 10, false),
    ] {
        let (call, network) = Call::new(Duration::from_millis(delay), &[Codec::H264]).await;
        let frames = u64::from(rate) * 10;
        // One before the round trip is known, one after.
        let hit = [u64::from(rate), u64::from(rate) * 6].map(|n| n as u32 * (90_000 / rate));
        let lost = lose(
            &network,
            move |timestamp| hit.contains(&timestamp),
            move |n| all || n == 2,
        );
        let came = stream(&call, Codec::H264, frames, rate, |_| 5000).await;
        assert!(lost.load(Ordering::Relaxed) >= 2);
        let after = |n: u64| {
            let next = came.iter().find(|(m, ..)| *m > n).unwrap();
            (next.0, next.1.abs_diff(Duration::from_millis(delay)))
        };
        let waits = [u64::from(rate), u64::from(rate) * 6].map(after);
        println!("round trip {} ms, {rate}/s, whole {all}: {waits:?}", 2 * delay);
        assert_eq!(came.len() as u64, frames - 2);
        assert_eq!(call.tracks[0].1.receiver.stats().gaps, 2);
        for (_, wait) in waits {
            let limit = MAX_REORDER_TIME.max(Duration::from_millis(delay) * 6);
            assert!(wait < limit + Duration::from_millis(30), "{wait:?}");
        }
        call.check();
    }
}

#[tokio::test(start_paused = true)]
async fn sound_does_not_wait_for_what_cannot_come() {
    let (call, network) = Call::new(Duration::from_millis(30), &[Codec::Opus]).await;
    let lost = lose(&network, |timestamp| timestamp == 960 * 100, |_| true);
    let came = stream(&call, Codec::Opus, 200, 50, |_| 160).await;
    assert_eq!(lost.load(Ordering::Relaxed), 1);
    assert_eq!(came.len(), 199);
    let longest = came.iter().map(|(_, after, _)| *after).max().unwrap();
    assert!(longest < Duration::from_millis(120), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_losses_in_a_keyframe_is_repaired() {
    let (call, network) = Call::new(Duration::from_millis(20), &[Codec::H264]).await;
    let mut count = 0;
    network.set_filter(move |datagram| {
        let hit = crate::rtp::ssrc(datagram.contents).is_some() && datagram.from.ip() == ip(1);
        count += u32::from(hit);
        // 30 of the 90 packets of the first frame.
        hit && (30..60).contains(&count)
    });
    let came = stream(&call, Codec::H264, 60, 30, hd).await;
    assert_eq!(came.len(), 60);
    assert!(came[0].1 < Duration::from_millis(300), "{:?}", came[0].1);
    assert!(network.lost() >= 30);
    call.check();
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_keyframe_is_dropped() {
    let (call, network) = Call::new(Duration::from_millis(20), &[Codec::H264]).await;
    // The parameter sets are lost; slices come in packets that look like a frame of their own.
    lose(&network, |timestamp| timestamp == 30 * 3000, |n| n == 1);
    let came = stream(&call, Codec::H264, 90, 30, |n| {
        if n.is_multiple_of(10) { 400 } else { 300 }
    });
    let came = came.await;
    assert_eq!(came.len(), 89);
    let (n, _, next) = &came[30];
    assert_eq!((*n, next.contiguous), (31, false));
    assert!(came[31].2.contiguous && came[39].2.keyframe);
}
