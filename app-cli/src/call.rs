//! `visavis call`: one call after the other on one pair, told live or as data.

use crate::{
    args::CallArgs,
    backends,
    narrate::Narrator,
    numbers::millis,
    out::{BOLD, Out, Progress, RED, note, paint, style_of},
    report::{self, ExitReason, Messages, PeerReport, Report, SCHEMA_VERSION},
    signals::Interrupt,
    steps, talk,
};
use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};
use visavis_core::{
    Call, CallFailure, CallSide, ConnectionState, IceMode, Mark, PairConfig, PeerConfig, PeerPair, SamePage,
    Side,
};

/// Stats are a matter of microseconds; a peer that takes longer than this has none.
const STATS_PATIENCE: Duration = Duration::from_secs(1);

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
    names: [&'static str; 2],
    ice: IceMode,
    duration: Duration,
    patience: Duration,
    interrupt: Interrupt,
}

/// How the conversation ended.
enum Ended {
    Done,
    Interrupted,
    Broken(String),
}

impl Caller {
    fn new(args: &CallArgs) -> io::Result<Self> {
        let (offerer, answerer) = args.stacks.names();
        let backend = |name: &str| {
            let backend = backends::find(name);
            backend.ok_or_else(|| io::Error::other(format!("there is no stack {name}")))
        };
        let (offerer, answerer) = (backend(offerer)?, backend(answerer)?);
        let mut config = PairConfig {
            ice: args.ice.into(),
            timeout: args.timeout,
            ..PairConfig::default()
        };
        for (side, peer) in [(0, &mut config.offerer), (1, &mut config.answerer)] {
            let at = |addr: &SocketAddr| SocketAddr::new(addr.ip(), next_port(addr.port(), side));
            peer.connect_timeout = peer.connect_timeout.max(args.timeout);
            if !args.bind.is_empty() {
                *peer = PeerConfig {
                    bind: args.bind.iter().map(at).collect(),
                    ..peer.clone()
                };
            }
        }
        Ok(Self {
            names: [offerer.name(), answerer.name()],
            ice: config.ice,
            pair: SamePage::new(offerer, answerer, config),
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
        } else {
            format!("texts for {:?}", self.duration)
        };
        out.line(format!(
            "{} calls {}: {ice} on {bind}, a data channel, {texts}",
            paint(style_of(Side::Offerer), format!("{offerer} (offerer)")),
            paint(style_of(Side::Answerer), format!("{answerer} (answerer)")),
        ))?;
        if args.is_series() {
            return out.line("");
        }
        out.line("")?;
        out.line(paint(
            BOLD,
            format!("{:>9}  {:<21}{:<24}{:>8}", "ms", "who", "step", "since"),
        ))
    }

    /// One call from Call to Hang Up.
    async fn call(&mut self, run: u32, warmup: bool, quiet: bool, out: &mut Out) -> io::Result<Report> {
        if self.pair.state().can_start() {
            self.pair.start().await.map_err(io::Error::other)?;
        }
        let tasks = alive_tasks();
        let steps = (!quiet).then(|| self.pair.events());
        let (mut narrator, echoes) = Narrator::new(steps, self.ice);
        let mut report = self.blank(run, warmup);
        match narrator.during(out, self.connect()).await? {
            Err(failure) => {
                narrator.flush(out).await?;
                fail(&mut report, &failure, narrator.began());
            }
            Ok(call) => {
                report.setup_ms = Some(millis(call.setup()));
                let talk = async {
                    tokio::select! {
                        biased;
                        () = self.interrupt.wait() => Ended::Interrupted,
                        reason = broken(&call) => Ended::Broken(reason),
                        result = talk::exchange(&call, self.duration, self.patience, &echoes) => match result {
                            Ok(()) => Ended::Done,
                            Err(reason) => Ended::Broken(reason),
                        },
                    }
                };
                let ended = narrator.during(out, talk).await?;
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
                report.exit_reason = match ended {
                    Ended::Done => ExitReason::Done,
                    Ended::Interrupted => ExitReason::Interrupted,
                    Ended::Broken(reason) => {
                        complain(steps::MESSAGES, &format!("the call broke: {reason}"));
                        report.failed_step = Some(steps::MESSAGES);
                        report.error = Some(reason);
                        ExitReason::Failed
                    }
                };
            }
        }
        count_resources(&mut report, tasks).await;
        Ok(report)
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

    fn blank(&self, run: u32, warmup: bool) -> Report {
        let peer = |stack| PeerReport {
            stack,
            ..PeerReport::default()
        };
        Report {
            schema_version: SCHEMA_VERSION,
            run,
            warmup,
            pair: self.names.join(":"),
            ice: self.ice,
            exit_reason: ExitReason::Failed,
            failed_step: None,
            failed_side: None,
            error: None,
            setup_ms: None,
            hang_up_ms: None,
            messages: Messages::default(),
            offerer: peer(self.names[0]),
            answerer: peer(self.names[1]),
            threads: None,
            fds: None,
            tasks: None,
        }
    }
}

/// The answerer binds the port after the offerer's; 0 lets the machine choose.
fn next_port(port: u16, side: u16) -> u16 {
    if port == 0 { 0 } else { port.saturating_add(side) }
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

/// Writes down, and says on standard error, why there was no call.
fn fail(report: &mut Report, failure: &CallFailure, began: Instant) {
    for (side, timeline) in [Side::Offerer, Side::Answerer]
        .into_iter()
        .zip(&failure.timelines)
    {
        report.side(side).reached(timeline, began);
    }
    if failure.hung_up {
        report.exit_reason = ExitReason::Interrupted;
        return;
    }
    let step = failure.step.map_or("peer_created", Mark::name);
    report.failed_step = Some(step);
    report.failed_side = Some(failure.side);
    report.error = Some(failure.reason.clone());
    let label = failure.step.map_or("peer created", steps::label);
    complain(
        step,
        &format!(
            "the call failed after {:.1} s: the {} did not reach `{label}`: {}",
            failure.after.as_secs_f64(),
            failure.side,
            failure.reason
        ),
    );
}

fn complain(step: &str, what: &str) {
    note(format!("{} {what}", paint(RED, "error:")));
    note(format!("  {} {}", paint(BOLD, "try:"), steps::advice(step)));
}

/// Counts what this process holds after a call, so that a leak shows. `before` is how many tasks there were.
async fn count_resources(report: &mut Report, before: usize) {
    // A closed peer's task may still be on its last line.
    let patience = Instant::now() + Duration::from_millis(100);
    while alive_tasks() > before && Instant::now() < patience {
        sleep(Duration::from_millis(1)).await;
    }
    report.tasks = Some(alive_tasks());
    // Linux only; unknown elsewhere.
    report.threads = std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|l| l.strip_prefix("Threads:"))?;
            line.trim().parse().ok()
        });
    // Reading the directory holds a descriptor of its own.
    report.fds = std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|fds| fds.count().saturating_sub(1));
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
