//! The handshake as bars on one time axis: the upper half of a row is the offerer's, the lower half the answerer's.

use super::{Targets, Theme, label};
use crate::screen::{
    model::{Action, Model, Tab},
    timeline::{ROWS, SIDES, Steps},
};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Widget,
};
use visavis_core::{Mark, Side};

/// The width of the names, and of a side's milliseconds.
const NAMES: u16 = 19;
const NUMBERS: u16 = 8;

/// Draws the pane: the axis, and a row a step.
pub(super) fn draw(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer, targets: &mut Targets) {
    let steps = &model.steps;
    if area.height < 2 || area.width < NAMES + 2 * NUMBERS + 10 {
        return;
    }
    let axis = Rect::new(
        area.x + NAMES,
        area.y,
        area.width - NAMES - 2 * NUMBERS - 1,
        1,
    );
    draw_axis(model, theme, axis, area, buf);
    let rows = usize::from(area.height - 1);
    let skipped = (steps.selected + 1).saturating_sub(rows);
    let longest = SIDES.map(|side| steps.longest(side).map(|(mark, _)| mark));
    for (index, mark) in ROWS.into_iter().enumerate().skip(skipped).take(rows) {
        let y = area.y + 1 + (index - skipped) as u16;
        let row = Rect::new(area.x, y, area.width, 1);
        if index == steps.selected {
            buf.set_style(row, theme.selected());
        }
        targets.add(row, Action::Select(index));
        let failed = steps.failure.as_ref().is_some_and(|(step, ..)| *step == mark);
        let style = if failed { theme.bad() } else { Style::new() };
        let cursor = if index == steps.selected && model.tab == Tab::Timeline { "›" } else { " " };
        buf.set_string(row.x, y, format!("{cursor}{}", label(mark)), style);
        draw_bars(steps, mark, theme, Rect { y, ..axis }, buf);
        for side in SIDES {
            let x = axis.right() + 1 + NUMBERS * side as u16;
            let is_longest = longest[side as usize] == Some(mark);
            draw_number(steps, side, mark, is_longest, theme, (x, y), buf);
        }
    }
}

/// 0, the end, and whose numbers are whose; or which step took longest.
fn draw_axis(model: &Model, theme: Theme, axis: Rect, area: Rect, buf: &mut Buffer) {
    let steps = &model.steps;
    if steps.is_empty() {
        Line::styled(" Call shows here which side takes how long for what.", theme.dim()).render(area, buf);
        return;
    }
    let of = |side: Side| {
        let (mark, ms) = steps.longest(side)?;
        Some((side, label(mark), ms))
    };
    let mut spans = vec![Span::styled("0", theme.dim())];
    let longest: Vec<_> = SIDES.into_iter().filter_map(of).collect();
    if longest.len() == 2 {
        spans.push(Span::styled(" longest:", theme.dim()));
        for (side, what, ms) in longest {
            spans.push(Span::styled(format!(" {what} {ms:.2}"), theme.side(side)));
        }
    }
    let line = Line::from(spans);
    let end = format!("{:.1} ms", steps.span());
    let room = usize::from(axis.width).saturating_sub(end.len() + 1);
    if line.width() <= room {
        line.render(axis, buf);
    } else {
        Line::styled("0", theme.dim()).render(axis, buf);
    }
    Line::styled(end, theme.dim()).right_aligned().render(axis, buf);
    for side in SIDES {
        let x = axis.right() + 1 + NUMBERS * side as u16;
        let heading = format!("{:>7}", model.setup.stacks[side as usize].get(..7).unwrap_or(model.setup.stacks[side as usize]));
        buf.set_string(x, axis.y, heading, theme.side(side));
    }
}

/// Both sides' bars in one row.
fn draw_bars(steps: &Steps, mark: Mark, theme: Theme, area: Rect, buf: &mut Buffer) {
    let span = steps.span();
    if span <= 0.0 {
        return;
    }
    let cell = |ms: f64| (ms / span * f64::from(area.width)) as u16;
    let bars = SIDES.map(|side| {
        let (begin, end) = steps.bar(side, mark)?;
        // What is shorter than a cell is one cell, at its end.
        let last = cell(end).min(area.width.saturating_sub(1));
        (begin <= span).then(|| (cell(begin).min(last), last, end > span))
    });
    for x in 0..area.width {
        let [top, bottom] = bars.map(|bar| bar.is_some_and(|(first, last, _)| (first..=last).contains(&x)));
        let [offerer, answerer] = SIDES.map(|side| theme.side(side));
        let (symbol, style) = match (top, bottom) {
            (true, true) if theme.has_colors() => ("▀", offerer.bg(answerer.fg.unwrap_or_default())),
            (true, true) => ("█", Style::new()),
            (true, false) => ("▀", offerer),
            (false, true) => ("▄", answerer),
            (false, false) => continue,
        };
        buf.set_string(area.x + x, area.y, symbol, style);
    }
    if bars.iter().flatten().any(|(.., beyond)| *beyond) || SIDES.iter().any(|side| steps.bar(*side, mark).is_some_and(|(begin, _)| begin > span)) {
        buf.set_string(area.right() - 1, area.y, "▸", theme.dim());
    }
}

fn draw_number(
    steps: &Steps,
    side: Side,
    mark: Mark,
    is_longest: bool,
    theme: Theme,
    (x, y): (u16, u16),
    buf: &mut Buffer,
) {
    let text = match steps.took(side, mark) {
        Some(ms) if ms >= 1_000.0 => format!("{ms:>7.0}"),
        Some(ms) => format!("{ms:>7.2}"),
        // Only one side makes an offer, and an answer; only one side gets pictures when they go one way.
        None => String::new(),
    };
    let style = if is_longest {
        theme.side(side).patch(theme.strong())
    } else {
        theme.side(side)
    };
    buf.set_string(x, y, text, style);
    if is_longest {
        buf.set_string(x + NUMBERS - 1, y, "◂", style);
    }
}
