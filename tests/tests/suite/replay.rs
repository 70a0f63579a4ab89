//! A seed replayed sends the same datagrams at the same times, and its trace is one that tshark reads.
//!
//! What differs from process to process and changes what is sent: the jitter of DTLS's timers, which the world seeds, hash
//! maps, out of which str0m takes what to send next, and the wall clock, whose fractions are in the reports that round trips
//! are taken from. So a replay has random numbers and a wall clock of its own.

use libtest_mimic::{Failed, Trial};
use std::{
    env, fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Command, Output},
};
use visavis_tests::Stacks;

/// Cases that lose, and each in another way.
const CASES: [&str; 2] = ["handshakes_on_a_rough_path", "loss_5_percent"];
const SEED: &str = "3";

/// With `VISAVIS_SEED` set, starts this program again, with random numbers and a wall clock that are the same in every run.
pub(super) fn with_the_same_randomness() {
    if env::var_os("VISAVIS_SEED").is_none() || env::var_os("LD_PRELOAD").is_some() {
        return;
    }
    let again = || -> io::Result<io::Error> {
        let library = compiled()?;
        let mut program = Command::new(env::current_exe()?);
        Ok(program
            .args(env::args_os().skip(1))
            .env("LD_PRELOAD", library)
            .exec())
    };
    let (Ok(why) | Err(why)) = again();
    eprintln!("a second replay may differ from this one: no random numbers and no clock of its own: {why}");
}

fn compiled() -> io::Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/replay.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("replay.so");
    let written = |path: &Path| fs::metadata(path)?.modified();
    if written(&library).is_ok_and(|library| written(&source).is_ok_and(|source| library > source)) {
        return Ok(library);
    }
    // Others may be at it.
    let made = library.with_extension(process::id().to_string());
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]);
    if !compiler.arg(&made).arg(source).status()?.success() {
        return Err(io::Error::other("cc failed"));
    }
    fs::rename(made, &library)?;
    Ok(library)
}

/// One for each case and pair.
pub(super) fn trials() -> Vec<Trial> {
    let pairs = || Stacks::all().map(|stacks| stacks.to_string());
    let runs = CASES
        .iter()
        .flat_map(|case| pairs().map(move |pair| format!("{case}::{pair}::memory")));
    let mut trials: Vec<_> = runs
        .map(|run| Trial::test(format!("replay::{run}"), move || replay(&run)))
        .collect();
    trials.push(Trial::test("replay::read_by_tshark", tshark));
    trials
}

/// Two processes with the same seed, compared datagram by datagram.
fn replay(run: &str) -> Result<(), Failed> {
    let [first, second] = [0, 1].map(|time| {
        let folder = folder(&format!("{}-{time}", run.replace(':', "_")))?;
        let schedule = fs::read_to_string(traced(run, &folder)?.with_extension("txt"))?;
        Ok::<_, Failed>(schedule)
    });
    let (first, second) = (first?, second?);
    if !first.contains(": lost\n") {
        return Err(format!("nothing was lost in {run}").into());
    }
    let (first, second) = (by_link(&first), by_link(&second));
    match first.iter().zip(&second).find(|(a, b)| a != b) {
        Some((first, second)) => Err(format!("a datagram differs:\n{first}\n{second}").into()),
        None if first.len() != second.len() => Err("one has datagrams more".into()),
        None => Ok(()),
    }
}

/// What each link carried, in order. Which of two hosts that send at one moment is the first depends on their tasks, and is
/// nothing to what becomes of a datagram.
fn by_link(schedule: &str) -> Vec<&str> {
    let mut lines: Vec<_> = schedule.lines().collect();
    // "TIME ms FROM > TO NUMBER ..."
    lines.sort_by_key(|line| line.split(' ').skip(2).take(3).collect::<Vec<_>>());
    lines
}

fn tshark() -> Result<(), Failed> {
    if Command::new("tshark").arg("--version").output().is_err() {
        let words = "tshark is not installed, so no trace was read with it";
        assert!(env::var_os("VISAVIS_REQUIRE_ALL").is_none(), "{words}");
        eprintln!("{words}");
        return Ok(());
    }
    let run = format!("{}::str0m:webrtc-rs::memory", CASES[0]);
    let trace = traced(&run, &folder("tshark")?)?;
    let schedule = fs::read_to_string(trace.with_extension("txt"))?;
    let mut command = Command::new("tshark");
    command.args([
        "-T",
        "fields",
        "-e",
        "_ws.col.Protocol",
        "-e",
        "frame.comment",
        "-r",
    ]);
    let read = text(command.arg(&trace).output()?)?;
    let count = |text: &str, what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(read.lines().count(), schedule.lines().count(), "{read}");
    assert_eq!(count(&read, "lost"), count(&schedule, ": lost"), "{read}");
    assert_eq!(count(&read, "STUN"), count(&schedule, "STUN"), "{read}");
    assert!(count(&read, "DTLS") > 5, "{read}");
    Ok(())
}

/// The trace of a case that was run in a process of its own.
fn traced(run: &str, folder: &Path) -> Result<PathBuf, Failed> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--exact", run]).env("VISAVIS_SEED", SEED);
    text(command.env("VISAVIS_TRACES", folder).output()?)?;
    let mut traces = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let trace = traces.find(|path| path.extension().is_some_and(|e| e == "pcapng"));
    trace.ok_or_else(|| format!("no trace of {run}").into())
}

fn text(output: Output) -> Result<String, Failed> {
    if !output.status.success() {
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        return Err(format!("{}\n{out}\n{err}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// An empty folder.
fn folder(name: &str) -> Result<PathBuf, Failed> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("replay").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
