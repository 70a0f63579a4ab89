//! What was found, and the table of it.

use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, collections::BTreeMap};

/// One run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) rustc: String,
    pub(crate) host: String,
    pub(crate) cores: usize,
    pub(crate) backends: Vec<Backend>,
}

/// One backend.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) build: Option<Build>,
    /// Packages of others.
    pub(crate) dependencies: usize,
    pub(crate) msrv: Msrv,
    pub(crate) licences: BTreeMap<String, usize>,
    pub(crate) c: Lines,
    pub(crate) assembly: Lines,
    pub(crate) rust_lines: usize,
    pub(crate) unparsed_files: usize,
    #[serde(rename = "unsafe")]
    pub(crate) not_safe: Lines,
    pub(crate) own: Own,
}

/// A build from nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Build {
    pub(crate) seconds: f64,
    pub(crate) processor_seconds: f64,
    /// What others had of the processors meanwhile. If it is not close to none, `seconds` is too long.
    pub(crate) others_seconds: f64,
    pub(crate) bytes: u64,
}

/// The newest compiler that a package asks for.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Msrv {
    pub(crate) rust_version: String,
    pub(crate) asked_for_by: Vec<String>,
    /// Packages that say nothing.
    pub(crate) unstated: usize,
}

/// Lines, and the packages that have most of them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Lines {
    pub(crate) total: usize,
    pub(crate) packages: usize,
    pub(crate) most: Vec<(String, usize)>,
}

/// What the stack's own authors wrote.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Own {
    pub(crate) packages: Vec<String>,
    pub(crate) lines: usize,
    #[serde(rename = "unsafe")]
    pub(crate) not_safe: usize,
}

impl Lines {
    /// The five packages that have most are named.
    pub(crate) fn of(packages: BTreeMap<String, usize>) -> Self {
        let mut most: Vec<_> = packages.into_iter().filter(|(_, lines)| *lines > 0).collect();
        most.sort_by_key(|(_, lines)| Reverse(*lines));
        let (total, packages) = (most.iter().map(|(_, lines)| lines).sum(), most.len());
        most.truncate(5);
        Self {
            total,
            packages,
            most,
        }
    }

    fn named(&self) -> String {
        let line = |(package, lines): &(String, usize)| format!("<br>{package}: {}", grouped(*lines));
        let most: String = self.most.iter().map(line).collect();
        let rest = self.packages - self.most.len();
        let rest = if rest > 0 {
            format!("<br>in {rest} more")
        } else {
            String::new()
        };
        format!("{}{most}{rest}", grouped(self.total))
    }
}

/// How the figures come about; follows the table.
const METHOD: &str = "\
Built once, into an empty target directory and without downloads: a program that makes one call over one data channel \
on that backend alone, with the workspace's release profile and lock file. Processor time is that of all processes of \
the build; where others had some meanwhile, the build would have been faster alone. Packages are those that a build \
for this target compiles, build scripts' and macros' included, without visavis's own. Lines are lines of text, blank \
ones and comments included. Rust is counted in the directory of a package's library, without tests, examples and \
benches, but with all platforms and features. Unsafe are the lines of unsafe blocks, bodies of unsafe functions and \
unsafe impls, each line once, also inside of macros; not what macros make of them, nor declarations of foreign \
functions. C and assembly are all files `.c .h .cc .cpp .cxx .hpp` and `.S .s .asm` in the packages' directories, \
tests and other platforms included: by far not all of it is compiled.";

impl Report {
    /// A column for each backend, and the method below.
    pub(crate) fn markdown(&self) -> String {
        let line = |title: &str, cells: Vec<String>| format!("| {title} | {} |\n", cells.join(" | "));
        let row =
            |title: &str, cell: fn(&Backend) -> String| line(title, self.backends.iter().map(cell).collect());
        let built = |title: &str, cell: fn(&Build) -> String| {
            let cell = |b: &Backend| b.build.as_ref().map_or_else(|| "not built".to_owned(), cell);
            line(title, self.backends.iter().map(cell).collect())
        };
        [
            row("", |b| b.name.clone()),
            row("---", |_| "---".to_owned()),
            built("Cold release build, s", |build| format!("{:.0}", build.seconds)),
            built("its processor time, s", |build| {
                format!("{:.0}", build.processor_seconds)
            }),
            built("others' meanwhile, s", |build| {
                format!("{:.0}", build.others_seconds)
            }),
            built("Stripped program, MB", |build| {
                format!("{:.2}", build.bytes as f64 / 1e6)
            }),
            row("Packages of others", |b| b.dependencies.to_string()),
            row("their lines of Rust", |b| grouped(b.rust_lines)),
            row("unsafe of these", |b| b.not_safe.named()),
            row("The stack's own packages", |b| b.own.packages.len().to_string()),
            row("their lines of Rust", |b| grouped(b.own.lines)),
            row("unsafe of these", |b| grouped(b.own.not_safe)),
            row("Lines of C and C++", |b| b.c.named()),
            row("Lines of assembly", |b| b.assembly.named()),
            row("Newest compiler asked for", |b| b.msrv.rust_version.clone()),
            row("by", |b| b.msrv.asked_for_by.join("<br>")),
            row("packages that do not say", |b| b.msrv.unstated.to_string()),
            row("Licences", |b| counts(&b.licences)),
            format!(
                "\n{}, {}, {} processors. {METHOD}\n",
                self.rustc, self.host, self.cores
            ),
        ]
        .concat()
    }
}

/// The most frequent first.
fn counts(licences: &BTreeMap<String, usize>) -> String {
    let mut licences: Vec<_> = licences.iter().collect();
    licences.sort_by_key(|(_, packages)| Reverse(**packages));
    let line = |(licence, packages): &(&String, &usize)| format!("{licence}: {packages}");
    licences.iter().map(line).collect::<Vec<_>>().join("<br>")
}

/// `1234567` as `1 234 567`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_that_have_most() {
        let packages = ["a", "b", "c", "d", "e", "f", "g"]
            .iter()
            .zip([0, 5, 1, 3, 2, 4, 6]);
        let lines = Lines::of(
            packages
                .map(|(name, lines)| ((*name).to_owned(), lines))
                .collect(),
        );
        assert_eq!((lines.total, lines.packages), (21, 6));
        let names: Vec<_> = lines.most.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["g", "b", "f", "d", "e"]);
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1 234 567");
    }
}
