//! A peer, and how it comes to a data channel: descriptions and trickled candidates.

use super::settings::{self, Place};
use crate::{Error, Variant, error::At};
use async_trait::async_trait;
use rtc::rtp_transceiver::{
    PayloadType, SSRC,
    rtp_sender::{RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind},
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, interval},
};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent, RTCDataChannelState},
    media_stream::{
        MediaStreamTrack,
        track_local::{TrackLocal, static_sample::TrackLocalStaticSample},
        track_remote::TrackRemote,
    },
    peer_connection::{
        PeerConnection, PeerConnectionEventHandler, RTCIceCandidateInit, RTCPeerConnectionIceEvent,
        RTCSessionDescription,
    },
    rtp_transceiver::RtpSender,
};

/// How often a driver is woken that has queued something and gone to sleep.
const NUDGE: Duration = Duration::from_millis(1);

/// The SSRC of the one track.
const SSRC_OF_TRACK: SSRC = 0x5649_5341;

/// What travels between the two peers.
pub(super) enum Signal {
    /// As text: the parsed form that a description holds does not travel.
    Description(String),
    Candidate(RTCIceCandidateInit),
}

/// What a peer's driver tells.
enum Told {
    Candidate(RTCIceCandidateInit),
    Channel(Arc<dyn DataChannel>),
    Track(Arc<dyn TrackRemote>),
}

/// Passes on what the driver tells: it waits for each of these.
pub(super) struct Handler(UnboundedSender<Told>);

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            // Nobody reads when the pair is gone.
            let _ = self.0.send(Told::Candidate(candidate));
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.0.send(Told::Channel(channel));
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let _ = self.0.send(Told::Track(track));
    }
}

/// A peer.
pub(super) struct Peer {
    variant: Variant,
    pc: Arc<dyn PeerConnection>,
    told: UnboundedReceiver<Told>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&self.variant).finish()
    }
}

/// A data channel that is open.
pub(super) struct Opened {
    pub(super) channel: Arc<dyn DataChannel>,
    pub(super) at: Instant,
}

/// A track to send on.
pub(super) struct Track {
    pub(super) samples: Arc<TrackLocalStaticSample>,
    sender: Arc<dyn RtpSender>,
    pub(super) ssrc: SSRC,
}

impl Track {
    /// The negotiated payload type.
    pub(super) async fn payload_type(&self) -> Result<PayloadType, Error> {
        let parameters = self.sender.get_parameters().await.at("frames")?;
        let wanted = settings::h264();
        let mut codecs = parameters.rtp_parameters.codecs.into_iter();
        let found = codecs.find(|codec| codec.rtp_codec.sdp_fmtp_line == wanted.sdp_fmtp_line);
        Ok(found.ok_or("H.264 is not negotiated").at("frames")?.payload_type)
    }
}

impl Peer {
    pub(super) async fn new(variant: Variant, place: Place, media: bool) -> Result<Self, Error> {
        let (teller, told) = mpsc::unbounded_channel();
        let pc = settings::build(variant, place, media, Arc::new(Handler(teller))).await?;
        Ok(Self { variant, pc, told })
    }

    pub(super) fn variant(&self) -> Variant {
        self.variant
    }

    pub(super) async fn create_channel(&self) -> Result<Arc<dyn DataChannel>, Error> {
        self.pc
            .create_data_channel("baseline", None)
            .await
            .at("create the channel")
    }

    pub(super) async fn add_track(&self) -> Result<Track, Error> {
        let step = "add the track";
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(SSRC_OF_TRACK),
                ..RTCRtpCodingParameters::default()
            },
            codec: settings::h264(),
            ..RTCRtpEncodingParameters::default()
        };
        let [stream, id, label] = ["stream", "track", "video"].map(str::to_owned);
        let track = MediaStreamTrack::new(stream, id, label, RtpCodecKind::Video, vec![encoding]);
        let samples = TrackLocalStaticSample::new(Instant::now().into_std(), track).at(step)?;
        let samples = Arc::new(samples);
        let local = Arc::clone(&samples) as Arc<dyn TrackLocal>;
        let sender = self.pc.add_track(local).await.at(step)?;
        Ok(Track {
            samples,
            sender,
            ssrc: SSRC_OF_TRACK,
        })
    }

    /// Offers, until `channel` is open.
    pub(super) async fn offer(
        &mut self,
        channel: Arc<dyn DataChannel>,
        outbox: UnboundedSender<Signal>,
        inbox: UnboundedReceiver<Signal>,
    ) -> Result<Opened, Error> {
        let offer = self.pc.create_offer(None).await.at("offer")?;
        let text = offer.sdp.clone();
        self.pc.set_local_description(offer).await.at("offer")?;
        let _ = outbox.send(Signal::Description(text));
        self.signal(Some(channel), outbox, inbox).await
    }

    /// Answers, until the remote peer's channel is open.
    pub(super) async fn answer(
        &mut self,
        outbox: UnboundedSender<Signal>,
        inbox: UnboundedReceiver<Signal>,
    ) -> Result<Opened, Error> {
        self.signal(None, outbox, inbox).await
    }

    /// The next track of the remote peer: the library tells of it when its first packet has come.
    pub(super) async fn track(&mut self) -> Result<Arc<dyn TrackRemote>, Error> {
        loop {
            match self.told.recv().await {
                Some(Told::Track(track)) => return Ok(track),
                Some(_) => {}
                None => return Err(Error::Ended("frames")),
            }
        }
    }

    pub(super) async fn close(&self) -> Result<(), Error> {
        self.pc.close().await.at("close")
    }

    async fn signal(
        &mut self,
        mut channel: Option<Arc<dyn DataChannel>>,
        outbox: UnboundedSender<Signal>,
        mut inbox: UnboundedReceiver<Signal>,
    ) -> Result<Opened, Error> {
        let offers = channel.is_some();
        let mut nudge = interval(NUDGE);
        loop {
            let event = async {
                match &channel {
                    Some(channel) => channel.poll().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // For exact runs, as far as the library's driver allows.
                biased;
                // The other side may be done, and its outbox gone.
                Some(signal) = inbox.recv() => match signal {
                    Signal::Description(text) if offers => {
                        let answer = RTCSessionDescription::answer(text).at("set the answer")?;
                        self.pc.set_remote_description(answer).await.at("set the answer")?;
                    }
                    Signal::Description(text) => {
                        let _ = outbox.send(Signal::Description(self.reply(text).await?));
                    }
                    Signal::Candidate(candidate) => {
                        self.pc.add_ice_candidate(candidate).await.at("add a candidate")?;
                    }
                },
                told = self.told.recv() => match told {
                    Some(Told::Candidate(candidate)) => drop(outbox.send(Signal::Candidate(candidate))),
                    Some(Told::Channel(theirs)) => {
                        // It may have been opened before anybody could poll it.
                        if matches!(theirs.ready_state().await, Ok(RTCDataChannelState::Open)) {
                            return Ok(Opened { channel: theirs, at: Instant::now() });
                        }
                        channel = Some(theirs);
                    }
                    Some(Told::Track(_)) => {}
                    None => return Err(Error::Ended("open the data channel")),
                },
                event = event => match (event, &channel) {
                    (Some(DataChannelEvent::OnOpen), Some(channel)) => {
                        let (channel, at) = (Arc::clone(channel), Instant::now());
                        return Ok(Opened { channel, at });
                    }
                    (Some(_), _) => {}
                    (None, _) => return Err(Error::Ended("open the data channel")),
                },
                // What ICE, DTLS and SCTP queue when they are up goes out at the driver's next timer, which may be
                // 200 ms later. Any event wakes it.
                _ = nudge.tick(), if self.variant == Variant::Tuned => {
                    let same = self.pc.get_configuration().await;
                    self.pc.set_configuration(same).await.at("nudge")?;
                }
            }
        }
    }

    async fn reply(&self, offer: String) -> Result<String, Error> {
        let offer = RTCSessionDescription::offer(offer).at("set the offer")?;
        self.pc.set_remote_description(offer).await.at("set the offer")?;
        let answer = self.pc.create_answer(None).await.at("answer")?;
        let text = answer.sdp.clone();
        self.pc.set_local_description(answer).await.at("answer")?;
        Ok(text)
    }
}
