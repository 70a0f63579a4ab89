//! The first datagrams of a DTLS connection, sent again until the peer answers.
//!
//! Both stacks wait a second for a lost DTLS flight (RFC 6347 §4.2.4.1) and up to three for a lost SCTP chunk
//! (RFC 9260 §15), and rtc-dtls stops its timer when the peer's last flight comes once more. A path that loses one
//! datagram in ten makes a handshake of six round trips take seconds, or stand still. So every socket repeats what the
//! stack has sent, bit by bit, a little more than a round trip later. To the peer it is as if the network had repeated
//! a datagram: if the first one was lost it is the first, otherwise DTLS takes it for the replay that it is (RFC 6347
//! §4.1.2.6).
//!
//! This is for the handshake of DTLS, SCTP and the first data channel: it ends with the [`MOST`]th datagram. It begins
//! anew when a path that was silent comes back: SCTP, whose waits have doubled up to a minute by then, and one of which
//! stops after the fifth, gets the acknowledgement for what it sent last, and goes on ([`Silence`]).

use super::{Changed, Net, RecvMeta, Transmit, UdpSocket};
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
        atomic::{AtomicBool, AtomicU64, Ordering},
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
pub(crate) struct RepeatingNet {
    inner: Arc<dyn Net>,
    /// Of all sockets: an ICE restart may replace them.
    silence: Arc<Silence>,
}

impl RepeatingNet {
    pub(crate) fn new(inner: Arc<dyn Net>) -> Self {
        Self {
            inner,
            silence: Arc::new(Silence::new()),
        }
    }

    fn wrap(&self, inner: Arc<dyn UdpSocket>) -> Arc<dyn UdpSocket> {
        Arc::new(RepeatingSocket {
            inner,
            silence: Arc::clone(&self.silence),
            over: AtomicBool::new(false),
            repeats: Mutex::default(),
        })
    }
}

impl Net for RepeatingNet {
    fn interfaces(&self) -> io::Result<Vec<IpAddr>> {
        self.inner.interfaces()
    }

    fn changed(&self) -> Changed {
        self.inner.changed()
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        Ok(self.wrap(self.inner.bind(addr)?))
    }

    fn adopt(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn UdpSocket>> {
        Ok(self.wrap(self.inner.adopt(socket)?))
    }
}

/// What was sent last while no DTLS came from the peer.
///
/// Each time SCTP's timer goes off, it sends again what is missing, the oldest first and up to a packet's worth of
/// messages. No such datagram has arrived, so the last of them are no replays to the peer.
#[derive(Debug)]
struct Silence {
    epoch: Instant,
    /// Milliseconds from then to when DTLS came last.
    heard: AtomicU64,
    /// Whether something is kept, so that a read need not lock to know.
    keeps: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    datagrams: Vec<Box<[u8]>>,
    /// When the first of them was sent.
    began: Option<Instant>,
    /// When something was kept first.
    since: Option<Instant>,
    /// When they were sent again last.
    again: Option<Instant>,
}

/// So long after the last DTLS, what is sent is kept.
const QUIET: Duration = Duration::from_millis(2_500);

/// What is kept for less than this may be answered yet: SCTP waits at least as long for it. Nor is it sent more often.
const UNANSWERED: Duration = Duration::from_secs(1);

/// How many datagrams are kept: the first that were sent within so much time. Later ones take their place.
const KEPT: usize = 8;
const AT_ONCE: Duration = Duration::from_millis(100);

impl Silence {
    fn new() -> Self {
        Self {
            epoch: Instant::now(),
            heard: AtomicU64::new(0),
            keeps: AtomicBool::new(false),
            kept: Mutex::default(),
        }
    }

    fn lasts(&self, now: Instant) -> bool {
        let heard = self.epoch + Duration::from_millis(self.heard.load(Ordering::Relaxed));
        now >= heard + QUIET
    }

    /// Something was sent in it.
    fn sent(&self, now: Instant, contents: &[u8]) {
        if !carries_data(contents) {
            return;
        }
        let mut kept = lock(&self.kept);
        kept.since.get_or_insert(now);
        if kept.began.is_none_or(|began| now > began + AT_ONCE) {
            kept.datagrams.clear();
            kept.began = Some(now);
        }
        if kept.datagrams.len() < KEPT {
            kept.datagrams.push(contents.into());
        }
        self.keeps.store(true, Ordering::Relaxed);
    }

    /// Something came. Returns what is to be sent again, if this shows that there is a way to the peer: DTLS ends the
    /// silence, an answer to a check of ours may be about one of several ways.
    fn received(&self, now: Instant, contents: &[u8]) -> Vec<Box<[u8]>> {
        let ends = is_dtls(contents);
        if ends {
            let heard = u64::try_from((now - self.epoch).as_millis()).unwrap_or(u64::MAX);
            self.heard.store(heard, Ordering::Relaxed);
        }
        if !self.keeps.load(Ordering::Relaxed) || !(ends || transaction(contents, BINDING_RESPONSE).is_some())
        {
            return Vec::new();
        }
        let mut kept = lock(&self.kept);
        let unanswered = |at: Option<Instant>| at.is_none_or(|at| now >= at + UNANSWERED);
        let datagrams = if !unanswered(kept.since) || !(ends || unanswered(kept.again)) {
            Vec::new()
        } else {
            kept.again = Some(now);
            kept.datagrams.clone()
        };
        if ends {
            self.keeps.store(false, Ordering::Relaxed);
            *kept = Kept::default();
        }
        datagrams
    }
}

#[derive(Debug)]
struct RepeatingSocket {
    inner: Arc<dyn UdpSocket>,
    silence: Arc<Silence>,
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
    /// It is of a [`Silence`], and not of a handshake.
    from_silence: bool,
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
            from_silence: false,
        });
    }

    /// Sends this again, first at once.
    fn take_up(&mut self, now: Instant, to: SocketAddr, contents: Box<[u8]>) {
        let round_trip = self.round_trip.unwrap_or(UNKNOWN_ROUND_TRIP);
        self.unanswered.push(Sent {
            to,
            contents,
            at: now,
            again_at: now,
            interval: (round_trip + round_trip / 4).clamp(INTERVALS[0], INTERVALS[1]),
            left: 1 + DATA_REPEATS,
            from_silence: true,
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
        // What comes after a silence says nothing of what was sent in it.
        self.unanswered
            .retain(|sent| sent.from_silence || sent.at + under_way > now);
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

/// Encrypted, as all is that SCTP sends.
fn carries_data(datagram: &[u8]) -> bool {
    let first = datagram.first();
    first.is_some_and(|first| *first == APPLICATION_DATA || UNIFIED.contains(first))
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
    /// Something came. Returns whether that is the end of a silence, and something is to be sent again.
    fn hear(&self, bufs: &[IoSliceMut<'_>], meta: &[RecvMeta]) -> bool {
        let now = Instant::now();
        let mut ended = false;
        for (buffer, meta) in bufs.iter().zip(meta) {
            let first = &buffer[..meta.len.min(meta.stride)];
            for contents in self.silence.received(now, first) {
                let mut repeats = lock(&self.repeats);
                if self.over.swap(false, Ordering::Relaxed) {
                    // These, and no others.
                    repeats.taken = MOST;
                }
                repeats.take_up(now, meta.addr, contents);
                ended = true;
            }
        }
        ended
    }

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
        let over = self.over.load(Ordering::Relaxed);
        // What a dead socket refuses is as good as sent.
        if sent.is_pending() || (over && !carries_data(transmit.contents)) {
            return sent;
        }
        let now = Instant::now();
        let size = transmit.segment_size.unwrap_or(transmit.contents.len());
        let datagrams = || transmit.contents.chunks(size.max(1));
        if self.silence.lasts(now) {
            datagrams().for_each(|datagram| self.silence.sent(now, datagram));
        }
        if !over && matches!(sent, Poll::Ready(Ok(()))) {
            let mut repeats = lock(&self.repeats);
            for datagram in datagrams() {
                repeats.sent(now, transmit.destination, datagram);
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
        let ended = matches!(received, Poll::Ready(Ok(count)) if self.hear(&bufs[..count], &meta[..count]));
        if ended || self.over.load(Ordering::Relaxed) {
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
