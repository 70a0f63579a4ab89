//! Sound devices by `cpal`: finding them, their formats, their errors, and the thread that keeps a stream.

use super::AudioDeviceInfo;
use cpal::{
    Device, SampleFormat, SupportedStreamConfig, SupportedStreamConfigRange,
    traits::{DeviceTrait as _, HostTrait as _, StreamTrait as _},
};
use std::{sync::mpsc, thread, time::Duration};
use visavis_core::{Error, ErrorKind, Result};

/// How long to wait at most for a device to open, and to be free again.
const PATIENCE: Duration = Duration::from_secs(5);
/// What sound is in everywhere else.
const RATE: u32 = 48_000;
/// The formats that are converted, the best first.
const FORMATS: [SampleFormat; 6] = [
    SampleFormat::F32,
    SampleFormat::I32,
    SampleFormat::I24,
    SampleFormat::I16,
    SampleFormat::U16,
    SampleFormat::U8,
];

/// Where sound goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Input,
    Output,
}

impl Direction {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Input => "microphone",
            Self::Output => "speaker",
        }
    }
}

pub(super) fn microphones() -> Result<Vec<AudioDeviceInfo>> {
    list(Direction::Input)
}

pub(super) fn speakers() -> Result<Vec<AudioDeviceInfo>> {
    list(Direction::Output)
}

fn list(direction: Direction) -> Result<Vec<AudioDeviceInfo>> {
    on_thread("sound devices", move || {
        let default = default_device(direction).and_then(|device| id(&device));
        let mut infos = Vec::new();
        for device in devices(direction)? {
            let Some(name) = id(&device) else {
                continue;
            };
            let description = device.description().ok().map(|description| {
                let lines = description.extended().map(str::to_owned);
                std::iter::once(description.name().to_owned())
                    .chain(lines)
                    .collect::<Vec<_>>()
                    .join(", ")
            });
            infos.push(AudioDeviceInfo {
                default: default.as_ref() == Some(&name),
                description: description.filter(|description| *description != name),
                name,
            });
        }
        Ok(infos)
    })
}

/// A stream of a device, kept by a thread of its own: not every system lets it move, and ALSA's remarks are kept off
/// the terminal a thread at a time. It ends when this is dropped.
pub(crate) struct Stream {
    /// What the device calls itself.
    pub(crate) name: String,
    /// Its format.
    pub(crate) config: SupportedStreamConfig,
    /// Dropped before the next: that is what the thread waits for.
    stop: Option<mpsc::Sender<()>>,
    ended: mpsc::Receiver<()>,
}

impl Stream {
    /// Opens a device, the default one if there is no name, and starts what `build` makes of it.
    pub(crate) fn open(
        direction: Direction,
        name: Option<&str>,
        build: impl FnOnce(&Device, &SupportedStreamConfig) -> Result<cpal::Stream, cpal::Error> + Send + 'static,
    ) -> Result<Self> {
        let name = name.map(str::to_owned);
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let (end, ended) = mpsc::channel();
        spawn(direction.noun(), move || {
            let opened = find(direction, name.as_deref()).and_then(|device| {
                let name = id(&device).unwrap_or_default();
                let fail = |error| convert_error(direction, &name, &error);
                let config = config(direction, &device).map_err(fail)?;
                let stream = build(&device, &config).map_err(fail)?;
                stream.play().map_err(fail)?;
                Ok((name.clone(), config, stream))
            });
            let stream = match opened {
                Ok((name, config, stream)) => tell.send(Ok((name, config))).ok().map(|()| stream),
                Err(error) => {
                    drop(tell.send(Err(error)));
                    None
                }
            };
            if stream.is_some() {
                // Nothing is ever sent: this ends when the other end is dropped.
                let _ = stopped.recv();
            }
            drop(stream);
            drop(end);
        })?;
        let (name, config) = receive(direction.noun(), &told)??;
        Ok(Self {
            name,
            config,
            stop: Some(stop),
            ended,
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

/// An error of the kind that `getUserMedia` has for it.
pub(crate) fn convert_error(direction: Direction, name: &str, error: &cpal::Error) -> Error {
    use cpal::ErrorKind as Kind;
    let noun = direction.noun();
    let (kind, advice) = match error.kind() {
        Kind::DeviceNotAvailable | Kind::HostUnavailable => {
            (ErrorKind::NotFound, "connect one, or choose another")
        }
        Kind::PermissionDenied => (
            ErrorKind::NotAllowed,
            if cfg!(target_os = "linux") {
                "join the group of the devices (`sudo usermod -aG audio $USER`) and log in again"
            } else {
                "allow it in the system's privacy settings"
            },
        ),
        Kind::DeviceBusy => (
            ErrorKind::NotReadable,
            "another program is using it; close that program",
        ),
        Kind::UnsupportedConfig | Kind::UnsupportedOperation => (ErrorKind::NotReadable, "choose another"),
        _ => (
            ErrorKind::NotReadable,
            "unplug it and plug it in again, or choose another",
        ),
    };
    Error::new(
        kind,
        "get_user_media",
        format!("{noun} `{name}`: {error} ({advice})"),
    )
}

/// Whether a stream goes on after that error.
pub(crate) fn is_harmless(error: &cpal::Error) -> bool {
    use cpal::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::Xrun | Kind::DeviceChanged | Kind::RealtimeDenied
    )
}

fn devices(direction: Direction) -> Result<Vec<Device>> {
    let host = cpal::default_host();
    let devices = host
        .devices()
        .map_err(|error| convert_error(direction, "", &error))?;
    let fits = |device: &Device| match direction {
        Direction::Input => device.supports_input(),
        Direction::Output => device.supports_output(),
    };
    Ok(devices
        .filter(|device| !is_null(device) && fits(device))
        .collect())
}

fn default_device(direction: Direction) -> Option<Device> {
    let host = cpal::default_host();
    let device = match direction {
        Direction::Input => host.default_input_device(),
        Direction::Output => host.default_output_device(),
    };
    device.filter(|device| !is_null(device))
}

/// ALSA's `null` takes and gives anything at any speed.
fn is_null(device: &Device) -> bool {
    id(device).is_some_and(|id| id == "null")
}

/// The system's name for a device, which stays the same.
pub(crate) fn id(device: &Device) -> Option<String> {
    device.id().ok().map(|id| id.id().to_owned())
}

fn find(direction: Direction, name: Option<&str>) -> Result<Device> {
    let noun = direction.noun();
    let not_found = |text| Error::new(ErrorKind::NotFound, "get_user_media", text);
    let Some(name) = name else {
        return default_device(direction)
            .ok_or_else(|| not_found(format!("there is no {noun}: connect one")));
    };
    let known = devices(direction)?;
    let called = |device: &Device| {
        let described = device
            .description()
            .is_ok_and(|description| description.name() == name);
        described || id(device).is_some_and(|id| id == name)
    };
    if let Some(device) = known.iter().find(|device| called(device)) {
        return Ok(device.clone());
    }
    let names: Vec<_> = known.iter().filter_map(id).collect();
    Err(not_found(if names.is_empty() {
        format!("there is no {noun} `{name}`, nor any other: connect one")
    } else {
        format!("there is no {noun} `{name}`; there are {}", names.join(", "))
    }))
}

/// 48 kHz, stereo and float where the device has them.
fn config(direction: Direction, device: &Device) -> Result<SupportedStreamConfig, cpal::Error> {
    let ranges: Vec<SupportedStreamConfigRange> = match direction {
        Direction::Input => device.supported_input_configs()?.collect(),
        Direction::Output => device.supported_output_configs()?.collect(),
    };
    let known = ranges.into_iter().filter_map(|range| {
        let rank = FORMATS
            .iter()
            .position(|format| *format == range.sample_format())?;
        let rate = RATE.clamp(range.min_sample_rate(), range.max_sample_rate());
        let score = (rate.abs_diff(RATE), range.channels().abs_diff(2), rank);
        Some((score, range.with_sample_rate(rate)))
    });
    let best = known.min_by_key(|(score, _)| *score).map(|(_, config)| config);
    best.ok_or_else(|| cpal::ErrorKind::UnsupportedConfig.into())
}

fn on_thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (tell, told) = mpsc::channel();
    spawn(name, move || drop(tell.send(work())))?;
    receive(name, &told)?
}

fn receive<T>(name: &str, told: &mpsc::Receiver<T>) -> Result<T> {
    let late = |_| {
        Error::new(
            ErrorKind::NotReadable,
            "get_user_media",
            format!("{name}: no answer in time"),
        )
    };
    told.recv_timeout(PATIENCE).map_err(late)
}

/// A thread on which ALSA does not write to standard error, where the screen may be.
fn spawn(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let run = move || {
        #[cfg(target_os = "linux")]
        let remarks = alsa::Output::local_error_handler();
        work();
        #[cfg(target_os = "linux")]
        if let Ok(remarks) = remarks {
            let remarks = remarks.borrow().to_string();
            if !remarks.is_empty() {
                tracing::debug!(remarks = remarks.trim_end(), "ALSA");
            }
        }
    };
    let failed = |error| Error::new(ErrorKind::NotReadable, "get_user_media", name).with_source(error);
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
        .map_err(failed)
}
