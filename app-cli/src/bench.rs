//! `visavis bench`: measures every pair in turns and says what is clear of the noise.

use crate::{
    args::BenchArgs,
    backends,
    out::{BOLD, DIM, Out, Progress, note, paint},
    signals::Interrupt,
};
use serde::Deserialize;
use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
};
use visavis_bench::{
    compare::{Comparison, compare},
    counts::{self, Counts, Task},
    plan::Plan,
    report,
    results::Run,
    runner::{self, Workers},
    summary::Summary,
    words,
    work::Visit,
    worker,
};

/// The hidden command that makes this program a worker.
pub(crate) const WORKER: &str = "bench-worker";

/// What a worker is asked for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asked {
    Visit(Box<Visit>),
    Task(Task),
}

/// Makes the run; the exit code.
pub(crate) async fn run(args: &BenchArgs, out: &mut Out) -> io::Result<u8> {
    if args.counts {
        return count(args, out).await;
    }
    let baseline = args.baseline.as_deref().map(read).transpose()?;
    let (run, code) = match &args.show {
        Some(path) => (read(path)?, 0),
        None => measure(args).await?,
    };
    let summary = Summary::of(&run);
    let comparison = baseline
        .map(|before| compare(&before, &run))
        .transpose()
        .map_err(io::Error::other)?;
    if let Some(path) = &args.save {
        write(path, &serde_json::to_string(&run)?)?;
    }
    if let Some(path) = &args.html {
        write(path, &report::page(&run, &summary, comparison.as_ref()))?;
    }
    if let Some(dir) = &args.plots {
        fs::create_dir_all(dir).map_err(|error| io::Error::other(format!("{}: {error}", dir.display())))?;
        for (name, svg) in report::svgs(&run, &summary) {
            write(&dir.join(format!("{name}.svg")), &svg)?;
        }
    }
    if args.json {
        out.json(&run)?;
    } else if args.markdown {
        out.line(report::markdown(&run, &summary, comparison.as_ref()))?;
    } else {
        text(&run, &summary, comparison.as_ref(), out)?;
    }
    let failed = summary
        .rows
        .iter()
        .flat_map(|row| &row.arms)
        .any(|arm| arm.failures > 0);
    Ok(if code == 0 { u8::from(failed) } else { code })
}

/// Measures what is asked for, until it is done or the program is asked to end.
async fn measure(args: &BenchArgs) -> io::Result<(Run, u8)> {
    let interrupt = Interrupt::listen()?;
    let plan = Plan::new(&backends::lab(), &args.wishes());
    if plan.rows.is_empty() {
        return Err(io::Error::other(
            "there is nothing to measure: no scenario that was asked for can be done on these pairs",
        ));
    }
    let workers = Workers::of_this_program([WORKER])?;
    let progress = Progress::alone();
    let visit = async |visit: &Visit| {
        tokio::select! {
            outcome = workers.visit(visit) => Some(outcome),
            () = interrupt.wait() => None,
        }
    };
    let run = runner::run(plan, visit, |now| {
        progress.bar(now.done, now.all, now.left, &now.now);
    })
    .await;
    drop(progress);
    Ok((run, interrupt.code().unwrap_or(0)))
}

/// `visavis bench-worker`: one visit, read from standard input; its outcome goes to standard output.
pub(crate) fn work() -> io::Result<()> {
    let mut asked = String::new();
    io::stdin().read_to_string(&mut asked)?;
    match serde_json::from_str(&asked)? {
        Asked::Visit(visit) => {
            let outcome = worker::run(&backends::lab(), &visit);
            serde_json::to_writer(io::stdout().lock(), &outcome)?;
            io::stdout().flush()
        }
        Asked::Task(task) => task.run(&backends::lab()).map_err(io::Error::other),
    }
}

/// Counts, and compares with what was counted before; the exit code.
async fn count(args: &BenchArgs, out: &mut Out) -> io::Result<u8> {
    let baseline = args
        .baseline
        .as_deref()
        .map(|path| load(path, Counts::from_json))
        .transpose()?;
    let interrupt = Interrupt::listen()?;
    let arms = if args.pairs().is_empty() {
        counts::arms(&backends::lab())
    } else {
        args.pairs()
    };
    let progress = Progress::alone();
    let program = std::env::current_exe()?;
    let worker = [WORKER.into()];
    let counted = counts::count(&program, &worker, &arms, |done, all, now| {
        progress.bar(done, all, None, now);
    });
    let counted = tokio::select! {
        counted = counted => counted.map_err(io::Error::other)?,
        () = interrupt.wait() => return Ok(interrupt.code().unwrap_or(0)),
    };
    drop(progress);
    if let Some(path) = &args.save {
        write(path, &serde_json::to_string_pretty(&counted)?)?;
    }
    if args.json {
        out.json(&counted)?;
    } else {
        table(&counted, out)?;
    }
    let changes = baseline.map_or_else(Vec::new, |baseline| counted.changes(&baseline));
    for change in &changes {
        note(change);
    }
    Ok(u8::from(!changes.is_empty()))
}

fn table(counted: &Counts, out: &mut Out) -> io::Result<()> {
    let (operation, arm) = (24, 22);
    out.line(paint(
        BOLD,
        format!(
            "{:operation$}{:arm$}{:>14}{:>14}{:>14}",
            "", "", "instructions", "allocations", "system calls"
        ),
    ))?;
    for count in &counted.counts {
        out.line(format!(
            "{:operation$}{:arm$}{:>14}{:>14}{:>14}",
            count.operation.to_string(),
            count.arm.to_string(),
            words::short(count.instructions),
            words::short(count.allocations),
            count.system_calls.map_or_else(|| "–".to_owned(), words::short),
        ))?;
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Run> {
    load(path, Run::from_json)
}

fn load<T>(path: &Path, parse: impl Fn(&str) -> Result<T, String>) -> io::Result<T> {
    let named = |error: String| io::Error::other(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    parse(&text).map_err(named)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
}

/// The tables, the verdicts, and why not to rely on them.
fn text(run: &Run, summary: &Summary, comparison: Option<&Comparison>, out: &mut Out) -> io::Result<()> {
    for row in &summary.rows {
        let metric = row.work.headline();
        out.line(paint(BOLD, row.work))?;
        let width = row
            .arms
            .iter()
            .map(|arm| arm.arm.to_string().len())
            .max()
            .unwrap_or(0);
        let title = format!("{} {}", metric.title(), metric.unit());
        out.line(paint(
            DIM,
            format!(
                "  {:width$}  {:>12}  {:>21}  {:>9}  {:>6}  × the first",
                "",
                title.trim(),
                "95 %",
                "p95",
                "n"
            ),
        ))?;
        for arm in &row.arms {
            let failed = match (arm.failures, &arm.failure) {
                (0, _) | (_, None) => String::new(),
                (n, Some(reason)) => format!("  {n} failed: {reason}"),
            };
            let Some(cell) = arm.cells.get(&metric) else {
                out.line(format!("  {:width$}  no result{failed}", arm.arm.to_string()))?;
                continue;
            };
            let interval = format!(
                "{} to {}",
                words::short(cell.level.low),
                words::short(cell.level.high)
            );
            let p95 = cell.p95.map_or_else(|| "–".to_owned(), words::short);
            let ratio = cell.ratio.map_or_else(String::new, |ratio| {
                let [value, low, high] = [ratio.value, ratio.low, ratio.high].map(words::short);
                format!("{value} ({low} to {high})")
            });
            out.line(format!(
                "  {:width$}  {:>12}  {interval:>21}  {p95:>9}  {:>6}  {ratio}{failed}",
                arm.arm.to_string(),
                words::short(cell.level.value),
                cell.n,
            ))?;
        }
        out.line("")?;
    }
    section(
        "What is clear of the noise",
        &words::verdicts(summary),
        "Nothing: every difference is within it.",
        out,
    )?;
    if let Some(comparison) = comparison {
        section("Against the earlier run", &comparison.notes, "", out)?;
        section(
            "",
            &comparison.verdicts(),
            "No number has changed beyond the noise.",
            out,
        )?;
        if !comparison.outside.is_empty() {
            let title = "Unreliable unless something was changed: outside of the earlier run's intervals";
            section(title, &comparison.outside, "", out)?;
        }
    }
    if !summary.doubts.is_empty() {
        section("These figures are unreliable", &summary.doubts, "", out)?;
    }
    let failed: usize = run
        .rows
        .iter()
        .flat_map(|row| &row.arms)
        .map(visavis_bench::results::ArmResult::failures)
        .sum();
    if failed > 0 {
        out.line(format!(
            "{failed} calls or batches failed; they are in the results."
        ))?;
    }
    Ok(())
}

fn section(title: &str, sentences: &[String], otherwise: &str, out: &mut Out) -> io::Result<()> {
    if !title.is_empty() {
        out.line(paint(BOLD, title))?;
    }
    if sentences.is_empty() && !otherwise.is_empty() {
        out.line(format!("  {otherwise}"))?;
    }
    for sentence in sentences {
        out.wrapped(2, anstyle::Style::new(), sentence)?;
    }
    out.line("")
}
