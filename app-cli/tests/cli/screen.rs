//! The call on screen: keys, clicks and looks at the real program in a terminal.

use crate::{
    Directory,
    pty::{DEADLINE, Pty, find},
};
use rustix::process::Signal;
use std::{fs, time::Duration};
use tokio::time::Instant;
use vt100::{Cell, Color, Screen};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 50);
const BUTTONS: &str = " Start   Call   Hang Up ";

/// The halves of the screen, each with its picture.
#[derive(Clone, Copy)]
enum Half {
    Local,
    Remote,
}

fn show(args: &str, size: (u16, u16), env: &[(&str, &str)]) -> Pty {
    let pty = Pty::spawn(&format!("--graphics halfblocks {args}"), size, env);
    pty.wait_for("press s to start");
    pty
}

/// On the screen, and called.
fn call(args: &str, size: (u16, u16), env: &[(&str, &str)]) -> Pty {
    let pty = show(args, size, env);
    start_and_call(&pty);
    pty
}

fn start_and_call(pty: &Pty) {
    pty.send("s");
    pty.wait_for("press c to call");
    pty.send("c");
    pty.wait_for("in call");
}

fn click_button(pty: &Pty, label: &str) {
    let (column, row) = pty.wait_for(BUTTONS);
    let offset = BUTTONS.find(label).expect("a button") as u16;
    pty.click(column + offset, row);
}

/// Between the headings and the buttons.
fn cells(screen: &Screen, half: Half) -> Vec<&Cell> {
    let middle = screen.size().1.get() / 2;
    let columns = match half {
        Half::Local => 0..middle,
        Half::Remote => middle..2 * middle,
    };
    let rows = 2..find(screen, BUTTONS).map_or(2, |(_, row)| row);
    rows.flat_map(|row| columns.clone().map(move |column| (row, column)))
        .filter_map(|(row, column)| screen.cell(row, column))
        .collect()
}

/// Waits until there is a picture that moves: some cell of it changes again and again.
#[track_caller]
fn wait_for_motion(pty: &Pty, half: Half) {
    let mut before: Vec<Cell> = Vec::new();
    let mut changes = Vec::new();
    let moves = pty.wait(
        |screen| {
            let now = cells(screen, half);
            // Without colours pictures are made of these.
            let is_picture =
                |cell: &Cell| cell.bgcolor() != Color::Default || ["+", "*", "#"].contains(&cell.contents());
            if now.len() == before.len() && now.iter().filter(|cell| is_picture(cell)).count() > 20 {
                for ((now, before), changes) in now.iter().zip(&before).zip(&mut changes) {
                    *changes += u32::from(*now != before);
                }
            } else {
                changes = vec![0; now.len()];
            }
            before = now.into_iter().cloned().collect();
            changes.iter().any(|&changes| changes >= 5)
        },
        DEADLINE,
    );
    moves.expect("a picture that moves");
}

/// Waits until both sides have reached the step; how long they took for it.
#[track_caller]
fn wait_for_step(pty: &Pty, step: &str) -> [f64; 2] {
    let mut both = None;
    let reached = pty.wait(
        |screen| {
            let contents = screen.contents();
            let row = contents.lines().find_map(|line| line.split_once(step));
            let numbers = row.into_iter().flat_map(|(_, row)| row.split_whitespace());
            let numbers = numbers.filter_map(|word| word.trim_end_matches('◂').parse().ok());
            both = numbers.collect::<Vec<_>>().try_into().ok();
            both.is_some()
        },
        DEADLINE,
    );
    both.unwrap_or_else(|| panic!("{step}: {reached:?}"))
}

/// Waits until the whole handshake is on the timeline, and no step of it took longer than all of it.
#[track_caller]
fn wait_for_handshake(pty: &Pty) {
    pty.wait_for("connected in ");
    wait_for_step(pty, "data channel open");
    let contents = pty.screen().contents();
    let total = contents.split_once("connected in ").expect("said").1;
    let total: f64 = total
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .expect("ms");
    for step in ["peer created", "ICE connected", "DTLS connected", "SCTP up"] {
        let took = wait_for_step(pty, step);
        assert!(
            took.iter().all(|took| *took <= total + 1.0),
            "{step}: {took:?} of {total}"
        );
    }
}

/// The number before these words.
fn number(screen: &Screen, words: &str) -> Option<f64> {
    let contents = screen.contents();
    let (before, _) = contents.split_once(words)?;
    before.split_whitespace().next_back()?.parse().ok()
}

#[track_caller]
fn wait_for_number(pty: &Pty, words: &str, expected: impl Fn(f64) -> bool, deadline: Duration) {
    let comes = pty.wait(|screen| number(screen, words).is_some_and(&expected), deadline);
    comes.unwrap_or_else(|late| panic!("{words}: {late:?}"));
}

#[track_caller]
fn wait_for_end(pty: &Pty, code: u32) {
    assert_eq!(pty.exit_code(DEADLINE), code, "{}", pty.screen().contents());
    pty.assert_restored();
}

/// Every colour escape: what was asked for, `38;2;1;2;3` say.
fn colours(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let sgr = text.split("\x1b[").skip(1).filter_map(|part| {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';')?;
        part[end..].starts_with('m').then(|| part[..end].to_owned())
    });
    sgr.filter(|sgr| {
        let first = sgr.split(';').next().and_then(|n| n.parse().ok());
        // 39 and 49 take colours back.
        matches!(first, Some(30..=38 | 40..=48 | 90..=107))
    })
    .collect()
}

#[test]
fn a_call_by_keys_in_a_small_terminal() {
    let pty = show("", SMALL, &[]);
    for words in [
        BUTTONS,
        "? help  q quit",
        "str0m calls str0m",
        "Start opens the source",
    ] {
        pty.wait_for(words);
    }
    pty.send("c");
    pty.send("s");
    pty.wait_for("press c to call");
    wait_for_motion(&pty, Half::Local);
    pty.wait_for("the remote picture comes with a call");

    pty.send("c");
    pty.wait_for("in call");
    wait_for_motion(&pty, Half::Local);
    wait_for_motion(&pty, Half::Remote);
    wait_for_handshake(&pty);
    pty.send("3");
    wait_for_number(&pty, " fps", |fps| fps > 20.0, DEADLINE);

    pty.send("1h");
    pty.wait_for("press c to call");
    // It is still there when the source is shown again.
    pty.wait_for("hung up; c calls again");
    wait_for_motion(&pty, Half::Local);
    pty.send("c");
    pty.wait_for("in call");
    wait_for_motion(&pty, Half::Remote);
    pty.send("o");
    pty.wait_for("hang up first");
    pty.send("h");
    pty.wait_for("press c to call");

    pty.send("o");
    pty.wait_for("webrtc-rs calls str0m");
    pty.send("c");
    pty.wait_for("in call");
    wait_for_motion(&pty, Half::Remote);
    wait_for_handshake(&pty);
    pty.send("h");
    pty.wait_for("press c to call");

    // Before the call is up.
    pty.send("ch");
    pty.wait_for("press c to call");
    pty.send("cq");
    wait_for_end(&pty, 0);
}

#[test]
fn a_call_by_mouse_in_a_large_terminal() {
    let directory = Directory::new("screen");
    let pty = show(&format!("--record {}", directory.0.display()), LARGE, &[]);
    let (column, row) = pty.wait_for("str0m calls");
    pty.click(column, row);
    pty.wait_for("webrtc-rs calls str0m");
    click_button(&pty, "Start");
    pty.wait_for("press c to call");
    click_button(&pty, "Call");
    pty.wait_for("in call");
    wait_for_motion(&pty, Half::Remote);
    wait_for_number(&pty, " fps", |fps| fps > 20.0, DEADLINE);

    // What is typed is no key.
    pty.send("t");
    pty.send("quite a shock");
    pty.key("enter");
    pty.wait_for("quite a shock  came back after");
    pty.key("escape");
    pty.wait_for("t or Enter: say something");

    pty.click_on("SCTP up");
    pty.wait_for("SCTP runs inside DTLS");
    pty.wait_for("a=sctp-port:");
    pty.key("down");
    pty.wait_for("The channel was announced");

    // By --record, from the beginning.
    pty.wait_for("● rec");
    let decoded = number(&pty.screen(), " decoded").expect("a count");
    wait_for_number(&pty, " decoded", |now| now > decoded + 45.0, DEADLINE);
    pty.send("r");
    pty.wait_for("recorded ");
    assert!(pty.find("● rec").is_none());
    check_recording(&fs::read(directory.path("offerer_to_answerer.ivf")).expect("a recording"));
    let sound = fs::read(directory.path("offerer_to_answerer.ogg")).expect("a recording");
    assert!(sound.starts_with(b"OggS"));

    click_button(&pty, "Hang Up");
    pty.wait_for("press c to call");
    pty.click_on("q quit");
    wait_for_end(&pty, 0);
}

/// An IVF file of H.264 with frames, the first a keyframe.
fn check_recording(ivf: &[u8]) {
    assert!(
        ivf.starts_with(b"DKIF") && ivf[8..12] == *b"H264",
        "{:?}",
        &ivf[..32]
    );
    let (mut frames, mut rest) = (Vec::new(), &ivf[32..]);
    while let Some((size, data)) = rest.split_first_chunk::<4>() {
        let end = 8 + u32::from_le_bytes(*size) as usize;
        frames.push(&data[8..end]);
        rest = &data[end..];
    }
    assert!(frames.len() > 20, "{} frames", frames.len());
    let is_idr = |nal: &[u8]| nal[..3] == [0, 0, 1] && nal[3] & 0x1f == 5;
    assert!(frames[0].windows(4).any(is_idr));
}

#[test]
fn it_ends_as_it_is_told_to_and_leaves_the_terminal_as_it_was() {
    let pty = call("", SMALL, &[]);
    pty.key("ctrl-c");
    wait_for_end(&pty, 130);

    let pty = call("", SMALL, &[]);
    pty.signal(Signal::TERM);
    wait_for_end(&pty, 143);

    let pty = show("--fault panic", SMALL, &[]);
    pty.send("s");
    pty.wait_for("press c to call");
    pty.send("c");
    wait_for_end(&pty, 101);
    pty.wait_for("a fault that was asked for");
}

#[test]
fn it_can_be_suspended_in_a_call() {
    let pty = call("", SMALL, &[]);
    for by_key in [true, false] {
        if by_key {
            pty.key("ctrl-z");
        } else {
            pty.signal(Signal::TSTP);
        }
        pty.wait_for_stop();
        let given_back = pty.wait(|screen| !screen.alternate_screen(), DEADLINE);
        given_back.expect("the screen of before");
        pty.assert_restored();
        pty.signal(Signal::CONT);
        pty.wait_for("in call");
        wait_for_motion(&pty, Half::Remote);
    }
    pty.send("q");
    wait_for_end(&pty, 0);
}

#[test]
fn a_terminal_that_does_not_read_does_not_hold_up_the_call() {
    let pty = call("", SMALL, &[]);
    pty.send("3");
    wait_for_number(&pty, " fps", |fps| fps > 20.0, DEADLINE);
    let before = number(&pty.screen(), " decoded").expect("a count");
    let began = Instant::now();
    pty.pause_reading();
    pty.pass(Duration::from_secs(5));
    pty.resume_reading();
    // A call that stood still would not make up for it so soon.
    let goes_on = |now| now - before > 20.0 * began.elapsed().as_secs_f64();
    wait_for_number(&pty, " decoded", goes_on, Duration::from_secs(3));
    pty.wait_for(", 0 packets lost");

    pty.pause_reading();
    pty.signal(Signal::TERM);
    assert_eq!(pty.exit_code(Duration::from_secs(10)), 143);
}

#[test]
fn a_terminal_that_does_not_answer_will_do() {
    let program = crate::program();
    for answers in [true, false] {
        let pty = Pty::start(&program, &[], SMALL, &[], answers);
        // Before the program listens.
        pty.send("s");
        pty.wait_for("press c to call");
        wait_for_motion(&pty, Half::Local);
        pty.send("q");
        wait_for_end(&pty, 0);
    }
}

#[test]
fn it_tells_the_call_where_that_is_better() {
    let plain = Pty::spawn("--plain --video none --audio none", SMALL, &[]);
    let dumb = Pty::spawn("--video none --audio none", SMALL, &[("TERM", "dumb")]);
    for pty in [plain, dumb] {
        assert_eq!(pty.exit_code(DEADLINE), 0);
        pty.wait_for("Summary");
        assert!(!pty.output().windows(8).any(|part| part == b"\x1b[?1049h"));
        pty.assert_restored();
    }
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    let pty = call("", SMALL, &[]);
    wait_for_motion(&pty, Half::Remote);
    pty.resize((160, 45));
    // All panes have room.
    for words in ["3 Figures", "4 Chat", "5 Log"] {
        pty.wait_for(words);
    }
    wait_for_motion(&pty, Half::Remote);
    pty.resize((50, 15));
    pty.wait_for("50x15 is too small");
    pty.resize(SMALL);
    pty.wait_for("in call");
    wait_for_motion(&pty, Half::Local);
    wait_for_motion(&pty, Half::Remote);
    pty.send("q");
    wait_for_end(&pty, 0);
}

#[test]
fn it_uses_the_colours_that_there_are() {
    let pty = show("", SMALL, &[("NO_COLOR", "1")]);
    let is_enabled = |label: &str| {
        let (column, row) = pty.wait_for(BUTTONS);
        let column = column + BUTTONS.find(label).expect("a button") as u16;
        pty.screen().cell(row, column).is_some_and(Cell::inverse)
    };
    assert!(is_enabled("Start") && !is_enabled("Call") && !is_enabled("Hang Up"));
    pty.send("s");
    pty.wait_for("press c to call");
    assert!(!is_enabled("Start") && is_enabled("Call") && !is_enabled("Hang Up"));
    pty.send("c");
    pty.wait_for("in call");
    wait_for_motion(&pty, Half::Remote);
    pty.send("q");
    wait_for_end(&pty, 0);
    assert_eq!(colours(&pty.output()), Vec::<String>::new());

    let pty = call("", SMALL, &[("COLORTERM", "")]);
    wait_for_motion(&pty, Half::Remote);
    pty.send("q");
    wait_for_end(&pty, 0);
    let colours = colours(&pty.output());
    assert!(!colours.is_empty());
    let others: Vec<_> = colours.iter().filter(|c| c.contains("8;2;")).take(3).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn what_goes_wrong_is_said_and_can_be_put_right() {
    let pty = show("--video file:/does/not/exist.mp4", SMALL, &[]);
    pty.wait_for("exist.mp4");
    pty.send("s");
    pty.wait_for("Choose another source: v, m");
    pty.send("v");
    pty.wait_for("  pattern  ");
    start_and_call(&pty);
    wait_for_motion(&pty, Half::Remote);
    pty.send("q");
    wait_for_end(&pty, 0);

    let pty = show("--bind 192.0.2.1", SMALL, &[]);
    pty.send("s");
    pty.wait_for("press c to call");
    for _ in 0..2 {
        pty.send("c");
        pty.wait_for("peer created: not reached");
        pty.wait_for("--bind");
        wait_for_motion(&pty, Half::Local);
        pty.key("escape");
        let gone = pty.wait(|screen| find(screen, "not reached").is_none(), DEADLINE);
        gone.expect("no message any more");
    }
    pty.send("q");
    wait_for_end(&pty, 0);
}
