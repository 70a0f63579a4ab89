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
const NAMES: u16 = 20;
const NUMBERS: u16 = 10;

/// Where the bars are.
fn axis(area: Rect) -> Rect {
    let width = area.width.saturating_sub(NAMES + 2 * NUMBERS + 1);
    Rect::new(area.x + NAMES, area.y, width, 1)
}

/// Draws a row a step.
pub(super) fn draw_rows(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer, targets: &mut Targets) {
    let steps = &model.steps;
    let axis = axis(area);
    let rows = usize::from(area.height);
    let skipped = (steps.selected + 1).saturating_sub(rows);
    let longest = SIDES.map(|side| steps.longest(side).map(|(mark, _)| mark));
    for (index, mark) in ROWS.into_iter().enumerate().skip(skipped).take(rows) {
        let y = area.y + (index - skipped) as u16;
        let row = Rect::new(area.x, y, area.width, 1);
        if index == steps.selected {
            buf.set_style(row, theme.selected());
        }
        targets.add(row, Action::Select(index));
        let failed = steps.failure.as_ref().is_some_and(|(step, ..)| *step == mark);
        let style = if failed { theme.bad() } else { Style::new() };
        let mine = index == steps.selected && model.tab == Tab::Timeline;
        let cursor = if mine { "›" } else { " " };
        buf.set_string(row.x, y, format!("{cursor}{}", label(mark)), style);
        draw_bars(steps, mark, theme, Rect { y, ..axis }, buf);
        for side in SIDES {
            let x = axis.right() + 1 + NUMBERS * side as u16;
            let is_longest = longest[side as usize] == Some(mark);
            draw_number(steps, side, mark, is_longest, theme, (x, y), buf);
        }
    }
    if rows > ROWS.len() {
        let y = area.y + ROWS.len() as u16;
        draw_longest(model, theme, Rect::new(area.x, y, area.width, 1), buf);
    }
}

/// Draws over a bar above the rows where the axis ends, and whose numbers are whose.
pub(super) fn draw_heads(model: &Model, style: Style, area: Rect, buf: &mut Buffer) {
    let axis = axis(area);
    if !model.steps.is_empty() {
        let end = format!(" {:.1} ms ", model.steps.span());
        Line::styled(end, style).right_aligned().render(axis, buf);
    }
    for side in SIDES {
        let x = axis.right() + 1 + NUMBERS * side as u16;
        let heading = format!("{:>9} ", model.setup.stacks[side as usize]);
        buf.set_stringn(x, area.y, heading, usize::from(NUMBERS), style);
    }
}

/// Draws which step took each side longest.
fn draw_longest(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer) {
    let mut spans = vec![Span::styled(" ◂ longest:", theme.dim())];
    for side in SIDES {
        let Some((mark, ms)) = model.steps.longest(side) else {
            return;
        };
        let stack = model.setup.stacks[side as usize];
        spans.push(Span::styled(
            format!("  {} {ms:.2} ms on {stack}", label(mark)),
            theme.side(side),
        ));
    }
    let line = Line::from(spans);
    // A part of it would mislead.
    if line.width() <= usize::from(area.width) {
        line.render(area, buf);
    }
}

/// Both sides' bars in one row.
fn draw_bars(steps: &Steps, mark: Mark, theme: Theme, area: Rect, buf: &mut Buffer) {
    let span = steps.span();
    if span <= 0.0 || area.width == 0 {
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
    if bars.iter().flatten().any(|(.., beyond)| *beyond)
        || SIDES
            .iter()
            .any(|side| steps.bar(*side, mark).is_some_and(|(begin, _)| begin > span))
    {
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
        Some(ms) if ms >= 1_000.0 => format!("{ms:>9.0}"),
        Some(ms) => format!("{ms:>9.2}"),
        // Only one side makes an offer, and an answer; only one side gets pictures when they go one way.
        None => String::new(),
    };
    let style = if is_longest {
        theme.side(side).patch(Theme::STRONG)
    } else {
        theme.side(side)
    };
    buf.set_string(x, y, text, style);
    if is_longest {
        buf.set_string(x + NUMBERS - 1, y, "◂", style);
    }
}
