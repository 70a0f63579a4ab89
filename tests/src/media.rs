//! Calls with media, and the ways to send frames over them.

use crate::{
    Call, DEADLINE, Peer, World, connected, deadline,
    frames::{Plan, Reader},
    negotiators,
    peers::opened,
};
use std::{future::Future, ops::Range, panic::resume_unwind, sync::Arc, time::Duration};
use tokio::{
    sync::{
        Semaphore,
        mpsc::{self, UnboundedReceiver},
    },
    task::JoinSet,
    time::{Instant, sleep_until},
};
use visavis_core::{
    ChannelInit, Codec, DataChannel, Direction, IceMode, InboundStats, MediaKind, OutboundStats, PairMedia,
    Side, TrackReceiver, TrackSender, TrackStats, Transceiver,
};

/// A media m-line that prefers this codec alone.
pub fn line(codec: Codec, direction: Direction) -> PairMedia {
    PairMedia {
        kind: codec.kind(),
        direction,
        codecs: vec![codec],
    }
}

/// Two peers with media m-lines, negotiating by themselves, not necessarily connected yet.
#[derive(Debug)]
pub struct Starting {
    /// The side that calls.
    pub offerer: Peer,
    /// The side that is called.
    pub answerer: Peer,
    /// The offerer's transceivers, in the order of the m-lines.
    pub ours: Vec<Transceiver>,
    /// The answerer's.
    pub theirs: Vec<Transceiver>,
    channel: DataChannel,
    negotiators: JoinSet<()>,
}

/// A call with media m-lines and a data channel.
#[derive(Debug)]
pub struct MediaCall {
    /// The call.
    pub call: Call,
    /// The offerer's transceivers, in the order of the m-lines.
    pub ours: Vec<Transceiver>,
    /// The answerer's.
    pub theirs: Vec<Transceiver>,
}

impl World {
    /// Starts a call with these m-lines. Where the offerer receives, the answerer adds a track first.
    pub async fn start_media(&self, media: &[PairMedia]) -> Starting {
        let (offerer, mut answerer) = self.peers().await;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for m in media {
            let transceiver = offerer.add_transceiver(m.kind, m.direction).await;
            ours.push(transceiver.expect("a transceiver"));
            theirs.push(None);
            prefer(&ours[ours.len() - 1], &m.codecs).await;
            if m.direction.receives() {
                let added = answerer.add_track(m.kind).await.expect("a track");
                prefer(&added, &m.codecs).await;
                theirs.pop();
                theirs.push(Some(added));
            }
        }
        let channel = offerer.create_data_channel(ChannelInit::new("data")).await;
        let channel = channel.expect("a data channel");
        let negotiators = negotiators(&offerer, &answerer, IceMode::Trickle, Duration::ZERO);
        for (m, theirs) in media.iter().zip(&mut theirs) {
            if m.direction.sends() {
                *theirs = Some(answerer.log.track().await);
            }
        }
        let theirs = theirs.into_iter().map(|t| t.expect("an m-line with a direction"));
        Starting {
            offerer,
            answerer,
            ours,
            theirs: theirs.collect(),
            channel,
            negotiators,
        }
    }

    /// A call with these m-lines that is up.
    pub async fn media_call(&self, media: &[PairMedia]) -> MediaCall {
        self.start_media(media).await.up().await
    }
}

/// Sets codec preferences; none are the default.
pub async fn prefer(transceiver: &Transceiver, codecs: &[Codec]) {
    if !codecs.is_empty() {
        let set = transceiver.set_codec_preferences(codecs).await;
        set.expect("codec preferences");
    }
}

impl Starting {
    /// Waits until the call is up and its data channel open.
    pub async fn up(mut self) -> MediaCall {
        let b = self.answerer.log.channel().await;
        opened(&self.channel).await;
        opened(&b).await;
        connected(&self.offerer, &self.answerer).await;
        self.offerer.log.drain().await;
        self.answerer.log.drain().await;
        MediaCall {
            call: Call {
                offerer: self.offerer,
                answerer: self.answerer,
                a: self.channel,
                b,
                negotiators: self.negotiators,
            },
            ours: self.ours,
            theirs: self.theirs,
        }
    }

    /// The ends of an m-line, as seen from the side that sends.
    pub fn way(&self, from: Side, line: usize) -> (TrackSender, TrackReceiver) {
        way(&self.ours[line], &self.theirs[line], from)
    }
}

impl MediaCall {
    /// The ends of an m-line, as seen from the side that sends.
    pub fn way(&self, from: Side, line: usize) -> (TrackSender, TrackReceiver) {
        way(&self.ours[line], &self.theirs[line], from)
    }

    /// What the sending side and the receiving side report of an m-line.
    pub async fn stats(&self, from: Side, line: usize) -> (TrackStats, TrackStats) {
        let of = async |peer: &Peer, transceiver: &Transceiver| {
            let mid = transceiver.state().await.expect("a state").mid;
            let report = peer.stats().await.expect("stats");
            let mut tracks = report.tracks.into_iter().filter(|t| t.mid == mid);
            let track = tracks.next().expect("the m-line's counts");
            assert_eq!(track.kind, transceiver.kind());
            track
        };
        let a = of(&self.call.offerer, &self.ours[line]).await;
        let b = of(&self.call.answerer, &self.theirs[line]).await;
        match from {
            Side::Offerer => (a, b),
            Side::Answerer => (b, a),
        }
    }

    /// Checks that `count` frames went over an m-line and nothing was lost anywhere.
    pub async fn nothing_lost(&self, from: Side, line: usize, plan: &Plan, count: u32) {
        let what = format!("{from}, m-line {line}");
        let keyframes = (0..count).filter(|n| plan.is_keyframe(*n)).count() as u64;
        let (sender, receiver) = self.way(from, line);
        let (sent, received) = self.stats(from, line).await;
        let outbound = sender.stats();
        let inbound = receiver.stats();
        assert_eq!((sent.outbound, received.inbound), (outbound, inbound), "{what}");
        assert_eq!(sent.codec, Some(plan.codec), "{what}");
        let counts = |o: OutboundStats| (o.frames_sent, o.frames_dropped);
        assert_eq!(counts(outbound), (count.into(), 0), "{what}: {outbound:?}");
        let counts = |i: InboundStats| (i.frames_received, i.keyframes_received, i.frames_dropped, i.gaps);
        assert_eq!(
            counts(inbound),
            (count.into(), keyframes, 0, 0),
            "{what}: {inbound:?}"
        );
        if plan.codec == Codec::H264 {
            // Start codes may have become a byte longer or shorter.
            let difference = outbound.bytes_sent.abs_diff(inbound.bytes_received);
            assert!(
                difference <= 3 * u64::from(count),
                "{what}: {outbound:?} {inbound:?}"
            );
        } else {
            assert_eq!(outbound.bytes_sent, inbound.bytes_received, "{what}");
        }
    }

    /// Closes the call.
    pub async fn close(self) {
        self.call.close().await;
    }
}

/// The ends of an m-line, as seen from the side that sends.
pub fn way(ours: &Transceiver, theirs: &Transceiver, from: Side) -> (TrackSender, TrackReceiver) {
    match from {
        Side::Offerer => (ours.sender(), theirs.receiver()),
        Side::Answerer => (theirs.sender(), ours.receiver()),
    }
}

/// Sends these frames and reads them on the other side: all of them, in order, as they were sent. At most `window`
/// are under way; the first goes as soon as the sender is ready, and is a keyframe.
pub async fn flow(
    (sender, receiver): (TrackSender, TrackReceiver),
    plan: Plan,
    numbers: Range<u32>,
    window: usize,
) {
    let room = Arc::new(Semaphore::new(window));
    let what = format!("{} frames {numbers:?}", plan.codec);
    let send = async {
        let codec = deadline(&format!("{what}: ready"), sender.ready()).await;
        assert_eq!(codec, Some(plan.codec), "{what}");
        for n in numbers.clone() {
            let permit = deadline(&format!("{what}: room for {n}"), room.acquire()).await;
            permit.expect("an open semaphore").forget();
            let keyframe = n == numbers.start || plan.is_keyframe(n);
            let taken = sender.try_send(plan.frame(n, keyframe));
            assert!(taken, "{what}: {n} was dropped: {:?}", sender.stats());
        }
    };
    let receive = async {
        let mut reader = Reader::new(plan);
        for n in numbers.clone() {
            reader.read_until(&receiver, n..u32::MAX).await;
            assert_eq!(reader.arrived.last(), Some(&n), "{what}: {:?}", receiver.stats());
            room.add_permits(1);
        }
        // What comes first may follow what an earlier sender sent.
        let gaps: Vec<_> = reader
            .after_gaps
            .iter()
            .filter(|n| **n != numbers.start)
            .collect();
        assert!(
            gaps.is_empty(),
            "{what}: gaps before {gaps:?}, and nothing was lost"
        );
    };
    tokio::join!(send, receive);
}

/// Sends these frames at their pace, each `late` after its capture, with a keyframe wherever the plan has one or one
/// is asked for. Tells which frames were keyframes.
pub fn paced(
    sender: TrackSender,
    plan: Plan,
    numbers: Range<u32>,
    late: Duration,
) -> (impl Future<Output = ()> + Send, UnboundedReceiver<u32>) {
    let (keyframes, told) = mpsc::unbounded_channel();
    let send = async move {
        let codec = deadline("ready", sender.ready()).await;
        assert_eq!(codec, Some(plan.codec));
        for n in numbers.clone() {
            sleep_until(plan.captured(n) + late).await;
            let asked = sender.take_keyframe_request();
            let keyframe = n == numbers.start || plan.is_keyframe(n) || asked;
            if keyframe {
                let _ = keyframes.send(n);
            }
            let mut frame = plan.frame(n, keyframe);
            frame.captured = plan.captured(n);
            let taken = sender.try_send(frame);
            assert!(
                taken,
                "{} frame {n} was dropped: {:?}",
                plan.codec,
                sender.stats()
            );
        }
    };
    (send, told)
}

/// What one end of a lossy way saw.
#[derive(Debug)]
pub struct Watched {
    /// The numbers that came, and which of them followed a gap.
    pub reader: Reader,
    /// The longest that a frame waited for something before it, from its first packet on.
    pub held: Duration,
}

/// Reads as an application does, asking for a keyframe after each gap in video, until `last` has come.
pub async fn watch(receiver: TrackReceiver, plan: Plan, last: u32) -> Watched {
    let mut watched = Watched {
        reader: Reader::new(plan),
        held: Duration::ZERO,
    };
    loop {
        let what = format!("{} frame {last}; the last were {:?}", plan.codec, {
            let arrived = &watched.reader.arrived;
            &arrived[arrived.len().saturating_sub(3)..]
        });
        let frame = deadline(&what, receiver.recv()).await.expect("a frame");
        watched.held = watched.held.max(Instant::now() - frame.first_packet);
        if !frame.contiguous && receiver.kind() == MediaKind::Video {
            receiver.request_keyframe();
        }
        if watched.reader.take(&frame) == last {
            return watched;
        }
    }
}

/// Runs these at the same time; the first that panics ends all.
#[derive(Debug, Default)]
pub struct AtOnce(JoinSet<()>);

impl AtOnce {
    /// Another one.
    pub fn and(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    /// Waits for all.
    pub async fn end(self) {
        self.within(DEADLINE * 3).await;
    }

    /// Waits for all, at most this long.
    pub async fn within(mut self, limit: Duration) {
        crate::within(limit, "frames both sent and received", async {
            while let Some(ended) = self.0.join_next().await {
                if let Err(error) = ended {
                    resume_unwind(error.into_panic());
                }
            }
        })
        .await;
    }
}
