//! What a handshake, a frame and a message cost in instructions, allocations and system calls. Unlike times, these
//! hardly change from run to run, so that a change of a few per cent shows, on a busy machine too.
//!
//! Each is measured from outside, on a worker process that does the work a few times and on one that does it more
//! often: the difference is what the work costs, and what the program costs besides cancels out. Instructions and
//! allocations are counted by valgrind, on the network in memory and in virtual time, with one thread; system calls by
//! strace, on loopback, with one thread.

use crate::{
    lab::{Lab, nets},
    scenario::{
        content::Frames,
        data::DataCall,
        frames::{FrameThroughput, WINDOW},
        handshake::Handshake,
    },
    work::{Arm, Content, Network, Profile},
};
use serde::{Deserialize, Serialize};
use std::{ffi::OsString, fmt, fs, io, path::Path, process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt, process::Command, runtime::Builder, time::timeout};
use visavis_baseline::{Variant, by_hand};
use visavis_core::PairConfig;

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// A count that differs from the baseline by more than this part is a change.
pub const TOLERANCE: f64 = 0.05;

/// Fewer than this is not compared by parts: half a system call a frame is no change.
const LEAST: f64 = 2.0;

/// Under valgrind everything takes about fifty times as long.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A call with one data channel, made and hung up.
    Handshake,
    /// An H.264 frame of so many bytes, sent, received and compared.
    Frame(usize),
    /// A message of so many bytes, sent, received and compared.
    Message(usize),
}

impl Operation {
    /// Those that are counted.
    pub const ALL: [Self; 4] = [
        Self::Handshake,
        Self::Frame(12_000),
        Self::Message(100),
        Self::Message(65_536),
    ];

    /// How often it is done, by the worker that does it a few times and by the one that does it more often.
    fn times(self) -> [u64; 2] {
        match self {
            Self::Handshake => [3, 18],
            Self::Frame(_) => [100, 400],
            Self::Message(size) if size < 1_024 => [500, 2_500],
            Self::Message(_) => [40, 120],
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake => f.write_str("handshake"),
            Self::Frame(size) => write!(f, "frame of {size} bytes"),
            Self::Message(size) => write!(f, "message of {size} bytes"),
        }
    }
}

/// What a worker process is asked to do, as often as it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What to do.
    pub operation: Operation,
    /// On what.
    pub arm: Arm,
    /// What carries the packets.
    pub network: Network,
    /// How often.
    pub times: u64,
}

impl Task {
    /// Does it, on one thread.
    ///
    /// # Errors
    ///
    /// What went wrong; then nothing is counted.
    pub fn run(&self, lab: &Lab) -> Result<(), String> {
        let simulated = matches!(self.network, Network::Simulated(_));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(simulated)
            .build();
        runtime
            .map_err(|error| error.to_string())?
            .block_on(self.work(lab))
    }

    async fn work(&self, lab: &Lab) -> Result<(), String> {
        if let Arm::ByHand { library, tuned } = &self.arm {
            return self.by_hand(library, *tuned).await;
        }
        let site = lab.site_of(&self.arm, Profile::Shipped, &[], self.network, false)?;
        match self.operation {
            Operation::Handshake => {
                let pair = Handshake::new(&site, PairConfig::default()).await;
                for _ in 0..self.times {
                    pair.run().await?;
                }
            }
            Operation::Frame(size) => {
                let frames = Frames::new(Content::Size(size), None)?;
                let mut call = FrameThroughput::new(&site, frames, WINDOW).await?;
                call.run(self.times).await?;
                call.end().await;
            }
            Operation::Message(size) => {
                let mut call = DataCall::new(&site, size).await?;
                call.send(self.times).await?;
                call.end().await;
            }
        }
        Ok(())
    }

    async fn by_hand(&self, library: &str, tuned: bool) -> Result<(), String> {
        let variant = if tuned { Variant::Tuned } else { Variant::Defaults };
        let library = by_hand(library, variant).ok_or_else(|| format!("{library} is not driven by hand"))?;
        let failed = |error: visavis_baseline::Error| error.to_string();
        let (nets, _) = nets(self.network);
        if self.operation == Operation::Handshake {
            for _ in 0..self.times {
                library.handshake(nets.clone()).await.map_err(failed)?;
            }
            return Ok(());
        }
        let mut connected = library.connect(nets).await.map_err(failed)?;
        match self.operation {
            Operation::Handshake => {}
            Operation::Frame(size) => drop(connected.frames(size, WINDOW, self.times).await.map_err(failed)?),
            Operation::Message(size) => drop(connected.messages(size, self.times).await.map_err(failed)?),
        }
        connected.close().await.map_err(failed)
    }
}

/// What one operation costs on one arm, both sides together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// What was done.
    pub operation: Operation,
    /// On what.
    pub arm: Arm,
    /// Instructions, in memory.
    pub instructions: f64,
    /// Calls of the C library's allocator, in memory.
    pub allocations: f64,
    /// System calls, on loopback; unknown where no process may trace another.
    pub system_calls: Option<f64>,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The compiler, on which instructions depend.
    pub rustc: String,
    /// The counts.
    pub counts: Vec<Count>,
}

impl Counts {
    /// Reads the JSON form.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let counts: Self =
            serde_json::from_str(text).map_err(|error| format!("these are no counts: {error}"))?;
        if counts.schema_version != SCHEMA_VERSION {
            return Err(format!(
                "schema version {} is not {SCHEMA_VERSION}",
                counts.schema_version
            ));
        }
        Ok(counts)
    }

    /// What differs from `baseline` by more than [`TOLERANCE`], a sentence each.
    pub fn changes(&self, baseline: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        for now in &self.counts {
            let same = |count: &&Count| count.operation == now.operation && count.arm == now.arm;
            let Some(before) = baseline.counts.iter().find(same) else {
                changes.push(format!("{} on {} has no baseline", now.operation, now.arm));
                continue;
            };
            for (what, before, now_is) in [
                ("instructions", Some(before.instructions), Some(now.instructions)),
                ("allocations", Some(before.allocations), Some(now.allocations)),
                ("system calls", before.system_calls, now.system_calls),
            ] {
                let (Some(before), Some(now_is)) = (before, now_is) else {
                    continue;
                };
                let difference = now_is - before;
                if difference.abs() > TOLERANCE * before.max(LEAST) {
                    changes.push(format!(
                        "{} on {}: {what} {:+.1} % ({before:.1} before, {now_is:.1} now)",
                        now.operation,
                        now.arm,
                        100.0 * difference / before,
                    ));
                }
            }
        }
        changes
    }
}

/// What is counted: every pair, and each library by hand, tuned. By its defaults webrtc-rs opens sockets of its own, so
/// that it does not run in memory.
pub fn arms(lab: &Lab) -> Vec<Arm> {
    let by_hand = visavis_baseline::LIBRARIES.iter().map(|library| Arm::ByHand {
        library: (*library).to_owned(),
        tuned: true,
    });
    lab.pairs().into_iter().chain(by_hand).collect()
}

/// Counts every operation on every arm. `program` started with `args` is a worker: it reads a [`Task`] from standard
/// input. `progress` is told how many are done, of how many, and what is next.
///
/// # Errors
///
/// When valgrind or strace is missing or fails, or the work does.
pub async fn count(
    program: &Path,
    args: &[OsString],
    arms: &[Arm],
    mut progress: impl FnMut(usize, usize, &str),
) -> Result<Counts, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let counter = Counter {
        program,
        args,
        dir: dir.path(),
    };
    let mut counts = Vec::new();
    let all = arms.len() * Operation::ALL.len();
    for operation in Operation::ALL {
        for arm in arms {
            progress(counts.len(), all, &format!("{operation}: {arm}"));
            counts.push(counter.count(operation, arm).await?);
        }
    }
    Ok(Counts {
        schema_version: SCHEMA_VERSION,
        rustc: env!("VISAVIS_RUSTC").to_owned(),
        counts,
    })
}

struct Counter<'a> {
    program: &'a Path,
    args: &'a [OsString],
    /// Where the tools leave what they counted.
    dir: &'a Path,
}

impl Counter<'_> {
    async fn count(&self, operation: Operation, arm: &Arm) -> Result<Count, String> {
        let [few, many] = operation.times();
        let task = |network, times| Task {
            operation,
            arm: arm.clone(),
            network,
            times,
        };
        let each = |few_count: f64, many_count: f64| (many_count - few_count) / (many - few) as f64;
        let memory = Network::Simulated(0);
        let (a, b) = (
            self.valgrind(&task(memory, few)).await?,
            self.valgrind(&task(memory, many)).await?,
        );
        let loopback = Network::Loopback;
        let (c, d) = (
            self.strace(&task(loopback, few)).await?,
            self.strace(&task(loopback, many)).await?,
        );
        Ok(Count {
            operation,
            arm: arm.clone(),
            instructions: each(a.0, b.0).round(),
            allocations: tenths(each(a.1, b.1)),
            system_calls: c.zip(d).map(|(c, d)| tenths(each(c, d))),
        })
    }

    /// Instructions, and calls of the allocator.
    async fn valgrind(&self, task: &Task) -> Result<(f64, f64), String> {
        let file = self.dir.join(format!("callgrind.{}", task.times));
        let mut command = Command::new("valgrind");
        command
            .args([
                "--tool=callgrind",
                "--quiet",
                "--compress-strings=no",
                "--compress-pos=no",
            ])
            .arg(format!("--callgrind-out-file={}", file.display()));
        let text = self.run(command, task, &file).await?;
        let summary = text
            .lines()
            .find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
        Ok((summary.ok_or("valgrind gave no summary")?, allocations(&text)))
    }

    /// System calls of all threads. A kernel or a container may forbid to trace.
    async fn strace(&self, task: &Task) -> Result<Option<f64>, String> {
        let file = self.dir.join("strace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o"]).arg(&file);
        let text = match self.run(command, task, &file).await {
            Err(reason) if reason.contains("Operation not permitted") => {
                tracing::warn!("system calls are not counted: {reason}");
                return Ok(None);
            }
            text => text?,
        };
        // A call that another thread interrupts takes two lines.
        let calls = text
            .lines()
            .filter(|line| !line.contains(" resumed>") && !line.contains(" --- "));
        Ok(Some(calls.count() as f64))
    }

    /// Does the task under a tool; what the tool left in `file`.
    async fn run(&self, mut command: Command, task: &Task, file: &Path) -> Result<String, String> {
        let tool = command.as_std().get_program().to_string_lossy().into_owned();
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => format!("{tool} is missing; on Debian: apt install {tool}"),
            _ => format!("{tool}: {error}"),
        };
        command
            .arg(self.program)
            .args(self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let asked = serde_json::to_vec(task).map_err(|error| error.to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&asked).await.map_err(failed)?;
        }
        let output = timeout(PATIENCE, child.wait_with_output()).await;
        let output = output
            .map_err(|_| format!("{tool} did not end within {PATIENCE:?}"))?
            .map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "{} on {} under {tool} ended with {}: {}",
                task.operation,
                task.arm,
                output.status,
                said.trim()
            ));
        }
        fs::read_to_string(file).map_err(failed)
    }
}

/// How often the C library's allocator was called, by callgrind's list of calls: `cfn=` names the function that the
/// next line's `calls=` counts.
fn allocations(callgrind: &str) -> f64 {
    const ALLOCATORS: [&str; 6] = [
        "malloc",
        "calloc",
        "realloc",
        "posix_memalign",
        "aligned_alloc",
        "memalign",
    ];
    let mut called = "";
    let mut sum = 0.0;
    for line in callgrind.lines() {
        if let Some(function) = line.strip_prefix("cfn=") {
            called = function.split('\'').next().unwrap_or(function);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let count: f64 = calls
                .split(' ')
                .next()
                .and_then(|count| count.parse().ok())
                .unwrap_or(0.0);
            if ALLOCATORS.contains(&called) {
                sum += count;
            }
        }
    }
    sum
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(instructions: f64, system_calls: f64) -> Counts {
        let count = Count {
            operation: Operation::Handshake,
            arm: Arm::Pair("a".to_owned(), "b".to_owned()),
            instructions,
            allocations: 100.0,
            system_calls: Some(system_calls),
        };
        Counts {
            schema_version: SCHEMA_VERSION,
            rustc: String::new(),
            counts: vec![count],
        }
    }

    #[test]
    fn a_change_of_more_than_the_tolerance_is_told() {
        let baseline = counts(1_000.0, 0.1);
        assert_eq!(counts(1_049.0, 0.19).changes(&baseline), [""; 0]);
        let [change] = &counts(940.0, 0.1).changes(&baseline)[..] else {
            panic!("one change");
        };
        assert!(change.contains("instructions -6.0 %"), "{change}");
        assert_eq!(counts(1_000.0, 0.3).changes(&baseline).len(), 1);
        let mut none = baseline.clone();
        none.counts.clear();
        assert_eq!(baseline.changes(&none).len(), 1, "what has no baseline is told");
    }

    #[test]
    fn allocations_are_the_calls_of_the_allocator() {
        let listing = "fn=main\n10 5\ncfn=malloc\ncalls=3 0\n10 30\ncfn=free\ncalls=9 0\n10 9\ncfn=realloc'2\ncalls=2 0\n";
        assert!((allocations(listing) - 5.0).abs() < f64::EPSILON);
    }
}
