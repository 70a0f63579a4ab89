//! `visavis`: WebRTC calls over interchangeable stacks, made visible. This program holds no protocol: it reads
//! the command line, calls by [`visavis_core::SamePage`], and prints.

#![forbid(unsafe_code)]

mod args;
mod backends;
mod bench;
mod call;
mod devices;
mod echo;
mod log;
mod media;
mod narrate;
mod net;
mod numbers;
mod one_side;
mod out;
mod outcome;
mod probe;
mod remote;
mod report;
mod resources;
mod screen;
mod sdp;
mod shell;
mod signals;
mod steps;
mod talk;

use args::{Cli, Command, SdpCommand};
use out::Out;
use std::{error::Error, io, process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let cli = Cli::parse_and_check();
    match run(cli) {
        Ok(code) => code.into(),
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            out::note(format!("{} {error}", out::paint(out::RED, "error:")));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<u8, Box<dyn Error>> {
    let mut out = Out::new();
    match cli.command.unwrap_or(Command::Call(cli.call)) {
        Command::Backends(args) => {
            backends::run(&args, &mut out)?;
            Ok(0)
        }
        Command::Bench(args) => {
            log::install(args.verbosity.level);
            drive(async { Ok(bench::run(&args, &mut out).await?) })
        }
        Command::BenchWorker => {
            log::install(0);
            bench::work()?;
            Ok(0)
        }
        Command::Call(args) if args.is_interactive() => {
            let lines = log::install(args.verbosity.level);
            drive(async { Ok(screen::run(&args, &lines).await?) })
        }
        Command::Call(args) => {
            log::install(args.verbosity.level);
            drive(async { Ok(call::run(&args, &mut out).await?) })
        }
        Command::Completions(args) => {
            shell::completions(&args)?;
            Ok(0)
        }
        Command::Devices(args) => {
            devices::run(&args, &mut out)?;
            Ok(0)
        }
        Command::Echo(args) => {
            log::install(args.verbosity.level);
            drive(async { Ok(echo::run(&args, &mut out).await?) })
        }
        Command::Man(args) => {
            shell::man(&args, &mut out)?;
            Ok(0)
        }
        Command::Probe(args) => {
            log::install(args.verbosity.level);
            drive(async { Ok(probe::run(&args, &mut out).await?) })
        }
        Command::Offer(args) => {
            log::install(args.common.verbosity.level);
            drive(async { Ok(remote::offer(&args, &mut out).await?) })
        }
        Command::Answer(args) => {
            log::install(args.common.verbosity.level);
            drive(async { Ok(remote::answer(&args, &mut out).await?) })
        }
        Command::Sdp(args) => {
            log::install(match &args.command {
                Some(SdpCommand::Diff(diff)) => diff.verbosity.level,
                None => args.verbosity.level,
            });
            drive(sdp::run(&args, &mut out))
        }
    }
}

fn drive<T>(work: impl Future<Output = Result<T, Box<dyn Error>>>) -> Result<T, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // What still waits for the operating system is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
