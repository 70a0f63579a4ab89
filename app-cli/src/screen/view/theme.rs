//! Colours, or bold and reversed letters where there are none.

use crate::screen::picture::Colors;
use ratatui::style::{Color, Modifier, Style};
use visavis_core::Side;

/// How things look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Theme {
    colors: bool,
}

impl Theme {
    /// With colours, or without.
    pub(crate) fn new(colors: Colors) -> Self {
        Self {
            colors: !matches!(colors, Colors::None),
        }
    }

    fn color(self, color: Color) -> Style {
        if self.colors {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    /// Whether there are colours.
    pub(super) fn has_colors(self) -> bool {
        self.colors
    }

    /// Each side's colour.
    pub(super) fn side(self, side: Side) -> Style {
        match side {
            Side::Offerer => self.color(Color::Cyan),
            Side::Answerer => self.color(Color::Magenta),
        }
    }

    /// A heading, and what is selected.
    pub(super) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

    /// Something said in passing.
    pub(super) fn dim(self) -> Style {
        if self.colors {
            Style::new().fg(Color::Indexed(245))
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }

    /// Good news.
    pub(super) fn good(self) -> Style {
        self.color(Color::Green)
    }

    /// Bad news.
    pub(super) fn bad(self) -> Style {
        self.color(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// A bar across the screen.
    pub(super) fn bar(self) -> Style {
        if self.colors {
            Style::new().bg(Color::Indexed(236)).fg(Color::Indexed(250))
        } else {
            Style::new().add_modifier(Modifier::UNDERLINED)
        }
    }

    /// The selected row.
    pub(super) fn selected(self) -> Style {
        if self.colors {
            Style::new().bg(Color::Indexed(238))
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    /// A button.
    pub(super) fn button(self, enabled: bool) -> Style {
        match (enabled, self.colors) {
            (true, true) => Style::new()
                .fg(Color::Black)
                .bg(Color::Green)
                .add_modifier(Modifier::BOLD),
            (true, false) => Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD),
            (false, true) => Style::new().fg(Color::Indexed(244)).bg(Color::Indexed(238)),
            (false, false) => Style::new().add_modifier(Modifier::DIM),
        }
    }
}
