//! Pictures with the codecs in the loop: test pattern, H.264 encoder, track, H.264 decoder, and the number read back
//! from the picture that comes out, as fast as it goes.
//!
//! The codecs work off the async threads, a picture at a time each, as in the pipelines of a call. The pictures are
//! drawn before: there are 60, which go round, so each says its place among the few that are under way.

use crate::{
    lab::{Lab, Site},
    metric::Metric,
    outcome::{Meter, Outcome},
    scenario::{frames::STEP, handshake::negotiated, video_call::VideoCall},
    work::{Network, Visit},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use visavis_core::{
    Bitrate, Codec, IncomingFrame, MediaTime, OutgoingFrame, VideoFrame,
    media::{VideoDecoder, VideoEncoder},
};
use visavis_media::{
    codec::{VideoSettings, video_decoder, video_encoder},
    source::{FrameRate, Pattern},
};

/// How many pictures go round, two seconds of them; more than are ever under way. Of 1080p they have 187 MB.
const PERIOD: u32 = 60;

/// What the encoder thinks is the frame rate.
const RATE: u32 = 30;

/// Bits a pixel; no picture is left out for the bitrate's sake.
const BITS: f64 = 0.09;

/// A picture that takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// About how long a batch takes. The way of its last pictures, on which only the decoder works, is a small part of it.
const BATCH: f64 = 0.3;

/// Codes and sends pictures of this width and height, as the visit's [`Work::Codecs`](crate::work::Work::Codecs) says.
///
/// # Errors
///
/// Why there was no call, or no such pictures. What is lost or damaged is a failure in the outcome.
pub async fn run(
    lab: &Lab,
    visit: &Visit,
    size: [u32; 2],
    window: usize,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let site = lab.site(visit, Network::Loopback, false)?;
    let pictures = pictures(size)?;
    if window == 0 || window >= pictures.len() {
        return Err(format!("{window} under way is not between 1 and {}", PERIOD - 1));
    }
    let mut way = Some(Way::new(&site, &pictures, window).await?);
    let mut count = 2 * window as u64;
    outcome
        .measure(visit, async || {
            // After a failure there is none: codecs and call begin anew.
            let mut current = match way.take() {
                Some(way) => way,
                None => Way::new(&site, &pictures, window).await?,
            };
            let meter = Meter::start();
            let sent = count;
            if let Err(reason) = current.run(sent).await {
                current.call.end().await;
                return Err(reason);
            }
            let (wall, cpu) = meter.read();
            way = Some(current);
            let rate = sent as f64 / wall;
            count = ((rate * BATCH) as u64).max(2 * window as u64);
            Ok(vec![
                (Metric::FramesPerSecond, rate),
                (Metric::FramesPerCpuSecond, sent as f64 / cpu),
            ])
        })
        .await;
    if let Some(way) = way {
        way.call.end().await;
    }
    outcome.negotiated = Some(negotiated(&site).await?);
    Ok(())
}

/// All that the pictures go through.
struct Way {
    call: VideoCall,
    /// Away while it works.
    encoder: Option<Box<dyn VideoEncoder>>,
    decoder: Option<Box<dyn VideoDecoder>>,
    pictures: Arc<[VideoFrame]>,
    window: usize,
    sent: u64,
}

impl Way {
    async fn new(site: &Site, pictures: &Arc<[VideoFrame]>, window: usize) -> Result<Self, String> {
        let pixels = pictures[0].width * pictures[0].height;
        let settings = VideoSettings {
            fps: RATE as f32,
            bitrate: Bitrate::from_bps((BITS * f64::from(RATE) * pixels as f64) as u64),
        };
        Ok(Self {
            encoder: Some(video_encoder(Codec::H264, settings).map_err(|error| error.to_string())?),
            decoder: Some(video_decoder(Codec::H264).map_err(|error| error.to_string())?),
            call: VideoCall::new(site).await?,
            pictures: Arc::clone(pictures),
            window,
            sent: 0,
        })
    }

    /// Sends `count` pictures, a window of them under way, and sees that each comes out.
    ///
    /// # Errors
    ///
    /// When a picture is left out by the encoder, dropped, lost, cannot be decoded or is not what went in.
    async fn run(&mut self, count: u64) -> Result<(), String> {
        let Self {
            call,
            encoder,
            decoder,
            pictures,
            window,
            sent,
        } = self;
        let room = Semaphore::new(*window);
        let numbers = *sent..*sent + count;
        *sent = numbers.end;
        let send = async {
            for n in numbers.clone() {
                room.acquire().await.map_err(|error| error.to_string())?.forget();
                let mut picture = pictures[(n % u64::from(PERIOD)) as usize].clone();
                picture.time = time(n).since(0);
                let keyframe = call.sender.take_keyframe_request();
                let captured = Instant::now();
                let coded = off_thread(encoder, move |encoder| encoder.encode(&picture, keyframe)).await?;
                let coded = coded.map_err(|error| format!("picture {n}: {error}"))?;
                let coded = coded.ok_or_else(|| format!("the encoder left out picture {n}"))?;
                let frame = OutgoingFrame {
                    codec: coded.codec,
                    payload: coded.payload,
                    keyframe: coded.keyframe,
                    media_time: time(n),
                    captured,
                };
                if !call.sender.try_send(frame) {
                    return Err(format!("picture {n} was dropped: {:?}", call.sender.stats()));
                }
            }
            Ok(())
        };
        let receive = async {
            for n in numbers.clone() {
                let frame = timeout(PATIENCE, call.receiver.recv()).await;
                let frame = frame
                    .ok()
                    .flatten()
                    .ok_or_else(|| format!("picture {n} did not arrive"))?;
                let shown = timeout(
                    PATIENCE,
                    off_thread(decoder, move |decoder| number(&mut **decoder, &frame)),
                );
                let shown = shown
                    .await
                    .map_err(|_| format!("picture {n} was not decoded within {PATIENCE:?}"))?;
                let shown = shown?.map_err(|reason| format!("picture {n}: {reason}"))?;
                if shown != (n % u64::from(PERIOD), time(n).ticks as u32) {
                    return Err(format!("instead of picture {n} came {shown:?}"));
                }
                room.add_permits(1);
            }
            Ok(())
        };
        tokio::try_join!(send, receive)?;
        Ok(())
    }
}

/// The timestamp of picture `n`.
fn time(n: u64) -> MediaTime {
    MediaTime {
        ticks: n * STEP,
        rate: Codec::H264.clock_rate(),
    }
}

/// The number that a picture shows, and its timestamp.
fn number(decoder: &mut dyn VideoDecoder, frame: &IncomingFrame) -> Result<(u64, u32), String> {
    let picture = decoder.decode(frame.payload.as_ref(), frame.media_time.since(0));
    let picture = picture.map_err(|error| error.to_string())?;
    let number = picture.as_ref().and_then(Pattern::read_number);
    let number = number.ok_or("no number can be read from what was decoded")?;
    Ok((number.into(), frame.media_time.ticks as u32))
}

/// Lets `worker` work off the async threads.
async fn off_thread<T: Send + 'static, R: Send + 'static>(
    worker: &mut Option<T>,
    work: impl FnOnce(&mut T) -> R + Send + 'static,
) -> Result<R, String> {
    let mut away = worker.take().ok_or("the codec has not come back")?;
    let done = spawn_blocking(move || {
        let result = work(&mut away);
        (away, result)
    });
    let (back, result) = done.await.map_err(|_| "a codec panicked")?;
    *worker = Some(back);
    Ok(result)
}

/// Those that go round.
fn pictures([width, height]: [u32; 2]) -> Result<Arc<[VideoFrame]>, String> {
    let pattern = FrameRate::new(RATE, 1)
        .and_then(|rate| Pattern::new(width as usize, height as usize, rate))
        .map_err(|error| error.to_string())?;
    Ok((0..PERIOD).map(|n| pattern.frame(n)).collect())
}
