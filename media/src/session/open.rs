//! Start: what a plan names is opened, before there is a call.

use super::{
    AudioInput, AudioPlan, MediaPlan, VideoInput, VideoPlan, default_bitrate,
    monitor::{Monitor, Taps},
    record::{Recording, audio_recording, make_directory, video_recording},
};
use crate::{
    codec::{AudioSettings, VideoSettings},
    sink::Speaker,
    source::{Camera, Microphone, Pattern, Tone, file},
};
use std::{fmt, sync::Arc};
use visavis_core::{
    Codec, Error, ErrorKind, Result, Side,
    media::{AudioSink, AudioSource, VideoSource},
};

/// The open sources, recordings and speaker of a plan, for one call.
pub struct OpenMedia {
    pub(super) ways: Vec<OpenWay>,
    pub(super) notes: Vec<String>,
}

impl fmt::Debug for OpenMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenMedia")
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}

impl OpenMedia {
    /// Opens what the plan names. Off the async threads, for a device may take seconds.
    ///
    /// # Errors
    ///
    /// `NotFound`, `NotAllowed`, `NotReadable` or `NotSupported` for a device, a file or a directory, and
    /// `InvalidInput` for a pattern of an impossible size.
    pub async fn open(plan: &MediaPlan) -> Result<Self> {
        let plan = plan.clone();
        let opened = tokio::task::spawn_blocking(move || Self::open_all(&plan)).await;
        opened.map_err(|error| {
            Error::new(ErrorKind::NotReadable, "open_media", "a source panicked").with_source(error)
        })?
    }

    /// What of the files is left out, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is captured and shown on the way from that side, in a preview and in the call; `None` if it sends nothing.
    pub fn monitor(&self, from: Side) -> Option<Monitor> {
        let way = self.ways.iter().find(|way| way.from == from)?;
        Some(Monitor(Arc::clone(&way.taps)))
    }

    fn open_all(plan: &MediaPlan) -> Result<Self> {
        let mut notes = Vec::new();
        if plan.is_empty() {
            return Ok(Self {
                ways: Vec::new(),
                notes,
            });
        }
        if let Some(directory) = &plan.record {
            make_directory(directory)?;
        }
        let mut ways = vec![OpenWay::open(plan, Side::Offerer, &mut notes)?];
        if let Some(back) = plan.back() {
            ways.push(OpenWay::open(&back, Side::Answerer, &mut Vec::new())?);
        }
        Ok(Self { ways, notes })
    }
}

/// What one side sends, and where it goes at the other.
pub(super) struct OpenWay {
    pub(super) from: Side,
    pub(super) video: Option<OpenVideo>,
    pub(super) audio: Option<OpenAudio>,
    pub(super) taps: Arc<Taps>,
}

pub(super) struct OpenVideo {
    pub(super) name: &'static str,
    pub(super) source: Box<dyn VideoSource>,
    pub(super) settings: VideoSettings,
    /// What the receiver checks against.
    pub(super) pattern: Option<Pattern>,
    pub(super) recorder: Option<Recording>,
}

pub(super) struct OpenAudio {
    pub(super) name: &'static str,
    pub(super) source: Box<dyn AudioSource>,
    pub(super) settings: AudioSettings,
    /// Whether it is the tone, which the receiver can check.
    pub(super) checked: bool,
    pub(super) recorder: Option<Recording>,
    pub(super) speaker: Option<Box<dyn AudioSink>>,
}

impl OpenWay {
    fn open(plan: &MediaPlan, from: Side, notes: &mut Vec<String>) -> Result<Self> {
        let directory = plan.record.as_deref();
        let mut video = match &plan.video {
            Some(video) => {
                check_encoder(video.codec)?;
                Some((OpenVideo::open(video, plan.repeat, notes)?, video.codec))
            }
            None => None,
        };
        if let (Some((video, codec)), Some(directory)) = (&mut video, directory) {
            video.recorder = Some(video_recording(directory, from, *codec, video.source.size())?);
        }
        let mut audio = match &plan.audio {
            Some(audio) => Some(OpenAudio::open(audio, plan.repeat)?),
            None => None,
        };
        if let Some(audio) = &mut audio {
            if let Some(directory) = directory {
                audio.recorder = Some(audio_recording(directory, from, audio.settings.channels)?);
            }
            if plan.speaker {
                audio.speaker = Some(Box::new(Speaker::open(None)?));
            }
        }
        Ok(Self {
            from,
            video: video.map(|(video, _)| video),
            audio,
            taps: Arc::default(),
        })
    }
}

impl OpenVideo {
    pub(super) fn open(plan: &VideoPlan, repeat: file::Repeat, notes: &mut Vec<String>) -> Result<Self> {
        let (source, pattern): (Box<dyn VideoSource>, _) = match &plan.source {
            VideoInput::Pattern => {
                let pattern = Pattern::new(plan.size.0, plan.size.1, plan.rate)?;
                (Box::new(pattern.clone()), Some(pattern))
            }
            VideoInput::Camera(index) => {
                let size = (plan.size.0 as u32, plan.size.1 as u32);
                let camera = Camera::open(*index, Some(size), Some(plan.rate.fps()))?;
                (Box::new(camera), None)
            }
            VideoInput::File(path) => {
                let file = file::open_video(path, repeat)?;
                notes.extend(file.notes);
                (file.source, None)
            }
        };
        let seconds = source.interval().as_secs_f32();
        let fps = if seconds > 0.0 {
            1.0 / seconds
        } else {
            plan.rate.fps()
        };
        let bitrate = plan
            .bitrate
            .unwrap_or_else(|| default_bitrate(source.size(), fps));
        Ok(Self {
            name: plan.source.name(),
            source,
            settings: VideoSettings { bitrate, fps },
            pattern,
            recorder: None,
        })
    }
}

impl OpenAudio {
    pub(super) fn open(plan: &AudioPlan, repeat: file::Repeat) -> Result<Self> {
        let (source, checked): (Box<dyn AudioSource>, _) = match &plan.source {
            AudioInput::Tone => (Box::new(Tone::new()), true),
            AudioInput::Microphone(name) => (Box::new(Microphone::open(name.as_deref())?), false),
            AudioInput::File(path) => (file::open_audio(path, repeat)?, false),
        };
        Ok(Self {
            name: plan.source.name(),
            source,
            settings: AudioSettings {
                bitrate: plan.bitrate,
                channels: 2,
            },
            checked,
            recorder: None,
            speaker: None,
        })
    }
}

impl VideoPlan {
    /// Opens the source for a side whose remote peer is elsewhere, with what its encoder is to aim at. A device may take
    /// seconds: not for the async threads.
    ///
    /// # Errors
    ///
    /// As for [`OpenMedia::open`].
    pub fn open(&self, repeat: file::Repeat) -> Result<(Box<dyn VideoSource>, VideoSettings)> {
        check_encoder(self.codec)?;
        let opened = OpenVideo::open(self, repeat, &mut Vec::new())?;
        Ok((opened.source, opened.settings))
    }
}

impl AudioPlan {
    /// Opens the source for a side whose remote peer is elsewhere, with what its encoder is to aim at. A device may take
    /// seconds: not for the async threads.
    ///
    /// # Errors
    ///
    /// As for [`OpenMedia::open`].
    pub fn open(&self, repeat: file::Repeat) -> Result<(Box<dyn AudioSource>, AudioSettings)> {
        let opened = OpenAudio::open(self, repeat)?;
        Ok((opened.source, opened.settings))
    }
}

/// A codec that cannot be encoded is better refused before the call than in it.
fn check_encoder(codec: Codec) -> Result<()> {
    let available = crate::codec::available();
    let hint = available
        .into_iter()
        .find(|a| a.codec == codec && (a.encoder.is_none() || a.decoder.is_none()))
        .and_then(|a| a.hint);
    hint.map_or(Ok(()), |hint| {
        Err(Error::new(ErrorKind::NotSupported, "open_media", hint))
    })
}
