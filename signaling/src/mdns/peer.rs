//! A remote description with all candidates inside, of which some may have names.

use super::{Resolver, split};
use tokio::task::JoinSet;
use visavis_core::{ConnectionState, PeerConnection, Result, SessionDescription};

impl Resolver {
    /// Sets a remote description that has all its candidates inside. Nothing waits for the names in it: the description
    /// is set at once without them, and in the background each candidate is added when its name is found, until the
    /// peer is closed. One that is not found is left out.
    ///
    /// # Errors
    ///
    /// As [`PeerConnection::set_remote_description`].
    pub async fn set_remote_description(
        &self,
        peer: &PeerConnection,
        description: SessionDescription,
    ) -> Result<()> {
        let (description, named) = split(description);
        peer.set_remote_description(description).await?;
        if named.is_empty() {
            return Ok(());
        }
        let (peer, resolver) = (peer.clone(), self.clone());
        tokio::spawn(async move {
            let mut searches = JoinSet::new();
            for candidate in named {
                let resolver = resolver.clone();
                searches.spawn(async move { resolver.literal_candidate(candidate).await });
            }
            let add = async {
                while let Some(found) = searches.join_next().await {
                    let Ok(Some(candidate)) = found else { continue };
                    tracing::debug!(candidate = %candidate.candidate, "an mDNS name was found");
                    if let Err(error) = peer.add_ice_candidate(candidate).await {
                        tracing::debug!(%error, "a candidate whose name was found is left out");
                    }
                }
            };
            tokio::select! {
                () = add => {}
                // Closed, or failed: either way nobody needs it any more.
                _ = peer.wait_for(ConnectionState::Closed) => {}
            }
        });
        Ok(())
    }
}
