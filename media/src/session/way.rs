//! One direction of a call's media: the pipelines of the side that sends and of the side that gets it.

mod audio;
mod checked;
mod video;

use super::{
    LiveFigures, Monitor,
    monitor::Taps,
    open::OpenWay,
    record::{Form, Recorded, Recorder},
    report::{PacketCounts, SkewMs, VideoWay, WayReport, millis, rounded},
};
use crate::{
    pipeline::Playout,
    sink::{AudioReport, Reports, Skew, SkewMeter, VideoReport, skew},
};
use audio::Audio;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use video::Video;
use visavis_core::{Error, Mark, MediaKind, Result, RtpStats, Side, Timeline, TrackReceiver, TrackSender};

/// More pictures or packets than this share on the way from source to sink, and more than [`FEW`], make a call bad; fewer may
/// be a machine that was busy with something else.
const LOST: f64 = 0.1;

/// So few do not matter however short the call is.
const FEW: u64 = 3;

/// A minute is what the verifiers keep of the moments that the skew comes from.
const SKEW_EVERY: Duration = Duration::from_secs(20);

/// A device that hangs is given up.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Ends when a pipeline does.
pub(super) type End<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// The ends of a way's tracks, and where the receiving peer marks its steps.
pub(super) struct Ends {
    pub(super) video: Option<(TrackSender, TrackReceiver)>,
    pub(super) audio: Option<(TrackSender, TrackReceiver)>,
    pub(super) timeline: Timeline,
}

/// A running way.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) from: Side,
    start: Instant,
    stopped: Option<Instant>,
    timeline: Timeline,
    taps: Arc<Taps>,
    pub(super) video: Option<Video>,
    pub(super) audio: Option<Audio>,
    meter: Arc<Mutex<SkewMeter>>,
    measuring: JoinSet<()>,
    errors: Vec<String>,
}

impl Way {
    /// Starts the receiver, and then the sender. `start` is time 0 of the sources.
    pub(super) fn start(opened: OpenWay, ends: Ends, start: Instant) -> Self {
        let playout = Arc::new(Playout::default());
        let taps = opened.taps;
        let video = opened
            .video
            .zip(ends.video)
            .map(|(opened, track)| Video::start(opened, track, start, &playout, &ends.timeline, &taps));
        let audio = opened
            .audio
            .zip(ends.audio)
            .map(|(opened, track)| Audio::start(opened, track, start, &playout, &taps));
        let mut way = Self {
            from: opened.from,
            start,
            stopped: None,
            timeline: ends.timeline,
            taps,
            video,
            audio,
            meter: Arc::default(),
            measuring: JoinSet::new(),
            errors: Vec::new(),
        };
        if let Some((video, audio)) = way.checked() {
            let meter = Arc::clone(&way.meter);
            way.measuring.spawn(async move {
                loop {
                    sleep(SKEW_EVERY).await;
                    lock(&meter).update(&video.report(), &audio.report());
                }
            });
        }
        way
    }

    /// Whether `pictures` were decoded and `packets` of sound arrived.
    pub(super) fn has_arrived(&self, pictures: u64, packets: u64) -> bool {
        let video = self
            .video
            .as_ref()
            .is_none_or(|v| v.receiver.stats().decoded >= pictures);
        let audio = self
            .audio
            .as_ref()
            .is_none_or(|a| a.receiver.stats().received >= packets);
        video && audio
    }

    /// Whether files of the plan are played.
    pub(super) fn plays_files(&self) -> bool {
        self.video.as_ref().is_some_and(|v| v.is_file) || self.audio.as_ref().is_some_and(|a| a.is_file)
    }

    /// The end of each sender, and whether its source is a file of the plan.
    pub(super) fn ends(&mut self) -> impl Iterator<Item = (bool, End<'_>)> {
        let video = self
            .video
            .as_mut()
            .map(|v| (v.is_file, Box::pin(v.sender.ended()) as End<'_>));
        let audio = self
            .audio
            .as_mut()
            .map(|a| (a.is_file, Box::pin(a.sender.ended()) as End<'_>));
        video.into_iter().chain(audio)
    }

    /// An error that ended a pipeline is reported with all else.
    pub(super) fn failed(&mut self, error: &Error) {
        self.errors.push(error.to_string());
    }

    /// Stops sending; what was captured is still sent.
    pub(super) async fn stop(&mut self) {
        let (video, audio) = (&mut self.video, &mut self.audio);
        let video = async {
            match video {
                Some(video) => given_up("video", video.sender.stop()).await,
                None => None,
            }
        };
        let audio = async {
            match audio {
                Some(audio) => given_up("audio", audio.sender.stop()).await,
                None => None,
            }
        };
        let (video, audio) = tokio::join!(video, audio);
        self.errors.extend(video.into_iter().chain(audio));
        self.stopped.get_or_insert_with(Instant::now);
    }

    /// Whether all that was sent has arrived. Frames that are lost never do.
    pub(super) fn all_arrived(&self) -> bool {
        let arrived =
            |sent: u64, received: u64, track: &TrackReceiver| received + track.stats().frames_dropped >= sent;
        let video = self
            .video
            .as_ref()
            .is_none_or(|v| arrived(v.sender.stats().sent, v.receiver.stats().received, &v.track.1));
        let audio = self
            .audio
            .as_ref()
            .is_none_or(|a| arrived(a.sender.stats().sent, a.receiver.stats().received, &a.track.1));
        video && audio
    }

    /// Shows and plays what has arrived, and completes the recordings.
    pub(super) async fn finish(&mut self) {
        let (video, audio) = (&mut self.video, &mut self.audio);
        let video = async {
            match video {
                Some(video) => given_up("video", video.receiver.finish()).await,
                None => None,
            }
        };
        let audio = async {
            match audio {
                Some(audio) => given_up("audio", audio.receiver.finish()).await,
                None => None,
            }
        };
        let (video, audio) = tokio::join!(video, audio);
        self.errors.extend(video.into_iter().chain(audio));
        self.measuring.abort_all();
    }

    /// What is captured and shown.
    pub(super) fn monitor(&self) -> Monitor {
        Monitor(Arc::clone(&self.taps))
    }

    /// What records the tracks, and into what files.
    pub(super) fn recorders(&self) -> impl Iterator<Item = Recorded> {
        let of = |recorder: &Recorder, form| Recorded {
            recorder: recorder.clone(),
            from: self.from,
            form,
        };
        let video = self.video.as_ref().map(|v| of(&v.recorder, v.form()));
        let channels = |a: &Audio| Form::Audio { channels: a.channels };
        let audio = self.audio.as_ref().map(|a| of(&a.recorder, channels(a)));
        video.into_iter().chain(audio)
    }

    /// What the counters say.
    pub(super) fn live(&self) -> LiveFigures {
        let mut live = LiveFigures::default();
        if let Some(video) = &self.video {
            video.live(&mut live);
        }
        if let Some(audio) = &self.audio {
            audio.live(&mut live);
        }
        live
    }

    /// What is known up to now. `began` is when the call was entered.
    pub(super) fn report(&self, began: Instant) -> WayReport {
        let time = self.stopped.unwrap_or_else(Instant::now) - self.start;
        let first_frame = self.timeline.get(Mark::FirstFrameDecoded);
        let first_frame = first_frame.map(|at| millis(at.saturating_duration_since(began)));
        let mut problems = self.errors.clone();
        let video = self.video.as_ref().map(|v| v.report(time, &mut problems));
        let mut audio = self.audio.as_ref().map(|a| a.report(time, &mut problems));
        if let (Some(audio), Some(skew)) = (&mut audio, self.skew()) {
            problems.extend(skew.problems(Skew::LIMIT));
            audio.skew_ms = Some(SkewMs {
                median: rounded(skew.median_ms),
                max: rounded(skew.max_ms),
            });
        }
        WayReport {
            video: video.map(|video| VideoWay {
                first_frame_ms: first_frame,
                ..video
            }),
            audio,
            problems,
        }
    }

    /// Both verifiers, where both pictures and sound can be checked.
    fn checked(&self) -> Option<(Reports<VideoReport>, Reports<AudioReport>)> {
        let video = self.video.as_ref()?.check.as_ref()?;
        let audio = self.audio.as_ref()?.check.as_ref()?;
        Some((video.reports.clone(), audio.reports.clone()))
    }

    fn skew(&self) -> Option<Skew> {
        let (video, audio) = self.checked()?;
        let (video, audio) = (video.report(), audio.report());
        let mut meter = lock(&self.meter);
        meter.update(&video, &audio);
        meter.skew().or_else(|| skew(&video, &audio))
    }
}

impl WayReport {
    /// Fills in what the stacks counted of `kind`.
    pub(super) fn counted(&mut self, kind: MediaKind, sender: &RtpStats, receiver: &RtpStats) {
        let counts = PacketCounts::of(sender, receiver);
        match (kind, &mut self.video, &mut self.audio) {
            (MediaKind::Video, Some(video), _) => video.rtp = counts,
            (MediaKind::Audio, _, Some(audio)) => audio.rtp = counts,
            _ => {}
        }
    }
}

fn is_much(lost: u64, of: u64) -> bool {
    lost > FEW && lost as f64 > LOST * of as f64
}

/// How much time `count` frames stand for that were captured in `time`: the last one lasts until the next would come.
fn covered(time: Duration, interval: Duration, count: u64) -> Duration {
    let frames = interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
    frames.clamp(time, time + interval)
}

/// What went wrong, also if it took too long.
async fn given_up(what: &str, work: impl Future<Output = Result<()>>) -> Option<String> {
    match timeout(STOP_PATIENCE, work).await {
        Ok(result) => result.err().map(|error| error.to_string()),
        Err(_) => Some(format!("the {what} did not end within {STOP_PATIENCE:?}")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
