//! Calls with a browser and other people's stacks, as far as they are installed here.

use super::finish;
use std::{
    env,
    io::{self, Write},
    process::{Command, Stdio},
};

/// A data channel with each peer, both stacks, both roles. `interop/run` without `--kinds` does the rest.
#[test]
fn calls_with_what_is_installed() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../interop/run");
    let peers = ["Chromium", "aiortc", "libdatachannel"].map(|name| ["--peer", name]);
    let child = Command::new("python3")
        .args([script, "--check", "--within", "100", "--kinds", "data"])
        .args(peers.as_flattened())
        .arg(crate::program())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = match child {
        Ok(child) => child,
        Err(error) => {
            let words = format!("interop: not run, for it needs python3: {error}");
            assert!(env::var_os("VISAVIS_REQUIRE_ALL").is_none(), "{words}");
            say(&words);
            return;
        }
    };
    let output = finish(child, "interop/run");
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{out}{err}");
    for words in err.lines().filter(|line| line.starts_with("interop: not run")) {
        say(words);
    }
}

/// What was left out is said though the test passes, whose prints are not shown.
fn say(words: &str) {
    let _ = writeln!(io::stderr(), "{words}");
}
