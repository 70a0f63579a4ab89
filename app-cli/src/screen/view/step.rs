//! What the selected step is for, and what was sent in it.

use super::{Theme, label};
use crate::{
    screen::{model::Model, timeline::SIDES},
    steps,
};
use ratatui::{
    buffer::Buffer,
    layout::{Margin, Rect},
    text::{Line, Span},
    widgets::{Paragraph, Widget, Wrap},
};

/// Draws the pane, scrolled.
pub(super) fn draw(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer) {
    let area = area.inner(Margin::new(1, 0));
    let mark = model.steps.mark();
    let mut heading = vec![Span::styled(label(mark), Theme::STRONG)];
    for side in SIDES {
        if let Some(at) = model.steps.at(side, mark) {
            let when = format!("  {side} at {at:.2} ms");
            heading.push(Span::styled(when, theme.side(side)));
        }
    }
    let mut lines = vec![Line::from(heading)];
    if let Some((step, side, reason)) = &model.steps.failure
        && *step == mark
    {
        lines.push(Line::styled(
            format!("The {side} did not get here: {reason}"),
            theme.bad(),
        ));
        lines.push(Line::raw(format!("What to try: {}", steps::advice(mark.name()))));
    }
    let mut said = "";
    for side in SIDES {
        let sentence = steps::sentence(side, mark, model.setup.ice);
        // What is the same for both sides is said once.
        if sentence != said && !sentence.is_empty() {
            lines.push(Line::raw(sentence));
        }
        said = sentence;
    }
    let material = model.steps.material(mark);
    if !material.is_empty() {
        lines.push(Line::default());
    }
    lines.extend(material.into_iter().map(Line::raw));
    let wrapped: usize = lines
        .iter()
        .map(|line| line.width().div_ceil(usize::from(area.width.max(1))).max(1))
        .sum();
    let most = wrapped.saturating_sub(usize::from(area.height));
    Paragraph::new(lines)
        .wrap(Wrap { trim: false })
        .scroll((model.scroll_of(super::Tab::Step).min(most) as u16, 0))
        .render(area, buf);
}
