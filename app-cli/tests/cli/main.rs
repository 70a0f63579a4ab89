//! The program as it is typed: its help, its messages, its exit codes, and a real call.

#[cfg(all(feature = "str0m", feature = "webrtc-rs"))]
mod echo;
mod http;
#[cfg(all(feature = "str0m", feature = "webrtc-rs"))]
mod interop;
mod media;
#[cfg(all(target_os = "linux", feature = "str0m", feature = "webrtc-rs"))]
mod names;
mod net;
mod probe;
#[cfg(unix)]
mod pty;
#[cfg(all(unix, feature = "str0m", feature = "webrtc-rs"))]
mod screen;
mod server;
mod shell;
#[cfg(unix)]
mod terminal;
mod two_terminals;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// What runs longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// The program under test: `VISAVIS_PROGRAM`, a build with other features, or the one built with this test.
fn program() -> PathBuf {
    env::var_os("VISAVIS_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_visavis").into(), PathBuf::from)
}

/// Runs `visavis`, away from any terminal and with nothing of the environment that changes its output.
fn visavis(args: &str) -> Command {
    let mut command = Command::new(program());
    command
        .args(args.split_ascii_whitespace())
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[cfg(unix)]
impl pty::Pty {
    /// `visavis` in a terminal of so many columns and rows, which answers what it is asked.
    fn spawn(args: &str, size: (u16, u16), env: &[(&str, &str)]) -> Self {
        let args: Vec<_> = args.split_ascii_whitespace().collect();
        Self::start(&program(), &args, size, env, true)
    }
}

fn run(args: &str) -> Output {
    let child = visavis(args).spawn().expect("visavis runs");
    finish(child, args)
}

/// Waits until it ends, and not for ever.
fn finish(child: Child, args: &str) -> Output {
    let pid = child.id();
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(child.wait_with_output()));
    if let Ok(output) = end.recv_timeout(DEADLINE) {
        return output.expect("visavis ends");
    }
    signal("-KILL", pid);
    panic!("visavis {args} did not end within {DEADLINE:?}");
}

fn signal(signal: &str, pid: u32) {
    let killed = Command::new("sh")
        .args(["-c", r#"kill "$0" "$1""#, signal, &pid.to_string()])
        .status();
    assert!(killed.expect("a shell").success());
}

fn stdout(args: &str) -> String {
    let output = run(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "visavis {args}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(args: &str) -> Vec<serde_json::Value> {
    let parse = |line: &str| serde_json::from_str(line).expect("a JSON object a line");
    stdout(args).lines().map(parse).collect()
}

fn keys(value: &serde_json::Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

/// A directory of its own.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        Self(path)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(all(feature = "str0m", feature = "webrtc-rs"))]
mod with_both_stacks {
    use super::*;

    /// What is said about bad usage, which goes to standard error and exits with 2.
    fn usage_error(args: &str) -> String {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "visavis {args}");
        assert!(output.stdout.is_empty(), "visavis {args}");
        String::from_utf8(output.stderr).expect("UTF-8")
    }

    #[test]
    fn help() {
        insta::assert_snapshot!("help", stdout("--help"));
        insta::assert_snapshot!("help_short", stdout("-h"));
        insta::assert_snapshot!("help_call", stdout("call --help"));
        insta::assert_snapshot!("help_backends", stdout("backends --help"));
        insta::assert_snapshot!("help_devices", stdout("devices --help"));
        insta::assert_snapshot!("help_echo", stdout("echo --help"));
        insta::assert_snapshot!("help_sdp", stdout("sdp --help"));
        insta::assert_snapshot!("help_probe", stdout("probe --help"));
        insta::assert_snapshot!("help_offer", stdout("offer --help"));
        insta::assert_snapshot!("help_answer", stdout("answer --help"));
        insta::assert_snapshot!("help_sdp_diff", stdout("sdp diff --help"));
        insta::assert_snapshot!("help_bench", stdout("bench --help"));
        insta::assert_snapshot!("help_completions", stdout("completions --help"));
        insta::assert_snapshot!("help_man", stdout("man --help"));
    }

    #[test]
    fn backends() {
        insta::assert_snapshot!("backends", stdout("backends"));
        let listing = &json("backends --json")[0];
        assert_eq!(listing["backends"][0]["name"], "str0m");
        assert_eq!(
            listing["backends"][0]["capabilities"]["max_message_size"],
            262_144
        );
    }

    #[test]
    fn bad_usage() {
        let all: Vec<_> = [
            "--pair str0m",
            "--pair str0m:pion",
            "--backend pion",
            "--pair str0m:str0m --offerer str0m",
            "--backend str0m --answerer str0m",
            "--duration 3h",
            "--runs 0",
            "--bind localhost",
            "--ice none",
            "--json sdp",
            "sdp --want pictures",
            "sdp diff str0m",
            "nonsense",
            "--size 3x",
            "--size 641x480",
            "--size 20x20",
            "--fps 0",
            "--bitrate much",
            "--bitrate 1",
            "--video pictures",
            "--video file:",
            "--audio noise",
            "--video-codec theora",
            "--video none --size 640x480",
            "--video file:clip.mp4 --fps 30",
            "--loop",
            "--video none --audio none --both-ways",
            "--runs 2 --record calls",
        ]
        .into_iter()
        .map(|args| format!("$ visavis {args}\n{}\n", usage_error(args)))
        .collect();
        insta::assert_snapshot!("bad_usage", all.concat());
    }

    #[test]
    fn every_pair_calls_trickle_and_full() {
        for pair in [
            "str0m:str0m",
            "str0m:webrtc-rs",
            "webrtc-rs:str0m",
            "webrtc-rs:webrtc-rs",
        ] {
            for ice in ["trickle", "full"] {
                let call = &json(&format!("--json --duration 0s --pair {pair} --ice {ice}"))[0];
                assert_eq!(call["pair"], pair);
                assert_eq!(call["ice"], ice);
                check(call);
            }
        }
    }

    #[test]
    fn the_two_stacks_do_not_write_the_same() {
        let status = |args: &str| run(args).status.code();
        assert_eq!(status("sdp diff --exit-code"), Some(1));
        assert_eq!(status("sdp diff"), Some(0));
        assert_eq!(status("sdp diff webrtc-rs webrtc-rs --exit-code"), Some(0));
    }
}

/// A call that was made, with all the keys that `docs/cli.md` promises.
fn check(call: &serde_json::Value) {
    assert_eq!(call["schema_version"], 2);
    assert_eq!(call["exit_reason"], "done", "{call}");
    assert!(call["setup_ms"].as_f64() > Some(0.0), "{call}");
    assert_eq!(call["messages"]["round_trips"], 2, "{call}");
    for side in ["offerer", "answerer"] {
        let side = &call[side];
        assert!(side["timeline_ms"]["channel_open"].as_f64() > Some(0.0), "{call}");
        assert!(side["packets_sent"].as_u64() > Some(0), "{call}");
        assert_eq!(side["messages_sent"], 2, "{call}");
        assert_eq!(side["messages_received"], 2, "{call}");
    }
}

#[test]
fn json_has_the_documented_keys() {
    let call = &json("--json --duration 0s")[0];
    check(call);
    let documented = include_str!("../../../docs/cli.md");
    let sides = ["offerer", "answerer"].map(|side| keys(&call[side]));
    assert_eq!(sides[0], sides[1]);
    let steps = keys(&call["offerer"]["timeline_ms"]);
    assert_eq!(steps.len(), 14);
    let media = media::keys_of(&call["offerer_to_answerer"]);
    assert!(
        media.contains(&"frames") && media.contains(&"skew_ms"),
        "{media:?}"
    );
    for key in keys(call)
        .into_iter()
        .chain(sides.concat())
        .chain(steps)
        .chain(media)
    {
        let documented = documented.contains(&format!("`{key}`")) || documented.contains(&format!("`{key}."));
        assert!(documented, "docs/cli.md does not mention `{key}`");
    }
}

#[test]
fn a_series_calls_again_and_again_on_one_pair() {
    let calls = json("--json --runs 3 --warmup 1");
    let runs: Vec<_> = calls
        .iter()
        .map(|c| (c["run"].as_u64(), c["warmup"].as_bool()))
        .collect();
    let [warmup, measured] = [Some(true), Some(false)];
    let expected = [
        (Some(1), warmup),
        (Some(1), measured),
        (Some(2), measured),
        (Some(3), measured),
    ];
    assert_eq!(runs, expected);
    calls.iter().for_each(check);
    assert_eq!(calls[0]["tasks"], calls[3]["tasks"]);
    assert_eq!(calls[0]["fds"], calls[3]["fds"]);
    let text = stdout("--runs 2");
    assert!(
        text.contains("call       2/2") && text.contains("median"),
        "{text}"
    );
}

#[test]
fn the_steps_and_the_texts_are_told() {
    let text = stdout("--duration 300ms");
    for part in [
        "offer created",
        "ICE connected",
        "data channel open",
        "media ready",
        "first frame decoded",
        "came back after",
        "hung up",
        "Summary",
    ] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colours here");
}

#[test]
fn an_address_of_another_machine_fails_with_advice() {
    let output = run("--bind 192.0.2.1 --json");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("peer created") && errors.contains("--bind"),
        "{errors}"
    );
    let call: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(call["exit_reason"], "failed");
    assert_eq!(call["failed_step"], "peer_created");
    assert_eq!(call["setup_ms"], serde_json::Value::Null);
}

#[test]
fn a_description_is_the_same_from_run_to_run() {
    for args in ["sdp", "sdp --answer", "sdp --want data"] {
        assert_eq!(stdout(args), stdout(args), "visavis {args}");
    }
    assert_ne!(stdout("sdp --raw"), stdout("sdp --raw"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = visavis("--duration 1s").spawn().expect("visavis runs");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    reader.read_line(&mut line).expect("a line");
    drop(reader);
    let output = finish(child, "| head -1");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.is_empty(), "{errors}");
}

#[cfg(unix)]
#[test]
fn a_signal_hangs_up_and_reports() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut child = visavis("--duration 60s").spawn().expect("visavis runs");
        let mut reader = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("came back") {
            line.clear();
            assert_ne!(
                reader.read_line(&mut line).expect("a line"),
                0,
                "it ended too early"
            );
        }
        crate::signal(signal, child.id());
        let rest: Vec<_> = reader.lines().map_while(Result::ok).collect();
        assert_eq!(child.wait().expect("visavis ends").code(), Some(code));
        assert!(rest.iter().any(|line| line.contains("Summary")), "{rest:?}");
    }
}
