//! The command line: what can be typed, and the help that teaches it.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help texts, which are no Markdown"
)]

mod bench;
mod call;
mod echo;
mod media;
mod probe;
mod remote;
mod sdp;
mod shell;

pub(crate) use bench::BenchArgs;
pub(crate) use call::{CallArgs, Fault};
pub(crate) use echo::EchoArgs;
pub(crate) use media::MediaArgs;
pub(crate) use probe::ProbeArgs;
pub(crate) use remote::{AnswerArgs, OfferArgs, RemoteArgs};
pub(crate) use sdp::{DiffArgs, IntentArgs, SdpArgs, SdpCommand, Want};
pub(crate) use shell::{CompletionsArgs, ManArgs};

use crate::backends;
use clap::{Args, CommandFactory, Parser, Subcommand, builder::PossibleValuesParser, error::ErrorKind};

/// WebRTC calls over interchangeable stacks, made visible
///
/// Makes a real WebRTC call between two peers in this process and shows every step of it: the offer and the
/// answer, the candidates, ICE, DTLS, SCTP, the data channel, the first picture. Each peer may run on another stack.
///
/// Without a command it makes the call, so `visavis --json` is `visavis call --json`.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  visavis                        the call on screen, with its buttons\n  \
                  visavis --plain                the same, explained step by step\n  \
                  visavis --help                 more on each option, and the exit codes\n  \
                  visavis sdp diff               what the stacks write for the same intent",
    after_long_help = CALL_EXAMPLES,
)]
pub(crate) struct Cli {
    /// What to do; a call when nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The call's options.
    #[command(flatten)]
    pub(crate) call: CallArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a call and explain each step of it (the default)
    ///
    /// The offerer writes an offer, the answerer writes an answer; both gather candidates, ICE finds a pair of
    /// addresses that works, DTLS secures it, SCTP runs inside DTLS, and a data channel opens on top. Then pictures
    /// and sound go from the offerer to the answerer, who checks them, and texts go both ways; each is echoed and
    /// timed. In the end both peers hang up. A call whose pictures or sound are not as they were sent has failed.
    #[command(after_help = CALL_EXAMPLES)]
    Call(CallArgs),
    /// Compare the stacks: handshakes, frames, messages, many peers, in one run
    ///
    /// Measures every ordered pair of stacks in turns of random order, each turn in a process of its own, and one pair
    /// twice, which shows the noise. Only what is clear of that noise is called a difference. A full run takes about
    /// 20 minutes; Ctrl-C ends it and keeps what was measured. docs/benchmarks.md says how to read the results.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
    /// Check a WebRTC endpoint that answers over HTTP: data, pictures and sound that come back
    ///
    /// Sends an offer with all candidates inside to the URL, as {"type":"offer","sdp":…}, and takes the answer the same
    /// way. Then it checks what the endpoint echoes: messages of a data channel labelled `echo`, the pictures of the
    /// pattern by their numbers, the sound of the tone. The result is one JSON line, which says at which step it failed
    /// and why. `docs/cli.md` has its fields.
    #[command(after_help = PROBE_EXAMPLES)]
    Probe(ProbeArgs),
    /// Begin a call with another terminal, machine or browser, by copy and paste
    ///
    /// Prints an offer on standard output, waits for the answer on standard input, and calls: pictures and sound go to
    /// the other side, texts go there and back. All else is said on standard error. The other side is `visavis answer`,
    /// or a browser with docs/two-terminals.html.
    #[command(after_help = OFFER_EXAMPLES)]
    Offer(OfferArgs),
    /// Answer a call of another terminal, machine or browser, by copy and paste
    ///
    /// Waits for an offer on standard input, prints the answer on standard output, and takes the call until the other
    /// side leaves: pictures of the pattern and the tone are checked as they arrive, texts are echoed. If the offer asks
    /// for pictures or sound, they are sent. All else is said on standard error.
    #[command(after_help = ANSWER_EXAMPLES)]
    Answer(AnswerArgs),
    /// Show what the stacks in this build can do
    ///
    /// One row a capability, one column a stack. `yes` means that visavis supports it on that stack, tested.
    #[command(after_help = "Examples:\n  visavis backends\n  visavis backends --json\n  \
                            cargo build -p visavis --no-default-features --features str0m   a build with one stack")]
    Backends(BackendsArgs),
    /// List cameras, microphones, speakers and codecs
    ///
    /// What this machine has and what this build can do with it. For what is missing it says how to get it.
    #[command(after_help = "Examples:\n  visavis devices\n  visavis devices --json\n  \
                            visavis --video camera:1 --audio mic   a call with the second camera")]
    Devices(DevicesArgs),
    /// Answer calls over HTTP and send everything back, for browsers and other programs
    ///
    /// POST /offer takes {"type": "offer", "sdp": ...} with all candidates inside and returns the answer the same way.
    /// Each audio and video track goes back to its sender frame by frame, and each data channel message on its channel.
    /// The answer's header Location says where the next offers of the same call go, which add and drop tracks or restart
    /// ICE. GET / is a page that calls from a browser, GET /stats tells of the callers as JSON. When it is ready it prints
    /// one line of JSON with "listening".
    #[command(after_help = ECHO_EXAMPLES)]
    Echo(EchoArgs),
    /// Print the session description that a stack writes
    ///
    /// Creates a peer for the stated intent and prints its offer, or its answer, without making a call. What
    /// changes from run to run (credentials, fingerprint, session id, SSRCs, mids, ports) is masked, so that two
    /// outputs can be compared; --raw shows it.
    #[command(args_conflicts_with_subcommands = true, after_help = SDP_EXAMPLES)]
    Sdp(SdpArgs),
    /// Print a script with which a shell completes visavis's commands and options
    ///
    /// It goes to standard output. Where each shell looks for it is said below; directories that are missing have to
    /// be made first.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print the manual page, or write one page a command
    ///
    /// Pages that are written into ~/.local/share/man/man1 are found by `man visavis` and `man visavis-call`.
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManArgs),
    /// One turn of a benchmark: reads what to do from standard input
    #[command(name = crate::bench::WORKER, hide = true)]
    BenchWorker,
}

const CALL_EXAMPLES: &str = "\
Examples:
  visavis                                  the call on screen: Start, Call, Hang Up
  visavis --plain                          str0m calls str0m, explained step by step
  visavis --pair str0m:webrtc-rs           str0m offers, webrtc-rs answers
  visavis --both-ways --size 1280x720      pictures and sound in both directions
  visavis --video camera --audio mic       the demo: your camera and microphone
  visavis --video file:clip.mp4 --loop     a file, again and again
  visavis --record calls --duration 10s    keeps what arrives in calls/*.ivf and *.ogg
  visavis --video none --audio none        a data channel only
  visavis --ice full                       all candidates inside the descriptions
  visavis --bind 0.0.0.0 --bind ::         on every network interface
  visavis --runs 50 --warmup 5             55 calls without media, a table of the last 50
  visavis --runs 20 --video pattern        20 calls, each until the first picture is there
  visavis --runs 50 --json > calls.jsonl   the same as data; docs/cli.md has the schema

Exit codes:
  0 done   1 a call failed, or its media is bad   2 bad usage   130 Ctrl-C   143 SIGTERM";

const BENCH_EXAMPLES: &str = "\
Examples:
  visavis bench --quick                                a first look, under a minute
  visavis bench --quick --html report.html             the same with plots
  visavis bench --scenario handshake --runs 50         one scenario, more often
  visavis bench --profile equal --save equal.json      everything, all settings equal
  visavis bench --scenario frames --baseline old.json  what has changed since
  visavis bench --show equal.json --markdown           an earlier result again
  visavis bench --pair str0m:str0m                     one pair against itself: the noise

Exit codes:
  0 done   1 a call failed   2 bad usage   130 Ctrl-C   143 SIGTERM";

const PROBE_EXAMPLES: &str = "\
Examples:
  visavis probe http://127.0.0.1:8080                          a data channel to POST /offer there
  visavis probe http://127.0.0.1:8080 --video --audio          pictures and sound as well
  visavis probe http://192.168.1.5:8080/webrtc --bytes 16MiB   another path, and the throughput
  visavis probe http://127.0.0.1:8080 --no-data --video --duration 20s --json

Exit codes:
  0 all that was asked for worked   1 something did not   2 bad usage   130 Ctrl-C   143 SIGTERM";

const OFFER_EXAMPLES: &str = "\
Examples:
  visavis offer                          pattern and tone to another terminal of this machine
  visavis offer --base64 --bind 0.0.0.0  to another machine; base64 survives a chat
  visavis offer --video camera --audio mic --both-ways --duration 5m
  visavis offer --video none --audio none --json   texts only, the report as data

Exit codes:
  0 done   1 the call failed, or its media is bad   2 bad usage   130 Ctrl-C   143 SIGTERM";

const ANSWER_EXAMPLES: &str = "\
Examples:
  visavis answer                          paste the offer, copy the answer
  visavis answer --bind 0.0.0.0 --base64  from another machine
  visavis answer --backend webrtc-rs --json < offer.json   the report as data

Exit codes:
  0 done   1 the call failed, or its media is bad   2 bad usage   130 Ctrl-C   143 SIGTERM";

const ECHO_EXAMPLES: &str = "\
Examples:
  visavis echo                            http://127.0.0.1:8080, for callers on this machine
  visavis echo --backend webrtc-rs -v     the other stack, and a log line for each caller
  visavis echo --port 0 --allow-quit      any free port; curl -X POST http://127.0.0.1:PORT/quit ends it
  visavis echo --listen 0.0.0.0           for callers on the network, on every interface

Exit codes:
  0 after POST /quit   1 cannot listen   2 bad usage   130 Ctrl-C   143 SIGTERM";

const SDP_EXAMPLES: &str = "\
Examples:
  visavis sdp                                str0m's offer for data, audio and video
  visavis sdp --want data --raw              a data-channel offer, nothing masked
  visavis sdp --backend webrtc-rs --answer   webrtc-rs's answer to its own offer
  visavis sdp --offer offer.sdp              str0m's answer to the offer in a file
  visavis sdp diff                           where the two stacks differ";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  visavis completions bash > ~/.local/share/bash-completion/completions/visavis
  visavis completions zsh > ~/.zfunc/_visavis
  visavis completions fish > ~/.config/fish/completions/visavis.fish

Where it goes:
  bash        the file above; new shells read it where bash-completion is installed
  zsh         the file above, and into ~/.zshrc before `compinit`: fpath+=~/.zfunc
  fish        the file above; new shells read it
  elvish      into ~/.config/elvish/rc.elv: eval (visavis completions elvish | slurp)
  powershell  into the file that $PROFILE names:
              visavis completions powershell | Out-String | Invoke-Expression";

const MAN_EXAMPLES: &str = "\
Examples:
  visavis man | man -l -                      reads it now
  visavis man --dir ~/.local/share/man/man1   for `man visavis-call` and the others";

/// How much is logged.
#[derive(Debug, Args)]
pub(crate) struct Verbosity {
    /// Log to standard error; -vv for more, -vvv for packets. RUST_LOG overrides it
    #[arg(short = 'v', long = "verbose", action = clap::ArgAction::Count, help_heading = "Output")]
    pub(crate) level: u8,
}

/// Options of `visavis backends`.
#[derive(Debug, Args)]
pub(crate) struct BackendsArgs {
    /// Print the table as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `visavis devices`.
#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    /// Print the lists as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Cli {
    /// The command line; options that do not go together end the program, as all bad usage does.
    pub(crate) fn parse_and_check() -> Self {
        let cli = Self::parse();
        let call = match &cli.command {
            None => Some(&cli.call),
            Some(Command::Call(call)) => Some(call),
            Some(_) => None,
        };
        if let Some(Err(text)) = call.map(CallArgs::check) {
            Self::command().error(ErrorKind::ArgumentConflict, text).exit();
        }
        cli
    }
}

fn stacks() -> PossibleValuesParser {
    PossibleValuesParser::new(backends::names())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    /// The help of `command` and of all below it that is shown, by the name that is typed.
    fn helps(name: &str, command: &Command, all: &mut Vec<(String, String)>) {
        let texts = [command.get_after_help(), command.get_after_long_help()];
        for text in texts.into_iter().flatten() {
            all.push((name.to_owned(), text.to_string()));
        }
        if texts == [None, None] {
            all.push((name.to_owned(), String::new()));
        }
        for command in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            helps(&format!("{name} {}", command.get_name()), command, all);
        }
    }

    #[test]
    fn every_help_ends_with_examples_that_can_be_typed() {
        let mut all = Vec::new();
        helps("visavis", &Cli::command(), &mut all);
        assert!(all.len() > 8, "{all:?}");
        for (name, help) in all {
            let (_, examples) = help
                .split_once("Examples:\n")
                .unwrap_or_else(|| panic!("{name} --help has no examples"));
            let typed = examples
                .lines()
                .map(str::trim_start)
                .filter(|l| l.starts_with("visavis"));
            let mut count = 0;
            for line in typed {
                let end = ["  ", " > ", " < ", " | "].map(|end| line.find(end).unwrap_or(line.len()));
                let line = &line[..end.into_iter().min().expect("there are three")];
                match Cli::try_parse_from(line.split_ascii_whitespace()) {
                    Ok(cli) => assert_eq!(cli.call.check(), Ok(()), "{line}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{line}: {error}"),
                }
                count += 1;
            }
            assert!(count > 1, "{name} --help has too few examples");
        }
    }
}
