//! The figures of a call, with their recent past.

use std::collections::VecDeque;

/// How many values a graph has: half a minute at four a second.
const PAST: usize = 120;

/// A figure and its recent past.
#[derive(Debug, Default, Clone)]
pub(crate) struct Series(VecDeque<f64>);

impl Series {
    /// The next value; nothing where it is not known.
    pub(crate) fn push(&mut self, value: Option<f64>) {
        let Some(value) = value else { return };
        if self.0.len() == PAST {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The newest value.
    pub(crate) fn last(&self) -> Option<f64> {
        self.0.back().copied()
    }

    /// The newest `count` values, the oldest of them first.
    pub(crate) fn newest(&self, count: usize) -> impl Iterator<Item = f64> {
        self.0.iter().skip(self.0.len().saturating_sub(count)).copied()
    }
}

/// The figures of a call.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figures {
    /// Of what each side sends.
    pub(crate) ways: [Option<Way>; 2],
    /// Of each side's connection.
    pub(crate) sides: [States; 2],
    /// The round trip of the connectivity checks or of RTCP, in milliseconds.
    pub(crate) rtt_ms: Series,
}

/// What goes one way.
#[derive(Debug, Default, Clone)]
pub(crate) struct Way {
    /// Pictures decoded a second.
    pub(crate) fps: Series,
    /// Sent, in kbit/s, without headers.
    pub(crate) kbps: Series,
    /// From capture to decoded, in milliseconds.
    pub(crate) age_ms: Series,
    /// Packets that never arrived, a second.
    pub(crate) lost: Series,
    /// Packets that were sent again, a second.
    pub(crate) sent_again: Series,
    /// What was counted since the call began.
    pub(crate) counts: Counts,
    /// How loud it is where it is sent and where it is heard, in dBFS.
    pub(crate) levels: [Option<f32>; 2],
}

/// What was counted on a way.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) captured: u64,
    pub(crate) decoded: u64,
    /// Bytes of pictures and sound, without headers.
    pub(crate) bytes: u64,
    /// Packets of sound that arrived.
    pub(crate) sound: u64,
    /// Packets of either that never arrived.
    pub(crate) lost: u64,
    pub(crate) sent_again: u64,
}

/// The states of a side, in the W3C's words.
#[derive(Debug, Default, Clone)]
pub(crate) struct States {
    pub(crate) signaling: String,
    pub(crate) ice: String,
    pub(crate) dtls: &'static str,
    /// From which address to which.
    pub(crate) pair: Option<String>,
}
