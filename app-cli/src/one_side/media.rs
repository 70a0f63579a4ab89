//! The media of one side: sends what is asked for on our tracks, and checks what arrives.

use super::{
    Failed,
    pattern::{PatternCheck, Seen},
    report::{AudioSeen, SideReport, VideoSeen},
};
use crate::steps;
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use visavis_core::{
    Mark, MediaKind, PeerConnection, TrackReceiver, TrackSender,
    media::{AudioSource, VideoSource},
};
use visavis_media::{
    codec::{AudioSettings, VideoSettings},
    pipeline::{
        AudioReceive, AudioReceiver, AudioSend, AudioSender, Playout, VideoReceive, VideoReceiver, VideoSend,
        VideoSender, receive_audio, receive_video, send_audio, send_video,
    },
    session::{AudioPlan, VideoPlan},
    sink::{AudioLimits, AudioReport, AudioVerifier, Reports},
    source::file::Repeat,
};

/// A device or a codec that hangs is given up.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What this side sends, open.
#[derive(Default)]
pub(crate) struct Sources {
    video: Option<(Box<dyn VideoSource>, VideoSettings)>,
    audio: Option<(Box<dyn AudioSource>, AudioSettings)>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Sources {
    /// Opens them. Files begin again at their end.
    pub(crate) async fn open(video: Option<VideoPlan>, audio: Option<AudioPlan>) -> Result<Self, Failed> {
        let open = move || {
            Ok(Self {
                video: video.map(|plan| plan.open(Repeat::Loop)).transpose()?,
                audio: audio.map(|plan| plan.open(Repeat::Loop)).transpose()?,
            })
        };
        match tokio::task::spawn_blocking(open).await {
            Ok(opened) => opened.map_err(|error| Failed::at(steps::SOURCES, crate::media::refused(&error))),
            Err(_) => Err(Failed::at(steps::SOURCES, "a source panicked")),
        }
    }

    /// Whether this side sends that.
    pub(crate) fn has(&self, kind: MediaKind) -> bool {
        match kind {
            MediaKind::Video => self.video.is_some(),
            MediaKind::Audio => self.audio.is_some(),
            MediaKind::Application => false,
        }
    }
}

/// The running media. Dropping it stops all of it.
#[derive(Debug, Default)]
pub(crate) struct SideMedia {
    video_sender: Option<VideoSender>,
    audio_sender: Option<AudioSender>,
    video: Option<VideoIn>,
    audio: Option<AudioIn>,
    /// When this side stopped sending.
    stopped: Option<Instant>,
    problems: Vec<String>,
}

struct VideoIn {
    track: TrackReceiver,
    receiver: VideoReceiver,
    seen: Box<dyn Fn() -> Seen + Send + Sync>,
}

impl fmt::Debug for VideoIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VideoIn")
            .field("track", &self.track)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct AudioIn {
    track: TrackReceiver,
    receiver: AudioReceiver,
    check: Reports<AudioReport>,
}

impl SideMedia {
    /// Receives all that was negotiated, the first track of each kind, and sends `sources` with one common time 0
    /// where the other side takes them. `patience` is how long a track may take until it sends.
    pub(crate) async fn start(
        peer: &PeerConnection,
        sources: Sources,
        patience: Duration,
    ) -> visavis_core::Result<Self> {
        let deadline = Instant::now() + patience;
        let playout = Arc::<Playout>::default();
        let mut media = Self::default();
        let mut senders: Vec<TrackSender> = Vec::new();
        for transceiver in peer.transceivers().await? {
            let Some(direction) = transceiver.state().await?.current_direction else {
                continue;
            };
            let kind = transceiver.kind();
            if direction.receives() {
                media.receive(transceiver.receiver(), peer, &playout);
            }
            if direction.sends() && sources.has(kind) && !senders.iter().any(|s| s.kind() == kind) {
                senders.push(transceiver.sender());
            }
        }
        let mut ready = Vec::new();
        for sender in senders {
            match timeout_at(deadline, sender.ready()).await {
                Ok(Some(_)) => ready.push(sender),
                _ => media.problems.push(format!("no {} could be sent", sender.kind())),
            }
        }
        let start = Instant::now();
        peer.timeline().mark_at(Mark::MediaReady, start);
        let mut sender = |kind| {
            let sender = ready.iter().find(|s| s.kind() == kind).cloned();
            if sender.is_none() {
                media.problems.push(format!("the other side takes no {kind}"));
            }
            sender
        };
        let video = sources
            .video
            .and_then(|source| Some((source, sender(MediaKind::Video)?)));
        let audio = sources
            .audio
            .and_then(|source| Some((source, sender(MediaKind::Audio)?)));
        media.video_sender = video.map(|((source, settings), sender)| {
            let config = VideoSend {
                settings,
                start,
                first_timestamp: None,
            };
            send_video(sender, source, config)
        });
        media.audio_sender = audio.map(|((source, settings), sender)| {
            let config = AudioSend {
                settings,
                start,
                first_timestamp: None,
            };
            send_audio(sender, source, config)
        });
        Ok(media)
    }

    fn receive(&mut self, track: TrackReceiver, peer: &PeerConnection, playout: &Arc<Playout>) {
        match track.kind() {
            MediaKind::Video if self.video.is_none() => {
                let check = PatternCheck::default();
                let seen = Box::new(check.seen());
                let config = VideoReceive {
                    playout: Some(Arc::clone(playout)),
                    timeline: Some(peer.timeline().clone()),
                    ..VideoReceive::new(Box::new(check))
                };
                let receiver = receive_video(track.clone(), config);
                self.video = Some(VideoIn {
                    track,
                    receiver,
                    seen,
                });
            }
            MediaKind::Audio if self.audio.is_none() => {
                let verifier = AudioVerifier::new().limits(AudioLimits {
                    delay_ms: 1_000.0,
                    ..AudioLimits::default()
                });
                let check = verifier.reports();
                let config = AudioReceive {
                    playout: Some(Arc::clone(playout)),
                    ..AudioReceive::new(Box::new(verifier))
                };
                let receiver = receive_audio(track.clone(), config);
                self.audio = Some(AudioIn {
                    track,
                    receiver,
                    check,
                });
            }
            _ => {}
        }
    }

    /// Stops sending; what was captured is still sent, and has `in_flight` to arrive and, where it is echoed, to come
    /// back.
    pub(crate) async fn stop_sending(&mut self, in_flight: Duration) {
        if self.video_sender.is_none() && self.audio_sender.is_none() {
            return;
        }
        self.stopped = Some(Instant::now());
        if let Some(sender) = &mut self.video_sender {
            let _ = timeout(STOP_PATIENCE, sender.stop()).await;
        }
        if let Some(sender) = &mut self.audio_sender {
            let _ = timeout(STOP_PATIENCE, sender.stop()).await;
        }
        sleep(in_flight).await;
    }

    /// Shows and plays what has arrived, and reports.
    pub(crate) async fn finish(mut self, peer: &PeerConnection) -> SideReport {
        let stats = timeout(STOP_PATIENCE, peer.stats())
            .await
            .ok()
            .and_then(Result::ok);
        let rtp = |kind| {
            let tracks = stats.iter().flat_map(|stats| &stats.tracks);
            let counts = tracks
                .filter(|t| t.kind == kind)
                .filter_map(|t| t.rtp.packets_received);
            counts.reduce(|a, b| a + b)
        };
        let (video_rtp, audio_rtp) = (rtp(MediaKind::Video), rtp(MediaKind::Audio));
        if let Some(video) = &mut self.video {
            match timeout(STOP_PATIENCE, video.receiver.finish()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.problems.push(error.to_string()),
                Err(_) => self.problems.push("the pictures did not end".into()),
            }
        }
        if let Some(audio) = &mut self.audio {
            match timeout(STOP_PATIENCE, audio.receiver.finish()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.problems.push(error.to_string()),
                Err(_) => self.problems.push("the sound did not end".into()),
            }
        }
        SideReport {
            video_frames_sent: self.video_sender.as_ref().map(|s| s.stats().sent),
            audio_packets_sent: self.audio_sender.as_ref().map(|s| s.stats().sent),
            video: self.video.as_ref().map(|v| {
                let stats = v.receiver.stats();
                VideoSeen::new(&stats, v.track.stats(), &(v.seen)(), self.stopped, video_rtp)
            }),
            audio: self.audio.as_ref().map(|a| {
                let stats = a.receiver.stats();
                AudioSeen::new(&stats, a.track.stats(), a.check.report(), audio_rtp)
            }),
            problems: self.problems,
        }
    }
}
