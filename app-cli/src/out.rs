//! Standard output that survives a closed pipe, knows colours and how wide the terminal is.

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::Duration,
};
use visavis_core::Side;

/// Something said in passing.
pub(crate) const DIM: Style = Style::new().dimmed();
/// A heading.
pub(crate) const BOLD: Style = Style::new().bold();
/// Good news, and what only the second stack has.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// Bad news, and what only the first stack has.
pub(crate) const RED: Style = AnsiColor::Red.on_default();

/// Each side's colour.
pub(crate) fn style_of(side: Side) -> Style {
    match side {
        Side::Offerer => AnsiColor::Cyan.on_default(),
        Side::Answerer => AnsiColor::Magenta.on_default(),
    }
}

/// `text` in `style`, which is left out where colours are not wanted.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Standard output. Errors are returned, not panicked over: a reader such as `head` may go at any time.
#[derive(Debug)]
pub(crate) struct Out {
    width: usize,
    terminal: bool,
    /// What stands on the last line of a terminal, below all that is written.
    status: String,
}

impl Out {
    /// Standard output.
    pub(crate) fn new() -> Self {
        let terminal = terminal_size::terminal_size_of(io::stdout());
        Self {
            width: terminal.map_or(100, |(width, _)| usize::from(width.0).clamp(40, 120)),
            terminal: io::stdout().is_terminal(),
            status: String::new(),
        }
    }

    /// A line, its colours left out unless it goes to a terminal that wants them.
    pub(crate) fn line(&mut self, text: impl Display) -> io::Result<()> {
        if self.status.is_empty() {
            return writeln!(anstream::stdout(), "{text}");
        }
        let mut out = anstream::stdout();
        write!(out, "\r\x1b[K{text}\n{}", self.status)?;
        out.flush()
    }

    /// Keeps `text` on the last line of a terminal, until another one or an empty one takes its place.
    pub(crate) fn status(&mut self, text: &str) -> io::Result<()> {
        if !self.terminal || (text.is_empty() && self.status.is_empty()) {
            return Ok(());
        }
        // A line that is too long would wrap and could not be taken back.
        self.status = text.chars().take(self.width.saturating_sub(1)).collect();
        let mut out = anstream::stdout();
        write!(out, "\r\x1b[K{}", self.status)?;
        out.flush()
    }

    /// A line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(text)
    }

    /// `text` wrapped into the terminal's width at `indent`, first line included.
    pub(crate) fn wrapped(&mut self, indent: usize, style: Style, text: &str) -> io::Result<()> {
        for line in wrap(text, self.width.saturating_sub(indent)) {
            self.line(format!("{:indent$}{}", "", paint(style, line)))?;
        }
        Ok(())
    }
}

/// What is said on standard error beside the output. A closed standard error is no reason to fail.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// How far a long series is, on the last line of the terminal.
#[derive(Debug)]
pub(crate) struct Progress(bool);

impl Progress {
    /// Shown only if it disturbs nothing: standard error is a terminal, and standard output is not.
    pub(crate) fn new(wanted: bool) -> Self {
        Self(wanted && io::stderr().is_terminal() && !io::stdout().is_terminal())
    }

    /// Shown if standard error is a terminal: nothing is printed on standard output until it is over.
    pub(crate) fn alone() -> Self {
        Self(io::stderr().is_terminal())
    }

    /// Shows how much is done, about how long the rest takes, and what is done now.
    pub(crate) fn bar(&self, done: usize, all: usize, left: Option<Duration>, now: &str) {
        const WIDTH: usize = 20;
        let full = WIDTH * done / all.max(1);
        let left = left.map_or_else(String::new, |left| match left.as_secs() {
            0..=99 => format!(", {} s left", left.as_secs()),
            seconds => format!(", {} min left", seconds.div_ceil(60)),
        });
        let text = format!(
            "[{}{}] {} %{left}  {now}",
            "#".repeat(full),
            "-".repeat(WIDTH - full),
            100 * done / all.max(1)
        );
        let terminal = terminal_size::terminal_size_of(io::stderr());
        // A line that is too long would wrap and could not be taken back.
        let width = terminal.map_or(79, |(width, _)| usize::from(width.0).saturating_sub(1));
        self.show(text.chars().take(width).collect::<String>());
    }

    /// Shows `text` in place of what was shown before.
    pub(crate) fn show(&self, text: impl Display) {
        if self.0 {
            let _ = write!(anstream::stderr(), "\r\x1b[K{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_ascii_whitespace() {
        let last = lines.last_mut().expect("there is always a line");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible", 3), ["incomprehensible"]);
        assert_eq!(wrap("", 3), [""]);
    }
}
