//! `visavis probe`: offers to an endpoint over HTTP and checks what it echoes.

mod echo;
mod http;

use crate::{
    args::ProbeArgs,
    numbers::millis,
    one_side::{self, Failed, Judged, SideMedia, SideReport, Sources, connected},
    out::{GREEN, Out, note, paint},
    report::PeerReport,
    signals::Interrupt,
    steps,
};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{self, IsTerminal},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use visavis_core::{
    ChannelInit, Codec, ConnectionState, DataChannel, Direction, Mark, MediaKind, PeerConnection, Sdp,
    SessionDescription,
};
use visavis_media::session::AudioPlan;
use visavis_signaling::mdns::Resolver;

/// What is sent has so long to come back when sending has stopped.
const IN_FLIGHT: Duration = Duration::from_millis(500);

/// Closing is a matter of milliseconds.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// The step that a signal ended.
const INTERRUPTED: &str = "interrupted";

/// The JSON line; `docs/cli.md` has the schema. What is not known is `null`.
#[derive(Debug, Serialize)]
struct Report {
    schema_version: u32,
    url: String,
    ok: bool,
    /// From having the answer to DTLS being up.
    connected_ms: Option<f64>,
    /// From having the answer to the data channel being open.
    dc_open_ms: Option<f64>,
    data_echo_ok: Option<bool>,
    data_echo_60k_ok: Option<bool>,
    throughput_mb_per_s: Option<f64>,
    rtp_received: Option<u64>,
    frames_decoded: Option<u64>,
    longest_gap_ms: Option<f64>,
    remote_codec: Option<Codec>,
    failed_step: Option<&'static str>,
    reason: Option<String>,
    /// From sending the offer to having the answer.
    answer_ms: Option<f64>,
    /// The largest message that the other side takes.
    max_message_size: Option<u32>,
    /// Our side: stack, timeline, addresses, counts.
    #[serde(flatten)]
    peer: PeerReport,
    media: Option<SideReport>,
}

/// Probes; the exit code.
pub(crate) async fn run(args: &ProbeArgs, out: &mut Out) -> io::Result<u8> {
    let interrupt = Interrupt::listen()?;
    let backend = one_side::backend(args.backend.as_deref())?;
    let began = Instant::now();
    let mut probe = Probe {
        args,
        tells: !args.json && io::stderr().is_terminal(),
        peer: None,
        channel: None,
        report: Report::new(args.url.to_string(), backend.name()),
    };
    probe.tell(format_args!("{} offers to {}", backend.name(), args.url));
    let result = tokio::select! {
        biased;
        () = interrupt.wait() => Err(Failed::at(INTERRUPTED, "by a signal")),
        result = probe.all(&*backend) => result,
    };
    let report = probe.end(began, result).await;
    out.json(&report)?;
    Ok(interrupt.code().unwrap_or(u8::from(!report.ok)))
}

/// One probe.
struct Probe<'a> {
    args: &'a ProbeArgs,
    tells: bool,
    peer: Option<PeerConnection>,
    channel: Option<DataChannel>,
    report: Report,
}

impl Probe<'_> {
    /// All checks, one after the other.
    async fn all(&mut self, backend: &dyn visavis_core::Backend) -> Result<(), Failed> {
        let args = self.args;
        let deadline = Instant::now() + args.timeout;
        let audio = args.audio.then(AudioPlan::default);
        let sources = Sources::open(args.video(), audio).await?;
        let peer = one_side::peer(backend, "probe", args.bind(), args.timeout).await?;
        self.peer = Some(peer.clone());
        let answered = self.signal(&peer, deadline).await?;
        let channel = self.channel.clone();

        let connected = connected(&peer, channel.as_ref(), deadline).await;
        let since = |mark| {
            let at = peer.timeline().get(mark)?;
            Some(millis(at.saturating_duration_since(answered)))
        };
        self.report.connected_ms = since(Mark::DtlsConnected);
        self.report.dc_open_ms = since(Mark::ChannelOpen);
        connected?;
        if let Some(ms) = self.report.connected_ms {
            self.tell(format_args!("connected {ms:.1} ms after the answer"));
        }

        let lost = async {
            match peer.wait_for(ConnectionState::Closed).await {
                Ok(()) => "the peer was closed".to_owned(),
                Err(error) => peer.failure().unwrap_or_else(|| error.to_string()),
            }
        };
        let checks = async {
            if let Some(channel) = &channel {
                self.data(channel).await?;
            }
            self.media(&peer, sources).await
        };
        tokio::select! {
            result = checks => result,
            reason = lost => Err(Failed::at(steps::MESSAGES, reason)),
        }
    }

    /// Offers, and sets the answer; when it was there.
    async fn signal(&mut self, peer: &PeerConnection, deadline: Instant) -> Result<Instant, Failed> {
        let args = self.args;
        for (wanted, kind) in [(args.audio, MediaKind::Audio), (args.video, MediaKind::Video)] {
            if !wanted {
                continue;
            }
            let step = Mark::OfferCreated.name();
            let added = peer.add_transceiver(kind, Direction::SendRecv).await;
            let transceiver = added.map_err(Failed::of(step))?;
            if kind == MediaKind::Video {
                let codecs = args
                    .video_codec
                    .map_or_else(|| one_side::video_codecs(true), |c| vec![c]);
                let preferred = transceiver.set_codec_preferences(&codecs).await;
                preferred.map_err(Failed::of(step))?;
            }
        }
        if !args.no_data {
            let channel = peer.create_data_channel(ChannelInit::new("echo")).await;
            self.channel = Some(channel.map_err(Failed::of(Mark::OfferCreated.name()))?);
        }
        let offer = one_side::full_description(peer, args.timeout).await?;
        self.tell("offered; waiting for the answer");

        let sent = Instant::now();
        let left = deadline.saturating_duration_since(sent);
        let answer = http::exchange(&args.url, &offer, left)
            .await
            .map_err(Failed::of(one_side::SIGNALING))?;
        let answered = Instant::now();
        self.report.answer_ms = Some(millis(answered - sent));
        self.report.max_message_size = answer
            .sdp
            .parse::<Sdp>()
            .ok()
            .and_then(|sdp| sdp.max_message_size());
        let without = has_no_candidates(&answer);
        let set = Resolver::new().set_remote_description(peer, answer).await;
        set.map_err(Failed::of(Mark::RemoteDescriptionSet.name()))?;
        self.tell(format_args!("answered after {:.1} ms", millis(answered - sent)));
        if without {
            self.tell("the answer has no candidates, and over HTTP none can follow");
        }
        Ok(answered)
    }

    /// Messages there and back, and how fast.
    async fn data(&mut self, channel: &DataChannel) -> Result<(), Failed> {
        let patience = self.args.timeout;
        let echoed = echo::messages(channel, 1_000, patience).await;
        self.report.data_echo_ok = Some(echoed.is_ok());
        echoed.map_err(Failed::of("data_echo"))?;
        self.tell("texts and bytes of 1,000 bytes came back");
        if channel.max_message_size() >= 60_000 {
            let echoed = echo::messages(channel, 60_000, patience).await;
            self.report.data_echo_60k_ok = Some(echoed.is_ok());
            echoed.map_err(Failed::of("data_echo_60k"))?;
            self.tell("texts and bytes of 60,000 bytes came back");
        } else {
            let most = channel.max_message_size();
            self.tell(format_args!(
                "the other side takes messages of {most} bytes at most: 60,000 left out"
            ));
        }
        if let Some(bytes) = self.args.bytes {
            let measured = echo::throughput(channel, bytes, self.args.size, patience).await;
            let rate = measured.map_err(Failed::of("throughput"))?;
            self.report.throughput_mb_per_s = Some(rate);
            self.tell(format_args!("{bytes} bytes there and back: {rate} MB/s each way"));
        }
        Ok(())
    }

    /// Pictures and sound there and back.
    async fn media(&mut self, peer: &PeerConnection, sources: Sources) -> Result<(), Failed> {
        let args = self.args;
        let kinds = [(args.video, "pictures"), (args.audio, "sound")];
        let wanted: Vec<_> = kinds
            .into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|k| k.1)
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        self.tell(format_args!(
            "sending {} for {:?}",
            wanted.join(" and "),
            args.duration
        ));
        let started = SideMedia::start(peer, sources, args.timeout).await;
        let mut media = started.map_err(Failed::of(steps::MEDIA))?;
        sleep(args.duration).await;
        media.stop_sending(IN_FLIGHT).await;
        let mut seen = media.finish(peer).await;
        // A kind whose m-line the other side refused has no entry of its own.
        for (wanted, there, what) in [
            (args.video, seen.video.is_some(), "no pictures are sent back"),
            (args.audio, seen.audio.is_some(), "no sound is sent back"),
        ] {
            if wanted && !there {
                seen.problems.push(what.into());
            }
        }
        seen.judge(Judged::Echoed);
        seen.lines().iter().for_each(|line| self.tell(line));
        let problems = seen.problems.join("; ");
        self.report.took(seen);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Failed::at(steps::MEDIA, problems))
        }
    }

    /// Closes the peer, and completes the report.
    async fn end(mut self, began: Instant, result: Result<(), Failed>) -> Report {
        if let Some(peer) = &self.peer {
            let stats = timeout(CLOSE_PATIENCE, peer.stats())
                .await
                .ok()
                .and_then(Result::ok);
            let _ = timeout(CLOSE_PATIENCE, peer.close()).await;
            self.report.peer.reached(peer.timeline(), began);
            let channel = self.channel.as_ref().map(DataChannel::stats);
            self.report
                .peer
                .counted(stats.as_ref(), channel.unwrap_or_default());
        }
        match result {
            Ok(()) => {
                self.report.ok = true;
                self.tell(paint(GREEN, "all that was asked for works"));
            }
            Err(failed) => {
                if failed.step != INTERRUPTED {
                    failed.complain();
                }
                self.report.failed_step = Some(failed.step);
                self.report.reason = Some(failed.reason);
            }
        }
        self.report
    }

    /// Progress, for a person.
    fn tell(&self, text: impl Display) {
        if self.tells {
            note(text);
        }
    }
}

impl Report {
    fn new(url: String, stack: &'static str) -> Self {
        Self {
            schema_version: 1,
            url,
            ok: false,
            connected_ms: None,
            dc_open_ms: None,
            data_echo_ok: None,
            data_echo_60k_ok: None,
            throughput_mb_per_s: None,
            rtp_received: None,
            frames_decoded: None,
            longest_gap_ms: None,
            remote_codec: None,
            failed_step: None,
            reason: None,
            answer_ms: None,
            max_message_size: None,
            peer: PeerReport {
                stack,
                ..PeerReport::default()
            },
            media: None,
        }
    }

    /// Takes what arrived of the media.
    fn took(&mut self, seen: SideReport) {
        let video = seen.video.as_ref();
        let audio = seen.audio.as_ref();
        let rtp = [
            video.and_then(|v| v.rtp_received),
            audio.and_then(|a| a.rtp_received),
        ];
        self.rtp_received = rtp.into_iter().flatten().reduce(|a, b| a + b);
        self.frames_decoded = video.map(|v| v.frames_decoded);
        self.longest_gap_ms = video.and_then(|v| v.longest_gap_ms);
        let opus = audio.filter(|a| a.packets_received > 0).map(|_| Codec::Opus);
        self.remote_codec = video.and_then(|v| v.codec).or(opus);
        self.media = Some(seen);
    }
}

/// Whether there is nothing in it to connect to.
fn has_no_candidates(answer: &SessionDescription) -> bool {
    let sdp = answer.sdp.parse::<Sdp>();
    sdp.is_ok_and(|mut sdp| sdp.take_candidates().0.is_empty())
}
