use super::*;
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend};
use std::{cell, io, rc::Rc, time::Duration};

const RED: [u8; 3] = [81, 90, 240];
const GREEN: [u8; 3] = [145, 54, 34];
const BLUE: [u8; 3] = [41, 240, 110];
const WHITE: [u8; 3] = [235, 128, 128];

/// A picture by luma, U and V of each pixel; chroma is that of the pixel at the upper left of four.
pub(in crate::screen) fn picture(
    (width, height): (usize, usize),
    colour: impl Fn(usize, usize) -> [u8; 3],
) -> VideoFrame {
    let chroma = (width.div_ceil(2), height.div_ceil(2));
    let plane = |plane: usize, (width, height): (usize, usize), step: usize| {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        pixels
            .map(|(x, y)| colour(x * step, y * step)[plane])
            .collect::<Vec<u8>>()
            .into()
    };
    VideoFrame {
        width,
        height,
        planes: [
            plane(0, (width, height), 1),
            plane(1, chroma, 2),
            plane(2, chroma, 2),
        ],
        strides: [width, chroma.0, chroma.0],
        time: Duration::ZERO,
    }
}

/// Red and green above, blue and white below.
pub(in crate::screen) fn quadrants((width, height): (usize, usize)) -> VideoFrame {
    picture((width, height), |x, y| match (x < width / 2, y < height / 2) {
        (true, true) => RED,
        (false, true) => GREEN,
        (true, false) => BLUE,
        (false, false) => WHITE,
    })
}

/// Counts what is written to it.
#[derive(Debug, Clone, Default)]
pub(in crate::screen) struct Counted(pub(in crate::screen) Rc<cell::Cell<usize>>);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set(self.0.get() + bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A terminal that shows nothing, and how many bytes it was sent.
pub(in crate::screen) fn terminal(area: Rect) -> (Terminal<CrosstermBackend<Counted>>, Counted) {
    let (count, viewport) = (Counted::default(), Viewport::Fixed(area));
    let backend = CrosstermBackend::new(count.clone());
    let terminal = Terminal::with_options(backend, TerminalOptions { viewport });
    (terminal.unwrap(), count)
}

fn drawn(frame: &VideoFrame, colors: Colors, area: Rect) -> Buffer {
    let mut buffer = Buffer::empty(area);
    Widget::render(Blocks { frame, colors }, area, &mut buffer);
    buffer
}

fn text(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width).max(1);
    let symbols = buffer.content.chunks(width);
    symbols
        .map(|row| row.iter().map(Cell::symbol).collect())
        .collect()
}

fn near(got: Color, wanted: Rgb) -> bool {
    let Color::Rgb(r, g, b) = got else { return false };
    [r, g, b].into_iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 4)
}

#[test]
fn a_cell_is_two_pixels_in_true_colour() {
    let buffer = drawn(&quadrants((64, 64)), Colors::True, Rect::new(0, 0, 2, 1));
    let [left, right] = [&buffer[(0, 0)], &buffer[(1, 0)]];
    assert_eq!((left.symbol(), right.symbol()), ("▀", "▀"));
    assert!(
        near(left.fg, [255, 0, 0]) && near(left.bg, [0, 0, 255]),
        "{left:?}"
    );
    assert!(
        near(right.fg, [0, 255, 0]) && near(right.bg, [255, 255, 255]),
        "{right:?}"
    );
}

#[test]
fn a_cell_of_one_colour_is_a_space() {
    let buffer = drawn(&quadrants((64, 64)), Colors::True, Rect::new(0, 0, 2, 2));
    assert_eq!(text(&buffer), ["  ", "  "]);
    assert!(near(buffer[(0, 0)].bg, [255, 0, 0]), "{:?}", buffer[(0, 0)]);
    assert!(near(buffer[(1, 1)].bg, [255, 255, 255]), "{:?}", buffer[(1, 1)]);
}

#[test]
fn colours_of_the_palette() {
    let buffer = drawn(&quadrants((64, 64)), Colors::Indexed, Rect::new(0, 0, 2, 1));
    let colours = |x| (buffer[(x, 0)].fg, buffer[(x, 0)].bg);
    assert_eq!(colours(0), (Color::Indexed(196), Color::Indexed(21)));
    assert_eq!(colours(1), (Color::Indexed(46), Color::Indexed(231)));
}

#[test]
fn the_nearest_colour_is_the_nearest_of_all() {
    let palette: Vec<(u8, Rgb)> = (16..=255)
        .map(|index: u8| {
            const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];
            let level = |by: u8| CUBE[usize::from((index - 16) / by % 6)];
            let grey = [index.saturating_sub(232).saturating_mul(10).saturating_add(8); 3];
            let cube = [level(36), level(6), level(1)];
            (index, if index < 232 { cube } else { grey })
        })
        .collect();
    let distance = |a: Rgb, b: Rgb| -> u32 {
        let square = |(a, b): (u8, u8)| u32::from(a.abs_diff(b)).pow(2);
        a.into_iter().zip(b).map(square).sum()
    };
    let levels = || (0..=255).step_by(17);
    for r in levels() {
        for g in levels() {
            for b in levels() {
                let colour = [r, g, b];
                let got = palette[usize::from(colors::nearest(colour)) - 16].1;
                let best = palette.iter().map(|(_, c)| distance(*c, colour)).min();
                assert_eq!(Some(distance(got, colour)), best, "{colour:?} became {got:?}");
            }
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    let ramp = picture((100, 40), |x, _| [16 + (219 * x / 99) as u8, 128, 128]);
    let buffer = drawn(&ramp, Colors::None, Rect::new(0, 0, 10, 2));
    assert_eq!(text(&buffer), [" .:-=+*#%@", " .:-=+*#%@"]);
    let plain = |cell: &Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
    assert!(buffer.content.iter().all(plain));
}

#[test]
fn a_picture_keeps_its_shape() {
    let at = Rect::new;
    for (size, area, wanted) in [
        ((640, 480), at(0, 0, 80, 30), at(0, 0, 80, 30)),
        ((640, 480), at(0, 0, 80, 24), at(8, 0, 64, 24)),
        ((640, 480), at(5, 3, 40, 40), at(5, 15, 40, 15)),
        ((1280, 720), at(0, 0, 160, 100), at(0, 27, 160, 45)),
        ((480, 640), at(0, 0, 80, 24), at(22, 0, 36, 24)),
        ((8192, 1), at(0, 0, 10, 5), at(0, 2, 10, 1)),
        ((1, 8192), at(0, 0, 10, 5), at(4, 0, 1, 5)),
        ((640, 480), at(7, 7, 1, 1), at(7, 7, 1, 1)),
        ((640, 480), at(7, 7, 0, 3), at(7, 7, 0, 0)),
        ((0, 480), at(7, 7, 9, 3), at(7, 7, 0, 0)),
        (
            (usize::MAX >> 24, 1),
            at(0, 0, u16::MAX, 3),
            at(0, 1, u16::MAX, 1),
        ),
    ] {
        assert_eq!(fit(size, area), wanted, "{size:?} in {area:?}");
    }
    assert_eq!(
        fit_cells((640, 480), at(0, 0, 64, 64), (10, 10)),
        at(0, 8, 64, 48)
    );
}

#[test]
fn no_size_is_too_small_or_odd() {
    for size in [(0, 0), (0, 5), (1, 1), (1, 7), (3, 2), (17, 5), (640, 1)] {
        for (width, height) in [(0, 0), (1, 0), (1, 1), (2, 1), (7, 3), (50, 20)] {
            for colors in [Colors::True, Colors::Indexed, Colors::None] {
                drawn(&quadrants(size), colors, Rect::new(0, 0, width, height));
            }
        }
    }
}

#[test]
fn what_is_outside_the_buffer_is_not_drawn() {
    let frame = &quadrants((16, 16));
    let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 4));
    let area = Rect::new(2, 2, 100, 100);
    let colors = Colors::True;
    Widget::render(Blocks { frame, colors }, area, &mut buffer);
    assert_eq!(buffer[(0, 0)], Cell::default());
}

#[test]
fn a_damaged_frame_does_no_harm() {
    let mut frame = quadrants((16, 16));
    frame.planes[0] = frame.planes[0].slice(..40);
    frame.planes[2] = frame.planes[2].slice(..0);
    drawn(&frame, Colors::True, Rect::new(0, 0, 8, 4));
}

#[test]
fn scaling_takes_the_average() {
    let checkered = picture((64, 64), |x, y| {
        [if (x + y) % 2 == 0 { 16 } else { 235 }, 128, 128]
    });
    for pixel in scale(&checkered, (4, 4)) {
        assert!(pixel[0].abs_diff(128) <= 1, "{pixel:?}");
    }
    let same = quadrants((8, 8));
    assert_eq!(scale(&same, (16, 16)).len(), 256);
    assert_eq!(scale(&same, (8, 8))[0], scale(&same, (16, 16))[0]);
}

#[test]
fn noise_changes_nothing() {
    let random = &mut 1_u32;
    let mut noise = || {
        *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*random >> 24) as usize % 5
    };
    let mut noisy = || {
        let noise: Vec<usize> = (0..640 * 480).map(|_| noise()).collect();
        picture((640, 480), move |x, y| {
            let luma = 30 + x / 4 + y / 20 + noise[y * 640 + x] - 2;
            [luma as u8, 100 + (y / 12) as u8, 128]
        })
    };
    for (width, height) in [(40, 15), (100, 37), (320, 120)] {
        let area = Rect::new(0, 0, width, height);
        let mut shown = Shown::default();
        let mut cells = || {
            let mut buffer = Buffer::empty(area);
            let (frame, colors) = (&noisy(), Colors::True);
            StatefulWidget::render(Blocks { frame, colors }, area, &mut buffer, &mut shown);
            buffer
        };
        let first = cells();
        for _ in 0..3 {
            // Averages of only four pixels still have some of it.
            let most = if width == 320 { area.area() / 20 } else { 0 };
            let changed = first.diff(&cells()).len();
            assert!(changed <= most as usize, "{changed} in {area:?}");
        }
    }
}

#[test]
fn what_changes_visibly_is_drawn() {
    let area = Rect::new(0, 0, 4, 2);
    let mut shown = Shown::default();
    let mut cells = |luma: u8| {
        let mut buffer = Buffer::empty(area);
        let frame = &picture((8, 8), |_, _| [luma, 128, 128]);
        let blocks = Blocks {
            frame,
            colors: Colors::True,
        };
        StatefulWidget::render(blocks, area, &mut buffer, &mut shown);
        buffer
    };
    let first = cells(100);
    assert_eq!(first.diff(&cells(102)).len(), 0);
    // Slowly, too.
    cells(104);
    assert_eq!(first.diff(&cells(107)).len(), 8);
    assert_eq!(cells(16)[(0, 0)].bg, Color::Rgb(0, 0, 0));
    assert_eq!(cells(235)[(0, 0)].bg, Color::Rgb(255, 255, 255));
}

#[test]
fn a_still_picture_is_written_once() {
    let area = Rect::new(0, 0, 80, 24);
    let (mut terminal, count) = terminal(area);
    let frame = &picture((640, 480), |x, y| [(x / 4 + y / 8) as u8, (y / 2) as u8, 128]);
    let mut shown = Shown::default();
    let mut bytes = || {
        count.0.set(0);
        let draw = |screen: &mut ratatui::Frame| {
            let blocks = Blocks {
                frame,
                colors: Colors::True,
            };
            screen.render_stateful_widget(blocks, area, &mut shown);
        };
        terminal.draw(draw).unwrap();
        count.0.get()
    };
    assert!(bytes() > 10_000);
    let second = bytes();
    assert!(second < 50, "{second} bytes");
}

#[test]
fn colours_of_terminals() {
    use Colors::{Indexed, None, True};
    let table: &[(&[(&str, &str)], Colors)] = &[
        (&[], Indexed),
        (&[("TERM", "xterm")], Indexed),
        (&[("TERM", "xterm-256color")], Indexed),
        (&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")], True),
        (&[("TERM", "xterm-256color"), ("COLORTERM", "24bit")], True),
        (&[("TERM", "xterm-256color"), ("COLORTERM", "yes")], Indexed),
        (&[("TERM", "xterm-direct")], True),
        (&[("TERM", "xterm-kitty")], True),
        (&[("TERM", "xterm-ghostty")], True),
        (&[("TERM", "foot")], True),
        (&[("TERM", "alacritty")], True),
        (&[("TERM", "xterm-256color"), ("TERM_PROGRAM", "iTerm.app")], True),
        (
            &[("TERM", "xterm-256color"), ("TERM_PROGRAM", "Apple_Terminal")],
            Indexed,
        ),
        (&[("TERM", "xterm-256color"), ("WT_SESSION", "1")], True),
        (&[("TERM", "tmux-256color"), ("TERM_PROGRAM", "tmux")], Indexed),
        (&[("TERM", "tmux-256color"), ("COLORTERM", "truecolor")], True),
        (
            &[
                ("TERM", "screen-256color"),
                ("COLORTERM", "truecolor"),
                ("STY", "1.pts"),
            ],
            Indexed,
        ),
        (&[("TERM", "linux")], Indexed),
        (&[("TERM", "dumb")], None),
        (&[("TERM", "xterm-kitty"), ("NO_COLOR", "1")], None),
        (&[("TERM", "xterm-kitty"), ("NO_COLOR", "")], True),
    ];
    for (variables, wanted) in table {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(Colors::of(variable), *wanted, "{variables:?}");
    }
}
