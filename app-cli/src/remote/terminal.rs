//! A terminal hands on lines of 4,095 bytes at most, and cuts off the rest: less than a description has. While this
//! lives it hands on what is typed as it comes, of any length.

#[cfg(unix)]
pub(super) use unix::LongLines;

#[cfg(unix)]
mod unix {
    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
    use std::io;

    /// The terminal as it was, which it becomes again.
    #[derive(Debug)]
    pub(in crate::remote) struct LongLines(Termios);

    impl LongLines {
        /// `None` if standard input is no terminal.
        pub(in crate::remote) fn allow() -> Option<Self> {
            let before = tcgetattr(io::stdin()).ok()?;
            let mut now = before.clone();
            // Without canonical mode; Ctrl-C remains a signal, and what is typed is shown.
            now.local_modes.remove(LocalModes::ICANON);
            tcsetattr(io::stdin(), OptionalActions::Now, &now).ok()?;
            Some(Self(before))
        }
    }

    impl Drop for LongLines {
        fn drop(&mut self) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        }
    }
}

/// Elsewhere there is no such limit, or no way to lift it.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct LongLines;

#[cfg(not(unix))]
impl LongLines {
    pub(super) fn allow() -> Option<Self> {
        None
    }
}
