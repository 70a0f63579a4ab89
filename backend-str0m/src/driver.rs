//! The task that owns a peer's `Rtc`, sockets and timers.

use crate::{
    channels::{Channels, MAX_IN_SCTP},
    convert,
    driven::{Driven, Occurrence},
    dtls, error,
    gate::Gate,
    ice::{self, FirstCheck, Liveness},
    media::Tracks,
    negotiate::{Announce, Applied, Negotiation},
    sockets::{Buffers, Sockets},
};
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use str0m::{
    Event, Input, Reason,
    bwe::BweKind,
    error::DtlsError,
    net::{Protocol, Receive},
    stats::PeerStats,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use visavis_core::{
    Candidate, CandidateType, ChannelPort, DtlsState, EngineEvent, EngineStats, EventSink, Flow, MLine, Mark,
    Result, Sdp, SelectedPair,
};

/// So many datagrams wait when the peer has said goodbye and an application is behind with reading.
const MAX_HELD: usize = 64;

/// str0m may ask for time to pass at once, again and again; after this many in a row the task sleeps a little.
const IMMEDIATE_TIMEOUTS: usize = 4;

/// How much may be under way within a machine, in bytes, and elsewhere for each millisecond there and back, which is more than
/// 1 Gbit/s.
const LOCAL_WINDOW: usize = 16 * 1024;
const FAR_WINDOW: usize = 128 * 1024;

/// A path within a machine has a shorter round trip than this, unless something delays it on purpose.
const LOCAL: Duration = Duration::from_millis(5);

/// A peer that carried nothing for this long is idle, and measured only when it checks its path.
const IDLE: Duration = Duration::from_secs(1);

/// How long the goodbye may take to leave.
const GOODBYE: Duration = Duration::from_millis(50);

/// Further than any timer; Tokio's have a limit and str0m's "never" is 100 years.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// What an engine asks of its driver.
#[derive(Debug)]
pub(crate) enum Command {
    MakeOffer(Vec<MLine>, bool, Reply<Sdp>),
    Commit(Reply<()>),
    DiscardOffer(Reply<()>),
    ApplyAnswer(Box<Sdp>, Reply<()>),
    Answer(Box<Sdp>, Vec<MLine>, Reply<Sdp>),
    AddCandidate(Candidate, Reply<()>),
    OpenChannel(ChannelPort),
    Stats(Reply<EngineStats>),
    Close,
}

/// A peer's driver.
#[derive(Debug)]
pub(crate) struct Driver {
    driven: Driven,
    gate: Arc<Gate>,
    sockets: Sockets,
    locals: Vec<str0m::Candidate>,
    negotiation: Negotiation,
    channels: Channels,
    tracks: Tracks,
    liveness: Liveness,
    first_check: FirstCheck,
    /// The peer's goodbye, until all that it sent before has been read.
    held: VecDeque<Held>,
    dtls: DtlsState,
    stats: Option<PeerStats>,
    selected: Option<(SocketAddr, SocketAddr)>,
    remote_types: HashMap<SocketAddr, CandidateType>,
    last_timeout: Option<Instant>,
    /// How long an idle peer sleeps.
    rest: Duration,
    /// When something other than STUN last came or went, or was asked for.
    active: Instant,
    /// The last read had packets of media.
    had_media: bool,
    events: EventSink,
    commands: mpsc::UnboundedReceiver<Command>,
}

#[derive(Debug)]
struct Held {
    source: SocketAddr,
    destination: SocketAddr,
    datagram: Box<[u8]>,
}

impl Driver {
    pub(crate) fn new(
        driven: Driven,
        gate: Arc<Gate>,
        sockets: Sockets,
        tracks: Tracks,
        disconnected_after: Duration,
        events: EventSink,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let mut driver = Self {
            driven,
            gate,
            sockets,
            locals: Vec::new(),
            negotiation: Negotiation::default(),
            channels: Channels::default(),
            tracks,
            liveness: Liveness::new(disconnected_after, Instant::now()),
            first_check: FirstCheck::default(),
            held: VecDeque::new(),
            dtls: DtlsState::New,
            stats: None,
            selected: None,
            remote_types: HashMap::new(),
            last_timeout: None,
            rest: ice::rest(disconnected_after),
            active: Instant::now(),
            had_media: false,
            events,
            commands,
        };
        let addresses: Vec<_> = driver.sockets.addresses().collect();
        driver.add_locals(addresses);
        driver
    }

    /// Runs until the engine is closed or gone.
    pub(crate) async fn run(mut self) {
        let mut buffers = Buffers::new();
        loop {
            let more = self.settle();
            self.tracks.leaving(self.driven.transmits());
            self.sockets.flush(self.driven.transmits()).await;
            if std::mem::take(&mut self.had_media) || more {
                // The reader may share this thread, and what comes meanwhile is handled at once.
                tokio::task::yield_now().await;
            }
            let deadline = self.deadline();
            let command = tokio::select! {
                biased;
                command = self.commands.recv() => Some(command),
                destination = self.sockets.recv(&mut buffers) => {
                    self.receive(destination, &buffers);
                    None
                }
                () = self.events.woken() => None,
                () = std::future::ready(()), if more => None,
                () = sleep_until(deadline) => {
                    self.time_passed();
                    None
                }
            };
            match command {
                None => {}
                Some(Some(Command::Close) | None) => break,
                Some(Some(command)) => self.handle(command),
            }
            // Sockets in memory take nothing from the task's budget.
            tokio::task::consume_budget().await;
        }
        self.say_goodbye().await;
    }

    fn handle(&mut self, command: Command) {
        self.active = Instant::now();
        // The peer may have gone before it reads the reply.
        match command {
            Command::MakeOffer(want, ice_restart, reply) => {
                let made = self.alive("create_offer").and_then(|()| {
                    self.negotiation
                        .make_offer(&mut self.driven, &mut self.channels, &want, ice_restart)
                });
                let _ = reply.send(made);
            }
            Command::Commit(reply) => {
                self.announce();
                let _ = reply.send(Ok(()));
            }
            Command::DiscardOffer(reply) => {
                self.negotiation.discard_offer(&mut self.driven);
                let _ = reply.send(Ok(()));
            }
            Command::ApplyAnswer(answer, reply) => {
                let applied = self.alive("apply_answer").and_then(|()| {
                    self.negotiation
                        .apply_answer(&mut self.driven, &mut self.channels, &answer)
                });
                let _ = reply.send(applied.map(|Applied { ice_starts, tracks }| {
                    self.tracks.assign(&mut self.driven, tracks);
                    if ice_starts {
                        self.start_checks();
                    }
                }));
                self.died("apply_answer");
            }
            Command::Answer(offer, want, reply) => {
                let answered = self.alive("create_answer").and_then(|()| {
                    self.negotiation
                        .answer(&mut self.driven, &mut self.channels, &offer, &want)
                });
                let _ = reply.send(answered.map(|(sdp, Applied { ice_starts, tracks })| {
                    self.tracks.assign(&mut self.driven, tracks);
                    if ice_starts {
                        self.remote_types.clear();
                        self.first_check.wait(Instant::now());
                    }
                    sdp
                }));
                self.died("create_answer");
            }
            Command::AddCandidate(candidate, reply) => {
                let _ = reply.send(self.add_remote(&candidate));
            }
            Command::OpenChannel(port) => self.channels.open(&mut self.driven, port),
            Command::Stats(reply) => {
                let _ = reply.send(Ok(self.engine_stats()));
            }
            Command::Close => {}
        }
    }

    /// Refuses what an `Rtc` that is gone would ignore.
    fn alive(&self, operation: &'static str) -> Result<()> {
        if self.driven.peek().is_alive() {
            return Ok(());
        }
        Err(visavis_core::Error::new(
            visavis_core::ErrorKind::Closed,
            operation,
            "the connection has ended; start a new call",
        ))
    }

    /// A description that str0m cannot survive.
    fn died(&mut self, operation: &'static str) {
        if !self.driven.peek().is_alive() && self.dtls != DtlsState::Closed && self.dtls != DtlsState::Failed
        {
            self.dtls = DtlsState::Failed;
            self.events.push(EngineEvent::Failed(visavis_core::Error::new(
                visavis_core::ErrorKind::Transport,
                operation,
                "str0m gave the connection up; start a new call",
            )));
            self.channels.close_all();
        }
    }

    /// The last description is in force: the peer gets to know our candidates.
    fn announce(&mut self) {
        match self.negotiation.take_announce() {
            Announce::Nothing => return,
            Announce::First => {}
            Announce::Again => {
                let rebound = self.sockets.rebind();
                self.locals.retain(|candidate| {
                    let gone = rebound.removed.contains(&candidate.addr());
                    if gone {
                        self.driven
                            .with(|rtc| rtc.direct_api().invalidate_candidate(candidate));
                    }
                    !gone
                });
                self.add_locals(rebound.added);
            }
        }
        for candidate in &self.locals {
            self.events
                .push(EngineEvent::Candidate(convert::local_candidate(candidate)));
        }
        self.events.push(EngineEvent::GatheringComplete);
    }

    fn add_locals(&mut self, addresses: Vec<SocketAddr>) {
        for addr in addresses {
            let added = str0m::Candidate::host(addr, Protocol::Udp)
                .ok()
                .and_then(|c| self.driven.with(|rtc| rtc.add_local_candidate(c).cloned()));
            if let Some(candidate) = added {
                self.locals.push(candidate);
            } else {
                tracing::warn!(%addr, "str0m refuses the address");
            }
        }
    }

    fn add_remote(&mut self, candidate: &Candidate) -> Result<()> {
        let parsed = candidate.parse()?;
        if let Some(reason) = parsed.skip_reason() {
            tracing::debug!(reason, "a remote candidate is skipped");
            return Ok(());
        }
        let converted = convert::remote_candidate(&parsed)?;
        self.remote_types.insert(converted.addr(), parsed.kind);
        if let Some(candidate) = self.first_check.offer(converted) {
            self.driven.with(|rtc| rtc.add_remote_candidate(candidate));
            self.start_checks();
        }
        Ok(())
    }

    /// str0m looks at one new pair, or one check that waited for the credentials, each time that time passes, and
    /// would take 50 ms for each.
    fn start_checks(&mut self) {
        let now = Instant::now().into_std();
        for _ in 0..self.locals.len().clamp(2, 8) {
            self.driven.timeout(now);
        }
    }

    /// Lets the held back candidates go. The caller makes time pass.
    fn release(&mut self) {
        for candidate in self.first_check.release() {
            self.driven.with(|rtc| rtc.add_remote_candidate(candidate));
        }
    }

    fn time_passed(&mut self) {
        let now = Instant::now();
        if self.first_check.deadline().is_some_and(|until| until <= now) {
            self.release();
            self.start_checks();
        }
        self.driven.timeout(now.into_std());
        self.last_timeout = Some(now);
    }

    fn receive(&mut self, destination: SocketAddr, buffers: &Buffers) {
        let now = Instant::now();
        let mut datagrams = buffers.datagrams().peekable();
        while let Some((source, datagram)) = datagrams.next() {
            self.sockets.counters.packets_received += 1;
            self.sockets.counters.bytes_received += datagram.len() as u64;
            let Ok(receive) = Receive::new(Protocol::Udp, source, destination, datagram) else {
                tracing::trace!(%source, "not a datagram of WebRTC");
                continue;
            };
            let input = Input::Receive(now.into_std(), receive);
            let is_stun = datagram.first().is_some_and(|b| *b < 2);
            if self.driven.peek().accepts(&input) {
                if self.is_selected(source) {
                    self.liveness.hear(now);
                }
                // A check of the peer proves that it has our answer.
                if is_stun && datagram[..2] == [0, 1] && self.first_check.deadline().is_some() {
                    self.release();
                }
            } else if !is_stun && self.selected.is_some() {
                tracing::trace!(%source, "from nobody we know");
                continue;
            }
            if !is_stun {
                self.active = now;
            }
            let is_dtls = datagram.first().is_some_and(|b| (20..64).contains(b));
            if is_dtls {
                let behind = self.channels.is_paused() || self.gate.holds();
                if !self.held.is_empty() || (behind && dtls::has_alert(datagram)) {
                    if self.held.len() < MAX_HELD {
                        self.held.push_back(Held {
                            source,
                            destination,
                            datagram: datagram.into(),
                        });
                    }
                    continue;
                }
                self.gate.set_closed(behind);
                self.gate.set_reading(datagrams.peek().is_some());
            }
            self.had_media |= self.tracks.arrived(datagram, now);
            self.driven.input(input);
            self.handle_events();
        }
        if self.gate.set_reading(false) {
            self.driven.timeout(now.into_std());
        }
    }

    /// Whether what we send goes there. A peer whose NAT has given it another address is heard from that one, and gets
    /// nothing of ours.
    fn is_selected(&self, source: SocketAddr) -> bool {
        let pair = self
            .stats
            .as_ref()
            .and_then(|s| s.selected_candidate_pair.as_ref());
        let remotes = [
            self.selected.map(|(_, remote)| remote),
            pair.map(|pair| pair.remote.addr),
        ];
        let mut remotes = remotes.into_iter().flatten().peekable();
        remotes.peek().is_none() || remotes.any(|remote| remote == source)
    }

    /// Does all that follows from what happened, until there is nothing left but to send and to wait. Returns whether
    /// there may be more to send after that.
    fn settle(&mut self) -> bool {
        for _ in 0..IMMEDIATE_TIMEOUTS {
            let now = Instant::now();
            if self.driven.wake() > now.into_std() {
                break;
            }
            self.driven.timeout(now.into_std());
            self.last_timeout = Some(now);
        }
        self.handle_events();
        self.tracks.give_up(&mut self.driven);
        self.handle_events();
        while !self.channels.is_paused() && self.gate.release() {
            self.driven.timeout(Instant::now().into_std());
            self.handle_events();
        }
        while !self.channels.is_paused()
            && let Some(held) = self.held.pop_front()
        {
            let receive = Receive::new(Protocol::Udp, held.source, held.destination, &held.datagram);
            if let Ok(receive) = receive {
                self.gate.set_closed(false);
                self.driven
                    .input(Input::Receive(Instant::now().into_std(), receive));
                self.handle_events();
            }
        }
        let window = self.window();
        self.gate.set_window(window);
        self.channels.pump(&mut self.driven, window);
        let more = self.tracks.pump(&mut self.driven);
        self.handle_events();
        let selected = self
            .driven
            .transmits()
            .iter()
            .rev()
            .find(|t| t.contents.first().is_some_and(|b| *b >= 20));
        if let Some(transmit) = selected {
            // Only what goes over the nominated pair is not STUN.
            self.selected = Some((transmit.source, transmit.destination));
            self.active = Instant::now();
        }
        self.report_ice();
        more
    }

    fn report_ice(&mut self) {
        let Some(state) = self
            .liveness
            .report(self.negotiation.is_negotiated(), Instant::now())
        else {
            return;
        };
        let connected = matches!(
            state,
            visavis_core::IceState::Connected | visavis_core::IceState::Completed
        );
        if connected {
            self.events.mark(Mark::IceConnected);
        }
        self.events.push(EngineEvent::Ice(state));
        if connected && self.dtls == DtlsState::New {
            self.set_dtls(DtlsState::Connecting);
        }
    }

    fn handle_events(&mut self) {
        while let Some(occurrence) = self.driven.next() {
            let event = match occurrence {
                Occurrence::Event(event) => event,
                Occurrence::Spoilt(mid) => {
                    self.tracks.spoilt(mid);
                    continue;
                }
            };
            match event {
                Event::IceConnectionStateChange(state) => {
                    self.liveness
                        .set_native(convert::ice_state(state), Instant::now());
                    self.report_ice();
                }
                Event::Connected => {
                    self.events.mark(Mark::DtlsConnected);
                    self.set_dtls(DtlsState::Connected);
                }
                Event::Closed => {
                    self.set_dtls(DtlsState::Closed);
                    self.channels.close_all();
                }
                Event::ChannelOpen(id, _) => self.channels.opened(&mut self.driven, id, &self.events),
                Event::ChannelData(data) => match self.channels.deliver(data) {
                    // The datagrams behind this one are held back; what this one held is delivered.
                    Flow::Continue | Flow::Pause => {}
                },
                Event::ChannelClose(id) => self.channels.closed(id),
                Event::MediaData(data) => self.tracks.deliver(data),
                Event::KeyframeRequest(request) => self.tracks.keyframe_requested(request.mid),
                Event::MediaEgressStats(stats) => self.tracks.sent(stats),
                Event::MediaIngressStats(stats) => self.tracks.received(stats),
                Event::EgressBitrateEstimate(BweKind::Remb { estimate, .. }) => {
                    self.tracks.limited(estimate.as_u64());
                }
                Event::PeerStats(stats) => {
                    self.tracks.measured(&stats);
                    self.stats = Some(stats);
                    self.tracks.refresh(&mut self.driven);
                }
                _ => {}
            }
        }
        if let Some(e) = self.driven.take_error() {
            if matches!(
                e,
                str0m::RtcError::Dtls(DtlsError::CryptoError(_)) | str0m::RtcError::RemoteSdp(_)
            ) {
                self.set_dtls(DtlsState::Failed);
            }
            self.events
                .push(EngineEvent::Failed(error::convert("transport", e)));
            self.channels.close_all();
        }
    }

    fn set_dtls(&mut self, state: DtlsState) {
        if std::mem::replace(&mut self.dtls, state) != state {
            self.events.push(EngineEvent::Dtls(state));
        }
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let mut wake = Instant::from_std(self.driven.wake().min(now.into_std() + NEVER));
        if self.is_idle(now) && self.driven.peek().last_timeout_reason() == Reason::Stats {
            // Nothing but checks of the path can be due behind it, and those are due with the rest.
            wake = wake.max(self.liveness.heard() + self.rest);
        }
        // Tokio's clock has grains of 1 ms; a wish for "now" that time does not fulfil must not spin.
        let wake = match self.last_timeout {
            Some(last) if wake <= last => last + Duration::from_millis(1),
            _ => wake,
        };
        let deadlines = [
            self.first_check.deadline(),
            self.liveness.deadline(),
            self.tracks.deadline(),
        ];
        deadlines.into_iter().flatten().fold(wake, Instant::min)
    }

    /// Whether there is a connection, and it carries nothing but ICE's checks.
    fn is_idle(&self, now: Instant) -> bool {
        self.dtls == DtlsState::Connected && self.liveness.is_connected() && now - self.active >= IDLE
    }

    /// How much of a data channel's may be under way, if that is bounded: SCTP's cost for each packet grows with it.
    fn window(&self) -> Option<usize> {
        let (local, remote) = self.selected?;
        let is_local = local.ip() == remote.ip() || remote.ip().is_loopback();
        let round_trip = self.rtt().unwrap_or_default();
        // What ICE measured within a machine is how busy the two programs were.
        let window = if is_local && round_trip < LOCAL {
            LOCAL_WINDOW
        } else {
            let ms = (round_trip.as_secs_f64() * 1e3).max(1.0);
            (ms * FAR_WINDOW as f64) as usize
        };
        (window < MAX_IN_SCTP).then_some(window)
    }

    fn rtt(&self) -> Option<Duration> {
        self.stats
            .as_ref()?
            .selected_candidate_pair
            .as_ref()?
            .current_round_trip_time
    }

    fn engine_stats(&self) -> EngineStats {
        let counters = self.sockets.counters;
        EngineStats {
            selected_pair: self.selected.map(|(local, remote)| SelectedPair {
                local,
                remote,
                local_type: Some(CandidateType::Host),
                remote_type: self.remote_types.get(&remote).copied(),
                rtt: self.rtt(),
            }),
            packets_sent: counters.packets_sent,
            bytes_sent: counters.bytes_sent,
            packets_received: counters.packets_received,
            bytes_received: counters.bytes_received,
            retransmissions: None,
            age: self
                .stats
                .as_ref()
                .map(|s| Instant::now().into_std().saturating_duration_since(s.timestamp)),
            available_outgoing_bitrate: self.tracks.available_bitrate(),
            rtp: self.tracks.stats(),
        }
    }

    /// Tells the peer, if there is a way to; the sockets close with `self`.
    async fn say_goodbye(&mut self) {
        let closed = self.driven.with(str0m::Rtc::close);
        if let Err(e) = closed {
            // str0m cannot shut SCTP down while it comes up; DTLS is then not up for long either.
            tracing::debug!(error = %e, "no goodbye");
        }
        let flushed = timeout(GOODBYE, self.sockets.flush(self.driven.transmits())).await;
        if flushed.is_err() {
            tracing::debug!("the goodbye did not leave in time");
        }
        self.channels.close_all();
    }
}
