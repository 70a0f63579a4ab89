//! WAV: uncompressed sound.

use super::{Read, Trouble, sound::Sound};
use crate::resample::downmix;
use hound::{Error, SampleFormat, WavReader};
use std::{
    fs::File,
    io::{BufReader, Seek as _},
};

/// Samples of all channels that are read at a time.
const CHUNK: usize = 4096;

pub(super) struct Wav {
    file: File,
    reader: WavReader<BufReader<File>>,
    chunk: Vec<f32>,
}

impl Wav {
    pub(super) fn open(file: BufReader<File>) -> Read<Self> {
        let file = file.into_inner();
        let reader = reader(&file)?;
        let spec = reader.spec();
        if spec.channels == 0 || spec.channels > 64 {
            return Err(Trouble::unsupported(format!("{} channels", spec.channels)));
        }
        if !matches!(
            (spec.sample_format, spec.bits_per_sample),
            (SampleFormat::Int, 8..=32) | (SampleFormat::Float, 32)
        ) {
            return Err(Trouble::unsupported(format!(
                "{} bits a sample",
                spec.bits_per_sample
            )));
        }
        Ok(Self {
            file,
            reader,
            chunk: Vec::with_capacity(CHUNK),
        })
    }
}

impl Sound for Wav {
    fn rate(&self) -> u32 {
        self.reader.spec().sample_rate
    }

    fn channels(&self) -> u8 {
        self.reader.spec().channels.min(2) as u8
    }

    fn read(&mut self, out: &mut Vec<f32>) -> Read<bool> {
        let spec = self.reader.spec();
        let channels = usize::from(spec.channels);
        let count = CHUNK / channels * channels;
        self.chunk.clear();
        let result = match spec.sample_format {
            SampleFormat::Float => {
                let samples = self.reader.samples::<f32>().take(count);
                // Infinities and NaN would stay in every filter that they pass.
                read_into(&mut self.chunk, samples, |sample| {
                    if sample.is_finite() { sample } else { 0.0 }
                })
            }
            SampleFormat::Int => {
                let full = (1_u64 << (spec.bits_per_sample - 1)) as f32;
                let samples = self.reader.samples::<i32>().take(count);
                read_into(&mut self.chunk, samples, |sample| sample as f32 / full)
            }
        };
        if let Err(error) = result {
            // 2 GiB and more mean "until the end" to programs that do not know the length when they begin.
            let bytes = u64::from(self.reader.len()) * u64::from(spec.bits_per_sample.div_ceil(8));
            let endless = bytes >= 0x7fff_0000;
            if !endless || !is_end(&error) {
                return Err(trouble(error));
            }
        }
        self.chunk.truncate(self.chunk.len() / channels * channels);
        downmix(&self.chunk, channels, out);
        Ok(!self.chunk.is_empty())
    }

    fn rewind(&mut self) -> Read<()> {
        self.reader = reader(&self.file)?;
        Ok(())
    }
}

fn reader(file: &File) -> Read<WavReader<BufReader<File>>> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    WavReader::new(BufReader::with_capacity(64 * 1024, file)).map_err(trouble)
}

fn read_into<S>(
    chunk: &mut Vec<f32>,
    samples: impl Iterator<Item = hound::Result<S>>,
    convert: impl Fn(S) -> f32,
) -> hound::Result<()> {
    for sample in samples {
        chunk.push(convert(sample?));
    }
    Ok(())
}

fn is_end(error: &Error) -> bool {
    // hound's own word for a short read is `Other`.
    matches!(error, Error::IoError(_) | Error::UnfinishedSample)
}

fn trouble(error: Error) -> Trouble {
    match error {
        Error::Unsupported => Trouble::unsupported("a WAV with a codec; PCM and 32-bit float can be read"),
        Error::UnfinishedSample => Trouble::damaged("the file is cut off"),
        Error::IoError(error) if error.kind() == std::io::ErrorKind::Other => {
            Trouble::damaged(format!("the file is cut off: {error}"))
        }
        Error::IoError(error) => error.into(),
        error => Trouble::damaged(error.to_string()),
    }
}
