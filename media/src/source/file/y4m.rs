//! YUV4MPEG2: uncompressed pictures.

use super::{
    Read, Trouble, clock,
    pictures::{LARGEST, Pictures},
};
use bytes::Bytes;
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use visavis_core::media::VideoFrame;
use y4m::{Colorspace, Decoder, Error, Limits, Ratio};

/// The file's header is at most this long, as the `y4m` crate has it.
const HEADER: u64 = 1024;

pub(super) struct Y4m {
    file: File,
    decoder: Decoder<Counted>,
    position: Arc<AtomicU64>,
    rate: Ratio,
    interval: Duration,
    number: u64,
}

impl Y4m {
    pub(super) fn open(mut file: BufReader<File>) -> Read<Self> {
        let mut header = Vec::new();
        (&mut file).take(HEADER).read_until(b'\n', &mut header)?;
        check_header(&header)?;
        let file = file.into_inner();
        let (decoder, position) = decoder(&file)?;
        let rate = decoder.get_framerate();
        // 0:0 is the format's word for an unknown rate.
        let rate = if rate.num == 0 && rate.den == 0 {
            Ratio::new(25, 1)
        } else {
            rate
        };
        let interval = clock::interval(1, rate.den as u64, rate.num as u64)
            .ok_or_else(|| Trouble::damaged(format!("{rate} is no frame rate")))?;
        Ok(Self {
            file,
            decoder,
            position,
            rate,
            interval,
            number: 0,
        })
    }
}

impl Pictures for Y4m {
    fn interval(&self) -> Duration {
        self.interval
    }

    fn next(&mut self) -> Read<Option<VideoFrame>> {
        let (width, height) = (self.decoder.get_width(), self.decoder.get_height());
        let colorspace = self.decoder.get_colorspace();
        let begin = self.position.load(Ordering::Relaxed);
        let frame = match self.decoder.read_frame() {
            Ok(frame) => frame,
            Err(Error::EOF) if self.position.load(Ordering::Relaxed) == begin => return Ok(None),
            Err(error) => return Err(trouble(error).in_frame(self.number + 1)),
        };
        let [y, u, v] = [frame.get_y_plane(), frame.get_u_plane(), frame.get_v_plane()];
        let chroma = (width.div_ceil(2), height.div_ceil(2));
        let [u, v] = match colorspace {
            Colorspace::C422 => [u, v].map(|plane| halve_rows(plane, chroma.0, height)),
            Colorspace::C444 => [u, v].map(|plane| quarter(plane, width, height)),
            Colorspace::Cmono => [(); 2].map(|()| Bytes::from(vec![128; chroma.0 * chroma.1])),
            _ => [u, v].map(Bytes::copy_from_slice),
        };
        let number = i128::from(self.number);
        let time = clock::nanoseconds(number, self.rate.den as u64, self.rate.num as u64)?;
        self.number += 1;
        Ok(Some(VideoFrame {
            width,
            height,
            planes: [Bytes::copy_from_slice(y), u, v],
            strides: [width, chroma.0, chroma.0],
            time: Duration::from_nanos(time as u64),
        }))
    }

    fn rewind(&mut self) -> Read<()> {
        (self.decoder, self.position) = decoder(&self.file)?;
        self.number = 0;
        Ok(())
    }
}

/// What the `y4m` crate does not look at, or trusts.
fn check_header(header: &[u8]) -> Read<()> {
    for field in header
        .strip_suffix(b"\n")
        .unwrap_or(header)
        .split(|byte| *byte == b' ')
        .skip(1)
    {
        let value = std::str::from_utf8(field.get(1..).unwrap_or_default()).unwrap_or_default();
        match field.first() {
            Some(b'W' | b'H') if !value.parse().is_ok_and(|size| (1..=LARGEST).contains(&size)) => {
                return Err(Trouble::damaged(format!(
                    "a width or height of `{value}` is not between 1 and {LARGEST}"
                )));
            }
            Some(b'I') if !matches!(value, "p" | "?" | "") => {
                return Err(Trouble::unsupported("the pictures are interlaced"));
            }
            Some(b'C')
                if !matches!(
                    value,
                    "420" | "420jpeg" | "420paldv" | "420mpeg2" | "422" | "444" | "mono"
                ) =>
            {
                return Err(Trouble::unsupported(format!(
                    "pixel format {value}; 8-bit 420, 422, 444 and mono can be read"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

fn decoder(file: &File) -> Read<(Decoder<Counted>, Arc<AtomicU64>)> {
    let mut file = file.try_clone()?;
    file.rewind()?;
    let position = Arc::new(AtomicU64::new(0));
    let counted = Counted {
        file: BufReader::with_capacity(64 * 1024, file),
        position: position.clone(),
    };
    let limits = Limits {
        bytes: 3 * LARGEST * LARGEST,
    };
    let decoder = Decoder::new_with_limits(counted, limits).map_err(trouble)?;
    Ok((decoder, position))
}

fn trouble(error: Error) -> Trouble {
    match error {
        Error::EOF => Trouble::damaged("the file is cut off"),
        Error::IoError(error) => error.into(),
        error => Trouble::damaged(error.to_string()),
    }
}

/// 4:2:2 to 4:2:0: the mean of two rows.
fn halve_rows(plane: &[u8], width: usize, height: usize) -> Bytes {
    let mut half = Vec::with_capacity(width * height.div_ceil(2));
    for pair in plane.chunks(2 * width) {
        let (upper, lower) = pair.split_at(width);
        let lower = if lower.is_empty() { upper } else { lower };
        half.extend(upper.iter().zip(lower).map(|(a, b)| mean(&[*a, *b])));
    }
    half.into()
}

/// 4:4:4 to 4:2:0: the mean of two by two.
fn quarter(plane: &[u8], width: usize, height: usize) -> Bytes {
    let mut half = Vec::with_capacity(width.div_ceil(2) * height);
    for row in plane.chunks(width) {
        half.extend(row.chunks(2).map(mean));
    }
    halve_rows(&half, width.div_ceil(2), height)
}

fn mean(values: &[u8]) -> u8 {
    let sum: usize = values.iter().copied().map(usize::from).sum();
    ((sum + values.len() / 2) / values.len()) as u8
}

/// Tells how far the decoder has read: its "end of file" does not say whether a frame is cut off.
struct Counted {
    file: BufReader<File>,
    position: Arc<AtomicU64>,
}

impl io::Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buf)?;
        self.position.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
