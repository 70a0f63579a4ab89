//! A program that uses one backend only, outside of the workspace: so nothing else of it is resolved or compiled.

use crate::{Result, Stack, report::Build};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;
use tokio::time::Instant;

/// A package in a directory of its own, which goes with it.
pub(crate) struct Program {
    directory: TempDir,
}

impl Program {
    /// With the workspace's release profile and the versions of its lock file; fetches what is not there yet.
    pub(crate) fn write(stack: &Stack) -> Result<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()?;
        let root = fs::read_to_string(workspace.join("Cargo.toml"))?;
        let path = |inside: &str| workspace.join(inside).display().to_string();
        let manifest = format!(
            "[package]\nname = \"minimal\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             tokio = {{ version = \"1\", default-features = false, features = [\"rt\", \"macros\"] }}\n\
             visavis-core = {{ path = {:?} }}\n{} = {{ path = {:?} }}\n\n{}\n",
            path("core"),
            stack.backend,
            path(stack.directory),
            section(&root, "[profile.release]").ok_or("the workspace has no release profile")?,
        );
        let program = Self {
            directory: tempfile::tempdir()?,
        };
        let path = program.directory.path();
        fs::create_dir(path.join("src"))?;
        fs::write(path.join("Cargo.toml"), manifest)?;
        let code = include_str!("../minimal.rs").replace("STACK::", &format!("{}::", stack.constructor));
        fs::write(path.join("src/main.rs"), code)?;
        let lock = fs::read_to_string(workspace.join("Cargo.lock"))?;
        fs::write(path.join("Cargo.lock"), &lock)?;
        output(Command::new("cargo").arg("fetch").current_dir(path))?;
        // Cargo drops what is not needed from the copy. It must not have chosen anything anew.
        for package in fs::read_to_string(path.join("Cargo.lock"))?
            .split("[[package]]")
            .skip(1)
        {
            let chosen: Vec<_> = package.trim().lines().take(2).collect();
            let chosen = format!("{}\n", chosen.join("\n"));
            if !lock.contains(&chosen) && !chosen.contains("\"minimal\"") {
                return Err(format!("not in the workspace's lock file: {chosen}").into());
            }
        }
        Ok(program)
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.directory.path().join("Cargo.toml")
    }

    /// Builds it from nothing, and makes its call to see that it works.
    pub(crate) fn build(&self) -> Result<Build> {
        let target = self.directory.path().join("target");
        let (start, children_before, machine_before) = (Instant::now(), children()?, machine()?);
        let status = Command::new("cargo")
            .args(["build", "--release", "--locked", "--offline"])
            .current_dir(self.directory.path())
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .stdout(Stdio::null())
            .status()?;
        let seconds = start.elapsed().as_secs_f64();
        let processor_seconds = children()? - children_before;
        let others_seconds = (machine()? - machine_before - processor_seconds).max(0.0);
        if !status.success() {
            return Err("the build failed".into());
        }
        let program = target.join("release/minimal");
        if output(&mut Command::new(&program))? != "hello\n" {
            return Err("the message did not arrive".into());
        }
        let bytes = fs::metadata(program)?.len();
        Ok(Build {
            seconds,
            processor_seconds,
            others_seconds,
            bytes,
        })
    }
}

/// What a command writes to stdout. Its stderr is ours.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A table of a manifest with its heading.
fn section<'a>(manifest: &'a str, heading: &str) -> Option<&'a str> {
    let found = &manifest[manifest.find(heading)?..];
    Some(found[1..].find("\n[").map_or(found, |end| &found[..end + 2]))
}

/// Processor time of the child processes that have ended, and of theirs, in seconds.
fn children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name may hold anything, also spaces. `cutime` and `cstime` of proc(5) are at 13 and 14 after it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    seconds(fields.split_whitespace().skip(13).take(2))
}

/// Processor time of everything on the machine, and what a hypervisor took from it, in seconds.
fn machine() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(8);
    // The fourth and fifth are idle, and waiting for a disk.
    seconds(
        fields
            .enumerate()
            .filter(|(index, _)| !matches!(index, 3 | 4))
            .map(|(_, ticks)| ticks),
    )
}

fn seconds<'a>(ticks: impl Iterator<Item = &'a str>) -> Result<f64> {
    let ticks: u64 = ticks.map(str::parse::<u64>).sum::<std::result::Result<_, _>>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let manifest = "[a]\nx = 1\n\n[b]\ny = [\"z\"]\n[c]\n";
        assert_eq!(section(manifest, "[b]"), Some("[b]\ny = [\"z\"]\n"));
        assert_eq!(section(manifest, "[c]"), Some("[c]\n"));
        assert_eq!(section(manifest, "[d]"), None);
    }
}
