//! What each key and each click asks for.

use super::{
    model::{Action, Change, Model, Tab},
    view::Targets,
};
use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

/// What an event of the terminal asks for.
pub(crate) fn action(event: &Event, model: &Model, targets: &Targets) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => pressed(*key, model),
        Event::Mouse(mouse) => clicked(*mouse, targets),
        Event::Resize(..) => Some(Action::Redraw),
        _ => None,
    }
}

fn pressed(key: KeyEvent, model: &Model) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('z') => Some(Action::Suspend),
            KeyCode::Char('l') => Some(Action::Redraw),
            _ => None,
        };
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        // Escape and a key right after it look like this.
        return Some(Action::Escape);
    }
    if model.chat.typed.is_some() {
        return match key.code {
            KeyCode::Char(c) => Some(Action::Type(c)),
            KeyCode::Backspace => Some(Action::Erase),
            KeyCode::Enter => Some(Action::Send),
            KeyCode::Esc => Some(Action::Escape),
            _ => None,
        };
    }
    Some(match key.code {
        KeyCode::Char('s') => Action::Start,
        KeyCode::Char('c') => Action::Call,
        KeyCode::Char('h') => Action::HangUp,
        KeyCode::Char(' ') => Action::Button,
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Char('?') | KeyCode::F(1) => Action::Help,
        KeyCode::Char('z') => Action::Zoom,
        KeyCode::Char('t') => Action::Send,
        KeyCode::Char('o') => Action::Change(Change::Offerer),
        KeyCode::Char('a') => Action::Change(Change::Answerer),
        KeyCode::Char('k') => Action::Change(Change::Codec),
        KeyCode::Char('v') => Action::Change(Change::Video),
        KeyCode::Char('m') => Action::Change(Change::Audio),
        KeyCode::Char('w') => Action::Change(Change::Ways),
        KeyCode::Char('i') => Action::Change(Change::Ice),
        KeyCode::Char('+' | '=') => Action::Change(Change::MoreBits),
        KeyCode::Char('-') => Action::Change(Change::FewerBits),
        KeyCode::Char('r') => Action::Record,
        KeyCode::Char(digit @ '1'..='5') => Action::Show(Tab::ALL[digit as usize - '1' as usize]),
        KeyCode::Tab => Action::Turn(1),
        KeyCode::BackTab => Action::Turn(-1),
        KeyCode::Up => Action::Move(-1),
        KeyCode::Down => Action::Move(1),
        KeyCode::PageUp => Action::Move(-10),
        KeyCode::PageDown => Action::Move(10),
        KeyCode::Left => Action::Neighbour(-1),
        KeyCode::Right => Action::Neighbour(1),
        KeyCode::Enter if model.tab == Tab::Timeline => Action::Show(Tab::Step),
        KeyCode::Enter if model.tab == Tab::Chat => Action::Send,
        KeyCode::Esc => Action::Escape,
        _ => return None,
    })
}

fn clicked(mouse: MouseEvent, targets: &Targets) -> Option<Action> {
    match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => targets.at(mouse.column, mouse.row),
        MouseEventKind::ScrollUp => Some(Action::Move(-1)),
        MouseEventKind::ScrollDown => Some(Action::Move(1)),
        _ => None,
    }
}
