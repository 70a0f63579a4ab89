//! Two ends of RTP without a network: packets are handed from one to the other, or are not.

use super::{Media, Outgoing};
use rtc::rtp;
use std::time::Duration;
use tokio::time::Instant;
use visavis_core::{
    Codec, Direction, EventSink, IncomingFrame, MLine, MediaTime, OutgoingFrame, RtpStats, Sdp, TrackPort,
    TrackReceiver, TrackSender,
    track::{MAX_PATIENCE, MAX_REORDER_TIME, MAX_SOUND_WAIT},
};

struct End {
    media: Media,
    port: TrackPort,
    sender: TrackSender,
    receiver: TrackReceiver,
    sink: EventSink,
}

/// A description of one m-line in which `end` sends.
fn describe(media: &Media, codec: Codec, direction: &str, more: &str) -> Sdp {
    let formats = match codec {
        Codec::Opus => "audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 nack",
        _ => {
            "video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96"
        }
    };
    let sdp = format!(
        "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm={formats}\r\nc=IN IP4 0.0.0.0\r\n\
        a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=mid:0\r\na={direction}\r\n{more}"
    );
    media.declare(&sdp, None).parse().unwrap()
}

impl End {
    fn new(codec: Codec) -> Self {
        let (sink, _) = EventSink::detached();
        let (sender, receiver, port) = TrackPort::detached(&sink, codec.kind(), Some(codec));
        Self {
            media: Media::new(super::MAX_PAYLOAD),
            port,
            sender,
            receiver,
            sink,
        }
    }

    fn settle(&self, ours: &Sdp, theirs: &Sdp, codec: Codec) {
        let want = MLine {
            kind: codec.kind(),
            mid: Some("0".into()),
            direction: Direction::SendRecv,
            track: Some(self.port.clone()),
        };
        let wait = |_| tokio::spawn(std::future::pending::<()>()).abort_handle();
        self.media.settle(ours, theirs, &[want], wait);
    }

    fn stats(&self) -> RtpStats {
        self.media.stats()[0].1
    }

    /// What it sends now: how many packets of RTP, with `lost` deciding what does not arrive at `to`.
    fn flush(&self, to: &Self, mut lost: impl FnMut(&rtp::Packet) -> bool) -> usize {
        let mut count = 0;
        while let Some((now, outgoing)) = self.media.next() {
            match outgoing {
                Outgoing::Rtp(packet) => {
                    count += 1;
                    if !lost(&packet) {
                        to.media.take_rtp(packet, now);
                    }
                }
                Outgoing::Rtcp(packets) => to.media.take_rtcp(&packets, now),
            }
        }
        count
    }
}

fn pair(codec: Codec) -> (End, End) {
    let (a, b) = (End::new(codec), End::new(codec));
    let ours = describe(&a.media, codec, "sendrecv", "");
    let theirs = describe(&b.media, codec, "sendrecv", "");
    a.settle(&ours, &theirs, codec);
    b.settle(&theirs, &ours, codec);
    (a, b)
}

fn frame(codec: Codec, n: u64, len: usize, first: u64) -> OutgoingFrame {
    let mut payload = vec![n as u8; len];
    payload[0] = u8::from(!n.is_multiple_of(10));
    OutgoingFrame {
        codec,
        payload: payload.into(),
        keyframe: n.is_multiple_of(10),
        media_time: MediaTime {
            ticks: first + 3000 * n,
            rate: codec.clock_rate(),
        },
        captured: Instant::now(),
    }
}

fn received(end: &End) -> Vec<IncomingFrame> {
    std::iter::from_fn(|| end.receiver.try_recv()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_frame_arrives_over_both_wraps() {
    let (a, b) = pair(Codec::Vp8);
    a.media.start_at(65_500);
    let first = (1 << 32) - 60_000;
    for n in 0..100 {
        let sent = frame(
            Codec::Vp8,
            n,
            [10, 1159, 1160, 60_000, 200_000][n as usize % 5],
            first,
        );
        assert!(a.sender.try_send(sent.clone()));
        a.flush(&b, |_| false);
        let [arrived] = &received(&b)[..] else {
            panic!("one frame for one")
        };
        assert_eq!(arrived.payload.as_ref(), sent.payload.as_ref());
        assert_eq!((arrived.keyframe, arrived.contiguous), (sent.keyframe, true));
        assert_eq!(arrived.media_time, sent.media_time);
        tokio::time::advance(Duration::from_millis(33)).await;
    }
    let (sent, got) = (a.stats(), b.stats());
    assert_eq!(sent.packets_sent, got.packets_received);
    assert_eq!((got.packets_lost, got.nacks_sent), (Some(0), Some(0)));
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_sent_again() {
    for codec in [Codec::Vp8, Codec::Opus] {
        let (a, b) = pair(codec);
        let (mut n_packets, mut lost) = (0, 0_u64);
        for n in 0..300_u64 {
            assert!(
                a.sender
                    .try_send(frame(codec, n, if codec == Codec::Opus { 80 } else { 12_000 }, 0))
            );
            for _ in 0..3 {
                a.flush(&b, |_| {
                    n_packets += 1;
                    // Every seventh, repeated ones too; but the first frame starts the stream, and the last ends it.
                    let is_lost = n_packets % 7 == 0 && (1..290).contains(&n);
                    lost += u64::from(is_lost);
                    is_lost
                });
                b.flush(&a, |_| false);
                tokio::time::advance(Duration::from_millis(11)).await;
            }
            a.media.on_time(Instant::now());
            b.media.on_time(Instant::now());
        }
        let frames = received(&b);
        // The queue to the application is short; core counts.
        let inbound = b.receiver.stats();
        assert_eq!((inbound.frames_received, inbound.gaps), (300, 0), "{codec}");
        assert!(
            frames
                .last()
                .is_some_and(|f| f.payload.as_ref()[1] == 299_u64 as u8)
        );
        let (sent, got) = (a.stats(), b.stats());
        assert_eq!(
            sent.retransmitted_packets_sent.unwrap(),
            lost,
            "{codec}: {sent:?}"
        );
        assert!(
            got.retransmitted_packets_received.unwrap() > 0 && got.packets_lost == Some(0),
            "{got:?}"
        );
        assert_eq!(
            (sent.nacks_received, got.packets_received.map(|n| n + lost)),
            (got.nacks_sent, sent.packets_sent)
        );
        assert!(
            sent.rtt.is_some_and(|rtt| rtt < Duration::from_millis(1)),
            "{sent:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_stays_lost_is_given_up_in_time() {
    let (a, b) = pair(Codec::Vp8);
    for n in 0..3 {
        a.sender.try_send(frame(Codec::Vp8, n, 5_000, 0));
        a.flush(&b, |_| n == 1);
    }
    assert_eq!(received(&b).len(), 1);
    let deadline = b.media.deadline(false).unwrap();
    assert_eq!(deadline - Instant::now(), MAX_REORDER_TIME);
    tokio::time::advance(MAX_REORDER_TIME).await;
    b.media.on_time(Instant::now());
    let frames = received(&b);
    assert_eq!((frames.len(), frames[0].contiguous), (1, false));
    assert_eq!(b.stats().packets_lost, Some(5));
}

/// A receiver that sends nothing asks for its round trip, and is patient by it; sound is not waited for that long.
#[tokio::test(start_paused = true)]
async fn patience_grows_with_the_round_trip() {
    for (codec, round, wanted) in [
        (Codec::Vp8, 60, MAX_REORDER_TIME),
        (Codec::Vp8, 500, Duration::from_millis(750)),
        (Codec::Vp8, 900, MAX_PATIENCE),
        (Codec::Opus, 900, MAX_SOUND_WAIT),
    ] {
        let (a, b) = pair(codec);
        for n in 0..200 {
            a.sender.try_send(frame(codec, n, 500, 0));
            a.flush(&b, |_| false);
            // What goes back takes the whole round trip.
            let back: Vec<_> = std::iter::from_fn(|| b.media.next()).collect();
            if back.is_empty() {
                tokio::time::advance(Duration::from_millis(33)).await;
                continue;
            }
            tokio::time::advance(Duration::from_millis(round)).await;
            for (_, outgoing) in back {
                if let Outgoing::Rtcp(packets) = outgoing {
                    a.media.take_rtcp(&packets, Instant::now());
                }
            }
        }
        let rtt = b.stats().rtt.expect("it was asked for");
        assert!(
            rtt.abs_diff(Duration::from_millis(round)) < Duration::from_millis(1),
            "{rtt:?}"
        );
        a.sender.try_send(frame(codec, 200, 500, 0));
        a.flush(&b, |_| true);
        a.sender.try_send(frame(codec, 201, 500, 0));
        a.flush(&b, |_| false);
        b.flush(&a, |_| false);
        let deadline = b.media.deadline(false).unwrap() - Instant::now();
        assert!(
            deadline.abs_diff(wanted) < Duration::from_millis(2),
            "{codec} {round}: {deadline:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn frames_have_the_time_of_their_capture() {
    let (a, b) = pair(Codec::Vp8);
    let began = Instant::now();
    let mut times = Vec::new();
    for n in 0..150 {
        // The other side sends before and meanwhile.
        b.sender.try_send(frame(Codec::Vp8, n, 1_000, 0));
        b.flush(&a, |_| false);
        // Capture and encoding take a picture's time.
        let mut sent = frame(Codec::Vp8, n, 3_000, (1 << 32) - 100_000);
        sent.captured = began + Duration::from_nanos(n * 33_333_333);
        tokio::time::advance(Duration::from_nanos(33_333_333)).await;
        a.sender.try_send(sent);
        a.flush(&b, |_| false);
        b.flush(&a, |_| false);
        times.extend(
            received(&b)
                .into_iter()
                .map(|f| f.sender_time.expect("from the first on")),
        );
    }
    for (n, time) in (0..).zip(&times) {
        let expected = times[0] + Duration::from_nanos(n * 33_333_333);
        assert!(
            time.abs_diff(expected) < Duration::from_micros(100),
            "{n}: {time:?}, {expected:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn keyframes_are_asked_for_once_the_stream_is_known() {
    let (a, b) = (End::new(Codec::Vp8), End::new(Codec::Vp8));
    let ours = describe(&a.media, Codec::Vp8, "sendrecv", "");
    let theirs = describe(&b.media, Codec::Vp8, "sendrecv", "");
    // As if nothing were declared: the m-line is found by the header extension.
    let text = ours.to_string();
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("a=ssrc"));
    let silent: Sdp = lines.collect::<String>().parse().unwrap();
    a.settle(&ours, &theirs, Codec::Vp8);
    b.settle(&theirs, &silent, Codec::Vp8);
    assert!(a.sender.take_keyframe_request());
    b.receiver.request_keyframe();
    b.flush(&a, |_| false);
    assert!(!a.sender.take_keyframe_request());
    a.sender.try_send(frame(Codec::Vp8, 0, 3_000, 0));
    a.flush(&b, |_| false);
    b.flush(&a, |_| false);
    assert!(a.sender.take_keyframe_request());
    assert_eq!((a.stats().plis_received, b.stats().plis_sent), (Some(1), Some(1)));
    assert_eq!(received(&b).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn directions_and_ports_change_and_streams_stay() {
    let (a, mut b) = pair(Codec::Vp8);
    let mut ssrcs = Vec::new();
    for round in 0..20 {
        let direction = if round % 2 == 0 { "sendonly" } else { "inactive" };
        let ours = describe(&a.media, Codec::Vp8, direction, "");
        let theirs = describe(
            &b.media,
            Codec::Vp8,
            if round % 2 == 0 { "recvonly" } else { "inactive" },
            "",
        );
        b.media.set_offering(true);
        a.settle(&ours, &theirs, Codec::Vp8);
        if round % 4 == 2 {
            let (sender, receiver, port) = TrackPort::detached(&b.sink, Codec::Vp8.kind(), Some(Codec::Vp8));
            (b.sender, b.receiver, b.port) = (sender, receiver, port);
        }
        if round % 2 == 0 {
            a.sender.try_send(frame(Codec::Vp8, 10 * round, 4_000, 0));
        }
        a.flush(&b, |packet| {
            ssrcs.push(packet.header.ssrc);
            false
        });
        // The answer comes after the first frame.
        b.settle(&theirs, &ours, Codec::Vp8);
        let frames = received(&b);
        assert_eq!(frames.len(), usize::from(round % 2 == 0), "round {round}");
        assert!(frames.iter().all(|f| f.payload.as_ref()[1] == 10 * round as u8));
    }
    ssrcs.dedup();
    assert_eq!(ssrcs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn strangers_and_nonsense_are_bounded() {
    let (a, b) = pair(Codec::Vp8);
    let now = Instant::now();
    let mut state = 3_u32;
    for i in 0..100_000_u32 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut packet = rtp::Packet::default();
        packet.header.ssrc = i;
        packet.header.payload_type = (state >> 24) as u8 & 0x7F;
        packet.header.sequence_number = (state >> 8) as u16;
        packet.header.timestamp = state;
        packet.payload = vec![(state >> 16) as u8; (state >> 20) as usize % 40].into();
        b.media.take_rtp(packet, now);
    }
    while b.media.next().is_some() {}
    assert!(b.media.routes() <= 1024);
    // The declared stream is known all the while; an undeclared one had taken its place.
    a.sender.try_send(frame(Codec::Vp8, 0, 3_000, 0));
    a.flush(&b, |_| false);
    let missing = rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack {
        sender_ssrc: 1,
        media_ssrc: 2,
        nacks: Vec::new(),
    };
    a.media.take_rtcp(&[Box::new(missing)], now);
    assert_eq!(a.stats().nacks_received, Some(0));
}
