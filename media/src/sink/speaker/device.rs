//! A speaker by `cpal`.

use crate::{
    devices::{
        audio::{Direction, Stream, convert_error, id, is_harmless},
        ring::Ring,
    },
    resample::{Resampler, remix},
};
use cpal::{FromSample, SampleFormat, SizedSample, SupportedStreamConfig, traits::DeviceTrait as _};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};
use visavis_core::{Error, Result, media::AudioFrame};

/// What is kept in reserve, and what is at most, in milliseconds.
const RESERVE: usize = 40;
const MOST: usize = 200;
/// How long the end is waited for.
const ENDING: Duration = Duration::from_secs(1);

pub(super) struct Device {
    stream: Stream,
    ring: Arc<Ring>,
    /// Made for the rate and channels of the frames.
    resampler: Option<(u32, u8, Resampler)>,
    /// At the device's rate, and with its channels.
    resampled: Vec<f32>,
    mixed: Vec<f32>,
}

impl Device {
    pub(super) fn open(name: Option<&str>) -> Result<Self> {
        let shared: Arc<OnceLock<Arc<Ring>>> = Arc::default();
        let thread = Arc::clone(&shared);
        let stream = Stream::open(Direction::Output, name, move |device, config| {
            let ring = Arc::clone(thread.get_or_init(|| Arc::new(Ring::new(samples(config, MOST)))));
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
        Ok(Self {
            stream,
            ring: Arc::clone(shared.get_or_init(|| Arc::new(Ring::new(0)))),
            resampler: None,
            resampled: Vec::new(),
            mixed: Vec::new(),
        })
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

    pub(super) fn underrun(&self) -> u64 {
        self.ring.underrun()
    }

    pub(super) fn play(&mut self, frame: &AudioFrame) -> Result<()> {
        if let Some(error) = self.ring.failure() {
            return Err(error);
        }
        if !(1..=2).contains(&frame.channels) {
            return Err(Error::invalid_input(
                "play",
                format!("{} channels", frame.channels),
            ));
        }
        let config = &self.stream.config;
        let (_, _, resampler) = match &mut self.resampler {
            Some(made) if (made.0, made.1) == (frame.rate, frame.channels) => made,
            other => {
                let resampler = Resampler::new(frame.rate, config.sample_rate(), frame.channels)?;
                other.insert((frame.rate, frame.channels, resampler))
            }
        };
        self.resampled.clear();
        self.mixed.clear();
        resampler.push(&frame.samples, &mut self.resampled)?;
        remix(
            &self.resampled,
            frame.channels.into(),
            config.channels().into(),
            &mut self.mixed,
        );
        self.ring
            .push(self.mixed.iter().copied(), samples(config, RESERVE));
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.ring.drain(ENDING);
        self.ring.failure().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("description", &self.description())
            .finish_non_exhaustive()
    }
}

/// Samples of all channels in so many milliseconds.
fn samples(config: &SupportedStreamConfig, milliseconds: usize) -> usize {
    config.sample_rate() as usize * milliseconds / 1000 * usize::from(config.channels())
}

fn build<T>(
    device: &cpal::Device,
    config: &SupportedStreamConfig,
    ring: Arc<Ring>,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + FromSample<f32>,
{
    let failing = Arc::clone(&ring);
    let name = id(device).unwrap_or_default();
    let reserve = samples(config, RESERVE);
    let mut buffer = Vec::new();
    device.build_output_stream::<T, _, _>(
        config.config(),
        move |data, _| {
            buffer.resize(data.len(), 0.0);
            ring.fill(&mut buffer, reserve);
            for (to, from) in data.iter_mut().zip(&buffer) {
                *to = T::from_sample_(from.clamp(-1.0, 1.0));
            }
        },
        move |error| {
            if !is_harmless(&error) {
                failing.fail(convert_error(Direction::Output, &name, &error));
            }
        },
        None,
    )
}
