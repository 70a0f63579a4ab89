//! The command line: what can be typed, and the help that teaches it.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help texts, which are no Markdown"
)]

use crate::backends;
use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use visavis_core::{IceMode, MediaKind};

/// WebRTC calls over interchangeable stacks, made visible
///
/// Makes a real WebRTC call between two peers in this process and shows every step of it: the offer and the
/// answer, the candidates, ICE, DTLS, SCTP and the data channel. Each peer may run on another stack.
///
/// Without a command it makes the call, so `visavis --json` is `visavis call --json`.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  visavis                        a call, explained step by step\n  \
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
    /// addresses that works, DTLS secures it, SCTP runs inside DTLS, and a data channel opens on top. Then texts
    /// go both ways, each is echoed and timed, and both peers hang up.
    #[command(after_help = CALL_EXAMPLES)]
    Call(CallArgs),
    /// Show what the stacks in this build can do
    ///
    /// One row a capability, one column a stack. `yes` means that visavis supports it on that stack, tested.
    #[command(after_help = "Examples:\n  visavis backends\n  visavis backends --json\n  \
                            cargo build -p visavis --no-default-features --features str0m   a build with one stack")]
    Backends(BackendsArgs),
    /// Print the session description that a stack writes
    ///
    /// Creates a peer for the stated intent and prints its offer, or its answer, without making a call. What
    /// changes from run to run (credentials, fingerprint, session id, SSRCs, mids, ports) is masked, so that two
    /// outputs can be compared; --raw shows it.
    #[command(args_conflicts_with_subcommands = true, after_help = SDP_EXAMPLES)]
    Sdp(SdpArgs),
}

const CALL_EXAMPLES: &str = "\
Examples:
  visavis                                  str0m calls str0m, explained step by step
  visavis --pair str0m:webrtc-rs           str0m offers, webrtc-rs answers
  visavis --ice full                       all candidates inside the descriptions
  visavis --bind 0.0.0.0 --bind ::         on every network interface
  visavis --duration 10s                   texts go both ways for ten seconds
  visavis --runs 50 --warmup 5             55 calls, a table of the last 50
  visavis --runs 50 --json > calls.jsonl   the same as data; docs/cli.md has the schema

Exit codes:
  0 done   1 a call failed   2 bad usage   130 Ctrl-C   143 SIGTERM";

const SDP_EXAMPLES: &str = "\
Examples:
  visavis sdp                                str0m's offer for data, audio and video
  visavis sdp --want data --raw              a data-channel offer, nothing masked
  visavis sdp --backend webrtc-rs --answer   webrtc-rs's answer to its own offer
  visavis sdp --offer offer.sdp              str0m's answer to the offer in a file
  visavis sdp diff                           where the two stacks differ";

/// Options of `visavis call`.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) stacks: StackArgs,

    /// When candidates travel
    #[arg(long, value_enum, default_value_t = Ice::Trickle, value_name = "MODE", help_heading = "Network")]
    pub(crate) ice: Ice,

    /// Where to bind: IP or IP:PORT, repeatable [default: 127.0.0.1]
    ///
    /// 0.0.0.0 and :: mean every interface of their family. With a port, the offerer binds PORT and the answerer
    /// PORT + 1.
    #[arg(long, value_name = "ADDR", value_parser = bind, help_heading = "Network")]
    pub(crate) bind: Vec<SocketAddr>,

    /// A call that takes longer than this to open its channel has failed
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s", help_heading = "Network")]
    pub(crate) timeout: Duration,

    /// How long texts are exchanged, such as 500ms, 3s or 1m [default: 3s; 0s for several calls]
    ///
    /// Each side sends a text every 250 ms and the other side echoes it. 0s means one text each way.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Length")]
    pub(crate) duration: Option<Duration>,

    /// How many calls to make, one after the other on the same pair
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Length")]
    pub(crate) runs: u32,

    /// How many calls to make before those, left out of the table
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Length")]
    pub(crate) warmup: u32,

    /// Print one JSON object a call, one a line, in place of the text
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

impl CallArgs {
    /// How long texts are exchanged.
    pub(crate) fn duration(&self) -> Duration {
        let default = if self.is_series() { 0 } else { 3 };
        self.duration.unwrap_or(Duration::from_secs(default))
    }

    /// Whether this makes more than one call.
    pub(crate) fn is_series(&self) -> bool {
        self.runs > 1 || self.warmup > 0
    }
}

/// Which stack runs on which side.
#[derive(Debug, Args)]
#[command(next_help_heading = "Stacks")]
pub(crate) struct StackArgs {
    /// The offerer's and the answerer's stack
    #[arg(long, value_name = "A:B", value_parser = pair, conflicts_with_all = ["offerer", "answerer", "backend"])]
    pair: Option<(String, String)>,
    /// The stack of both; the first one listed is the default
    #[arg(long, value_name = "STACK", value_parser = stacks(), conflicts_with_all = ["offerer", "answerer"])]
    backend: Option<String>,
    /// The stack of the side that calls
    #[arg(long, value_name = "STACK", value_parser = stacks())]
    offerer: Option<String>,
    /// The stack of the side that is called
    #[arg(long, value_name = "STACK", value_parser = stacks())]
    answerer: Option<String>,
}

impl StackArgs {
    /// The names of the offerer's and the answerer's stack.
    pub(crate) fn names(&self) -> (&str, &str) {
        if let Some((offerer, answerer)) = &self.pair {
            return (offerer, answerer);
        }
        let both = self.backend.as_deref().unwrap_or(backends::default_name());
        (
            self.offerer.as_deref().unwrap_or(both),
            self.answerer.as_deref().unwrap_or(both),
        )
    }
}

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

/// Options of `visavis sdp`.
#[derive(Debug, Args)]
pub(crate) struct SdpArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SdpCommand>,
    /// The stack that writes it
    #[arg(long, value_name = "STACK", value_parser = stacks(), default_value = backends::default_name())]
    pub(crate) backend: String,
    #[command(flatten)]
    pub(crate) intent: IntentArgs,
    /// Answer the offer in this file, - being standard input; implies --answer
    #[arg(long, value_name = "FILE")]
    pub(crate) offer: Option<PathBuf>,
    /// Print it as it is, nothing masked
    #[arg(long)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// What can be done with descriptions.
#[derive(Debug, Subcommand)]
pub(crate) enum SdpCommand {
    /// Compare what two stacks write for the same intent
    ///
    /// The descriptions are aligned by m-line; inside an m-line the attributes are sorted by kind, for their
    /// order means nothing (RFC 8866), and what changes from run to run is masked. Lines with - are the first
    /// stack's alone, lines with + the second's.
    #[command(
        after_help = "Examples:\n  visavis sdp diff\n  visavis sdp diff str0m webrtc-rs --want data\n  \
                            visavis sdp diff --answer --exit-code   exits 1 if the answers differ"
    )]
    Diff(DiffArgs),
}

/// Options of `visavis sdp diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The one stack [default: the first of this build]
    #[arg(requires = "b", value_parser = stacks())]
    pub(crate) a: Option<String>,
    /// The other stack [default: the second of this build]
    #[arg(value_parser = stacks())]
    pub(crate) b: Option<String>,
    #[command(flatten)]
    pub(crate) intent: IntentArgs,
    /// Exit with 1 if they differ, with 0 if they are the same
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// What a description is asked to be for.
#[derive(Debug, Args)]
pub(crate) struct IntentArgs {
    /// Write an answer to the stack's own offer in place of an offer
    #[arg(long)]
    pub(crate) answer: bool,
    /// What the peer wants: any of data, audio and video
    #[arg(long, value_enum, value_delimiter = ',', default_value = "data,audio,video")]
    pub(crate) want: Vec<Want>,
}

/// An m-line to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Want {
    /// A data channel
    Data,
    /// Sound, both ways
    Audio,
    /// Pictures, both ways
    Video,
}

impl Want {
    /// The m-line's kind.
    pub(crate) fn kind(self) -> MediaKind {
        match self {
            Self::Data => MediaKind::Application,
            Self::Audio => MediaKind::Audio,
            Self::Video => MediaKind::Video,
        }
    }
}

/// When candidates travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ice {
    /// Each as it is found (RFC 8838)
    Trickle,
    /// All of them inside the descriptions
    Full,
}

impl From<Ice> for IceMode {
    fn from(ice: Ice) -> Self {
        match ice {
            Ice::Trickle => Self::Trickle,
            Ice::Full => Self::Full,
        }
    }
}

fn stacks() -> PossibleValuesParser {
    PossibleValuesParser::new(backends::names())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let Some((offerer, answerer)) = text.split_once(':') else {
        let name = backends::default_name();
        return Err(format!("write OFFERER:ANSWERER, such as {name}:{name}"));
    };
    for name in [offerer, answerer] {
        if backends::find(name).is_none() {
            let known = backends::names().join(", ");
            return Err(format!(
                "there is no stack `{name}` in this build; there is {known}"
            ));
        }
    }
    Ok((offerer.to_owned(), answerer.to_owned()))
}

fn bind(text: &str) -> Result<SocketAddr, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, 0));
    }
    match text.parse::<SocketAddr>() {
        Ok(addr) if addr.port() == u16::MAX => {
            Err("the answerer binds the next port, so 65534 is the last".into())
        }
        Ok(addr) => Ok(addr),
        Err(_) => Err(
            "write an IP address or IP:PORT, such as 127.0.0.1, 192.168.1.5:5000, :: or [::1]:5000".into(),
        ),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let bad =
        || "write a number with ms, s or m, such as 500ms, 3s or 1m; a plain number is seconds".to_owned();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return Err(bad()),
    };
    let value: f64 = number.parse().map_err(|_| bad())?;
    if value * seconds > 86_400.0 {
        return Err("a day is the most".into());
    }
    Duration::try_from_secs_f64(value * seconds).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        for (text, ms) in [
            ("500ms", 500),
            ("3s", 3000),
            ("1m", 60_000),
            ("2", 2000),
            ("0", 0),
            ("1.5s", 1500),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "3 s", "1h30", "1e3", "1.2.3s", "90000s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_may_have_a_port() {
        for (text, addr) in [
            ("127.0.0.1", "127.0.0.1:0"),
            ("10.0.0.1:5000", "10.0.0.1:5000"),
            ("::", "[::]:0"),
            ("[::1]", "[::1]:0"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(bind(text), Ok(addr.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            "localhost",
            "127.0.0.1:",
            "127.0.0.1:65535",
            "127.0.0.1:70000",
        ] {
            assert!(bind(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_series_exchanges_one_text_each_way() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["visavis"], args].concat()).unwrap().call;
        assert_eq!(parse(&[]).duration(), Duration::from_secs(3));
        assert_eq!(parse(&["--runs", "2"]).duration(), Duration::ZERO);
        assert_eq!(
            parse(&["--runs", "2", "--duration", "1s"]).duration(),
            Duration::from_secs(1)
        );
    }
}
