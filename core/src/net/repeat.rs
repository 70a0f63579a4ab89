//! The first datagrams of a DTLS connection, sent again until the peer answers.
//!
//! Both stacks wait a second for a lost DTLS flight (RFC 6347 §4.2.4.1) and up to three for a lost SCTP chunk
//! (RFC 9260 §15), and rtc-dtls stops its timer when the peer's last flight comes once more. A path that loses one
//! datagram in ten makes a handshake of six round trips take seconds, or stand still. So every socket repeats what the
//! stack has sent, bit by bit, a little more than a round trip later. To the peer it is as if the network had repeated
//! a datagram: if the first one was lost it is the first, otherwise DTLS takes it for the replay that it is (RFC 6347
//! §4.1.2.6).
//!
//! This is for the handshake of DTLS, SCTP and the first data channel: it ends with the [`MOST`]th datagram.

use super::{Net, RecvMeta, Transmit, UdpSocket};
use crate::lock;
use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    future::Future,
    hash::{Hash, Hasher},
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// How many datagrams of a socket are sent again. A handshake has about ten a side.
const MOST: usize = 48;

/// How much of what came is remembered.
const SEEN: usize = 1024;

/// How often a part of a DTLS flight is sent again.
const FLIGHT_REPEATS: u32 = 12;

/// How often another datagram is. The last that a side sends is answered by nothing.
const DATA_REPEATS: u32 = 3;

/// The least time and the most until a datagram is sent again.
const INTERVALS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Until ICE's checks have told the round trip.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);

/// A [`Net`] whose sockets send the first datagrams of a DTLS connection again until the peer answers.
#[derive(Debug)]
pub(crate) struct RepeatingNet(pub(crate) Arc<dyn Net>);

impl RepeatingNet {
    fn wrap(inner: Arc<dyn UdpSocket>) -> Arc<dyn UdpSocket> {
        Arc::new(RepeatingSocket {
            inner,
            over: AtomicBool::new(false),
            repeats: Mutex::default(),
        })
    }
}

impl Net for RepeatingNet {
    fn interfaces(&self) -> io::Result<Vec<IpAddr>> {
        self.0.interfaces()
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        self.0.bind(addr).map(Self::wrap)
    }

    fn adopt(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn UdpSocket>> {
        self.0.adopt(socket).map(Self::wrap)
    }
}

#[derive(Debug)]
struct RepeatingSocket {
    inner: Arc<dyn UdpSocket>,
    /// Nothing is left to do here.
    over: AtomicBool,
    repeats: Mutex<Repeats>,
}

#[derive(Debug, Default)]
struct Repeats {
    unanswered: Vec<Sent>,
    /// How many were taken.
    taken: usize,
    /// What came from the peer.
    seen: HashSet<u64>,
    /// When ICE's last check was sent, by its transaction (RFC 8489 §5).
    check: Option<([u8; 12], Instant)>,
    round_trip: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Who reads the socket, for it sets the timer.
    reader: Option<Waker>,
}

#[derive(Debug)]
struct Sent {
    to: SocketAddr,
    contents: Box<[u8]>,
    /// The first time.
    at: Instant,
    again_at: Instant,
    interval: Duration,
    left: u32,
}

impl Repeats {
    /// A datagram that was sent.
    fn sent(&mut self, now: Instant, to: SocketAddr, contents: &[u8]) {
        if let Some(transaction) = transaction(contents, BINDING_REQUEST) {
            self.check = Some((transaction, now));
        }
        if !is_dtls(contents) || self.taken >= MOST || self.seen.len() >= SEEN {
            return;
        }
        self.taken += 1;
        let round_trip = self.round_trip.unwrap_or(UNKNOWN_ROUND_TRIP);
        let interval = (round_trip + round_trip / 4).clamp(INTERVALS[0], INTERVALS[1]);
        let timely = self
            .timer
            .as_ref()
            .is_some_and(|timer| timer.deadline() <= now + interval);
        if let Some(reader) = self.reader.take_if(|_| !timely) {
            reader.wake();
        }
        self.unanswered.push(Sent {
            to,
            contents: contents.into(),
            at: now,
            again_at: now + interval,
            interval,
            left: if contents[0] == APPLICATION_DATA {
                DATA_REPEATS
            } else {
                FLIGHT_REPEATS
            },
        });
    }

    /// A datagram that came.
    fn received(&mut self, now: Instant, contents: &[u8]) {
        if let Some((transaction_sent, at)) = self.check
            && transaction(contents, BINDING_RESPONSE) == Some(transaction_sent)
        {
            self.round_trip = Some(now - at);
            self.check = None;
        }
        if self.seen.len() < SEEN && !self.is_news(contents) {
            return;
        }
        // What was sent within the last round trip cannot have been answered yet.
        let under_way = self.round_trip.unwrap_or_default().mul_f64(0.75);
        self.unanswered.retain(|sent| sent.at + under_way > now);
    }

    /// Whether the peer has got on with it: something of DTLS that has not come before, or media.
    fn is_news(&mut self, contents: &[u8]) -> bool {
        let mut news = is_rtp(contents);
        let mut rest = contents;
        while let Some((record, after)) = is_dtls(rest).then(|| split_record(rest)).flatten() {
            news |= record_key(record).is_some_and(|key| self.seen.insert(key));
            rest = after;
        }
        news
    }

    /// What is to be sent again now.
    fn due(&mut self, now: Instant) -> Vec<(SocketAddr, Box<[u8]>)> {
        let mut due = Vec::new();
        self.unanswered.retain_mut(|sent| {
            if sent.again_at > now {
                return true;
            }
            due.push((sent.to, sent.contents.clone()));
            sent.interval = (sent.interval * 3 / 2).min(INTERVALS[1]);
            sent.again_at = now + sent.interval;
            sent.left -= 1;
            sent.left > 0
        });
        due
    }

    fn is_over(&self) -> bool {
        (self.taken >= MOST || self.seen.len() >= SEEN) && self.unanswered.is_empty()
    }
}

/// STUN's message types (RFC 8489 §18.1).
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_RESPONSE: [u8; 2] = [0x01, 0x01];

/// DTLS's content types (RFC 6347 §4.1), and the first bits of a DTLS 1.3 record (RFC 9147 §4).
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const UNIFIED: std::ops::RangeInclusive<u8> = 32..=63;

/// The first byte tells the protocols apart (RFC 7983 §7).
fn is_dtls(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (20..=63).contains(first))
}

fn is_rtp(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (128..=191).contains(first))
}

fn transaction(datagram: &[u8], message: [u8; 2]) -> Option<[u8; 12]> {
    let fits = datagram.len() >= 20 && datagram.starts_with(&message);
    fits.then(|| datagram[8..20].try_into().ok()).flatten()
}

/// The first record of a datagram, and what follows it.
fn split_record(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    if UNIFIED.contains(datagram.first()?) {
        return Some((datagram, &[]));
    }
    let length = u16::from_be_bytes([*datagram.get(11)?, *datagram.get(12)?]);
    datagram.split_at_checked(13 + usize::from(length))
}

/// What is the same when the peer's stack sends a part of its flight again; `None` for what says nothing.
fn record_key(record: &[u8]) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let kind = *record.first()?;
    let epoch = record.get(3..5)?;
    match kind {
        // The message's number and its fragment's offset (RFC 6347 §4.2.2).
        HANDSHAKE if epoch == [0, 0] => record.get(17..22)?.hash(&mut hasher),
        // Encrypted: a Finished, and no more in DTLS 1.2.
        HANDSHAKE => (kind, epoch).hash(&mut hasher),
        APPLICATION_DATA => record.get(3..11)?.hash(&mut hasher),
        kind if UNIFIED.contains(&kind) => record.hash(&mut hasher),
        _ => return None,
    }
    Some(hasher.finish())
}

impl RepeatingSocket {
    /// Sends what is due, and has the reader woken for what will be.
    fn repeat(&self, cx: &mut Context<'_>) {
        let mut repeats = lock(&self.repeats);
        loop {
            for (destination, contents) in repeats.due(Instant::now()) {
                let transmit = Transmit {
                    destination,
                    ecn: None,
                    contents: &contents,
                    segment_size: None,
                    src_ip: None,
                };
                if let Err(error) = self.inner.try_send(&transmit) {
                    tracing::trace!(%error, %destination, "a datagram was not repeated");
                }
            }
            let next = repeats.unanswered.iter().map(|sent| sent.again_at).min();
            // A timer for what has been answered since serves the next as well.
            let timer = match (repeats.timer.as_mut(), next) {
                (None, None) => break,
                (None, Some(next)) => repeats.timer.insert(Box::pin(sleep_until(next))),
                (Some(timer), next) => {
                    if let Some(next) = next.filter(|next| *next < timer.deadline()) {
                        timer.as_mut().reset(next);
                    }
                    timer
                }
            };
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            repeats.timer = None;
        }
        repeats.reader = Some(cx.waker().clone());
    }
}

impl UdpSocket for RepeatingSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        let sent = self.inner.poll_send(cx, transmit);
        if !self.over.load(Ordering::Relaxed) && matches!(sent, Poll::Ready(Ok(()))) {
            let mut repeats = lock(&self.repeats);
            let size = transmit.segment_size.unwrap_or(transmit.contents.len());
            for datagram in transmit.contents.chunks(size.max(1)) {
                repeats.sent(Instant::now(), transmit.destination, datagram);
            }
        }
        sent
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, meta);
        if self.over.load(Ordering::Relaxed) {
            return received;
        }
        match &received {
            Poll::Ready(Ok(count)) => {
                let mut repeats = lock(&self.repeats);
                for (buffer, meta) in bufs.iter().zip(meta.iter()).take(*count) {
                    for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                        repeats.received(Instant::now(), datagram);
                    }
                }
                if repeats.is_over() {
                    *repeats = Repeats::default();
                    self.over.store(true, Ordering::Relaxed);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.repeat(cx),
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

#[cfg(test)]
mod tests;
