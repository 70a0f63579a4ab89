//! A test card that moves: pictures that people and programs can check.

mod canvas;
mod code;
mod font;
mod rate;

pub use rate::FrameRate;

use canvas::{BLACK, Canvas, Colour, Rect, WHITE};
use std::{f64::consts::TAU, time::Duration};
use visavis_core::{
    Error, Result,
    media::{VideoFrame, VideoSource},
};

/// How long the flash at each full second lasts: as long as the beep of [`Tone`](super::Tone).
const FLASH: Duration = Duration::from_millis(100);

/// Into how many parts of a pixel the wave's movement is divided.
const SUBPIXELS: usize = 16;

/// A test card that moves, and never ends.
///
/// It shows a clock and the picture's number to people, the number as a code of black and white squares to
/// [`read_number`](Self::read_number), colour bars, a bouncing box, a sweeping line and a scrolling wave as work for
/// motion compensation, and at each full second for 100 ms a white block, while [`Tone`](super::Tone) beeps.
///
/// Picture `n` has the time `n / rate` and always the same content, so that a receiver can compute what it should have
/// got: see [`frame`](Self::frame).
#[derive(Debug, Clone)]
pub struct Pattern {
    rate: FrameRate,
    layout: Layout,
    background: Canvas,
    /// Two periods of the wave's luma, so that each row of it is one slice; moved on by a sixteenth of a pixel each.
    wave: Vec<Vec<u8>>,
    /// The rows of the bouncing box.
    texture: Vec<Vec<u8>>,
    next: u32,
}

impl Pattern {
    /// The smallest width and height in pixels in which the number can be read.
    pub const MIN_SIZE: (usize, usize) = code::MIN_SIZE;

    /// A test card of `width` by `height` pixels.
    ///
    /// # Errors
    ///
    /// `InvalidInput` below [`MIN_SIZE`](Self::MIN_SIZE) and above 8192 pixels a side.
    pub fn new(width: usize, height: usize, rate: FrameRate) -> Result<Self> {
        let sizes = |min: usize| min..=8_192;
        if !sizes(Self::MIN_SIZE.0).contains(&width) || !sizes(Self::MIN_SIZE.1).contains(&height) {
            let message = format!("{width}x{height} is not between 64x48 and 8192x8192");
            return Err(Error::invalid_input("pattern", message));
        }
        let layout = Layout::new(width, height);
        let period = layout.wave.width;
        Ok(Self {
            rate,
            background: layout.background(width, height),
            wave: (0..SUBPIXELS)
                .map(|sub| wave(period, sub as f64 / SUBPIXELS as f64))
                .collect(),
            texture: (0..layout.box_side)
                .map(|y| texture(y, layout.box_side))
                .collect(),
            layout,
            next: 0,
        })
    }

    /// Pictures a second.
    pub fn rate(&self) -> FrameRate {
        self.rate
    }

    /// Picture `number`, as [`next`](VideoSource::next) gave or will give it.
    pub fn frame(&self, number: u32) -> VideoFrame {
        let time = self.rate.time(number);
        let mut canvas = self.background.clone();
        self.moving_parts(&mut canvas, number);
        if Duration::from_nanos(u64::from(time.subsec_nanos())) < FLASH {
            canvas.fill_luma(self.layout.flash, WHITE[0]);
        }
        self.texts(&mut canvas, number, time);
        code::write(&mut canvas, number);
        canvas.into_frame(time)
    }

    /// Reads the number of a picture that was encoded, decoded and perhaps scaled and scaled back; `None` if it cannot
    /// be read with certainty (a CRC-16 and a fixed pattern of 16 bits protect it).
    pub fn read_number(frame: &VideoFrame) -> Option<u32> {
        code::read(frame)
    }

    fn moving_parts(&self, canvas: &mut Canvas, number: u32) {
        let Layout { bars, wave, .. } = self.layout;
        let number = number as usize;

        let line = Rect {
            x: even(number.wrapping_mul(step(bars.width, 80)) % bars.width),
            width: even(bars.width / 80).max(2),
            ..bars
        };
        canvas.fill(line, WHITE);

        let side = self.layout.box_side;
        let place = Rect {
            x: bars.x + bounce(number, step(bars.width, 160), bars.width - side),
            y: bars.y + bounce(number, step(bars.height, 160), bars.height - side),
            width: side,
            height: side,
        };
        canvas.fill(place, [128, 90, 170]);
        canvas.luma_rows(place, |y| &self.texture[y]);

        // Not by whole pixels, for then an encoder would have nothing left to do.
        let shift = number.wrapping_mul(step(wave.width, 320) * SUBPIXELS + 5);
        let (pixels, sub) = (shift / SUBPIXELS, shift % SUBPIXELS);
        canvas.luma_rows(wave, |y| &self.wave[sub][(pixels + y) % wave.width..]);
    }

    fn texts(&self, canvas: &mut Canvas, number: u32, time: Duration) {
        let Layout { clock, scale, .. } = self.layout;
        let small = scale.div_ceil(2);
        let (seconds, millis) = (time.as_secs(), time.subsec_millis());
        let text = format!("{:02}:{:02}.{millis:03}", seconds / 60 % 100, seconds % 60);
        canvas.fill(clock, BLACK);
        canvas.text(clock.x + 2 * scale, clock.y + 2 * scale, scale, &text, WHITE[0]);
        let below = clock.y + (4 + font::HEIGHT) * scale;
        canvas.text(
            clock.x + 2 * scale,
            below,
            small,
            &format!("{number:06}"),
            WHITE[0],
        );
    }
}

impl VideoSource for Pattern {
    fn size(&self) -> (usize, usize) {
        let area = self.background.area();
        (area.width, area.height)
    }

    fn interval(&self) -> Duration {
        self.rate.interval()
    }

    fn next(&mut self) -> Result<Option<VideoFrame>> {
        let frame = self.frame(self.next);
        self.next = self.next.wrapping_add(1);
        Ok(Some(frame))
    }
}

/// Where things are.
#[derive(Debug, Clone, Copy)]
struct Layout {
    bars: Rect,
    clock: Rect,
    wave: Rect,
    flash: Rect,
    /// Pixels a dot of the clock's digits.
    scale: usize,
    /// Width and height of the bouncing box.
    box_side: usize,
}

impl Layout {
    /// The code and the grey steps at the top, wave and flash at the bottom, and all else in between.
    fn new(width: usize, height: usize) -> Self {
        const CHARACTERS: usize = 9; // mm:ss.mmm
        const LINES: usize = 6 + 2 * font::HEIGHT; // and margins of 2 dots
        let square = code::square(width, height);
        let top = code::ROWS * square;
        let bottom = even(height - (height / 8).max(8));
        let bars = Rect {
            x: 0,
            y: top,
            width,
            height: bottom - top,
        };
        let text_width = CHARACTERS * font::ADVANCE + 3;
        let scale = (width * 5 / 8 / text_width)
            .min(bars.height * 5 / 8 / LINES)
            .max(1);
        let small = scale.div_ceil(2);
        let clock_height = (6 + font::HEIGHT) * scale + font::HEIGHT * small;
        let clock_width = text_width * scale;
        let clock = Rect {
            x: even((width - clock_width.min(width)) / 2),
            y: top + even((bars.height - clock_height.min(bars.height)) / 2),
            width: clock_width,
            height: clock_height,
        };
        let split = even(width * 3 / 4);
        let strip = Rect {
            y: bottom,
            height: height - bottom,
            ..bars
        };
        Self {
            bars,
            clock,
            wave: Rect {
                width: split,
                ..strip
            },
            flash: Rect {
                x: split,
                width: width - split,
                ..strip
            },
            scale,
            box_side: even(bars.height.min(width) / 4).max(4),
        }
    }

    fn background(&self, width: usize, height: usize) -> Canvas {
        /// The colour bars of 75 %.
        const BARS: [Colour; 7] = [
            [180, 128, 128],
            [162, 44, 142],
            [131, 156, 44],
            [112, 72, 58],
            [84, 184, 198],
            [65, 100, 212],
            [35, 212, 114],
        ];
        const STEPS: usize = 8;
        let mut canvas = Canvas::new(width, height);
        for (index, colour) in BARS.into_iter().enumerate() {
            canvas.fill(column(self.bars, index, BARS.len()), colour);
        }
        let code_width = code::COLUMNS * code::square(width, height);
        let steps = Rect {
            x: code_width,
            y: 0,
            width: width - code_width,
            height: self.bars.y,
        };
        for index in 0..STEPS {
            let luma = BLACK[0] + ((WHITE[0] - BLACK[0]) as usize * index / (STEPS - 1)) as u8;
            canvas.fill(column(steps, index, STEPS), [luma, 128, 128]);
        }
        canvas.fill(self.flash, [48, 128, 128]);
        canvas
    }
}

/// Column `index` of `count` in `area`.
fn column(area: Rect, index: usize, count: usize) -> Rect {
    let edge = |index: usize| area.x + even(area.width * index / count);
    let end = if index + 1 == count {
        area.x + area.width
    } else {
        edge(index + 1)
    };
    Rect {
        x: edge(index),
        width: end - edge(index),
        ..area
    }
}

/// Chroma has half the places of luma.
fn even(pixels: usize) -> usize {
    pixels & !1
}

/// Even pixels a picture, for crossing `length` in about `pictures`.
fn step(length: usize, pictures: usize) -> usize {
    even(length / pictures).max(2)
}

/// There and back again between 0 and `range`, at even places.
fn bounce(number: usize, step: usize, range: usize) -> usize {
    let range = even(range);
    let place = number.wrapping_mul(step) % (2 * range).max(1);
    even(place.min(2 * range - place))
}

/// Luma of two periods of the scrolling wave, from `start` pixels on: three sines, so that no part looks like another.
fn wave(period: usize, start: f64) -> Vec<u8> {
    let luma = |x: usize| {
        let phase = TAU * (x as f64 + start) / period as f64;
        126.0 + 40.0 * (phase.sin() + (5.0 * phase).sin() + 0.5 * (17.0 * phase).sin())
    };
    (0..2 * period).map(|x| luma(x) as u8).collect()
}

/// A row of the bouncing box: rings, smooth enough to be coded and moved.
fn texture(y: usize, side: usize) -> Vec<u8> {
    let from_middle = |at: usize| (at as f64 + 0.5) / side as f64 - 0.5;
    let luma = |x: usize| 128.0 + 90.0 * (TAU * 3.0 * from_middle(x).hypot(from_middle(y))).cos();
    (0..side).map(|x| luma(x) as u8).collect()
}

#[cfg(test)]
mod tests;
