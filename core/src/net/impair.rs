//! What a bad network does to datagrams, as a function of a seed, a link and the number of the datagram on it.

use serde::Serialize;
use std::{fmt, iter::Sum, net::IpAddr, ops::Sub, str::FromStr, time::Duration};
use tokio::time::Instant;

/// What waits at a bottleneck, unless it is set: a common router's quarter of a second.
const QUEUE: Duration = Duration::from_millis(250);

/// A reordered datagram comes later by the delay of the path, and at least by this.
const OVERTAKEN: Duration = Duration::from_millis(5);

/// An IPv4 header and a UDP header (RFC 791, RFC 768).
const HEADERS_V4: usize = 20 + 8;

/// An IPv6 header and a UDP header (RFC 8200).
const HEADERS_V6: usize = 40 + 8;

/// What a path does to the datagrams that go over it, one way. The default does nothing.
///
/// As text, for a command line: `loss=5%,burst=3,delay=40ms,jitter=10ms,rate=2Mbps,queue=100ms`, or a
/// [preset](Self::PRESETS) with what differs from it: `4g,loss=10%`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Impairments {
    /// How long each datagram takes.
    pub delay: Duration,
    /// How much more or less it takes, evenly distributed. Order is kept, as a link layer keeps it.
    pub jitter: Duration,
    /// The share of datagrams that is lost, 0 to 1.
    pub loss: f64,
    /// How many datagrams in a row are lost on average (Gilbert's model); 0 is by chance, each for itself.
    pub burst: f64,
    /// The share that comes late, behind datagrams that were sent after it.
    pub reorder: f64,
    /// The share that comes twice.
    pub duplicate: f64,
    /// The share of which one bit is wrong, with a checksum that is right.
    pub corrupt: f64,
    /// The bottleneck's rate in bits per second, IP headers counted.
    pub rate: Option<u64>,
    /// How long a datagram may wait at the bottleneck; what would have to wait longer is dropped. 250 ms if unset.
    pub queue: Option<Duration>,
    /// Larger IP packets vanish without a word, in bytes.
    pub mtu: Option<usize>,
}

/// Why some text is not [`Impairments`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImpairmentsError(String);

impl Impairments {
    /// Networks by their usual names, with what each is like. One way: a round trip has twice the delay.
    pub const PRESETS: [(&str, &str); 4] = [
        ("wifi", "delay=3ms,jitter=3ms,loss=1%,burst=2,rate=50Mbps"),
        (
            "4g",
            "delay=25ms,jitter=10ms,loss=0.5%,burst=3,rate=8Mbps,queue=500ms",
        ),
        ("satellite", "delay=300ms,jitter=10ms,loss=1%,rate=5Mbps,queue=1s"),
        (
            "lossy",
            "delay=30ms,jitter=10ms,loss=5%,burst=2,reorder=1%,duplicate=1%",
        ),
    ];

    /// Only a delay.
    pub fn delay(delay: Duration) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    /// Takes everything and lets nothing out.
    pub fn blocked() -> Self {
        Self {
            loss: 1.0,
            ..Self::default()
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "delay" => self.delay = time(value)?,
            "jitter" => self.jitter = time(value)?,
            "loss" => self.loss = share(value)?,
            "burst" => self.burst = number(value).filter(|n| *n >= 1.0).ok_or("at least 1")?,
            "reorder" => self.reorder = share(value)?,
            "duplicate" => self.duplicate = share(value)?,
            "corrupt" => self.corrupt = share(value)?,
            "rate" => self.rate = Some(rate(value)?),
            "queue" => self.queue = Some(time(value)?),
            "mtu" => {
                let mtu = value.parse().ok().filter(|n| *n >= 68);
                self.mtu = Some(mtu.ok_or("at least 68 bytes")?);
            }
            _ => {
                return Err(
                    "not one of delay, jitter, loss, burst, reorder, duplicate, corrupt, rate, queue, mtu"
                        .into(),
                );
            }
        }
        Ok(())
    }
}

impl FromStr for Impairments {
    type Err = ImpairmentsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut impairments = Self::default();
        for (index, part) in text.split(',').map(str::trim).enumerate() {
            if let Some((key, value)) = part.split_once('=') {
                let set = impairments.set(key.trim(), value.trim());
                set.map_err(|why| ImpairmentsError(format!("{part}: {why}")))?;
            } else if let Some((_, preset)) = Self::PRESETS.iter().find(|(name, _)| *name == part)
                && index == 0
            {
                impairments = preset.parse()?;
            } else {
                let names = Self::PRESETS.map(|(name, _)| name).join(", ");
                return Err(ImpairmentsError(format!(
                    "\"{part}\" is not like loss=5%, nor one of {names} in the first place"
                )));
            }
        }
        Ok(impairments)
    }
}

impl fmt::Display for Impairments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share > 0.0).then(|| format!("{}%", (share * 1e6).round() / 1e4));
        let time = |time: Duration| (!time.is_zero()).then(|| format!("{}ms", time.as_secs_f64() * 1e3));
        let parts = [
            ("delay", time(self.delay)),
            ("jitter", time(self.jitter)),
            ("loss", percent(self.loss)),
            ("burst", (self.burst > 0.0).then(|| self.burst.to_string())),
            ("reorder", percent(self.reorder)),
            ("duplicate", percent(self.duplicate)),
            ("corrupt", percent(self.corrupt)),
            ("rate", self.rate.map(|rate| format!("{}kbps", rate as f64 / 1e3))),
            (
                "queue",
                self.queue.map(|queue| format!("{}ms", queue.as_secs_f64() * 1e3)),
            ),
            ("mtu", self.mtu.map(|mtu| mtu.to_string())),
        ];
        let set = parts
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        f.write_str(&set.collect::<Vec<_>>().join(","))
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => number(percent).map(|n| n / 100.0),
        None => number(text),
    };
    share
        .filter(|share| *share <= 1.0)
        .ok_or_else(|| "a share like 5% or 0.05".into())
}

/// `40ms` or `1.5s`, up to a minute.
fn time(text: &str) -> Result<Duration, String> {
    let seconds = match text.strip_suffix("ms") {
        Some(ms) => number(ms).map(|n| n / 1e3),
        None => text.strip_suffix('s').and_then(number),
    };
    seconds
        .filter(|seconds| *seconds <= 60.0)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "a time like 40ms or 1.5s, at most 60s".into())
}

/// `500kbps` or `2Mbps`.
fn rate(text: &str) -> Result<u64, String> {
    let units = [("Gbps", 1e9), ("Mbps", 1e6), ("kbps", 1e3), ("bps", 1.0)];
    let rate = units
        .iter()
        .find_map(|(unit, scale)| Some(number(text.strip_suffix(unit)?)? * scale));
    rate.filter(|rate| *rate >= 1e3)
        .map(|rate| rate as u64)
        .ok_or_else(|| "a rate like 500kbps or 2Mbps, at least 1kbps".into())
}

/// What became of the datagrams of a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PathCounts {
    /// Datagrams that were sent.
    pub sent: u64,
    /// Of these, lost by chance.
    pub lost: u64,
    /// Dropped because the bottleneck's queue was full.
    pub queue_full: u64,
    /// Larger than the MTU.
    pub too_large: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Delivered late.
    pub reordered: u64,
    /// Delivered with a wrong bit.
    pub corrupted: u64,
}

impl PathCounts {
    /// Datagrams that never arrive.
    pub fn dropped(&self) -> u64 {
        self.lost + self.queue_full + self.too_large
    }
}

impl PathCounts {
    fn with(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            sent: each(self.sent, other.sent),
            lost: each(self.lost, other.lost),
            queue_full: each(self.queue_full, other.queue_full),
            too_large: each(self.too_large, other.too_large),
            duplicated: each(self.duplicated, other.duplicated),
            reordered: each(self.reordered, other.reordered),
            corrupted: each(self.corrupted, other.corrupted),
        }
    }
}

impl Sum for PathCounts {
    fn sum<I: Iterator<Item = Self>>(paths: I) -> Self {
        paths.fold(Self::default(), |a, b| a.with(b, u64::wrapping_add))
    }
}

impl Sub for PathCounts {
    type Output = Self;

    /// What came after `earlier`.
    fn sub(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }
}

/// One direction between two hosts. It does no I/O: it says what arrives, and when.
///
/// What happens to a datagram by chance depends on the seed, the link and its number, not on ports, times or what
/// other links carry.
#[derive(Debug)]
pub struct Path {
    impairments: Impairments,
    /// From the seed and the link.
    hash: u64,
    index: u64,
    /// Gilbert's bad state.
    in_burst: bool,
    /// When the bottleneck has sent all it has.
    free_at: Option<Instant>,
    /// When the last datagram arrives that was not reordered.
    last_due: Option<Instant>,
    counts: PathCounts,
}

/// A datagram that will arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub due: Instant,
    /// Which of its bits is wrong.
    pub wrong_bit: Option<usize>,
}

/// What arrives of a datagram: nothing, it, or it twice.
pub type Arrivals = [Option<Arrival>; 2];

/// What is drawn for each datagram.
#[derive(Clone, Copy)]
enum Draw {
    Loss,
    Burst,
    Jitter,
    Reorder,
    Duplicate,
    Corrupt,
    Bit,
}

impl Path {
    /// A path of a seed, from one host to another.
    pub fn new(impairments: Impairments, seed: u64, from: IpAddr, to: IpAddr) -> Self {
        Self {
            impairments,
            hash: link_hash(seed, from, to),
            index: 0,
            in_burst: false,
            free_at: None,
            last_due: None,
            counts: PathCounts::default(),
        }
    }

    /// Does something else to what is sent from now on. Datagrams are still counted from the first.
    pub fn set(&mut self, impairments: Impairments) {
        self.impairments = impairments;
    }

    /// What has become of the datagrams so far.
    pub fn counts(&self) -> PathCounts {
        self.counts
    }

    /// What arrives of a datagram of `len` bytes to a host of this IP version: nothing, it, or it twice.
    pub fn send(&mut self, now: Instant, len: usize, ipv6: bool) -> Arrivals {
        self.counts.sent += 1;
        let arrivals = self.arrivals(now, len, ipv6);
        self.index += 1;
        arrivals
    }

    fn arrivals(&mut self, now: Instant, len: usize, ipv6: bool) -> Arrivals {
        let packet = len + if ipv6 { HEADERS_V6 } else { HEADERS_V4 };
        let set = self.impairments;
        let lost = self.loses();
        if set.mtu.is_some_and(|mtu| packet > mtu) {
            self.counts.too_large += 1;
            return [None; 2];
        }
        let Some(sent) = self.passes_the_bottleneck(now, packet) else {
            self.counts.queue_full += 1;
            return [None; 2];
        };
        // Lost behind the bottleneck: it has taken its share of the rate.
        if lost {
            self.counts.lost += 1;
            return [None; 2];
        }
        let swing = set.jitter.mul_f64(self.draw(Draw::Jitter) * 2.0);
        let mut due = sent + (set.delay + swing).saturating_sub(set.jitter);
        if self.draw(Draw::Reorder) < set.reorder {
            self.counts.reordered += 1;
            due += set.delay.max(OVERTAKEN);
        } else {
            due = due.max(self.last_due.unwrap_or(due));
            self.last_due = Some(due);
        }
        let wrong_bit = (len > 0 && self.draw(Draw::Corrupt) < set.corrupt)
            .then(|| (self.draw(Draw::Bit) * (len * 8) as f64) as usize);
        self.counts.corrupted += u64::from(wrong_bit.is_some());
        let arrival = Some(Arrival { due, wrong_bit });
        let twice = self.draw(Draw::Duplicate) < set.duplicate;
        self.counts.duplicated += u64::from(twice);
        [arrival, arrival.filter(|_| twice)]
    }

    fn loses(&mut self) -> bool {
        let Impairments { loss, burst, .. } = self.impairments;
        if burst <= 0.0 || loss <= 0.0 || loss >= 1.0 {
            return self.draw(Draw::Loss) < loss;
        }
        // From good to bad and from bad to good, so that `loss` of all datagrams are in a burst of mean `burst`.
        let ends = 1.0 / burst;
        let begins = ends * loss / (1.0 - loss);
        let turns = self.draw(Draw::Burst) < if self.in_burst { ends } else { begins };
        self.in_burst ^= turns;
        self.in_burst
    }

    /// When the bottleneck has sent it, unless its queue is full.
    fn passes_the_bottleneck(&mut self, now: Instant, packet: usize) -> Option<Instant> {
        let Some(rate) = self.impairments.rate else {
            return Some(now);
        };
        let begins = self.free_at.map_or(now, |free| free.max(now));
        if begins - now > self.impairments.queue.unwrap_or(QUEUE) {
            return None;
        }
        let sent = begins + Duration::from_secs_f64(packet as f64 * 8.0 / rate as f64);
        self.free_at = Some(sent);
        Some(sent)
    }

    /// Evenly distributed over 0 to 1, from the link, the datagram's number and what is drawn.
    fn draw(&self, what: Draw) -> f64 {
        let hash = mix(self.hash ^ self.index);
        let hash = match what {
            Draw::Loss => hash,
            other => mix(hash ^ other as u64),
        };
        // The 53 bits that a float has.
        (hash >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn link_hash(seed: u64, from: IpAddr, to: IpAddr) -> u64 {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    let words = [from, to].map(address).map(|a| [a as u64, (a >> 64) as u64]);
    words.into_iter().flatten().fold(mix(seed), |h, w| mix(h ^ w))
}

/// One step of `SplitMix64`.
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Turns one bit of a datagram over.
pub(super) fn turn_over(contents: &mut [u8], bit: usize) {
    if let Some(byte) = contents.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests;
