//! What follows from an engine's events: the W3C states, in W3C's order, and the peer's own events.

use super::Owner;
use crate::{
    Candidate, Direction, DtlsState, EngineEvent, IceState, Mark,
    channel::ChannelState,
    lock,
    peer::{ConnectionState, GatheringState, PeerEvent, SignalingState, jsep::TransceiverId},
    track::Sending,
};
use std::sync::atomic::Ordering;
use tokio::time::Instant;

impl Owner {
    pub(super) fn on_event(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Candidate(candidate) => self.on_local_candidate(candidate),
            // Otherwise it is that of an offer that was rolled back since.
            EngineEvent::GatheringComplete if self.jsep.local().is_some() => {
                self.shared.hub.timeline.mark(Mark::GatheringComplete);
                // The end of the candidates comes before the state that says there are no more.
                self.shared
                    .emit(&PeerEvent::Candidate(Candidate::end(self.local_ufrag.clone())));
                self.gathering_is(GatheringState::Complete);
            }
            EngineEvent::GatheringComplete => {}
            EngineEvent::Ice(state) => self.ice_is(state),
            EngineEvent::Dtls(state) => self.dtls_is(state),
            EngineEvent::Channel(channel) => {
                self.channels.retain(|c| c.state() != ChannelState::Closed);
                self.channels.push(channel.clone());
                self.shared.emit(&PeerEvent::DataChannel(channel));
            }
            EngineEvent::Failed(error) => {
                self.abort_channels();
                self.fail(error.to_string());
            }
        }
    }

    fn on_local_candidate(&mut self, mut candidate: Candidate) {
        if self.jsep.local().is_none() {
            // Of an offer that was rolled back since.
            return;
        }
        let section = self.jsep.local().and_then(|(_, sdp)| {
            sdp.sections()
                .enumerate()
                .find(|(_, s)| !s.is_rejected())
                .map(|(i, s)| (i, s.mid().map(str::to_owned)))
        });
        if let Some((index, mid)) = section {
            candidate.sdp_m_line_index = u16::try_from(index).ok();
            candidate.sdp_mid = mid;
        }
        candidate.username_fragment.clone_from(&self.local_ufrag);
        self.shared.hub.timeline.mark(Mark::FirstCandidate);
        lock(&self.shared.descriptions).candidates.push(candidate.clone());
        self.shared.emit(&PeerEvent::Candidate(candidate));
    }

    fn ice_is(&mut self, state: IceState) {
        if state == self.ice || self.connection() == ConnectionState::Closed {
            return;
        }
        if state == IceState::Completed && self.ice != IceState::Connected {
            // A pair works before no checks are left, also where a stack says both at once.
            self.ice_is(IceState::Connected);
        }
        let connected = matches!(state, IceState::Connected | IceState::Completed);
        self.ice = state;
        if connected {
            self.shared.hub.timeline.mark(Mark::IceConnected);
        }
        self.deadline = match state {
            IceState::Disconnected => Some((
                Instant::now() + self.failed_after,
                "the remote peer is not heard from any more",
            )),
            _ if connected && self.dtls != DtlsState::Connected => Some((
                Instant::now() + self.connect_timeout,
                "ICE connected, but the DTLS handshake did not finish",
            )),
            _ if connected || state == IceState::Failed => None,
            // A restart while the remote peer was still heard.
            IceState::Checking if self.deadline.is_none() => Some((
                Instant::now() + self.connect_timeout,
                "ICE found no pair that works in time",
            )),
            _ => self.deadline,
        };
        if state == IceState::Failed {
            *lock(&self.shared.failure) = Some("ICE found no pair that works".to_owned());
        }
        self.recovery.ice_is(state, self.dtls == DtlsState::Connected);
        self.shared.publish(&self.shared.ice, state, PeerEvent::IceState);
        self.update_connection();
    }

    fn dtls_is(&mut self, state: DtlsState) {
        if state == self.dtls {
            return;
        }
        self.dtls = state;
        match state {
            DtlsState::Connected => {
                self.shared.hub.timeline.mark(Mark::DtlsConnected);
                self.deadline = None;
            }
            DtlsState::Failed => {
                self.deadline = None;
                *lock(&self.shared.failure) = Some(
                    "the DTLS handshake failed; does the fingerprint of the description match?".to_owned(),
                );
                // Without DTLS there is no SCTP, and no ICE restart brings it back.
                self.abort_channels();
            }
            DtlsState::Closed => self.abort_channels(),
            _ => {}
        }
        self.update_tracks();
        self.shared.emit(&PeerEvent::DtlsState(state));
        self.update_connection();
    }

    /// The engine failed, or a deadline passed. After a deadline an ICE restart may bring the connection back, and
    /// its channels with it.
    pub(super) fn fail(&mut self, reason: String) {
        self.deadline = None;
        tracing::warn!(reason, "the connection failed");
        *lock(&self.shared.failure) = Some(reason);
        self.ice = IceState::Failed;
        self.recovery.ice_is(IceState::Failed, false);
        self.shared
            .publish(&self.shared.ice, IceState::Failed, PeerEvent::IceState);
        self.update_connection();
    }

    pub(super) fn abort_channels(&mut self) {
        for channel in self.channels.drain(..) {
            channel.abort();
        }
    }

    pub(super) fn connection(&self) -> ConnectionState {
        *self.shared.connection.borrow()
    }

    /// W3C §4.3.3, from the states of ICE and DTLS.
    fn update_connection(&self) {
        let state = match (self.ice, self.dtls) {
            (IceState::Closed, _) => ConnectionState::Closed,
            (IceState::Failed, _) | (_, DtlsState::Failed) => ConnectionState::Failed,
            (IceState::Disconnected, _) => ConnectionState::Disconnected,
            (IceState::Connected | IceState::Completed, DtlsState::Connected | DtlsState::Closed) => {
                ConnectionState::Connected
            }
            (IceState::New, _) => ConnectionState::New,
            _ => ConnectionState::Connecting,
        };
        if self.connection() != state {
            if state == ConnectionState::Connected {
                *lock(&self.shared.failure) = None;
            }
            self.shared
                .publish(&self.shared.connection, state, PeerEvent::ConnectionState);
        }
    }

    pub(super) fn signaling_is(&self, state: SignalingState) {
        if *self.shared.signaling.borrow() != state {
            self.shared
                .publish(&self.shared.signaling, state, PeerEvent::SignalingState);
        }
    }

    pub(super) fn gathering_is(&self, state: GatheringState) {
        if *self.shared.gathering.borrow() != state {
            self.shared
                .publish(&self.shared.gathering, state, PeerEvent::GatheringState);
        }
    }

    pub(super) fn publish_descriptions(&self) {
        let mut descriptions = lock(&self.shared.descriptions);
        descriptions.local = self.jsep.local().cloned();
        descriptions.remote = self.jsep.remote().cloned();
    }

    pub(super) fn emit_tracks(&mut self, ids: &[TransceiverId]) {
        for &id in ids {
            if let Ok(transceiver) = self.transceiver(id) {
                self.shared.emit(&PeerEvent::Track(transceiver));
            }
        }
    }

    /// What each track may send, after a description or the transport has changed.
    pub(super) fn update_tracks(&self) {
        let up = self.dtls == DtlsState::Connected;
        for slot in &self.jsep.transceivers {
            let sends = slot.current.is_some_and(Direction::sends);
            slot.track.set_sending(match slot.codec {
                Some(codec) if up && sends => Sending::Codec(codec),
                _ => Sending::Idle,
            });
        }
    }

    pub(super) fn update_negotiation_needed(&mut self) {
        if self.jsep.state != SignalingState::Stable {
            self.negotiation_needed = false;
            self.shared.negotiation_needed.store(false, Ordering::Relaxed);
            return;
        }
        let needed = self.jsep.needs_negotiation();
        let announce = needed && !self.negotiation_needed;
        self.negotiation_needed = needed;
        self.shared.negotiation_needed.store(needed, Ordering::Relaxed);
        if announce {
            self.shared.emit(&PeerEvent::NegotiationNeeded);
        }
    }
}
