//! Sound on one way.

use super::{
    checked::{Check, Checked},
    covered, is_much,
};
use crate::{
    pipeline::{AudioReceive, AudioReceiver, AudioSend, AudioSender, Playout, receive_audio, send_audio},
    session::{
        LiveFigures,
        monitor::{TappedAudio, TappedSink, Taps},
        open::OpenAudio,
        record::Recorder,
        report::{AudioWay, bitrate, rounded},
    },
    sink::{AudioLimits, AudioReport, AudioVerifier, NullAudio},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use visavis_core::{AudioFrame, Result, TrackReceiver, TrackSender, media::AudioSink};

/// What a packet of sound stands for.
const PACKET: Duration = Duration::from_millis(20);

/// The pipelines of the sound.
#[derive(Debug)]
pub(in crate::session) struct Audio {
    name: &'static str,
    /// Whether it is a file of the plan.
    pub(super) is_file: bool,
    pub(super) channels: u8,
    pub(super) track: (TrackSender, TrackReceiver),
    pub(super) sender: AudioSender,
    pub(super) receiver: AudioReceiver,
    pub(super) check: Option<Check<AudioReport>>,
    pub(super) recorder: Recorder,
    taps: Arc<Taps>,
}

impl Audio {
    /// Starts the receiver, and then the sender.
    pub(super) fn start(
        opened: OpenAudio,
        track: (TrackSender, TrackReceiver),
        start: Instant,
        playout: &Arc<Playout>,
        taps: &Arc<Taps>,
    ) -> Self {
        let verifier = opened.checked.then(|| {
            AudioVerifier::new().limits(AudioLimits {
                delay_ms: 1_000.0,
                ..AudioLimits::default()
            })
        });
        let (verifier, check) = match verifier {
            Some(verifier) => {
                let reports = verifier.reports();
                let (sink, check) = Checked::new(verifier, reports);
                (Some(sink), Some(check))
            }
            None => (None, None),
        };
        let sink: Box<dyn AudioSink> = match (verifier, opened.speaker) {
            (Some(verifier), Some(speaker)) => Box::new(Both(Box::new(verifier), speaker)),
            (Some(verifier), None) => Box::new(verifier),
            (None, Some(speaker)) => speaker,
            (None, None) => Box::new(NullAudio),
        };
        let recorder = Recorder::new(opened.recorder, None);
        let receiver = receive_audio(
            track.1.clone(),
            AudioReceive {
                sink: Box::new(TappedSink::new(sink, taps)),
                recorder: Some(Box::new(recorder.clone())),
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
            is_file: opened.name == "file",
            channels: opened.settings.channels,
            sender: send_audio(
                track.0.clone(),
                Box::new(TappedAudio::new(opened.source, taps)),
                settings,
            ),
            track,
            receiver,
            check,
            recorder,
            taps: Arc::clone(taps),
        }
    }

    /// Goes on with another source, of which the receiver can check nothing.
    pub(in crate::session) fn replace(&mut self, opened: OpenAudio) {
        if let Some(check) = &self.check {
            check.stop();
        }
        (self.name, self.is_file) = (opened.name, false);
        let source = TappedAudio::new(opened.source, &self.taps);
        self.sender.replace_track(Box::new(source), opened.settings);
    }

    /// Fills in what is of the sound.
    pub(super) fn live(&self, live: &mut LiveFigures) {
        live.packets_sent = self.track.0.stats().frames_sent;
        live.packets_received = self.track.1.stats().frames_received;
        live.packets_lost = live.packets_sent.saturating_sub(live.packets_received);
        live.concealed = self.receiver.stats().concealed;
        live.audio_bytes_sent = self.sender.stats().bytes;
    }

    /// What is known up to now, `time` after the start.
    pub(super) fn report(&self, time: Duration, problems: &mut Vec<String>) -> AudioWay {
        let (sent, received) = (self.sender.stats(), self.receiver.stats());
        let mut way = AudioWay::of(self.name, &received, self.track.0.stats(), self.track.1.stats());
        way.bitrate_bps = bitrate(sent.bytes, covered(time, PACKET, sent.captured));
        problems.extend(self.recorder.problems());
        match self.check.as_ref().and_then(|check| check.report(|r| r.frames)) {
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
