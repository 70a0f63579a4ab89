//! Where logs go: to standard error, or to the screen while there is one.

use crate::screen::Screen;
use anstream::ColorChoice;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// The way of the log's lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Option<Arc<Screen>>>>);

impl Lines {
    /// To this screen from now on, or to standard error.
    pub(crate) fn go_to(&self, screen: Option<Arc<Screen>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = screen;
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        let screen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Line(screen.clone())
    }
}

/// Writes one event.
pub(crate) struct Line(Option<Arc<Screen>>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(screen) => {
                let text = anstream::adapter::strip_bytes(bytes).into_vec();
                let text = String::from_utf8_lossy(&text);
                screen.update(|model| text.lines().for_each(|line| model.log_line(line.to_owned())));
                Ok(bytes.len())
            }
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Logs from now on what `RUST_LOG` says, or else as many `-v`s.
pub(crate) fn install(verbosity: u8) -> Lines {
    let default = match verbosity {
        0 => "error,visavis=warn",
        1 => "warn,visavis=info",
        2 => "info,visavis=debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = Lines::default();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(anstream::AutoStream::choice(&io::stderr()) != ColorChoice::Never)
        .with_writer(lines.clone())
        .init();
    lines
}
