//! Options of `visavis call`.

use super::{MediaArgs, Verbosity, stacks};
use crate::{backends, screen::Graphics};
use clap::{Args, ValueEnum};
use std::{
    env,
    io::{self, IsTerminal},
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use visavis_core::{IceMode, PairConfig, PeerConfig, net::impair::Impairments};
use visavis_media::session::MediaPlan;

/// The longest that can be asked for.
const MAX_DURATION: Duration = Duration::from_secs(86_400);

/// Options of `visavis call`.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) stacks: StackArgs,

    #[command(flatten)]
    pub(crate) media: MediaArgs,

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

    /// Make the network bad, such as loss=5%,delay=40ms,jitter=10ms,rate=2Mbps
    ///
    /// Both ways alike, before the sockets of this machine. Or a preset, and what differs from it: wifi, 4g, satellite,
    /// lossy, such as `4g,loss=10%`. There are delay, jitter, loss, burst (how many are lost in a row on average),
    /// reorder, duplicate, corrupt, rate, queue (how long a datagram waits at most for the rate) and mtu.
    #[arg(long, value_name = "WHAT", help_heading = "Network")]
    pub(crate) net: Option<Impairments>,

    /// What --net does by chance follows from this number
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        requires = "net",
        help_heading = "Network"
    )]
    pub(crate) net_seed: u64,

    /// How long it lasts once it is up, such as 500ms, 3s or 1m [default: 3s; 0s for several calls]
    ///
    /// Each side sends a text every 250 ms and the other side echoes it. 0s means one text each way and, with media,
    /// until the first picture and the first 200 ms of sound are there. Files that play once end the call with them,
    /// and are played to their end by default.
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

    /// Tell the call as text, also in a terminal, where it is shown otherwise
    ///
    /// --json, --runs, --warmup and --duration do so, too, and so does a terminal that cannot show more.
    #[arg(long, help_heading = "Output")]
    pub(crate) plain: bool,

    /// How the terminal shows pictures
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "HOW",
        help_heading = "Output"
    )]
    pub(crate) graphics: Graphics,

    /// Break on purpose, for the tests
    #[arg(long, value_enum, hide = true)]
    pub(crate) fault: Option<Fault>,

    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

impl CallArgs {
    /// What the calls carry.
    pub(crate) fn plan(&self) -> MediaPlan {
        self.media.plan(self.is_series())
    }

    /// How long texts are exchanged, and media goes on, unless it ends before.
    pub(crate) fn duration(&self) -> Duration {
        let default = if self.plan().is_finite() {
            MAX_DURATION
        } else if self.is_series() {
            Duration::ZERO
        } else {
            Duration::from_secs(3)
        };
        self.duration.unwrap_or(default)
    }

    /// Whether the options go together.
    pub(super) fn check(&self) -> Result<(), String> {
        self.media.check(self.is_series())
    }

    /// Whether the call is shown on the screen, with buttons, in place of being told.
    pub(crate) fn is_interactive(&self) -> bool {
        let told = self.plain || self.json || self.duration.is_some() || self.is_series();
        let able = env::var_os("TERM").is_none_or(|term| term != "dumb");
        !told && able && io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// How the pair calls that carries this.
    pub(crate) fn pair_config(&self, plan: &MediaPlan) -> PairConfig {
        let mut config = PairConfig {
            ice: self.ice.into(),
            timeout: self.timeout,
            media: plan.pair_media(),
            ..PairConfig::default()
        };
        for (side, peer) in [(0, &mut config.offerer), (1, &mut config.answerer)] {
            let at = |addr: &SocketAddr| SocketAddr::new(addr.ip(), next_port(addr.port(), side));
            peer.connect_timeout = peer.connect_timeout.max(self.timeout);
            if !self.bind.is_empty() {
                *peer = PeerConfig {
                    bind: self.bind.iter().map(at).collect(),
                    ..peer.clone()
                };
            }
        }
        config
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

/// The answerer binds the port after the offerer's; 0 lets the machine choose.
fn next_port(port: u16, side: u16) -> u16 {
    if port == 0 { 0 } else { port.saturating_add(side) }
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// A panic when the call is up.
    Panic,
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

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
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

pub(super) fn bind(text: &str) -> Result<SocketAddr, String> {
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

pub(super) fn duration(text: &str) -> Result<Duration, String> {
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
    if value * seconds > MAX_DURATION.as_secs_f64() {
        return Err("a day is the most".into());
    }
    Duration::try_from_secs_f64(value * seconds).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;

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
        assert_eq!(parse(&["--video", "file:x.mp4"]).duration(), MAX_DURATION);
        assert_eq!(
            parse(&["--video", "file:x.mp4", "--loop"]).duration(),
            Duration::from_secs(3)
        );
    }
}
