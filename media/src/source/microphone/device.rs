//! A microphone by `cpal`.

use crate::{
    devices::{
        audio::{Direction, Stream, convert_error, id, is_harmless},
        ring::Ring,
    },
    resample::{Resampler, downmix, to_stereo},
};
use cpal::{FromSample, SampleFormat, SizedSample, SupportedStreamConfig, traits::DeviceTrait as _};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::{Error, ErrorKind, Result, media::AudioFrame};

/// Samples a second that come out.
const RATE: u32 = 48_000;
/// Samples of a channel in a frame.
const FRAME: usize = 960;
const FRAME_TIME: Duration = Duration::from_millis(20);
/// A microphone that gives nothing for so long is broken.
const DEADLINE: Duration = Duration::from_secs(2);
/// When sound is this far from where it should be in time, some was lost.
const GAP: Duration = Duration::from_millis(60);
/// How much a frame's time is corrected downwards at most: times grow.
const STEP: Duration = Duration::from_millis(1);

pub(super) struct Device {
    stream: Stream,
    ring: Arc<Ring>,
    resampler: Resampler,
    channels: u8,
    epoch: Instant,
    /// The time of the next sample that is not taken yet.
    clock: Option<Duration>,
    /// As the device gives it, with 1 or 2 channels, and at 48 kHz.
    raw: Vec<f32>,
    mixed: Vec<f32>,
    ready: Vec<f32>,
}

impl Device {
    pub(super) fn open(name: Option<&str>) -> Result<Self> {
        // The size of the ring depends on the format, which the device's thread finds.
        let shared: Arc<OnceLock<Arc<Ring>>> = Arc::default();
        let thread = Arc::clone(&shared);
        let stream = Stream::open(Direction::Input, name, move |device, config| {
            let second = config.sample_rate() as usize * usize::from(config.channels());
            let ring = Arc::clone(thread.get_or_init(|| Arc::new(Ring::new(second))));
            match config.sample_format() {
                SampleFormat::F32 => build::<f32>(device, config, ring),
                SampleFormat::I32 => build::<i32>(device, config, ring),
                SampleFormat::I24 => build::<cpal::I24>(device, config, ring),
                SampleFormat::I16 => build::<i16>(device, config, ring),
                SampleFormat::U16 => build::<u16>(device, config, ring),
                SampleFormat::U8 => build::<u8>(device, config, ring),
                _ => Err(cpal::ErrorKind::UnsupportedConfig.into()),
            }
        })?;
        let ring = Arc::clone(shared.get_or_init(|| Arc::new(Ring::new(0))));
        let channels = stream.config.channels().min(2) as u8;
        let device = Self {
            resampler: Resampler::new(stream.config.sample_rate(), RATE, channels)?,
            stream,
            ring,
            channels,
            epoch: Instant::now(),
            clock: None,
            raw: Vec::new(),
            mixed: Vec::new(),
            ready: Vec::new(),
        };
        if !device.ring.wait(DEADLINE) {
            return Err(device.silent());
        }
        device.ring.failure().map_or(Ok(device), Err)
    }

    pub(super) fn description(&self) -> String {
        let config = &self.stream.config;
        format!(
            "{}, {} Hz, {} channels, {}",
            self.stream.name,
            config.sample_rate(),
            config.channels(),
            config.sample_format()
        )
    }

    pub(super) fn overrun(&self) -> u64 {
        self.ring.overrun()
    }

    pub(super) fn start(&mut self, epoch: Instant) {
        self.epoch = epoch;
        self.clock = None;
        self.ready.clear();
        // What was heard while the call came up.
        self.ring.clear();
    }

    pub(super) fn next(&mut self) -> Result<Option<AudioFrame>> {
        let length = FRAME * usize::from(self.channels);
        let mut heard = None;
        while self.ready.len() < length {
            heard = Some(self.fill()?);
        }
        let time = self.time(heard);
        self.clock = Some(time + FRAME_TIME);
        let rest = self.ready.split_off(length);
        let samples = std::mem::replace(&mut self.ready, rest);
        Ok(Some(AudioFrame {
            samples: to_stereo(samples, self.channels),
            rate: RATE,
            channels: 2,
            time,
        }))
    }

    /// The time of the first sample that is ready, of which the last was `heard`.
    fn time(&self, heard: Option<Instant>) -> Duration {
        let clock = self.clock.unwrap_or_default();
        let Some(heard) = heard else {
            return clock;
        };
        let held = (self.ready.len() / usize::from(self.channels)) as u64;
        let held = Duration::from_nanos(held * 1_000_000_000 / u64::from(RATE));
        let now = heard.saturating_duration_since(self.epoch).saturating_sub(held);
        // Callbacks come in bursts, samples do not: the clock counts samples, and only follows the other slowly.
        if self.clock.is_none() || now > clock + GAP {
            now
        } else if now > clock {
            clock + clock.abs_diff(now) / 64
        } else {
            clock.saturating_sub((clock.abs_diff(now) / 64).min(STEP))
        }
    }

    /// Takes what there is; when its last sample was heard.
    fn fill(&mut self) -> Result<Instant> {
        self.raw.clear();
        self.mixed.clear();
        let Some(newest) = self.ring.take_all(&mut self.raw, DEADLINE)? else {
            return Err(self.silent());
        };
        downmix(&self.raw, self.stream.config.channels().into(), &mut self.mixed);
        self.resampler.push(&self.mixed, &mut self.ready)?;
        Ok(newest)
    }

    fn silent(&self) -> Error {
        let name = &self.stream.name;
        let seconds = DEADLINE.as_secs();
        let text =
            format!("microphone `{name}` gave nothing for {seconds} seconds; unplug it and plug it in");
        Error::new(ErrorKind::NotReadable, "get_user_media", text)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("description", &self.description())
            .finish_non_exhaustive()
    }
}

fn build<T>(
    device: &cpal::Device,
    config: &SupportedStreamConfig,
    ring: Arc<Ring>,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let failing = Arc::clone(&ring);
    let name = id(device).unwrap_or_default();
    // Half of a second stays when a second is full, on a boundary between frames.
    let rest = config.sample_rate() as usize / 2 * usize::from(config.channels());
    device.build_input_stream::<T, _, _>(
        config.config(),
        move |data, _| ring.push(data.iter().map(|sample| f32::from_sample_(*sample)), rest),
        move |error| {
            if !is_harmless(&error) {
                failing.fail(convert_error(Direction::Input, &name, &error));
            }
        },
        None,
    )
}
