//! Frames between two engines.

use super::{Side, ip, until};
use crate::Str0m;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use visavis_core::{
    Codec, Direction, DtlsState, IncomingFrame, MLine, MediaKind, MediaTime, MemoryNetwork, Net,
    OutgoingFrame, Payload, RealNet, RtpStats, Sdp, TrackPort, TrackReceiver, TrackSender,
    net::{Transmit, send},
    track::MAX_REORDER_TIME,
};

mod lines;
mod loss;

const SECOND: Duration = Duration::from_secs(1);

/// An end of an m-line.
struct Track {
    sender: TrackSender,
    receiver: TrackReceiver,
    port: TrackPort,
}

impl Track {
    fn new(side: &Side, codec: Codec) -> Self {
        let (sender, receiver, port) = TrackPort::detached(&side.sink, codec.kind(), Some(codec));
        Self {
            sender,
            receiver,
            port,
        }
    }

    async fn recv(&self) -> IncomingFrame {
        let received = timeout(10 * SECOND, self.receiver.recv()).await;
        received.expect("no frame came").unwrap()
    }
}

/// Two sides, connected, with an m-line for each codec that sends both ways.
struct Call {
    a: Side,
    b: Side,
    tracks: Vec<(Track, Track)>,
}

impl Call {
    async fn new(delay: Duration, codecs: &[Codec]) -> (Self, MemoryNetwork) {
        let network = MemoryNetwork::new(delay);
        let backend = Str0m::new();
        let a = Side::new(&backend, network.host([ip(1)]), Vec::new(), "a").await;
        let b = Side::new(&backend, network.host([ip(2)]), Vec::new(), "b").await;
        (Self::over(a, b, codecs).await, network)
    }

    async fn real(codecs: &[Codec]) -> Self {
        let backend = Str0m::new();
        let bind = || vec!["127.0.0.1:0".parse().unwrap()];
        let a = Side::new(&backend, RealNet::shared(), bind(), "a").await;
        let b = Side::new(&backend, RealNet::shared(), bind(), "b").await;
        Self::over(a, b, codecs).await
    }

    async fn over(a: Side, b: Side, codecs: &[Codec]) -> Self {
        let tracks = codecs.iter().map(|c| (Track::new(&a, *c), Track::new(&b, *c)));
        let tracks = tracks.collect();
        let mut call = Self { a, b, tracks };
        call.negotiate(&vec![Direction::SendRecv; codecs.len()]).await;
        until(&mut call.a, &mut call.b, 10 * SECOND, |a, b| {
            a.dtls == DtlsState::Connected && b.dtls == DtlsState::Connected
        })
        .await;
        call
    }

    /// An exchange with these directions, as `a` sees them.
    async fn negotiate(&mut self, directions: &[Direction]) {
        let Self { a, b, tracks } = self;
        exchange(a, b, tracks.iter().map(|(a, b)| (a, b)), directions).await;
    }

    /// The same with the other side as the offerer.
    async fn negotiate_back(&mut self, directions: &[Direction]) {
        let Self { a, b, tracks } = self;
        exchange(b, a, tracks.iter().map(|(a, b)| (b, a)), directions).await;
    }

    async fn stats(&mut self, index: usize) -> (RtpStats, RtpStats) {
        let (a, b) = (self.a.engine.stats().await, self.b.engine.stats().await);
        (a.rtp[index].1, b.rtp[index].1)
    }

    fn check(&self) {
        assert!(self.a.failed.is_none() && self.b.failed.is_none());
    }
}

impl Side {
    /// A description as the other side gets it.
    fn shown(&self, sdp: &Sdp) -> Sdp {
        if !self.hides_ssrcs {
            return sdp.clone();
        }
        let text = sdp.to_string();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("a=ssrc")).collect();
        (lines.join("\r\n") + "\r\n").parse().unwrap()
    }
}

async fn exchange<'a>(
    from: &mut Side,
    to: &mut Side,
    tracks: impl Iterator<Item = (&'a Track, &'a Track)>,
    directions: &[Direction],
) {
    let tracks: Vec<_> = tracks.collect();
    let mids: Vec<_> = from.lines.iter().map(|l| l.mid.clone()).collect();
    let lines = tracks.iter().zip(directions).enumerate();
    let want: Vec<_> = lines
        .map(|(i, ((track, _), direction))| MLine {
            kind: track.port.kind(),
            mid: mids.get(i).cloned().flatten(),
            direction: *direction,
            track: Some(track.port.clone()),
        })
        .collect();
    let offer = from.engine.make_offer(&want, false).await.unwrap();
    offer.check().unwrap();
    let offer = from.shown(&offer);
    from.engine.commit_offer().await.unwrap();
    let lines = offer.sections().zip(&tracks);
    let ours: Vec<_> = lines
        .map(|(section, (_, track))| MLine {
            kind: track.port.kind(),
            mid: section.mid().map(str::to_owned),
            direction: section.direction().reversed(),
            track: Some(track.port.clone()),
        })
        .collect();
    let answer = to.engine.answer(&offer, &ours).await.unwrap();
    to.engine.commit_answer().await.unwrap();
    answer.check_answers(&offer).unwrap();
    let answer = to.shown(&answer);
    for (section, ours) in answer.sections().zip(&ours) {
        assert_eq!(section.direction(), ours.direction);
    }
    from.engine.apply_answer(&answer).await.unwrap();
    from.learn(&offer);
    to.learn(&answer);
}

/// The `n`th frame of a stream, of about `size` bytes; every tenth is a keyframe.
fn bitstream(codec: Codec, n: u64, size: usize) -> Vec<u8> {
    let mut x = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    // No zeros, so that nothing looks like a start code.
    let mut noise = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 24) as u8 | 1
    };
    let keyframe = is_keyframe(codec, n);
    let mut bytes = match (codec, keyframe) {
        (Codec::Opus, _) => vec![0x78],
        (Codec::Vp8, _) => vec![u8::from(!keyframe) | 0x10],
        (Codec::Vp9, true) => vec![0x82],
        (Codec::Vp9, false) => vec![0x86],
        (Codec::H264, true) => b"\0\0\0\x01\x67\x42\xe0\x1f\0\0\0\x01\x68\xce\0\0\0\x01\x65\x88".to_vec(),
        (Codec::H264, false) => b"\0\0\0\x01\x41\x9a".to_vec(),
    };
    while bytes.len() < size {
        bytes.push(noise());
    }
    bytes
}

fn is_keyframe(codec: Codec, n: u64) -> bool {
    codec == Codec::Opus || n.is_multiple_of(10)
}

fn outgoing(codec: Codec, n: u64, size: usize, ticks: u64) -> OutgoingFrame {
    let payload = bitstream(codec, n, size);
    OutgoingFrame {
        codec,
        payload: if n.is_multiple_of(2) {
            Payload::Arc(payload.into())
        } else {
            payload.into()
        },
        keyframe: is_keyframe(codec, n),
        media_time: MediaTime {
            ticks,
            rate: codec.clock_rate(),
        },
        captured: Instant::now(),
    }
}

/// Whether it is the `n`th frame that was sent.
fn is_sent(frame: &IncomingFrame, codec: Codec, n: u64, size: usize, ticks: u64) {
    assert_eq!(frame.codec, codec);
    assert_eq!(
        frame.payload.as_ref().len(),
        bitstream(codec, n, size).len(),
        "{codec} {n}"
    );
    assert_eq!(
        frame.payload.as_ref(),
        bitstream(codec, n, size),
        "frame {n} of {codec}"
    );
    assert_eq!(frame.keyframe, is_keyframe(codec, n));
    assert_eq!(
        frame.media_time.ticks as u32, ticks as u32,
        "frame {n} of {codec}"
    );
    assert_eq!(frame.media_time.rate, codec.clock_rate());
    assert!(frame.first_packet <= Instant::now());
}

#[tokio::test(start_paused = true)]
async fn frames_of_every_size_arrive_whole_and_in_order_both_ways() {
    let (call, _network) = Call::new(Duration::from_millis(5), &Codec::ALL).await;
    let sizes = [
        10, 30, 200, 1000, 1118, 1119, 1120, 1121, 1122, 1123, 1500, 2240, 12_000, 60_000, 200_000,
    ];
    for (n, size) in (0_u64..).zip(sizes.into_iter().cycle().take(60)) {
        for (codec, (x, y)) in Codec::ALL.into_iter().zip(&call.tracks) {
            let size = if codec == Codec::Opus {
                size.min(rtp_payload())
            } else {
                size
            };
            let ticks = n * 3000;
            for (from, to) in [(x, y), (y, x)] {
                assert!(from.sender.try_send(outgoing(codec, n, size, ticks)));
                let frame = to.recv().await;
                is_sent(&frame, codec, n, size, ticks);
                assert!(frame.contiguous);
            }
        }
    }
    for (x, y) in &call.tracks {
        for (from, to) in [(x, y), (y, x)] {
            assert_eq!(from.sender.stats().frames_sent, 60);
            assert_eq!(from.sender.stats().frames_dropped, 0);
            assert_eq!(to.receiver.stats().frames_received, 60);
            assert_eq!(to.receiver.stats().gaps, 0);
            assert_eq!(to.receiver.stats().bytes_received, from.sender.stats().bytes_sent);
        }
    }
    call.check();
}

fn rtp_payload() -> usize {
    crate::rtp::MAX_PAYLOAD
}

#[tokio::test(start_paused = true)]
async fn timestamps_go_on_over_the_wrap_both_ways() {
    let codecs = [Codec::H264, Codec::Opus];
    let (call, _network) = Call::new(Duration::from_millis(20), &codecs).await;
    // 60 s before, to 60 s after.
    let first = |rate: u32| (1_u64 << 32) - 60 * u64::from(rate);
    let mut before = [[None; 2]; 2];
    for n in 0..600_u64 {
        for (index, (codec, (x, y))) in codecs.into_iter().zip(&call.tracks).enumerate() {
            let step = u64::from(codec.clock_rate()) / 5;
            let ticks = first(codec.clock_rate()) + n * step;
            for (way, (from, to)) in [(x, y), (y, x)].into_iter().enumerate() {
                assert!(from.sender.try_send(outgoing(codec, n, 500, ticks)));
                let frame = to.recv().await;
                is_sent(&frame, codec, n, 500, ticks);
                assert!(frame.contiguous);
                let last = before[index][way].replace(frame.media_time.ticks);
                assert!(last.is_none_or(|last| frame.media_time.ticks == last + step));
                assert!(n < 10 || frame.sender_time.is_some());
            }
        }
        sleep(SECOND / 5).await;
    }
    call.check();
}

#[tokio::test(start_paused = true)]
async fn keyframes_are_asked_for_both_ways() {
    let (mut call, _network) = Call::new(Duration::from_millis(10), &[Codec::Vp8]).await;
    for way in 0..2 {
        let (x, y) = &call.tracks[0];
        let (from, to) = if way == 0 { (x, y) } else { (y, x) };
        from.sender.take_keyframe_request();
        // Also before the first packet.
        for round in 1..=3 {
            to.receiver.request_keyframe();
            timeout(SECOND, async {
                while !from.sender.take_keyframe_request() {
                    sleep(Duration::from_millis(1)).await;
                }
            })
            .await
            .expect("no request came");
            assert_eq!(from.sender.stats().keyframe_requests, round);
            assert!(from.sender.try_send(outgoing(Codec::Vp8, 0, 100, round * 3000)));
            to.recv().await;
            sleep(SECOND / 2).await;
        }
    }
    sleep(SECOND).await;
    let (a, b) = call.stats(0).await;
    assert_eq!([a.plis_sent, a.plis_received], [Some(3); 2]);
    assert_eq!([b.plis_sent, b.plis_received], [Some(3); 2]);
    call.check();
}

/// Whether a frame sent by `from` arrives at `to`.
async fn passes(from: &Track, to: &Track, codec: Codec, n: u64, ticks: u64) {
    let size = if codec == Codec::Opus { 200 } else { 3000 };
    assert!(from.sender.try_send(outgoing(codec, n * 10, size, ticks)));
    let frame = to.recv().await;
    is_sent(&frame, codec, n * 10, size, ticks);
}

#[tokio::test(start_paused = true)]
async fn strangers_packets_do_nothing() {
    let (mut call, network) = Call::new(Duration::from_millis(5), &[Codec::H264]).await;
    let destination = call.a.engine.stats().await.selected_pair.unwrap().remote;
    let socket = network.host([ip(1)]).bind((ip(1), 0).into()).unwrap();
    for n in 0..2_000_u64 {
        let mut bytes = bitstream(Codec::Opus, n, (n % 90) as usize + 1);
        bytes[0] = 128 | (n % 64) as u8;
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: &bytes,
            segment_size: None,
            src_ip: None,
        };
        send(&*socket, &transmit).await.unwrap();
    }
    let (x, y) = &call.tracks[0];
    passes(x, y, Codec::H264, 0, 0).await;
    call.check();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_not_counted_as_sent() {
    let codecs = [Codec::Vp8, Codec::Opus];
    let (call, _network) = Call::new(Duration::from_millis(10), &codecs).await;
    let (video, audio) = (&call.tracks[0].0, &call.tracks[1].0);
    let empty = OutgoingFrame {
        payload: Vec::new().into(),
        ..outgoing(Codec::Vp8, 0, 10, 0)
    };
    assert!(video.sender.try_send(empty));
    assert!(
        audio
            .sender
            .try_send(outgoing(Codec::Opus, 0, rtp_payload() + 1, 0))
    );
    sleep(SECOND).await;
    for track in [video, audio] {
        let stats = track.sender.stats();
        assert_eq!((stats.frames_sent, stats.frames_dropped), (0, 1));
        assert!(track.sender.take_keyframe_request());
    }
    passes(video, &call.tracks[0].1, Codec::Vp8, 1, 0).await;
    call.check();
}

#[tokio::test(start_paused = true)]
async fn a_sender_report_dates_frames() {
    let codecs = [Codec::Vp8, Codec::Opus];
    let (call, _network) = Call::new(Duration::from_millis(30), &codecs).await;
    let mut dates = [Vec::new(), Vec::new()];
    let start = Instant::now();
    for n in 0..200_u64 {
        for ((codec, (x, y)), dates) in codecs.into_iter().zip(&call.tracks).zip(&mut dates) {
            let ticks = MediaTime::after(77, start.elapsed(), codec.clock_rate()).ticks;
            let mut frame = outgoing(codec, n, 900, ticks);
            // As if encoding took some time.
            frame.captured -= Duration::from_millis(12);
            let captured = frame.captured;
            assert!(x.sender.try_send(frame));
            let frame = y.recv().await;
            dates.extend(frame.sender_time.map(|time| (captured, time)));
        }
        sleep(Duration::from_millis(20)).await;
    }
    for dates in dates {
        assert!(dates.len() > 80, "{} of 200 have a date", dates.len());
        let (captured, date) = dates[0];
        for (c, d) in &dates {
            let (local, remote) = (*c - captured, d.abs_diff(date));
            assert!(
                local.abs_diff(remote) < Duration::from_millis(1),
                "{local:?} {remote:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn packets_are_counted_in_a_call_of_seconds() {
    let (mut call, _network) = Call::new(Duration::from_millis(25), &[Codec::H264]).await;
    assert_eq!(call.stats(0).await, (RtpStats::default(), RtpStats::default()));
    for n in 0..90_u64 {
        let x = &call.tracks[0].0;
        assert!(x.sender.try_send(outgoing(Codec::H264, n, 5000, n * 3000)));
        call.tracks[0].1.recv().await;
        sleep(SECOND / 30).await;
    }
    sleep(SECOND).await;
    let (a, b) = call.stats(0).await;
    assert_eq!(a.packets_sent, b.packets_received);
    assert!(a.packets_sent.is_some_and(|n| n > 90 * 4), "{a:?}");
    assert_eq!(a.retransmitted_packets_sent, Some(0));
    assert_eq!(a.packets_received, None, "nothing came this way");
    assert_eq!(b.packets_lost, Some(0));
    let rtt = a.rtt.unwrap();
    assert!(
        rtt.abs_diff(Duration::from_millis(50)) < Duration::from_millis(5),
        "{rtt:?}"
    );
    let age = call.a.engine.stats().await.age.unwrap();
    assert!(age <= Duration::from_millis(600), "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn packets_that_make_no_frame_are_a_gap_and_nothing_worse() {
    let (call, _network) = Call::new(Duration::from_millis(5), &[Codec::H264]).await;
    let (x, y) = &call.tracks[0];
    passes(x, y, Codec::H264, 0, 0).await;
    // Types that RFC 6184 reserves, fragments without an end, aggregates that are too short, and no start code.
    let nals: [&[u8]; 6] = [
        b"\0\0\0\x01\x7e\x01\x02",
        b"\0\0\0\x01\x7c\x85\x01\x02",
        b"\0\0\0\x01\x78\xff\xff\x01",
        b"\x7f\x01\x02",
        b"\0\0\0\x01\x7d\x01\x02\x03",
        b"\0\0\x01\x60\x01",
    ];
    for (n, nal) in (1_u64..).zip(nals) {
        let frame = OutgoingFrame {
            payload: nal.to_vec().into(),
            ..outgoing(Codec::H264, 0, 10, n * 3000)
        };
        assert!(x.sender.try_send(frame));
    }
    sleep(2 * SECOND).await;
    while y.receiver.try_recv().is_some() {}
    // The fragment without an end spoils one frame more.
    for n in [10, 20] {
        assert!(x.sender.try_send(outgoing(Codec::H264, n, 3000, n * 9000)));
    }
    let frame = y.recv().await;
    is_sent(&frame, Codec::H264, 20, 3000, 180_000);
    assert!(!frame.contiguous);
    passes(y, x, Codec::H264, 0, 0).await;
    call.check();
}

#[tokio::test]
async fn frames_on_the_machines_own_network() {
    let mut call = Call::real(&[Codec::H264]).await;
    let (x, y) = &call.tracks[0];
    for (n, size) in [10, 1200, 12_000, 60_000, 200_000]
        .into_iter()
        .cycle()
        .take(100)
        .enumerate()
    {
        let n = n as u64;
        assert!(x.sender.try_send(outgoing(Codec::H264, n, size, n * 3000)));
        let frame = y.recv().await;
        is_sent(&frame, Codec::H264, n, size, n * 3000);
        assert!(frame.contiguous);
    }
    for (window, size, total) in [
        (4, 12_000, 20_000_u64),
        (8, 12_000, 20_000),
        (60, 12_000, 2_000),
        (16, 60_000, 1_000),
    ] {
        let start = Instant::now();
        let payload: std::sync::Arc<[u8]> = bitstream(Codec::H264, 1, size).into();
        let (mut sent, mut received) = (0, 0);
        while received < total {
            while sent < total && sent - received < window {
                let frame = OutgoingFrame {
                    codec: Codec::H264,
                    payload: Payload::Arc(payload.clone()),
                    keyframe: true,
                    media_time: MediaTime {
                        ticks: 1_000_000 + sent * 3000,
                        rate: 90_000,
                    },
                    captured: Instant::now(),
                };
                assert!(x.sender.try_send(frame));
                sent += 1;
            }
            let frame = y.recv().await;
            assert!(frame.contiguous, "frame {received} of {total}, window {window}");
            assert_eq!(frame.payload.as_ref().len(), size);
            received += 1;
        }
        let rate = total as f64 / start.elapsed().as_secs_f64();
        println!(
            "{rate:.0} frames/s of {size} bytes with {window} in flight, {:.0} MB/s",
            rate * size as f64 / 1e6
        );
    }
    sleep(SECOND).await;
    let (a, b) = call.stats(0).await;
    println!("{a:?}\n{b:?}");
    assert_eq!(b.packets_lost, Some(0));
    assert_eq!(a.retransmitted_packets_sent, Some(0));
    call.check();
}
