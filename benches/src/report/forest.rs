//! Ratios with their intervals, and the noise that they must be clear of.

use super::{
    axis::Axis,
    canvas::{self, Canvas, Drawn, Picture, WIDTH, text_width},
    inks::{BAND, MESH, MUTED, PAPER, TEXT},
    tables::times,
};
use crate::{metric::Better, stats::Estimate, summary::Verdict};
use plotters::{
    chart::ChartBuilder,
    element::{Circle, Polygon, Rectangle},
    style::text_anchor::{HPos, VPos},
};

/// Room for the arms' names.
const LEFT: i32 = 214;
/// Room for the numbers.
const RIGHT: i32 = 226;
const TOP: i32 = 6;
const BOTTOM: i32 = 54;
/// From one ratio to the next.
const LINE: i32 = 22;
const HEADING: i32 = 34;

/// The ratios of one row.
#[derive(Debug)]
pub(super) struct Group {
    /// What was measured.
    pub(super) title: String,
    /// Whether the number should be small or large.
    pub(super) better: Better,
    /// The factor within which a pair differs from itself; 1 if that is not known.
    pub(super) noise: f64,
    /// Arm by arm.
    pub(super) ratios: Vec<Ratio>,
}

/// One arm against the first.
#[derive(Debug)]
pub(super) struct Ratio {
    /// Its name.
    pub(super) name: String,
    /// How many times the first arm's number it is; the interval is widened by the noise.
    pub(super) times: Estimate,
    /// Whether that is clear of the noise.
    pub(super) verdict: Verdict,
}

/// The plot; `None` if there is nothing in it.
pub(super) fn draw(groups: &[Group]) -> Option<Picture> {
    let ratios = groups.iter().flat_map(|group| &group.ratios);
    let bands = groups.iter().flat_map(|group| [1.0 / group.noise, group.noise]);
    let values = ratios
        .flat_map(|ratio| [ratio.times.low, ratio.times.high])
        .chain(bands);
    if groups.iter().all(|group| group.ratios.is_empty()) {
        return None;
    }
    let axis = Axis::log("times the number of the first arm, logarithmic", values)?;
    let lines: i32 = groups
        .iter()
        .map(|group| HEADING + group.ratios.iter().map(|_| LINE).sum::<i32>())
        .sum();
    let height = TOP + lines + BOTTOM + 8;
    Picture::draw(height as u32, |canvas| plot(canvas, groups, &axis, height))
}

fn plot(canvas: &Canvas<'_>, groups: &[Group], axis: &Axis, height: i32) -> Drawn {
    let mut chart = ChartBuilder::on(canvas)
        .margin_top(TOP)
        .margin_bottom(26)
        .margin_left(LEFT)
        .margin_right(RIGHT)
        .x_label_area_size(BOTTOM - 26)
        .build_cartesian_2d(axis.clone(), 0.0..1.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .bold_line_style(MESH.stroke(1))
        .axis_style(MUTED.stroke(1))
        .label_style(MUTED.text(13.0, HPos::Center, VPos::Center))
        .draw()?;
    let x = |ratio: f64| chart.backend_coord(&(ratio, 0.0)).0;
    let title = TEXT.text(13.0, HPos::Center, VPos::Center);
    let middle = i32::midpoint(LEFT, WIDTH.cast_signed() - RIGHT);
    canvas.draw_text(axis.title(), &title, (middle, height - 14))?;
    let mut y = TOP;
    for group in groups {
        let better = match group.better {
            Better::Less => "less is better",
            Better::More => "more is better",
        };
        let heading = format!("{} ({better})", group.title);
        let end = 14 + text_width(&heading, 13.0);
        canvas.draw(&Rectangle::new([(8, y + 8), (end, y + 30)], PAPER.filled()))?;
        canvas.draw_text(&heading, &TEXT.text(13.0, HPos::Left, VPos::Center), (8, y + 20))?;
        y += HEADING;
        let bottom = y + group.ratios.iter().map(|_| LINE).sum::<i32>();
        let band = [(x(1.0 / group.noise), y), (x(group.noise), bottom)];
        canvas.draw(&Rectangle::new(band, BAND.filled()))?;
        canvas::line(canvas, (x(1.0), y), (x(1.0), bottom), MUTED.stroke(1))?;
        for ratio in &group.ratios {
            arm(canvas, ratio, group.noise, y + LINE / 2, &x)?;
            y += LINE;
        }
    }
    Ok(())
}

/// One arm: its name, its interval, and the numbers.
fn arm(canvas: &Canvas<'_>, arm: &Ratio, noise: f64, y: i32, x: &impl Fn(f64) -> i32) -> Drawn {
    let Ratio {
        name,
        times: ratio,
        verdict,
    } = arm;
    let text = MUTED.text(13.0, HPos::Right, VPos::Center);
    canvas.draw_text(name, &text, (LEFT - 10, y))?;
    // The noise is the band, so the interval is drawn without it.
    let (low, high) = (x(ratio.low * noise), x(ratio.high / noise));
    canvas::line(canvas, (low, y), (high, y), TEXT.stroke(2))?;
    for end in [low, high] {
        canvas::line(canvas, (end, y - 4), (end, y + 4), TEXT.stroke(1))?;
    }
    let at = x(ratio.value);
    let shape = |tip: i32| {
        let points = vec![(at, y + tip), (at + 6, y - tip), (at - 6, y - tip)];
        canvas.draw(&Polygon::new(points, TEXT.filled()))
    };
    let word = match verdict {
        Verdict::Better => {
            shape(-5)?;
            "better"
        }
        Verdict::Worse => {
            shape(5)?;
            "worse"
        }
        Verdict::Unclear => {
            canvas.draw(&Circle::new((at, y), 4, PAPER.filled()))?;
            canvas.draw(&Circle::new((at, y), 4, TEXT.stroke(2)))?;
            ""
        }
    };
    let Estimate { value, low, high } = *ratio;
    let numbers = format!("× {} [{}–{}]", times(value), times(low), times(high));
    let right = WIDTH.cast_signed() - RIGHT + 14;
    let text = TEXT.text(13.0, HPos::Left, VPos::Center);
    canvas.draw_text(&numbers, &text, (right, y))?;
    canvas.draw_text(word, &text, (right + 150, y))
}
