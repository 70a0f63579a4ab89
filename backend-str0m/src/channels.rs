//! Data channels: str0m's ids on one side, core's ports on the other.

use crate::{convert, driven::Driven, empty};
use str0m::{
    Rtc,
    channel::{ChannelConfig, ChannelData, ChannelId},
};
use visavis_core::{ChannelPort, ChannelState, EventSink, Flow, Mark, Message};

/// What `RtcConfig` allows to be buffered in SCTP; a message that does not fit is refused.
pub(crate) const MAX_IN_SCTP: usize = 512 * 1024;

/// SCTP has so many windows: what is in flight, and what follows without a gap.
const WINDOWS: usize = 4;

/// SCTP's cost is by chunk, so a message counts as this much at least, in bytes.
const LEAST: usize = 1024;

/// The first stream id that a carrier takes; they count down from here.
const CARRIER_STREAM: u16 = 65_534;

/// All channels of a peer.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    /// Whether the application m-line is negotiated.
    started: bool,
    /// What was opened before.
    waiting: Vec<ChannelPort>,
    entries: Vec<Entry>,
    /// Channels of our own, which carry nothing: str0m adds an application m-line only with a channel, and tells
    /// that SCTP is up only by opening one. They have a negotiated stream id, so that the peer never hears of them,
    /// and an offer that is taken back leaks nothing else.
    carriers: Vec<(ChannelId, u16)>,
    /// Whose turn it is to send.
    turn: usize,
}

#[derive(Debug)]
struct Entry {
    id: ChannelId,
    port: ChannelPort,
    open: bool,
    closing: bool,
}

impl Channels {
    /// Opens a channel, now or once there is an application m-line.
    pub(crate) fn open(&mut self, driven: &mut Driven, port: ChannelPort) {
        if self.started {
            self.create(driven, port);
        } else {
            self.waiting.push(port);
        }
    }

    /// The application m-line is negotiated.
    pub(crate) fn start(&mut self, driven: &mut Driven) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        if self.carriers.is_empty() {
            let config = self.carrier();
            let stream = config.negotiated.unwrap_or_default();
            let id = driven.with(|rtc| rtc.direct_api().create_data_channel(config));
            self.carriers.push((id, stream));
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        // str0m gives out stream ids in this order and does not leave out those that are negotiated later.
        waiting.sort_by_key(|port| port.init().negotiated.is_none());
        for port in waiting {
            self.create(driven, port);
        }
    }

    /// A channel to add the application m-line with.
    pub(crate) fn carrier(&self) -> ChannelConfig {
        let ports = self.waiting.iter().chain(self.entries.iter().map(|e| &e.port));
        let mut taken: Vec<_> = ports.filter_map(|port| port.init().negotiated).collect();
        taken.extend(self.carriers.iter().map(|(_, stream)| *stream));
        let stream = (0..=CARRIER_STREAM).rev().find(|id| !taken.contains(id));
        ChannelConfig {
            negotiated: stream,
            ..ChannelConfig::default()
        }
    }

    /// The carrier is part of an offer.
    pub(crate) fn add_carrier(&mut self, id: ChannelId, stream: u16) {
        self.carriers.push((id, stream));
    }

    fn create(&mut self, driven: &mut Driven, port: ChannelPort) {
        if matches!(port.state(), ChannelState::Closing | ChannelState::Closed) {
            port.set_closed();
            return;
        }
        let config = match convert::channel_config(port.init()) {
            Ok(config) => config,
            Err(e) => return refuse(&port, &e.to_string()),
        };
        if let Some(stream) = config.negotiated {
            // str0m asserts that it is free.
            let taken = self.carriers.iter().any(|(_, s)| *s == stream)
                || self
                    .entries
                    .iter()
                    .any(|e| e.port.init().negotiated == Some(stream))
                || driven.with(|rtc| rtc.direct_api().channel_id_by_sctp_stream_id(stream).is_some());
            if taken {
                return refuse(&port, &format!("stream id {stream} is in use"));
            }
        }
        let id = driven.with(|rtc| rtc.direct_api().create_data_channel(config));
        self.entries.push(Entry {
            id,
            port,
            open: false,
            closing: false,
        });
    }

    /// str0m opened a channel: one of ours, a carrier, or one that the remote peer announced.
    pub(crate) fn opened(&mut self, driven: &mut Driven, id: ChannelId, events: &EventSink) {
        events.mark(Mark::SctpUp);
        if self.carriers.iter().any(|(carrier, _)| *carrier == id) {
            return;
        }
        let (stream, config) = driven.with(|rtc| {
            let stream = rtc.direct_api().sctp_stream_id_by_channel_id(id);
            (stream, rtc.channel(id).and_then(|c| c.config().cloned()))
        });
        let stream = stream.unwrap_or_default();
        if let Some(entry) = self.entries.iter_mut().find(|e| e.id == id) {
            entry.open = true;
            entry.port.set_open(stream);
            return;
        }
        let init = config.as_ref().map(convert::channel_init);
        let Some(port) = init.and_then(|init| events.incoming_channel(init)) else {
            driven.with(|rtc| rtc.direct_api().close_data_channel(id));
            return;
        };
        port.set_open(stream);
        self.entries.push(Entry {
            id,
            port,
            open: true,
            closing: false,
        });
    }

    /// A message came.
    pub(crate) fn deliver(&mut self, data: ChannelData) -> Flow {
        let Some(entry) = self.entries.iter().find(|e| e.id == data.id) else {
            return Flow::Continue;
        };
        entry.port.deliver(if data.binary {
            Message::from(data.data)
        } else {
            Message::text_lossy(data.data)
        })
    }

    /// str0m closed a channel.
    pub(crate) fn closed(&mut self, id: ChannelId) {
        if let Some(at) = self.entries.iter().position(|e| e.id == id) {
            self.entries.remove(at).port.set_closed();
        }
    }

    /// The connection is over.
    pub(crate) fn close_all(&mut self) {
        for port in self
            .waiting
            .drain(..)
            .chain(self.entries.drain(..).map(|e| e.port))
        {
            port.set_closed();
        }
    }

    /// Whether some application is behind with reading.
    pub(crate) fn is_paused(&self) -> bool {
        self.entries.iter().any(|e| e.port.is_paused())
    }

    /// Moves messages into SCTP while there is room, one a channel in turn, and closes what is to be closed. `window`:
    /// how much may be in flight.
    pub(crate) fn pump(&mut self, driven: &mut Driven, window: Option<usize>) {
        self.waiting.retain(|port| {
            let closes = matches!(port.state(), ChannelState::Closing | ChannelState::Closed);
            if closes {
                port.set_closed();
            }
            !closes
        });
        let busy = |e: &Entry| {
            e.open
                && !e.closing
                && (e.port.in_stack() > 0 || e.port.next_len().is_some() || e.port.wants_close())
        };
        if !self.entries.iter().any(busy) {
            return;
        }
        driven.with(|rtc| {
            let outstanding = self.refresh(rtc);
            self.write(rtc, outstanding, window);
            for entry in self.entries.iter_mut().filter(|e| e.open && !e.closing) {
                // SCTP itself would wait for the acknowledgements, but str0m calls the channel closed at once.
                if entry.port.wants_close() && entry.port.in_stack() == 0 {
                    entry.closing = true;
                    rtc.direct_api().close_data_channel(entry.id);
                }
            }
        });
    }

    /// Asks SCTP what has left. Returns what has not.
    fn refresh(&self, rtc: &mut Rtc) -> usize {
        let mut outstanding = 0;
        for entry in self.entries.iter().filter(|e| e.open && e.port.in_stack() > 0) {
            let held = rtc.channel(entry.id).map_or(0, |mut c| c.buffered_amount());
            entry.port.set_in_stack(held);
            outstanding += held;
        }
        outstanding
    }

    fn write(&mut self, rtc: &mut Rtc, mut outstanding: usize, window: Option<usize>) {
        let count = self.entries.len();
        let mut idle = 0;
        // Ends when no channel has a message, or at the first that does not fit: it is first the next time, so
        // that small messages of others do not hold up a large one for ever.
        while idle < count {
            let entry = &self.entries[self.turn % count];
            let length = if entry.open && !entry.closing {
                entry.port.next_len()
            } else {
                None
            };
            let Some(length) = length else {
                self.turn = (self.turn + 1) % count;
                idle += 1;
                continue;
            };
            let length = length.max(empty::TOKEN_LEN);
            let target = match window {
                Some(window) => (WINDOWS * window * length.min(LEAST) / LEAST).min(MAX_IN_SCTP),
                None => MAX_IN_SCTP,
            };
            let fits = outstanding + length <= target || outstanding < target / 2;
            if !fits || outstanding + length > MAX_IN_SCTP {
                return;
            }
            let Some(message) = entry.port.pop_outgoing() else {
                self.turn = (self.turn + 1) % count;
                idle += 1;
                continue;
            };
            let bytes = if message.is_empty() {
                &empty::token()[..]
            } else {
                message.as_bytes()
            };
            let written = match rtc.channel(entry.id) {
                Some(mut channel) => channel.write(message.as_text().is_none(), bytes),
                None => Ok(false),
            };
            match written {
                Ok(true) => outstanding += length,
                Ok(false) => {
                    entry.port.unpop(message);
                    return;
                }
                Err(e) => {
                    // The stream is being reset by the peer, or the message is too large for it.
                    tracing::warn!(label = entry.port.init().label, error = %e, "a message was refused");
                    entry.port.unpop(message);
                    entry.port.set_closed();
                    rtc.direct_api().close_data_channel(entry.id);
                    return;
                }
            }
            self.turn = (self.turn + 1) % count;
            idle = 0;
        }
    }
}

impl Drop for Channels {
    fn drop(&mut self) {
        self.close_all();
    }
}

fn refuse(port: &ChannelPort, why: &str) {
    tracing::warn!(
        label = port.init().label,
        why,
        "the data channel cannot be opened"
    );
    port.set_closed();
}
