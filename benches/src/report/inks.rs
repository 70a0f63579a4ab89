//! The colours, dashes and marks of the plots, and the style sheet that makes them follow the page.
//!
//! plotters writes colours as attributes. The light ones stay there, for programs that know no CSS; a style sheet
//! selects by them (`[fill="#0072B2"]`) and puts custom properties in their place.

use super::canvas::{Canvas, Drawn};
use plotters::{
    element::{Circle, Polygon},
    style::{
        Color, IntoFont, RGBColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};
use std::fmt::Write;

/// A colour on a light and on a dark page.
#[derive(Debug)]
pub(super) struct Ink {
    name: &'static str,
    light: RGBColor,
    dark: RGBColor,
    /// How its lines are dashed, so that they differ without colours too.
    dashes: &'static str,
}

/// Text.
pub(super) static TEXT: Ink = ink("text", 0x001B_1D21, 0x00E8_EAED);
/// Text of less weight, axes.
pub(super) static MUTED: Ink = ink("muted", 0x005B_616B, 0x00A4_ABB6);
/// Lines of the mesh.
pub(super) static MESH: Ink = ink("mesh", 0x00E2_E5EA, 0x002C_323C);
/// The band of noise.
pub(super) static BAND: Ink = ink("band", 0x00D9_DDE3, 0x003A_414C);
/// What is under a plot, and between its areas.
pub(super) static PAPER: Ink = ink("paper", 0x00FF_FFFF, 0x0014_171C);
/// Letters on a dark area.
pub(super) static ON_DARK: Ink = ink("on-dark", 0x00FD_FDFD, 0x00FD_FDFD);
/// Letters on a light area.
pub(super) static ON_LIGHT: Ink = ink("on-light", 0x0010_1010, 0x0010_1010);
/// The limit that a reader looks for.
pub(super) static LIMIT: Ink = ink("limit", 0x00A0_0000, 0x00FF_8A80);

/// The pairs: Okabe and Ito's colours, which differ for every kind of eye, those first that are best seen on white;
/// on black they are lightened.
static SERIES: [Ink; 6] = [
    dashed("series-1", 0x0000_72B2, 0x0056_B4E9, ""),
    dashed("series-2", 0x00D5_5E00, 0x00FF_9248, "9 4"),
    dashed("series-3", 0x0000_9E73, 0x002F_CFA0, "3 3"),
    dashed("series-4", 0x00CC_79A7, 0x00EB_A9CD, "11 3 3 3"),
    dashed("series-5", 0x00E6_9F00, 0x00FF_C94D, "16 4"),
    dashed("series-6", 0x0056_B4E9, 0x00B5_E1FA, "5 2 1 2"),
];

/// What is no pair.
static FLOORS: [Ink; 2] = [
    dashed("floor-1", 0x006E_747E, 0x009A_A2AE, "2 5"),
    dashed("floor-2", 0x0030_343B, 0x00D0_D5DC, "6 6"),
];

/// The phases of a handshake, one after the other: from dark to light, so that they differ in grey as well.
pub(super) static PHASES: [Ink; 5] = [
    ink("phase-1", 0x0044_2A6B, 0x006A_4C9C),
    ink("phase-2", 0x003B_5B9B, 0x004B_74BE),
    ink("phase-3", 0x0023_938F, 0x002E_A5A0),
    ink("phase-4", 0x0073_C76A, 0x007F_D676),
    ink("phase-5", 0x00F4_DF3F, 0x00F7_E55A),
];

/// Which arm a mark stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    /// A pair, by its number in the run.
    Pair(usize),
    /// A floor, by whether it uses segmentation.
    Floor(bool),
}

impl Series {
    /// Its colour.
    pub(super) fn ink(self) -> &'static Ink {
        match self {
            Self::Pair(n) => &SERIES[n % SERIES.len()],
            Self::Floor(segmentation) => &FLOORS[usize::from(segmentation)],
        }
    }

    /// Its mark around a point.
    pub(super) fn mark(self, canvas: &Canvas<'_>, (x, y): (i32, i32)) -> Drawn {
        let ink = self.ink();
        let shape = |points: &[(i32, i32)]| {
            let points: Vec<_> = points.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
            canvas.draw(&Polygon::new(points, ink.filled()))
        };
        match self {
            // Where the colours begin again, the marks are others.
            Self::Pair(n) => match (n + n / SERIES.len()) % SERIES.len() {
                0 => canvas.draw(&Circle::new((x, y), 4, ink.filled())),
                1 => shape(&[(-4, -4), (4, -4), (4, 4), (-4, 4)]),
                2 => shape(&[(0, -5), (5, 4), (-5, 4)]),
                3 => shape(&[(0, -6), (6, 0), (0, 6), (-6, 0)]),
                4 => shape(&[(0, 5), (5, -4), (-5, -4)]),
                _ => shape(&[(-6, -2), (6, -2), (6, 2), (-6, 2)]),
            },
            Self::Floor(_) => canvas.draw(&Circle::new((x, y), 3, ink.stroke(2))),
        }
    }
}

impl Ink {
    /// An area.
    pub(super) fn filled(&self) -> ShapeStyle {
        self.light.filled()
    }

    /// A line.
    pub(super) fn stroke(&self, width: u32) -> ShapeStyle {
        self.light.stroke_width(width)
    }

    /// Letters of this many pixels, and on which side of a point they are.
    pub(super) fn text(&'static self, size: f64, h: HPos, v: VPos) -> TextStyle<'static> {
        // plotters divides by this what it is given.
        let font = ("sans-serif", size * 1.24).into_font();
        TextStyle::from(font).color(&self.light).pos(Pos::new(h, v))
    }
}

/// What makes plots follow the page: a custom property for each ink, and rules that use it. Paper stays light.
pub(super) fn style() -> String {
    let single = [&TEXT, &MUTED, &MESH, &BAND, &PAPER, &ON_DARK, &ON_LIGHT, &LIMIT];
    let inks = || single.into_iter().chain(&SERIES).chain(&FLOORS).chain(&PHASES);
    let hex = |RGBColor(r, g, b): RGBColor| format!("#{r:02X}{g:02X}{b:02X}");
    let properties = |colour: fn(&Ink) -> RGBColor| -> String {
        inks().fold(String::new(), |css, ink| {
            format!("{css}--{}:{};", ink.name, hex(colour(ink)))
        })
    };
    let mut css = format!(
        ":root{{{}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n",
        properties(|ink| ink.light),
        properties(|ink| ink.dark)
    );
    for ink in inks() {
        let (name, light, dashes) = (ink.name, hex(ink.light), ink.dashes);
        for attribute in ["fill", "stroke"] {
            // Writing to a string does not fail.
            let _ = writeln!(css, "svg [{attribute}=\"{light}\"]{{{attribute}:var(--{name})}}");
        }
        if !dashes.is_empty() {
            let _ = writeln!(
                css,
                "svg polyline[stroke=\"{light}\"]{{stroke-dasharray:{dashes}}}"
            );
        }
    }
    css
}

const fn ink(name: &'static str, light: u32, dark: u32) -> Ink {
    dashed(name, light, dark, "")
}

const fn dashed(name: &'static str, light: u32, dark: u32, dashes: &'static str) -> Ink {
    Ink {
        name,
        light: rgb(light),
        dark: rgb(dark),
        dashes,
    }
}

const fn rgb(hex: u32) -> RGBColor {
    let [_, r, g, b] = hex.to_be_bytes();
    RGBColor(r, g, b)
}
