//! Frames as sealed datagrams over loopback, from one task to another.

use crate::{
    metric::Metric,
    outcome::{Meter, Outcome},
    scenario::content::Frames,
    scenario::ended,
    tap::datagrams,
    work::{Content, Visit},
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::{
    array,
    future::poll_fn,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use visavis_core::{
    Net, RealNet, UdpSocket,
    net::{RecvMeta, Transmit, send},
};

/// Bytes of a frame in a datagram.
const PIECE: usize = 1_200;

/// An RTP header (RFC 3550 §5.1) without extensions.
const HEADER: usize = 12;

/// Bytes of a full datagram; the tag of AES-GCM has 16.
const DATAGRAM: usize = HEADER + PIECE + 16;

/// Datagrams under way at most, whatever the window of frames: as many fit into a socket's buffer of 208 KiB, which is
/// Linux's default limit, and so none is lost.
const UNDER_WAY: usize = 128;

/// The largest UDP payload over IPv4, for one system call has at most that.
const LARGEST: usize = 65_507;

/// How many buffers a system call may fill, with several datagrams each.
const READS: usize = 8;

/// A batch that takes this much longer than it should has lost something.
const PATIENCE: Duration = Duration::from_secs(5);

/// About how many seconds a batch takes.
const BATCH: f64 = 0.02;

/// Sends frames as fast as they go.
pub(super) async fn run(
    visit: &Visit,
    content: Content,
    window: usize,
    segmentation: bool,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let frames = Frames::new(content, visit.recording.as_deref())?;
    let size = frames.mean_size();
    let mut link = Some(Link::new(&frames, segmentation)?);
    let mut count = 100;
    outcome
        .measure(visit, async || {
            // After a failure there is none.
            let current = match link.take() {
                Some(link) => link,
                None => Link::new(&frames, segmentation)?,
            };
            let meter = Meter::start();
            let sent = count;
            link = Some(current.run(sent, window).await?);
            let (wall, cpu) = meter.read();
            let rate = sent as f64 / wall;
            count = ((rate * BATCH) as u64).max(10);
            Ok(vec![
                (Metric::FramesPerSecond, rate),
                (Metric::FramesPerCpuSecond, sent as f64 / cpu),
                (Metric::Throughput, rate * size / 1e6),
            ])
        })
        .await;
    Ok(())
}

/// Two sockets and what is at them.
struct Link {
    sender: Sender,
    receiver: Receiver,
    sent: u64,
}

impl Link {
    fn new(frames: &Frames, segmentation: bool) -> Result<Self, String> {
        let cipher = || Cipher::new().ok_or("no AES-256-GCM");
        let bind = || {
            let socket = RealNet.bind((Ipv4Addr::LOCALHOST, 0).into());
            socket.map_err(|error| format!("no socket on loopback: {error}"))
        };
        let (from, to) = (bind()?, bind()?);
        let address = to.local_addr().map_err(|error| error.to_string())?;
        let segments = if segmentation {
            from.max_gso_segments().min(LARGEST / DATAGRAM)
        } else {
            1
        };
        Ok(Self {
            sender: Sender {
                frames: frames.clone(),
                socket: from,
                to: address,
                cipher: cipher()?,
                segments,
                buffer: Vec::with_capacity(segments * DATAGRAM),
                packet: 0,
            },
            receiver: Receiver {
                frames: frames.clone(),
                socket: to,
                cipher: cipher()?,
                buffers: vec![vec![0; LARGEST]; if segmentation { READS } else { 1 }],
                packet: 0,
            },
            sent: 0,
        })
    }

    /// Sends `count` frames and receives each, at most `window` of them under way.
    ///
    /// # Errors
    ///
    /// When a datagram is lost or is not what was sent. There is no link then.
    async fn run(self, count: u64, window: usize) -> Result<Self, String> {
        let Self {
            mut sender,
            mut receiver,
            sent,
        } = self;
        let numbers = sent..sent + count;
        let room = Arc::new(Room {
            frames: Semaphore::new(window),
            datagrams: Semaphore::new(UNDER_WAY),
            complete: AtomicU64::new(sent),
        });
        // Ends with this function.
        let mut receivers = JoinSet::new();
        let (range, here) = (numbers.clone(), Arc::clone(&room));
        receivers.spawn(async move { receiver.run(range, &here).await.map(|()| receiver) });
        // This task is on a thread of its own, that of the runtime's `block_on`: two tasks that wake one another would
        // often end up on one thread.
        let both = timeout(PATIENCE, async {
            tokio::try_join!(sender.run(numbers.clone(), &room), ended(&mut receivers))
        });
        let late = |_| {
            let n = room.complete.load(Ordering::Relaxed);
            format!("frame {n} did not arrive complete")
        };
        let ((), receiver) = both.await.map_err(late)??;
        Ok(Self {
            sender,
            receiver,
            sent: numbers.end,
        })
    }
}

/// What may be under way, and what has arrived.
struct Room {
    frames: Semaphore,
    datagrams: Semaphore,
    complete: AtomicU64,
}

struct Sender {
    frames: Frames,
    socket: Arc<dyn UdpSocket>,
    to: SocketAddr,
    cipher: Cipher,
    /// How many datagrams go in a system call.
    segments: usize,
    buffer: Vec<u8>,
    packet: u64,
}

impl Sender {
    async fn run(&mut self, numbers: Range<u64>, room: &Room) -> Result<(), String> {
        let closed = |error: tokio::sync::AcquireError| error.to_string();
        let frames = self.frames.clone();
        for n in numbers {
            room.frames.acquire().await.map_err(closed)?.forget();
            let frame = frames.get(n).payload.as_ref();
            let mut rest = frame.chunks(PIECE).peekable();
            while rest.peek().is_some() {
                self.buffer.clear();
                let mut count = 0;
                while count < self.segments
                    && let Some(piece) = rest.next()
                {
                    let header = header(self.packet, n, rest.peek().is_none());
                    self.cipher.seal(&header, self.packet, piece, &mut self.buffer)?;
                    self.packet += 1;
                    count += 1;
                }
                let datagrams = room.datagrams.acquire_many(count as u32).await;
                datagrams.map_err(closed)?.forget();
                let transmit = Transmit {
                    destination: self.to,
                    ecn: None,
                    contents: &self.buffer,
                    segment_size: (count > 1).then_some(DATAGRAM),
                    src_ip: None,
                };
                let sent = send(&*self.socket, &transmit).await;
                sent.map_err(|error| format!("frame {n} was not sent: {error}"))?;
            }
        }
        Ok(())
    }
}

struct Receiver {
    frames: Frames,
    socket: Arc<dyn UdpSocket>,
    cipher: Cipher,
    buffers: Vec<Vec<u8>>,
    packet: u64,
}

impl Receiver {
    async fn run(&mut self, numbers: Range<u64>, room: &Room) -> Result<(), String> {
        let frames = self.frames.clone();
        let (mut n, mut arrived) = (numbers.start, 0);
        while n < numbers.end {
            let (count, metas) = self.read().await.map_err(|error| error.to_string())?;
            for (buffer, meta) in self.buffers.iter_mut().zip(metas).take(count) {
                let batch = &mut buffer[..meta.len];
                room.datagrams
                    .add_permits(datagrams(batch, Some(meta.stride)).count());
                for datagram in batch.chunks_mut(meta.stride.max(1)) {
                    let (last, piece) = self.cipher.open(self.packet, n, datagram)?;
                    self.packet += 1;
                    let frame = frames.get(n).payload.as_ref();
                    let whole = arrived + piece.len() == frame.len();
                    if !frame[arrived..].starts_with(piece) || last != whole {
                        return Err(format!("what arrived is not frame {n}"));
                    }
                    arrived += piece.len();
                    if last {
                        (n, arrived) = (n + 1, 0);
                        room.complete.store(n, Ordering::Relaxed);
                        room.frames.add_permits(1);
                    }
                }
            }
        }
        Ok(())
    }

    /// How many buffers were filled, and with what.
    async fn read(&mut self) -> io::Result<(usize, [RecvMeta; READS])> {
        let mut metas = array::from_fn(|_| RecvMeta::default());
        let count = self.buffers.len();
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [_; READS] =
            array::from_fn(|_| IoSliceMut::new(buffers.next().map_or(&mut [], Vec::as_mut_slice)));
        let read = poll_fn(|cx| {
            self.socket
                .poll_recv(cx, &mut slices[..count], &mut metas[..count])
        })
        .await?;
        Ok((read, metas))
    }
}

/// The header of packet `packet`, the last one of frame `n` or not.
fn header(packet: u64, n: u64, last: bool) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = 2 << 6;
    header[1] = u8::from(last) << 7 | PAYLOAD_TYPE;
    header[2..4].copy_from_slice(&(packet as u16).to_be_bytes());
    header[4..8].copy_from_slice(&((n * 3_000) as u32).to_be_bytes());
    header[8..].copy_from_slice(&SSRC);
    header
}

const PAYLOAD_TYPE: u8 = 0x60;
const SSRC: [u8; 4] = *b"vis\0";

/// One direction's key, as of SRTP's profile `SRTP_AEAD_AES_256_GCM`.
struct Cipher {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Cipher {
    fn new() -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).ok()?;
        Some(Self {
            key: LessSafeKey::new(key),
            salt: [9; 12],
        })
    }

    /// RFC 7714 §8.1: the SSRC, the rollover counter and the sequence number.
    fn nonce(&self, packet: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&SSRC);
        nonce[6..].copy_from_slice(&packet.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(array::from_fn(|i| nonce[i] ^ self.salt[i]))
    }

    /// Adds a datagram to `buffer`.
    fn seal(&self, header: &[u8], packet: u64, piece: &[u8], buffer: &mut Vec<u8>) -> Result<(), String> {
        buffer.extend_from_slice(header);
        let start = buffer.len();
        buffer.extend_from_slice(piece);
        let sealed =
            self.key
                .seal_in_place_separate_tag(self.nonce(packet), Aad::from(header), &mut buffer[start..]);
        let tag = sealed.map_err(|_| "a datagram cannot be sealed")?;
        buffer.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Whether a datagram, which is packet `packet`, is the last one of its frame `n`, and what it carries.
    fn open<'a>(&self, packet: u64, n: u64, datagram: &'a mut [u8]) -> Result<(bool, &'a [u8]), String> {
        let wrong = || format!("a datagram of frame {n} is missing or damaged");
        let (head, sealed) = datagram.split_at_mut_checked(HEADER).ok_or_else(wrong)?;
        let last = head[1] >> 7 == 1;
        if *head != header(packet, n, last) {
            return Err(wrong());
        }
        let opened = self
            .key
            .open_in_place(self.nonce(packet), Aad::from(&*head), sealed);
        Ok((last, opened.map_err(|_| wrong())?))
    }
}
