//! `visavis probe` against endpoints that echo, and endpoints that do not.

pub(crate) mod endpoint;

use crate::{DEADLINE, finish, http, server::Server, two_terminals::Side, visavis};
use endpoint::{Endpoint, Said, another_fingerprint, without_candidates};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The exit code, the JSON line, and what was said on standard error.
fn probe(url: &str, args: &str) -> (Option<i32>, Value, String) {
    let args = format!("probe {url} {args}");
    let output = finish(visavis(&args).spawn().expect("visavis runs"), &args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}\n{said}");
    (
        output.status.code(),
        serde_json::from_str(&text).expect("JSON"),
        said,
    )
}

/// All works.
pub(crate) fn works(url: &str, args: &str) -> Value {
    let (code, report, said) = probe(url, args);
    assert_eq!(
        (code, &report["ok"]),
        (Some(0), &true.into()),
        "{args}: {said}\n{report}"
    );
    assert_eq!(
        (&report["failed_step"], &report["reason"]),
        (&Value::Null, &Value::Null)
    );
    report
}

/// It fails with exit code 1, in time, and says so; the reason.
fn fails(url: &str, args: &str, step: &str) -> String {
    let began = Instant::now();
    let (code, report, said) = probe(url, &format!("--timeout 3s {args}"));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}: {report}",
        began.elapsed()
    );
    assert_eq!((code, &report["ok"]), (Some(1), &false.into()), "{report}");
    assert_eq!(report["failed_step"], step, "{report}");
    let reason = report["reason"].as_str().expect("a reason").to_owned();
    assert!(said.contains("error:") && said.contains("try:"), "{said}");
    reason
}

/// The stacks in this build.
fn stacks() -> Vec<String> {
    let all = crate::json("backends --json").remove(0);
    let names = all["backends"].as_array().expect("a list").iter();
    names
        .map(|b| b["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn what_is_echoed_works_on_all_pairs() {
    for theirs in stacks() {
        let server = Server::start(&format!("--backend {theirs}"));
        for ours in stacks() {
            let args = format!("--backend {ours} --video --audio --bytes 1MiB --size 60000 --duration 2s");
            let report = works(&server.url(), &args);
            assert_eq!(report["stack"], ours.as_str());
            for key in ["data_echo_ok", "data_echo_60k_ok"] {
                assert_eq!(report[key], true, "{report}");
            }
            for key in ["connected_ms", "dc_open_ms", "throughput_mb_per_s"] {
                assert!(report[key].as_f64() > Some(0.0), "{key}: {report}");
            }
            assert!(report["rtp_received"].as_u64() > Some(10), "{report}");
            assert!(report["frames_decoded"].as_u64() > Some(10), "{report}");
            assert_eq!(report["remote_codec"], "h264");
            assert_eq!(report["media"]["video"]["numbers_in_order"], true, "{report}");
            let gap = report["longest_gap_ms"].as_f64().expect("a gap");
            assert!(gap > 0.0 && gap < 1_000.0, "{report}");
            assert!(report["timeline_ms"]["first_frame_decoded"].is_f64(), "{report}");
        }
    }
}

#[test]
fn only_what_is_asked_for_is_probed() {
    let server = Server::start("");
    let report = works(&server.url(), "--json");
    for key in [
        "throughput_mb_per_s",
        "rtp_received",
        "frames_decoded",
        "longest_gap_ms",
        "remote_codec",
        "media",
    ] {
        assert_eq!(report[key], Value::Null, "{key}: {report}");
    }
    let report = works(&server.url(), "--no-data --audio --duration 1s");
    for key in ["dc_open_ms", "data_echo_ok", "data_echo_60k_ok", "frames_decoded"] {
        assert_eq!(report[key], Value::Null, "{key}: {report}");
    }
    assert_eq!(report["remote_codec"], "opus");
}

#[test]
fn what_is_no_answer_is_named() {
    let refused = Endpoint::free_port();
    let reason = fails(&refused, "", "signaling");
    assert!(reason.contains("refused"), "{reason}");
    let reply = |status, body: &str| Said::Reply(status, body.to_owned());
    for (said, step, words) in [
        (Said::Nothing, "signaling", "did not answer within 3.0 s"),
        (Said::Raw("220 mail is welcome\r\n"), "signaling", "HTTP"),
        (reply(200, "<html>"), "signaling", "<html>"),
        (
            reply(400, r#"{"error":"no ICE credentials"}"#),
            "signaling",
            "400: no ICE credentials",
        ),
        (reply(404, "not here"), "signaling", "404: not here"),
        (
            reply(200, r#"{"type":"offer","sdp":"v=0"}"#),
            "signaling",
            "type offer",
        ),
        (
            reply(200, r#"{"type":"answer","sdp":"v=0"}"#),
            "remote_description_set",
            "no m-lines",
        ),
    ] {
        let endpoint = Endpoint::start(move |_| said.clone());
        let reason = fails(&endpoint.url(), "", step);
        assert!(reason.contains(words), "{words}: {reason}");
    }
}

#[test]
fn what_does_not_connect_or_come_back_is_named() {
    let server = Server::start("");
    let same = str::to_owned as fn(&str) -> String;
    let endpoint = Endpoint::between(server.address(), without_candidates, without_candidates);
    let reason = fails(&endpoint.url(), "", "ice_connected");
    assert!(reason.contains("not within"), "{reason}");
    let sends_only = |sdp: &str| sdp.replace("a=sendrecv", "a=sendonly");
    let endpoint = Endpoint::between(server.address(), sends_only, same);
    let reason = fails(&endpoint.url(), "--no-data --video --duration 1s", "media");
    assert!(reason.contains("no pictures are sent back"), "{reason}");
    // Its echo of a text is another text.
    let endpoint = Endpoint::start(|offer| {
        let mut answerer = Side::start("answer --video none --audio none");
        answerer.paste(&format!("{offer}\n"));
        let answer = answerer.blob();
        // Lives as long as the call.
        std::thread::spawn(move || answerer.end());
        Said::Reply(200, answer)
    });
    let reason = fails(&endpoint.url(), "", "data_echo");
    assert!(reason.contains("message 1 had 1000 bytes"), "{reason}");
}

/// The whole server stops for a while, in mid-call.
#[cfg(unix)]
#[tokio::test]
async fn a_frozen_second_is_named() {
    let server = Server::start("");
    let url = server.url();
    let probing =
        tokio::task::spawn_blocking(move || fails(&url, "--no-data --video --duration 4s", "media"));
    let began = Instant::now();
    loop {
        let stats = http::request(server.address(), "GET", "/stats", &[], "").json();
        if stats["totals"]["frames_echoed"].as_u64() > Some(20) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "no pictures: {stats}");
        sleep(Duration::from_millis(20)).await;
    }
    crate::signal("-STOP", server.child.id());
    sleep(Duration::from_millis(1_500)).await;
    crate::signal("-CONT", server.child.id());
    let reason = probing.await.expect("it ends");
    assert!(reason.contains("no new picture came back"), "{reason}");
}

#[test]
fn a_wrong_fingerprint_is_named() {
    for stack in stacks() {
        let server = Server::start(&format!("--backend {stack}"));
        let endpoint = Endpoint::between(server.address(), str::to_owned, another_fingerprint);
        for ours in stacks() {
            let reason = fails(&endpoint.url(), &format!("--backend {ours}"), "dtls_connected");
            assert!(reason.contains("fingerprint"), "{ours} to {stack}: {reason}");
        }
    }
}
