//! The task that owns a peer connection's engine: one operation after another, events in order.

mod events;
mod recovery;
mod transceivers;

use super::{
    ConnectionState, GatheringState, PeerConfig, Shared, SignalingState, TransceiverState,
    jsep::{Jsep, TransceiverId},
};
use crate::{
    Candidate, ChannelInit, Codec, DataChannel, Direction, DtlsState, Engine, EngineEvent, Error, ErrorKind,
    IceState, Mark, MediaKind, Net, Result, Sdp, SdpType, SessionDescription, StatsReport, Transceiver,
    channel::{ChannelState, DataChannel as Channel},
    lock,
};
use recovery::Recovery;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

/// How many candidates of one generation a remote peer may send.
const MAX_REMOTE_CANDIDATES: usize = 64;

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// A call of the application.
#[derive(Debug)]
pub(super) enum Op {
    CreateOffer(Reply<SessionDescription>),
    CreateAnswer(Reply<SessionDescription>),
    SetLocal(Option<SessionDescription>, Reply<SessionDescription>),
    SetRemote(SessionDescription, Reply<()>),
    AddCandidate(Candidate, Reply<()>),
    AddTransceiver(MediaKind, Direction, Reply<Transceiver>),
    AddTrack(MediaKind, Reply<Transceiver>),
    Transceivers(Reply<Vec<Transceiver>>),
    TransceiverState(TransceiverId, Reply<TransceiverState>),
    /// `None` stops the transceiver.
    SetDirection(TransceiverId, Option<Direction>, Reply<()>),
    SetCodecs(TransceiverId, Vec<Codec>, Reply<()>),
    CreateChannel(ChannelInit, Reply<DataChannel>),
    RestartIce(Reply<()>),
    Stats(Reply<StatsReport>),
    Close(Reply<()>),
}

#[derive(Debug)]
pub(super) struct Owner {
    engine: Box<dyn Engine>,
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<EngineEvent>,
    ops: mpsc::WeakSender<Op>,
    jsep: Jsep,
    channels: Vec<Channel>,
    negotiation_needed: bool,
    local_ufrag: Option<String>,
    /// Remote candidates that wait for their description, and how many the generation in force has had.
    waiting: Vec<Candidate>,
    remote_count: usize,
    remote_ufrag: Option<String>,
    ice: IceState,
    dtls: DtlsState,
    /// When the connection is `failed` unless something changes, and why.
    deadline: Option<(Instant, &'static str)>,
    failed_after: Duration,
    connect_timeout: Duration,
    recovery: Recovery,
}

impl Owner {
    pub(super) fn new(
        engine: Box<dyn Engine>,
        shared: Arc<Shared>,
        config: &PeerConfig,
        net: &Arc<dyn Net>,
        events: mpsc::UnboundedReceiver<EngineEvent>,
        ops: mpsc::WeakSender<Op>,
    ) -> Self {
        Self {
            engine,
            jsep: Jsep::new(Arc::clone(&shared.hub)),
            shared,
            events,
            ops,
            channels: Vec::new(),
            negotiation_needed: false,
            local_ufrag: None,
            waiting: Vec::new(),
            remote_count: 0,
            remote_ufrag: None,
            ice: IceState::New,
            dtls: DtlsState::New,
            deadline: None,
            failed_after: config.failed_after,
            connect_timeout: config.connect_timeout,
            recovery: Recovery::new(config, net),
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        loop {
            let deadline = self.deadline;
            let op = tokio::select! {
                biased;
                Some(event) = self.events.recv() => {
                    self.on_event(event);
                    continue;
                }
                op = queue.recv() => op,
                wish = self.recovery.wish() => {
                    self.recover(wish).await;
                    continue;
                }
                () = async { sleep_until(deadline.map_or_else(Instant::now, |d| d.0)).await }, if deadline.is_some() => {
                    self.fail(deadline.map_or("", |d| d.1).to_owned());
                    continue;
                }
            };
            match op {
                None => {
                    self.close().await;
                    return;
                }
                Some(Op::Close(reply)) => {
                    self.close().await;
                    let _ = reply.send(Ok(()));
                    return;
                }
                Some(op) => self.on_op(op).await,
            }
        }
    }

    async fn on_op(&mut self, op: Op) {
        match op {
            Op::CreateOffer(reply) => {
                let result = self.create_offer().await.map(|sdp| offer(&sdp));
                self.reply(reply, result);
            }
            Op::CreateAnswer(reply) => {
                let result = self.create_answer().await.map(|sdp| answer(&sdp));
                self.reply(reply, result);
            }
            Op::SetLocal(description, reply) => {
                let result = self.set_local(description).await;
                self.reply(reply, result);
            }
            Op::SetRemote(description, reply) => {
                let result = self.set_remote(&description).await;
                self.reply(reply, result);
            }
            Op::AddCandidate(candidate, reply) => {
                let result = self.add_candidate(candidate).await;
                self.reply(reply, result);
            }
            Op::AddTransceiver(kind, direction, reply) => {
                let result = self.jsep.add_transceiver(kind, direction);
                let result = result.and_then(|id| self.transceiver(id));
                self.reply(reply, result);
            }
            Op::AddTrack(kind, reply) => {
                let result = self.jsep.add_track(kind).and_then(|id| self.transceiver(id));
                self.reply(reply, result);
            }
            Op::Transceivers(reply) => {
                let ids: Vec<_> = self.jsep.transceivers.iter().map(|s| s.id).collect();
                let result = ids.into_iter().map(|id| self.transceiver(id)).collect();
                self.reply(reply, result);
            }
            Op::TransceiverState(id, reply) => {
                let result = self.transceiver_state(id);
                self.reply(reply, result);
            }
            Op::SetDirection(id, direction, reply) => {
                let result = self.set_direction(id, direction);
                self.reply(reply, result);
            }
            Op::SetCodecs(id, codecs, reply) => {
                let result = self.set_codecs(id, &codecs);
                self.reply(reply, result);
            }
            Op::CreateChannel(init, reply) => {
                let result = self.create_channel(init);
                self.reply(reply, result);
            }
            Op::RestartIce(reply) => {
                self.jsep.restart_ice();
                self.reply(reply, Ok(()));
            }
            Op::Stats(reply) => {
                let report = self.stats().await;
                drop(reply.send(Ok(report)));
            }
            Op::Close(reply) => drop(reply.send(Ok(()))),
        }
    }

    /// Answers a call. What it changed about `negotiation_needed` is known when it returns.
    fn reply<T>(&mut self, reply: Reply<T>, result: Result<T>) {
        self.update_negotiation_needed();
        // A caller that went away does not want the answer.
        let _ = reply.send(result);
    }

    async fn create_offer(&mut self) -> Result<Sdp> {
        self.jsep.require(
            "create_offer",
            &[SignalingState::Stable],
            "an offer is created in stable; finish or roll back the pending exchange",
        )?;
        let lines = self.jsep.offer_lines();
        if lines.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidState,
                "create_offer",
                "there is nothing to offer; create a data channel or add a transceiver first",
            ));
        }
        if self.jsep.created.take().is_some() {
            self.engine.discard_offer().await?;
        }
        let mut sdp = self
            .engine
            .make_offer(&lines, self.jsep.wants_ice_restart())
            .await?;
        sdp.take_candidates();
        self.jsep.narrow_codecs(&mut sdp, &lines);
        self.jsep.created = Some((SdpType::Offer, sdp.clone()));
        self.shared.hub.timeline.mark(Mark::OfferCreated);
        Ok(sdp)
    }

    async fn create_answer(&mut self) -> Result<Sdp> {
        self.jsep.require(
            "create_answer",
            &[SignalingState::HaveRemoteOffer],
            "an answer needs a remote offer; call set_remote_description with one first",
        )?;
        if let Some((_, answer)) = &self.jsep.created {
            return Ok(answer.clone());
        }
        let Some((_, offer)) = self.jsep.pending_remote.clone() else {
            return Err(Error::new(
                ErrorKind::Stack,
                "create_answer",
                "the remote offer is gone",
            ));
        };
        let lines = self.jsep.answer_lines(&offer);
        let mut narrowed = offer.clone();
        self.jsep.narrow_codecs(&mut narrowed, &lines);
        let mut sdp = self.engine.answer(&narrowed, &lines).await?;
        sdp.take_candidates();
        self.jsep.narrow_codecs(&mut sdp, &lines);
        // A stack that skips an m-line would be refused by the remote peer, and later by us.
        sdp.check_answers(&offer)?;
        self.jsep.created = Some((SdpType::Answer, sdp.clone()));
        self.shared.hub.timeline.mark(Mark::AnswerCreated);
        self.remote_applied(&offer).await;
        Ok(sdp)
    }

    async fn set_local(&mut self, description: Option<SessionDescription>) -> Result<SessionDescription> {
        const OPERATION: &str = "set_local_description";
        let kind = match &description {
            Some(description) => description.kind,
            None if self.jsep.state == SignalingState::HaveRemoteOffer => SdpType::Answer,
            None => SdpType::Offer,
        };
        match kind {
            SdpType::Rollback => {
                self.jsep.require(
                    OPERATION,
                    &[SignalingState::HaveLocalOffer],
                    "a local rollback needs a local offer to take back",
                )?;
                self.rollback_local().await?;
                return Ok(SessionDescription::rollback());
            }
            SdpType::Pranswer => return Err(pranswer(OPERATION)),
            SdpType::Offer => {
                self.jsep.require(
                    OPERATION,
                    &[SignalingState::Stable],
                    "a local offer is set in stable",
                )?;
            }
            SdpType::Answer => self.jsep.require(
                OPERATION,
                &[SignalingState::HaveRemoteOffer],
                "a local answer needs a remote offer; call set_remote_description with one first",
            )?,
        }
        match description {
            Some(description) if !description.sdp.is_empty() => self.check_unchanged(&description)?,
            // An offer that was created before may be out of date by now.
            _ if kind == SdpType::Offer => drop(self.create_offer().await?),
            _ => drop(self.create_answer().await?),
        }
        let Some((_, sdp)) = self.jsep.created.clone() else {
            return Err(Error::new(
                ErrorKind::Stack,
                OPERATION,
                "the created description is gone",
            ));
        };
        let ufrag = sdp.ice_ufrag().map(str::to_owned);
        let new_generation = ufrag != self.local_ufrag;
        if new_generation {
            self.local_ufrag = ufrag;
            lock(&self.shared.descriptions).candidates.clear();
        }
        let state = if kind == SdpType::Offer {
            self.jsep.set_local_offer(sdp.clone())?;
            self.engine.commit_offer().await?;
            SignalingState::HaveLocalOffer
        } else {
            self.engine.commit_answer().await?;
            self.jsep.set_answer(sdp.clone(), true);
            self.exchanged();
            SignalingState::Stable
        };
        self.shared.hub.timeline.mark(Mark::LocalDescriptionSet);
        self.publish_descriptions();
        self.signaling_is(state);
        if new_generation {
            self.gathering_is(GatheringState::Gathering);
        }
        Ok(if kind == SdpType::Offer {
            offer(&sdp)
        } else {
            answer(&sdp)
        })
    }

    fn check_unchanged(&self, description: &SessionDescription) -> Result<()> {
        let mut sdp: Sdp = description.sdp.parse()?;
        sdp.take_candidates();
        match &self.jsep.created {
            Some((kind, created)) if *kind == description.kind && *created == sdp => Ok(()),
            _ => Err(Error::new(
                ErrorKind::InvalidModification,
                "set_local_description",
                "this is not what create_offer or create_answer last returned; set that, unchanged",
            )),
        }
    }

    async fn rollback_local(&mut self) -> Result<()> {
        self.engine.discard_offer().await?;
        self.rolled_back();
        Ok(())
    }

    fn rolled_back(&mut self) {
        self.jsep.rollback();
        self.negotiation_needed = false;
        // An offer that restarted ICE took its credentials back with it.
        let kept = self
            .jsep
            .local()
            .and_then(|(_, sdp)| sdp.ice_ufrag())
            .map(str::to_owned);
        if kept != self.local_ufrag {
            self.local_ufrag = kept;
            lock(&self.shared.descriptions).candidates.clear();
            self.gathering_is(GatheringState::New);
        }
        self.publish_descriptions();
        self.signaling_is(SignalingState::Stable);
    }

    async fn set_remote(&mut self, description: &SessionDescription) -> Result<()> {
        const OPERATION: &str = "set_remote_description";
        match description.kind {
            SdpType::Pranswer => Err(pranswer(OPERATION)),
            SdpType::Rollback => {
                self.jsep.require(
                    OPERATION,
                    &[SignalingState::HaveRemoteOffer],
                    "a remote rollback needs a remote offer to take back",
                )?;
                if self.jsep.created.is_some() {
                    return Err(Error::new(
                        ErrorKind::NotSupported,
                        OPERATION,
                        "a remote offer cannot be rolled back after create_answer, which has applied it; finish the \
                         exchange with set_local_description",
                    ));
                }
                self.rolled_back();
                self.flush_waiting().await;
                Ok(())
            }
            SdpType::Offer => {
                self.jsep.require(
                    OPERATION,
                    &[SignalingState::Stable, SignalingState::HaveLocalOffer],
                    "a remote offer is set in stable or have-local-offer; answer the pending one first",
                )?;
                let (sdp, candidates) = parse_remote(&description.sdp)?;
                self.jsep.check_remote_offer(&sdp)?;
                self.check_transport(&sdp, SdpType::Offer)?;
                if self.jsep.state == SignalingState::HaveLocalOffer {
                    self.rollback_local().await?;
                } else if self.jsep.created.take().is_some() {
                    self.engine.discard_offer().await?;
                }
                let started = self.jsep.set_remote_offer(sdp);
                self.remote_set(SignalingState::HaveRemoteOffer, candidates);
                self.emit_tracks(&started);
                Ok(())
            }
            SdpType::Answer => {
                self.jsep.require(
                    OPERATION,
                    &[SignalingState::HaveLocalOffer],
                    "a remote answer needs a local offer; call set_local_description with one first",
                )?;
                let (sdp, candidates) = parse_remote(&description.sdp)?;
                if let Some((_, offer)) = &self.jsep.pending_local {
                    sdp.check_answers(offer)?;
                }
                self.check_transport(&sdp, SdpType::Answer)?;
                self.engine.apply_answer(&sdp).await?;
                let started = self.jsep.set_answer(sdp.clone(), false);
                self.exchanged();
                self.remote_set(SignalingState::Stable, candidates);
                self.emit_tracks(&started);
                self.remote_applied(&sdp).await;
                Ok(())
            }
        }
    }

    /// In a session the remote peer keeps its certificate, and its ICE credentials unless a description restarts ICE
    /// (RFC 8842 §5.5, RFC 8839 §4.4).
    fn check_transport(&self, sdp: &Sdp, kind: SdpType) -> Result<()> {
        let bad = |what: &str| Err(Error::invalid_input("set_remote_description", what));
        let Some((_, current)) = &self.jsep.current_remote else {
            return Ok(());
        };
        if sdp.fingerprint().is_some() && sdp.fingerprint() != current.fingerprint() {
            return bad("the fingerprint is not that of the session; another certificate needs a new call");
        }
        if kind == SdpType::Answer
            && let (Some((_, offer)), Some((_, local))) = (&self.jsep.pending_local, &self.jsep.current_local)
        {
            let restarts = offer.ice_ufrag() != local.ice_ufrag();
            let changes = sdp.ice_ufrag() != current.ice_ufrag();
            if sdp.ice_ufrag().is_some() && restarts != changes {
                return bad(
                    "the answer's ICE credentials do not fit: new ones answer a restart, and only that",
                );
            }
        }
        Ok(())
    }

    fn remote_set(&mut self, state: SignalingState, candidates: Vec<Candidate>) {
        let ufrag = self
            .jsep
            .remote()
            .and_then(|(_, sdp)| sdp.ice_ufrag())
            .map(str::to_owned);
        if ufrag != self.remote_ufrag {
            self.remote_ufrag = ufrag;
            self.remote_count = 0;
        }
        self.waiting
            .extend(candidates.into_iter().take(MAX_REMOTE_CANDIDATES));
        self.shared.hub.timeline.mark(Mark::RemoteDescriptionSet);
        self.publish_descriptions();
        self.signaling_is(state);
    }

    /// The engine has taken the remote description: it may have the candidates, and the connection starts.
    async fn remote_applied(&mut self, sdp: &Sdp) {
        if let Some(size) = sdp.max_message_size() {
            // Never more than at first: the stacks keep the limit with which SCTP started.
            self.shared
                .hub
                .max_message_size
                .fetch_min(size, Ordering::Relaxed);
        }
        if self.deadline.is_none() && self.connection() != ConnectionState::Connected {
            self.deadline = Some((
                Instant::now() + self.connect_timeout,
                "ICE found no pair that works in time",
            ));
        }
        self.flush_waiting().await;
    }

    async fn flush_waiting(&mut self) {
        for candidate in std::mem::take(&mut self.waiting) {
            if let Err(error) = self.add_candidate(candidate).await {
                tracing::debug!(%error, "a candidate that waited for its description is left out");
            }
        }
    }

    /// Whether the engine has applied the remote description in force.
    fn remote_is_applied(&self) -> bool {
        match self.jsep.state {
            SignalingState::HaveRemoteOffer => self.jsep.created.is_some(),
            _ => self.jsep.current_remote.is_some(),
        }
    }

    async fn add_candidate(&mut self, candidate: Candidate) -> Result<()> {
        const OPERATION: &str = "add_ice_candidate";
        let parsed = if candidate.is_end() {
            None
        } else {
            Some(candidate.parse()?)
        };
        if parsed.is_some() && candidate.sdp_mid.is_none() && candidate.sdp_m_line_index.is_none() {
            return Err(Error::invalid_input(
                OPERATION,
                "sdpMid and sdpMLineIndex are both missing",
            ));
        }
        if self.jsep.remote().is_none() || !self.remote_is_applied() {
            if self.waiting.len() >= MAX_REMOTE_CANDIDATES {
                return Err(too_many());
            }
            self.waiting.push(candidate);
            return Ok(());
        }
        let Some(parsed) = parsed else { return Ok(()) };
        if !self
            .jsep
            .names_remote_line(candidate.sdp_mid.as_deref(), candidate.sdp_m_line_index)
        {
            return Err(Error::invalid_input(
                OPERATION,
                "the remote description has no such m-line",
            ));
        }
        let ufrag = candidate.username_fragment.as_ref().or(parsed.ufrag.as_ref());
        if ufrag.is_some() && ufrag != self.remote_ufrag.as_ref() {
            return Err(Error::invalid_input(
                OPERATION,
                "it belongs to another ICE generation (its ufrag)",
            ));
        }
        if let Some(reason) = parsed.skip_reason() {
            tracing::debug!(candidate = %candidate.candidate, reason, "candidate skipped");
            return Ok(());
        }
        if self.remote_count >= MAX_REMOTE_CANDIDATES {
            return Err(too_many());
        }
        self.remote_count += 1;
        self.engine.add_candidate(&candidate).await
    }

    fn create_channel(&mut self, init: ChannelInit) -> Result<DataChannel> {
        init.check()?;
        self.channels.retain(|c| c.state() != ChannelState::Closed);
        if let Some(id) = init.negotiated
            && self.channels.iter().any(|c| c.id() == Some(id))
        {
            return Err(Error::invalid_input(
                "create_data_channel",
                format!("stream id {id} is in use"),
            ));
        }
        let (channel, port) = Channel::new(init, false, Arc::clone(&self.shared.hub));
        self.engine.open_channel(port)?;
        self.jsep.wants_application = true;
        self.channels.push(channel.clone());
        Ok(channel)
    }

    async fn close(&mut self) {
        self.jsep.state = SignalingState::Closed;
        self.shared.signaling.send_replace(SignalingState::Closed);
        self.shared.ice.send_replace(IceState::Closed);
        self.shared.connection.send_replace(ConnectionState::Closed);
        self.abort_channels();
        for slot in &self.jsep.transceivers {
            slot.track.end();
        }
        self.engine.close().await;
        // Channels that the remote peer opened in the meantime.
        while let Ok(event) = self.events.try_recv() {
            if let EngineEvent::Channel(channel) = event {
                channel.abort();
            }
        }
        self.shared.end_events();
    }
}

fn offer(sdp: &Sdp) -> SessionDescription {
    SessionDescription::offer(sdp.to_string())
}

fn answer(sdp: &Sdp) -> SessionDescription {
    SessionDescription::answer(sdp.to_string())
}

fn parse_remote(text: &str) -> Result<(Sdp, Vec<Candidate>)> {
    let mut sdp: Sdp = text.parse()?;
    sdp.check()?;
    let (candidates, _) = sdp.take_candidates();
    Ok((sdp, candidates))
}

fn pranswer(operation: &'static str) -> Error {
    Error::new(
        ErrorKind::NotSupported,
        operation,
        "neither stack has provisional answers; send an answer",
    )
}

fn too_many() -> Error {
    Error::new(
        ErrorKind::LimitExceeded,
        "add_ice_candidate",
        format!("a generation has at most {MAX_REMOTE_CANDIDATES} candidates"),
    )
}
