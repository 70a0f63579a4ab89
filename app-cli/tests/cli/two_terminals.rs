//! `visavis offer` and `visavis answer`, with pipes in place of the person who copies and pastes.

use crate::{DEADLINE, finish, run, visavis};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Stdio},
    sync::mpsc,
    thread,
};

/// One side, running.
pub(crate) struct Side {
    child: Child,
    stdout: BufReader<ChildStdout>,
    name: String,
}

impl Side {
    pub(crate) fn start(args: &str) -> Self {
        let mut child = visavis(args).stdin(Stdio::piped()).spawn().expect("visavis runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self {
            child,
            stdout,
            name: args.to_owned(),
        }
    }

    /// What it prints to be copied.
    pub(crate) fn blob(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("UTF-8");
        assert!(!line.is_empty(), "visavis {} prints nothing", self.name);
        line
    }

    pub(crate) fn paste(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(text.as_bytes()).expect("it reads");
    }

    /// The exit code, the second line of the output, and what was said on standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, Value, String) {
        drop(self.child.stdin.take());
        let (tell, told) = mpsc::channel();
        let mut stdout = self.stdout;
        thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            tell.send(line)
        });
        let output = finish(self.child, &self.name);
        let report = told.recv_timeout(DEADLINE).expect("the output ends");
        let report = serde_json::from_str(&report).unwrap_or(Value::Null);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), report, said)
    }
}

/// A call by copy and paste; the reports of both.
pub(crate) fn call(offer: &str, answer: &str, edit: impl Fn(&str) -> String) -> [Value; 2] {
    let mut offerer = Side::start(&format!("offer --json {offer}"));
    let mut answerer = Side::start(&format!("answer --json {answer}"));
    answerer.paste(&edit(&offerer.blob()));
    offerer.paste(&edit(&answerer.blob()));
    [offerer, answerer].map(|side| {
        let name = side.name.clone();
        let (code, report, said) = side.end();
        assert_eq!(code, Some(0), "{name}: {said}\n{report}");
        assert_eq!(report["ok"], true, "{name}: {report}");
        report
    })
}

/// Pictures of the pattern that arrived as they were sent.
fn verified(report: &Value) {
    let video = &report["media"]["video"];
    assert!(video["frames_decoded"].as_u64() > Some(10), "{report}");
    assert_eq!(video["numbers_in_order"], true, "{report}");
    assert_eq!(video["numbers_unreadable"], 0, "{report}");
    assert!(video["psnr_db"]["mean"].as_f64() > Some(26.0), "{report}");
    assert!(
        report["media"]["audio"]["beeps_heard"].as_u64() >= Some(1),
        "{report}"
    );
}

#[cfg(all(feature = "str0m", feature = "webrtc-rs"))]
#[test]
fn all_pairs_call_each_other() {
    for offerer in ["str0m", "webrtc-rs"] {
        for answerer in ["str0m", "webrtc-rs"] {
            let offer = format!("--backend {offerer} --size 320x240 --duration 2s");
            let [called, answered] = call(&offer, &format!("--backend {answerer}"), str::to_owned);
            assert_eq!(
                (&called["role"], &called["stack"]),
                (&"offerer".into(), &offerer.into())
            );
            assert_eq!(
                (&answered["role"], &answered["stack"]),
                (&"answerer".into(), &answerer.into())
            );
            verified(&answered);
            assert_eq!(answered["media"]["video"]["width"], 320);
            assert!(called["texts"].as_u64() >= Some(4), "{called}");
            assert_eq!(called["media"]["video"], Value::Null, "{called}");
            assert!(called["timeline_ms"]["channel_open"].is_f64(), "{called}");
        }
    }
}

#[test]
fn both_ways_by_base64_that_was_wrapped() {
    let wrap = |blob: &str| {
        assert!(
            blob.trim_end()
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)),
            "{blob}"
        );
        let lines: Vec<_> = blob
            .trim_end()
            .as_bytes()
            .chunks(76)
            .map(String::from_utf8_lossy)
            .collect();
        format!("\n{}\n", lines.join("\n"))
    };
    let offer = "--base64 --both-ways --size 160x120 --duration 2s";
    let [called, answered] = call(offer, "--size 320x240 --fps 15", wrap);
    verified(&called);
    verified(&answered);
    assert_eq!(called["media"]["video"]["width"], 320);
    assert_eq!(answered["media"]["video"]["width"], 160);
}

#[test]
fn texts_alone_and_pretty_json() {
    let pretty = |blob: &str| {
        let value: Value = serde_json::from_str(blob).expect("JSON");
        assert_eq!(blob.lines().count(), 1);
        assert!(
            value["sdp"]
                .as_str()
                .is_some_and(|sdp| sdp.contains("a=candidate:")),
            "{value}"
        );
        format!("{value:#}\n")
    };
    let [called, answered] = call("--video none --audio none --duration 500ms", "", pretty);
    assert!(called["texts"].as_u64() >= Some(1), "{called}");
    assert_eq!(called["texts"], answered["texts"]);
    assert_eq!(answered["media"]["video"], Value::Null);
}

/// What is said about input that cannot be used.
fn refused(command: &str, input: &str) -> String {
    let mut side = Side::start(command);
    if command.starts_with("offer") {
        side.blob();
    }
    side.paste(input);
    let (code, _, said) = side.end();
    assert_eq!(code, Some(1), "{command} < {input}: {said}");
    said
}

#[test]
fn bad_input_is_said_and_ends_with_1() {
    let offer = "offer --video none --audio none";
    for (command, input, words) in [
        ("answer", "", "ended without the offer"),
        ("answer", "hello\n", "neither JSON nor base64"),
        ("answer", "{\"type\":\"offer\"", "not complete"),
        ("answer", "{\"type\":\"offer\",\"sdp\":\"nonsense\"}\n", "SDP"),
        (
            "answer",
            "{\"type\":\"answer\",\"sdp\":\"v=0\"}\n",
            "takes the offer",
        ),
        (
            offer,
            "{\"type\":\"offer\",\"sdp\":\"v=0\"}\n",
            "takes the answer",
        ),
        (offer, "[1]\n", "neither JSON nor base64"),
        (
            offer,
            "{\"type\":\"answer\",\"sdp\":\"v=0\\r\\n\"}\n",
            "remote description set",
        ),
    ] {
        let said = refused(command, input);
        assert!(said.contains(words), "{command} < {input}: {said}");
    }
    // With nothing on standard input at all.
    assert_eq!(run("answer").status.code(), Some(1));
}

#[test]
fn an_answerer_that_nobody_calls_gives_up() {
    let mut offerer = Side::start("offer --video none --audio none");
    let mut answerer = Side::start("answer --json --timeout 1s");
    answerer.paste(&offerer.blob());
    answerer.blob();
    let (code, report, said) = answerer.end();
    assert_eq!(
        (code, &report["failed_step"]),
        (Some(1), &"ice_connected".into()),
        "{said}"
    );
    crate::signal("-TERM", offerer.child.id());
    assert_eq!(offerer.end().0, Some(143));
}

/// On a terminal: a line of more than 4,095 characters, and a second try.
#[cfg(unix)]
#[test]
fn a_person_is_asked_again() {
    let mut offerer = Side::start("offer --video none --audio none --duration 500ms");
    let offer = offerer.blob();
    let mut offer: Value = serde_json::from_str(&offer).expect("JSON");
    let sdp = offer["sdp"].as_str().expect("SDP");
    offer["sdp"] = format!("{sdp}a=x-long:{}\r\n", "x".repeat(8_000)).into();
    let pty = crate::pty::Pty::spawn("answer --json", (100, 40), &[]);
    pty.wait_for("Paste the offer here");
    pty.send("nonsense!");
    pty.key("enter");
    pty.wait_for("neither JSON nor base64");
    pty.send(&offer.to_string());
    pty.key("enter");
    pty.wait_for("The answer is the line above");
    let output = pty.output();
    let output = String::from_utf8_lossy(&output);
    // What is pasted is shown as well, and begins with its `sdp`.
    let answer = output
        .lines()
        .find(|line| line.starts_with("{\"type\":\"answer\""));
    offerer.paste(&format!("{}\n", answer.expect("an answer")));
    let (code, _, said) = offerer.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(pty.exit_code(crate::pty::DEADLINE), 0);
    pty.assert_restored();
}
