//! `visavis offer` and `visavis answer`: a call between two programs with nothing between them but copy and paste.

mod blob;
mod paste;
mod terminal;

use crate::{
    args::{AnswerArgs, OfferArgs, RemoteArgs},
    numbers::{Spread, millis},
    one_side::{self, Failed, Judged, SideMedia, SideReport, Sources, connected},
    out::{BOLD, GREEN, Out, note, paint},
    report::PeerReport,
    signals::Interrupt,
    steps, talk,
};
use paste::Paste;
use serde::Serialize;
use std::{
    future::pending,
    io::{self, IsTerminal},
    net::SocketAddr,
    time::Duration,
};
use tokio::time::{Instant, timeout, timeout_at};
use visavis_core::{
    Backend, ChannelInit, ConnectionState, DataChannel, Direction, DtlsState, Mark, MediaKind,
    PeerConnection, PeerEvent, PeerEvents, Sdp, SdpType, SessionDescription, Side,
};
use visavis_signaling::mdns::Resolver;

/// Binding, gathering and closing are a matter of milliseconds; starting media is one of round trips.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is in flight when the offerer stops has so long to arrive.
const IN_FLIGHT: Duration = Duration::from_millis(300);

/// The step that a signal ended.
const INTERRUPTED: &str = "interrupted";

/// What was pasted cannot be used.
const REMOTE_DESCRIPTION: &str = "remote_description_set";

/// The second line with `--json`; `docs/cli.md` has the schema. What is not known is `null`.
#[derive(Debug, Serialize)]
struct Report {
    schema_version: u32,
    role: Side,
    ok: bool,
    failed_step: Option<&'static str>,
    reason: Option<String>,
    /// From having both descriptions to DTLS being up.
    connected_ms: Option<f64>,
    /// Texts that this side sent and that came back, or that it echoed.
    texts: Option<u64>,
    text_rtt_ms: Option<Spread>,
    #[serde(flatten)]
    peer: PeerReport,
    media: Option<SideReport>,
}

/// `visavis offer`; the exit code.
pub(crate) async fn offer(args: &OfferArgs, out: &mut Out) -> io::Result<u8> {
    let interrupt = Interrupt::listen()?;
    let backend = one_side::backend(args.common.backend.as_deref())?;
    let mut remote = Remote::new(Side::Offerer, &args.common, backend.name());
    let result = tokio::select! {
        biased;
        () = interrupt.wait() => Err(Failed::at(INTERRUPTED, "by a signal")),
        result = remote.call(args, &*backend, out) => result,
    };
    remote.end(result, &interrupt, out).await
}

/// `visavis answer`; the exit code.
pub(crate) async fn answer(args: &AnswerArgs, out: &mut Out) -> io::Result<u8> {
    let interrupt = Interrupt::listen()?;
    let backend = one_side::backend(args.common.backend.as_deref())?;
    let mut remote = Remote::new(Side::Answerer, &args.common, backend.name());
    let result = tokio::select! {
        biased;
        () = interrupt.wait() => Err(Failed::at(INTERRUPTED, "by a signal")),
        result = remote.be_called(args, &*backend, out) => result,
    };
    remote.end(result, &interrupt, out).await
}

/// One side.
struct Remote<'a> {
    args: &'a RemoteArgs,
    began: Instant,
    peer: Option<PeerConnection>,
    channel: Option<DataChannel>,
    media: Option<SideMedia>,
    /// Finds the addresses that a browser hides behind names.
    names: Resolver,
    report: Report,
}

impl<'a> Remote<'a> {
    fn new(role: Side, args: &'a RemoteArgs, stack: &'static str) -> Self {
        Self {
            args,
            began: Instant::now(),
            peer: None,
            channel: None,
            media: None,
            names: Resolver::new(),
            report: Report {
                schema_version: 1,
                role,
                ok: false,
                failed_step: None,
                reason: None,
                connected_ms: None,
                texts: None,
                text_rtt_ms: None,
                peer: PeerReport {
                    stack,
                    ..PeerReport::default()
                },
                media: None,
            },
        }
    }

    fn bind(&self) -> Vec<SocketAddr> {
        match self.args.bind.as_slice() {
            [] => vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            bind => bind.to_vec(),
        }
    }

    /// The offerer's side.
    async fn call(&mut self, args: &OfferArgs, backend: &dyn Backend, out: &mut Out) -> Result<(), Failed> {
        let media = &self.args.media;
        let (video, audio) = (media.video(), media.audio());
        let codec = video.as_ref().map(|video| video.codec);
        let sources = Sources::open(video, audio).await?;
        let peer = one_side::peer(backend, "offerer", self.bind(), args.timeout).await?;
        self.peer = Some(peer.clone());
        let step = Mark::OfferCreated.name();
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let direction = Direction::new(sources.has(kind), args.both_ways);
            if direction == Direction::Inactive {
                continue;
            }
            let added = peer.add_transceiver(kind, direction).await;
            let transceiver = added.map_err(Failed::of(step))?;
            if kind == MediaKind::Video {
                let codecs = codec.map_or_else(|| one_side::video_codecs(false), |codec| vec![codec]);
                let preferred = transceiver.set_codec_preferences(&codecs).await;
                preferred.map_err(Failed::of(step))?;
            }
        }
        let channel = peer.create_data_channel(ChannelInit::new("visavis")).await;
        let channel = channel.map_err(Failed::of(step))?;
        self.channel = Some(channel.clone());
        let offer = one_side::full_description(&peer, PATIENCE).await?;

        print(&offer, self.args.base64, out)?;
        note(
            "The offer is the line above: give it to `visavis answer`, or to a browser with docs/two-terminals.html.",
        );
        self.hint();
        let mut paste = Paste::start(SdpType::Answer);
        let answered = loop {
            let answer = paste.next().await.map_err(Failed::of(REMOTE_DESCRIPTION))?;
            let answered = Instant::now();
            match self.names.set_remote_description(&peer, answer.description).await {
                Ok(()) => break answered,
                Err(error) => paste
                    .refused(&error)
                    .await
                    .map_err(Failed::of(REMOTE_DESCRIPTION))?,
            }
        };
        drop(paste);
        let connected = connected(&peer, Some(&channel), answered + args.timeout).await;
        self.is_connected(&peer, answered, connected)?;

        let media = SideMedia::start(&peer, sources, PATIENCE).await;
        self.media = Some(media.map_err(Failed::of(steps::MEDIA))?);
        let rtts = tokio::select! {
            rtts = talk::speak(Side::Offerer, &channel, args.duration, PATIENCE) => rtts,
            reason = lost(&peer) => Err(reason),
        };
        let rtts = rtts.map_err(Failed::of(steps::MESSAGES))?;
        self.report.texts = Some(rtts.len() as u64);
        self.report.text_rtt_ms = Spread::of(rtts.into_iter().map(millis));
        if let Some(media) = &mut self.media {
            media.stop_sending(IN_FLIGHT).await;
        }
        Ok(())
    }

    /// The answerer's side.
    async fn be_called(
        &mut self,
        args: &AnswerArgs,
        backend: &dyn Backend,
        out: &mut Out,
    ) -> Result<(), Failed> {
        let mut paste = Paste::start(SdpType::Offer);
        let (peer, sources, answer, base64) = loop {
            let offer = paste.next().await.map_err(Failed::of(REMOTE_DESCRIPTION))?;
            match self.answered(args, backend, offer.description).await {
                Ok((peer, sources, answer)) => break (peer, sources, answer, offer.base64),
                Err(failed) if failed.step == REMOTE_DESCRIPTION => {
                    let refused = paste.refused(&failed.reason).await;
                    refused.map_err(Failed::of(REMOTE_DESCRIPTION))?;
                }
                Err(failed) => return Err(failed),
            }
        };
        drop(paste);
        let mut events = peer.events();
        print(&answer, self.args.base64 || base64, out)?;
        note("The answer is the line above: give it back to the side that offered.");
        self.hint();
        let answered = Instant::now();
        let deadline = answered + args.timeout;
        let has_channel = |sdp: Sdp| sdp.max_message_size().is_some();
        let mut opened = connected(&peer, None, deadline).await;
        if opened.is_ok() && answer.sdp.parse().is_ok_and(has_channel) {
            match timeout_at(deadline, incoming(&mut events)).await {
                Ok(Some(channel)) => self.channel = Some(channel),
                _ => {
                    opened = Err(Failed::at(
                        Mark::ChannelOpen.name(),
                        "the other side opened no data channel",
                    ));
                }
            }
        }
        self.is_connected(&peer, answered, opened)?;

        let media = SideMedia::start(&peer, sources, PATIENCE).await;
        self.media = Some(media.map_err(Failed::of(steps::MEDIA))?);
        let channel = self.channel.clone();
        let echo = async {
            if let Some(channel) = &channel {
                talk::echo(channel).await;
            }
            pending::<()>().await;
        };
        let left = tokio::select! {
            left = left(&peer, &mut events) => left,
            () = echo => Ok(()),
        };
        self.report.texts = channel.map(|channel| channel.stats().messages_received);
        left.map_err(Failed::of(steps::MESSAGES))?;
        note(format!(
            "the other side left after {:.1} s",
            answered.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// A peer that has answered `offer`, with what it sends if the offer asks for it.
    async fn answered(
        &mut self,
        args: &AnswerArgs,
        backend: &dyn Backend,
        offer: SessionDescription,
    ) -> Result<(PeerConnection, Sources, SessionDescription), Failed> {
        let sdp: Sdp = offer.sdp.parse().map_err(Failed::of(REMOTE_DESCRIPTION))?;
        let asks = |kind| {
            let mut lines = sdp.sections().filter(|line| !line.is_rejected());
            lines.any(|line| line.kind() == Some(kind) && line.direction().receives())
        };
        let media = &self.args.media;
        let video = media.video().filter(|_| asks(MediaKind::Video));
        let codecs = video
            .as_ref()
            .map_or_else(|| one_side::video_codecs(false), |video| vec![video.codec]);
        let audio = media.audio().filter(|_| asks(MediaKind::Audio));
        let sources = Sources::open(video, audio).await?;
        let peer = one_side::peer(backend, "answerer", self.bind(), args.timeout).await?;
        self.peer = Some(peer.clone());
        // Tracks that are there before the offer take its m-lines.
        for kind in [MediaKind::Audio, MediaKind::Video] {
            if sources.has(kind) {
                peer.add_track(kind)
                    .await
                    .map_err(Failed::of(REMOTE_DESCRIPTION))?;
            }
        }
        let set = async {
            self.names.set_remote_description(&peer, offer).await?;
            for transceiver in peer.transceivers().await? {
                if transceiver.kind() == MediaKind::Video {
                    transceiver.set_codec_preferences(&codecs).await?;
                }
            }
            Ok::<_, visavis_core::Error>(())
        };
        set.await.map_err(Failed::of(REMOTE_DESCRIPTION))?;
        let answer = one_side::full_description(&peer, PATIENCE).await;
        // The stacks read an offer when they answer it.
        let answer = answer.map_err(|failed| Failed::at(REMOTE_DESCRIPTION, failed.reason))?;
        Ok((peer, sources, answer))
    }

    /// What is often forgotten.
    fn hint(&self) {
        if self.args.bind.is_empty() {
            note("It works on this machine only; between two machines, both need --bind 0.0.0.0.");
        }
    }

    /// Writes down, and says, how connecting went.
    fn is_connected(
        &mut self,
        peer: &PeerConnection,
        since: Instant,
        connected: Result<(), Failed>,
    ) -> Result<(), Failed> {
        let up = peer.timeline().get(Mark::DtlsConnected);
        self.report.connected_ms = up.map(|at| millis(at.saturating_duration_since(since)));
        connected?;
        note("connected");
        Ok(())
    }

    /// Ends the media, closes the peer, reports; the exit code.
    async fn end(
        mut self,
        result: Result<(), Failed>,
        interrupt: &Interrupt,
        out: &mut Out,
    ) -> io::Result<u8> {
        let mut result = result;
        if let Some(peer) = &self.peer {
            if let Some(media) = self.media.take() {
                let mut seen = media.finish(peer).await;
                seen.judge(Judged::Direct);
                seen.lines().iter().for_each(note);
                if result.is_ok() && !seen.problems.is_empty() {
                    result = Err(Failed::at(steps::MEDIA, seen.problems.join("; ")));
                }
                self.report.media = Some(seen);
            }
            let stats = timeout(PATIENCE, peer.stats()).await.ok().and_then(Result::ok);
            let channel = self.channel.as_ref().map(DataChannel::stats);
            let _ = timeout(PATIENCE, peer.close()).await;
            self.report.peer.reached(peer.timeline(), self.began);
            self.report
                .peer
                .counted(stats.as_ref(), channel.unwrap_or_default());
        }
        self.report.ok = result.is_ok();
        match result {
            Ok(()) => note(format!("verdict: {}", paint(GREEN, "good"))),
            Err(failed) => {
                if failed.step != INTERRUPTED {
                    failed.complain();
                }
                self.report.failed_step = Some(failed.step);
                self.report.reason = Some(failed.reason);
            }
        }
        if self.args.json {
            out.json(&self.report)?;
        }
        Ok(interrupt.code().unwrap_or(u8::from(!self.report.ok)))
    }
}

/// The description alone goes to standard output.
fn print(description: &SessionDescription, base64: bool, out: &mut Out) -> Result<(), Failed> {
    let line = blob::write(description, base64);
    out.line(line).map_err(Failed::of("output"))
}

/// Says what is waited for, if a person is asked.
fn ask(wanted: SdpType) {
    if io::stdin().is_terminal() {
        note(paint(BOLD, format!("Paste the {wanted} here, and press Enter:")));
    }
}

/// Waits until the connection fails; why.
async fn lost(peer: &PeerConnection) -> String {
    match peer.wait_for(ConnectionState::Closed).await {
        Ok(()) => "the peer was closed".to_owned(),
        Err(error) => peer.failure().unwrap_or_else(|| error.to_string()),
    }
}

/// The data channel that the other side opens.
async fn incoming(events: &mut PeerEvents) -> Option<DataChannel> {
    loop {
        if let PeerEvent::DataChannel(channel) = events.next().await? {
            channel.opened().await.ok()?;
            return Some(channel);
        }
    }
}

/// Waits until the other side says goodbye.
///
/// # Errors
///
/// That it went without, in words.
async fn left(peer: &PeerConnection, events: &mut PeerEvents) -> Result<(), String> {
    loop {
        match events.next().await {
            Some(PeerEvent::DtlsState(DtlsState::Closed)) | None => return Ok(()),
            Some(PeerEvent::ConnectionState(ConnectionState::Failed)) => {
                let reason = peer.failure().unwrap_or_default();
                return Err(format!("the other side is not heard from any more: {reason}"));
            }
            Some(_) => {}
        }
    }
}
