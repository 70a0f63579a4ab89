//! Which colours a terminal has.

use super::Rgb;
use std::env;

/// The levels of the 6x6x6 colours in the palette of 256, which begin at 16.
const CUBE: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// Its 24 greys: the first, the step, and where they begin.
const GREY: (u8, u8, u8) = (8, 10, 232);

/// `TERM`s with true colour, by a part of their names.
const TERMS: [&str; 8] = [
    "direct",
    "truecolor",
    "kitty",
    "alacritty",
    "ghostty",
    "foot",
    "wezterm",
    "contour",
];

/// `TERM_PROGRAM`s with true colour.
const PROGRAMS: [&str; 8] = [
    "iTerm.app",
    "WezTerm",
    "ghostty",
    "vscode",
    "Hyper",
    "rio",
    "WarpTerminal",
    "Tabby",
];

/// The colours of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    /// 24 bits.
    True,
    /// The 256 of xterm.
    Indexed,
    /// None, or none are wanted.
    None,
}

impl Colors {
    /// What the environment says of the terminal.
    pub(crate) fn detect() -> Self {
        Self::of(|name| env::var(name).ok())
    }

    /// What these variables say of a terminal. All but the oldest terminals have 256 colours.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| variable(name).unwrap_or_default();
        let (term, program) = (get("TERM"), get("TERM_PROGRAM"));
        let announced = ["truecolor", "24bit"].contains(&get("COLORTERM").to_lowercase().as_str());
        if !get("NO_COLOR").is_empty() || term == "dumb" {
            Self::None
        } else if !get("STY").is_empty() {
            // GNU screen hands on what was announced of the terminal around it, and has 256 itself.
            Self::Indexed
        } else if announced
            || !get("WT_SESSION").is_empty()
            || TERMS.iter().any(|part| term.contains(part))
            || PROGRAMS.contains(&program.as_str())
        {
            Self::True
        } else {
            Self::Indexed
        }
    }
}

/// The nearest of xterm's 256 colours, without the first 16, which users change.
pub(super) fn nearest(colour: Rgb) -> u8 {
    let levels = colour.map(|channel| match channel {
        0..48 => 0,
        48..115 => 1,
        _ => (channel - 35) / 40,
    });
    let of_cube = levels.map(|level| CUBE[usize::from(level)]);

    let (first, step, begin) = GREY;
    let mean = (colour.iter().map(|&channel| u32::from(channel)).sum::<u32>() / 3) as u8;
    let index = (mean.saturating_sub(first - step / 2) / step).min(23);
    let grey = first + step * index;

    let distance = |other: Rgb| -> u32 {
        let square = |(a, b): (u8, u8)| u32::from(a.abs_diff(b)).pow(2);
        colour.into_iter().zip(other).map(square).sum()
    };
    if distance([grey; 3]) < distance(of_cube) {
        begin + index
    } else {
        16 + 36 * levels[0] + 6 * levels[1] + levels[2]
    }
}
