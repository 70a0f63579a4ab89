//! A call that is up: its media, its texts, its figures.

use super::{
    control::Done,
    figures::{Counts, Figures},
    timeline::{SIDES, other},
};
use crate::numbers::millis;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};
use visavis_core::{Call, ConnectionState, DataChannel, Mark, Result, SelectedPair, Side, StatsReport};
use visavis_media::session::{CallMedia, LiveFigures};

/// Rates are over as many looks as this: a second.
const WINDOW: usize = 5;

/// Stats are a matter of microseconds; a peer that takes longer has none.
const STATS_PATIENCE: Duration = Duration::from_millis(100);

/// When the texts without an echo were sent.
type UnderWay = Arc<Mutex<VecDeque<Instant>>>;

/// A call that is up.
pub(super) struct InCall {
    pub(super) call: Arc<Call>,
    /// Its media, once it has begun.
    pub(super) media: Option<CallMedia>,
    /// Whether its media has ended by itself, which is told once.
    pub(super) is_over: bool,
    /// The pair that each side selected.
    pub(super) pairs: [Option<SelectedPair>; 2],
    figures: Figures,
    seen: [VecDeque<(Instant, Counts)>; 2],
    under_way: UnderWay,
    tasks: JoinSet<()>,
}

impl InCall {
    /// Listens to both ends of the data channel, and for the end of either peer.
    pub(super) fn begin(call: &Arc<Call>, done: &mpsc::UnboundedSender<Done>) -> Self {
        let under_way = UnderWay::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(echo(call.answerer.channel.clone()));
        tasks.spawn(hear(
            call.offerer.channel.clone(),
            Arc::clone(&under_way),
            done.clone(),
        ));
        for side in SIDES {
            let (call, done) = (Arc::clone(call), done.clone());
            tasks.spawn(async move {
                let reason = match call.side(side).peer.wait_for(ConnectionState::Closed).await {
                    Ok(()) => format!("the {side} was closed"),
                    Err(error) => format!("the {side}: {error}"),
                };
                let _ = done.send(Done::Broken(Arc::clone(&call), reason));
            });
        }
        Self {
            call: Arc::clone(call),
            media: None,
            is_over: false,
            pairs: [None; 2],
            figures: Figures::default(),
            seen: Default::default(),
            under_way,
            tasks,
        }
    }

    /// Sends a text; its echo comes as [`Done::Echoed`].
    pub(super) async fn say(&mut self, text: &str) -> Result<()> {
        lock(&self.under_way).push_back(Instant::now());
        let sent = self.call.offerer.channel.send(text.to_owned()).await;
        if sent.is_err() {
            lock(&self.under_way).pop_back();
        }
        sent
    }

    /// Listens no longer.
    pub(super) fn end(mut self) {
        self.tasks.abort_all();
    }

    /// The figures of now, with their past.
    pub(super) async fn figures(&mut self) -> Figures {
        let call = Arc::clone(&self.call);
        let peers = [&call.offerer.peer, &call.answerer.peer];
        let stats = async { tokio::join!(peers[0].stats(), peers[1].stats()) };
        let stats = timeout(STATS_PATIENCE, stats).await.ok();
        let stats = stats.map_or([None, None], |(a, b)| [a.ok(), b.ok()]);
        self.pairs = stats.each_ref().map(|s| s.as_ref()?.transport.selected_pair);
        for side in SIDES {
            let peer = peers[side as usize];
            let states = &mut self.figures.sides[side as usize];
            states.signaling = peer.signaling_state().to_string();
            states.ice = peer.ice_state().to_string();
            let secured = peer.timeline().get(Mark::DtlsConnected).is_some();
            states.dtls = if secured { "connected" } else { "connecting" };
            let pair = self.pairs[side as usize];
            states.pair = pair.map(|pair| format!("{} to {}", pair.local, pair.remote));
            if let Some(live) = self.media.as_ref().and_then(|media| media.live(side)) {
                self.look_at(side, live, &stats);
            }
        }
        self.figures
            .rtt_ms
            .push(stats[0].as_ref().and_then(round_trip).map(millis));
        self.figures.clone()
    }

    fn look_at(&mut self, side: Side, live: LiveFigures, stats: &[Option<StatsReport>; 2]) {
        let rtp = |side: Side| stats[side as usize].iter().flat_map(|s| &s.tracks).map(|t| t.rtp);
        let counts = Counts {
            captured: live.captured,
            decoded: live.decoded,
            bytes: live.bytes_sent + live.audio_bytes_sent,
            sound: live.packets_received,
            lost: rtp(other(side)).filter_map(|rtp| rtp.packets_lost).sum(),
            sent_again: rtp(side).filter_map(|rtp| rtp.retransmitted_packets_sent).sum(),
        };
        let now = Instant::now();
        let seen = &mut self.seen[side as usize];
        let way = self.figures.ways[side as usize].get_or_insert_default();
        if let Some((then, before)) = seen.front() {
            let seconds = (now - *then).as_secs_f64();
            let rate = |of: fn(&Counts) -> u64| Some(of(&counts).saturating_sub(of(before)) as f64 / seconds);
            way.fps.push(rate(|c| c.decoded));
            way.kbps.push(rate(|c| c.bytes).map(|bytes| bytes / 125.0));
            way.lost.push(rate(|c| c.lost));
            way.sent_again.push(rate(|c| c.sent_again));
        }
        if seen.len() == WINDOW {
            seen.pop_front();
        }
        seen.push_back((now, counts));
        way.age_ms.push(live.capture_to_decode.map(millis));
        way.counts = counts;
        if let Some(monitor) = self.media.as_ref().and_then(|media| media.monitor(side)) {
            way.levels = [monitor.captured_level(), monitor.heard_level()];
        }
    }
}

/// The newest round trip: RTCP's, which comes more often, or that of the connectivity checks.
fn round_trip(stats: &StatsReport) -> Option<Duration> {
    let rtcp = stats.tracks.iter().find_map(|t| t.rtp.rtt);
    rtcp.or(stats.transport.selected_pair?.rtt)
}

/// Says back what the other side says.
async fn echo(channel: DataChannel) {
    while let Some(message) = channel.recv().await {
        if channel.send(message).await.is_err() {
            return;
        }
    }
}

/// Times what comes back.
async fn hear(channel: DataChannel, under_way: UnderWay, done: mpsc::UnboundedSender<Done>) {
    while channel.recv().await.is_some() {
        // The channel is ordered, so echoes come in the order of what was sent.
        let sent = lock(&under_way).pop_front();
        if let Some(sent) = sent {
            let _ = done.send(Done::Echoed(sent.elapsed()));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
