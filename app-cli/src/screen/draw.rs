//! The thread that draws. It alone waits for the terminal; media and calls never do.

use super::{
    graphics::{Choice, Graphics, Pane},
    model::Model,
    picture::Colors,
    terminal::{self, Output},
    view::{self, Pictures, Targets, Theme},
};
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    buffer::Buffer,
    crossterm::{
        execute,
        terminal::{BeginSynchronizedUpdate, EndSynchronizedUpdate},
    },
    layout::Rect,
};
use std::{
    io::{self, BufWriter, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};
use visavis_core::Side;
use visavis_media::session::Monitor;

/// Pictures are drawn as often as this at most. A terminal that takes long gets fewer: half of the time is its own.
const EVERY: Duration = Duration::from_millis(33);

/// The longest that a slow terminal has to itself.
const REST: Duration = Duration::from_millis(250);

/// How long a terminal may take to let go.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the controller and the drawing thread share.
#[derive(Debug)]
pub(crate) struct Screen {
    state: Mutex<State>,
    changed: Condvar,
    /// The drawing thread has ended by itself.
    pub(crate) gone: Notify,
}

#[derive(Debug)]
struct State {
    model: Model,
    monitor: Option<Monitor>,
    targets: Targets,
    order: Order,
    /// All is drawn anew.
    anew: bool,
    error: Option<io::Error>,
}

/// What the drawing thread is to do, or has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Draw,
    Rest,
    Resting,
    End,
    Ended,
}

impl Screen {
    /// Takes the terminal over and begins to draw.
    pub(crate) fn open(model: Model, choice: Choice) -> io::Result<Arc<Self>> {
        let screen = Arc::new(Self {
            state: Mutex::new(State {
                model,
                monitor: None,
                targets: Targets::default(),
                order: Order::Draw,
                anew: false,
                error: None,
            }),
            changed: Condvar::new(),
            gone: Notify::new(),
        });
        let log = Arc::clone(&screen);
        terminal::restore_on_panic(move |line| {
            // Whoever panics may have been changing the model.
            if let Ok(mut state) = log.state.try_lock() {
                state.model.log_line(line);
            }
        });
        let begun = terminal::enter().and_then(|()| screen.begin(choice));
        begun.inspect_err(|_| terminal::leave())?;
        Ok(screen)
    }

    /// Begins to draw.
    fn begin(self: &Arc<Self>, choice: Choice) -> io::Result<()> {
        let colors = Colors::detect();
        let graphics = Graphics::detect(choice, colors);
        self.update(|model| model.graphics = graphics.name());
        let drawing = Arc::clone(self);
        let draw = move || {
            let result = drawing.draw_all(&graphics, Theme::new(colors));
            let mut state = drawing.lock();
            (state.error, state.order) = (result.err(), Order::Ended);
            drop(state);
            drawing.changed.notify_all();
            drawing.gone.notify_one();
        };
        thread::Builder::new()
            .name(super::THREAD.to_owned())
            .spawn(draw)?;
        Ok(())
    }

    /// Changes what is shown.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Model) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state.model);
        state.model.changes += 1;
        drop(state);
        self.changed.notify_all();
        result
    }

    /// Looks at what is shown, and at what can be clicked.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Model, &Targets) -> R) -> R {
        let state = self.lock();
        look(&state.model, &state.targets)
    }

    /// Where pictures come from.
    pub(crate) fn watch(&self, monitor: Option<Monitor>) {
        self.lock().monitor = monitor;
        self.changed.notify_all();
    }

    /// The monitor, for the levels of sound.
    pub(crate) fn monitor(&self) -> Option<Monitor> {
        self.lock().monitor.clone()
    }

    /// Draws all anew.
    pub(crate) fn redraw(&self) {
        self.lock().anew = true;
        self.changed.notify_all();
    }

    /// Gives the terminal back, stops the program until it is continued, and takes the terminal again.
    pub(crate) fn suspend(&self, all: bool) -> io::Result<()> {
        self.order(Order::Rest, Order::Resting);
        terminal::leave();
        terminal::stop(all);
        terminal::enter()?;
        let mut state = self.lock();
        (state.order, state.anew) = (Order::Draw, true);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Gives the terminal back for good. What went wrong with it, if anything.
    pub(crate) fn close(&self) -> Option<io::Error> {
        self.order(Order::End, Order::Ended);
        terminal::leave();
        self.lock().error.take()
    }

    /// Gives an order and waits until it is carried out, unless the terminal does not read.
    fn order(&self, order: Order, until: Order) {
        let mut state = self.lock();
        if state.order != Order::Ended {
            state.order = order;
        }
        self.changed.notify_all();
        let waits = |state: &mut State| state.order != until && state.order != Order::Ended;
        drop(self.changed.wait_timeout_while(state, PATIENCE, waits));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw_all(&self, graphics: &Graphics, theme: Theme) -> io::Result<()> {
        let backend = CrosstermBackend::new(BufWriter::with_capacity(1 << 16, Output::new()?));
        let mut terminal = Terminal::new(backend)?;
        let mut panes = [Pane::default(), Pane::default()];
        let mut drawn = Drawn::default();
        while let Some(anew) = self.wait_for_something_new(&mut drawn) {
            let began = Instant::now();
            if anew {
                // `clear` would ask where the cursor is, and the input thread would take the answer.
                let size = terminal.size()?;
                terminal.resize(Rect::new(0, 0, size.width, size.height))?;
                panes = [Pane::default(), Pane::default()];
            }
            self.draw(&mut terminal, graphics, theme, &mut panes)?;
            let took = began.elapsed();
            // A terminal that did not read for a while is not made to wait as long.
            drawn.not_before = began + EVERY.max(took + took.min(REST));
        }
        Ok(())
    }

    fn draw(
        &self,
        terminal: &mut Terminal<CrosstermBackend<BufWriter<Output>>>,
        graphics: &Graphics,
        theme: Theme,
        panes: &mut [Pane; 2],
    ) -> io::Result<()> {
        execute!(terminal.backend_mut(), BeginSynchronizedUpdate)?;
        terminal.draw(|frame| {
            // The lock is let go before anything is written.
            let mut state = self.lock();
            let mut pictures = Live {
                monitor: state.monitor.clone(),
                graphics,
                panes,
            };
            state.targets = view::draw(frame, &state.model, theme, &mut pictures);
        })?;
        execute!(terminal.backend_mut(), EndSynchronizedUpdate)?;
        terminal.backend_mut().flush()
    }

    /// Waits until the time has come and there is something new. Whether all is to be drawn anew; nothing at the end.
    fn wait_for_something_new(&self, drawn: &mut Drawn) -> Option<bool> {
        let mut state = self.lock();
        loop {
            match state.order {
                Order::Draw => {}
                Order::End | Order::Ended => return None,
                Order::Rest | Order::Resting => {
                    state.order = Order::Resting;
                    self.changed.notify_all();
                    let rests = |state: &mut State| state.order == Order::Resting;
                    let waited = self.changed.wait_while(state, rests);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
            }
            let now = Instant::now();
            let pause = drawn.not_before.saturating_duration_since(now);
            let pause = if pause.is_zero() {
                let numbers = state.monitor.as_ref().map_or([0; 2], |monitor| {
                    [monitor.captured(), monitor.shown()].map(|p| p.map_or(0, |(number, _)| number))
                });
                let new = (state.model.changes, numbers);
                if state.anew || drawn.what != Some(new) {
                    drawn.what = Some(new);
                    return Some(std::mem::take(&mut state.anew));
                }
                // Nobody tells of a new picture.
                if state.monitor.is_some() {
                    EVERY / 4
                } else {
                    PATIENCE
                }
            } else {
                pause
            };
            let waited = self.changed.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What was drawn last, and when something may be drawn again.
#[derive(Debug)]
struct Drawn {
    what: Option<(u64, [u64; 2])>,
    not_before: Instant,
}

impl Default for Drawn {
    fn default() -> Self {
        Self {
            what: None,
            not_before: Instant::now(),
        }
    }
}

/// The pictures of the call.
struct Live<'a> {
    monitor: Option<Monitor>,
    graphics: &'a Graphics,
    panes: &'a mut [Pane; 2],
}

impl Pictures for Live<'_> {
    fn draw(&mut self, side: Side, area: Rect, buf: &mut Buffer) -> bool {
        let picture = self.monitor.as_ref().and_then(|monitor| match side {
            Side::Offerer => monitor.captured(),
            Side::Answerer => monitor.shown(),
        });
        let Some((number, frame)) = picture else {
            return false;
        };
        self.panes[side as usize].draw(self.graphics, &frame, number, area, buf);
        true
    }
}
