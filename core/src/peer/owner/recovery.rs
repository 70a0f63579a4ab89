//! When a connection restarts ICE by itself: the interface in use is gone, or the remote peer is not heard from.

use super::Owner;
use crate::{IceState, Net, SignalingState, net::Changed, peer::PeerConfig};
use std::{
    fmt,
    future::{pending, poll_fn},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// How long a restart has at least to find a pair before the next. What it takes depends on the signaling as well: the
/// answerer checks in vain until its answer has travelled.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that was up for this long is not restarted for the same reason as before.
const STEADY: Duration = Duration::from_secs(30);

/// The waits grow no further than by this.
const MOST_DOUBLINGS: u32 = 6;

/// Why ICE might be restarted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// The host has other addresses.
    Interfaces,
    /// ICE has had no pair for too long.
    Silence,
}

/// What decides about restarts.
pub(super) struct Recovery {
    /// [`PeerConfig::restart_after`].
    after: Option<Duration>,
    /// The network, where its interfaces are ours to follow.
    net: Option<Arc<dyn Net>>,
    changed: Option<Changed>,
    /// How often ICE was restarted since it last had a pair for long.
    restarts: u32,
    /// Since when it has one.
    up_since: Option<Instant>,
    at: Option<Instant>,
    /// The local credentials of the last exchange.
    generation: Option<String>,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery")
            .field("after", &self.after)
            .field("restarts", &self.restarts)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Recovery {
    pub(super) fn new(config: &PeerConfig, net: &Arc<dyn Net>) -> Self {
        let open = config.bind.is_empty() || config.bind.iter().any(|addr| addr.ip().is_unspecified());
        let net = (open && config.restart_after.is_some()).then(|| Arc::clone(net));
        Self {
            after: config.restart_after,
            changed: net.as_ref().map(|net| net.changed()),
            net,
            restarts: 0,
            up_since: None,
            at: None,
            generation: None,
        }
    }

    /// Waits until something should be done. Cancel safe.
    pub(super) async fn wish(&mut self) -> Wish {
        let at = self.at;
        let silence = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = poll_fn(|cx| match &mut self.changed {
                Some(changed) => changed.as_mut().poll(cx),
                None => std::task::Poll::Pending,
            }) => Wish::Interfaces,
            () = silence => Wish::Silence,
        }
    }

    /// ICE changed its state. `was_up`: there is a connection to recover.
    pub(super) fn ice_is(&mut self, state: IceState, was_up: bool) {
        match state {
            IceState::Disconnected | IceState::Checking if was_up => {
                if self
                    .up_since
                    .take()
                    .is_some_and(|since| since.elapsed() >= STEADY)
                {
                    self.restarts = 0;
                }
                if self.at.is_none() {
                    let restarts = state == IceState::Checking;
                    self.wait(if restarts { PATIENCE } else { Duration::ZERO });
                }
            }
            _ => {
                self.at = None;
                let up = matches!(state, IceState::Connected | IceState::Completed);
                self.up_since = up.then(|| self.up_since.unwrap_or_else(Instant::now));
            }
        }
    }

    /// Waits twice as long as the last time, and at least this long.
    fn wait(&mut self, least: Duration) {
        let factor = 1 << self.restarts.min(MOST_DOUBLINGS);
        self.at = self
            .after
            .map(|after| Instant::now() + (after * factor).max(least));
    }

    /// What there is now; `None` where the interfaces do not matter.
    fn addresses(&self) -> Option<Vec<IpAddr>> {
        Some(self.net.as_ref()?.interfaces().unwrap_or_default())
    }
}

impl Owner {
    /// Restarts ICE if it should be now. An application that negotiates is told by `negotiationneeded`.
    pub(super) async fn recover(&mut self, wish: Wish) {
        let recovery = &mut self.recovery;
        // First the future, then the addresses, so that no change is missed.
        if wish == Wish::Interfaces {
            recovery.changed = recovery.net.as_ref().map(|net| net.changed());
        }
        let addresses = recovery.addresses();
        // Between two networks there is nothing to gather; the next change is waited for.
        let nothing = addresses.as_ref().is_some_and(Vec::is_empty);
        let needed = match wish {
            Wish::Interfaces => !nothing && !self.is_in_use(&addresses.unwrap_or_default()).await,
            Wish::Silence => {
                // The offer of a dead path may have to wait for the signaling, and is not repeated meanwhile.
                let needed = !nothing && self.jsep.state == SignalingState::Stable;
                self.recovery.restarts += u32::from(needed);
                self.recovery.wait(if needed { PATIENCE } else { Duration::ZERO });
                needed
            }
        };
        if needed {
            tracing::info!(?wish, "restarting ICE");
            self.jsep.restart_ice();
            self.update_negotiation_needed();
        }
    }

    /// Whether ICE has a pair, and at one of these addresses. Addresses that come while it has do not matter.
    async fn is_in_use(&mut self, addresses: &[IpAddr]) -> bool {
        if !matches!(self.ice, IceState::Connected | IceState::Completed) {
            return false;
        }
        let pair = self.engine.stats().await.selected_pair;
        pair.is_some_and(|pair| addresses.contains(&pair.local.ip()))
    }

    /// An exchange of offer and answer is done. Restarted by either side, ICE has its time to find a pair.
    pub(super) fn exchanged(&mut self) {
        self.update_tracks();
        let generation = self.jsep.generation();
        if self.recovery.generation.as_deref() != generation {
            self.recovery.generation = generation.map(str::to_owned);
            if self.recovery.at.is_some() {
                self.recovery.wait(PATIENCE);
            }
        }
    }
}
