//! Pictures by the terminal's own graphics, where it has them: the protocols of kitty and iTerm2, and sixel.

use super::picture::{Blocks, Colors, Shown, fit, fit_cells, scale};
use image::{DynamicImage, RgbImage};
use ratatui::{
    buffer::Buffer,
    crossterm::terminal::supports_keyboard_enhancement,
    layout::{Rect, Size},
    widgets::{StatefulWidget, Widget},
};
use ratatui_image::{
    Image,
    picker::{Picker, ProtocolType, cap_parser::QueryStdioOptions},
    protocol::{Protocol, iterm2::Iterm2, kitty::Kitty, sixel::Sixel},
};
use std::{
    env, fmt,
    io::{IsTerminal, stdin, stdout},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use visavis_core::media::VideoFrame;

/// How wide in pixels a picture is sent at most that the terminal stretches itself: 0.9 MB.
const STRETCHED_WIDTH: u32 = 480;

/// How wide in pixels a picture is sent and shown at most that the terminal does not stretch: sixels take long to
/// encode.
const UNSTRETCHED_WIDTH: u32 = 640;

/// How long a terminal that has just answered may take to answer again.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What pictures are drawn with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// The best that the terminal says it has: kitty's graphics, iTerm2's, sixel, or half blocks
    #[default]
    Auto,
    /// Half blocks, which every terminal has; the terminal is not asked
    Halfblocks,
}

/// How this terminal shows pictures.
#[derive(Debug)]
pub(crate) struct Graphics {
    colors: Colors,
    protocol: Option<Pixels>,
}

/// A protocol for pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pixels {
    protocol: ProtocolType,
    /// Width and height of a cell in pixels.
    cell: (u16, u16),
}

impl Graphics {
    /// Asks the terminal, unless `choice` or `colors` have decided. In raw mode and on the alternate screen only, and
    /// before anybody else reads events. A terminal that does not answer costs two seconds, and gets half blocks.
    pub(crate) fn detect(choice: Choice, colors: Colors) -> Self {
        let ask = choice == Choice::Auto
            && colors != Colors::None
            && !in_multiplexer(|name| env::var(name).ok())
            && stdin().is_terminal()
            && stdout().is_terminal();
        Self {
            colors,
            protocol: ask.then(Pixels::of_terminal).flatten(),
        }
    }

    /// Half blocks in `colors`; nobody is asked.
    #[cfg(test)]
    pub(crate) fn halfblocks(colors: Colors) -> Self {
        Self {
            colors,
            protocol: None,
        }
    }

    /// In a word or two, for people.
    pub(crate) fn name(&self) -> &'static str {
        match (self.protocol.map(|pixels| pixels.protocol), self.colors) {
            (Some(ProtocolType::Kitty), _) => "kitty",
            (Some(ProtocolType::Sixel), _) => "sixel",
            (Some(ProtocolType::Iterm2), _) => "iTerm2",
            (Some(ProtocolType::Halfblocks) | None, Colors::True) => "half-blocks",
            (Some(ProtocolType::Halfblocks) | None, Colors::Indexed) => "256 colours",
            (Some(ProtocolType::Halfblocks) | None, Colors::None) => "no colours",
        }
    }
}

/// tmux and the like stand between us and the terminal: they keep cells, not pixels, so a picture would stay when
/// another pane or window is shown.
fn in_multiplexer(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    let term = variable("TERM").unwrap_or_default();
    ["TMUX", "STY", "ZELLIJ"].iter().any(set) || term.starts_with("tmux") || term.starts_with("screen")
}

impl Pixels {
    fn of_terminal() -> Option<Self> {
        // `Picker` leaves a thread behind that reads the first key if the terminal does not answer, so it may only
        // ask one that does. This question has a deadline, and loses no key.
        supports_keyboard_enhancement().ok()?;
        let options = QueryStdioOptions {
            timeout: TIMEOUT,
            ..QueryStdioOptions::default()
        };
        let picker = Picker::from_query_stdio_with_options(options).ok()?;
        let font = picker.font_size();
        // Without capabilities the terminal has not answered, and what the picker has is a guess by the environment.
        let known = !picker.capabilities().is_empty()
            && picker.protocol_type() != ProtocolType::Halfblocks
            && font.width > 0
            && font.height > 0;
        known.then(|| Self {
            protocol: picker.protocol_type(),
            cell: (font.width, font.height),
        })
    }

    /// Kitty stretches a picture over the cells that it is told.
    fn stretches(self) -> bool {
        self.protocol == ProtocolType::Kitty
    }

    /// The part of `area` for a picture of `size` pixels.
    fn fit(self, size: (usize, usize), area: Rect) -> Rect {
        let widest = if self.stretches() {
            area.width
        } else {
            area.width
                .min((UNSTRETCHED_WIDTH / u32::from(self.cell.0)).max(1) as u16)
        };
        let middle = Rect {
            x: area.x + (area.width - widest) / 2,
            width: widest,
            ..area
        };
        fit_cells(size, middle, self.cell)
    }

    /// The picture in `area`'s pixels, or fewer if the terminal stretches them.
    fn encode(self, frame: &VideoFrame, area: Rect, id: u32) -> Option<Protocol> {
        let full = |cells: u16, pixels: u16| u32::from(cells) * u32::from(pixels);
        let (mut width, mut height) = (full(area.width, self.cell.0), full(area.height, self.cell.1));
        if self.stretches() {
            // No more than there is, either.
            let most = STRETCHED_WIDTH.min(frame.width as u32);
            if width > most {
                height = (height * most / width).max(1);
                width = most;
            }
        }
        let pixels = scale(frame, (width as usize, height as usize)).into_flattened();
        let image = DynamicImage::from(RgbImage::from_raw(width, height, pixels)?);
        let size = Size::from(area);
        match self.protocol {
            ProtocolType::Kitty => Kitty::new(image, size, id, false, false).map(Protocol::Kitty),
            ProtocolType::Sixel => Sixel::new(image, size, false).map(Protocol::Sixel),
            ProtocolType::Iterm2 => Iterm2::new(image, size, false).map(Protocol::ITerm2),
            ProtocolType::Halfblocks => return None,
        }
        .ok()
    }
}

/// Where a video is shown, and what of it was drawn last.
#[derive(Default)]
pub(crate) struct Pane {
    shown: Shown,
    image: Option<Encoded>,
    ids: Option<Ids>,
}

/// A picture in the terminal's protocol, and what it is of.
struct Encoded {
    number: u64,
    area: Rect,
    pixels: Pixels,
    protocol: Protocol,
}

impl fmt::Debug for Pane {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.image.as_ref().map(|image| image.number);
        formatter
            .debug_struct("Pane")
            .field("encoded", &number)
            .finish_non_exhaustive()
    }
}

impl Pane {
    /// Draws a picture as large as it fits into `area`, in its middle. A picture has a `number` of its own among those
    /// of this pane: by it and the area one is known that has been encoded before.
    pub(crate) fn draw(
        &mut self,
        graphics: &Graphics,
        frame: &VideoFrame,
        number: u64,
        area: Rect,
        buf: &mut Buffer,
    ) {
        let size = (frame.width, frame.height);
        let area = area.intersection(buf.area);
        let drawn = graphics.protocol.is_some_and(|pixels| {
            let area = pixels.fit(size, area);
            !area.is_empty() && self.draw_pixels(pixels, frame, number, area, buf)
        });
        if drawn {
            self.shown = Shown::default();
        } else {
            self.image = None;
            let colors = graphics.colors;
            let blocks = Blocks { frame, colors };
            StatefulWidget::render(blocks, fit(size, area), buf, &mut self.shown);
        }
    }

    /// Whether it could be encoded.
    fn draw_pixels(
        &mut self,
        pixels: Pixels,
        frame: &VideoFrame,
        number: u64,
        area: Rect,
        buf: &mut Buffer,
    ) -> bool {
        let same = |image: &Encoded| (image.number, image.area, image.pixels) == (number, area, pixels);
        if !self.image.as_ref().is_some_and(same) {
            let id = self.ids.get_or_insert_with(Ids::new).next();
            let encoded = pixels.encode(frame, area, id).map(|protocol| Encoded {
                number,
                area,
                pixels,
                protocol,
            });
            self.image = encoded;
        }
        let Some(image) = &self.image else {
            return false;
        };
        Image::new(&image.protocol).render(area, buf);
        if pixels.stretches() {
            stretch(area, buf);
        }
        true
    }
}

/// Tells kitty over how many cells the picture goes, which the library leaves to its pixels. The picture itself, when
/// it is sent, is in the first cell.
fn stretch(area: Rect, buf: &mut Buffer) {
    const VIRTUAL: &str = "a=T,U=1,";
    let cell = &mut buf[area.as_position()];
    if cell.symbol().starts_with('\x1b') {
        let cells = format!("{VIRTUAL}c={},r={},", area.width, area.height);
        let symbol = cell.symbol().replacen(VIRTUAL, &cells, 1);
        cell.set_symbol(&symbol);
    }
}

/// Two names that a pane's pictures have in turn in kitty: the old picture is seen until the new one is complete, and
/// the terminal never keeps more than two.
struct Ids {
    first: u32,
    odd: bool,
}

impl Ids {
    fn new() -> Self {
        static PANES: AtomicU32 = AtomicU32::new(0);
        // Other programs' pictures have names in the same terminal.
        let process = std::process::id() & 0xffff;
        let pane = PANES.fetch_add(1, Ordering::Relaxed) & 0x7f;
        Self {
            first: process << 8 | pane << 1,
            odd: false,
        }
    }

    fn next(&mut self) -> u32 {
        self.odd = !self.odd;
        // Zero is no name.
        (self.first | u32::from(self.odd)).max(1)
    }
}

#[cfg(test)]
mod tests;
