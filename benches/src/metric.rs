//! What the numbers mean.

use serde::{Deserialize, Serialize};

/// Whether a number should be small or large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Times, costs.
    Less,
    /// Rates.
    More,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident = $title:literal, $unit:literal, $better:ident;)*) => {
        /// A number that a scenario measures.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Metric {
            $($(#[$doc])* $name,)*
        }

        impl Metric {
            /// What it is called in a table.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Its unit.
            pub fn unit(self) -> &'static str {
                match self { $(Self::$name => $unit,)* }
            }

            /// Whether it should be small or large.
            pub fn better(self) -> Better {
                match self { $(Self::$name => Better::$better,)* }
            }
        }
    };
}

metrics! {
    /// From entering `call` to the channel open on both sides.
    Total = "channel open", "ms", Less;
    /// From entering `call` to DTLS connected on both sides.
    Connected = "connected", "ms", Less;
    /// Until both peers exist.
    Creation = "creation", "ms", Less;
    /// Until both descriptions are set on both sides.
    Descriptions = "descriptions", "ms", Less;
    /// Until ICE is connected on both sides.
    Ice = "ICE", "ms", Less;
    /// Until DTLS is connected on both sides.
    Dtls = "DTLS", "ms", Less;
    /// Until the channel is open on both sides.
    Channel = "SCTP and channel", "ms", Less;
    /// The total in round trips of the simulated network.
    NetworkRoundTrips = "round trips", "", Less;
    /// Complete frames in order.
    FramesPerSecond = "frames", "/s", More;
    /// Complete frames a second of processor time, both sides, kernel included.
    FramesPerCpuSecond = "frames a CPU-second", "/s", More;
    /// The payload of complete frames or messages.
    Throughput = "throughput", "MB/s", More;
    /// The most N of N × 30 frames a second with 99 % of them younger than 33 ms.
    HighestLoad = "highest N", "× 30/s", More;
    /// Messages in order.
    MessagesPerSecond = "messages", "/s", More;
    /// Messages a second of processor time, both sides, kernel included.
    MessagesPerCpuSecond = "messages a CPU-second", "/s", More;
    /// One message there and back.
    RoundTrip = "round trip", "µs", Less;
    /// Bytes taken from the sender of a stalled reader until it had to wait.
    HeldBytes = "taken until the sender waits", "KiB", Less;
    /// From the reader going on until all that was held back has arrived.
    Recovery = "recovery", "ms", Less;
    /// Resident memory a pair.
    MemoryPerPair = "memory a pair", "KiB", Less;
    /// Processor time over time; 100 is one core.
    Cpu = "CPU", "% of a core", Less;
    /// Pairs that were connected a second, all at once.
    HandshakesPerSecond = "handshakes", "/s", More;
    /// Half of the frames are older.
    AgeP50 = "age, median", "ms", Less;
    /// The oldest 1 % of the frames is older.
    AgeP99 = "age, p99", "ms", Less;
    /// Frames that arrived after the next one was due, or in an open loop never.
    Late = "late", "%", Less;
}
