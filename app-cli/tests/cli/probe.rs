//! `visavis probe` against endpoints that echo, and endpoints that do not.

mod endpoint;

use crate::{finish, visavis};
use endpoint::{Endpoint, Fault};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

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
fn works(url: &str, args: &str) -> Value {
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
        let endpoint = Endpoint::start(&theirs, Fault::None);
        for ours in stacks() {
            let args = format!("--backend {ours} --video --audio --bytes 1MiB --size 60000 --duration 2s");
            let report = works(&endpoint.url(), &args);
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
            assert!(report["timeline_ms"]["first_frame_decoded"].is_f64(), "{report}");
        }
    }
}

#[test]
fn only_what_is_asked_for_is_probed() {
    let endpoint = Endpoint::start(&stacks()[0], Fault::None);
    let report = works(&endpoint.url(), "--json");
    for key in [
        "throughput_mb_per_s",
        "rtp_received",
        "frames_decoded",
        "remote_codec",
        "media",
    ] {
        assert_eq!(report[key], Value::Null, "{key}: {report}");
    }
    let report = works(&endpoint.url(), "--no-data --audio --duration 1s");
    for key in ["dc_open_ms", "data_echo_ok", "data_echo_60k_ok", "frames_decoded"] {
        assert_eq!(report[key], Value::Null, "{key}: {report}");
    }
    assert_eq!(report["remote_codec"], "opus");
}

#[test]
fn what_fails_is_named() {
    let stack = &stacks()[0];
    let refused = Endpoint::free_port();
    let reason = fails(&refused, "", "signaling");
    assert!(reason.contains("refused"), "{reason}");
    for (fault, args, step, words) in [
        (Fault::Hangs, "", "signaling", "did not answer within 3.0 s"),
        (Fault::Body(200, "<html>"), "", "signaling", "<html>"),
        (
            Fault::Body(400, r#"{"error":"no ICE credentials"}"#),
            "",
            "signaling",
            "400: no ICE credentials",
        ),
        (Fault::Body(404, "not here"), "", "signaling", "404: not here"),
        (
            Fault::Body(200, r#"{"type":"offer","sdp":"v=0"}"#),
            "",
            "signaling",
            "type offer",
        ),
        (
            Fault::Body(200, r#"{"type":"answer","sdp":"v=0"}"#),
            "",
            "remote_description_set",
            "no m-lines",
        ),
        (Fault::NotHttp, "", "signaling", "HTTP"),
        (Fault::Unreachable, "", "ice_connected", "not within"),
        (Fault::SpoilsMessages, "", "data_echo", "changed"),
        (
            Fault::KeepsMedia,
            "--no-data --video --duration 1s",
            "media",
            "no picture",
        ),
    ] {
        let endpoint = Endpoint::start(stack, fault);
        let reason = fails(&endpoint.url(), args, step);
        assert!(reason.contains(words), "{fault:?}: {reason}");
    }
}

#[test]
fn a_wrong_fingerprint_is_named() {
    for stack in stacks() {
        let endpoint = Endpoint::start(&stack, Fault::Fingerprint);
        for ours in stacks() {
            let reason = fails(&endpoint.url(), &format!("--backend {ours}"), "dtls_connected");
            assert!(reason.contains("fingerprint"), "{ours} to {stack}: {reason}");
        }
    }
}
