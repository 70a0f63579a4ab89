//! The conversation, and the log.

use super::Theme;
use crate::screen::model::{Model, Tab};
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::Widget,
};
use visavis_core::{PairState, Side};

/// Draws the conversation and the line that is being typed.
pub(super) fn draw(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer) {
    let [said, typed] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    let lines = model.chat.lines.iter().map(|line| {
        let echo = match line.rtt_ms {
            Some(ms) => Span::styled(format!("  came back after {ms:.2} ms"), theme.good()),
            None => Span::styled("  under way", theme.dim()),
        };
        Line::from(vec![
            Span::styled(" you: ", theme.side(Side::Offerer)),
            Span::raw(line.text.clone()),
            echo,
        ])
    });
    tail(lines, model.scroll_of(Tab::Chat), said, buf);
    let line = match (&model.chat.typed, model.state) {
        (Some(text), _) => Line::from(vec![
            Span::styled(" > ", Theme::STRONG),
            Span::raw(text.clone()),
            Span::styled("▏", Theme::STRONG),
        ]),
        (None, PairState::InCall) => Line::styled(" t or Enter: say something", theme.dim()),
        (None, _) => Line::styled(" a text needs a call", theme.dim()),
    };
    // The end of what is typed is what one looks at.
    let hidden = line.width().saturating_sub(usize::from(typed.width));
    ratatui::widgets::Paragraph::new(line)
        .scroll((0, hidden as u16))
        .render(typed, buf);
}

/// Draws the log.
pub(super) fn draw_log(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer) {
    let lines = model.log.iter().map(|line| {
        let bad = line.starts_with("error") || line.contains("ERROR");
        let style = if bad { theme.bad() } else { Style::new() };
        Line::styled(format!(" {line}"), style)
    });
    tail(lines, model.scroll_of(Tab::Log), area, buf);
}

/// The last lines that have room, but for as many as are scrolled past.
fn tail<'a>(lines: impl ExactSizeIterator<Item = Line<'a>>, scroll: usize, area: Rect, buf: &mut Buffer) {
    let rows = usize::from(area.height);
    let past = lines.len().saturating_sub(rows);
    for (row, line) in lines.skip(past - scroll.min(past)).take(rows).enumerate() {
        line.render(Rect::new(area.x, area.y + row as u16, area.width, 1), buf);
    }
}
