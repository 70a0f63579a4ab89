//! Completions and manual pages.

use crate::{Directory, run, stdout};
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

#[test]
fn every_shell_has_its_script_and_hidden_commands_are_not_in_it() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&format!("completions {shell}"));
        for part in ["both-ways", "completions", "diff"] {
            assert!(script.contains(part), "{shell}: `{part}` is missing");
        }
        assert!(!script.contains("bench-worker"), "{shell}");
    }
    assert_eq!(run("completions tcsh").status.code(), Some(2));
}

#[test]
fn bash_can_read_its_script() {
    let bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn();
    // Not every machine has it.
    let Ok(mut bash) = bash else { return };
    let script = stdout("completions bash");
    let mut stdin = bash.stdin.take().expect("piped");
    stdin.write_all(script.as_bytes()).expect("bash reads");
    drop(stdin);
    assert!(bash.wait().expect("bash ends").success());
}

#[test]
fn manual_pages() {
    let page = stdout("man");
    for part in [
        ".TH visavis 1",
        "visavis \\-\\-both\\-ways",
        "Exit codes",
        "visavis\\-call(1)",
    ] {
        assert!(page.contains(part), "`{part}` is missing in:\n{page}");
    }
    let directory = Directory::new("man");
    let said = stdout(&format!("man --dir {}", directory.0.display()));
    for name in [
        "visavis",
        "visavis-call",
        "visavis-bench",
        "visavis-sdp",
        "visavis-sdp-diff",
        "visavis-man",
    ] {
        let path = directory.path(&format!("{name}.1"));
        assert!(said.lines().any(|line| line == path), "{path} is not in:\n{said}");
        let page = fs::read_to_string(&path).expect("a page");
        assert!(
            page.contains(".SH EXAMPLES\n") && page.contains("visavis "),
            "{path}: {page}"
        );
    }
    let files = fs::read_dir(&directory.0).expect("a directory").count();
    assert_eq!(files, said.lines().count());
    assert!(!said.contains("worker") && !page.contains("worker"));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let output = run("man --dir Cargo.toml/pages");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("cannot write the pages into Cargo.toml/pages"),
        "{errors}"
    );
}
