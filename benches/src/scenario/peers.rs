//! Many pairs in one process: how fast they connect, the memory and the processor time they take, and whether frames
//! are in time.

use crate::{
    lab::{Lab, Site},
    metric::Metric,
    outcome::{Meter, Outcome, Values},
    scenario::{frames::video, handshake::negotiated, paced},
    work::{Network, Visit, Work},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{fs, sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use visavis_core::{Call, ConnectionState, PairConfig, PeerPair, SamePage, Side};

/// How many calls are being made at a time at most; the others wait.
pub const CALLING: usize = 32;

/// A call that takes longer than this has failed: with a thousand pairs, every timer is late.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Hanging up, of all pairs, may take so long.
const HANG_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// A text may take so long in an open channel.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many of the calls that failed are told of one by one.
const TOLD: usize = 3;

/// Makes as many pairs as the visit's [`Work::Peers`] says and measures what they take.
///
/// # Errors
///
/// When the limit of open files is too low, or what a pair carries is damaged. A call that fails is a failure in the
/// outcome.
pub async fn run(lab: &Lab, visit: &Visit, outcome: &mut Outcome) -> Result<(), String> {
    let Work::Peers {
        pairs,
        active,
        disconnected_after,
    } = visit.work
    else {
        return Err(format!("{} is not about many pairs", visit.work));
    };
    allow_sockets(pairs)?;
    let site = lab.site(visit, Network::Loopback, false)?;
    // Before the memory is read: the first call of a process loads what all later ones share.
    outcome.negotiated = Some(negotiated(&site).await?);
    let mut config = if active { video() } else { PairConfig::default() };
    for peer in [&mut config.offerer, &mut config.answerer] {
        peer.disconnected_after = disconnected_after.map_or(peer.disconnected_after, Duration::from_secs);
    }
    let (_, before) = (quiet().await, resident());
    let began = Instant::now();
    let (calls, failures) = Calls::make(&site, &config, pairs).await;
    let took = began.elapsed();
    outcome.failures.extend(failures);
    let measured = if outcome.failures.is_empty() {
        outcome.add(&[(Metric::HandshakesPerSecond, pairs as f64 / took.as_secs_f64())]);
        outcome.settled = quiet().await;
        if let (Some(before), Some(after)) = (before, resident()) {
            let memory = after.saturating_sub(before) as f64 / pairs as f64;
            outcome.add(&[(Metric::MemoryPerPair, memory)]);
        }
        calls.measure(active, visit.budget.max(paced::LEAST)).await
    } else {
        // What fewer pairs take is no answer.
        Ok(Values::new())
    };
    let ended = calls.end().await;
    outcome.add(&measured?);
    ended
}

/// Pairs that are in a call.
#[derive(Debug)]
pub(super) struct Calls(pub(super) Vec<(SamePage, Arc<Call>)>);

impl Calls {
    /// Calls with `count` pairs at once, [`CALLING`] at a time, and says what has failed.
    pub(super) async fn make(site: &Site, config: &PairConfig, count: usize) -> (Self, Vec<String>) {
        let mut config = config.clone();
        config.timeout = CALL_TIMEOUT;
        config.offerer.connect_timeout = CALL_TIMEOUT;
        config.answerer.connect_timeout = CALL_TIMEOUT;
        let room = Arc::new(Semaphore::new(CALLING));
        let mut calling = JoinSet::new();
        for _ in 0..count {
            let permit = Arc::clone(&room).acquire_owned().await;
            let pair = site.pair(config.clone()).await;
            calling.spawn(async move {
                let _permit = permit;
                let call = pair.call().await.map_err(|failure| failure.to_string())?;
                Ok((pair, call))
            });
        }
        let (mut calls, mut failures) = (Vec::with_capacity(count), Vec::new());
        while let Some(called) = calling.join_next().await {
            match called.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(call) => calls.push(call),
                Err(failure) => failures.push(failure),
            }
        }
        let failed = failures.len();
        if failed > TOLD {
            failures.truncate(TOLD);
            failures.push(format!("{failed} of {count} calls failed"));
        }
        (Self(calls), failures)
    }

    /// Hangs up on all of them.
    ///
    /// # Errors
    ///
    /// When that takes too long.
    pub(super) async fn end(self) -> Result<(), String> {
        let count = self.0.len();
        let mut ending = JoinSet::new();
        for (pair, call) in self.0 {
            ending.spawn(async move {
                drop(call);
                // The only refusal is that the call is over already.
                let _ = pair.hang_up().await;
            });
        }
        let ended = async { while ending.join_next().await.is_some() {} };
        let ended = timeout(HANG_UP_TIMEOUT, ended).await;
        ended.map_err(|_| {
            let left = ending.len();
            format!("{left} of {count} pairs had not hung up after {HANG_UP_TIMEOUT:?}")
        })
    }

    async fn measure(&self, active: bool, budget: Duration) -> Result<Values, String> {
        let values = if active {
            let calls = || self.0.iter().map(|(_, call)| call);
            let senders = calls().map(|call| call.offerer.transceivers[0].sender());
            let receivers = calls().map(|call| call.answerer.transceivers[0].receiver());
            paced::run(senders.collect(), receivers.collect(), budget).await?
        } else {
            let meter = Meter::start();
            sleep(budget).await;
            let (wall, cpu) = meter.read();
            vec![(Metric::Cpu, 100.0 * cpu / wall)]
        };
        self.check().await?;
        Ok(values)
    }

    /// Whether every pair is still connected and its channel carries a text: one that is not has cost nothing.
    async fn check(&self) -> Result<(), String> {
        for (n, (_, call)) in self.0.iter().enumerate() {
            for side in [Side::Offerer, Side::Answerer] {
                let state = call.side(side).peer.connection_state();
                if state != ConnectionState::Connected {
                    return Err(format!("the {side} of pair {n} did not stay connected: {state}"));
                }
            }
            let text = format!("pair {n}");
            let carried = async {
                call.offerer.channel.send(text.as_str()).await.ok()?;
                call.answerer.channel.recv().await
            };
            let carried = timeout(PATIENCE, carried).await.ok().flatten();
            if carried.as_ref().and_then(|message| message.as_text()) != Some(&text) {
                return Err(format!(
                    "a text in the channel of pair {n} did not arrive: {carried:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Waits until the process takes no less processor time from one moment to the next; `false` if that was not to be.
async fn quiet() -> bool {
    const MOMENT: Duration = Duration::from_millis(250);
    const MOMENTS: usize = 40;
    let mut before = f64::INFINITY;
    for _ in 0..MOMENTS {
        let meter = Meter::start();
        sleep(MOMENT).await;
        let (wall, cpu) = meter.read();
        let load = cpu / wall;
        // Below a hundredth of a core there is nothing to wait for.
        if load > 0.9 * before || load < 0.01 {
            return true;
        }
        before = load;
    }
    false
}

/// Resident memory of this process in KiB, where the system says it. Other counts in `/proc` are kept by processor and
/// may be off by some hundred KiB; this one is summed up when it is read.
fn resident() -> Option<u64> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let size = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    size.trim().strip_suffix(" kB")?.parse().ok()
}

/// Raises the limit of open files so that `pairs` have their sockets.
///
/// # Errors
///
/// When the hard limit is lower.
pub(super) fn allow_sockets(pairs: usize) -> Result<(), String> {
    // Two sockets a pair, and what the process has besides.
    let needed = 2 * pairs as u64 + 128;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < needed) {
        return Err(format!(
            "{pairs} pairs need {needed} open files, and the hard limit of this process (RLIMIT_NOFILE) is {maximum}: \
             measure fewer pairs, or raise the limit, as root with `prlimit --nofile={needed} --pid $$` in this shell"
        ));
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| format!("the limit of open files (RLIMIT_NOFILE) cannot be raised: {error}"))
}
