//! A case again and again, each time with another seed and in a process of its own, where it can be replayed.

use crate::World;
use std::{
    env,
    fmt::Display,
    process::{Command, Output},
    str::FromStr,
};

/// Before what a process has found out about its seed.
const FOUND: &str = "found: ";

/// The number in an environment variable.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// How many seeds were asked for by `VISAVIS_SEEDS`.
pub(crate) fn wanted() -> Option<u64> {
    number("VISAVIS_SEEDS")
}

impl World {
    /// Does `once` with each of so `many` seeds, or as many as `VISAVIS_SEEDS` says, and gives what it found out. Each seed has
    /// a process of its own, which runs this case with `VISAVIS_SEED` set: there only that seed is tried, and `None` is
    /// returned.
    ///
    /// # Panics
    ///
    /// When a seed fails, with what its process said.
    pub async fn each_seed<T: Display + FromStr>(
        &self,
        many: u64,
        once: impl AsyncFn(u64) -> T,
    ) -> Option<Vec<T>> {
        if let Some(seed) = number("VISAVIS_SEED") {
            println!("{FOUND}{}", once(seed).await);
            return None;
        }
        let seeds = 0..wanted().unwrap_or(many);
        Some(seeds.map(|seed| self.in_a_process(seed)).collect())
    }

    fn in_a_process<T: FromStr>(&self, seed: u64) -> T {
        let program = env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["--exact", self.name()]);
        let output = command.env("VISAVIS_SEED", seed.to_string()).output();
        let Output {
            status,
            stdout,
            stderr,
        } = output.expect("a process");
        let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let found = out
            .lines()
            .find_map(|line| line.strip_prefix(FOUND)?.parse().ok());
        match found {
            Some(found) if status.success() => found,
            _ => panic!("seed {seed}: {status}\n{out}\n{err}"),
        }
    }
}
