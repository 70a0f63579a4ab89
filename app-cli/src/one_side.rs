//! One side of a call whose other side is elsewhere: `probe`, `offer` and `answer` are made of it.

mod media;
mod pattern;
mod report;

pub(crate) use media::{SideMedia, Sources};
pub(crate) use report::{Judged, SideReport};

use crate::{
    backends,
    out::{BOLD, RED, note, paint},
    steps,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use visavis_core::{
    Backend, CallFailure, Codec, ConnectionState, DataChannel, Mark, MediaKind, PeerConfig, PeerConnection,
    RealNet, SessionDescription,
};
use visavis_media::codec;

/// The step that fails when descriptions cannot be exchanged.
pub(crate) const SIGNALING: &str = "signaling";

/// The step that failed, and why.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) step: &'static str,
    pub(crate) reason: String,
}

impl Failed {
    /// At a step that is no mark.
    pub(crate) fn at(step: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { step, reason }
    }

    /// For `map_err`.
    pub(crate) fn of<E: ToString>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::at(step, error.to_string())
    }

    /// Says it on standard error.
    pub(crate) fn complain(&self) {
        let step = CallFailure::STEPS
            .into_iter()
            .find(|mark| mark.name() == self.step);
        let step = step.map_or(self.step.replace('_', " "), |mark| steps::label(mark).to_owned());
        note(format!("{} {step}: {}", paint(RED, "error:"), self.reason));
        note(format!("  {} {}", paint(BOLD, "try:"), advice(self.step)));
    }
}

/// What to try when this side failed at this step.
fn advice(step: &str) -> &'static str {
    match step {
        SIGNALING => {
            "the other side must take and give descriptions as JSON, {\"type\":\"offer\",\"sdp\":…}. Is the address \
             right, and is it running?"
        }
        "ice_connected" => {
            "no pair of addresses let UDP through both ways. Each side must bind an address that the other one can reach: \
             --bind 0.0.0.0 on both when they are on two machines. A firewall may block UDP; `-vv` shows the checks."
        }
        "dtls_connected" => {
            "there is a path, but no keys: the certificate did not have the fingerprint in the description, or large \
             packets are lost on the path. `-vv` shows the handshake."
        }
        "data_echo" | "data_echo_60k" | "throughput" => {
            "the other side must send every message back on its channel, text as text. `-v` shows more."
        }
        _ => steps::advice(step),
    }
}

/// The stack of that name, or the default.
pub(crate) fn backend(name: Option<&str>) -> io::Result<Arc<dyn Backend>> {
    let name = name.unwrap_or(backends::default_name());
    backends::find(name).ok_or_else(|| io::Error::other(format!("there is no stack {name}")))
}

/// A peer of this side.
pub(crate) async fn peer(
    backend: &dyn Backend,
    name: &str,
    bind: Vec<SocketAddr>,
    patience: Duration,
) -> Result<PeerConnection, Failed> {
    let default = PeerConfig::default();
    let config = PeerConfig {
        bind,
        // Whoever waits for the connection knows better when to give up.
        connect_timeout: default.connect_timeout.max(patience),
        name: name.to_owned(),
        ..default
    };
    PeerConnection::new(backend, config, RealNet::shared())
        .await
        .map_err(Failed::of(Mark::PeerCreated.name()))
}

/// The video codecs that this build can decode, and encode where it `sends`.
pub(crate) fn video_codecs(sends: bool) -> Vec<Codec> {
    let usable = codec::available().into_iter().filter(|a| {
        a.codec.kind() == MediaKind::Video && a.decoder.is_some() && (a.encoder.is_some() || !sends)
    });
    usable.map(|a| a.codec).collect()
}

/// Sets the local description that the state asks for, and waits until all candidates are in it.
pub(crate) async fn full_description(
    peer: &PeerConnection,
    patience: Duration,
) -> Result<SessionDescription, Failed> {
    let step = Mark::LocalDescriptionSet.name();
    let described = peer.set_local_description(None).await.map_err(Failed::of(step))?;
    match tokio::time::timeout(patience, peer.gathered()).await {
        Ok(gathered) => gathered.map_err(Failed::of(Mark::GatheringComplete.name()))?,
        Err(_) => return Err(Failed::at(Mark::GatheringComplete.name(), "it takes too long")),
    }
    Ok(peer.local_description().unwrap_or(described))
}

/// Waits until there is a connection, and the channel is open where there is one.
pub(crate) async fn connected(
    peer: &PeerConnection,
    channel: Option<&DataChannel>,
    deadline: Instant,
) -> Result<(), Failed> {
    let began = Instant::now();
    let opened = async {
        peer.wait_for(ConnectionState::Connected).await?;
        match channel {
            Some(channel) => tokio::select! {
                opened = channel.opened() => opened,
                over = peer.wait_for(ConnectionState::Closed) => over,
            },
            None => Ok(()),
        }
    };
    let reason = match timeout_at(deadline, opened).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => peer.failure().unwrap_or_else(|| error.to_string()),
        Err(_) => format!("not within {:.1} s", began.elapsed().as_secs_f64()),
    };
    let last = if channel.is_some() {
        Mark::ChannelOpen
    } else {
        Mark::DtlsConnected
    };
    let steps = [Mark::IceConnected, Mark::DtlsConnected, Mark::SctpUp];
    let missing = steps
        .into_iter()
        .find(|mark| peer.timeline().get(*mark).is_none());
    let step = missing.map_or(last, |mark| mark.min(last));
    Err(Failed::at(step.name(), reason))
}
