//! What is on the screen, as data: the controller changes it, the view draws it, tests fill it in.

use super::{figures::Figures, setup::Setup, timeline::Steps};
use std::{collections::VecDeque, time::Duration};
use visavis_core::PairState;

/// Lines of the log and of the chat that are kept.
const KEPT: usize = 500;

/// The longest text that can be typed.
const MAX_TEXT: usize = 1_000;

/// Everything that the screen shows, but for the pictures.
#[derive(Debug)]
pub(crate) struct Model {
    /// Which buttons are enabled.
    pub(crate) state: PairState,
    /// What is being waited for; no button is enabled meanwhile, but Hang Up.
    pub(crate) busy: Option<&'static str>,
    /// How long the call has been up.
    pub(crate) up: Option<Duration>,
    /// What the next call, or this one, is made of.
    pub(crate) setup: Setup,
    /// What was said last, below the pictures.
    pub(crate) notice: Option<Notice>,
    /// The handshake of this call or of the last.
    pub(crate) steps: Steps,
    /// The figures of this call or of the last.
    pub(crate) figures: Figures,
    /// The conversation.
    pub(crate) chat: Chat,
    /// What the program and the stacks logged.
    pub(crate) log: VecDeque<String>,
    /// The pane that keys go to; where there is little room, the only one to be seen.
    pub(crate) tab: Tab,
    /// How far the pane is scrolled: the step's text from its beginning, chat and log from their end.
    pub(crate) scroll: usize,
    /// Whether the help is shown.
    pub(crate) help: bool,
    /// Where the call is being recorded.
    pub(crate) recording: Option<String>,
    /// How the pictures are drawn.
    pub(crate) graphics: &'static str,
    /// Changes whenever anything else does.
    pub(crate) changes: u64,
}

/// A sentence for the person at the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What it says.
    pub(crate) text: String,
    /// Whether something went wrong.
    pub(crate) is_error: bool,
}

/// A pane below the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    /// When each side reached which step.
    Timeline,
    /// What the selected step is for, and what was sent in it.
    Step,
    /// Live graphs.
    Figures,
    /// Texts over the data channel.
    Chat,
    /// What was logged.
    Log,
}

impl Tab {
    /// All of them, from left to right.
    pub(crate) const ALL: [Self; 5] = [Self::Timeline, Self::Step, Self::Figures, Self::Chat, Self::Log];

    /// Its heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Timeline => "Timeline",
            Self::Step => "Step",
            Self::Figures => "Figures",
            Self::Chat => "Chat",
            Self::Log => "Log",
        }
    }
}

/// The conversation over the data channel.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    /// What was said, the oldest first.
    pub(crate) lines: VecDeque<Text>,
    /// What is being typed, while it is.
    pub(crate) typed: Option<String>,
}

/// A text that was sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    /// What it says.
    pub(crate) text: String,
    /// From sending it to having its echo, in milliseconds, once it is back.
    pub(crate) rtt_ms: Option<f64>,
}

/// What a key or a click asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The demo's buttons.
    Start,
    Call,
    HangUp,
    /// The button that is enabled.
    Button,
    Quit,
    Help,
    Show(Tab),
    /// The next pane, or the one before.
    Turn(isize),
    /// The selection, or the text, up or down.
    Move(isize),
    /// The next step, or the one before, wherever the keys go.
    Neighbour(isize),
    /// The step of that row.
    Select(usize),
    /// The axis of the timeline ends with the handshake or with the first picture.
    Zoom,
    Escape,
    Change(Change),
    Record,
    Type(char),
    Erase,
    Send,
    Suspend,
    Redraw,
}

/// What can be changed, each to the next of its choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Offerer,
    Answerer,
    Codec,
    Video,
    Audio,
    Ways,
    Ice,
    MoreBits,
    FewerBits,
}

impl Model {
    /// A fresh screen.
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            state: PairState::Idle,
            busy: None,
            up: None,
            setup,
            notice: None,
            steps: Steps::default(),
            figures: Figures::default(),
            chat: Chat::default(),
            log: VecDeque::new(),
            tab: Tab::Timeline,
            scroll: 0,
            help: false,
            recording: None,
            graphics: "half-blocks",
            changes: 0,
        }
    }

    /// Says something in passing.
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.notice = Some(Notice {
            text: text.into(),
            is_error: false,
        });
    }

    /// Says what went wrong. It stays until something else is said.
    pub(crate) fn complain(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.log_line(format!("error: {text}"));
        self.notice = Some(Notice { text, is_error: true });
    }

    /// Adds a line to the log.
    pub(crate) fn log_line(&mut self, line: String) {
        keep(&mut self.log, line);
    }

    /// Adds a text to the conversation.
    pub(crate) fn said(&mut self, text: String) {
        keep(&mut self.chat.lines, Text { text, rtt_ms: None });
    }

    /// The oldest text without an echo has come back.
    pub(crate) fn echoed(&mut self, rtt_ms: f64) {
        if let Some(line) = self.chat.lines.iter_mut().find(|line| line.rtt_ms.is_none()) {
            line.rtt_ms = Some(rtt_ms);
        }
    }

    /// Whether the button may be pressed.
    pub(crate) fn is_enabled(&self, button: Action) -> bool {
        match button {
            Action::Start => self.busy.is_none() && self.state.can_start(),
            Action::Call => self.busy.is_none() && self.state.can_call(),
            Action::HangUp => self.state.can_hang_up() && self.busy != Some(HANGING_UP),
            _ => true,
        }
    }

    /// Does what concerns the screen alone; what is left for the controller to do comes back.
    pub(crate) fn apply(&mut self, action: Action) -> Option<Action> {
        // Any key closes the help; those that end or redraw do so as well.
        if std::mem::take(&mut self.help)
            && !matches!(action, Action::Quit | Action::Suspend | Action::Redraw)
        {
            return None;
        }
        match action {
            Action::Start | Action::Call | Action::HangUp => {
                return self.is_enabled(action).then_some(action);
            }
            Action::Button => {
                return [Action::Start, Action::Call, Action::HangUp]
                    .into_iter()
                    .find(|button| self.is_enabled(*button));
            }
            Action::Help => self.help = true,
            Action::Show(tab) => {
                self.chat.typed = None;
                self.show(tab);
            }
            Action::Turn(by) => {
                let index = Tab::ALL.iter().position(|tab| *tab == self.tab).unwrap_or(0);
                let count = Tab::ALL.len();
                self.show(Tab::ALL[(index + count).saturating_add_signed(by) % count]);
            }
            Action::Move(by) => match self.tab {
                Tab::Timeline => self.steps.select_next(by),
                Tab::Step => self.scroll = self.scroll.saturating_add_signed(by),
                _ => self.scroll = self.scroll.saturating_add_signed(-by),
            },
            Action::Neighbour(by) => {
                self.steps.select_next(by);
                self.scroll = 0;
            }
            Action::Select(row) => {
                // A click on what is selected opens it.
                if self.steps.selected == row && self.tab == Tab::Timeline {
                    self.show(Tab::Step);
                } else {
                    // Keys go to what was clicked.
                    self.chat.typed = None;
                    self.show(Tab::Timeline);
                    (self.steps.selected, self.scroll) = (row, 0);
                }
            }
            Action::Zoom => self.steps.to_the_first_picture = !self.steps.to_the_first_picture,
            Action::Escape if self.chat.typed.is_some() => self.chat.typed = None,
            Action::Escape if self.tab == Tab::Step => self.show(Tab::Timeline),
            Action::Escape => self.notice = None,
            Action::Type(c) => {
                if let Some(typed) = &mut self.chat.typed
                    && typed.len() < MAX_TEXT
                {
                    typed.push(c);
                }
            }
            Action::Erase => {
                if let Some(typed) = &mut self.chat.typed {
                    typed.pop();
                }
            }
            Action::Send if self.chat.typed.is_none() => {
                self.show(Tab::Chat);
                (self.chat.typed, self.scroll) = (Some(String::new()), 0);
            }
            Action::Quit
            | Action::Change(_)
            | Action::Record
            | Action::Send
            | Action::Suspend
            | Action::Redraw => return Some(action),
        }
        None
    }

    /// How far a pane is scrolled; only the one that keys go to can be.
    pub(crate) fn scroll_of(&self, tab: Tab) -> usize {
        if self.tab == tab { self.scroll } else { 0 }
    }

    fn show(&mut self, tab: Tab) {
        if self.tab != tab {
            (self.tab, self.scroll) = (tab, 0);
        }
    }
}

/// What [`Model::busy`] says while the call is being hung up.
pub(crate) const HANGING_UP: &str = "hanging up";

fn keep<T>(lines: &mut VecDeque<T>, line: T) {
    if lines.len() == KEPT {
        lines.pop_front();
    }
    lines.push_back(line);
}
