//! The terminal: taken over, and always given back.

use ratatui::crossterm::{
    cursor::{Hide, Show},
    event::{DisableMouseCapture, EnableMouseCapture},
    execute,
    style::{Attribute, SetAttribute},
    terminal::{
        EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    },
};
use std::{
    fs::File,
    io::{self, Write},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// A terminal that does not read is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(1);

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Held while something is written, so that nothing is drawn on a terminal that was given back.
static WRITING: Mutex<()> = Mutex::new(());

/// The terminal while it is taken; what is written later is lost.
#[derive(Debug)]
pub(super) struct Output(File);

impl Output {
    pub(super) fn new() -> io::Result<Self> {
        output().map(Self)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _writing = writing();
        if TAKEN.load(Ordering::SeqCst) {
            self.0.write(bytes)
        } else {
            Ok(bytes.len())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn writing() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Standard output without a lock or a buffer of its own: who writes to a terminal that does not read, waits, and
/// must keep nobody else from ending the program.
fn output() -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
    }
    #[cfg(windows)]
    {
        use std::os::windows::io::AsHandle;
        Ok(File::from(io::stdout().as_handle().try_clone_to_owned()?))
    }
}

/// Takes the terminal over.
pub(super) fn enter() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(output()?, EnterAlternateScreen, EnableMouseCapture, Hide)
}

/// Gives it back, if it was taken.
pub(crate) fn leave() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let (done, is_done) = mpsc::channel();
    let restore = move || {
        let _writing = writing();
        // A picture may have been cut off in its middle.
        let restored = output().and_then(|mut out| {
            execute!(
                out,
                SetAttribute(Attribute::Reset),
                EndSynchronizedUpdate,
                DisableMouseCapture,
                Show,
                LeaveAlternateScreen
            )
        });
        drop(done.send(restored));
    };
    if thread::Builder::new().spawn(restore).is_ok() {
        // There is nobody to tell of an error.
        let _ = is_done.recv_timeout(PATIENCE);
    }
    let _ = disable_raw_mode();
}

/// From now on a panic of the threads that belong to the screen gives the terminal back and ends the program.
/// Elsewhere it is an error like others, for tasks and pipelines survive those of their parts; `log` hears of it.
pub(super) fn restore_on_panic(log: impl Fn(String) + Send + Sync + 'static) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = thread::current();
        if matches!(thread.name(), Some("main" | super::THREAD)) {
            leave();
            hook(info);
            std::process::exit(101);
        }
        log(format!(
            "ERROR a panic in {}: {info}",
            thread.name().unwrap_or("a thread")
        ));
    }));
}

/// Stops this program, as Ctrl-Z does, until it is continued.
#[cfg(unix)]
pub(super) fn stop(all: bool) {
    use rustix::process::{Signal, getpid, kill_current_process_group, kill_process};
    // From the keyboard it is for all that runs in front, such as the `cargo` that runs us.
    let stopped = if all {
        kill_current_process_group(Signal::STOP)
    } else {
        kill_process(getpid(), Signal::STOP)
    };
    let _ = stopped;
}

/// There is no such thing here.
#[cfg(not(unix))]
pub(super) fn stop(_all: bool) {}
