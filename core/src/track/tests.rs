use super::*;
use crate::Timeline;

fn track(kind: MediaKind, codec: Codec) -> (TrackSender, TrackReceiver, TrackPort) {
    let shared = Shared::new(kind, Arc::new(Hub::new(Timeline::default())));
    shared.set_sending(Sending::Codec(codec));
    (
        TrackSender(Arc::clone(&shared)),
        TrackReceiver(Arc::clone(&shared)),
        TrackPort(shared),
    )
}

fn outgoing(n: u64, keyframe: bool) -> OutgoingFrame {
    OutgoingFrame {
        codec: Codec::H264,
        payload: vec![0; 100].into(),
        keyframe,
        media_time: MediaTime {
            ticks: n,
            rate: 90_000,
        },
        captured: Instant::now(),
    }
}

fn incoming(n: u64) -> IncomingFrame {
    IncomingFrame {
        codec: Codec::H264,
        payload: vec![0; 100].into(),
        keyframe: n == 0,
        contiguous: true,
        media_time: MediaTime {
            ticks: n,
            rate: 90_000,
        },
        first_packet: Instant::now(),
        sender_time: None,
    }
}

#[test]
fn what_is_sent_is_what_is_taken_and_what_is_counted() {
    let (sender, _, port) = track(MediaKind::Video, Codec::H264);
    assert!(sender.take_keyframe_request(), "the first frame is a keyframe");
    assert!(!sender.try_send(outgoing(0, false)), "nothing can decode it");
    assert!(sender.try_send(outgoing(1, true)));
    let mut taken = 1;
    while sender.try_send(outgoing(taken + 1, false)) {
        taken += 1;
    }
    assert_eq!(taken as usize, MAX_QUEUED_FRAMES);
    assert!(
        sender.take_keyframe_request(),
        "a dropped frame asks for a keyframe"
    );
    while port.pop_outgoing().is_some() {}
    assert!(
        !sender.try_send(outgoing(0, false)),
        "it follows one that was dropped"
    );
    assert!(sender.try_send(outgoing(0, true)));
    let stats = sender.stats();
    assert_eq!((stats.frames_sent, stats.frames_dropped), (taken, 3));
    port.pop_outgoing().unwrap();
    port.not_sent(100);
    assert_eq!(sender.stats().frames_dropped, 4);
}

#[test]
fn only_the_negotiated_codec_is_sent() {
    let (sender, _, port) = track(MediaKind::Video, Codec::Vp8);
    assert!(!sender.try_send(outgoing(0, true)));
    port.0.set_sending(Sending::Codec(Codec::H264));
    assert!(sender.try_send(outgoing(1, true)));
    port.0.set_sending(Sending::Idle);
    assert!(port.pop_outgoing().is_none());
    assert_eq!(sender.stats().frames_dropped, 2);
    assert_eq!(sender.codec(), None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_newest() {
    let (_, receiver, port) = track(MediaKind::Video, Codec::H264);
    for n in 0..=MAX_QUEUED_FRAMES as u64 {
        port.deliver(incoming(n));
    }
    let frame = receiver.recv().await.unwrap();
    assert_eq!(frame.media_time.ticks, MAX_QUEUED_FRAMES as u64);
    assert!(!frame.contiguous);
    let stats = receiver.stats();
    assert_eq!(stats.frames_received, MAX_QUEUED_FRAMES as u64 + 1);
    assert_eq!(stats.frames_dropped, MAX_QUEUED_FRAMES as u64);
    receiver.request_keyframe();
    receiver.request_keyframe();
    assert!(port.take_keyframe_request());
    assert!(!port.take_keyframe_request());
    tokio::time::advance(KEYFRAME_REQUEST_INTERVAL).await;
    receiver.request_keyframe();
    assert!(port.take_keyframe_request());
    port.deliver(incoming(1));
    port.0.end();
    assert!(receiver.recv().await.is_some(), "what arrived can be read");
    assert!(receiver.recv().await.is_none());
}

#[tokio::test]
async fn ready_waits_for_a_codec_and_for_the_end() {
    let shared = Shared::new(MediaKind::Audio, Arc::new(Hub::new(Timeline::default())));
    let sender = TrackSender(Arc::clone(&shared));
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.ready().await }
    });
    tokio::task::yield_now().await;
    shared.set_sending(Sending::Codec(Codec::Opus));
    assert_eq!(waiting.await.unwrap(), Some(Codec::Opus));
    shared.end();
    assert_eq!(sender.ready().await, None);
    assert!(sender.is_ended());
}
