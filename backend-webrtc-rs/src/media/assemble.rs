//! Frames from packets: reordering, gaps, and the end of patience.

use bytes::Bytes;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;
use visavis_core::{
    Codec, MediaKind,
    packetize::{begins, surely_begins, unite},
    track::{MAX_FRAME_SIZE, MAX_REORDER_TIME},
};

/// So many packets may wait for one that is missing: more than the largest frame has. Beyond, it is given up early.
const MAX_PACKETS: u64 = 8192;

/// How many bytes they may have.
const MAX_BYTES: usize = 2 * MAX_FRAME_SIZE;

/// At most so many packets are asked for at once.
const MAX_ASKED: usize = 256;

/// A packet of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) codec: Codec,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) arrival: Instant,
    pub(crate) payload: Bytes,
}

/// A complete frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) codec: Codec,
    pub(crate) payload: Bytes,
    pub(crate) keyframe: bool,
    pub(crate) contiguous: bool,
    pub(crate) timestamp: u32,
    pub(crate) first_packet: Instant,
}

#[derive(Debug)]
enum Slot {
    Present(Packet),
    /// Not here since then; when it was last asked for.
    Missing {
        since: Instant,
        asked: Option<Instant>,
    },
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    Taken,
    /// Taken, after it had been asked for.
    Repaired,
    /// It was here before, or given up, or makes no sense.
    Useless,
}

/// Puts the packets of one stream in order and together. Bounded in packets, bytes and time.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    /// From the first packet of the next frame to the highest that has arrived, which is present.
    slots: VecDeque<Slot>,
    /// The sequence number of the first slot, extended. `None` before the first packet.
    next: Option<u64>,
    /// How many slots from the front on are present and of one frame. Behind them is a missing one, or nothing.
    run: usize,
    run_bytes: usize,
    missing: usize,
    bytes: usize,
    /// The packets of this timestamp are of a frame that cannot be complete.
    skipping: Option<u32>,
    /// Something was given up since the last frame.
    gap: bool,
    /// The sequence number after one that was far off: if it comes, the sender has started over (RFC 3550 A.1).
    stray: Option<u16>,
    /// When to ask for what is missing.
    ask_at: Option<Instant>,
    /// How long a missing packet is waited for, if it is not [`MAX_REORDER_TIME`].
    patience: Option<Duration>,
    frames: VecDeque<Frame>,
    lost: u64,
}

impl Assembler {
    /// Takes a packet. What it completes is in [`pop`](Self::pop).
    pub(crate) fn insert(&mut self, sequence: u16, packet: Packet) -> Inserted {
        let Some(next) = self.next else {
            self.start(sequence, packet);
            return Inserted::Taken;
        };
        let expected = next + self.slots.len() as u64;
        let distance = i64::from(sequence.wrapping_sub(expected as u16).cast_signed());
        let number = expected.saturating_add_signed(distance);
        if number + MAX_PACKETS < next || number >= expected + 2 * MAX_PACKETS {
            if self.stray == Some(sequence) {
                self.start_over(sequence, packet);
                return Inserted::Taken;
            }
            self.stray = Some(sequence.wrapping_add(1));
            return Inserted::Useless;
        }
        while self.next.is_some_and(|next| number >= next + MAX_PACKETS) {
            if !self.give_up() {
                self.start_over(sequence, packet);
                return Inserted::Taken;
            }
        }
        let Some(index) = self.next.and_then(|next| number.checked_sub(next)) else {
            return Inserted::Useless;
        };
        let index = index as usize;
        let (now, len) = (packet.arrival, packet.payload.len());
        while self.slots.len() < index {
            self.slots.push_back(Slot::Missing {
                since: now,
                asked: None,
            });
            self.missing += 1;
            self.ask_at = Some(now);
        }
        let mut inserted = Inserted::Taken;
        match self.slots.get_mut(index) {
            None => self.slots.push_back(Slot::Present(packet)),
            Some(Slot::Present(_)) => return Inserted::Useless,
            Some(slot @ Slot::Missing { .. }) => {
                if let Slot::Missing { asked: Some(_), .. } = slot {
                    inserted = Inserted::Repaired;
                }
                *slot = Slot::Present(packet);
                self.missing -= 1;
            }
        }
        self.bytes += len;
        self.advance();
        while self.bytes > MAX_BYTES && self.give_up() {}
        inserted
    }

    fn start(&mut self, sequence: u16, packet: Packet) {
        // Far from 0, so that nothing before it is below.
        self.next = Some(u64::from(sequence) + (1 << 32));
        if !begins(packet.codec, &packet.payload) {
            self.skipping = Some(packet.timestamp);
            self.gap = true;
        }
        self.bytes = packet.payload.len();
        self.slots.push_back(Slot::Present(packet));
        self.advance();
    }

    fn start_over(&mut self, sequence: u16, packet: Packet) {
        self.reset();
        self.gap = true;
        self.start(sequence, packet);
    }

    /// Forgets the packets, for another stream or the same one after a pause.
    pub(crate) fn reset(&mut self) {
        let waiting = !self.slots.is_empty() || self.gap;
        *self = Self {
            frames: std::mem::take(&mut self.frames),
            lost: self.lost + self.missing as u64,
            gap: waiting,
            patience: self.patience,
            ..Self::default()
        };
    }

    /// The next complete frame.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// How many packets were given up.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// The highest sequence number that has arrived, extended from the first one's cycle.
    pub(crate) fn highest(&self) -> Option<u64> {
        Some(self.next? + self.slots.len() as u64 - 1)
    }

    /// Waits this long for what is missing.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// When the patience with the packet that is missed most ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.slots.get(self.run) {
            Some(Slot::Missing { since, .. }) => Some(*since + self.patience.unwrap_or(MAX_REORDER_TIME)),
            _ => None,
        }
    }

    /// Gives up what was waited for too long.
    pub(crate) fn on_time(&mut self, now: Instant) {
        while self.deadline().is_some_and(|at| at <= now) && self.give_up() {}
    }

    /// When there is something to ask for.
    pub(crate) fn ask_at(&self) -> Option<Instant> {
        self.ask_at.filter(|_| self.missing > 0)
    }

    /// What to ask the sender for now: what was not asked for since `interval`.
    pub(crate) fn ask(&mut self, now: Instant, interval: Duration, wanted: &mut Vec<u16>) {
        if self.ask_at().is_none_or(|at| now < at) {
            return;
        }
        let (mut next_ask, mut left) = (None, self.missing);
        let first = self.next.unwrap_or_default() + self.run as u64;
        for (number, slot) in (first..).zip(self.slots.range_mut(self.run..)) {
            let Slot::Missing { asked, .. } = slot else {
                continue;
            };
            let due = asked.map_or(now, |at| at + interval);
            if due <= now && wanted.len() < MAX_ASKED {
                wanted.push(number as u16);
                *asked = Some(now);
            }
            let again = asked.map_or(now, |at| at + interval);
            next_ask = Some(next_ask.map_or(again, |at: Instant| at.min(again)));
            left -= 1;
            if left == 0 {
                break;
            }
        }
        self.ask_at = next_ask;
    }

    /// Takes what is complete from the front.
    fn advance(&mut self) {
        while let Some(Slot::Present(packet)) = self.slots.get(self.run) {
            let (timestamp, marker) = (packet.timestamp, packet.marker);
            let (empty, len) = (packet.payload.is_empty(), packet.payload.len());
            if let Some(skipped) = self.skipping {
                // No packet is missing before one with another timestamp: it begins a frame.
                if timestamp == skipped {
                    self.take(1);
                    if marker {
                        self.skipping = None;
                    }
                } else {
                    self.skipping = None;
                }
                continue;
            }
            if self.run == 0 && empty {
                // Padding between frames.
                self.take(1);
                continue;
            }
            if self.run > 0 && self.front_timestamp() != Some(timestamp) {
                self.complete();
                continue;
            }
            let alone = packet.codec.kind() == MediaKind::Audio;
            self.run += 1;
            self.run_bytes += len;
            if marker || alone {
                self.complete();
            } else if self.run_bytes > MAX_FRAME_SIZE || self.run as u64 >= MAX_PACKETS {
                tracing::debug!("a frame is too large: given up");
                self.take(self.run);
                self.skipping = Some(timestamp);
                self.gap = true;
            }
        }
    }

    fn front_timestamp(&self) -> Option<u32> {
        match self.slots.front() {
            Some(Slot::Present(packet)) => Some(packet.timestamp),
            _ => None,
        }
    }

    /// Removes slots from the front.
    fn take(&mut self, count: usize) {
        for slot in self.slots.drain(..count) {
            match slot {
                Slot::Present(packet) => self.bytes -= packet.payload.len(),
                Slot::Missing { .. } => {
                    self.missing -= 1;
                    self.lost += 1;
                }
            }
        }
        self.next = self.next.map(|next| next + count as u64);
        (self.run, self.run_bytes) = (0, 0);
    }

    /// The run is a frame.
    fn complete(&mut self) {
        let mut packets = self.slots.iter().take(self.run).filter_map(|slot| match slot {
            Slot::Present(packet) => Some(packet),
            Slot::Missing { .. } => None,
        });
        let Some(first) = packets.next() else { return };
        let (codec, timestamp, mut first_packet) = (first.codec, first.timestamp, first.arrival);
        let united = if self.run == 1 {
            unite(codec, std::slice::from_ref(&first.payload))
        } else {
            let mut payloads = Vec::with_capacity(self.run);
            payloads.push(first.payload.clone());
            for packet in packets {
                first_packet = first_packet.min(packet.arrival);
                if !packet.payload.is_empty() {
                    payloads.push(packet.payload.clone());
                }
            }
            unite(codec, &payloads)
        };
        self.take(self.run);
        let Some((payload, keyframe)) = united else {
            tracing::debug!(%codec, "a frame's packets do not fit together: dropped");
            self.gap = true;
            return;
        };
        self.frames.push_back(Frame {
            codec,
            payload,
            keyframe,
            contiguous: !std::mem::take(&mut self.gap),
            timestamp,
            first_packet,
        });
    }

    /// Gives up the first packets that are missing, and the frame that they are of. Returns whether there were any.
    fn give_up(&mut self) -> bool {
        if self.run >= self.slots.len() {
            return false;
        }
        let broken = self.skipping.or(self.front_timestamp().filter(|_| self.run > 0));
        let behind = self.slots.iter().skip(self.run);
        let missing = behind.take_while(|s| matches!(s, Slot::Missing { .. })).count();
        self.take(self.run + missing);
        self.gap = true;
        self.skipping = match self.slots.front() {
            Some(Slot::Present(packet)) => {
                let whole = Some(packet.timestamp) != broken && surely_begins(packet.codec, &packet.payload);
                (!whole).then_some(packet.timestamp)
            }
            _ => None,
        };
        self.advance();
        true
    }
}

#[cfg(test)]
#[path = "../tests/assemble.rs"]
mod tests;
