//! A real terminal for the program: a pseudo-terminal, what is shown on it, and hands that type and click. What the
//! program writes is read by a thread of its own; tests wait for what they look for, with a deadline.

use portable_pty::{CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::{
    collections::BTreeMap,
    env, fmt,
    io::{Read, Write},
    num::NonZeroU16,
    path::Path,
    sync::{Arc, Condvar, LockResult, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tokio::time::Instant;
use vt100::{Callbacks, Parser, Screen};

/// What takes longer than this hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How large a character is, for programs that ask.
const CELL: (u16, u16) = (10, 20);

/// A program in a terminal. Dropping it kills the program.
pub(crate) struct Pty {
    master: Box<dyn MasterPty + Send>,
    hands: Arc<Hands>,
    pid: Pid,
    shared: Arc<Shared>,
    /// The terminal's settings before the program ran.
    settings: String,
}

/// What is not, or not in time, on the screen; with the screen.
pub(crate) struct Late(String);

impl Pty {
    /// `program` in a terminal of so many columns and rows. One that does not answer says nothing when it is asked what
    /// it can do.
    pub(crate) fn start(
        program: &Path,
        args: &[&str],
        size: (u16, u16),
        env: &[(&str, &str)],
        answers: bool,
    ) -> Self {
        let pty = native_pty_system()
            .openpty(pty_size(size))
            .expect("a pseudo-terminal");
        let settings = settings(&*pty.master);
        let reader = pty.master.try_clone_reader().expect("the terminal's output");
        let hands = pty.master.take_writer().expect("the terminal's input");
        let hands = Arc::new(Mutex::new(hands));

        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.cwd(env::current_dir().expect("a directory"));
        // Nothing of the terminal that the tests run in.
        for name in [
            "NO_COLOR",
            "CLICOLOR_FORCE",
            "RUST_LOG",
            "RUST_BACKTRACE",
            "COLUMNS",
            "LINES",
            "TMUX",
        ] {
            command.env_remove(name);
        }
        for name in [
            "TERM_PROGRAM",
            "KITTY_WINDOW_ID",
            "WEZTERM_EXECUTABLE",
            "LC_TERMINAL",
        ] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        command.env("LANG", "C.UTF-8");
        for (name, value) in env {
            command.env(name, value);
        }
        let mut child = pty.slave.spawn_command(command).expect("the program runs");
        // The output ends only when nobody has the other end open.
        drop(pty.slave);
        let pid = child
            .process_id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()));

        let (cols, rows) = cells(size);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                parser: Parser::new_with_callbacks(rows, cols, 0, Answers::default()),
                output: Vec::new(),
                paused: false,
                over: false,
                exit: None,
            }),
            changed: Condvar::new(),
        });
        thread::spawn({
            let (shared, hands) = (shared.clone(), hands.clone());
            move || shared.read(reader, answers.then_some(&*hands))
        });
        thread::spawn({
            let shared = shared.clone();
            move || {
                let exit = child.wait().expect("the program ends");
                shared.change(|state| state.exit = Some(exit));
            }
        });
        Self {
            master: pty.master,
            hands,
            pid: pid.expect("the program has a number"),
            shared,
            settings,
        }
    }

    /// Waits until the screen is as it should be. Ends early when the program has.
    pub(crate) fn wait(
        &self,
        mut until: impl FnMut(&Screen) -> bool,
        deadline: Duration,
    ) -> Result<(), Late> {
        let mut seen = false;
        let state = self.shared.wait(deadline, |state| {
            seen = until(state.parser.screen());
            seen || state.over
        });
        if seen { Ok(()) } else { Err(state.late()) }
    }

    /// Lets time pass, for what nobody tells of.
    pub(crate) fn pass(&self, time: Duration) {
        drop(self.shared.wait(time, |_| false));
    }

    /// Waits for `text` on the screen, and panics if it does not come; where it is.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) -> (u16, u16) {
        let mut at = None;
        let waited = self.wait(
            |screen| {
                at = find(screen, text);
                at.is_some()
            },
            DEADLINE,
        );
        match at {
            Some(at) => at,
            None => panic!("`{text}` is not there: {:?}", waited.err()),
        }
    }

    /// The program's exit code, once it has ended and all that it wrote was read.
    #[track_caller]
    pub(crate) fn exit_code(&self, deadline: Duration) -> u32 {
        let state = self.shared.wait(deadline, |state| {
            state.exit.is_some() && (state.over || state.paused)
        });
        match &state.exit {
            Some(exit) if exit.signal().is_none() => exit.exit_code(),
            Some(exit) => panic!("{exit}: {:?}", state.late()),
            None => panic!("it did not end: {:?}", state.late()),
        }
    }

    /// What is shown.
    pub(crate) fn screen(&self) -> Screen {
        self.shared.lock().parser.screen().clone()
    }

    /// Where `text` is shown: column and row from 0.
    pub(crate) fn find(&self, text: &str) -> Option<(u16, u16)> {
        find(self.shared.lock().parser.screen(), text)
    }

    /// Every byte that was written.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.shared.lock().output.clone()
    }

    /// Types `text`.
    pub(crate) fn send(&self, text: &str) {
        let mut hands = unpoisoned(self.hands.lock());
        // A program that has ended hears nothing any more.
        let _ = hands.write_all(text.as_bytes()).and_then(|()| hands.flush());
    }

    /// Presses a key by its name.
    #[track_caller]
    pub(crate) fn key(&self, name: &str) {
        let text = match name {
            "enter" => "\r",
            "escape" => "\x1b",
            "tab" => "\t",
            "shift-tab" => "\x1b[Z",
            "space" => " ",
            "up" => "\x1b[A",
            "down" => "\x1b[B",
            "right" => "\x1b[C",
            "left" => "\x1b[D",
            "ctrl-c" => "\x03",
            "ctrl-z" => "\x1a",
            _ => panic!("no key is called {name}"),
        };
        self.send(text);
    }

    /// Presses and releases the left mouse button.
    pub(crate) fn click(&self, column: u16, row: u16) {
        let (x, y) = (column + 1, row + 1);
        self.send(&format!("\x1b[<0;{x};{y}M\x1b[<0;{x};{y}m"));
    }

    /// Clicks into the middle of `text`, once it is there.
    #[track_caller]
    pub(crate) fn click_on(&self, text: &str) {
        let (column, row) = self.wait_for(text);
        self.click(column + text.chars().count() as u16 / 2, row);
    }

    /// Makes the terminal larger or smaller, which the program is told.
    pub(crate) fn resize(&self, size: (u16, u16)) {
        let (cols, rows) = cells(size);
        self.shared.change(|state| state.parser.set_size(rows, cols));
        self.master.resize(pty_size(size)).expect("another size");
    }

    /// Sends the program a signal, unless it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.shared.lock().exit.is_none() {
            kill_process(self.pid, signal).expect("a process of ours");
        }
    }

    /// Waits until the program has stopped, as Ctrl-Z does it.
    #[track_caller]
    pub(crate) fn wait_for_stop(&self) {
        let began = Instant::now();
        // Nothing is taken from the thread that waits for the end.
        let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while !matches!(waitid(WaitId::Pid(self.pid), look), Ok(Some(_))) {
            assert!(
                began.elapsed() < DEADLINE,
                "it goes on: {:?}",
                self.screen().contents()
            );
            self.pass(Duration::from_millis(10));
        }
    }

    /// From now on the terminal reads nothing but what is on its way, so the program's writes stand still.
    pub(crate) fn pause_reading(&self) {
        self.shared.change(|state| state.paused = true);
    }

    /// The terminal reads again.
    pub(crate) fn resume_reading(&self) {
        self.shared.change(|state| state.paused = false);
    }

    /// Panics unless the terminal is as it was before the program: its settings, its screen, cursor, mouse, colours.
    #[track_caller]
    pub(crate) fn assert_restored(&self) {
        let state = self.shared.lock();
        let screen = state.parser.screen();
        let plain = vt100::Color::Default;
        let left: Vec<_> = modes(&state.output)
            .into_iter()
            // Wrapping at the end of the line and the cursor are on in every terminal.
            .filter(|&(mode, on)| on != matches!(mode, 7 | 25))
            .map(|(mode, _)| mode)
            .collect();
        assert!(left.is_empty(), "modes {left:?}: {:?}", state.late());
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!((screen.fgcolor(), screen.bgcolor()), (plain, plain), "colours");
        assert!(!screen.bold() && !screen.inverse() && !screen.underline());
        assert_eq!(settings(&*self.master), self.settings, "settings");
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if self.shared.lock().exit.is_none() {
            let _ = kill_process(self.pid, Signal::KILL);
        }
        self.resume_reading();
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where `text` is on the screen: column and row from 0.
pub(crate) fn find(screen: &Screen, text: &str) -> Option<(u16, u16)> {
    let (rows, cols) = screen.size();
    (0..rows.get()).find_map(|row| {
        let (mut line, mut starts) = (String::new(), Vec::new());
        for col in 0..cols.get() {
            starts.push(line.len());
            match screen.cell(row, col) {
                Some(cell) if cell.has_contents() => line.push_str(cell.contents()),
                Some(cell) if cell.is_wide_continuation() => {}
                _ => line.push(' '),
            }
        }
        let at = line.find(text)?;
        Some((starts.iter().position(|&start| start == at)? as u16, row))
    })
}

type Hands = Mutex<Box<dyn Write + Send>>;

/// What the threads share with the test.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    parser: Parser<Answers>,
    output: Vec<u8>,
    paused: bool,
    /// Whether the output has ended.
    over: bool,
    exit: Option<ExitStatus>,
}

impl State {
    fn late(&self) -> Late {
        let end = if self.over { "it ended" } else { "it goes on" };
        let contents = self.parser.screen().contents();
        Late(format!("{end}, and the screen is\n{contents}"))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `done`, or until it is too late.
    fn wait(&self, deadline: Duration, mut done: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), deadline, |state| !done(state));
        unpoisoned(waited).0
    }

    /// The terminal itself: shows what the program writes, and answers it.
    fn read(&self, mut reader: impl Read, hands: Option<&Hands>) {
        let mut buffer = [0; 0x4000];
        loop {
            drop(unpoisoned(
                self.changed.wait_while(self.lock(), |state| state.paused),
            ));
            // The end is an error on Linux.
            let count = reader.read(&mut buffer).unwrap_or(0);
            let mut answers = Vec::new();
            self.change(|state| {
                state.over = count == 0;
                state.output.extend(&buffer[..count]);
                state.parser.process(&buffer[..count]);
                answers = std::mem::take(&mut state.parser.callbacks_mut().0);
            });
            if let Some(hands) = hands.filter(|_| !answers.is_empty()) {
                let _ = unpoisoned(hands.lock()).write_all(&answers);
            }
            if count == 0 {
                return;
            }
        }
    }
}

/// A test that fails with the lock in its hands must still be able to clean up.
fn unpoisoned<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}

/// What the terminal says when it is asked.
#[derive(Default)]
struct Answers(Vec<u8>);

impl Callbacks for Answers {
    fn unhandled_csi(
        &mut self,
        screen: &mut Screen,
        first: Option<u8>,
        _: Option<u8>,
        params: &[&[u16]],
        c: char,
    ) {
        match (first, params, c) {
            // Which terminal are you? A VT220 with colours.
            (None, [] | [[0]], 'c') => self.0.extend(b"\x1b[?62;22c"),
            // Are you well? And where is the cursor?
            (None, [[5]], 'n') => self.0.extend(b"\x1b[0n"),
            (None, [[6]], 'n') => {
                let (row, column) = screen.cursor_position();
                self.0.extend(format!("\x1b[{};{}R", row + 1, column + 1).bytes());
            }
            _ => {}
        }
    }
}

/// The private modes that were set or reset, and as what they were left.
fn modes(output: &[u8]) -> BTreeMap<u16, bool> {
    let text = String::from_utf8_lossy(output);
    let mut modes = BTreeMap::new();
    for part in text.split("\x1b[?").skip(1) {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';');
        let Some((numbers, rest)) = end.map(|end| part.split_at(end)) else {
            continue;
        };
        let on = match rest.as_bytes()[0] {
            b'h' => true,
            b'l' => false,
            _ => continue,
        };
        modes.extend(numbers.split(';').filter_map(|n| Some((n.parse().ok()?, on))));
    }
    modes
}

/// The terminal's settings (termios), in words, for they are only ever compared.
fn settings(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().expect("a terminal's settings"))
}

fn cells((cols, rows): (u16, u16)) -> (NonZeroU16, NonZeroU16) {
    [cols, rows].map(|n| NonZeroU16::new(n).expect("not 0")).into()
}

fn pty_size((cols, rows): (u16, u16)) -> PtySize {
    PtySize {
        rows,
        cols,
        pixel_width: cols * CELL.0,
        pixel_height: rows * CELL.1,
    }
}
