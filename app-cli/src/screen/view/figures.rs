//! Live figures as small graphs.

use super::Theme;
use crate::screen::{
    figures::{Series, Way},
    model::Model,
    timeline::{SIDES, other},
};
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{Sparkline, Widget},
};
use visavis_core::Side;

/// The width of a graph's name and number.
const WORDS: u16 = 28;

/// Draws the pane: a column a way, then the states of each side.
pub(super) fn draw(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer) {
    let figures = &model.figures;
    let ways: Vec<_> = SIDES
        .into_iter()
        .filter_map(|side| Some((side, figures.ways[side as usize].as_ref()?)))
        .collect();
    let [graphs, states] = Layout::vertical([Constraint::Fill(1), Constraint::Length(3)]).areas(area);
    if ways.is_empty() && figures.rtt_ms.last().is_none() {
        Line::styled(" Figures come with a call.", theme.dim()).render(graphs, buf);
        return;
    }
    let columns = Layout::horizontal(vec![Constraint::Fill(1); ways.len().max(1)])
        .spacing(1)
        .split(graphs);
    for (index, (side, way)) in ways.iter().enumerate() {
        draw_way(
            *side,
            way,
            (index == 0).then_some(&figures.rtt_ms),
            theme,
            columns[index],
            buf,
        );
    }
    if ways.is_empty() {
        graph(
            "round trip",
            "ms",
            &figures.rtt_ms,
            theme,
            Rect { height: 1, ..graphs },
            buf,
        );
    }
    for side in SIDES {
        let state = &figures.sides[side as usize];
        let states_of = format!(
            "signaling {}, ICE {}, DTLS {}",
            state.signaling, state.ice, state.dtls
        );
        let row = Rect::new(states.x, states.y + side as u16, states.width, 1);
        Line::from(vec![
            Span::styled(format!(" {:<10}", side.to_string()), theme.side(side)),
            Span::raw(states_of),
        ])
        .render(row, buf);
    }
    // The answerer's is the same, seen from the other end.
    if let Some(pair) = &figures.sides[Side::Offerer as usize].pair {
        let row = Rect::new(states.x, states.y + 2, states.width, 1);
        Line::raw(format!(" selected  {pair}")).render(row, buf);
    }
}

fn draw_way(side: Side, way: &Way, rtt: Option<&Series>, theme: Theme, area: Rect, buf: &mut Buffer) {
    let counts = way.counts;
    let pictures = counts.captured > 0;
    let graphs = [
        pictures.then_some(("pictures", "fps", &way.fps)),
        Some(("bitrate", "kbit/s", &way.kbps)),
        pictures.then_some(("age", "ms", &way.age_ms)),
        rtt.map(|rtt| ("round trip", "ms", rtt)),
        Some(("lost", "packets/s", &way.lost)),
        Some(("sent again", "packets/s", &way.sent_again)),
    ];
    let mut rows = area.rows();
    if let Some(row) = rows.next() {
        Line::styled(format!(" {side} to {}", other(side)), theme.side(side)).render(row, buf);
    }
    for ((name, unit, series), row) in graphs.into_iter().flatten().zip(&mut rows) {
        graph(name, unit, series, theme, row, buf);
    }
    if let Some(row) = rows.next() {
        let text = format!(
            " {} decoded of {}, {} of sound, {} packets lost, {} sent again",
            counts.decoded, counts.captured, counts.sound, counts.lost, counts.sent_again
        );
        Line::raw(text).render(row, buf);
    }
}

/// A name, the newest value, and the past.
fn graph(name: &str, unit: &str, series: &Series, theme: Theme, area: Rect, buf: &mut Buffer) {
    let value = series.last().map_or("-".to_owned(), |value| {
        if value < 10.0 {
            format!("{value:.2}")
        } else {
            format!("{value:.0}")
        }
    });
    buf.set_stringn(
        area.x,
        area.y,
        format!(" {name:<10} {value:>5} {unit}"),
        usize::from(area.width),
        ratatui::style::Style::new(),
    );
    if area.width <= WORDS {
        return;
    }
    let room = Rect::new(area.x + WORDS, area.y, area.width - WORDS, 1);
    // In hundredths, for a sparkline takes whole numbers; and half of its height is the largest value of the past.
    let data: Vec<u64> = series
        .newest(usize::from(room.width))
        .map(|value| (value * 100.0).max(0.0) as u64)
        .collect();
    let largest = data.iter().copied().max().unwrap_or(0);
    Sparkline::default()
        .data(data)
        .max((largest * 5 / 4).max(1))
        .style(theme.good())
        .render(room, buf);
}
