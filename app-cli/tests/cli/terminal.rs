//! The program in a terminal, and the terminal of the tests itself.

use crate::pty::{DEADLINE, Pty};
use rustix::process::Signal;
use std::{path::Path, time::Duration};

const SIZE: (u16, u16) = (100, 40);

/// A shell in the terminal, for what the program does not do.
fn shell(script: &str, answers: bool) -> Pty {
    Pty::start(Path::new("/bin/sh"), &["-c", script], SIZE, &[], answers)
}

#[test]
fn a_terminal_gets_colours_and_is_left_as_it_was() {
    let pty = Pty::spawn("devices", SIZE, &[]);
    assert_eq!(pty.exit_code(DEADLINE), 0);
    let (column, row) = pty.wait_for("Cameras");
    pty.assert_restored();
    assert_eq!(pty.find("\x1b"), None);
    let screen = pty.screen();
    assert!(screen.cell(row, column).is_some_and(vt100::Cell::bold));

    let pty = Pty::spawn("devices", SIZE, &[("NO_COLOR", "1")]);
    assert_eq!(pty.exit_code(DEADLINE), 0);
    assert!(!pty.output().contains(&0x1b));
}

#[test]
fn what_is_typed_arrives_and_the_exit_code_comes_back() {
    let pty = Pty::spawn("sdp --offer -", SIZE, &[]);
    pty.send("nonsense");
    pty.wait_for("nonsense");
    pty.key("enter");
    pty.send("\x04");
    assert_eq!(pty.exit_code(DEADLINE), 1);
    pty.wait_for("error:");
}

#[test]
fn a_signal_hangs_up_in_a_terminal_too() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let pty = Pty::spawn("--video none --audio none --duration 60s", SIZE, &[]);
        pty.wait_for("came back after");
        pty.signal(signal);
        assert_eq!(pty.exit_code(DEADLINE), code);
        pty.wait_for("Summary");
        pty.assert_restored();
    }
}

#[test]
fn the_terminal_answers_or_does_not() {
    let ask = r"stty raw -echo; printf '\033[6n'; dd bs=1 count=6 2>/dev/null | od -c; echo answered";
    shell(ask, true).wait_for("answered");
    let silent = shell(ask, false);
    let waited = silent.wait(|s| s.contents().contains("answered"), Duration::from_millis(200));
    let late = format!("{:?}", waited.expect_err("nobody answers"));
    assert!(late.starts_with("it goes on"), "{late}");
}

#[test]
fn clicks_and_sizes_arrive() {
    // Not before the terminal has stopped repeating what is typed.
    let pty = shell(
        "stty raw -echo; echo '[ Start ]'; dd bs=1 count=9 2>/dev/null | od -c | head -1",
        true,
    );
    pty.click_on("Start");
    pty.wait_for(r"033   [   <   0   ;   5   ;   1   M");

    let pty = shell(
        "trap 'stty size' WINCH; echo ready; while :; do read x; done",
        true,
    );
    pty.wait_for("ready");
    pty.resize((60, 20));
    pty.wait_for("20 60");
}

#[test]
fn a_terminal_that_does_not_read_holds_the_program_up() {
    let pty = shell("echo ready; read x; seq 100000; echo through", true);
    pty.wait_for("ready");
    pty.pause_reading();
    pty.key("enter");
    let through = pty.wait(|s| s.contents().contains("through"), Duration::from_millis(200));
    assert!(through.is_err());
    pty.resume_reading();
    pty.wait_for("through");
    assert_eq!(pty.exit_code(DEADLINE), 0);
}

#[test]
#[should_panic(expected = "modes")]
fn a_terminal_that_is_not_left_as_it_was_is_noticed() {
    let pty = shell(r"printf '\033[?1000;1006h'", true);
    assert_eq!(pty.exit_code(DEADLINE), 0);
    pty.assert_restored();
}

#[test]
#[should_panic(expected = "settings")]
fn settings_that_are_not_put_back_are_noticed() {
    let pty = shell("stty raw", true);
    assert_eq!(pty.exit_code(DEADLINE), 0);
    pty.assert_restored();
}
