//! Calls over a network that is bad on purpose.

use crate::{check, json, run, stdout};

#[test]
fn what_is_lost_is_counted_and_sent_again() {
    let calls = json("--json --runs 3 --net delay=5ms,loss=20%,duplicate=10% --net-seed 7");
    assert_eq!(calls.len(), 3);
    let mut lost = 0;
    for call in &calls {
        check(call);
        assert_eq!(call["net"]["impairments"], "delay=5ms,loss=20%,duplicate=10%");
        assert_eq!(call["net"]["seed"], 7);
        assert!(
            call["setup_ms"].as_f64() > Some(50.0),
            "five round trips at least: {call}"
        );
        for side in ["offerer", "answerer"] {
            let network = &call[side]["network"];
            let count = |key: &str| network[key].as_u64().expect("a count");
            assert!(count("sent") > 5, "{call}");
            assert_eq!(
                count("corrupted") + count("queue_full") + count("too_large"),
                0,
                "{call}"
            );
            lost += count("lost");
        }
    }
    assert!(lost > 0, "{calls:?}");
}

#[test]
fn presets_are_written_out_in_the_summary() {
    let text = stdout("--net 4g,loss=2% --video none --audio none --duration 200ms");
    for part in [
        "a bad network (delay=25ms,jitter=10ms,loss=2%,burst=3,rate=8000kbps,queue=500ms), a data channel",
        "from the offerer",
        " datagrams",
        "seed 1",
    ] {
        assert!(text.contains(part), "`{part}` is missing in:\n{text}");
    }
}

#[test]
fn without_it_there_is_nothing_to_say() {
    let call = &json("--json --video none --audio none --duration 0s")[0];
    assert!(
        call["net"].is_null() && call["offerer"]["network"].is_null(),
        "{call}"
    );
}

#[test]
fn what_is_no_network_says_so() {
    for (args, says) in [
        (
            "--net 5g",
            "\"5g\" is not like loss=5%, nor one of wifi, 4g, satellite, lossy",
        ),
        ("--net loss=200%", "loss=200%: a share like 5% or 0.05"),
        ("--net delay=40", "delay=40: a time like 40ms"),
        ("--net-seed 3", "--net <WHAT>"),
    ] {
        let output = run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args}");
        assert!(errors.contains(says), "{args}: {errors}");
    }
}
