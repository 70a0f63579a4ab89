//! Makes a run: blocks, in each of them every arm in random order, each visit in a process of its own.

use crate::{
    environment::{Environment, Ticks},
    outcome::Outcome,
    plan::Plan,
    results::{ArmResult, RowResult, Run, SCHEMA_VERSION},
    work::Visit,
};
use fastrand::Rng;
use std::{ffi::OsString, io, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    process::Command,
    time::{Instant, timeout},
};

/// How much longer than its budget a visit may take: calls that fail take their time, and so do 1,000 pairs.
const PATIENCE: Duration = Duration::from_secs(180);

/// How far a run is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Visits that are done.
    pub done: usize,
    /// Visits in all.
    pub all: usize,
    /// About how long the rest takes; `None` before the first visits are done.
    pub left: Option<Duration>,
    /// What is done now.
    pub now: String,
}

/// Makes the run that `plan` says. `visit` makes a visit; `progress` is told before each and says whether to go on.
pub async fn run(
    plan: Plan,
    mut visit: impl AsyncFnMut(&Visit) -> Option<Outcome>,
    mut progress: impl FnMut(&Progress),
) -> Run {
    let began = Instant::now();
    let before = Ticks::read();
    let mut rng = Rng::with_seed(plan.seed);
    let mut rows: Vec<RowResult> = plan.rows.iter().map(RowResult::empty).collect();
    let mut pace = Pace::new(&plan);
    let mut interrupted = false;
    let blocks = plan.rows.iter().map(|row| row.blocks).max().unwrap_or(0);
    'run: for block in 0..blocks {
        for (row, results) in plan
            .rows
            .iter()
            .zip(&mut rows)
            .filter(|(row, _)| block < row.blocks)
        {
            let mut order: Vec<usize> = (0..row.arms.len()).collect();
            rng.shuffle(&mut order);
            let mut outcomes: Vec<Option<Outcome>> = vec![None; order.len()];
            for index in order {
                let arm = &row.arms[index];
                progress(&pace.progress(format!("{}: {arm}", row.work)));
                let asked = Visit {
                    work: row.work,
                    arm: arm.clone(),
                    profile: plan.profile,
                    budget: row.budget,
                    warmup: plan.warmup,
                    handicaps: plan.handicaps.clone(),
                    namespace: plan.namespace.clone(),
                    recording: plan.recording.clone(),
                };
                let Some(outcome) = visit(&asked).await else {
                    interrupted = true;
                    break 'run;
                };
                outcomes[index] = Some(outcome);
                pace.done();
            }
            // A block counts as a whole: it is what makes its visits comparable.
            for (result, outcome) in results.arms.iter_mut().zip(outcomes) {
                result.visits.extend(outcome);
            }
        }
    }
    let own = rows
        .iter()
        .flat_map(|row| &row.arms)
        .flat_map(|arm| &arm.visits)
        .map(|visit| visit.cpu)
        .sum();
    let seconds = began.elapsed().as_secs_f64();
    let load = before
        .zip(Ticks::read())
        .map(|(before, now)| now.load_since(before, own, seconds));
    Run {
        schema_version: SCHEMA_VERSION,
        environment: Environment::read(),
        plan,
        load: load.unwrap_or_default(),
        interrupted,
        rows,
    }
}

impl RowResult {
    fn empty(row: &crate::plan::Row) -> Self {
        let arm = |arm: &crate::work::Arm| ArmResult {
            arm: arm.clone(),
            visits: Vec::new(),
        };
        Self {
            scenario: row.scenario,
            work: row.work,
            arms: row.arms.iter().map(arm).collect(),
        }
    }
}

/// Says how long the rest of a run takes, by what each row's visits took so far.
#[derive(Debug)]
struct Pace {
    began: Instant,
    done: usize,
    all: usize,
}

impl Pace {
    fn new(plan: &Plan) -> Self {
        Self {
            began: Instant::now(),
            done: 0,
            all: plan.visits(),
        }
    }

    fn done(&mut self) {
        self.done += 1;
    }

    fn progress(&self, now: String) -> Progress {
        let each = (self.done > 0).then(|| self.began.elapsed().div_f64(self.done as f64));
        Progress {
            done: self.done,
            all: self.all,
            left: each.map(|each| each.mul_f64((self.all - self.done) as f64)),
            now,
        }
    }
}

/// Makes each visit in a new process, so that none inherits warm caches, memory or ports from another, and what
/// differs from process to process is part of the spread.
#[derive(Debug, Clone)]
pub struct Workers {
    program: PathBuf,
    args: Vec<OsString>,
}

impl Workers {
    /// This program, started with `args`, is a worker: it reads a [`Visit`] as JSON from standard input and writes its
    /// [`Outcome`] to standard output.
    ///
    /// # Errors
    ///
    /// When the program's own file cannot be found.
    pub fn of_this_program(args: impl IntoIterator<Item = impl Into<OsString>>) -> io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            args: args.into_iter().map(Into::into).collect(),
        })
    }

    /// Makes a visit. A worker that ends badly, or not at all, is a failure in the outcome. Dropping the future ends
    /// the worker.
    pub async fn visit(&self, visit: &Visit) -> Outcome {
        match timeout(visit.budget * 8 + PATIENCE, self.try_visit(visit)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(reason)) => Outcome::failed(reason),
            Err(_) => Outcome::failed("the worker did not end"),
        }
    }

    async fn try_visit(&self, visit: &Visit) -> Result<Outcome, String> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Ctrl-C is for us: we end the worker.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| format!("the worker did not start: {error}"))?;
        let asked = serde_json::to_vec(visit).map_err(|error| error.to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&asked).await.map_err(|error| error.to_string())?;
        }
        let output = child
            .wait_with_output()
            .await
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().last().unwrap_or("nothing on standard error");
            return Err(format!("the worker ended with {}: {said}", output.status));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| format!("the worker's outcome: {error}"))
    }
}
