//! Runs a case on a pair of stacks and a network.

use crate::{Network, Stacks, World, seeds, world::LastPath};
use std::{
    any::Any,
    cell::Cell,
    collections::BTreeSet,
    env,
    fmt::{self, Write},
    fs,
    future::Future,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Mutex, Once, PoisonError, mpsc},
    thread,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// A case that takes longer than this, by the wall clock, hangs. With more seeds than this many it may take longer.
const WALL_LIMIT: Duration = Duration::from_secs(100);
const SEEDS: u64 = 10;

/// Where the traces of failed cases go, unless `VISAVIS_TRACES` names another folder.
const TRACES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/traces");

thread_local! {
    /// Whether the run on this thread is known to fail.
    static KNOWN: Cell<bool> = const { Cell::new(false) };
}

/// What ran in this process.
static RAN: Mutex<Vec<Run>> = Mutex::new(Vec::new());

/// What ran in this process, for the end of it: cases, pairs, runs on each network, and expected failures by name.
pub fn closing_line() -> String {
    let mut ran = RAN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let distinct = |key: &dyn Fn(&Run) -> String| ran.iter().map(key).collect::<BTreeSet<_>>().len();
    let cases = distinct(&|run| format!("{}::{}", run.case.module, run.case.name));
    let pairs = distinct(&|run| run.stacks.to_string());
    let memory = ran.iter().filter(|run| run.network != Network::Real).count();
    let mut text = format!(
        "suite: {cases} cases × {pairs} pairs: {} runs, {memory} on the network in memory and {} on real sockets",
        ran.len(),
        ran.len() - memory
    );
    ran.sort_by_key(ToString::to_string);
    let failures: Vec<_> = ran.iter().filter(|run| run.known().is_some()).collect();
    let _ = write!(text, "; {} expected failures", failures.len());
    for run in failures {
        let _ = write!(text, "\n  expected failure: {run}");
    }
    text
}

/// What a case does.
pub type CaseFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Which networks a case is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Both.
    Both,
    /// Real sockets only.
    Real,
    /// The network in memory only.
    Memory,
}

/// Why a case is known to fail, for what is not ours to mend.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The pairs that fail.
    pub stacks: fn(Stacks) -> bool,
    /// The networks on which they do.
    pub on: On,
    /// What the library below cannot do.
    pub reason: &'static str,
    /// The number of the finding in `docs/findings.md` that has the cause.
    pub finding: u8,
}

/// A behaviour, written once.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub run: fn(World) -> CaseFuture,
    /// Where it runs.
    pub on: On,
    /// Where it is known to fail; to pass there fails the run.
    pub known: Option<Known>,
    /// The files of web-platform-tests that it follows, in their folder `webrtc/`.
    pub follows: &'static [&'static str],
    /// The module it is in.
    pub module: &'static str,
    /// That module's text, from which its words are taken.
    pub source: &'static str,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A case on one pair of stacks and one network.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    case: Case,
    stacks: Stacks,
    network: Network,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}::{}", self.case.name, self.stacks, self.network)
    }
}

impl Case {
    /// How it is to fail on this pair and network, if it is.
    pub fn known_on(&self, stacks: Stacks, network: Network) -> Option<Known> {
        self.known
            .filter(|known| (known.stacks)(stacks) && known.on.covers(network))
    }

    /// The case on every pair and each of its networks.
    pub fn runs(self) -> impl Iterator<Item = Run> {
        [Network::MEMORY, Network::Real]
            .into_iter()
            .filter(move |network| self.on.covers(*network))
            .flat_map(move |network| {
                Stacks::all().map(move |stacks| Run {
                    case: self,
                    stacks,
                    network,
                })
            })
    }
}

impl Run {
    /// What carries its packets.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Why this is expected to fail.
    pub fn known(&self) -> Option<&'static str> {
        let known = self.case.known_on(self.stacks, self.network)?;
        Some(known.reason)
    }

    /// Runs it.
    ///
    /// # Errors
    ///
    /// What went wrong, with the timelines of the peers; or that it passed though it is known to fail.
    pub fn run(self) -> Result<(), String> {
        no_words_about_known_failures();
        RAN.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        let (tx, rx) = mpsc::channel();
        let spawned = thread::Builder::new().name(self.to_string()).spawn(move || {
            KNOWN.set(self.known().is_some());
            drop(tx.send(self.on_this_thread()));
        });
        spawned.map_err(|e| format!("no thread: {e}"))?;
        let limit = WALL_LIMIT * (seeds::wanted().unwrap_or(0) / SEEDS).max(1) as u32;
        let result = match rx.recv_timeout(limit) {
            Ok(result) => result,
            Err(_) => Err(format!("it hangs: {limit:?} of the wall clock passed")),
        };
        match (self.known(), result) {
            (None, result) => result,
            (Some(reason), Err(_)) => {
                eprintln!("{self}: an expected failure: {reason}");
                Ok(())
            }
            (Some(reason), Ok(())) => Err(format!(
                "it passes now, so take the expected failure away: {reason}"
            )),
        }
    }

    fn on_this_thread(self) -> Result<(), String> {
        let runtime = runtime(self.network).map_err(|e| format!("no runtime: {e}"))?;
        let (mut timelines, mut last) = (String::new(), LastPath::default());
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _entered = runtime.enter();
            // What str0m draws SSRCs from.
            fastrand::seed(0);
            let world = World::new(self.stacks, self.network).named(self.to_string());
            let result = catch_unwind(AssertUnwindSafe(|| {
                runtime.block_on((self.case.run)(world.clone()));
            }));
            timelines = world.timelines();
            last = world.last_path();
            result
        }));
        runtime.shutdown_background();
        let asked = env::var_os("VISAVIS_TRACES").map(PathBuf::from);
        match result {
            Ok(Ok(())) => {
                if let Some(folder) = asked {
                    self.save(&last, &folder)?;
                }
                Ok(())
            }
            Ok(Err(panic)) | Err(panic) => {
                let mut text = format!("{}\n{timelines}", message(&*panic));
                if !KNOWN.get() {
                    text += &self.save(&last, &asked.unwrap_or_else(|| TRACES.into()))?;
                }
                Err(text)
            }
        }
    }

    /// Saves what was sent, and says where, and how to have it sent again.
    fn save(self, last: &LastPath, folder: &Path) -> Result<String, String> {
        let Some(trace) = last.trace.as_ref().filter(|trace| !trace.is_empty()) else {
            return Ok(String::new());
        };
        let seed = last.seed.unwrap_or_default();
        let file = format!(
            "{self}{}",
            last.seed.map(|seed| format!("-{seed}")).unwrap_or_default()
        );
        let file = folder.join(file.replace(':', "_"));
        let (packets, schedule) = (file.with_extension("pcapng"), file.with_extension("txt"));
        let saved = trace
            .save(&packets)
            .and_then(|()| fs::write(schedule, trace.schedule()));
        saved.map_err(|why| format!("{}: {why}", packets.display()))?;
        Ok(format!(
            "  what was sent: {}, and as text beside it\n  again: VISAVIS_SEED={seed} cargo test -p visavis-tests --test suite -- --exact {self}\n",
            packets.display()
        ))
    }
}

/// Panics of runs that are known to fail would hide those of the others.
fn no_words_about_known_failures() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !KNOWN.get() {
                hook(info);
            }
        }));
    });
}

/// The runtime of a network: one thread under the paused clock, or two workers under the machine's.
pub fn runtime(network: Network) -> std::io::Result<Runtime> {
    match network {
        Network::Real => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        Network::Memory { .. } => Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build(),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
}
