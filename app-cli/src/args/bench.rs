//! Options of `visavis bench`.

use super::{Verbosity, call::pair};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use visavis_bench::{
    plan::{Effort, Wishes},
    work::{Arm, Handicap, Profile, Scenario},
};

/// Options of `visavis bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure, repeatable [default: everything]
    #[arg(long, value_enum, value_name = "NAME", help_heading = "What")]
    scenario: Vec<ScenarioName>,

    /// Which pairs, offerer:answerer, repeatable [default: all]
    ///
    /// The first one is what the others are compared with. It is always measured twice, as if it were two, which shows
    /// how far the machine's noise alone makes two results differ.
    #[arg(long, value_name = "A:B", value_parser = pair, help_heading = "What")]
    pair: Vec<(String, String)>,

    /// What the stacks are set to
    #[arg(long, value_enum, value_name = "PROFILE", default_value_t = ProfileName::Shipped, help_heading = "What")]
    profile: ProfileName,

    /// The answerer's network namespace, at the other end of a veth pair; benches/veth makes one
    #[arg(long, value_name = "NAME", help_heading = "What")]
    namespace: Option<String>,

    /// An MP4 file with H.264 for the scenarios that send a recording [default: the test pattern, coded]
    #[arg(long, value_name = "FILE", help_heading = "What")]
    recording: Option<PathBuf>,

    /// Count instructions, allocations and system calls instead (needs valgrind and strace)
    ///
    /// Of a handshake, a frame and a message on each pair. They hardly change from run to run. With --baseline, a change
    /// of more than 5 % is an error.
    #[arg(long, conflicts_with_all = ["scenario", "profile", "namespace", "recording", "quick", "runs", "warmup", "handicap", "markdown", "html", "plots"], help_heading = "What")]
    pub(crate) counts: bool,

    /// A first look in less than a minute
    #[arg(long, help_heading = "How much")]
    quick: bool,

    /// How many blocks: in each, every pair has a turn in a process of its own [default: as each scenario needs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "How much")]
    runs: Option<u32>,

    /// The least number of calls or batches of a turn before anything counts [default: 6, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000), help_heading = "How much")]
    warmup: Option<u32>,

    /// What the order of the turns is drawn from
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "How much")]
    seed: u64,

    /// Compare with an earlier result of --json
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) baseline: Option<PathBuf>,

    /// Print every value that was measured as one JSON object, in place of the text
    #[arg(long, conflicts_with = "markdown", help_heading = "Output")]
    pub(crate) json: bool,

    /// Print Markdown in place of the text
    #[arg(long, help_heading = "Output")]
    pub(crate) markdown: bool,

    /// Write a page with plots, one file with everything in it
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) html: Option<PathBuf>,

    /// Write each plot as an SVG file into this directory
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) plots: Option<PathBuf>,

    /// Write the JSON object to a file, beside what is printed
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) save: Option<PathBuf>,

    /// Measure nothing: show an earlier result of --json or --save
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "pair", "namespace", "recording", "quick", "runs", "warmup", "handicap", "counts"], help_heading = "Output")]
    pub(crate) show: Option<PathBuf>,

    /// Put a fault in on purpose, to see that the measurement finds it, repeatable
    ///
    /// frame=200us makes each frame take longer to send, sdp=5ms each description longer to write. drop=100 drops one
    /// frame in a hundred, and early-open announces the steps of a call before they are reached: both make the
    /// measurement fail.
    #[arg(long, value_name = "FAULT", help_heading = "Checking the measurement")]
    handicap: Vec<Handicap>,

    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

impl BenchArgs {
    /// The pairs that were asked for.
    pub(crate) fn pairs(&self) -> Vec<Arm> {
        self.pair
            .iter()
            .map(|(offerer, answerer)| Arm::Pair(offerer.clone(), answerer.clone()))
            .collect()
    }

    /// What is to be measured.
    pub(crate) fn wishes(&self) -> Wishes {
        Wishes {
            effort: if self.quick { Effort::Quick } else { Effort::Full },
            profile: self.profile.into(),
            scenarios: self.scenario.iter().map(|name| (*name).into()).collect(),
            pairs: self.pair.clone(),
            blocks: self.runs,
            warmup: self.warmup,
            handicaps: self.handicap.clone(),
            namespace: self.namespace.clone(),
            recording: self.recording.clone(),
            seed: self.seed,
        }
    }
}

/// A scenario's name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScenarioName {
    /// From entering `call` to the channel open on both sides, by phase
    Handshake,
    /// Complete frames in order, as fast as they go
    Frames,
    /// Frames on a fixed schedule: how many before they come late
    OpenLoop,
    /// Pictures with the codecs in the loop
    Codecs,
    /// Data channels: throughput, small messages, round trips, a stalled reader
    Data,
    /// Many pairs in one process: memory, CPU, handshakes a second
    Peers,
    /// One video forwarded to many, as a small SFU does
    Forward,
    /// What visavis adds to each library driven by hand
    Tax,
}

impl From<ScenarioName> for Scenario {
    fn from(name: ScenarioName) -> Self {
        match name {
            ScenarioName::Handshake => Self::Handshake,
            ScenarioName::Frames => Self::Frames,
            ScenarioName::OpenLoop => Self::OpenLoop,
            ScenarioName::Codecs => Self::Codecs,
            ScenarioName::Data => Self::Data,
            ScenarioName::Peers => Self::Peers,
            ScenarioName::Forward => Self::Forward,
            ScenarioName::Tax => Self::Tax,
        }
    }
}

/// A profile's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProfileName {
    /// Each library as it comes
    Shipped,
    /// The same cipher, key exchange and packet size on every stack
    Equal,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Shipped => Self::Shipped,
            ProfileName::Equal => Self::Equal,
        }
    }
}
