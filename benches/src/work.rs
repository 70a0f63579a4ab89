//! What is measured, with every parameter, and on what: plain data that goes into the results and to the worker
//! processes.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A group of [`Work`], as it is asked for on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// From entering `call` to the open channel.
    Handshake,
    /// Complete frames, as fast as they go.
    Frames,
    /// Frames on a fixed schedule: how many before they come late.
    OpenLoop,
    /// Pictures with the codecs in the loop.
    Codecs,
    /// Data channels: throughput, small messages, round trips, a reader that stalls.
    Data,
    /// Many pairs in one process.
    Peers,
    /// One video forwarded to many.
    Forward,
    /// What visavis adds to each library driven by hand.
    Tax,
}

impl Scenario {
    /// Every scenario, in the order of the report.
    pub const ALL: [Self; 8] = [
        Self::Handshake,
        Self::Frames,
        Self::OpenLoop,
        Self::Codecs,
        Self::Data,
        Self::Peers,
        Self::Forward,
        Self::Tax,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Frames => "frames",
            Self::OpenLoop => "open-loop",
            Self::Codecs => "codecs",
            Self::Data => "data",
            Self::Peers => "peers",
            Self::Forward => "forward",
            Self::Tax => "tax",
        }
    }
}

/// One thing to measure. Every arm of a row does the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "snake_case")]
pub enum Work {
    /// Calls with one data channel, one after the other.
    Handshake {
        /// What carries the packets.
        network: Network,
        /// Whether candidates travel as they are found (RFC 8838) or inside the descriptions.
        trickle: bool,
        /// Whether certificates are made before the call and used once; otherwise inside it.
        certificates_ahead: bool,
    },
    /// H.264 frames from the offerer to the answerer, `window` under way.
    Frames {
        /// What the frames are.
        content: Content,
        /// How many are under way at most.
        window: usize,
    },
    /// Frames at N × 30 a second on a fixed schedule, with rising N.
    OpenLoop {
        /// What the frames are.
        content: Content,
    },
    /// Pictures coded, sent, received and decoded as fast as it goes.
    Codecs {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// How many are under way at most.
        window: usize,
    },
    /// Messages on a reliable, ordered channel from the offerer to the answerer, as fast as it takes them.
    Messages {
        /// Bytes a message.
        size: usize,
    },
    /// One message there and back, at a time.
    RoundTrips {
        /// Bytes a message.
        size: usize,
    },
    /// A reader that stops: what is taken from the sender until it waits, and how fast it goes on afterwards.
    StalledReader {
        /// Bytes a message.
        size: usize,
    },
    /// Pairs in one process, each with a data channel.
    Peers {
        /// How many pairs.
        pairs: usize,
        /// Whether each sends 30 frames of 12 kB a second; otherwise nothing is sent.
        active: bool,
        /// [`PeerConfig::disconnected_after`](visavis_core::PeerConfig::disconnected_after) of both, in seconds, if not the
        /// default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disconnected_after: Option<u64>,
    },
    /// One video received and sent on to others, as a small SFU does, 30 frames of 12 kB a second.
    Forward {
        /// How many receive it.
        receivers: usize,
    },
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Handshake {
                network,
                trickle,
                certificates_ahead,
            } => {
                let ice = if trickle { "trickle" } else { "full" };
                let certificates = if certificates_ahead { "pooled" } else { "cold" };
                write!(f, "handshake, {network}, {ice} ICE, {certificates} certificates")
            }
            Self::Frames { content, window } => write!(f, "frames of {content}, {window} under way"),
            Self::OpenLoop { content } => write!(f, "N × 30 frames/s of {content} on a schedule"),
            Self::Codecs {
                width,
                height,
                window,
            } => write!(
                f,
                "{width}x{height} pictures coded and decoded, {window} under way"
            ),
            Self::Messages { size } => write!(f, "messages of {}", Bytes(size)),
            Self::RoundTrips { size } => write!(f, "round trips of {}", Bytes(size)),
            Self::StalledReader { size } => write!(f, "stalled reader, messages of {}", Bytes(size)),
            Self::Peers {
                pairs,
                active,
                disconnected_after,
            } => {
                let what = if active { "active" } else { "idle" };
                write!(f, "{pairs} {what} pairs in one process")?;
                disconnected_after.map_or(Ok(()), |secs| write!(f, ", disconnected after {secs} s"))
            }
            Self::Forward { receivers } => write!(f, "one video forwarded to {receivers}"),
        }
    }
}

/// What carries the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The machine's loopback interface.
    Loopback,
    /// A network in memory with this round trip in milliseconds, in virtual time: the processor costs nothing, so
    /// only round trips and timers show.
    Simulated(u32),
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Simulated(rtt) => write!(f, "{rtt} ms simulated"),
        }
    }
}

/// What frames are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// All of this many bytes, one slice each.
    Size(usize),
    /// The frames of a 720p H.264 recording, again and again.
    Recording,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Size(size) => write!(f, "{}", Bytes(size)),
            Self::Recording => f.write_str("a 720p recording"),
        }
    }
}

/// A size in the unit that makes it short.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1024 && n % 1024 == 0 => write!(f, "{} KiB", n / 1024),
            n if n >= 1000 => write!(f, "{} kB", n as f64 / 1000.0),
            n => write!(f, "{n} B"),
        }
    }
}

/// What does the work.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// Two stacks through visavis, the offerer's first.
    Pair(String, String),
    /// The same once more, as if it were another: the A/A run that shows the noise.
    Again(String, String),
    /// A library driven by hand on Tokio, without visavis: as its documentation does, or tuned by all that is known
    /// to help.
    ByHand {
        /// The library.
        library: String,
        /// Whether it is tuned.
        tuned: bool,
    },
    /// The least that the work costs on this machine: UDP and the negotiated cipher, or the bare key exchange.
    Floor {
        /// Whether several datagrams go in a system call.
        segmentation: bool,
    },
}

impl Arm {
    /// Whether it is two stacks through visavis.
    pub fn is_pair(&self) -> bool {
        matches!(self, Self::Pair(..) | Self::Again(..))
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair(offerer, answerer) => write!(f, "{offerer}:{answerer}"),
            Self::Again(offerer, answerer) => write!(f, "{offerer}:{answerer} again"),
            Self::ByHand { library, tuned } => {
                let how = if *tuned { "tuned" } else { "defaults" };
                write!(f, "{library} by hand, {how}")
            }
            Self::Floor { segmentation: false } => f.write_str("floor"),
            Self::Floor { segmentation: true } => f.write_str("floor with GSO and GRO"),
        }
    }
}

/// What the stacks are set to. Results of two profiles are never put side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Each as it comes.
    #[default]
    Shipped,
    /// The same cipher, key exchange and packet size on every stack.
    Equal,
}

impl Profile {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::Equal => "equal",
        }
    }
}

/// A fault put in on purpose, to see that the measurements find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handicap {
    /// Each frame takes longer to send, by so many microseconds.
    SlowFrames(u64),
    /// Each description takes longer to write, by so many microseconds.
    SlowSdp(u64),
    /// One frame in so many is dropped on the network, retransmissions included.
    DropFrames(u64),
    /// Every step is announced before it is reached.
    EarlyOpen,
}

impl FromStr for Handicap {
    type Err = String;

    /// `frame=200us`, `sdp=5ms`, `drop=100`, `early-open`.
    fn from_str(text: &str) -> Result<Self, String> {
        let micros = |text: &str| -> Option<u64> {
            let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
            let number: u64 = number.parse().ok()?;
            match unit {
                "us" => Some(number),
                "ms" => number.checked_mul(1_000),
                _ => None,
            }
        };
        let parsed = match text.split_once('=') {
            Some(("frame", time)) => micros(time).map(Self::SlowFrames),
            Some(("sdp", time)) => micros(time).map(Self::SlowSdp),
            Some(("drop", n)) => n.parse().ok().filter(|n| *n > 0).map(Self::DropFrames),
            None if text == "early-open" => Some(Self::EarlyOpen),
            _ => None,
        };
        parsed.ok_or_else(|| "one of frame=200us, sdp=5ms, drop=100, early-open".to_owned())
    }
}

/// One arm's turn in one block: what a worker process is asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Visit {
    /// What to measure.
    pub work: Work,
    /// On what.
    pub arm: Arm,
    /// With what settings.
    pub profile: Profile,
    /// How long to measure, the warm-up not included.
    pub budget: Duration,
    /// The least number of batches, or calls, before anything counts.
    pub warmup: u32,
    /// Faults put in on purpose.
    pub handicaps: Vec<Handicap>,
    /// The network namespace of the answerer, at the other end of a veth pair, for what otherwise runs on loopback.
    pub namespace: Option<String>,
    /// The recording for [`Content::Recording`]; a test pattern is coded when there is none.
    pub recording: Option<std::path::PathBuf>,
}
