//! The engine: a handle that talks to its driver.

use crate::{
    channels::MAX_IN_SCTP,
    convert,
    driven::Driven,
    driver::{Command, Driver, Reply},
    dtls,
    gate::Gate,
    ice,
    media::{self, Tracks},
    rtp,
    sockets::Sockets,
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use str0m::{DATAGRAM_MTU_TARGET, DATAGRAM_MTU_WARN, RtcConfig, config::DtlsCert};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tracing::Instrument;
use visavis_core::{
    Candidate, ChannelPort, Engine, EngineConfig, EngineStats, Error, EventSink, MAX_MESSAGE_SIZE, MLine,
    Net, Result, Sdp,
};

/// A close that takes longer is cut short.
const CLOSE: Duration = Duration::from_millis(90);

/// How often str0m measures: a call of a few seconds has figures, and a sender learns soon that the network is full.
const STATS_INTERVAL: Duration = Duration::from_millis(200);

/// How the peers of a backend differ from the default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) snap: bool,
    pub(crate) dtls: dtls::Settings,
    /// The largest payload of an RTP packet, in bytes. `None`: str0m's.
    pub(crate) rtp_payload: Option<usize>,
}

impl Settings {
    /// str0m's target for all that it sends. For RTP it is that of payload and tag.
    fn mtu(&self) -> usize {
        self.rtp_payload
            .map_or(DATAGRAM_MTU_TARGET, |payload| payload + rtp::TAG)
    }

    pub(crate) fn warm_up(&self) {
        dtls::warm_up(&self.dtls, self.mtu());
    }
}

/// One peer on str0m.
#[derive(Debug)]
pub(crate) struct Str0mEngine {
    commands: mpsc::UnboundedSender<Command>,
    task: Option<JoinHandle<()>>,
}

impl Str0mEngine {
    /// Binds the sockets and starts the driver.
    pub(crate) fn start(
        config: &EngineConfig,
        settings: &Settings,
        cert: DtlsCert,
        net: Arc<dyn Net>,
        events: EventSink,
    ) -> Result<Self> {
        let sockets = Sockets::bind(net, config.bind.clone())?;
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(dtls::crypto_provider(&settings.dtls))
            .set_dtls_cert(cert)
            .set_stats_interval(Some(STATS_INTERVAL))
            .set_sctp_max_buffered_amount(MAX_IN_SCTP)
            .set_sctp_max_message_size(MAX_MESSAGE_SIZE)
            .set_snap_enabled(settings.snap);
        let mtu = settings.mtu();
        // It is what packets without headers are made for, so they may be longer.
        rtc = rtc.set_mtu(mtu..=(mtu + rtp::HEADERS).max(DATAGRAM_MTU_WARN));
        rtc = media::configure(rtc);
        ice::configure(&mut rtc, config.disconnected_after);
        let now = Instant::now().into_std();
        let (commands, receiver) = mpsc::unbounded_channel();
        let span = tracing::info_span!("peer", name = %config.name, stack = "str0m");
        let driver = span.in_scope(|| {
            let (gate, rtc) = Gate::of(|| Box::new(rtc.build(now)));
            let driven = Driven::new(rtc, now);
            let tracks = Tracks::new(settings.rtp_payload.unwrap_or(rtp::MAX_PAYLOAD));
            Driver::new(
                driven,
                gate,
                sockets,
                tracks,
                config.disconnected_after,
                events,
                receiver,
            )
        });
        let task = tokio::spawn(driver.run().instrument(span));
        Ok(Self {
            commands,
            task: Some(task),
        })
    }

    async fn call<T>(&self, operation: &'static str, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .map_err(|_| Error::closed(operation))?;
        answer.await.map_err(|_| Error::closed(operation))?
    }
}

#[async_trait]
impl Engine for Str0mEngine {
    async fn make_offer(&mut self, want: &[MLine], ice_restart: bool) -> Result<Sdp> {
        self.call("create_offer", |reply| {
            Command::MakeOffer(want.to_vec(), ice_restart, reply)
        })
        .await
    }

    async fn commit_offer(&mut self) -> Result<()> {
        self.call("set_local_description", Command::Commit).await
    }

    async fn discard_offer(&mut self) -> Result<()> {
        self.call("rollback", Command::DiscardOffer).await
    }

    async fn apply_answer(&mut self, answer: &Sdp) -> Result<()> {
        let answer = Box::new(answer.clone());
        self.call("set_remote_description", |reply| {
            Command::ApplyAnswer(answer, reply)
        })
        .await
    }

    async fn answer(&mut self, offer: &Sdp, want: &[MLine]) -> Result<Sdp> {
        let offer = Box::new(offer.clone());
        self.call("create_answer", |reply| {
            Command::Answer(offer, want.to_vec(), reply)
        })
        .await
    }

    async fn commit_answer(&mut self) -> Result<()> {
        self.call("set_local_description", Command::Commit).await
    }

    async fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        let candidate = candidate.clone();
        self.call("add_ice_candidate", |reply| {
            Command::AddCandidate(candidate, reply)
        })
        .await
    }

    fn open_channel(&mut self, port: ChannelPort) -> Result<()> {
        convert::channel_config(port.init())?;
        self.commands
            .send(Command::OpenChannel(port))
            .map_err(|_| Error::closed("create_data_channel"))
    }

    async fn stats(&mut self) -> EngineStats {
        self.call("stats", Command::Stats).await.unwrap_or_default()
    }

    async fn close(&mut self) {
        let _ = self.commands.send(Command::Close);
        if let Some(mut task) = self.task.take()
            && timeout(CLOSE, &mut task).await.is_err()
        {
            // Its sockets and ports close with it.
            task.abort();
            let _ = task.await;
        }
    }
}
