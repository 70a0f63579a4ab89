//! `visavis call`: one call after the other on one pair, told live or as data.

use crate::{
    args::CallArgs,
    backends, media,
    narrate::Narrator,
    net::{self, Nets},
    numbers::millis,
    out::{BOLD, Out, Progress, paint, style_of},
    outcome::{Ended, end, fail, fail_at},
    report::{self, ExitReason, Report},
    resources::{self, Cpu, alive_tasks},
    signals::Interrupt,
    steps,
    talk::{self, Heard},
};
use anstyle::Style;
use std::{future::pending, io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use visavis_core::{Call, CallFailure, CallSide, ConnectionState, IceMode, PeerPair, SamePage, Side};
use visavis_media::session::{CallMedia, MediaPlan, OpenMedia};

/// Stats are a matter of microseconds; a peer that takes longer than this has none.
const STATS_PATIENCE: Duration = Duration::from_secs(1);

/// What has to arrive of a call with media, however short it is: a picture, and 200 ms of sound, with a beep in it.
const AT_LEAST: (u64, u64) = (1, 10);

/// Makes the calls; the exit code.
pub(crate) async fn run(args: &CallArgs, out: &mut Out) -> io::Result<u8> {
    let mut caller = Caller::new(args)?;
    let quiet = args.json || args.is_series();
    if !args.json {
        caller.introduce(args, out)?;
    }
    let progress = Progress::new(args.is_series());
    let mut reports = Vec::new();
    let mut failed = false;
    let warmups = (1..=args.warmup).map(|run| (run, true));
    for (run, warmup) in warmups.chain((1..=args.runs).map(|run| (run, false))) {
        let of = if warmup { args.warmup } else { args.runs };
        progress.show(format_args!(
            "{} {run} of {of}",
            if warmup { "warm-up" } else { "call" }
        ));
        let report = caller.call(run, warmup, quiet, out).await?;
        if args.json {
            out.json(&report)?;
        } else if quiet {
            report.run_line(of, out)?;
        } else if report.exit_reason != ExitReason::Failed || report.setup_ms.is_some() {
            report.summary(out)?;
        }
        failed |= report.exit_reason == ExitReason::Failed;
        if !warmup {
            reports.push(report);
        }
        if caller.interrupt.code().is_some() {
            break;
        }
    }
    drop(progress);
    if quiet && !args.json {
        report::table(&reports, out)?;
    }
    Ok(caller.interrupt.code().unwrap_or(u8::from(failed)))
}

/// A pair that calls again and again.
struct Caller {
    pair: SamePage,
    nets: Nets,
    names: [&'static str; 2],
    ice: IceMode,
    plan: MediaPlan,
    duration: Duration,
    patience: Duration,
    interrupt: Interrupt,
}

impl Caller {
    fn new(args: &CallArgs) -> io::Result<Self> {
        let (offerer, answerer) = args.stacks.names();
        let backend = |name: &str| {
            let backend = backends::find(name);
            backend.ok_or_else(|| io::Error::other(format!("there is no stack {name}")))
        };
        let (offerer, answerer) = (backend(offerer)?, backend(answerer)?);
        let config = args.pair_config(&args.plan());
        let nets = Nets::new(args.net, args.net_seed);
        Ok(Self {
            names: [offerer.name(), answerer.name()],
            ice: config.ice,
            pair: SamePage::on(offerer, answerer, nets.hosts(), config),
            nets,
            plan: args.plan(),
            duration: args.duration(),
            patience: args.timeout,
            interrupt: Interrupt::listen()?,
        })
    }

    fn introduce(&self, args: &CallArgs, out: &mut Out) -> io::Result<()> {
        let [offerer, answerer] = self.names;
        let ice = match self.ice {
            IceMode::Trickle => "trickle ICE",
            IceMode::Full => "full ICE",
        };
        let bind = match args.bind.as_slice() {
            [] => "127.0.0.1".to_owned(),
            bind => bind
                .iter()
                .map(|a| {
                    if a.port() == 0 {
                        a.ip().to_string()
                    } else {
                        a.to_string()
                    }
                })
                .collect::<Vec<_>>()
                .join(", "),
        };
        let texts = if self.duration.is_zero() {
            "a text each way".to_owned()
        } else if args.duration.is_none() && self.plan.is_finite() {
            "texts until the file ends".to_owned()
        } else {
            format!("texts for {:?}", self.duration)
        };
        let network = self
            .nets
            .about()
            .map(|bad| format!("a bad network ({}), ", bad.impairments));
        let network = network.unwrap_or_default();
        out.line(format!(
            "{} calls {}: {ice} on {bind}, {network}a data channel, {texts}",
            paint(style_of(Side::Offerer), format!("{offerer} (offerer)")),
            paint(style_of(Side::Answerer), format!("{answerer} (answerer)")),
        ))?;
        if let Some(media) = media::introduction(&self.plan) {
            out.wrapped(0, Style::new(), &media)?;
        }
        out.line("")
    }

    /// One call from Start to Hang Up.
    async fn call(&mut self, run: u32, warmup: bool, quiet: bool, out: &mut Out) -> io::Result<Report> {
        let mut report = Report::new(run, warmup, self.names, self.ice);
        let opened = match self.start().await {
            Ok(opened) => opened,
            Err(error) => {
                fail_at(&mut report, steps::SOURCES, media::refused(&error));
                return Ok(report);
            }
        };
        if !quiet {
            opened
                .notes()
                .iter()
                .try_for_each(|note| out.line(format!("note: {note}\n")))?;
            let heading = format!("{:>9}  {:<21}{:<24}{:>8}", "ms", "who", "step", "since");
            out.line(paint(BOLD, heading))?;
        }
        let (tasks, cpu) = (alive_tasks(), Cpu::start());
        let carried = self.nets.counts();
        let steps = (!quiet).then(|| self.pair.events());
        let (mut narrator, tell) = Narrator::new(steps, self.ice);
        match narrator.during(out, self.connect()).await? {
            Err(failure) => {
                narrator.flush(out).await?;
                fail(&mut report, &failure, narrator.began());
            }
            Ok(call) => {
                report.setup_ms = Some(millis(call.setup()));
                let mut media = None;
                let talk = self.talk(&call, opened, &mut media, &tell);
                let ended = narrator.during(out, talk).await?;
                if let Some(media) = media {
                    report.media = narrator.during(out, media.finish()).await?;
                }
                report.cpu_percent = cpu.percent();
                let peers = async { tokio::join!(call.offerer.peer.stats(), call.answerer.peer.stats()) };
                let stats = timeout(STATS_PATIENCE, peers).await.ok();
                let (offerer, answerer) = stats.map_or((None, None), |(a, b)| (a.ok(), b.ok()));
                let hang_up = Instant::now();
                let result = narrator.during(out, self.pair.hang_up()).await?;
                report.hang_up_ms = result.is_ok().then(|| millis(hang_up.elapsed()));
                narrator.end(out).await?;
                for (side, stats) in [(Side::Offerer, offerer), (Side::Answerer, answerer)] {
                    let CallSide { peer, channel, .. } = call.side(side);
                    report.side(side).reached(peer.timeline(), call.began);
                    report.side(side).counted(stats.as_ref(), channel.stats());
                }
                report.round_trips(&narrator.rtts);
                end(&mut report, ended);
            }
        }
        report.net = self.nets.about().cloned();
        [report.offerer.network, report.answerer.network] = net::since(self.nets.counts(), carried);
        resources::count(&mut report, tasks).await;
        Ok(report)
    }

    /// Start: opens the sources.
    async fn start(&self) -> visavis_core::Result<OpenMedia> {
        let opened = OpenMedia::open(&self.plan).await?;
        if self.pair.state().can_start() {
            self.pair.start().await?;
        }
        Ok(opened)
    }

    /// What goes on while the call is up: texts, pictures and sound, until one of them breaks or it is time.
    async fn talk(
        &self,
        call: &Arc<Call>,
        opened: OpenMedia,
        media: &mut Option<CallMedia>,
        tell: &mpsc::UnboundedSender<Heard>,
    ) -> Ended {
        let (over, is_over) = watch::channel(false);
        let talk = async {
            if !self.plan.is_empty() {
                let started = CallMedia::start(call, &self.plan, opened, self.patience).await;
                *media = Some(started.map_err(|error| (steps::MEDIA, error.to_string()))?);
            }
            let texts = talk::exchange(call, self.duration, &is_over, self.patience, tell);
            let watched = async {
                if let Some(media) = media.as_mut() {
                    media::watch(media, tell).await;
                    over.send_replace(true);
                }
                pending::<()>().await;
            };
            tokio::select! {
                texts = texts => texts.map_err(|reason| (steps::MESSAGES, reason))?,
                () = watched => {}
            }
            if let Some(media) = media.as_ref()
                && !*is_over.borrow()
            {
                // If nothing comes, the report says what is missing.
                let _ = timeout(self.patience, media.arrived(AT_LEAST.0, AT_LEAST.1)).await;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            () = self.interrupt.wait() => Ended::Interrupted,
            reason = broken(call) => Ended::Broken(steps::MESSAGES, reason),
            result = talk => match result {
                Ok(()) => Ended::Done,
                Err((step, reason)) => Ended::Broken(step, reason),
            },
        }
    }

    /// Makes the call, unless the program is asked to end.
    async fn connect(&self) -> Result<Arc<Call>, CallFailure> {
        let mut call = pin!(self.pair.call());
        tokio::select! {
            biased;
            result = &mut call => result,
            () = self.interrupt.wait() => tokio::join!(call, self.pair.hang_up()).0,
        }
    }
}

/// Waits until a side of a call fails or is closed under us; why.
async fn broken(call: &Call) -> String {
    let over = |side: Side| async move {
        match call.side(side).peer.wait_for(ConnectionState::Closed).await {
            Ok(()) => format!("the {side} was closed"),
            Err(error) => format!("the {side}: {error}"),
        }
    };
    tokio::select! {
        reason = over(Side::Offerer) => reason,
        reason = over(Side::Answerer) => reason,
    }
}
