//! Lines over two axes, each named at its end.

use super::{
    axis::Axis,
    canvas::{self, Canvas, Drawn, Picture, WIDTH},
    inks::{LIMIT, MESH, MUTED, Series, TEXT},
};
use plotters::{
    chart::ChartBuilder,
    element::{PathElement, Rectangle},
    style::text_anchor::{HPos, VPos},
};

const HEIGHT: u32 = 400;
const TOP: u32 = 34;
const LEFT: u32 = 64;
/// Room for the labels of the horizontal axis, and for its title.
const BOTTOM: [u32; 2] = [28, 26];
/// Room for the names.
const RIGHT: u32 = 206;
/// From one name to the next.
const LINE: i32 = 21;

/// Lines over two axes.
#[derive(Debug)]
pub(super) struct Chart {
    /// The horizontal axis.
    pub(super) x: Axis,
    /// The vertical one.
    pub(super) y: Axis,
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// A value of the vertical axis with a line of its own, and what it means.
    pub(super) limit: Option<(f64, &'static str)>,
    /// Whether the lines are named in their order, from the top; otherwise each next to its end.
    pub(super) listed: bool,
}

/// A line with a name.
#[derive(Debug)]
pub(super) struct Line {
    /// The name.
    pub(super) name: String,
    /// Which arm it is.
    pub(super) series: Series,
    /// Its points, from left to right.
    pub(super) points: Vec<Point>,
    /// Whether its points have marks.
    pub(super) marks: bool,
}

/// A value and how sure it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// On the horizontal axis.
    pub(super) x: f64,
    /// On the vertical axis.
    pub(super) y: f64,
    /// The lower and the upper end of what it may be.
    pub(super) interval: Option<(f64, f64)>,
}

impl Chart {
    /// The plot; `None` if there is nothing in it.
    pub(super) fn draw(&self) -> Option<Picture> {
        let empty = self.lines.iter().all(|line| line.points.is_empty());
        (!empty).then(|| Picture::draw(HEIGHT, |canvas| self.plot(canvas)))?
    }

    fn plot(&self, canvas: &Canvas<'_>) -> Drawn {
        let mut chart = ChartBuilder::on(canvas)
            .margin_top(TOP)
            .margin_bottom(BOTTOM[1])
            .margin_right(RIGHT)
            .x_label_area_size(BOTTOM[0])
            .y_label_area_size(LEFT)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let label = MUTED.text(13.0, HPos::Center, VPos::Center);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(MESH.stroke(1))
            .axis_style(MUTED.stroke(1))
            .label_style(label)
            .draw()?;
        let (left, right) = (LEFT.cast_signed(), (WIDTH - RIGHT).cast_signed());
        let at = |x: f64, y: f64| chart.backend_coord(&(x, y));
        canvas.draw_text(
            self.y.title(),
            &TEXT.text(13.0, HPos::Left, VPos::Center),
            (8, 12),
        )?;
        canvas.draw_text(
            self.x.title(),
            &TEXT.text(13.0, HPos::Center, VPos::Center),
            (i32::midpoint(left, right), HEIGHT.cast_signed() - 14),
        )?;
        if let Some((value, meaning)) = self.limit.filter(|(value, _)| self.y.holds(*value)) {
            let (_, y) = at(0.0, value);
            canvas::line(canvas, (left, y), (right, y), LIMIT.stroke(1))?;
            let text = LIMIT.text(12.0, HPos::Left, VPos::Bottom);
            canvas.draw_text(meaning, &text, (left + 8, y - 3))?;
        }
        for line in &self.lines {
            let ink = line.series.ink();
            let points: Vec<_> = line.points.iter().map(|p| at(p.x, p.y)).collect();
            for ((x, _), point) in points.iter().zip(&line.points) {
                if let Some((low, high)) = point.interval {
                    let ends = [at(point.x, high).1, at(point.x, low).1];
                    // A narrow area, for a line would be dashed.
                    let bar = [(x - 1, ends[0]), (x + 1, ends[1])];
                    canvas.draw(&Rectangle::new(bar, ink.filled()))?;
                }
            }
            canvas.draw(&PathElement::new(points.clone(), ink.stroke(2)))?;
            for point in points.into_iter().filter(|_| line.marks) {
                line.series.mark(canvas, point)?;
            }
        }
        for (line, y) in self.names(|point| at(point.x, point.y).1) {
            let (from, to) = (right + 12, right + 42);
            canvas::line(canvas, (from, y), (to, y), line.series.ink().stroke(2))?;
            if line.marks {
                line.series.mark(canvas, (i32::midpoint(from, to), y))?;
            }
            let text = TEXT.text(13.0, HPos::Left, VPos::Center);
            canvas.draw_text(&line.name, &text, (to + 8, y))?;
        }
        Ok(())
    }

    /// The lines and where their names are: as near to their ends as there is room.
    fn names(&self, y: impl Fn(&Point) -> i32) -> Vec<(&Line, i32)> {
        let (top, bottom) = (TOP.cast_signed(), (HEIGHT - BOTTOM[0] - BOTTOM[1]).cast_signed());
        let ends = self
            .lines
            .iter()
            .filter_map(|line| Some((line, line.points.last()?)));
        let mut names: Vec<_> = ends
            .map(|(line, end)| (line, if self.listed { top } else { y(end) }))
            .collect();
        names.sort_by_key(|(_, y)| *y);
        let mut free = top + 6;
        for (_, y) in &mut names {
            *y = (*y).max(free);
            free = *y + LINE;
        }
        // Those that were pushed out below push the others up again.
        let mut free = bottom - 4;
        for (_, y) in names.iter_mut().rev() {
            *y = (*y).min(free);
            free = *y - LINE;
        }
        names
    }
}
