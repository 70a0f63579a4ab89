//! Where a run took place, and what else the machine did meanwhile.

use crate::worker::WORKERS;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, thread::available_parallelism};

/// The machine and the build.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The processor's name.
    pub cpu: String,
    /// How many processors this process may use.
    pub cores: usize,
    /// The operating system's kernel.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
    /// `release` or `debug`. Figures of a debug build say nothing.
    pub build: String,
    /// The packages that the results depend on.
    pub versions: BTreeMap<String, String>,
    /// Worker threads of each visit's runtime.
    pub workers: usize,
    /// The language that every stack was driven in.
    pub driven_in: String,
}

impl Environment {
    /// This machine and this build. What it does not tell is empty.
    pub fn read() -> Self {
        let line = |path: &str, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned())
                .unwrap_or_default()
        };
        let versions = env!("VISAVIS_VERSIONS")
            .split(',')
            .filter_map(|version| version.split_once('='));
        Self {
            cpu: line("/proc/cpuinfo", "model name"),
            cores: available_parallelism().map_or(0, usize::from),
            kernel: line("/proc/sys/kernel/osrelease", ""),
            rustc: env!("VISAVIS_RUSTC").to_owned(),
            build: env!("VISAVIS_PROFILE").to_owned(),
            versions: versions
                .map(|(name, version)| (name.to_owned(), version.to_owned()))
                .collect(),
            workers: WORKERS,
            driven_in: "Rust, on Tokio".to_owned(),
        }
    }
}

/// What the machine did during a run, as fractions of all its processor time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Seconds that the run took.
    pub seconds: f64,
    /// Taken by the hypervisor for others.
    pub steal: f64,
    /// Used by other programs.
    pub others: f64,
}

/// A reading of the machine's processor times (proc(5), the first line of `/proc/stat`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticks {
    all: f64,
    idle: f64,
    steal: f64,
}

impl Ticks {
    /// Ticks a second in `/proc`: `USER_HZ`, which is 100 on every platform that Rust runs on.
    const PER_SECOND: f64 = 100.0;

    /// Now; `None` where there is no `/proc`.
    pub(crate) fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        // user nice system idle iowait irq softirq steal; what follows is in user and nice already.
        let times: Vec<f64> = line
            .split_ascii_whitespace()
            .take(8)
            .filter_map(|t| t.parse().ok())
            .collect();
        let &[_, _, _, idle, iowait, _, _, steal] = times.as_slice() else {
            return None;
        };
        Some(Self {
            all: times.iter().sum(),
            idle: idle + iowait,
            steal,
        })
    }

    /// What happened since, `own` seconds of processor time of it ours.
    pub(crate) fn load_since(self, before: Self, own: f64, seconds: f64) -> Load {
        let all = (self.all - before.all).max(1.0);
        let steal = self.steal - before.steal;
        let busy = all - (self.idle - before.idle) - steal;
        Load {
            seconds,
            steal: steal / all,
            others: ((busy - own * Self::PER_SECOND) / all).max(0.0),
        }
    }
}
