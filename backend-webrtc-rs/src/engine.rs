//! The engine: core's few calls on webrtc-rs's `PeerConnection`.

use crate::{
    convert,
    crew::Crew,
    driver::{self, Handler, Peer},
    error::{ours, theirs, unexpected},
    media::{self, Media, lines},
    pump::SEND_LIMIT,
    runtime::{Bind, BindAddresses, PeerRuntime, Tasks},
    security::Settings,
    socket::Link,
};
use async_trait::async_trait;
use rtc::peer_connection::{
    certificate::RTCCertificate,
    configuration::{RTCConfigurationBuilder, RTCOfferOptions},
};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tracing::{Instrument, Span};
use visavis_core::{
    Candidate, ChannelPort, Engine, EngineConfig, EngineEvent, EngineStats, Error, ErrorKind, EventSink,
    MLine, MediaKind, Net, Result, Sdp, SelectedPair, net::bind_addresses,
};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, RTCSdpType, RTCSessionDescription, RTCStatsReportEntry,
    StatsSelector,
};

/// One peer's half of a connection.
pub(crate) struct WebrtcEngine {
    config: EngineConfig,
    settings: Settings,
    certificate: RTCCertificate,
    net: Arc<dyn Net>,
    events: EventSink,
    span: Span,
    session: Session,
    /// Channels that the library does not know yet.
    waiting: Vec<ChannelPort>,
    /// Channels that it was told of before anything was negotiated.
    early: Vec<ChannelPort>,
    offer: Option<Pending>,
    answer: Option<Answer>,
    /// An offer and an answer have been exchanged.
    negotiated: bool,
    /// They had an application m-line.
    application: bool,
    /// The remote peer's ICE generation.
    remote_ufrag: Option<String>,
    /// The library's connection remembers an offer that was dropped.
    stale: bool,
}

/// A local offer that has no answer yet.
struct Pending {
    description: RTCSessionDescription,
    /// As the remote peer sees it.
    sdp: Sdp,
    want: Vec<MLine>,
    ice_restart: bool,
    stage: Stage,
}

/// A local answer that is not in force yet.
struct Answer {
    description: RTCSessionDescription,
    /// As the remote peer sees it.
    sdp: Sdp,
    offer: Sdp,
    want: Vec<MLine>,
    /// The offer has a new ICE generation.
    ice_starts: bool,
}

/// How far an offer has come.
#[derive(PartialEq, Eq)]
enum Stage {
    Made,
    /// Core has committed it, the library has not been told. Setting an ICE restart's description ends the live
    /// pair at once and for good, so that waits for the answer: until then the connection works, and the offer can
    /// be taken back.
    Told,
    /// It is the library's local description.
    Set,
}

/// A connection of the library, with all that runs for it.
struct Session {
    pc: Arc<dyn PeerConnection>,
    peer: Arc<Peer>,
    link: Arc<Link>,
    tasks: Arc<Tasks>,
    addresses: Arc<BindAddresses>,
    media: Media,
}

/// Ends the tasks of a session whose start is cancelled.
struct AbortOnDrop(Option<Arc<Tasks>>);

impl AbortOnDrop {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(tasks) = &self.0 {
            tasks.abort();
        }
    }
}

impl Session {
    async fn start(
        config: &EngineConfig,
        settings: &Settings,
        certificate: &RTCCertificate,
        net: &Arc<dyn Net>,
        events: &EventSink,
        span: &Span,
    ) -> Result<Self> {
        let network = |error: std::io::Error| {
            Error::new(ErrorKind::Network, "engine", "no socket could be bound").with_source(error)
        };
        let bound = bind_addresses(&**net, &config.bind).map_err(network)?;
        let (link, tasks) = (Arc::<Link>::default(), Arc::<Tasks>::default());
        let media = Media::new(settings.max_payload);
        let (codecs, registry) = media::interceptors(&media, &link)?;
        let unfinished = AbortOnDrop(Some(Arc::clone(&tasks)));
        let crew = Arc::<Crew>::default();
        let peer = Peer::new(events.clone(), Arc::clone(&link), Arc::clone(&crew));
        let addresses = Arc::new(BindAddresses::new(Arc::clone(net), config.bind.clone()));
        let runtime = Arc::new(PeerRuntime::new(
            Arc::clone(&link),
            Arc::clone(&tasks),
            crew,
            Arc::clone(&addresses),
            config,
            span.clone(),
        ));
        let driver_stopped = runtime.driver_stopped();
        let builder = PeerConnectionBuilder::new()
            .with_setting_engine(settings.apply(convert::settings(config, &bound)).build())
            .with_configuration(
                RTCConfigurationBuilder::new()
                    .with_certificates(vec![certificate.clone()])
                    .build(),
            )
            .with_media_engine(codecs)
            .with_interceptor_registry(registry)
            .with_runtime(runtime)
            .with_handler(Arc::new(Handler(Arc::clone(&peer))))
            .with_udp_addrs(vec![Bind(Arc::clone(&addresses))])
            .with_data_channel_send_buffer_limit(SEND_LIMIT);
        // Boxed, for it holds the library's whole connection.
        let pc = Box::pin(builder.build()).await.map_err(|error| {
            Error::new(ErrorKind::Network, "engine", "webrtc-rs bound no socket").with_source(error)
        })?;
        let pc: Arc<dyn PeerConnection> = Arc::new(pc);
        peer.attach(&pc);
        tasks.spawn(span, driver::watch(Arc::clone(&peer), driver_stopped));
        unfinished.finish();
        Ok(Self {
            pc,
            peer,
            link,
            tasks,
            addresses,
            media,
        })
    }

    /// An offer and an answer are in force.
    fn settle(&self, span: &Span, local: &Sdp, remote: &Sdp, want: &[MLine]) {
        self.media.settle(local, remote, want, |port| {
            let link = Arc::clone(&self.link);
            self.tasks.spawn(span, async move {
                loop {
                    port.woken().await;
                    link.nudge();
                }
            })
        });
        self.link.nudge();
    }

    async fn end(&self) {
        self.peer.mute();
        if let Err(error) = self.pc.close().await {
            tracing::debug!(%error, "closing webrtc-rs");
        }
        self.tasks.end().await;
        self.peer.forget();
    }
}

impl WebrtcEngine {
    pub(crate) async fn new(
        config: EngineConfig,
        settings: Settings,
        certificate: RTCCertificate,
        net: Arc<dyn Net>,
        events: EventSink,
    ) -> Result<Self> {
        let span = tracing::info_span!("peer", name = %config.name, stack = "webrtc-rs");
        let session = Session::start(&config, &settings, &certificate, &net, &events, &span)
            .instrument(span.clone())
            .await?;
        Ok(Self {
            config,
            settings,
            certificate,
            net,
            events,
            span,
            session,
            waiting: Vec::new(),
            early: Vec::new(),
            offer: None,
            answer: None,
            negotiated: false,
            application: false,
            remote_ufrag: None,
            stale: false,
        })
    }

    fn pc(&self) -> Arc<dyn PeerConnection> {
        Arc::clone(&self.session.pc)
    }

    /// Starts over with a new connection of the library if this one remembers a dropped offer.
    ///
    /// rtc keeps the transceivers of a dropped offer, and after a rollback its next mid may be that of its
    /// application m-line. Before anything is negotiated nothing is lost by starting over.
    async fn renew(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.stale) {
            return Ok(());
        }
        tracing::debug!("an offer was dropped before anything was negotiated: starting over");
        self.session.peer.replace();
        // First, for a configured port must be free again.
        self.session.end().await;
        self.session = Session::start(
            &self.config,
            &self.settings,
            &self.certificate,
            &self.net,
            &self.events,
            &self.span,
        )
        .await?;
        let mut channels = std::mem::take(&mut self.early);
        channels.append(&mut self.waiting);
        self.waiting = channels;
        Ok(())
    }

    async fn create_waiting_channels(&mut self) {
        for port in std::mem::take(&mut self.waiting) {
            Arc::clone(&self.session.peer)
                .create_channel(port.clone(), false)
                .await;
            if !self.negotiated {
                self.early.push(port);
            }
        }
    }

    /// The library takes an answer for good before it has read it. In a call another offer, the same but for its
    /// version, makes it wait for an answer again.
    async fn offer_again(&mut self) {
        let Some(pending) = self.offer.as_mut().filter(|_| self.negotiated) else {
            return;
        };
        let pc = &self.session.pc;
        if let Ok(description) = pc.create_offer(None).await
            && pc.set_local_description(description.clone()).await.is_ok()
        {
            pending.description = description;
        }
    }

    /// The library takes an offer before it has read it, and gives it back only when it is asked to.
    async fn take_back_remote_offer(&mut self) {
        if !self.negotiated {
            self.stale = true;
            return;
        }
        let mut rollback = RTCSessionDescription::default();
        rollback.sdp_type = RTCSdpType::Rollback;
        if let Err(error) = self.pc().set_remote_description(rollback).await {
            tracing::debug!(%error, "there was no remote offer to take back");
        }
        self.look_for_pair().await;
    }

    /// Finds out whether the pair is still there after a step that may have dropped it.
    async fn look_for_pair(&self) {
        if let Some(dtls) = driver::dtls_transport(&*self.session.pc).await
            && let Ok(Some(_)) = dtls.ice_transport().get_selected_candidate_pair().await
        {
            self.session.link.select(true);
        }
    }

    fn settle(&mut self, local: &Sdp, remote: &Sdp, want: &[MLine]) {
        self.negotiated = true;
        self.early.clear();
        self.application |= local.sections().any(|s| s.kind() == Some(MediaKind::Application));
        self.session.settle(&self.span, local, remote, want);
    }

    async fn try_answer(&mut self, offer: &Sdp, want: &[MLine]) -> Result<Sdp> {
        let text = media::for_library(&offer.to_string());
        let description = RTCSessionDescription::offer(text).map_err(theirs("answer"))?;
        let ufrag = offer.ice_ufrag().map(str::to_owned);
        let ice_starts = !self.negotiated || ufrag != self.remote_ufrag;
        if self.negotiated && ice_starts {
            // An ICE restart: the library drops the pair while it applies the offer, and tells so later.
            self.session.link.select(false);
        }
        self.pc()
            .set_remote_description(description)
            .await
            .map_err(theirs("answer"))?;
        self.session.link.describe();
        self.remote_ufrag = ufrag;
        let transceivers = lines::transceivers(&*self.session.pc, "answer").await?;
        let mut targets = Vec::new();
        for (section, line) in offer.sections().zip(want) {
            let (Some(mid), Some(kind)) = (section.mid(), convert::codec_kind(line.kind)) else {
                continue;
            };
            let direction = line.direction.intersection(section.direction().reversed());
            targets.push((lines::find(&transceivers, mid, "answer")?, kind, direction));
        }
        lines::align(&*self.session.pc, &targets, transceivers.len(), "answer").await?;
        self.create_waiting_channels().await;
        let description = self.pc().create_answer(None).await.map_err(theirs("answer"))?;
        let sdp = convert::sdp(&self.session.media.declare(&description.sdp, Some(offer)))?;
        self.answer = Some(Answer {
            description,
            sdp: sdp.clone(),
            offer: offer.clone(),
            want: want.to_vec(),
            ice_starts,
        });
        Ok(sdp)
    }
}

#[async_trait]
impl Engine for WebrtcEngine {
    async fn make_offer(&mut self, want: &[MLine], ice_restart: bool) -> Result<Sdp> {
        self.renew().await?;
        if want.iter().any(|line| line.kind == MediaKind::Application) {
            self.create_waiting_channels().await;
        }
        lines::prepare(&*self.session.pc, want).await?;
        let options = RTCOfferOptions { ice_restart };
        let description = self
            .pc()
            .create_offer(Some(options))
            .await
            .map_err(ours("make_offer"))?;
        let sdp: Sdp = convert::sdp(&self.session.media.declare(&description.sdp, None))?;
        self.offer = Some(Pending {
            description,
            sdp: sdp.clone(),
            want: want.to_vec(),
            ice_restart,
            stage: Stage::Made,
        });
        lines::check(&sdp, want)?;
        Ok(sdp)
    }

    async fn commit_offer(&mut self) -> Result<()> {
        let Some(offer) = &mut self.offer else {
            return Err(unexpected("commit_offer", "there is no offer"));
        };
        if offer.ice_restart && self.negotiated {
            offer.stage = Stage::Told;
            for address in self.session.addresses.plan() {
                if let Some(candidate) = convert::host_candidate(address) {
                    self.events.push(EngineEvent::Candidate(candidate));
                }
            }
            self.events.push(EngineEvent::GatheringComplete);
            self.session.media.set_offering(true);
            return Ok(());
        }
        let description = offer.description.clone();
        self.session
            .pc
            .set_local_description(description)
            .await
            .map_err(ours("commit_offer"))?;
        offer.stage = Stage::Set;
        self.session.media.set_offering(true);
        self.session.link.nudge();
        Ok(())
    }

    async fn discard_offer(&mut self) -> Result<()> {
        let Some(offer) = self.offer.take() else {
            return Ok(());
        };
        self.session.addresses.unplan();
        self.session.media.set_offering(false);
        if !self.negotiated {
            self.stale = true;
            return Ok(());
        }
        if offer.stage == Stage::Set {
            let mut rollback = RTCSessionDescription::default();
            rollback.sdp_type = RTCSdpType::Rollback;
            self.pc()
                .set_local_description(rollback)
                .await
                .map_err(ours("discard_offer"))?;
        }
        Ok(())
    }

    async fn apply_answer(&mut self, answer: &Sdp) -> Result<()> {
        let text = media::for_library(&answer.to_string());
        let description = RTCSessionDescription::answer(text).map_err(theirs("apply_answer"))?;
        let pc = self.pc();
        if let Some(offer) = &mut self.offer
            && offer.stage == Stage::Told
        {
            self.session.peer.gathering_told();
            self.session.link.select(false);
            pc.set_local_description(offer.description.clone())
                .await
                .map_err(ours("apply_answer"))?;
            offer.stage = Stage::Set;
        }
        if let Err(error) = pc.set_remote_description(description).await {
            self.offer_again().await;
            self.look_for_pair().await;
            return Err(theirs("apply_answer")(error));
        }
        self.session.link.describe();
        if let Some(offer) = self.offer.take() {
            self.settle(&offer.sdp, answer, &offer.want);
        }
        self.remote_ufrag = answer.ice_ufrag().map(str::to_owned);
        Ok(())
    }

    async fn answer(&mut self, offer: &Sdp, want: &[MLine]) -> Result<Sdp> {
        self.renew().await?;
        if self.answer.take().is_some() {
            self.take_back_remote_offer().await;
        }
        let answer = self.try_answer(offer, want).await;
        if answer.is_err() {
            self.take_back_remote_offer().await;
        }
        answer
    }

    async fn commit_answer(&mut self) -> Result<()> {
        let Some(answer) = self.answer.take() else {
            return Err(unexpected("commit_answer", "there is no answer"));
        };
        if let Err(error) = self.pc().set_local_description(answer.description).await {
            self.take_back_remote_offer().await;
            return Err(ours("commit_answer")(error));
        }
        if answer.ice_starts {
            self.session.link.wait_for_check();
        }
        self.settle(&answer.sdp, &answer.offer, &answer.want);
        Ok(())
    }

    async fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        self.pc()
            .add_ice_candidate(convert::remote_candidate(candidate))
            .await
            .map_err(theirs("add_ice_candidate"))?;
        // The library stores it and goes on sleeping.
        self.session.link.nudge();
        Ok(())
    }

    fn open_channel(&mut self, port: ChannelPort) -> Result<()> {
        if self.application {
            let peer = Arc::clone(&self.session.peer);
            self.session
                .tasks
                .spawn(&self.span, peer.create_channel(port, true));
        } else if self.negotiated {
            // rtc sends SCTP's INIT when the DTLS handshake completes, and never later.
            return Err(Error::new(
                ErrorKind::NotSupported,
                "create_data_channel",
                "webrtc-rs starts data channels only with the connection; create one before the first offer or answer",
            ));
        } else {
            self.waiting.push(port);
        }
        Ok(())
    }

    async fn stats(&mut self) -> EngineStats {
        let counts = &self.session.link.counts;
        EngineStats {
            selected_pair: self.selected_pair().await,
            packets_sent: counts.packets_sent.load(Relaxed),
            bytes_sent: counts.bytes_sent.load(Relaxed),
            packets_received: counts.packets_received.load(Relaxed),
            bytes_received: counts.bytes_received.load(Relaxed),
            retransmissions: None,
            age: None,
            available_outgoing_bitrate: self.session.media.available_bitrate(),
            rtp: self.session.media.stats(),
        }
    }

    async fn close(&mut self) {
        for port in self.waiting.drain(..).chain(self.early.drain(..)) {
            port.set_closed();
        }
        self.session.end().instrument(self.span.clone()).await;
    }
}

impl WebrtcEngine {
    async fn selected_pair(&self) -> Option<SelectedPair> {
        let pc = self.pc();
        let ice = driver::dtls_transport(&*pc).await?.ice_transport();
        let pair = ice.get_selected_candidate_pair().await.ok()??;
        let mut selected = convert::selected_pair(pair.local(), pair.remote())?;
        let now = tokio::time::Instant::now().into_std();
        let report = pc.get_stats(now, StatsSelector::None).await;
        let selected_id = report.iter().find_map(|entry| match entry {
            RTCStatsReportEntry::Transport(stats) => Some(stats.selected_candidate_pair_id.clone()),
            _ => None,
        })?;
        selected.rtt = report.iter().find_map(|entry| match entry {
            RTCStatsReportEntry::IceCandidatePair(stats)
                if stats.stats.id == selected_id && stats.responses_received > 0 =>
            {
                Duration::try_from_secs_f64(stats.current_round_trip_time).ok()
            }
            _ => None,
        });
        Some(selected)
    }
}

impl Drop for WebrtcEngine {
    fn drop(&mut self) {
        // The library's tasks keep each other alive when its connection is only dropped.
        self.session.peer.mute();
        self.session.tasks.abort();
        self.session.peer.forget();
    }
}

impl fmt::Debug for WebrtcEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebrtcEngine")
            .field("config", &self.config)
            .field("negotiated", &self.negotiated)
            .field("link", &self.session.link)
            .finish_non_exhaustive()
    }
}
