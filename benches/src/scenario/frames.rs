//! Frame throughput: complete frames in order, from one peer's `try_send` to the other's `recv`.

use crate::Stacks;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::Instant};
use visavis_core::{
    Call, CallFailure, Codec, Direction, Error, InboundStats, MediaKind, MediaTime, OutgoingFrame,
    PairConfig, PairMedia, Payload, PeerPair, SamePage, TrackReceiver, TrackSender,
};

/// The sizes of the frames that are measured, in bytes: one packet, and the pictures of a call at 3 and at 15 Mbit/s.
pub const SIZES: [usize; 3] = [1_200, 12_000, 60_000];

/// How many frames are under way at most. They are acknowledged in process, so no signal slows them.
pub const WINDOW: usize = 8;

/// Frames differ, and repeat after this many, more than can be under way. The first of them is a keyframe.
const PERIOD: usize = 64;

/// The parameter sets of a keyframe, constrained baseline, 640x480, and the start code of its slice.
const PARAMETERS: [u8; 34] = [
    0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02, 0x80, 0xf6, 0x84, 0x0a, 0x11, 0x24, 0x3c, 0x60, 0xca,
    0x80, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x65, 0x88,
];

/// Ticks from one frame to the next, at 30 frames a second.
const STEP: u64 = 3_000;

/// A call that sends H.264 frames of one size from the offerer to the answerer.
#[derive(Debug)]
pub struct FrameThroughput {
    pair: SamePage,
    call: Arc<Call>,
    sender: TrackSender,
    receiver: TrackReceiver,
    frames: Vec<Frame>,
    sent: u64,
}

impl FrameThroughput {
    /// Calls on loopback and waits until frames may flow.
    ///
    /// # Errors
    ///
    /// Why there was no call.
    pub async fn new(stacks: Stacks, size: usize) -> Result<Self, CallFailure> {
        let config = PairConfig {
            media: vec![PairMedia {
                kind: MediaKind::Video,
                direction: Direction::SendOnly,
                codecs: vec![Codec::H264],
            }],
            ..PairConfig::default()
        };
        let [offerer, answerer] = stacks;
        let pair = SamePage::new(offerer, answerer, config);
        // A new pair can be started.
        let _ = pair.start().await;
        let call = pair.call().await?;
        let sender = call.offerer.transceivers[0].sender();
        let receiver = call.answerer.transceivers[0].receiver();
        sender.ready().await;
        Ok(Self {
            pair,
            call,
            sender,
            receiver,
            frames: (0..PERIOD).map(|n| Frame::new(n, size)).collect(),
            sent: 0,
        })
    }

    /// Sends `count` frames and receives each, with [`WINDOW`] under way. The time is from the first one sent to the
    /// last one received.
    ///
    /// # Panics
    ///
    /// When a frame is dropped, lost, out of order or not what was sent: throughput with losses is no result.
    pub async fn run(&mut self, count: u64) -> Duration {
        let room = Semaphore::new(WINDOW);
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        let began = Instant::now();
        let send = async {
            for n in numbers.clone() {
                room.acquire().await.expect("an open semaphore").forget();
                let frame = &self.frames[n as usize % PERIOD];
                let taken = self.sender.try_send(OutgoingFrame {
                    codec: Codec::H264,
                    payload: frame.payload.clone(),
                    keyframe: frame.keyframe,
                    media_time: MediaTime {
                        ticks: n * STEP,
                        rate: Codec::H264.clock_rate(),
                    },
                    captured: Instant::now(),
                });
                assert!(taken, "frame {n} was dropped: {:?}", self.sender.stats());
            }
        };
        let receive = async {
            for n in numbers.clone() {
                let frame = self.receiver.recv().await.expect("a track that goes on");
                let sent = &self.frames[n as usize % PERIOD];
                assert!(sent.is(frame.payload.as_ref()), "frame {n} is not what was sent");
                assert_eq!(frame.keyframe, sent.keyframe, "frame {n}");
                assert_eq!(frame.media_time.ticks as u32, (n * STEP) as u32, "frame {n}");
                room.add_permits(1);
            }
        };
        tokio::join!(send, receive);
        let took = began.elapsed();
        let InboundStats {
            frames_received,
            frames_dropped,
            gaps,
            ..
        } = self.receiver.stats();
        assert_eq!((frames_received, frames_dropped, gaps), (self.sent, 0, 0));
        took
    }

    /// Hangs up.
    ///
    /// # Errors
    ///
    /// That the call was over already.
    pub async fn end(self) -> Result<(), Error> {
        drop(self.call);
        self.pair.hang_up().await
    }
}

/// What is sent.
#[derive(Debug)]
struct Frame {
    payload: Payload,
    keyframe: bool,
    /// Where its slice begins.
    slice: usize,
}

impl Frame {
    /// Frame `n`: one slice, after its parameter sets if it is a keyframe.
    fn new(n: usize, size: usize) -> Self {
        let keyframe = n == 0;
        let mut bytes = if keyframe {
            PARAMETERS.to_vec()
        } else {
            vec![0, 0, 0, 1, 0x41, 0x9a]
        };
        let slice = bytes.len() - 2;
        // No byte is 0, so there is no start code inside.
        bytes.extend((bytes.len()..size).map(|i| 0x80 | ((i * 31 + n * 7) % 127) as u8));
        Self {
            payload: bytes.into(),
            keyframe,
            slice,
        }
    }

    /// Whether this is the frame: its slice, byte for byte, and as much before it. Start codes have three or four
    /// bytes (H.264, Annex B).
    fn is(&self, arrived: &[u8]) -> bool {
        let sent = self.payload.as_ref();
        let codes = if self.keyframe { 3 } else { 1 };
        arrived.ends_with(&sent[self.slice..]) && arrived.len().abs_diff(sent.len()) <= codes
    }
}
