//! The offers and answers of one caller, the first and those in mid-call.

use super::offer::Offer;
use tokio::sync::mpsc;
use visavis_core::{
    Direction, Error, PeerConnection, Result, SessionDescription, SignalingState, Transceiver,
};
use visavis_signaling::mdns::Resolver;

/// What answers a caller's offers, one after the other. When it is dropped, the call cannot go on.
#[derive(Debug)]
pub(super) struct Negotiation {
    peer: PeerConnection,
    names: Resolver,
    /// How many transceivers were handed on.
    known: usize,
    tracks: mpsc::UnboundedSender<Transceiver>,
}

impl Negotiation {
    /// The transceivers that offers bring, each once, come out of the second half.
    pub(super) fn new(peer: PeerConnection, names: Resolver) -> (Self, mpsc::UnboundedReceiver<Transceiver>) {
        let (tracks, new) = mpsc::unbounded_channel();
        let negotiation = Self {
            peer,
            names,
            known: 0,
            tracks,
        };
        (negotiation, new)
    }

    /// Answers an offer, all candidates inside. After an error the session is as it was; where that cannot be, there is
    /// nothing left to answer the next offer with.
    pub(super) async fn answer(mut self, offer: &Offer) -> (Option<Self>, Result<SessionDescription>) {
        let description = offer.description.clone();
        let set = self.names.set_remote_description(&self.peer, description).await;
        let answer = match set {
            Ok(()) => self.answer_what_is_set(offer).await,
            Err(error) => Err(error),
        };
        let goes_on = answer.is_ok() || self.is_as_it_was().await;
        (goes_on.then_some(self), answer)
    }

    /// Takes an offer back that was not answered; whether the peer can go on.
    async fn is_as_it_was(&self) -> bool {
        if self.peer.signaling_state() != SignalingState::Stable {
            let rollback = SessionDescription::rollback();
            return self.peer.set_remote_description(rollback).await.is_ok();
        }
        self.peer.transceivers().await.is_ok()
    }

    async fn answer_what_is_set(&mut self, offer: &Offer) -> Result<SessionDescription> {
        let transceivers = self.peer.transceivers().await?;
        for transceiver in &transceivers {
            let mid = transceiver.state().await?.mid;
            match mid.and_then(|mid| offer.sent(&mid)) {
                Some(sent) => {
                    transceiver.set_direction(Direction::SendRecv).await?;
                    transceiver.set_codec_preferences(&[sent.codec]).await?;
                }
                // Nothing comes, so nothing goes back.
                None => transceiver.set_direction(Direction::RecvOnly).await?,
            }
        }
        self.peer.set_local_description(None).await?;
        self.peer.gathered().await?;
        for transceiver in transceivers.into_iter().skip(self.known) {
            self.known += 1;
            let _ = self.tracks.send(transceiver);
        }
        self.peer
            .local_description()
            .ok_or_else(|| Error::closed("answer"))
    }
}
