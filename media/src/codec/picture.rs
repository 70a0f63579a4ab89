//! Pictures as the libraries have them: borrowed planes with strides.

use bytes::Bytes;
use std::time::Duration;
use visavis_core::media::VideoFrame;
use visavis_core::{Error, Result};

/// The largest picture that a decoder allocates for, in pixels (4096 x 2304): a few bytes of a stranger can ask for
/// 16383 x 16383.
pub(super) const MAX_PIXELS: u32 = 4096 * 2304;

/// A decoded picture in memory of its own, before it gets its time.
pub(super) struct Picture {
    width: usize,
    height: usize,
    planes: [Bytes; 3],
    strides: [usize; 3],
}

impl Picture {
    /// Copies planes out of a library's buffers: the only copy on the way, into one allocation.
    ///
    /// `None` if a plane is too short for the size, which would be the library's error.
    pub(super) fn copy(width: usize, height: usize, planes: [&[u8]; 3], strides: [usize; 3]) -> Option<Self> {
        let sizes = plane_sizes(width, height);
        let lengths = sizes.map(|(width, height)| width * height);
        let mut all = Vec::with_capacity(lengths.iter().sum());
        for ((plane, stride), (width, height)) in planes.into_iter().zip(strides).zip(sizes) {
            if stride == width {
                all.extend_from_slice(plane.get(..width * height)?);
            } else {
                for row in 0..height {
                    all.extend_from_slice(plane.get(row * stride..row * stride + width)?);
                }
            }
        }
        let mut rest = Bytes::from(all);
        let planes = lengths.map(|length| rest.split_to(length));
        let strides = sizes.map(|(width, _)| width);
        Some(Self {
            width,
            height,
            planes,
            strides,
        })
    }

    /// Takes planes that have no padding.
    #[cfg(not(feature = "libvpx"))]
    pub(super) fn owned(width: usize, height: usize, planes: [Vec<u8>; 3]) -> Option<Self> {
        let sizes = plane_sizes(width, height);
        let fits = planes
            .iter()
            .zip(sizes)
            .all(|(plane, (width, height))| plane.len() == width * height);
        fits.then(|| Self {
            width,
            height,
            planes: planes.map(Bytes::from),
            strides: sizes.map(|(width, _)| width),
        })
    }

    pub(super) fn at(self, time: Duration) -> VideoFrame {
        VideoFrame {
            width: self.width,
            height: self.height,
            planes: self.planes,
            strides: self.strides,
            time,
        }
    }
}

/// Width and height of Y, U and V.
fn plane_sizes(width: usize, height: usize) -> [(usize, usize); 3] {
    let chroma = (width.div_ceil(2), height.div_ceil(2));
    [(width, height), chroma, chroma]
}

/// Checks that a frame has at least `min` pixels each way and at most `max` together, and that its planes are as
/// large as it says: a C library reads them by pointer.
pub(super) fn check(frame: &VideoFrame, min: usize, max: (usize, usize)) -> Result<()> {
    let refuse = |message: String| Err(Error::invalid_input("encode", message));
    let (width, height) = (frame.width, frame.height);
    let (long, short) = (width.max(height), width.min(height));
    if short < min || long > max.0 || short > max.1 {
        let (long, short) = max;
        return refuse(format!(
            "a picture of {width}x{height} is not between {min}x{min} and {long}x{short}"
        ));
    }
    if frame.strides[1] != frame.strides[2] {
        return refuse("U and V must have the same stride".to_owned());
    }
    let planes = frame
        .planes
        .iter()
        .zip(frame.strides)
        .zip(plane_sizes(width, height));
    for ((plane, stride), (width, height)) in planes {
        let needed = stride
            .checked_mul(height - 1)
            .and_then(|rows| rows.checked_add(width));
        let fits =
            stride >= width && i32::try_from(stride).is_ok() && needed.is_some_and(|n| plane.len() >= n);
        if !fits {
            let length = plane.len();
            return refuse(format!(
                "a plane of {length} bytes with a stride of {stride} does not hold {width}x{height} pixels"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: usize, height: usize, length: usize, stride: usize) -> VideoFrame {
        let chroma = Bytes::from(vec![0; 4096]);
        VideoFrame {
            width,
            height,
            planes: [vec![0; length].into(), chroma.clone(), chroma],
            strides: [stride, width.div_ceil(2), width.div_ceil(2)],
            time: Duration::ZERO,
        }
    }

    #[test]
    fn planes_must_hold_the_picture() {
        let max = (64, 48);
        assert!(
            check(&frame(32, 16, 40 * 15 + 32, 40), 16, max).is_ok(),
            "the last row needs no padding"
        );
        assert!(check(&frame(16, 64, 16 * 64, 16), 16, max).is_ok(), "upright");
        assert!(check(&frame(32, 16, 40 * 15 + 31, 40), 16, max).is_err());
        assert!(check(&frame(32, 16, 32 * 16, 31), 16, max).is_err());
        assert!(check(&frame(32, 16, 32 * 16, usize::MAX), 16, max).is_err());
        assert!(check(&frame(0, 0, 0, 0), 1, max).is_err());
        assert!(check(&frame(64, 49, 64 * 49, 64), 1, max).is_err());
    }

    #[test]
    fn copies_drop_the_padding() {
        let y: Vec<u8> = (0..4 * 3).collect();
        let picture = Picture::copy(3, 3, [&y, &y, &y], [4, 2, 4])
            .unwrap()
            .at(Duration::ZERO);
        assert_eq!(picture.planes[0].as_ref(), [0, 1, 2, 4, 5, 6, 8, 9, 10]);
        assert_eq!(picture.planes[1].as_ref(), [0, 1, 2, 3]);
        assert_eq!(picture.planes[2].as_ref(), [0, 1, 4, 5]);
        assert_eq!(picture.strides, [3, 2, 2]);
        assert!(Picture::copy(5, 3, [&y, &y, &y], [5, 3, 3]).is_none());
    }
}
