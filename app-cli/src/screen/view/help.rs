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
    ("s  c  h", "Start, Call, Hang Up; Space presses the enabled one"),
    ("1 … 5, Tab", "the panes: timeline, step, figures, chat, log"),
    ("↑ ↓", "select a step, scroll a text"),
    ("Enter", "explain the selected step; ← → go to the next"),
    ("z", "the timeline ends with the handshake, or the first picture"),
    ("◂", "marks the step of the handshake that took a side longest"),
    ("t", "type a text to send over the data channel"),
    ("", ""),
    ("o  a", "the offerer's stack, the answerer's (between calls)"),
    ("k", "the codec (between calls)"),
    ("w  i", "one way or both; trickle or full ICE (between calls)"),
    ("v  m", "the source of pictures, of sound (also in a call)"),
    ("+  -", "more bits a second, or fewer (also in a call)"),
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
    let [area] = Layout::horizontal([Constraint::Length(76)])
        .flex(Flex::Center)
        .areas(area);
    Clear.render(area, buf);
    let block = Block::bordered()
        .title(" Help: any key closes it ")
        .padding(Padding::horizontal(1));
    Paragraph::new(lines).block(block).render(area, buf);
}
