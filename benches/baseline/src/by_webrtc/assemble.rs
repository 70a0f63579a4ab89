//! Frames from RTP packets: in order of their sequence numbers, each up to its marker.

use crate::{Error, error::At};
use bytes::BytesMut;
use rtc::rtp::{self, codec::h264::H264Packet, packetizer::Depacketizer};
use std::collections::{HashMap, VecDeque};

/// Puts frames together. What was lost and is sent again comes late, so packets wait for those before them.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    next: Option<u16>,
    in_order: VecDeque<rtp::Packet>,
    early: HashMap<u16, rtp::Packet>,
    depacketizer: H264Packet,
    frame: BytesMut,
}

/// A complete frame in Annex B.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) timestamp: u32,
    pub(super) bytes: BytesMut,
}

impl Assembler {
    /// Takes a packet.
    pub(super) fn push(&mut self, packet: rtp::Packet) {
        let number = packet.header.sequence_number;
        let next = self.next.get_or_insert(number);
        match number.wrapping_sub(*next) {
            0 => self.in_order.push_back(packet),
            // It came twice.
            behind if behind > u16::MAX / 2 => return,
            _ => {
                self.early.insert(number, packet);
                return;
            }
        }
        *next = next.wrapping_add(1);
        while !self.early.is_empty()
            && let Some(packet) = self.early.remove(next)
        {
            self.in_order.push_back(packet);
            *next = next.wrapping_add(1);
        }
    }

    /// The next frame, if all of it has come.
    pub(super) fn pop(&mut self) -> Result<Option<Assembled>, Error> {
        while let Some(packet) = self.in_order.pop_front() {
            let units = self.depacketizer.depacketize(&packet.payload).at("frames")?;
            self.frame.extend_from_slice(&units);
            if packet.header.marker {
                let bytes = std::mem::take(&mut self.frame);
                let timestamp = packet.header.timestamp;
                return Ok(Some(Assembled { timestamp, bytes }));
            }
        }
        Ok(None)
    }
}
