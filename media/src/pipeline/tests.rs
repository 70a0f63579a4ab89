//! The pipelines over a wire that is only two queues, in virtual time.

use super::*;
use crate::{
    codec::{AudioSettings, VideoSettings},
    source::{FrameRate, Pattern, Tone},
};
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering};
use tokio::{task::JoinHandle, time::timeout};
use visavis_core::{
    AudioFrame, Bitrate, Codec, EventSink, IncomingFrame, MediaKind, TrackPort, TrackReceiver, TrackSender,
    VideoFrame,
    media::{AudioSink, VideoSink, VideoSource},
};

const SETTINGS: VideoSettings = VideoSettings {
    bitrate: Bitrate::from_bps(300_000),
    fps: 30.0,
};

const SOUND: AudioSettings = AudioSettings {
    bitrate: Bitrate::from_bps(48_000),
    channels: 2,
};

/// What was shown: the picture's number and when.
type Shown = Arc<Mutex<Vec<(Option<u32>, Instant)>>>;

#[derive(Default)]
struct Collect(Shown);

impl VideoSink for Collect {
    fn show(&mut self, frame: &VideoFrame, at: Instant) -> Result<()> {
        lock(&self.0).push((Pattern::read_number(frame), at));
        Ok(())
    }
}

/// When each second's beep was heard.
struct Hear(Arc<Mutex<Vec<Instant>>>, bool);

impl AudioSink for Hear {
    fn play(&mut self, frame: &AudioFrame, at: Instant) -> Result<()> {
        let loud = frame.samples.iter().any(|s| s.abs() > 0.3);
        if loud && !self.1 {
            lock(&self.0).push(at);
        }
        self.1 = loud;
        Ok(())
    }
}

fn pattern() -> Pattern {
    let rate = FrameRate::new(30, 1).unwrap();
    Pattern::new(160, 120, rate).unwrap()
}

/// A pattern that ends.
struct Finite(Pattern, u32);

impl VideoSource for Finite {
    fn size(&self) -> (usize, usize) {
        self.0.size()
    }

    fn interval(&self) -> Duration {
        self.0.interval()
    }

    fn next(&mut self) -> Result<Option<VideoFrame>> {
        if self.1 == 0 {
            return Ok(None);
        }
        self.1 -= 1;
        self.0.next()
    }
}

/// Two tracks and a wire between them that can lose frames.
struct Wire {
    sender: TrackSender,
    receiver: TrackReceiver,
    lose: Arc<AtomicBool>,
    pump: JoinHandle<()>,
}

impl Wire {
    fn new(kind: MediaKind, codec: Codec, delay: Duration) -> Self {
        let (near_events, _) = EventSink::detached();
        let (far_events, _) = EventSink::detached();
        let (sender, _, near) = TrackPort::detached(&near_events, kind, Some(codec));
        let (_, receiver, far) = TrackPort::detached(&far_events, kind, None);
        let lose = Arc::new(AtomicBool::new(false));
        let epoch = Instant::now();
        let pump = tokio::spawn({
            let lose = Arc::clone(&lose);
            async move {
                let mut contiguous = true;
                loop {
                    tokio::select! {
                        () = near.woken() => {}
                        () = far.woken() => {}
                    }
                    if far.take_keyframe_request() {
                        near.request_keyframe();
                    }
                    while let Some(frame) = near.pop_outgoing() {
                        if lose.load(Ordering::Relaxed) {
                            contiguous = false;
                            continue;
                        }
                        tokio::time::sleep(delay).await;
                        far.deliver(IncomingFrame {
                            codec: frame.codec,
                            payload: frame.payload,
                            keyframe: frame.keyframe,
                            contiguous,
                            media_time: frame.media_time,
                            first_packet: Instant::now(),
                            sender_time: Some(frame.captured.saturating_duration_since(epoch)),
                        });
                        contiguous = true;
                    }
                }
            }
        });
        Self {
            sender,
            receiver,
            lose,
            pump,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

fn numbers(shown: &Shown) -> Vec<u32> {
    lock(shown).iter().map(|s| s.0.expect("a number")).collect()
}

#[tokio::test(start_paused = true)]
async fn every_picture_arrives_in_order_to_the_last() {
    let wire = Wire::new(MediaKind::Video, Codec::H264, Duration::ZERO);
    let shown = Shown::default();
    let mut video = send_video(
        wire.sender.clone(),
        Box::new(Finite(pattern(), 60)),
        VideoSend::new(SETTINGS),
    );
    let mut receive = VideoReceive::new(Box::new(Collect(Arc::clone(&shown))));
    receive.clock = Some(video.clock());
    let receiver = receive_video(wire.receiver.clone(), receive);
    video.ended().await.unwrap();
    until("60 pictures are shown", || lock(&shown).len() == 60).await;
    assert_eq!(numbers(&shown), (0..60).collect::<Vec<_>>());
    let (sent, received) = (video.stats(), receiver.stats());
    assert_eq!(
        (sent.captured, sent.encoded, sent.sent, sent.late, sent.idle),
        (60, 60, 60, 0, 0)
    );
    assert_eq!((received.received, received.decoded, received.late), (60, 60, 0));
    assert_eq!(sent.keyframes, 1);
    assert_eq!(received.capture_to_decode.count(), 60);
    let took = received.capture_to_decode.max().unwrap();
    assert!(
        took < Duration::from_millis(20),
        "no time passes while it works: {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_loss_is_mended_by_a_keyframe() {
    let wire = Wire::new(MediaKind::Video, Codec::H264, Duration::ZERO);
    let shown = Shown::default();
    let video = send_video(wire.sender.clone(), Box::new(pattern()), VideoSend::new(SETTINGS));
    let receive = VideoReceive::new(Box::new(Collect(Arc::clone(&shown))));
    let receiver = receive_video(wire.receiver.clone(), receive);
    until("pictures are shown", || lock(&shown).len() > 10).await;
    wire.lose.store(true, Ordering::Relaxed);
    let captured = video.stats().captured;
    until("frames are lost", || video.stats().captured > captured + 5).await;
    wire.lose.store(false, Ordering::Relaxed);
    let before = lock(&shown).len();
    until("pictures are shown again", || lock(&shown).len() > before + 10).await;
    let stats = receiver.stats();
    assert!(stats.undecodable >= 1, "{stats:?}");
    assert!(
        stats.undecodable <= 10,
        "it heals within 200 ms and a frame: {stats:?}"
    );
    assert_eq!(stats.failed, 0, "the decoder is spared what it cannot decode");
    assert_eq!(video.stats().keyframes, 2);
    let numbers = numbers(&shown);
    assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
}

#[tokio::test(start_paused = true)]
async fn another_source_goes_on_with_a_keyframe() {
    let wire = Wire::new(MediaKind::Video, Codec::H264, Duration::ZERO);
    let shown = Shown::default();
    let video = send_video(wire.sender.clone(), Box::new(pattern()), VideoSend::new(SETTINGS));
    let receive = VideoReceive::new(Box::new(Collect(Arc::clone(&shown))));
    let receiver = receive_video(wire.receiver.clone(), receive);
    until("pictures are shown", || lock(&shown).len() > 40).await;
    // Of another size, too.
    let rate = FrameRate::new(15, 1).unwrap();
    video.replace_track(Box::new(Pattern::new(320, 240, rate).unwrap()));
    video.set_bitrate(Bitrate::from_bps(500_000));
    until("the other pattern is shown", || {
        receiver.stats().size == Some((320, 240))
    })
    .await;
    let before = lock(&shown).len();
    until("it goes on", || lock(&shown).len() > before + 20).await;
    assert_eq!(video.stats().keyframes, 2);
    let stats = receiver.stats();
    assert_eq!((stats.undecodable, stats.failed), (0, 0), "{stats:?}");
    let numbers = numbers(&shown);
    let starts: Vec<_> = numbers.iter().filter(|n| **n == 0).collect();
    assert_eq!(starts.len(), 2, "each begins at its beginning: {numbers:?}");
    let steps = numbers.windows(2).filter(|w| w[1] != w[0] + 1).count();
    assert_eq!(steps, 1, "and leaves nothing out: {numbers:?}");
}

#[tokio::test(start_paused = true)]
async fn sound_waits_for_a_slower_picture() {
    let video_wire = Wire::new(MediaKind::Video, Codec::H264, Duration::from_millis(25));
    let audio_wire = Wire::new(MediaKind::Audio, Codec::Opus, Duration::from_millis(1));
    let playout = Arc::<Playout>::default();
    let (shown, heard) = (Shown::default(), Arc::<Mutex<Vec<Instant>>>::default());
    let start = Instant::now();
    let video = send_video(
        video_wire.sender.clone(),
        Box::new(pattern()),
        VideoSend {
            start,
            ..VideoSend::new(SETTINGS)
        },
    );
    let audio = send_audio(
        audio_wire.sender.clone(),
        Box::new(Tone::new()),
        AudioSend {
            start,
            ..AudioSend::new(SOUND)
        },
    );
    let mut receive = VideoReceive::new(Box::new(Collect(Arc::clone(&shown))));
    receive.playout = Some(Arc::clone(&playout));
    let _pictures = receive_video(video_wire.receiver.clone(), receive);
    let mut receive = AudioReceive::new(Box::new(Hear(Arc::clone(&heard), false)));
    receive.playout = Some(playout);
    let sounds = receive_audio(audio_wire.receiver.clone(), receive);
    until("five beeps are heard", || lock(&heard).len() >= 5).await;
    for (second, beep) in (0_u32..).zip(lock(&heard).iter()).skip(2) {
        let shown = lock(&shown);
        let picture = shown.iter().find(|s| s.0 == Some(second * 30)).expect("shown");
        let (early, late) = (
            picture.1.saturating_duration_since(*beep),
            beep.saturating_duration_since(picture.1),
        );
        assert!(
            early.max(late) <= Duration::from_millis(25),
            "second {second}: {early:?} {late:?}"
        );
    }
    assert_eq!(sounds.stats().concealed, 0);
    assert_eq!(audio.stats().idle + video.stats().idle, 0);
}

#[tokio::test(start_paused = true)]
async fn lost_sound_is_concealed_in_time() {
    let wire = Wire::new(MediaKind::Audio, Codec::Opus, Duration::ZERO);
    let heard = Arc::<Mutex<Vec<Instant>>>::default();
    let audio = send_audio(wire.sender.clone(), Box::new(Tone::new()), AudioSend::new(SOUND));
    let receiver = receive_audio(
        wire.receiver.clone(),
        AudioReceive::new(Box::new(Hear(heard, false))),
    );
    until("sound arrives", || receiver.stats().decoded > 10).await;
    wire.lose.store(true, Ordering::Relaxed);
    let sent = audio.stats().sent;
    until("packets are lost", || audio.stats().sent >= sent + 3).await;
    wire.lose.store(false, Ordering::Relaxed);
    until("it goes on", || receiver.stats().decoded > 30).await;
    let concealed = receiver.stats().concealed;
    assert!((2..=4).contains(&concealed), "{concealed}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_encoded_for_nobody() {
    let (events, _) = EventSink::detached();
    let (sender, _, _port) = TrackPort::detached(&events, MediaKind::Video, None);
    let video = send_video(sender, Box::new(pattern()), VideoSend::new(SETTINGS));
    until("pictures are captured", || video.stats().captured > 20).await;
    let stats = video.stats();
    assert_eq!((stats.encoded, stats.sent), (0, 0));
    assert!(stats.idle + stats.late + 1 >= stats.captured, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_reads_timestamps_across_their_wrap() {
    let epoch = Instant::now();
    let clock = TrackClock::new(epoch, Some(u32::MAX - 90_000), 90_000);
    for seconds in [0, 1, 2, 3_600] {
        let captured = epoch + Duration::from_secs(seconds);
        let mut time = clock.media_time(captured);
        time.ticks &= u64::from(u32::MAX);
        let read = clock.captured(time, captured + Duration::from_millis(300));
        let off = read.saturating_duration_since(captured) + captured.saturating_duration_since(read);
        assert!(off < Duration::from_micros(20), "{seconds}: {off:?}");
    }
}
