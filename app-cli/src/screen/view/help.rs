//! The keys.

use super::Theme;
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Flex, Layout, Rect},
    text::{Line, Span},
    widgets::{Block, Clear, Padding, Paragraph, Widget},
};

/// Each key and what it does.
const KEYS: [(&str, &str); 18] = [
    ("s  c  h", "Start, Call, Hang Up; Space: the enabled one"),
    ("1 … 5, Tab", "timeline, step, figures, chat, log"),
    ("↑ ↓", "select a step, scroll a text"),
    ("Enter", "explain the step; ← → other steps"),
    ("z", "the axis: handshake, or first picture too"),
    ("◂", "the side's longest step of the handshake"),
    ("t", "type a text for the data channel"),
    ("", ""),
    ("o  a", "offerer's stack, answerer's (between calls)"),
    ("k", "codec (between calls)"),
    ("w  i", "one way or both; ICE mode (between calls)"),
    ("v  m", "pictures from, sound from (also in a call)"),
    ("+  -", "more bits a second, fewer (also in a call)"),
    ("r", "record what arrives, and stop"),
    ("", ""),
    ("Ctrl-L", "draw everything anew"),
    ("Ctrl-Z", "suspend; `fg` goes on"),
    ("q, Ctrl-C", "quit"),
];

/// Draws the help over everything else.
pub(super) fn draw(area: Rect, buf: &mut Buffer) {
    let lines: Vec<_> = KEYS
        .iter()
        .map(|(key, what)| {
            Line::from(vec![
                Span::styled(format!("{key:<12}"), Theme::STRONG),
                Span::raw(*what),
            ])
        })
        .collect();
    let height = lines.len() as u16 + 2;
    let [area] = Layout::vertical([Constraint::Length(height)])
        .flex(Flex::Center)
        .areas(area);
    let [area] = Layout::horizontal([Constraint::Length(60)])
        .flex(Flex::Center)
        .areas(area);
    Clear.render(area, buf);
    let block = Block::bordered()
        .title(" Help: any key closes it ")
        .padding(Padding::horizontal(1));
    Paragraph::new(lines).block(block).render(area, buf);
}
