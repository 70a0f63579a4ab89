//! Sound on one way.

use super::{covered, is_much};
use crate::{
    pipeline::{AudioReceive, AudioReceiver, AudioSend, AudioSender, Playout, receive_audio, send_audio},
    session::{
        open::OpenAudio,
        report::{AudioWay, bitrate, rounded},
    },
    sink::{AudioLimits, AudioReport, AudioVerifier, NullAudio, Reports},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use visavis_core::{AudioFrame, Result, TrackReceiver, TrackSender, media::AudioSink};

/// What a packet of sound stands for.
const PACKET: Duration = Duration::from_millis(20);

/// The pipelines of the sound.
#[derive(Debug)]
pub(super) struct Audio {
    pub(super) name: &'static str,
    pub(super) track: (TrackSender, TrackReceiver),
    pub(super) sender: AudioSender,
    pub(super) receiver: AudioReceiver,
    pub(super) reports: Option<Reports<AudioReport>>,
}

impl Audio {
    /// Starts the receiver, and then the sender.
    pub(super) fn start(
        opened: OpenAudio,
        track: (TrackSender, TrackReceiver),
        start: Instant,
        playout: &Arc<Playout>,
    ) -> Self {
        let verifier = opened.checked.then(|| {
            AudioVerifier::new().limits(AudioLimits {
                delay_ms: 1_000.0,
                ..AudioLimits::default()
            })
        });
        let reports = verifier.as_ref().map(AudioVerifier::reports);
        let sink: Box<dyn AudioSink> = match (verifier, opened.speaker) {
            (Some(verifier), Some(speaker)) => Box::new(Both(Box::new(verifier), speaker)),
            (Some(verifier), None) => Box::new(verifier),
            (None, Some(speaker)) => speaker,
            (None, None) => Box::new(NullAudio),
        };
        let receiver = receive_audio(
            track.1.clone(),
            AudioReceive {
                sink,
                recorder: opened.recorder,
                playout: Some(Arc::clone(playout)),
            },
        );
        let settings = AudioSend {
            settings: opened.settings,
            start,
            first_timestamp: None,
        };
        Self {
            name: opened.name,
            sender: send_audio(track.0.clone(), opened.source, settings),
            track,
            receiver,
            reports,
        }
    }

    /// What is known up to now, `time` after the start.
    pub(super) fn report(&self, time: Duration, problems: &mut Vec<String>) -> AudioWay {
        let (sent, received) = (self.sender.stats(), self.receiver.stats());
        let mut way = AudioWay::of(self.name, &received, self.track.0.stats(), self.track.1.stats());
        way.bitrate_bps = bitrate(sent.bytes, covered(time, PACKET, sent.captured));
        match self.reports.as_ref().map(Reports::report) {
            Some(report) => {
                problems.extend(report.problems());
                let heard = report.frames > 0;
                way.level_dbfs = report.steady_dbfs.map(|level| rounded(level.median));
                way.beeps_heard = heard.then_some(report.beeps);
                way.beeps_expected = heard.then_some(report.beeps + report.missing_beeps);
            }
            None if received.decoded == 0 => problems.push("no sound was decoded".into()),
            None if is_much(way.packets_lost, way.packets_sent) => {
                let (lost, sent) = (way.packets_lost, way.packets_sent);
                problems.push(format!("{lost} of {sent} packets of sound were lost"));
            }
            None => {}
        }
        way
    }
}

/// Plays sound on both.
struct Both(Box<dyn AudioSink>, Box<dyn AudioSink>);

impl AudioSink for Both {
    fn play(&mut self, frame: &AudioFrame, at: Instant) -> Result<()> {
        self.0.play(frame, at).and(self.1.play(frame, at))
    }

    fn finish(&mut self) -> Result<()> {
        self.0.finish().and(self.1.finish())
    }
}
