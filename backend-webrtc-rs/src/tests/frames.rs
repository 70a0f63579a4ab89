//! Frames over the engine, against itself.

use super::*;
use visavis_core::{Codec, MediaTime, OutgoingFrame, TrackPort, TrackReceiver, TrackSender};

/// A connected pair with a video m-line in which `a` sends, and the application's ends.
async fn call(pair: &mut Pair, codec: Codec) -> (TrackSender, TrackReceiver) {
    let (sender, _, port) = TrackPort::detached(&pair.a.sink, MediaKind::Video, Some(codec));
    let (_, receiver, theirs) = TrackPort::detached(&pair.b.sink, MediaKind::Video, None);
    let line = |mid: Option<&str>, direction, port| MLine {
        track: Some(port),
        ..media(MediaKind::Video, mid, direction)
    };
    let want = [line(None, Direction::SendOnly, port)];
    let mut offer = pair.a.engine.make_offer(&want, false).await.unwrap();
    offer.take_candidates();
    pair.a.engine.commit_offer().await.unwrap();
    let mid = offer.sections().next().unwrap().mid();
    let want = [line(mid, Direction::RecvOnly, theirs)];
    let mut answer = pair.b.engine.answer(&offer, &want).await.unwrap();
    answer.take_candidates();
    pair.b.engine.commit_answer().await.unwrap();
    pair.a.engine.apply_answer(&answer).await.unwrap();
    // Frames wait in the port until there is a way to send them.
    assert!(sender.try_send(frame(codec, 0, 100)));
    pair.until("connected", |a, b| {
        let connected = |side: &mut Side| side.dtls.last() == Some(&DtlsState::Connected);
        connected(a) && connected(b)
    })
    .await;
    let first = timeout(LIMIT, receiver.recv()).await.unwrap().unwrap();
    assert!(first.contiguous && first.sender_time.is_some(), "{first:?}");
    (sender, receiver)
}

fn frame(codec: Codec, n: u32, len: usize) -> OutgoingFrame {
    let mut payload = vec![0xA5; len];
    payload[..9].copy_from_slice(&[0, 0, 0, 1, 0x67, 0xFF, 0xFF, 0xFF, 0xFF]);
    payload[len - 4..].copy_from_slice(&(n | 0x0101_0101).to_be_bytes());
    OutgoingFrame {
        codec,
        payload: payload.into(),
        keyframe: true,
        media_time: MediaTime {
            ticks: u64::from(n) * 90,
            rate: 90_000,
        },
        captured: Instant::now(),
    }
}

async fn bulk(label: &str, len: usize, window: u32, count: u32) {
    let mut pair = Pair::real().await;
    let (sender, receiver) = call(&mut pair, Codec::H264).await;
    let began = Instant::now();
    let (mut sent, mut arrived) = (0, 0);
    while arrived < count {
        while sent < count && sent - arrived < window {
            assert!(sender.try_send(frame(Codec::H264, sent, len)));
            sent += 1;
        }
        let got = timeout(LIMIT, receiver.recv()).await.unwrap().unwrap();
        let expected = frame(Codec::H264, arrived, len);
        let same = got.payload.as_ref() == expected.payload.as_ref();
        assert!(same && got.contiguous, "frame {arrived}: {:?}", receiver.stats());
        arrived += 1;
    }
    let (took, stats) = (began.elapsed(), pair.a.engine.stats().await.rtp);
    println!(
        "{label}: {:.0} frames of {len} bytes a second, sent again {:?}",
        f64::from(count) / took.as_secs_f64(),
        stats[0].1.retransmitted_packets_sent
    );
    assert_eq!(receiver.stats().frames_dropped, 0);
    pair.close().await;
}

#[tokio::test]
async fn nothing_is_lost_on_one_thread() {
    bulk("one thread, 4 under way", 12_000, 4, 3_000).await;
    bulk("one thread, 8 under way", 60_000, 8, 1_000).await;
    bulk("one thread, 2 under way", 200_000, 2, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_on_two_threads() {
    bulk("two threads, 4 under way", 12_000, 4, 3_000).await;
    bulk("two threads, 8 under way", 60_000, 8, 1_000).await;
    bulk("two threads, 2 under way", 200_000, 2, 200).await;
}
