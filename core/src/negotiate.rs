//! Perfect negotiation over any signaling (W3C WebRTC §10.7): offers, answers, trickle, glare and rollback.

use crate::{
    Candidate, PeerConnection, PeerEvent, PeerEvents, Result, SdpType, SessionDescription, Signal, Signaling,
    SignalingState,
};
use serde::Serialize;

/// Who gives way when both peers offer at once. The two peers need different roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes its own offer back.
    Polite,
    /// Ignores the other's.
    Impolite,
}

/// When candidates travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IceMode {
    /// Each as it is found (RFC 8838).
    #[default]
    Trickle,
    /// All of them inside the description.
    Full,
}

/// Negotiates whenever `peer` needs it, until either side says [`Signal::Bye`] or is gone, or `peer` is closed.
///
/// # Errors
///
/// As [`Negotiator::run`].
pub async fn negotiate(
    peer: &PeerConnection,
    signaling: &mut dyn Signaling,
    role: Role,
    ice: IceMode,
) -> Result<()> {
    Negotiator::new(peer, role, ice).run(signaling).await
}

/// The state of a negotiation that goes on over errors.
#[derive(Debug)]
pub struct Negotiator {
    peer: PeerConnection,
    events: PeerEvents,
    role: Role,
    ice: IceMode,
    ignore_offer: bool,
    starting: bool,
    awaits_offer: bool,
    /// Arrived while an answer was being made.
    next: Option<Signal>,
}

impl Negotiator {
    /// Negotiates for `peer`.
    pub fn new(peer: &PeerConnection, role: Role, ice: IceMode) -> Self {
        Self {
            peer: peer.clone(),
            events: peer
                .events_of(|event| matches!(event, PeerEvent::NegotiationNeeded | PeerEvent::Candidate(_))),
            role,
            ice,
            ignore_offer: false,
            starting: true,
            awaits_offer: false,
            next: None,
        }
    }

    /// Leaves the first offer to the remote peer, for a peer that is called: its m-lines take the tracks that this peer
    /// has added (RFC 9429 §5.10), and there is no glare at the start.
    pub fn awaiting_offer(mut self) -> Self {
        self.awaits_offer = true;
        self
    }

    /// Runs until either side says [`Signal::Bye`] or is gone, or the peer connection is closed.
    ///
    /// # Errors
    ///
    /// What the signaling failed with, or why a description of the remote peer cannot be used. The peer
    /// connection is as it was before that description: call `run` again to go on.
    pub async fn run(&mut self, signaling: &mut dyn Signaling) -> Result<()> {
        match self.negotiate(signaling).await {
            // Closed under us, between two of our calls.
            Err(_) if self.peer.signaling_state() == SignalingState::Closed => Ok(()),
            result => result,
        }
    }

    async fn negotiate(&mut self, signaling: &mut dyn Signaling) -> Result<()> {
        // What was asked for before we listened.
        if std::mem::take(&mut self.starting) && self.peer.negotiation_needed() {
            self.offer(signaling).await?;
        }
        loop {
            let signal = tokio::select! {
                biased;
                event = self.events.next() => match event {
                    None => return Ok(()),
                    Some(PeerEvent::NegotiationNeeded) => {
                        self.offer(signaling).await?;
                        continue;
                    }
                    Some(PeerEvent::Candidate(candidate)) if self.ice == IceMode::Trickle => {
                        signaling.send(Signal::Candidate(candidate)).await?;
                        continue;
                    }
                    Some(_) => continue,
                },
                signal = receive(&mut self.next, signaling) => signal?,
            };
            match signal {
                None | Some(Signal::Bye) => return Ok(()),
                Some(Signal::Description(description)) => self.on_description(description, signaling).await?,
                Some(Signal::Candidate(candidate)) => self.on_candidate(candidate).await,
            }
        }
    }

    async fn on_candidate(&mut self, candidate: Candidate) {
        // One bad candidate does not end a call, those of an ignored offer are meant to fail, and after a hang-up there
        // may be some on their way.
        if let Err(error) = self.peer.add_ice_candidate(candidate).await
            && !self.ignore_offer
            && self.peer.signaling_state() != SignalingState::Closed
        {
            tracing::warn!(%error, "a remote candidate is left out");
        }
    }

    async fn offer(&mut self, signaling: &mut dyn Signaling) -> Result<()> {
        // An event that was overtaken by a remote offer, or by an offer we made since.
        if self.awaits_offer
            || self.peer.signaling_state() != SignalingState::Stable
            || !self.peer.negotiation_needed()
        {
            return Ok(());
        }
        self.send_local(signaling).await
    }

    async fn on_description(
        &mut self,
        description: SessionDescription,
        signaling: &mut dyn Signaling,
    ) -> Result<()> {
        let is_offer = description.kind == SdpType::Offer;
        let collision = is_offer && self.peer.signaling_state() != SignalingState::Stable;
        self.ignore_offer = collision && self.role == Role::Impolite;
        if self.ignore_offer {
            return Ok(());
        }
        self.peer.set_remote_description(description).await?;
        self.awaits_offer = false;
        if is_offer && let Err(error) = self.send_local(signaling).await {
            // The stack refused the offer at the answer: leave the exchange so that a good offer can follow.
            let _ = self
                .peer
                .set_remote_description(SessionDescription::rollback())
                .await;
            return Err(error);
        }
        Ok(())
    }

    async fn send_local(&mut self, signaling: &mut dyn Signaling) -> Result<()> {
        let mut description = self.peer.set_local_description(None).await?;
        if self.ice == IceMode::Full {
            self.peer.gathered().await?;
            description = self.peer.local_description().unwrap_or(description);
        }
        if description.kind == SdpType::Answer {
            self.take_arrived(signaling).await?;
        }
        signaling.send(Signal::Description(description)).await
    }

    /// Takes the candidates that came while we made the answer. The offerer checks as soon as it has the answer, and
    /// a check from an address that was not signaled yet makes a peer-reflexive candidate, which costs
    /// some stacks another round of checks.
    async fn take_arrived(&mut self, signaling: &mut dyn Signaling) -> Result<()> {
        loop {
            let signal = tokio::select! {
                biased;
                signal = receive(&mut self.next, signaling) => signal?,
                () = std::future::ready(()) => return Ok(()),
            };
            match signal {
                Some(Signal::Candidate(candidate)) => self.on_candidate(candidate).await,
                other => {
                    // The end of the signaling is said again.
                    self.next = other;
                    return Ok(());
                }
            }
        }
    }
}

/// What was put aside, or the next signal.
async fn receive(next: &mut Option<Signal>, signaling: &mut dyn Signaling) -> Result<Option<Signal>> {
    match next.take() {
        Some(signal) => Ok(Some(signal)),
        None => signaling.recv().await,
    }
}
