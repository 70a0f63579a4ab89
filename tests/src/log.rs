//! What a peer connection reported, in order.

use crate::deadline;
use std::future::ready;
use visavis_core::{
    Candidate, ConnectionState, DataChannel, DtlsState, GatheringState, IceState, PeerEvent, PeerEvents,
    SignalingState, Transceiver,
};

/// The events of one peer, kept as they come.
#[derive(Debug)]
pub struct Log {
    events: PeerEvents,
    seen: Vec<PeerEvent>,
}

impl Log {
    /// Keeps these events.
    pub fn new(events: PeerEvents) -> Self {
        Self {
            events,
            seen: Vec::new(),
        }
    }

    /// Reads on until `f` finds what it looks for.
    ///
    /// # Panics
    ///
    /// When the events end before that, or nothing is found in time.
    pub async fn find<T>(&mut self, what: &str, mut f: impl FnMut(&PeerEvent) -> Option<T>) -> T {
        let search = async {
            while let Some(event) = self.events.next().await {
                self.seen.push(event.clone());
                if let Some(found) = f(&event) {
                    return found;
                }
            }
            panic!("the events ended before: {what}");
        };
        deadline(what, search).await
    }

    /// The next data channel that the remote peer opens.
    pub async fn channel(&mut self) -> DataChannel {
        self.find("a data channel of the remote peer", |e| match e {
            PeerEvent::DataChannel(channel) => Some(channel.clone()),
            _ => None,
        })
        .await
    }

    /// The next track.
    pub async fn track(&mut self) -> Transceiver {
        self.find("a track", |e| match e {
            PeerEvent::Track(transceiver) => Some(transceiver.clone()),
            _ => None,
        })
        .await
    }

    /// The end of the next exchange of descriptions.
    pub async fn stable(&mut self) {
        self.find("signaling state stable", |e| {
            matches!(e, PeerEvent::SignalingState(SignalingState::Stable)).then_some(())
        })
        .await;
    }

    /// The next change of the connection to this state.
    pub async fn connection(&mut self, state: ConnectionState) {
        self.find(&format!("connection state {state}"), |e| {
            matches!(e, PeerEvent::ConnectionState(s) if *s == state).then_some(())
        })
        .await;
    }

    /// Every candidate of this generation, the end of candidates last.
    pub async fn candidates(&mut self) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        self.find("the end of candidates", |e| match e {
            PeerEvent::Candidate(candidate) => {
                candidates.push(candidate.clone());
                candidate.is_end().then_some(())
            }
            _ => None,
        })
        .await;
        candidates
    }

    /// Reads what is there, without waiting.
    pub async fn drain(&mut self) {
        loop {
            let next = tokio::select! {
                biased;
                event = tokio::task::unconstrained(self.events.next()) => event,
                () = ready(()) => None,
            };
            match next {
                Some(event) => self.seen.push(event),
                None => return,
            }
        }
    }

    /// Reads until the peer connection is closed.
    pub async fn end(&mut self) {
        let rest = async {
            while let Some(event) = self.events.next().await {
                self.seen.push(event);
            }
        };
        deadline("the end of events", rest).await;
    }

    /// All that was read.
    pub fn seen(&self) -> &[PeerEvent] {
        &self.seen
    }

    /// Forgets what was read.
    pub fn forget(&mut self) {
        self.seen.clear();
    }

    /// Of what was read, whatever `f` picks.
    pub fn pick<T>(&self, f: impl FnMut(&PeerEvent) -> Option<T>) -> Vec<T> {
        self.seen.iter().filter_map(f).collect()
    }

    /// The signaling states that were read.
    pub fn signaling(&self) -> Vec<SignalingState> {
        self.pick(|e| match e {
            PeerEvent::SignalingState(s) => Some(*s),
            _ => None,
        })
    }

    /// The gathering states that were read.
    pub fn gathering(&self) -> Vec<GatheringState> {
        self.pick(|e| match e {
            PeerEvent::GatheringState(s) => Some(*s),
            _ => None,
        })
    }

    /// The states of ICE that were read.
    pub fn ice(&self) -> Vec<IceState> {
        self.pick(|e| match e {
            PeerEvent::IceState(s) => Some(*s),
            _ => None,
        })
    }

    /// The states of DTLS that were read.
    pub fn dtls(&self) -> Vec<DtlsState> {
        self.pick(|e| match e {
            PeerEvent::DtlsState(s) => Some(*s),
            _ => None,
        })
    }

    /// The states of the connection that were read.
    pub fn connections(&self) -> Vec<ConnectionState> {
        self.pick(|e| match e {
            PeerEvent::ConnectionState(s) => Some(*s),
            _ => None,
        })
    }
}
