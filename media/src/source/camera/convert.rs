//! What cameras give, as I420.

use bytes::Bytes;
use nokhwa::utils::FrameFormat;
use std::time::Duration;
use visavis_core::media::VideoFrame;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvError, YuvPackedImage, YuvPlanarImageMut, YuvRange,
    YuvStandardMatrix,
};
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

/// What [`to_i420`] takes, the best first: raw formats cost less than JPEG and show more.
pub(super) const FORMATS: [FrameFormat; 5] = [
    FrameFormat::YUYV,
    FrameFormat::NV12,
    FrameFormat::RAWRGB,
    FrameFormat::RAWBGR,
    FrameFormat::MJPEG,
];

/// A picture of `width` by `height` pixels.
///
/// What cameras say of their colours is nothing; BT.601, and limited range where it is YUV already, is what they mean.
pub(super) fn to_i420(
    format: FrameFormat,
    data: &[u8],
    (width, height): (usize, usize),
    time: Duration,
) -> Result<VideoFrame, String> {
    let mut picture = Picture::new(width, height);
    let raw = |bytes_a_row: usize, rows: usize| {
        let wanted = bytes_a_row * rows;
        data.get(..wanted)
            .ok_or_else(|| format!("the picture has {} bytes, not {wanted}", data.len()))
    };
    match format {
        FrameFormat::YUYV => {
            let stride = 2 * width.next_multiple_of(2);
            let packed = YuvPackedImage {
                yuy: raw(stride, height)?,
                yuy_stride: stride as u32,
                width: width as u32,
                height: height as u32,
            };
            picture.fill(|planes| yuv::yuyv422_to_yuv420(planes, &packed))?;
            if height % 2 == 1 {
                picture.last_row(&packed.yuy[stride * (height - 1)..]);
            }
        }
        FrameFormat::NV12 => {
            let stride = width.next_multiple_of(2);
            let data = raw(stride, height + height.div_ceil(2))?;
            picture.split_nv12(data, stride);
        }
        FrameFormat::RAWRGB | FrameFormat::RAWBGR => {
            let stride = 3 * width;
            picture.fill_rgb(raw(stride, height)?, format == FrameFormat::RAWBGR)?;
        }
        FrameFormat::MJPEG => picture.fill_rgb(&decode_jpeg(data, (width, height))?, false)?,
        FrameFormat::GRAY => {
            picture.y().copy_from_slice(raw(width, height)?);
            picture.chroma().fill(128);
        }
    }
    Ok(picture.finish(time))
}

/// RGB.
fn decode_jpeg(data: &[u8], size: (usize, usize)) -> Result<Vec<u8>, String> {
    let options = DecoderOptions::new_fast()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(size.0)
        .set_max_height(size.1)
        // Half a picture is none.
        .set_strict_mode(true);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    let pixels = decoder
        .decode()
        .map_err(|error| format!("a damaged JPEG: {error}"))?;
    let got = decoder
        .info()
        .map(|info| (usize::from(info.width), usize::from(info.height)));
    if got != Some(size) {
        return Err(format!("a JPEG of {got:?} pixels instead of {size:?}"));
    }
    Ok(pixels)
}

/// Three planes without gaps.
struct Picture {
    data: Vec<u8>,
    size: (usize, usize),
    chroma: (usize, usize),
}

impl Picture {
    fn new(width: usize, height: usize) -> Self {
        let chroma = (width.div_ceil(2), height.div_ceil(2));
        Self {
            data: vec![0; width * height + 2 * chroma.0 * chroma.1],
            size: (width, height),
            chroma,
        }
    }

    fn y(&mut self) -> &mut [u8] {
        &mut self.data[..self.size.0 * self.size.1]
    }

    fn chroma(&mut self) -> &mut [u8] {
        &mut self.data[self.size.0 * self.size.1..]
    }

    fn fill(
        &mut self,
        convert: impl FnOnce(&mut YuvPlanarImageMut<'_, u8>) -> Result<(), YuvError>,
    ) -> Result<(), String> {
        let (y_plane, rest) = self.data.split_at_mut(self.size.0 * self.size.1);
        let (u_plane, v_plane) = rest.split_at_mut(self.chroma.0 * self.chroma.1);
        let mut planes = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(y_plane),
            y_stride: self.size.0 as u32,
            u_plane: BufferStoreMut::Borrowed(u_plane),
            u_stride: self.chroma.0 as u32,
            v_plane: BufferStoreMut::Borrowed(v_plane),
            v_stride: self.chroma.0 as u32,
            width: self.size.0 as u32,
            height: self.size.1 as u32,
        };
        convert(&mut planes).map_err(|error| error.to_string())
    }

    /// The last row of an odd number of YUYV rows, which the conversion may leave out.
    fn last_row(&mut self, row: &[u8]) {
        let (width, height) = self.size;
        for (x, y) in row.iter().step_by(2).take(width).enumerate() {
            self.data[width * (height - 1) + x] = *y;
        }
        let (chroma, plane) = (self.chroma.0, self.chroma.0 * self.chroma.1);
        let at = width * height + plane - chroma;
        for (x, pair) in row.chunks_exact(4).take(chroma).enumerate() {
            (self.data[at + x], self.data[at + plane + x]) = (pair[1], pair[3]);
        }
    }

    fn fill_rgb(&mut self, pixels: &[u8], reversed: bool) -> Result<(), String> {
        let convert = if reversed {
            yuv::bgr_to_yuv420
        } else {
            yuv::rgb_to_yuv420
        };
        let stride = 3 * self.size.0 as u32;
        let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
        self.fill(|planes| convert(planes, pixels, stride, range, matrix, YuvConversionMode::Balanced))
    }

    fn split_nv12(&mut self, data: &[u8], stride: usize) {
        let (width, height) = self.size;
        let (luma, both) = data.split_at(stride * height);
        for (to, from) in self.y().chunks_exact_mut(width).zip(luma.chunks_exact(stride)) {
            to.copy_from_slice(&from[..width]);
        }
        let plane = self.chroma.0 * self.chroma.1;
        let (u, v) = self.chroma().split_at_mut(plane);
        for ((u, v), pair) in u.iter_mut().zip(v).zip(both.chunks_exact(2)) {
            (*u, *v) = (pair[0], pair[1]);
        }
    }

    fn finish(self, time: Duration) -> VideoFrame {
        let data = Bytes::from(self.data);
        let y = self.size.0 * self.size.1;
        let chroma = self.chroma.0 * self.chroma.1;
        VideoFrame {
            width: self.size.0,
            height: self.size.1,
            planes: [
                data.slice(..y),
                data.slice(y..y + chroma),
                data.slice(y + chroma..),
            ],
            strides: [self.size.0, self.chroma.0, self.chroma.0],
            time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_formats() {
        let time = Duration::from_secs(1);
        for (width, height) in [(16_usize, 8_usize), (6, 3)] {
            let chroma = (width / 2) * height.div_ceil(2);
            let expect = |frame: &VideoFrame, y: u8, u: u8, v: u8| {
                assert_eq!((frame.width, frame.height, frame.time), (width, height, time));
                let near = |plane: &Bytes, len: usize, value: u8| {
                    assert_eq!(plane.len(), len);
                    assert!(
                        plane.iter().all(|sample| sample.abs_diff(value) <= 1),
                        "{value}: {plane:?}"
                    );
                };
                near(&frame.planes[0], width * height, y);
                near(&frame.planes[1], chroma, u);
                near(&frame.planes[2], chroma, v);
            };
            let size = (width, height);
            let yuyv = [50, 100, 50, 200].repeat(width * height / 2);
            expect(
                &to_i420(FrameFormat::YUYV, &yuyv, size, time).unwrap(),
                50,
                100,
                200,
            );
            let nv12 = [vec![50; width * height], [100, 200].repeat(chroma)].concat();
            expect(
                &to_i420(FrameFormat::NV12, &nv12, size, time).unwrap(),
                50,
                100,
                200,
            );
            let red = [255, 0, 0].repeat(width * height);
            expect(
                &to_i420(FrameFormat::RAWRGB, &red, size, time).unwrap(),
                81,
                90,
                240,
            );
            expect(
                &to_i420(FrameFormat::RAWBGR, &red, size, time).unwrap(),
                41,
                240,
                110,
            );
            expect(
                &to_i420(FrameFormat::GRAY, &vec![7; width * height], size, time).unwrap(),
                7,
                128,
                128,
            );
        }
        for format in FORMATS {
            assert!(to_i420(format, &[0; 100], (16, 8), time).is_err(), "{format}");
        }
    }
}
