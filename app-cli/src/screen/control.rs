//! What the keys do: Start, Call, Hang Up and the rest, on a real pair.

use super::{
    draw::Screen,
    in_call::InCall,
    keys,
    model::{Action, Change, HANGING_UP, Model},
    setup::{Choices, Setup},
    timeline::SIDES,
};
use crate::{
    args::{CallArgs, Fault},
    backends,
    log::Lines,
    media,
    net::Nets,
    numbers::millis,
    signals::Interrupt,
    steps,
};
use ratatui::crossterm::event::{self, Event};
use std::{future::pending, io, path::PathBuf, sync::Arc, thread, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use visavis_core::{
    Call, CallFailure, Error, Mark, PairEvent, PairEvents, PairState, PeerPair, Result, SamePage, Side,
    Signal,
};
use visavis_media::session::{AudioInput, CallMedia, MediaPlan, OpenMedia, Preview, VideoInput};

/// How often figures are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Where recordings go unless `--record` says otherwise.
const RECORDINGS: &str = "recordings";

/// What a task of the controller brings back.
pub(super) enum Done {
    /// Start is done, or the sources were opened again.
    Opened(Result<OpenMedia>),
    /// The call is up, or is not.
    Called(Result<Arc<Call>, CallFailure>),
    /// Pictures and sound go.
    Carries(Arc<Call>, Result<CallMedia>),
    /// A text has come back.
    Echoed(Duration),
    /// A side of the call failed or was closed under us.
    Broken(Arc<Call>, String),
}

/// Shows calls until it is told to quit; the exit code.
pub(crate) async fn run(args: &CallArgs, log: &Lines) -> io::Result<u8> {
    let interrupt = Interrupt::with(|| {}, super::leave)?;
    let (setup, hint) = setup(args);
    let screen = Screen::open(Model::new(setup), args.graphics)?;
    log.go_to(Some(Arc::clone(&screen)));
    let mut controller = Controller::new(args, Arc::clone(&screen), hint);
    let result = controller.run(&interrupt).await;
    controller.end().await;
    let error = screen.close();
    log.go_to(None);
    let code = result?;
    error.map_or(Ok(interrupt.code().unwrap_or(code)), Err)
}

/// What the command line asks for. Where it names no source of pictures, the camera is the demo's; a hint says why it
/// is not shown.
fn setup(args: &CallArgs) -> (Setup, Option<&'static str>) {
    let mut plan = args.plan();
    let (offerer, answerer) = args.stacks.names();
    let name = |name: &str| backends::names().iter().find(|n| **n == name).copied();
    let stacks = [offerer, answerer].map(|n| name(n).unwrap_or(backends::default_name()));
    let choices = Choices::find(backends::names(), &plan);
    let camera = choices.videos.iter().find(|v| matches!(v, VideoInput::Camera(_)));
    let mut hint = None;
    if let Some(video) = &mut plan.video
        && !args.media.names_video()
    {
        match camera {
            Some(camera) => {
                video.source = camera.clone();
                let microphone = choices
                    .audios
                    .iter()
                    .find(|a| matches!(a, AudioInput::Microphone(_)));
                if let (Some(audio), Some(microphone)) = (&mut plan.audio, microphone)
                    && !args.media.names_audio()
                {
                    audio.source = microphone.clone();
                }
            }
            None if cfg!(feature = "camera") => hint = Some("no camera is here: showing the test pattern"),
            None => {
                hint = Some(
                    "no camera support in this build, showing the test pattern: cargo run --release --features camera",
                );
            }
        }
    }
    let setup = Setup {
        stacks,
        ice: args.ice.into(),
        plan,
        choices,
    };
    (setup, hint)
}

/// Holds the pair, what it carries, and the call that is up.
pub(super) struct Controller<'a> {
    args: &'a CallArgs,
    screen: Arc<Screen>,
    pair: SamePage,
    events: PairEvents,
    done: mpsc::UnboundedSender<Done>,
    news: mpsc::UnboundedReceiver<Done>,
    preview: Option<Preview>,
    /// The sources of a call that is being made.
    opened: Option<OpenMedia>,
    call: Option<InCall>,
    began: Instant,
    hint: Option<&'static str>,
}

impl<'a> Controller<'a> {
    fn new(args: &'a CallArgs, screen: Arc<Screen>, hint: Option<&'static str>) -> Self {
        let (done, news) = mpsc::unbounded_channel();
        let pair = screen.look(|model, _| pair(args, &model.setup));
        Self {
            args,
            events: pair.events(),
            pair,
            screen,
            done,
            news,
            preview: None,
            opened: None,
            call: None,
            began: Instant::now(),
            hint,
        }
    }

    async fn run(&mut self, interrupt: &Interrupt) -> io::Result<u8> {
        let mut input = read_input()?;
        let mut suspended = suspend_signals()?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let over = async {
                match &mut self.call {
                    Some(InCall {
                        media: Some(media),
                        is_over: false,
                        ..
                    }) => media.over().await,
                    _ => pending().await,
                }
            };
            tokio::select! {
                () = interrupt.wait() => return Ok(0),
                () = self.screen.gone.notified() => return Ok(1),
                event = input.recv() => match event {
                    Some(event) => {
                        let event = event?;
                        let action = self.screen.look(|model, targets| keys::action(&event, model, targets));
                        let action = action.and_then(|action| self.screen.update(|model| model.apply(action)));
                        match action {
                            Some(Action::Quit) if is_ctrl_c(&event) => return Ok(crate::signals::INTERRUPTED),
                            Some(Action::Quit) => return Ok(0),
                            Some(action) => self.act(action).await?,
                            None => {}
                        }
                    }
                    // The terminal is gone.
                    None => return Ok(1),
                },
                Some(()) = suspended.recv() => self.screen.suspend(false)?,
                Some(event) = self.events.next() => self.heard(event),
                Some(done) = self.news.recv() => self.is_done(done).await,
                () = over => self.media_over(),
                _ = look.tick() => self.look().await,
            }
        }
    }

    /// Does what the person asked for.
    async fn act(&mut self, action: Action) -> io::Result<()> {
        match action {
            Action::Start => {
                self.screen.update(|model| model.notice = None);
                self.open("opening the sources");
            }
            Action::Call => self.make_call().await,
            Action::HangUp => self.hang_up().await,
            Action::Change(change) => self.change(change).await,
            Action::Record => self.record().await,
            Action::Send => self.send_text().await,
            Action::Suspend => self.screen.suspend(true)?,
            Action::Redraw => self.screen.redraw(),
            _ => {}
        }
        Ok(())
    }

    /// Opens the sources; they are shown, and the pair can call.
    fn open(&mut self, busy: &'static str) {
        let plan = self.screen.update(|model| {
            model.busy = Some(busy);
            MediaPlan {
                record: None,
                ..model.setup.plan.clone()
            }
        });
        let done = self.done.clone();
        tokio::spawn(async move { done.send(Done::Opened(OpenMedia::open(&plan).await)) });
    }

    async fn opened(&mut self, opened: Result<OpenMedia>) {
        let result = match opened {
            Ok(opened) if self.pair.state().can_start() => self.pair.start().await.map(|()| opened),
            opened => opened,
        };
        let hint = self.hint.take();
        let result = result.map(|opened| {
            let notes = opened.notes().join("; ");
            self.screen.watch(opened.monitor(Side::Offerer));
            self.preview = Some(opened.preview());
            notes
        });
        self.screen.update(|model| {
            model.busy = None;
            match result {
                Ok(notes) if !notes.is_empty() => model.say(notes),
                // What ended a call is still to be read.
                Ok(_) => {
                    if let Some(hint) = hint {
                        model.say(hint);
                    }
                }
                Err(error) => model.complain(format!(
                    "{} Choose another source: v, m",
                    sentence(&media::refused(&error))
                )),
            }
        });
        self.show_state();
    }

    async fn make_call(&mut self) {
        let opened = match self.preview.take() {
            Some(preview) => preview.stop().await,
            None => Err(Error::closed("call")),
        };
        match opened {
            Ok(opened) => self.opened = Some(opened),
            Err(error) => {
                // The camera was pulled out while it was shown, say.
                self.screen.update(|model| model.complain(media::refused(&error)));
                return self.open("opening the sources");
            }
        }
        self.screen.update(|model| {
            model.steps.begin();
            model.figures = super::figures::Figures::default();
            model.chat.lines.clear();
            model.notice = None;
            model.state = PairState::Calling;
        });
        let (pair, done) = (self.pair.clone(), self.done.clone());
        // Before the first step, whichever of events and news is heard first.
        self.began = Instant::now();
        tokio::spawn(async move { done.send(Done::Called(pair.call().await)) });
    }

    /// What the pair tells.
    fn heard(&mut self, event: PairEvent) {
        let since = |at: Instant| millis(at.saturating_duration_since(self.began));
        let state = self.pair.state();
        self.screen.update(|model| {
            model.state = state;
            match event {
                PairEvent::Step(side, mark, at) => model.steps.reach(side, mark, since(at)),
                PairEvent::Signal(side, Signal::Description(description), _) => {
                    model.log_line(format!("the {side} sends its {}", description.kind));
                    model.steps.described(side, description);
                }
                PairEvent::Signal(side, Signal::Candidate(candidate), _) => {
                    let what = if candidate.candidate.is_empty() {
                        "the end of candidates"
                    } else {
                        &candidate.candidate
                    };
                    model.log_line(format!("the {side} sends {what}"));
                    model.steps.candidate(side, candidate);
                }
                PairEvent::Peer(side, visavis_core::PeerEvent::ConnectionState(state)) => {
                    model.log_line(format!("the {side} is {state}"));
                }
                _ => {}
            }
        });
    }

    async fn is_done(&mut self, done: Done) {
        match done {
            Done::Opened(opened) => self.opened(opened).await,
            Done::Called(Ok(call)) => self.connected(&call),
            Done::Called(Err(failure)) => self.failed(&failure),
            Done::Carries(call, media) => self.carries(&call, media).await,
            Done::Echoed(rtt) => self.screen.update(|model| model.echoed(millis(rtt))),
            Done::Broken(call, reason) if self.is_up(&call) => {
                self.hang_up().await;
                self.screen.update(|model| {
                    model.complain(format!("{reason}. {}", sentence(steps::advice(steps::MESSAGES))));
                });
            }
            Done::Broken(..) => {}
        }
    }

    /// The channel is open on both sides: pictures, sound and texts may go.
    fn connected(&mut self, call: &Arc<Call>) {
        self.call = Some(InCall::begin(call, &self.done));
        self.screen.update(|model| {
            model.say(format!("connected in {:.1} ms", millis(call.setup())));
        });
        self.show_state();
        if let Some(opened) = self.opened.take() {
            let plan = self.screen.look(|model, _| model.setup.plan.clone());
            if !plan.is_empty() {
                let (call, done, patience) = (Arc::clone(call), self.done.clone(), self.args.timeout);
                tokio::spawn(async move {
                    let media = CallMedia::start(&call, &plan, opened, patience).await;
                    done.send(Done::Carries(call, media))
                });
            }
        }
        let broken = self.args.fault == Some(Fault::Panic);
        assert!(!broken, "a fault that was asked for");
    }

    /// Whether that is the call that is up, and not one that was hung up.
    fn is_up(&self, call: &Arc<Call>) -> bool {
        self.call.as_ref().is_some_and(|up| Arc::ptr_eq(&up.call, call))
    }

    /// The media of a call goes, unless the call has been hung up meanwhile.
    async fn carries(&mut self, call: &Arc<Call>, media: Result<CallMedia>) {
        let is_up = self.is_up(call);
        match (media, &mut self.call) {
            (Ok(media), Some(call)) if is_up => {
                self.screen.watch(media.monitor(Side::Offerer));
                call.media = Some(media);
                if self.args.plan().record.is_some() {
                    self.record().await;
                }
            }
            (Ok(media), _) => drop(media.finish().await),
            (Err(error), _) if is_up => self.screen.update(|model| model.complain(error.to_string())),
            (Err(_), _) => {}
        }
    }

    fn failed(&mut self, failure: &CallFailure) {
        self.screen.update(|model| {
            let step = failure.step.unwrap_or(Mark::PeerCreated);
            if failure.hung_up {
                model.say("hung up before it was connected");
            } else {
                model.steps.failure = Some((step, failure.side, failure.reason.clone()));
                model.complain(format!(
                    "{}: not reached after {:.1} s: {}. {}",
                    steps::label(step),
                    failure.after.as_secs_f64(),
                    failure.reason,
                    sentence(steps::advice(step.name()))
                ));
            }
        });
        self.show_state();
        self.show_sources_again();
    }

    async fn hang_up(&mut self) {
        self.screen.update(|model| {
            model.busy = Some(HANGING_UP);
            model.chat.typed = None;
        });
        let mut said = None;
        if let Some(mut call) = self.call.take() {
            if let Some(media) = call.media.take() {
                let report = media.finish().await;
                said = report.problems().first().cloned();
            }
            call.end();
        }
        let result = self.pair.hang_up().await;
        self.screen.update(|model| {
            (model.busy, model.up, model.recording) = (None, None, None);
            match (result, said) {
                (Err(error), _) => model.complain(error.to_string()),
                (Ok(()), Some(problem)) => model.complain(problem),
                (Ok(()), None) => model.say("hung up; c calls again"),
            }
        });
        self.show_state();
        self.show_sources_again();
    }

    /// After a call the local picture goes on, as in the demo. A call that is being made brings its sources back itself.
    fn show_sources_again(&mut self) {
        if self.pair.state() != PairState::Ready || self.preview.is_some() {
            return;
        }
        match self.opened.take() {
            Some(opened) => self.preview = Some(opened.preview()),
            None => self.open("opening the sources again"),
        }
    }

    async fn change(&mut self, change: Change) {
        let state = self.pair.state();
        let carries = self.call.as_ref().is_some_and(|call| call.media.is_some());
        let changed = self.screen.update(|model| {
            if model.busy.is_some() || (state.can_hang_up() && !carries) {
                return Err("a moment: something is under way".to_owned());
            }
            let mut setup = model.setup.clone();
            setup.change(change, state)?;
            Ok(setup)
        });
        let setup = match changed {
            Ok(setup) => setup,
            Err(why) => return self.screen.update(|model| model.say(why)),
        };
        if state.can_hang_up() {
            if let Err(error) = self.change_in_call(change, &setup).await {
                return self.screen.update(|model| model.complain(media::refused(&error)));
            }
            return self.screen.update(|model| model.setup = setup);
        }
        self.pair = pair(self.args, &setup);
        self.events = self.pair.events();
        self.screen
            .update(|model| (model.setup, model.notice) = (setup, None));
        if state == PairState::Ready {
            // The new pair is to be where the old one was.
            let _ = self.pair.start().await;
            if matches!(change, Change::Video | Change::Audio | Change::Ways) {
                self.preview = None;
                self.open("opening the sources");
            }
        }
        self.show_state();
    }

    async fn change_in_call(&mut self, change: Change, setup: &Setup) -> Result<()> {
        let Some(media) = self.call.as_mut().and_then(|call| call.media.as_mut()) else {
            return Ok(());
        };
        let plan = &setup.plan;
        match (change, &plan.video, &plan.audio) {
            (Change::MoreBits | Change::FewerBits, Some(video), _) => {
                for side in SIDES {
                    video
                        .bitrate
                        .map(|bitrate| media.set_video_bitrate(side, bitrate));
                }
                Ok(())
            }
            (Change::Video, Some(video), _) => media.replace_video(Side::Offerer, video).await,
            (Change::Audio, _, Some(audio)) => media.replace_audio(Side::Offerer, audio).await,
            _ => Ok(()),
        }
    }

    async fn record(&mut self) {
        let Some(media) = self.call.as_mut().and_then(|call| call.media.as_mut()) else {
            return self
                .screen
                .update(|model| model.say("there is nothing to record: call first (c)"));
        };
        let directory = self
            .args
            .plan()
            .record
            .unwrap_or_else(|| PathBuf::from(RECORDINGS));
        let recording = self.screen.look(|model, _| model.recording.is_some());
        let result = media.record((!recording).then_some(directory.as_path())).await;
        self.screen.update(|model| match result {
            Ok(files) if recording => {
                let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                model.recording = None;
                model.say(format!("recorded {}", files.join(", ")));
            }
            Ok(_) => {
                model.say(format!("recording what arrives into {}", directory.display()));
                model.recording = Some(directory.display().to_string());
            }
            Err(error) => {
                model.recording = None;
                model.complain(media::refused(&error));
            }
        });
    }

    async fn send_text(&mut self) {
        let text = self
            .screen
            .update(|model| model.chat.typed.as_mut().map(std::mem::take));
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return;
        };
        let Some(call) = &mut self.call else {
            return self.screen.update(|model| model.say("a text needs a call (c)"));
        };
        let sent = call.say(&text).await;
        self.screen.update(|model| match sent {
            Ok(()) => model.said(text),
            Err(error) => model.complain(error.to_string()),
        });
    }

    fn media_over(&mut self) {
        let Some(call) = &mut self.call else { return };
        call.is_over = true;
        let Some(media) = &call.media else { return };
        let problem = media.report().problems().first().cloned();
        self.screen.update(|model| match problem {
            Some(problem) => model.complain(format!("{problem}. Choose another source: v, m")),
            None => model.say("the file has ended; v chooses another source"),
        });
    }

    /// Brings the figures up to date.
    async fn look(&mut self) {
        if let Some(call) = &mut self.call {
            let up = call.call.began.elapsed();
            let figures = call.figures().await;
            let pairs = call.pairs;
            self.screen.update(|model| {
                model.up = Some(up);
                model.figures = figures;
                model.steps.pairs = pairs;
            });
        } else {
            let calling = self.pair.state() == PairState::Calling;
            let levels = self.screen.monitor().map(|m| m.captured_level());
            if calling || levels.is_some() {
                let going = millis(self.began.elapsed());
                self.screen.update(|model| {
                    if calling {
                        model.steps.going_ms = going;
                    }
                    let way = model.figures.ways[0].get_or_insert_default();
                    way.levels = [levels.flatten(), None];
                });
            }
        }
    }

    fn show_state(&self) {
        let state = self.pair.state();
        self.screen.update(|model| model.state = state);
    }

    /// Ends what goes on, before the program does.
    async fn end(&mut self) {
        if self.pair.state().can_hang_up() {
            self.hang_up().await;
        }
    }
}

/// A pair of these stacks.
fn pair(args: &CallArgs, setup: &Setup) -> SamePage {
    let [offerer, answerer] = setup.stacks.map(|name| {
        let backend = backends::find(name);
        backend.expect("the stacks to choose from are those of this build")
    });
    let mut config = args.pair_config(&setup.plan);
    config.ice = setup.ice;
    let nets = Nets::new(args.net, args.net_seed);
    SamePage::on(offerer, answerer, nets.hosts(), config)
}

/// Reads the terminal in a thread of its own.
fn read_input() -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (sender, events) = mpsc::channel(64);
    let read = move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if sender.blocking_send(event).is_err() || failed {
                return;
            }
        }
    };
    thread::Builder::new().name("input".to_owned()).spawn(read)?;
    Ok(events)
}

fn is_ctrl_c(event: &Event) -> bool {
    matches!(event, Event::Key(key) if key.code == event::KeyCode::Char('c'))
}

/// SIGTSTP from elsewhere; Ctrl-Z is a key.
#[cfg(unix)]
fn suspend_signals() -> io::Result<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw()))
}

/// A text as a sentence of its own.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}", chars.as_str())
}
