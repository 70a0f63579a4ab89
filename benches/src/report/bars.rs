//! Handshakes as bars: a phase after the other, all on one axis of time.

use super::{
    axis::Axis,
    canvas::{Canvas, Drawn, Picture, WIDTH, text_width},
    inks::{MESH, MUTED, ON_DARK, ON_LIGHT, PAPER, PHASES, TEXT},
};
use crate::{metric::Metric, scenario::handshake::Phase, words::short};
use plotters::{
    chart::ChartBuilder,
    element::Rectangle,
    style::text_anchor::{HPos, VPos},
};

/// Room for the arms' names.
const LEFT: i32 = 196;
/// Room for the totals.
const RIGHT: i32 = 86;
const TOP: i32 = 42;
const BOTTOM: i32 = 54;
/// From one bar to the next.
const LINE: i32 = 27;
const HEADING: i32 = 32;

/// The bars of one row.
#[derive(Debug)]
pub(super) struct Group {
    /// What was measured.
    pub(super) title: String,
    /// Arm by arm.
    pub(super) bars: Vec<Bar>,
}

/// One arm.
#[derive(Debug)]
pub(super) struct Bar {
    /// Its name.
    pub(super) name: String,
    /// Milliseconds of each phase.
    pub(super) phases: [f64; Phase::ALL.len()],
    /// The median of the whole.
    pub(super) total: f64,
}

/// The plot; `None` if there is nothing in it.
pub(super) fn draw(groups: &[Group]) -> Option<Picture> {
    let ends = groups
        .iter()
        .flat_map(|group| &group.bars)
        .map(|bar| bar.phases.iter().sum());
    let axis = Axis::linear("time since the call was entered, ms", ends)?;
    let lines: i32 = groups
        .iter()
        .map(|group| HEADING + group.bars.iter().map(|_| LINE).sum::<i32>())
        .sum();
    let height = TOP + lines + BOTTOM + 6;
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
    let x = |ms: f64| chart.backend_coord(&(ms, 0.0)).0;
    let title = TEXT.text(13.0, HPos::Center, VPos::Center);
    let middle = i32::midpoint(LEFT, WIDTH.cast_signed() - RIGHT);
    canvas.draw_text(axis.title(), &title, (middle, height - 14))?;
    legend(canvas)?;
    let mut y = TOP;
    for group in groups {
        let heading = TEXT.text(13.0, HPos::Left, VPos::Center);
        // On paper, so that the mesh does not cross the letters.
        let end = 14 + text_width(&group.title, 13.0);
        canvas.draw(&Rectangle::new([(8, y + 8), (end, y + 28)], PAPER.filled()))?;
        canvas.draw_text(&group.title, &heading, (8, y + 18))?;
        y += HEADING;
        for bar in &group.bars {
            let name = MUTED.text(13.0, HPos::Right, VPos::Center);
            canvas.draw_text(&bar.name, &name, (LEFT - 10, y + LINE / 2))?;
            let mut begin = 0.0;
            for (n, took) in bar.phases.iter().enumerate() {
                let (from, to) = (x(begin), x(begin + took));
                begin += took;
                let area = [(from, y + 3), (to, y + LINE - 3)];
                canvas.draw(&Rectangle::new(area, PHASES[n].filled()))?;
                if n > 0 && to - from > 2 {
                    // A gap, which shows without colours as well.
                    let gap = [(from, y + 3), (from + 1, y + LINE - 3)];
                    canvas.draw(&Rectangle::new(gap, PAPER.filled()))?;
                }
                let text = short(*took);
                if to - from > text_width(&text, 12.0) + 8 {
                    let ink = if n < 2 { &ON_DARK } else { &ON_LIGHT };
                    let at = (i32::midpoint(from, to), y + LINE / 2);
                    canvas.draw_text(&text, &ink.text(12.0, HPos::Center, VPos::Center), at)?;
                }
            }
            let total = TEXT.text(13.0, HPos::Left, VPos::Center);
            let text = format!("{} ms", short(bar.total));
            canvas.draw_text(&text, &total, (x(begin) + 8, y + LINE / 2))?;
            y += LINE;
        }
    }
    Ok(())
}

/// The phases' names, from left to right as in the bars.
fn legend(canvas: &Canvas<'_>) -> Drawn {
    let mut x = 8;
    for (phase, ink) in Phase::ALL
        .map(Phase::metric)
        .map(Metric::title)
        .into_iter()
        .zip(&PHASES)
    {
        canvas.draw(&Rectangle::new([(x, 9), (x + 16, 23)], ink.filled()))?;
        canvas.draw_text(phase, &TEXT.text(13.0, HPos::Left, VPos::Center), (x + 23, 16))?;
        x += 23 + text_width(phase, 13.0) + 26;
    }
    Ok(())
}
