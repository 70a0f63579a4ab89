//! Draws the model. Nothing here waits, asks or remembers.

mod chat;
mod figures;
mod help;
mod step;
mod theme;
mod timeline;

pub(crate) use theme::Theme;

use super::{
    model::{Action, Change, Model, Notice, Tab},
    setup::{audio_name, video_name},
    timeline::SIDES,
};
use crate::steps;
use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Constraint, Layout, Margin, Position, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph, Widget, Wrap},
};
use std::time::Duration;
use visavis_core::{IceMode, PairState, Side};

/// Less than this cannot show what there is to show.
const LEAST: (u16, u16) = (60, 20);

/// The panes below the pictures have this many rows at least, and all are seen at once from this size on.
const PANES: u16 = 13;
const ALL_AT_ONCE: (u16, u16) = (120, 36);

/// What can be clicked, the topmost last.
#[derive(Debug, Default, Clone)]
pub(crate) struct Targets(Vec<(Rect, Action)>);

impl Targets {
    fn add(&mut self, area: Rect, action: Action) {
        self.0.push((area, action));
    }

    /// What is at this place.
    pub(crate) fn at(&self, column: u16, row: u16) -> Option<Action> {
        let position = Position::new(column, row);
        let hit = self.0.iter().rev().find(|(area, _)| area.contains(position));
        hit.map(|(_, action)| *action)
    }
}

/// Draws pictures: the local one, which the offerer sends, and the remote one, which the answerer sees.
pub(crate) trait Pictures {
    /// Draws the newest picture into the area; whether there is one.
    fn draw(&mut self, side: Side, area: Rect, buf: &mut Buffer) -> bool;
}

/// Draws the screen; what can be clicked on it.
pub(crate) fn draw(
    frame: &mut Frame<'_>,
    model: &Model,
    theme: Theme,
    pictures: &mut dyn Pictures,
) -> Targets {
    let mut targets = Targets::default();
    let area = frame.area();
    let buf = frame.buffer_mut();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!(
            "{}x{} is too small: make the terminal {}x{} or larger. q quits.",
            area.width, area.height, LEAST.0, LEAST.1
        );
        Paragraph::new(text).wrap(Wrap { trim: true }).render(area, buf);
        return targets;
    }
    let all = area.width >= ALL_AT_ONCE.0 && area.height >= ALL_AT_ONCE.1;
    // Pictures take what is left, but no more than their shape makes use of.
    let panes = if all { PANES + 7 } else { PANES };
    let notice_rows = notice_rows(model, area.width);
    let [title, videos, notice, buttons, panes] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(notice_rows),
        Constraint::Length(1),
        Constraint::Length(panes.max(area.height.saturating_sub(2 + area.width * 3 / 16 + 2))),
    ])
    .areas(area);
    draw_title(model, theme, title, buf, &mut targets);
    draw_videos(model, theme, videos, buf, pictures);
    if let Some(text) = &model.notice {
        Paragraph::new(text.text.as_str())
            .style(notice_style(text, theme))
            .wrap(Wrap { trim: true })
            .render(notice.inner(Margin::new(1, 0)), buf);
    }
    draw_buttons(model, theme, notice_rows == 0, buttons, buf, &mut targets);
    if all {
        draw_all_panes(model, theme, panes, buf, &mut targets);
    } else {
        let [tabs, pane] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(panes);
        draw_tabs(model, theme, tabs, buf, &mut targets);
        draw_pane(model.tab, model, theme, pane, buf, &mut targets);
    }
    if model.help {
        targets.add(area, Action::Help);
        help::draw(area, buf);
    }
    targets
}

/// What the call is made of; each part changes by a click.
fn draw_title(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer, targets: &mut Targets) {
    let setup = &model.setup;
    let mut parts = vec![
        (" visavis  ".to_owned(), Theme::STRONG, None),
        (
            setup.stacks[0].to_owned(),
            theme.side(Side::Offerer),
            Some(Change::Offerer),
        ),
        (" calls ".to_owned(), Style::new(), None),
        (
            setup.stacks[1].to_owned(),
            theme.side(Side::Answerer),
            Some(Change::Answerer),
        ),
    ];
    let plain = |text: String, change| (text, Style::new(), Some(change));
    let gap = || ("  ".to_owned(), Style::new(), None);
    if let Some(video) = &setup.plan.video {
        parts.extend([
            gap(),
            plain(video_name(&video.source), Change::Video),
            gap(),
            plain(video.codec.to_string(), Change::Codec),
            gap(),
            plain(format!("{}k", setup.bitrate() / 1_000), Change::MoreBits),
        ]);
    }
    if let Some(audio) = &setup.plan.audio {
        parts.extend([gap(), plain(audio_name(&audio.source), Change::Audio)]);
    }
    if setup.plan.both_ways {
        parts.extend([gap(), plain("both ways".into(), Change::Ways)]);
    }
    let ice = match setup.ice {
        IceMode::Trickle => "trickle",
        IceMode::Full => "full ICE",
    };
    parts.extend([gap(), plain(ice.to_owned(), Change::Ice)]);
    let help = "? help  q quit ";
    let help_at = area.right().saturating_sub(help.len() as u16);
    let mut x = area.x;
    let width_of = |text: &str| Span::raw(text).width() as u16;
    // The program's name is what can be done without.
    if parts.iter().map(|(text, ..)| width_of(text)).sum::<u16>() + 2 > help_at {
        " ".clone_into(&mut parts[0].0);
    }
    for (text, style, change) in parts {
        let width = width_of(&text);
        if x + width + 2 > help_at {
            break;
        }
        buf.set_string(x, area.y, &text, style);
        if let Some(change) = change {
            targets.add(Rect::new(x, area.y, width, 1), Action::Change(change));
        }
        x += width;
    }
    buf.set_string(help_at, area.y, help, theme.dim());
    targets.add(Rect::new(help_at, area.y, 6, 1), Action::Help);
    targets.add(Rect::new(help_at + 8, area.y, 6, 1), Action::Quit);
}

fn draw_videos(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer, pictures: &mut dyn Pictures) {
    let halves: [Rect; 2] = Layout::horizontal([Constraint::Fill(1); 2]).areas(area);
    for (side, area) in SIDES.into_iter().zip(halves) {
        let (name, what) = match side {
            Side::Offerer => ("Local", "offerer"),
            Side::Answerer => ("Remote", "answerer"),
        };
        let heading = Line::from(vec![
            Span::styled(
                format!(" {name} "),
                Theme::STRONG.fg(ratatui::style::Color::Reset),
            ),
            Span::styled(
                format!("{what} {} ", model.setup.stacks[side as usize]),
                theme.side(side),
            ),
        ]);
        let block = Block::new()
            .borders(Borders::TOP)
            .border_style(theme.dim())
            .title(heading)
            .title_top(level(model, side, theme, area.width).right_aligned());
        let inner = block.inner(area);
        block.render(area, buf);
        if !pictures.draw(side, inner, buf) {
            let words = match (side, model.state) {
                _ if model.setup.plan.video.is_none() => "no pictures (--video none)",
                (Side::Offerer, PairState::Idle) => "Start opens the source",
                (Side::Offerer, _) => "",
                (Side::Answerer, PairState::InCall) => "waiting for a keyframe",
                (Side::Answerer, _) => "the remote picture comes with a call",
            };
            let [row] = Layout::vertical([Constraint::Length(1)])
                .flex(ratatui::layout::Flex::Center)
                .areas(inner);
            Line::styled(words, theme.dim()).centered().render(row, buf);
        }
    }
}

/// How loud it is: a meter from −60 to 0 dBFS.
fn level(model: &Model, side: Side, theme: Theme, width: u16) -> Line<'static> {
    let way = model.figures.ways[Side::Offerer as usize].as_ref();
    let Some(dbfs) = way.and_then(|way| way.levels[side as usize]) else {
        return Line::default();
    };
    let roomy = width >= 50;
    // Beside the longest heading.
    let cells: u32 = if roomy { 10 } else { 4 };
    let lit = ((f64::from(dbfs) + 60.0) / 60.0 * f64::from(cells)).round();
    let lit = (lit.max(0.0) as usize).min(cells as usize);
    let number = if roomy {
        format!(" {dbfs:.0} dBFS ")
    } else {
        " ".to_owned()
    };
    Line::from(vec![
        Span::styled(" ♪ ", theme.dim()),
        Span::styled("▮".repeat(lit), theme.good()),
        Span::styled("▯".repeat(cells as usize - lit), theme.dim()),
        Span::styled(number, theme.dim()),
    ])
}

/// A notice that is too long to stand beside the buttons has rows of its own.
fn notice_rows(model: &Model, width: u16) -> u16 {
    const BUTTONS_AND_STATE: u16 = 48;
    let Some(notice) = &model.notice else { return 0 };
    // It has a margin on both sides.
    let room = width.saturating_sub(2);
    let mut rows = 1;
    let mut column = 0;
    for word in notice.text.split(' ') {
        let word = Span::raw(word).width() as u16;
        if column + word > room && column > 0 {
            (rows, column) = (rows + 1, 0);
        }
        column += word + 1;
    }
    if rows == 1 && column <= width.saturating_sub(BUTTONS_AND_STATE) {
        0
    } else {
        rows.min(5)
    }
}

fn notice_style(notice: &Notice, theme: Theme) -> Style {
    if notice.is_error {
        theme.bad()
    } else {
        Style::new()
    }
}

fn draw_buttons(
    model: &Model,
    theme: Theme,
    with_notice: bool,
    area: Rect,
    buf: &mut Buffer,
    targets: &mut Targets,
) {
    let mut x = area.x + 1;
    for (label, action) in [
        ("Start", Action::Start),
        ("Call", Action::Call),
        ("Hang Up", Action::HangUp),
    ] {
        let text = format!(" {label} ");
        let width = text.len() as u16;
        buf.set_string(x, area.y, &text, theme.button(model.is_enabled(action)));
        targets.add(Rect::new(x, area.y, width, 1), action);
        x += width + 1;
    }
    let mut spans = vec![Span::raw(" ")];
    let state = match (model.busy, model.state, model.up) {
        (Some(busy), ..) => format!("{busy} …"),
        (None, PairState::InCall, Some(up)) => format!("in call {}", clock(up)),
        (None, PairState::InCall, None) => "in call".to_owned(),
        (None, PairState::Calling, _) => "calling …".to_owned(),
        (None, PairState::Idle, _) => "press s to start".to_owned(),
        (None, PairState::Ready, _) => "press c to call".to_owned(),
    };
    spans.push(Span::styled(state, Theme::STRONG));
    if model.recording.is_some() {
        spans.push(Span::styled("  ● rec", theme.bad()));
    }
    if let Some(notice) = model.notice.as_ref().filter(|_| with_notice) {
        spans.push(Span::raw("  "));
        spans.push(Span::styled(notice.text.as_str(), notice_style(notice, theme)));
    }
    let rest = Rect::new(x, area.y, area.right().saturating_sub(x), 1);
    Line::from(spans).render(rest, buf);
}

fn draw_tabs(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer, targets: &mut Targets) {
    let mut x = area.x;
    buf.set_style(area, theme.bar());
    for (number, tab) in Tab::ALL.into_iter().enumerate() {
        let text = format!(" {} {} ", number + 1, tab.title());
        let width = text.len() as u16;
        let style = if tab == model.tab {
            Theme::STRONG.add_modifier(Modifier::REVERSED)
        } else {
            theme.bar()
        };
        buf.set_string(x, area.y, &text, style);
        targets.add(Rect::new(x, area.y, width, 1), Action::Show(tab));
        x += width;
    }
    let rest = Rect::new(x, area.y, area.right().saturating_sub(x), 1);
    let line = match model.tab {
        Tab::Timeline => return timeline::draw_heads(model, theme.bar(), area, buf),
        Tab::Step => Line::raw("← → other steps, ↑ ↓ scroll "),
        Tab::Chat => Line::raw("Enter types, Esc leaves "),
        Tab::Figures | Tab::Log => Line::raw(format!("pictures: {} ", model.graphics)),
    };
    line.style(theme.bar()).right_aligned().render(rest, buf);
}

fn draw_all_panes(model: &Model, theme: Theme, area: Rect, buf: &mut Buffer, targets: &mut Targets) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2])
        .spacing(1)
        .areas(area);
    let [timeline, chat, log] = Layout::vertical([
        Constraint::Length(PANES + 1),
        Constraint::Fill(1),
        Constraint::Fill(1),
    ])
    .areas(left);
    let [step, figures] = Layout::vertical([Constraint::Fill(1), Constraint::Length(12)]).areas(right);
    for (tab, area) in [
        (Tab::Timeline, timeline),
        (Tab::Chat, chat),
        (Tab::Log, log),
        (Tab::Step, step),
        (Tab::Figures, figures),
    ] {
        let style = if tab == model.tab {
            Theme::STRONG
        } else {
            theme.dim()
        };
        let number = Tab::ALL.iter().position(|t| *t == tab).map_or(0, |i| i + 1);
        let block = Block::new()
            .borders(Borders::TOP)
            .border_style(style)
            .title(Line::styled(format!(" {number} {} ", tab.title()), style));
        let inner = block.inner(area);
        block.render(area, buf);
        targets.add(area, Action::Show(tab));
        if tab == Tab::Timeline {
            timeline::draw_heads(model, style, area, buf);
        }
        draw_pane(tab, model, theme, inner, buf, targets);
    }
}

fn draw_pane(tab: Tab, model: &Model, theme: Theme, area: Rect, buf: &mut Buffer, targets: &mut Targets) {
    match tab {
        Tab::Timeline => timeline::draw_rows(model, theme, area, buf, targets),
        Tab::Step => step::draw(model, theme, area, buf),
        Tab::Figures => figures::draw(model, theme, area, buf),
        Tab::Chat => chat::draw(model, theme, area, buf),
        Tab::Log => chat::draw_log(model, theme, area, buf),
    }
}

/// Minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// What a step is called where there is little room.
fn label(mark: visavis_core::Mark) -> &'static str {
    match mark {
        visavis_core::Mark::LocalDescriptionSet => "local description",
        visavis_core::Mark::RemoteDescriptionSet => "remote description",
        visavis_core::Mark::GatheringComplete => "candidates",
        visavis_core::Mark::FirstPacket => "first packet",
        visavis_core::Mark::FirstFrameDecoded => "first picture",
        mark => steps::label(mark),
    }
}
