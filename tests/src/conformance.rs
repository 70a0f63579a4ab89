//! `docs/conformance.md`, written from the list of cases and the capabilities of the stacks.

use crate::{Case, Known, Network, On, Stack, Stacks};
use std::fmt::Write;

/// How the page is made anew.
const COMMAND: &str = "cargo test -p visavis-tests --test suite -- --conformance > docs/conformance.md";

/// Files of web-platform-tests that no case follows, and why.
#[derive(Debug)]
pub struct Without {
    /// Why.
    pub reason: &'static str,
    /// Names in the folder `webrtc/`.
    pub files: &'static [&'static str],
}

/// What each stack says it can do, side by side.
pub fn capability_table() -> String {
    let columns = Stack::ALL.map(|stack| {
        let value = serde_json::to_value(stack.backend().capabilities());
        value.expect("a plain struct")
    });
    let mut text = format!(
        "| capability | {} | {} |\n|---|---|---|\n",
        Stack::ALL[0],
        Stack::ALL[1]
    );
    for (name, value) in columns[0].as_object().into_iter().flatten() {
        let [a, b] = [value, &columns[1][name]].map(cell);
        let _ = writeln!(text, "| `{name}` | {a} | {b} |");
    }
    text
}

fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        serde_json::Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The page.
///
/// # Panics
///
/// When a file is both followed and listed as not followed.
pub fn page(cases: &[Case], without: &[Without]) -> String {
    let followed: Vec<_> = cases.iter().flat_map(|case| case.follows).collect();
    for file in without.iter().flat_map(|group| group.files) {
        assert!(
            !followed.contains(&file),
            "{file} is followed, so it is not left out"
        );
    }
    let mut text = head(cases);
    let mut module = "";
    for case in cases {
        if case.module != module {
            module = case.module;
            section(&mut text, case);
        }
        let files: Vec<_> = case.follows.iter().map(|file| format!("`{file}`")).collect();
        let _ = write!(
            text,
            "| `{}` | {} | {} |",
            case.name,
            sentence(case),
            files.join(", ")
        );
        for stacks in Stacks::all() {
            let _ = write!(text, " {} |", networks(case, stacks));
        }
        text += "\n";
    }
    text += "\n## What the stacks say they can do\n\n";
    text += &capability_table();
    text += "\n## Files of web-platform-tests without a case\n\nAs far as they are known here: \
             names of `webrtc/`, of 2026 and before, without `webrtc/legacy/`.\n";
    for group in without {
        let files: Vec<_> = group.files.iter().map(|file| format!("`{file}`")).collect();
        let _ = write!(text, "\n- **{}.** {}\n", group.reason, files.join(", "));
    }
    text
}

fn head(cases: &[Case]) -> String {
    let pairs = Stacks::all().count();
    let runs: Vec<_> = cases.iter().flat_map(|case| case.runs()).collect();
    let memory = runs.iter().filter(|run| run.network() != Network::Real).count();
    let failures: Vec<_> = runs.iter().filter(|run| run.known().is_some()).collect();
    let mut text = format!(
        "# Conformance\n\n\
         The cases of the behaviour suite ([tests/tests/suite](../tests/tests/suite)) and what they are expected to do on \
         each ordered pair\nof stacks (`offerer:answerer`). Where there is a file of \
         [web-platform-tests](https://github.com/web-platform-tests/wpt/tree/master/webrtc),\nthe browsers' own suite, \
         that has the same behaviour in view, a case names it: it follows what that file checks as far as\nvisavis has \
         the API, and is written anew. This page is generated; a test fails when it is stale:\n\n    {COMMAND}\n\n\
         {} cases × {pairs} pairs: {} runs, {memory} on the network in memory (M) and {} on real sockets (R). {} of them \
         follow files of\nweb-platform-tests, {} in all. {} runs are expected failures, each of them a library's:\n\n",
        cases.len(),
        runs.len(),
        runs.len() - memory,
        cases.iter().filter(|case| !case.follows.is_empty()).count(),
        cases
            .iter()
            .flat_map(|case| case.follows)
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        failures.len(),
    );
    for case in cases {
        let Some(Known { reason, finding, .. }) = case.known else {
            continue;
        };
        let at: Vec<_> = failures.iter().map(ToString::to_string).collect();
        let at: Vec<_> = at
            .iter()
            .filter(|name| name.starts_with(&format!("{}::", case.name)))
            .collect();
        let _ = writeln!(
            text,
            "- `{}` ([finding {finding}](findings.md#{finding})): {reason}. {} runs: {}",
            case.name,
            at.len(),
            at.iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    text
}

/// A module's heading and the head of its table.
fn section(text: &mut String, case: &Case) {
    let about = case.source.lines().next().unwrap_or_default();
    let about = about.trim_start_matches("//!").trim();
    let _ = write!(
        text,
        "\n## {}\n\n{}\n\n| case | what it shows | web-platform-tests |",
        case.module,
        plain(about)
    );
    for stacks in Stacks::all() {
        let _ = write!(text, " {stacks} |");
    }
    let _ = writeln!(text, "\n|---|---|---|{}", "---|".repeat(Stacks::all().count()));
}

/// Where a case runs on a pair, and where it is expected to fail.
fn networks(case: &Case, stacks: Stacks) -> String {
    let letters = [(Network::MEMORY, "M"), (Network::Real, "R")];
    let mut cells = Vec::new();
    for (network, letter) in letters
        .into_iter()
        .filter(|(network, _)| case.on.covers(*network))
    {
        cells.push(match case.known_on(stacks, network) {
            Some(known) => format!("{letter}: expected failure [{0}](findings.md#{0})", known.finding),
            None => letter.to_owned(),
        });
    }
    cells.join(" ")
}

/// What a case's documentation says, or else its name in words.
fn sentence(case: &Case) -> String {
    let lines: Vec<_> = case.source.lines().collect();
    let signature = format!("async fn {}(", case.name);
    let at = lines.iter().position(|line| line.contains(&signature));
    let at = at.unwrap_or_else(|| panic!("{} is not in its module", case.name));
    let docs: Vec<_> = lines[..at]
        .iter()
        .rev()
        .map_while(|line| line.strip_prefix("///"))
        .collect();
    let docs: Vec<_> = docs.into_iter().rev().map(str::trim).collect();
    if docs.is_empty() {
        let words = case.name.replace('_', " ");
        return format!("{}{}.", words[..1].to_uppercase(), &words[1..]);
    }
    plain(&docs.join(" "))
}

/// Documentation as the page has it: links of Rust are words, links to files start at `docs/`.
fn plain(docs: &str) -> String {
    docs.replace("../../../docs/", "").replace('|', "\\|")
}

impl On {
    /// Whether a case that runs here runs on `network`.
    pub(crate) fn covers(self, network: Network) -> bool {
        match self {
            Self::Both => true,
            Self::Real => network == Network::Real,
            Self::Memory => network != Network::Real,
        }
    }
}

/// Checks that `docs/conformance.md` is what [`page`] gives.
///
/// # Errors
///
/// The first line that differs, and the command that makes the page anew.
pub fn check(page: &str) -> Result<(), String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance.md");
    let there =
        std::fs::read_to_string(path).map_err(|e| format!("docs/conformance.md: {e}; make it: {COMMAND}"))?;
    let stale = there.lines().zip(page.lines()).find(|(old, new)| old != new);
    match stale {
        None if there == page => Ok(()),
        stale => Err(format!(
            "docs/conformance.md is stale, make it anew: {COMMAND}\n{stale:#?}"
        )),
    }
}
