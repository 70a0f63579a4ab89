//! What a program shows in a terminal, as an SVG, for `docs/screenshots/make`. The terminal is that of the tests.
//!
//! `screenshot OUT.svg COLUMNSxROWS PROGRAM [ARGUMENT...] -- [STEP...]`, a step being `wait:TEXT` (until it is shown),
//! `click:TEXT`, `key:NAME`, `type:TEXT`, or `exit` (until the program has ended).

#![forbid(unsafe_code)]

#[path = "../tests/cli/pty.rs"]
#[expect(dead_code, reason = "tests use more of it")]
mod pty;

use pty::{DEADLINE, Pty};
use std::{env, error::Error, fmt::Write, fs, path::Path, time::Duration};
use vt100::{Cell, Color, Screen};

/// A cell in pixels, and the font size at which letters are as wide and their lines a little higher.
const CELL: (f32, f32) = (10.0, 19.0);
const FONT_SIZE: f32 = 16.61;

/// Where letters stand in a cell.
const BASELINE: f32 = 15.0;

/// Around the screen, in pixels.
const MARGIN: f32 = 10.0;

const FOREGROUND: (u8, u8, u8) = (0xd8, 0xdb, 0xe2);
const BACKGROUND: (u8, u8, u8) = (0x16, 0x18, 0x1d);

/// The sixteen colours that a terminal chooses itself.
const PALETTE: [(u8, u8, u8); 16] = [
    (0x16, 0x18, 0x1d),
    (0xe0, 0x6c, 0x75),
    (0x98, 0xc3, 0x79),
    (0xe5, 0xc0, 0x7b),
    (0x61, 0xaf, 0xef),
    (0xc6, 0x78, 0xdd),
    (0x56, 0xb6, 0xc2),
    (0xab, 0xb2, 0xbf),
    (0x6b, 0x72, 0x80),
    (0xff, 0x8f, 0x98),
    (0xb5, 0xe8, 0x90),
    (0xff, 0xd8, 0x8f),
    (0x8c, 0xc8, 0xff),
    (0xe0, 0x9c, 0xf5),
    (0x7f, 0xdb, 0xe6),
    (0xff, 0xff, 0xff),
];

fn main() -> Result<(), Box<dyn Error>> {
    let all: Vec<_> = env::args().skip(1).collect();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let (command, steps) = match all.iter().position(|arg| *arg == "--") {
        Some(at) => (&all[..at], &all[at + 1..]),
        None => (&all[..], &[][..]),
    };
    let [out, size, program, args @ ..] = command else {
        return Err("say OUT.svg COLUMNSxROWS PROGRAM [ARGUMENT...] -- [STEP...]".into());
    };
    let (cols, rows) = size.split_once('x').ok_or("write COLUMNSxROWS")?;
    let size = (cols.parse()?, rows.parse()?);
    let pty = Pty::start(Path::new(program), args, size, &[], true);
    for step in steps {
        match step.split_once(':') {
            Some(("wait", text)) => {
                pty.wait_for(text);
            }
            Some(("click", text)) => pty.click_on(text),
            Some(("key", name)) => pty.key(name),
            Some(("type", text)) => pty.send(text),
            None if *step == "exit" => {
                pty.exit_code(DEADLINE);
            }
            _ => return Err(format!("there is no step {step}").into()),
        }
    }
    fs::write(out, svg(&whole(&pty))?)?;
    Ok(())
}

/// The screen when nothing is being drawn on it.
fn whole(pty: &Pty) -> Screen {
    loop {
        let before = pty.output();
        let screen = pty.screen();
        let last = |bytes: &[u8]| before.windows(bytes.len()).rposition(|w| w == bytes);
        // Synchronised updates are what is drawn at once.
        let is_whole = last(b"\x1b[?2026h") <= last(b"\x1b[?2026l");
        if is_whole && pty.output().len() == before.len() {
            return screen;
        }
        pty.pass(Duration::from_millis(1));
    }
}

/// The screen as it is shown. Blocks are drawn as rectangles, so that they touch whatever the font is.
fn svg(screen: &Screen) -> Result<String, std::fmt::Error> {
    let (rows, cols) = screen.size();
    let width = f32::from(cols.get()) * CELL.0 + 2.0 * MARGIN;
    let height = f32::from(rows.get()) * CELL.1 + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' \
         font-family='DejaVu Sans Mono, monospace' font-size='{FONT_SIZE}'>\n\
         <rect width='100%' height='100%' rx='8' fill='{}'/>\n\
         <g transform='translate({MARGIN} {MARGIN})' shape-rendering='crispEdges' xml:space='preserve'>\n",
        hex(BACKGROUND)
    );
    for row in 0..rows.get() {
        for col in 0..cols.get() {
            if let Some(cell) = screen.cell(row, col) {
                draw(cell, f32::from(col) * CELL.0, f32::from(row) * CELL.1, &mut svg)?;
            }
        }
    }
    svg.push_str("</g>\n</svg>\n");
    Ok(svg)
}

fn draw(cell: &Cell, x: f32, y: f32, svg: &mut String) -> std::fmt::Result {
    let mut front = rgb(cell.fgcolor(), FOREGROUND);
    let mut back = rgb(cell.bgcolor(), BACKGROUND);
    if cell.inverse() {
        (front, back) = (back, front);
    }
    if cell.dim() {
        let half = |a: u8, b: u8| ((u16::from(a) * 3 + u16::from(b) * 2) / 5) as u8;
        front = (
            half(front.0, back.0),
            half(front.1, back.1),
            half(front.2, back.2),
        );
    }
    let mut rect = |[left, top, right, bottom]: [f32; 4], colour| {
        let (w, h) = ((right - left) / 8.0 * CELL.0, (bottom - top) / 8.0 * CELL.1);
        let (x, y) = (x + left / 8.0 * CELL.0, y + top / 8.0 * CELL.1);
        let colour = hex(colour);
        writeln!(
            svg,
            "<rect x='{x}' y='{y}' width='{w}' height='{h}' fill='{colour}'/>"
        )
    };
    if back != BACKGROUND {
        rect([0.0, 0.0, 8.0, 8.0], back)?;
    }
    if cell.underline() {
        rect([0.0, 7.2, 8.0, 7.6], front)?;
    }
    let text = cell.contents();
    if text.trim().is_empty() {
        return Ok(());
    }
    let rects = text.chars().next().map(block).unwrap_or_default();
    if !rects.is_empty() {
        return rects.into_iter().try_for_each(|part| rect(part, front));
    }
    let weight = if cell.bold() { " font-weight='bold'" } else { "" };
    let style = if cell.italic() { " font-style='italic'" } else { "" };
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let (y, colour) = (y + BASELINE, hex(front));
    writeln!(
        svg,
        "<text x='{x}' y='{y}' fill='{colour}'{weight}{style}>{text}</text>"
    )
}

/// The rectangles of a block character (U+2580 to U+259F, but for the shades), in eighths of a cell.
fn block(c: char) -> Vec<[f32; 4]> {
    const QUARTERS: [[f32; 4]; 4] = [
        [0.0, 0.0, 4.0, 4.0],
        [4.0, 0.0, 8.0, 4.0],
        [0.0, 4.0, 4.0, 8.0],
        [4.0, 4.0, 8.0, 8.0],
    ];
    // Which quarters ▖▗▘▙▚▛▜▝▞▟ have: a bit each, upper left first.
    const HAVE: [u8; 10] = [
        0b0100, 0b1000, 0b0001, 0b1101, 0b1001, 0b0111, 0b1011, 0b0010, 0b0110, 0b1110,
    ];
    let n = f32::from((c as u32 & 0xff) as u8);
    match c {
        '▀' => vec![[0.0, 0.0, 8.0, 4.0]],
        '▁'..='█' => vec![[0.0, 8.0 - (n - 128.0), 8.0, 8.0]],
        '▉'..='▏' => vec![[0.0, 0.0, 144.0 - n, 8.0]],
        '▐' => vec![[4.0, 0.0, 8.0, 8.0]],
        '▔' => vec![[0.0, 0.0, 8.0, 1.0]],
        '▕' => vec![[7.0, 0.0, 8.0, 8.0]],
        '▖'..='▟' => {
            let have = HAVE[c as usize - '▖' as usize];
            (0..4)
                .filter(|bit| have >> bit & 1 == 1)
                .map(|bit| QUARTERS[bit])
                .collect()
        }
        _ => Vec::new(),
    }
}

fn rgb(colour: Color, default: (u8, u8, u8)) -> (u8, u8, u8) {
    let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    match colour {
        Color::Default => default,
        Color::Rgb(r, g, b) => (r, g, b),
        Color::Idx(n @ 0..16) => PALETTE[usize::from(n)],
        Color::Idx(n @ 16..232) => {
            let n = n - 16;
            (level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        Color::Idx(n) => {
            let grey = 8 + 10 * (n - 232);
            (grey, grey, grey)
        }
    }
}

fn hex((r, g, b): (u8, u8, u8)) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}
