//! `GET /stats`: who calls, and what was counted.

use super::{
    Echo,
    caller::{Caller, Counts},
};
use crate::numbers::millis;
use serde::Serialize;
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{task::JoinSet, time::timeout};
use visavis_core::{
    CandidateType, ChannelStats, Codec, ConnectionState, IceState, Mark, StatsReport, TrackStats,
};

/// Stats are a matter of microseconds; a peer that takes longer than this has none.
const PATIENCE: Duration = Duration::from_secs(1);

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    backend: &'static str,
    uptime_ms: f64,
    max_callers: usize,
    callers: Vec<CallerStats>,
    totals: TotalStats,
}

/// What was counted since the start, present callers included.
#[derive(Debug, Serialize)]
struct TotalStats {
    callers: usize,
    offers: u64,
    refused: u64,
    answered: u64,
    renegotiated: u64,
    connected: u64,
    ended: u64,
    frames_echoed: u64,
    frames_dropped: u64,
    messages_echoed: u64,
    bytes_echoed: u64,
}

/// One caller.
#[derive(Debug, Serialize)]
struct CallerStats {
    id: u64,
    state: ConnectionState,
    ice: IceState,
    /// How long ago the offer came.
    since_ms: f64,
    /// How long after the offer ICE and DTLS were up.
    connected_ms: Option<f64>,
    codecs: Vec<Codec>,
    frames_echoed: u64,
    frames_dropped: u64,
    messages_echoed: u64,
    bytes_echoed: u64,
    selected_pair: Option<Pair>,
    tracks: Vec<TrackStats>,
    channels: Vec<Channel>,
}

#[derive(Debug, Serialize)]
struct Pair {
    local: SocketAddr,
    remote: SocketAddr,
    local_type: Option<CandidateType>,
    remote_type: Option<CandidateType>,
    rtt_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Channel {
    label: String,
    #[serde(flatten)]
    counts: ChannelStats,
}

/// Asks every caller's peer, all at once.
pub(super) async fn collect(echo: &Echo) -> Stats {
    let mut asked = JoinSet::new();
    for caller in echo.callers.present() {
        asked.spawn(async move {
            let report = timeout(PATIENCE, caller.peer.stats()).await;
            one(&caller, report.ok().and_then(Result::ok))
        });
    }
    let mut callers: Vec<_> = asked.join_all().await;
    callers.sort_unstable_by_key(|caller| caller.id);
    let totals = totals(echo, &callers);
    Stats {
        backend: echo.backend.name(),
        uptime_ms: millis(echo.began.elapsed()),
        max_callers: echo.callers.max(),
        callers,
        totals,
    }
}

fn totals(echo: &Echo, present: &[CallerStats]) -> TotalStats {
    let totals = &echo.callers.totals;
    let get = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let sum = |of: fn(&CallerStats) -> u64| present.iter().map(of).sum::<u64>();
    TotalStats {
        callers: present.len(),
        offers: get(&totals.offers),
        refused: get(&totals.refused),
        answered: get(&totals.answered),
        renegotiated: get(&totals.renegotiated),
        connected: get(&totals.connected),
        ended: get(&totals.ended),
        frames_echoed: get(&totals.frames_echoed) + sum(|caller| caller.frames_echoed),
        frames_dropped: get(&totals.frames_dropped) + sum(|caller| caller.frames_dropped),
        messages_echoed: get(&totals.messages_echoed) + sum(|caller| caller.messages_echoed),
        bytes_echoed: get(&totals.bytes_echoed) + sum(|caller| caller.bytes_echoed),
    }
}

fn one(caller: &Arc<Caller>, report: Option<StatsReport>) -> CallerStats {
    let Counts {
        frames_echoed,
        frames_dropped,
        messages_echoed,
        bytes_echoed,
    } = &*caller.counts;
    let connected = caller.peer.timeline().get(Mark::DtlsConnected);
    let pair = report.as_ref().and_then(|report| report.transport.selected_pair);
    let (tracks, channels) = report.map_or_else(Default::default, |report| (report.tracks, report.channels));
    let channel = |(label, counts)| Channel { label, counts };
    CallerStats {
        id: caller.id,
        state: caller.peer.connection_state(),
        ice: caller.peer.ice_state(),
        since_ms: millis(caller.began.elapsed()),
        connected_ms: connected.map(|at| millis(at.duration_since(caller.began))),
        codecs: tracks.iter().filter_map(|track| track.codec).collect(),
        frames_echoed: frames_echoed.load(Ordering::Relaxed),
        frames_dropped: frames_dropped.load(Ordering::Relaxed),
        messages_echoed: messages_echoed.load(Ordering::Relaxed),
        bytes_echoed: bytes_echoed.load(Ordering::Relaxed),
        selected_pair: pair.map(|pair| Pair {
            local: pair.local,
            remote: pair.remote,
            local_type: pair.local_type,
            remote_type: pair.remote_type,
            rtt_ms: pair.rtt.map(millis),
        }),
        tracks,
        channels: channels.into_iter().map(channel).collect(),
    }
}
