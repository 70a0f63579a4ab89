//! What is pasted on standard input.

use super::{
    ask,
    blob::{self, Blob, Read},
    terminal::LongLines,
};
use crate::out::{RED, note, paint};
use std::{
    fmt::Display,
    io::{self, BufRead, IsTerminal},
    thread,
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};
use visavis_core::SdpType;

/// More than any description takes.
const MAX_LEN: usize = 1024 * 1024;

/// The rest of a bad paste follows without a pause.
const REST: Duration = Duration::from_millis(200);

/// End of transmission, Ctrl-D.
const END: u8 = 4;

/// Descriptions from standard input. A person is asked again.
#[derive(Debug)]
pub(super) struct Paste {
    wanted: SdpType,
    lines: mpsc::UnboundedReceiver<String>,
    asks_again: bool,
    _terminal: Option<LongLines>,
}

impl Paste {
    /// Reads from now on, and says what is waited for.
    pub(super) fn start(wanted: SdpType) -> Self {
        let (tell, lines) = mpsc::unbounded_channel();
        let paste = Self {
            wanted,
            lines,
            asks_again: io::stdin().is_terminal(),
            _terminal: LongLines::allow(),
        };
        ask(wanted);
        // Nobody waits for this thread: it may hang in its read when the program ends.
        thread::spawn(move || {
            while let Some(line) = line()
                && tell.send(line).is_ok()
            {}
        });
        paste
    }

    /// The next description of the wanted type.
    ///
    /// # Errors
    ///
    /// What is wrong with what came, and nobody can be asked again.
    pub(super) async fn next(&mut self) -> Result<Blob, String> {
        loop {
            let bad = match self.read().await {
                Ok(blob) if blob.description.kind == self.wanted => return Ok(blob),
                Ok(blob) => format!(
                    "this is a description of type {}; it takes the {}",
                    blob.description.kind, self.wanted
                ),
                Err(bad) => bad,
            };
            self.refused(&bad).await?;
        }
    }

    /// What was pasted cannot be used: asks again.
    ///
    /// # Errors
    ///
    /// The same reason, if nobody can be asked.
    pub(super) async fn refused(&mut self, reason: &impl Display) -> Result<(), String> {
        if !self.asks_again || self.lines.is_closed() {
            return Err(reason.to_string());
        }
        while timeout(REST, self.lines.recv())
            .await
            .is_ok_and(|line| line.is_some())
        {}
        note(format!("{} {reason}", paint(RED, "error:")));
        ask(self.wanted);
        Ok(())
    }

    async fn read(&mut self) -> Result<Blob, String> {
        let mut text = String::new();
        while let Some(line) = self.lines.recv().await {
            // An empty line ends what is incomplete.
            if line.trim().is_empty() && !text.is_empty() {
                return Err("it is not complete".into());
            }
            text.push_str(&line);
            match blob::read(&text) {
                Read::Done(blob) => return Ok(blob),
                Read::Bad(reason) => return Err(reason),
                Read::Incomplete if text.len() > MAX_LEN => return Err("it is too long".into()),
                Read::Incomplete if text.trim().is_empty() => text.clear(),
                Read::Incomplete => {}
            }
        }
        Err(match text.as_str() {
            "" => format!("standard input ended without the {}", self.wanted),
            _ => "it is not complete".to_owned(),
        })
    }
}

/// The next line; `None` at the end, which on a terminal is Ctrl-D.
fn line() -> Option<String> {
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        let read = stdin.fill_buf().ok()?;
        if read.is_empty() {
            break;
        }
        let end = read.iter().position(|byte| matches!(*byte, b'\n' | END));
        let (taken, last) = (end.map_or(read.len(), |end| end + 1), end.map(|end| read[end]));
        line.extend_from_slice(&read[..taken]);
        stdin.consume(taken);
        match last {
            Some(END) => {
                line.pop();
                break;
            }
            Some(_) => break,
            None if line.len() > MAX_LEN => break,
            None => {}
        }
    }
    (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
}
