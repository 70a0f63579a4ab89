//! What speed does not show: what each backend costs to build, ship, license and trust.
//!
//! `cargo run --release -p visavis-cost -- [--json] [--no-build]` writes a Markdown table, or JSON, to stdout.
//! `--from <file>` writes the table of a run that was saved as JSON. Building takes minutes for each backend.

#![forbid(unsafe_code)]

mod count;
mod graph;
mod minimal;
mod report;

use graph::Package;
use report::{Backend, Lines, Report};
use std::{collections::BTreeMap, env, error::Error, fs, process::Command, thread::available_parallelism};

/// Anything that keeps a figure from coming about ends the program; there is nobody who could handle it.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A backend crate, how a program makes its stack, and the packages that the stack's own authors wrote.
struct Stack {
    name: &'static str,
    backend: &'static str,
    directory: &'static str,
    constructor: &'static str,
    own: &'static [&'static str],
}

/// A name that ends with `-` stands for all that begin with it.
const STACKS: [Stack; 2] = [
    Stack {
        name: "str0m",
        backend: "visavis-str0m",
        directory: "backend-str0m",
        constructor: "visavis_str0m::Str0m",
        own: &["str0m", "str0m-", "is", "dimpl", "sctp-proto"],
    },
    Stack {
        name: "webrtc-rs",
        backend: "visavis-webrtc-rs",
        directory: "backend-webrtc-rs",
        constructor: "visavis_webrtc_rs::WebrtcRs",
        own: &["webrtc", "rtc", "rtc-"],
    },
];

impl Stack {
    fn wrote(&self, package: &str) -> bool {
        let is = |own: &&str| package == *own || own.ends_with('-') && package.starts_with(own);
        self.own.iter().any(is)
    }
}

fn main() -> Result<()> {
    let (mut json, mut build, mut from) = (false, true, None);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--no-build" => build = false,
            "--from" => from = Some(arguments.next().ok_or("--from needs a file")?),
            _ => return Err("usage: visavis-cost [--json] [--no-build] [--from <file>]".into()),
        }
    }
    let report = match from {
        Some(file) => serde_json::from_str(&fs::read_to_string(file)?)?,
        None => measure(build)?,
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.markdown());
    }
    Ok(())
}

fn measure(build: bool) -> Result<Report> {
    let compiler = minimal::output(Command::new("rustc").arg("-vV"))?;
    let line = |key: &str| compiler.lines().find_map(|line| line.strip_prefix(key));
    let host = line("host: ").ok_or("rustc does not tell its host")?;
    let mut report = Report {
        rustc: compiler.lines().next().unwrap_or_default().to_owned(),
        host: host.to_owned(),
        cores: available_parallelism()?.get(),
        backends: Vec::new(),
    };
    for stack in &STACKS {
        let program = minimal::Program::write(stack)?;
        eprintln!("{}: reading its packages", stack.name);
        let packages = graph::packages(&program.manifest(), host)?;
        let mut backend = read(stack, &packages)?;
        // After reading: the sources are then in memory for either backend.
        if build {
            eprintln!("{}: building with an empty target directory", stack.name);
            let built = program.build()?;
            eprintln!("{}: {:.1} s, {} bytes", stack.name, built.seconds, built.bytes);
            backend.build = Some(built);
        }
        report.backends.push(backend);
    }
    Ok(report)
}

/// Everything that needs no build.
fn read(stack: &Stack, packages: &[Package]) -> Result<Backend> {
    let mut backend = Backend {
        name: stack.name.to_owned(),
        dependencies: packages.len(),
        msrv: graph::msrv(packages),
        licences: graph::licences(packages),
        ..Backend::default()
    };
    let (mut c, mut assembly, mut not_safe) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        let native = count::native(package.directory())?;
        c.insert(name.clone(), native.c);
        assembly.insert(name.clone(), native.assembly);
        let Some(sources) = package.sources() else {
            continue;
        };
        let rust = count::rust(sources)?;
        backend.rust_lines += rust.lines;
        backend.unparsed_files += rust.unparsed;
        if stack.wrote(&package.name) {
            backend.own.packages.push(name.clone());
            backend.own.lines += rust.lines;
            backend.own.not_safe += rust.not_safe;
        }
        not_safe.insert(name, rust.not_safe);
    }
    backend.c = Lines::of(c);
    backend.assembly = Lines::of(assembly);
    backend.not_safe = Lines::of(not_safe);
    Ok(backend)
}
