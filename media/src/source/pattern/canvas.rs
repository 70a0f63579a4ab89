//! Drawing rectangles, digits and textures into an I420 picture.

use super::font;
use bytes::Bytes;
use std::time::Duration;
use visavis_core::media::VideoFrame;

/// A rectangle in pixels. Even coordinates keep luma and chroma together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rect {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// A colour: Y, U and V in studio range (BT.601).
pub(super) type Colour = [u8; 3];

pub(super) const BLACK: Colour = [16, 128, 128];
pub(super) const WHITE: Colour = [235, 128, 128];

/// Three planes in one allocation.
#[derive(Debug, Clone)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let chroma = width.div_ceil(2) * height.div_ceil(2);
        Self {
            width,
            height,
            data: vec![BLACK[1]; width * height + 2 * chroma],
        }
    }

    /// The whole picture.
    pub(super) fn area(&self) -> Rect {
        Rect {
            x: 0,
            y: 0,
            width: self.width,
            height: self.height,
        }
    }

    /// Fills a rectangle; what is outside the picture is cut off.
    pub(super) fn fill(&mut self, rect: Rect, colour: Colour) {
        self.fill_plane(0, rect, colour[0]);
        let chroma = Rect {
            x: rect.x / 2,
            y: rect.y / 2,
            width: rect.width.div_ceil(2),
            height: rect.height.div_ceil(2),
        };
        self.fill_plane(1, chroma, colour[1]);
        self.fill_plane(2, chroma, colour[2]);
    }

    /// Fills the luma of a rectangle only.
    pub(super) fn fill_luma(&mut self, rect: Rect, luma: u8) {
        self.fill_plane(0, rect, luma);
    }

    /// Copies rows of luma into a rectangle; `row` gives each of at least the rectangle's width.
    pub(super) fn luma_rows<'a>(&mut self, rect: Rect, row: impl Fn(usize) -> &'a [u8]) {
        let width = rect.width.min(self.width.saturating_sub(rect.x));
        for y in 0..rect.height.min(self.height.saturating_sub(rect.y)) {
            let start = (rect.y + y) * self.width + rect.x;
            self.data[start..start + width].copy_from_slice(&row(y)[..width]);
        }
    }

    /// Writes digits and punctuation with luma `luma`, `scale` pixels a dot.
    pub(super) fn text(&mut self, x: usize, y: usize, scale: usize, text: &str, luma: u8) {
        for (index, character) in text.chars().enumerate() {
            let x = x + index * font::ADVANCE * scale;
            for (row, bits) in font::glyph(character).into_iter().enumerate() {
                for run in font::runs(bits) {
                    let rect = Rect {
                        x: x + run.start * scale,
                        y: y + row * scale,
                        width: run.len() * scale,
                        height: scale,
                    };
                    self.fill_luma(rect, luma);
                }
            }
        }
    }

    /// The finished picture.
    pub(super) fn into_frame(self, time: Duration) -> VideoFrame {
        let luma = self.width * self.height;
        let chroma = self.width.div_ceil(2) * self.height.div_ceil(2);
        let all = Bytes::from(self.data);
        VideoFrame {
            width: self.width,
            height: self.height,
            planes: [
                all.slice(..luma),
                all.slice(luma..luma + chroma),
                all.slice(luma + chroma..),
            ],
            strides: [self.width, self.width.div_ceil(2), self.width.div_ceil(2)],
            time,
        }
    }

    fn fill_plane(&mut self, plane: usize, rect: Rect, value: u8) {
        let (width, height, start) = self.plane(plane);
        let width_cut = rect.width.min(width.saturating_sub(rect.x));
        for y in rect.y..(rect.y + rect.height).min(height) {
            let at = start + y * width + rect.x;
            if let Some(row) = self.data.get_mut(at..at + width_cut) {
                row.fill(value);
            }
        }
    }

    fn plane(&self, plane: usize) -> (usize, usize, usize) {
        let (cw, ch) = (self.width.div_ceil(2), self.height.div_ceil(2));
        match plane {
            0 => (self.width, self.height, 0),
            plane => (cw, ch, self.width * self.height + (plane - 1) * cw * ch),
        }
    }
}
