//! A call with one H.264 track from the offerer to the answerer.

use crate::{
    lab::Site,
    scenario::{frames::video, paced::ready},
};
use std::sync::Arc;
use visavis_core::{Call, PeerPair, SamePage, TrackReceiver, TrackSender};

/// The call and its track's ends.
#[derive(Debug)]
pub(super) struct VideoCall {
    pair: SamePage,
    call: Arc<Call>,
    pub(super) sender: TrackSender,
    pub(super) receiver: TrackReceiver,
}

impl VideoCall {
    /// Calls and waits until frames may flow.
    ///
    /// # Errors
    ///
    /// Why there was no call, or that the track was not ready.
    pub(super) async fn new(site: &Site) -> Result<Self, String> {
        let pair = site.pair(video()).await;
        let call = pair.call().await.map_err(|failure| failure.to_string())?;
        let sender = call.offerer.transceivers[0].sender();
        let receiver = call.answerer.transceivers[0].receiver();
        ready(&sender).await?;
        Ok(Self {
            pair,
            call,
            sender,
            receiver,
        })
    }

    /// Hangs up.
    pub(super) async fn end(self) {
        drop(self.call);
        // The only refusal is that the call is over already.
        let _ = self.pair.hang_up().await;
    }
}
