//! Many calls one after another, and many at once, in one process a pair: what is left of them afterwards, and what they
//! take meanwhile. Fails when a call does, or when something is left. Prints a table.
//!
//! Each call has video, sound and a data channel, on loopback, and carries frames and messages both ways.
//!
//! `cargo run --release -p visavis-tests --bin endurance -- 1000 200`

use std::{
    env,
    error::Error,
    fs,
    process::{Command, ExitCode},
    sync::Arc,
};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep},
};
use visavis_core::{Backend, Codec, Direction, Side};
use visavis_tests::{
    Network, Stack, Stacks, World, alive_tasks,
    frames::Plan,
    media::{MediaCall, flow, line},
    ping, runner,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How often so many at once are made and ended.
const ROUNDS: usize = 5;

/// How much memory may grow, in MiB, once everything has been used: what an allocator keeps differs from time to time.
const GROWTH: f64 = 8.0;

/// What a process has.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    threads: usize,
    files: usize,
    tasks: usize,
    /// Resident, in MiB.
    memory: f64,
}

impl Held {
    fn now() -> Outcome<Self> {
        let count = |folder| Ok::<_, Box<dyn Error>>(fs::read_dir(folder)?.count());
        let pages = fs::read_to_string("/proc/self/statm")?;
        let resident: f64 = pages.split(' ').nth(1).ok_or("no resident size")?.parse()?;
        Ok(Self {
            threads: count("/proc/self/task")?,
            files: count("/proc/self/fd")?,
            tasks: alive_tasks(),
            memory: resident * 4096.0 / f64::from(1 << 20),
        })
    }

    fn counts(self) -> [usize; 3] {
        [self.threads, self.files, self.tasks]
    }

    /// As soon as nothing is held that was not `before`.
    async fn back_to(before: Self) -> Outcome<Self> {
        let began = Instant::now();
        loop {
            let now = Self::now()?;
            let more = now
                .counts()
                .iter()
                .zip(before.counts())
                .any(|(now, before)| *now > before);
            if !more {
                // What the allocator only keeps is not held.
                visavis_media::memory::give_back();
                return Self::now();
            }
            if began.elapsed() > Duration::from_secs(10) {
                return Err(format!("held before: {before:?}, and now {now:?}").into());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn call(stacks: Stacks, backends: [Arc<dyn Backend>; 2]) -> MediaCall {
    // A world remembers the timelines of its calls.
    let world = World::new(stacks, Network::Real).with(backends);
    let lines = [Codec::H264, Codec::Opus].map(|codec| line(codec, Direction::SendRecv));
    let call = world.media_call(&lines).await;
    ping(&call.call.a, &call.call.b).await;
    for side in [Side::Offerer, Side::Answerer] {
        flow(call.way(side, 0), Plan::new(Codec::H264), 0..10, 4).await;
        flow(call.way(side, 1), Plan::new(Codec::Opus), 0..10, 4).await;
    }
    call
}

/// What is held after the first tenth of the calls, and after all.
async fn one_after_another(
    stacks: Stacks,
    backends: &[Arc<dyn Backend>; 2],
    calls: usize,
) -> Outcome<[Held; 2]> {
    let before = Held::now()?;
    let mut early = None;
    for n in 1..=calls {
        let backends = backends.clone();
        tokio::spawn(async move { call(stacks, backends).await.close().await }).await?;
        if n == calls.div_ceil(10) {
            early = Some(Held::back_to(before).await?);
        }
    }
    let late = Held::back_to(before).await?;
    Ok([early.unwrap_or(late), late])
}

/// What is held while the first so many calls are up, after them, and after the last so many.
async fn at_once(stacks: Stacks, backends: &[Arc<dyn Backend>; 2], calls: usize) -> Outcome<[Held; 3]> {
    let before = Held::now()?;
    let (mut up, mut after) = (None, Vec::new());
    for _ in 0..ROUNDS {
        let mut starting = JoinSet::new();
        for _ in 0..calls {
            starting.spawn(call(stacks, backends.clone()));
        }
        let mut running = Vec::new();
        while let Some(call) = starting.join_next().await {
            running.push(call?);
        }
        up.get_or_insert(Held::now()?);
        let mut ending: JoinSet<()> = running.into_iter().map(MediaCall::close).collect();
        while let Some(ended) = ending.join_next().await {
            ended?;
        }
        after.push(Held::back_to(before).await?);
    }
    let up = up.ok_or("no round")?;
    Ok([up, after[0], after[ROUNDS - 1]])
}

/// A row of the table.
async fn pair(stacks: Stacks, calls: usize, many: usize) -> Outcome<String> {
    let backends = [stacks.offerer, stacks.answerer].map(Stack::backend);
    let [early, late] = one_after_another(stacks, &backends, calls).await?;
    let [up, first, last] = at_once(stacks, &backends, many).await?;
    for (what, before, after) in [("one after another", early, late), ("at once", first, last)] {
        if after.memory > before.memory + GROWTH {
            return Err(format!("{what}: {:.1} MiB became {:.1}", before.memory, after.memory).into());
        }
    }
    let [threads, files, tasks] = late.counts();
    Ok(format!(
        "| {stacks} | {:.1} → {:.1} | {:.1} | {:.1} → {:.1} | {threads}, {files}, {tasks} |",
        early.memory, late.memory, up.memory, first.memory, last.memory
    ))
}

fn main() -> Outcome<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |n: usize, default| arguments.get(n).map_or(Ok(default), |text| text.parse());
    let (calls, many) = (number(0, 1_000)?, number(1, 200)?);
    let mut pairs = Stacks::all();
    if let Some(which) = arguments.get(2) {
        let stacks = pairs.nth(which.parse()?).ok_or("there are four pairs")?;
        let runtime = runner::runtime(Network::Real)?;
        println!("{}", runtime.block_on(pair(stacks, calls, many))?);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "| pair | MiB after {} calls → {calls} | MiB, {many} at once | MiB after them → {ROUNDS} times | threads, files, tasks left |",
        calls.div_ceil(10)
    );
    println!("|---|---|---|---|---|");
    let mut ended = ExitCode::SUCCESS;
    for (which, stacks) in pairs.enumerate() {
        let numbers = [calls, many, which].map(|n| n.to_string());
        let status = Command::new(env::current_exe()?).args(numbers).status()?;
        if !status.success() {
            eprintln!("{stacks}: {status}");
            ended = ExitCode::FAILURE;
        }
    }
    Ok(ended)
}
