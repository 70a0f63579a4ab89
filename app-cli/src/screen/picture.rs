//! Pictures out of characters: two pixels a cell, the upper half block in one colour on another.
//!
//! What limits it is the bytes to the terminal, so a colour stays what it is until it has changed visibly: ratatui
//! then does not write the cell.

mod colors;
mod scale;

pub(crate) use colors::Colors;
pub(crate) use scale::{Rgb, scale};

use ratatui::{
    buffer::{Buffer, Cell},
    layout::Rect,
    style::Color,
    widgets::{StatefulWidget, Widget},
};
use visavis_core::media::VideoFrame;

/// The steps of a channel above the darkest: 6 bits, so that what is nearly the same colour is the same.
const STEPS: u16 = 63;

/// How far a channel may be from what is shown before it counts as changed: half a step, and the noise that a codec
/// leaves in a still picture.
const TOLERANCE: u8 = 5;

/// From dark to bright, where there are no colours.
const RAMP: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];

/// The largest part of `area`, in its middle, in which a picture of `size` pixels keeps its shape. A cell is taken as
/// twice as high as it is wide.
pub(crate) fn fit(size: (usize, usize), area: Rect) -> Rect {
    fit_cells(size, area, (1, 2))
}

/// [`fit`] for cells of `cell` pixels.
pub(crate) fn fit_cells(size: (usize, usize), area: Rect, cell: (u16, u16)) -> Rect {
    if size.0 == 0 || size.1 == 0 || cell.0 == 0 || cell.1 == 0 || area.is_empty() {
        return Rect::new(area.x, area.y, 0, 0);
    }
    // The shape of the picture in cells.
    let wide = size.0 as u64 * u64::from(cell.1);
    let high = size.1 as u64 * u64::from(cell.0);
    let rounded = |length: u16, by: u64, of: u64| {
        let cells = (u64::from(length) * by + of / 2) / of;
        u16::try_from(cells).unwrap_or(u16::MAX).max(1)
    };
    let rows = rounded(area.width, high, wide);
    let (width, height) = if rows <= area.height {
        (area.width, rows)
    } else {
        (rounded(area.height, wide, high).min(area.width), area.height)
    };
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}

/// A picture out of half blocks that fills its area. Its state is what was drawn before there, which it disturbs as
/// little as possible.
#[derive(Debug)]
pub(crate) struct Blocks<'a> {
    pub(crate) frame: &'a VideoFrame,
    pub(crate) colors: Colors,
}

/// The colours that [`Blocks`] drew last, two a cell.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    size: (usize, usize),
    pixels: Vec<Rgb>,
}

impl Widget for Blocks<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        StatefulWidget::render(self, area, buf, &mut Shown::default());
    }
}

impl StatefulWidget for Blocks<'_> {
    type State = Shown;

    fn render(self, area: Rect, buf: &mut Buffer, shown: &mut Shown) {
        let area = area.intersection(buf.area);
        if area.is_empty() || self.frame.width == 0 || self.frame.height == 0 {
            return;
        }
        let width = usize::from(area.width);
        shown.update(self.frame, (width, 2 * usize::from(area.height)));
        for (y, rows) in (area.top()..).zip(shown.pixels.chunks_exact(2 * width)) {
            let (upper, lower) = rows.split_at(width);
            for ((x, upper), lower) in (area.left()..).zip(upper).zip(lower) {
                draw(&mut buf[(x, y)], *upper, *lower, self.colors);
            }
        }
    }
}

impl Shown {
    /// Takes over what has changed visibly.
    fn update(&mut self, frame: &VideoFrame, size: (usize, usize)) {
        let pixels = scale(frame, size);
        if self.size == size {
            for (shown, new) in self.pixels.iter_mut().zip(pixels) {
                let near = |(a, b): (u8, u8)| a.abs_diff(b) <= TOLERANCE;
                if !shown.iter().copied().zip(new).all(near) {
                    *shown = new.map(round);
                }
            }
        } else {
            self.size = size;
            self.pixels = pixels.into_iter().map(|pixel| pixel.map(round)).collect();
        }
    }
}

/// To the nearest step; black and white stay what they are.
fn round(channel: u8) -> u8 {
    let step = (u16::from(channel) * STEPS + 127) / 255;
    ((step * 255 + STEPS / 2) / STEPS) as u8
}

fn draw(cell: &mut Cell, upper: Rgb, lower: Rgb, colors: Colors) {
    let (symbol, foreground, background) = match colors {
        Colors::True => halves(upper.into(), lower.into()),
        Colors::Indexed => halves(
            Color::Indexed(colors::nearest(upper)),
            Color::Indexed(colors::nearest(lower)),
        ),
        Colors::None => {
            let luma = usize::midpoint(luma(upper), luma(lower));
            (RAMP[luma * RAMP.len() / 256], Color::Reset, Color::Reset)
        }
    };
    cell.set_char(symbol).set_fg(foreground).set_bg(background);
}

/// Halves of one colour are a space, for next to another one it needs no escape sequence.
fn halves(upper: Color, lower: Color) -> (char, Color, Color) {
    if upper == lower {
        (' ', Color::Reset, lower)
    } else {
        ('▀', upper, lower)
    }
}

/// From 0 to 255, of BT.601.
fn luma([r, g, b]: Rgb) -> usize {
    (77 * usize::from(r) + 150 * usize::from(g) + 29 * usize::from(b)) >> 8
}

#[cfg(test)]
pub(super) mod tests;
