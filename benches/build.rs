//! Tells the library which versions it was built with, for the results to name.

use std::{env, fs, path::Path, process::Command};

/// What a result depends on most.
const NAMED: [&str; 10] = [
    "str0m",
    "dimpl",
    "sctp-proto",
    "webrtc",
    "rtc",
    "aws-lc-rs",
    "quinn-udp",
    "tokio",
    "openh264",
    "visavis-bench",
];

fn main() {
    let manifest = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let lock = Path::new(&manifest)
        .ancestors()
        .map(|dir| dir.join("Cargo.lock"))
        .find(|path| path.exists());
    if let Some(lock) = &lock {
        println!("cargo::rerun-if-changed={}", lock.display());
    }
    let lock = lock
        .and_then(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    let versions: Vec<String> = lock.split("[[package]]").filter_map(named_version).collect();
    println!("cargo::rustc-env=VISAVIS_VERSIONS={}", versions.join(","));
    let rustc = env::var_os("RUSTC").and_then(|rustc| Command::new(rustc).arg("--version").output().ok());
    let rustc = rustc
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default();
    println!("cargo::rustc-env=VISAVIS_RUSTC={rustc}");
    println!(
        "cargo::rustc-env=VISAVIS_PROFILE={}",
        env::var("PROFILE").unwrap_or_default()
    );
}

/// `name=version` of a package in the lock file, if it is named in the results.
fn named_version(package: &str) -> Option<String> {
    let value = |key: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_start_matches([' ', '=']).trim_matches('"'))
    };
    let name = value("name")?;
    NAMED.contains(&name).then_some(())?;
    Some(format!("{name}={}", value("version")?))
}
