//! Real video files, that somebody else made, and tracks that come, go and change.

use std::{
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::{
    Bitrate, Codec, Direction, MediaKind, Result, Side, TrackReceiver, TrackSender, VideoFrame,
    media::{VideoSink, VideoSource},
};
use visavis_media::{
    codec::VideoSettings,
    pipeline::{VideoReceive, VideoReceiver, VideoSend, VideoSender, receive_video, send_video},
    source::{
        FrameRate, Pattern,
        file::{Repeat, open_video},
    },
};
use visavis_tests::{World, deadline, eventually, media::line, within};

/// Where the files are; `None` where they cannot be had and need not be.
fn videos() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/media/fetch");
    let fetched = Command::new(script).output().expect("tests/media/fetch runs");
    if fetched.status.success() {
        return Some(String::from_utf8_lossy(&fetched.stdout).trim().into());
    }
    let words = String::from_utf8_lossy(&fetched.stderr);
    assert!(std::env::var_os("VISAVIS_REQUIRE_ALL").is_none(), "{words}");
    eprintln!("left out: {words}");
    None
}

/// Compares what is shown, picture by picture, with the file read once more.
struct Compare {
    file: Box<dyn VideoSource>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    pictures: u32,
    /// Pictures whose time is not that of the file's picture of the same number.
    out_of_time: u32,
    worst_psnr: Option<f64>,
}

impl VideoSink for Compare {
    fn show(&mut self, frame: &VideoFrame, _at: Instant) -> Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.pictures += 1;
        let Some(wanted) = self.file.next()? else {
            seen.out_of_time += 1;
            return Ok(());
        };
        // Timestamps have ticks of 11 µs.
        let off = frame.time.abs_diff(wanted.time);
        seen.out_of_time += u32::from(off > Duration::from_micros(50));
        let psnr = psnr(frame, &wanted);
        seen.worst_psnr = Some(seen.worst_psnr.map_or(psnr, |worst| worst.min(psnr)));
        Ok(())
    }
}

/// Of luma, in dB.
fn psnr(a: &VideoFrame, b: &VideoFrame) -> f64 {
    if (a.width, a.height) != (b.width, b.height) {
        return 0.0;
    }
    let mut squares = 0_u64;
    // Every sixteenth row tells enough.
    let rows = (0..a.height).step_by(16);
    for row in rows.clone() {
        let line = |f: &VideoFrame| f.planes[0].slice(row * f.strides[0]..row * f.strides[0] + f.width);
        let (a, b) = (line(a), line(b));
        squares += a
            .iter()
            .zip(&b)
            .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
            .sum::<u64>();
    }
    let mean = squares as f64 / (a.width * rows.len()) as f64;
    10.0 * (255.0 * 255.0 / mean.max(0.01)).log10()
}

fn settings(kbps: u64) -> VideoSettings {
    VideoSettings {
        bitrate: Bitrate::from_bps(kbps * 1_000),
        fps: 30.0,
    }
}

/// Each picture of the file arrives, once, in display order, at its time, and looks as it did.
async fn frame_for_frame(world: &World, name: &str, pictures: u32) {
    let Some(directory) = videos() else { return };
    let path = directory.join(name);
    let call = world.media_call(&[line(Codec::H264, Direction::SendOnly)]).await;
    let (sender, receiver) = call.way(Side::Offerer, 0);
    let seen = Arc::<Mutex<Seen>>::default();
    let sink = Compare {
        file: open_video(&path, Repeat::Once).unwrap().source,
        seen: Arc::clone(&seen),
    };
    let receiving = receive_video(receiver, VideoReceive::new(Box::new(sink)));
    deadline("a codec", sender.ready()).await.unwrap();
    let source = open_video(&path, Repeat::Once).unwrap().source;
    let mut sending = send_video(sender, source, VideoSend::new(settings(3_000)));
    within(Duration::from_secs(60), "the end of the file", sending.ended())
        .await
        .unwrap();
    let look = || seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let sent = sending.stats();
    eventually("what was sent is decoded", || {
        receiving.stats().decoded >= sent.sent
    })
    .await;
    eventually("what was decoded is shown", || {
        u64::from(look().pictures) >= sent.sent
    })
    .await;
    let seen = look();
    let counts = (sent.captured, sent.late, sent.skipped, sent.sent);
    let pictures_sent = u64::from(pictures);
    assert_eq!(counts, (pictures_sent, 0, 0, pictures_sent), "{name}");
    assert_eq!(
        (seen.pictures, seen.out_of_time),
        (pictures, 0),
        "{name}: {seen:?}"
    );
    assert!(seen.worst_psnr.unwrap() > 24.0, "{name}: {seen:?}");
    call.close().await;
}

/// Main profile without B-frames, with a sound track that is not sent.
pub(super) async fn big_buck_bunny_frame_for_frame(world: World) {
    frame_for_frame(&world, "bigbuckbunny.mp4", 132).await;
}

/// High profile with B-frames, which are put into display order.
pub(super) async fn bikes_frame_for_frame(world: World) {
    frame_for_frame(&world, "bikes.mp4", 250).await;
}

fn pattern() -> Box<dyn VideoSource> {
    Box::new(Pattern::new(160, 120, FrameRate::new(30, 1).unwrap()).unwrap())
}

/// The pattern on its way, shown to nobody.
struct Flow(VideoSender, VideoReceiver);

impl Flow {
    async fn new(sender: TrackSender, receiver: TrackReceiver) -> Self {
        let sink = visavis_media::sink::NullVideo;
        let receiving = receive_video(receiver, VideoReceive::new(Box::new(sink)));
        deadline("a codec", sender.ready()).await.unwrap();
        Self(
            send_video(sender, pattern(), VideoSend::new(settings(300))),
            receiving,
        )
    }

    /// Waits until this many more pictures were decoded.
    async fn goes_on(&self, pictures: u64) {
        let wanted = self.1.stats().decoded + pictures;
        eventually("pictures are decoded", || self.1.stats().decoded >= wanted).await;
    }
}

/// `replaceTrack`: from the pattern to a file of another size, and back. Nothing is negotiated.
pub(super) async fn pattern_replaced_by_a_file(world: World) {
    let Some(directory) = videos() else { return };
    let call = world.media_call(&[line(Codec::H264, Direction::SendOnly)]).await;
    let (sender, receiver) = call.way(Side::Offerer, 0);
    let flow = Flow::new(sender, receiver).await;
    flow.goes_on(15).await;
    let file = open_video(&directory.join("bikes.mp4"), Repeat::Loop).unwrap();
    let size = file.source.size();
    flow.0.replace_track(file.source);
    eventually("the file is shown", || flow.1.stats().size == Some(size)).await;
    flow.goes_on(15).await;
    flow.0.replace_track(pattern());
    eventually("the pattern is shown", || flow.1.stats().size == Some((160, 120))).await;
    flow.goes_on(15).await;
    let stats = flow.1.stats();
    assert_eq!((stats.undecodable, stats.failed), (0, 0), "{stats:?}");
    call.close().await;
}

/// The answerer adds video in mid-call, then the offerer; each removes and adds again, and decoding goes on.
pub(super) async fn video_added_removed_and_added_20_times(world: World) {
    let mut call = world.call().await;
    let mut flows = Vec::new();
    let sides = [Side::Answerer, Side::Offerer];
    let mut lines = None;
    for side in sides {
        let other = if side == Side::Offerer {
            Side::Answerer
        } else {
            Side::Offerer
        };
        let ours = call.side(side).0.add_track(MediaKind::Video).await.unwrap();
        let theirs = call.side(other).0.log.track().await;
        flows.push((Flow::new(ours.sender(), theirs.receiver()).await, ours));
        for (flow, _) in &flows {
            flow.goes_on(5).await;
        }
    }
    for round in 0..20 {
        let (flow, ours) = &flows[round % 2];
        let (side, still) = (sides[round % 2], &flows[(round + 1) % 2].0);
        let peer = call.side(side).0;
        peer.remove_track(ours).await.unwrap();
        let sender = ours.sender();
        deadline("nothing to send", sender.changed(Some(Codec::H264))).await;
        still.goes_on(2).await;
        let again = peer.add_track(MediaKind::Video).await.unwrap();
        deadline("a codec", again.sender().ready()).await.unwrap();
        flow.goes_on(3).await;
        let local = call.side(side).0.local_description().unwrap().sdp;
        let count = local.matches("m=").count();
        assert_eq!(
            *lines.get_or_insert(count),
            count,
            "round {round}: m-lines are used again"
        );
    }
    drop(flows);
    call.close().await;
}
