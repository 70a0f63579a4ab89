//! The socket itself: what the library writes goes out joined, and what it reads comes when it can take it.

use super::{DTLS, Link, SRTP, lock};
use crate::{
    checks::{Checks, LastCheck, STUN},
    joined::Joined,
};
use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::UdpSocket;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// A datagram of DTLS with at least so many bytes carries data, not only acknowledgements.
const DATA_LEN: usize = 400;

/// In a read of several datagrams, one of at most so many bytes is taken for one that only acknowledges: SCTP sends that in
/// a packet of its own, behind the data.
const SACK_LEN: usize = 128;

/// While a reader is behind, a read with data goes through this often, and what acknowledges it tells the remote
/// SCTP that the association lives. Some give up after ten repetitions, five minutes.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// A STUN Binding indication (RFC 8489 §5): an ICE agent takes it and does nothing.
const INDICATION: [u8; 20] = [
    0x00, 0x11, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

const APPLICATION_DATA: u8 = 23;

/// A socket for webrtc-rs.
pub(crate) struct Socket {
    inner: Arc<dyn UdpSocket>,
    link: Arc<Link>,
    /// Whether `side` may hold something, so that a read need not lock to know.
    has_side: AtomicBool,
    side: Mutex<Side>,
    joined: Mutex<Joined>,
    last_check: LastCheck,
}

/// What a read returns besides what the network has.
#[derive(Default)]
pub(super) struct Side {
    pub(super) kick: bool,
    waker: Option<Waker>,
    pub(super) checks: Checks,
}

impl Socket {
    pub(crate) fn new(inner: Arc<dyn UdpSocket>, link: &Arc<Link>) -> Arc<Self> {
        let socket = Arc::new(Self {
            inner,
            link: Arc::clone(link),
            has_side: AtomicBool::new(false),
            side: Mutex::default(),
            joined: Mutex::default(),
            last_check: LastCheck::default(),
        });
        lock(&link.sockets).push(Arc::downgrade(&socket));
        socket
    }

    /// Whether this checks the pair in use, which was checked just now.
    fn is_needless(&self, transmit: &Transmit<'_>) -> bool {
        self.link.has_pair()
            && self
                .last_check
                .is_repeated_by(transmit.contents, transmit.destination)
    }

    /// Leaves a datagram to the next flush, if it can go with those that wait for it.
    fn join(&self, transmit: &Transmit<'_>, most: usize) -> bool {
        let joins = lock(&self.joined).push(transmit, most);
        if joins {
            self.link.unsent.store(true, Relaxed);
        }
        joins
    }

    fn send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<()> {
        let len = transmit.contents.len();
        match ready!(self.inner.poll_send(cx, transmit)) {
            Ok(()) => {
                let counts = &self.link.counts;
                counts
                    .packets_sent
                    .fetch_add(datagrams(len, transmit.segment_size), Relaxed);
                counts.bytes_sent.fetch_add(len as u64, Relaxed);
                self.link.observe(transmit.contents);
            }
            // A route that is gone or a firewall is a lost packet to the protocols above, which know how to
            // repeat it; the library would log each one as an error.
            Err(error) => tracing::debug!(%error, to = %transmit.destination, "datagram not sent"),
        }
        Poll::Ready(())
    }

    /// Wakes the reader, for what `change` has put aside.
    pub(super) fn wake(&self, change: impl Fn(&mut Side)) {
        let mut side = lock(&self.side);
        change(&mut side);
        self.has_side.store(true, SeqCst);
        if let Some(waker) = side.waker.take() {
            waker.wake();
        }
    }

    /// Sends what waits to be joined.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut joined = lock(&self.joined);
        if let Some(transmit) = joined.transmit() {
            ready!(self.send(cx, &transmit));
            joined.clear();
        }
        Poll::Ready(())
    }

    /// Takes what was held or made up, if there is something to give now.
    fn take_side(&self, buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        if !self.has_side.load(SeqCst) {
            return false;
        }
        let mut side = lock(&self.side);
        if std::mem::take(&mut side.kick) {
            buffer[..INDICATION.len()].copy_from_slice(&INDICATION);
            // From nobody, so that the ICE agent takes it for no candidate's.
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                INDICATION.len(),
                INDICATION.len(),
            );
            return true;
        }
        let mut given = side.checks.take(!self.link.is_early(*STUN.start()));
        if given.is_none() {
            given = lock(&self.link.held).pop(&self.link);
        }
        if given.is_none() && self.link.stalled.load(SeqCst) == 0 {
            given = lock(&self.link.late).pop();
        }
        if let Some((contents, its_meta)) = given {
            buffer[..contents.len()].copy_from_slice(&contents);
            *meta = its_meta;
            drop(side);
            // Only now does the driver get to see an alert that was held.
            self.link.observe(&contents);
            return true;
        }
        // What is held for later must be looked at again only when it may be given, which wakes the sockets.
        self.has_side.store(false, SeqCst);
        false
    }

    /// Registers the reader. Returns whether something came to be read in the meantime.
    fn park(&self, cx: &Context<'_>) -> bool {
        let mut side = lock(&self.side);
        if !side.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            side.waker = Some(cx.waker().clone());
        }
        drop(side);
        self.has_side.load(SeqCst)
    }

    /// Keeps a read for when the library can take it. Returns whether it did.
    fn hold(&self, contents: &[u8], meta: RecvMeta) -> bool {
        let Some(&first) = contents.first().filter(|first| self.link.is_early(**first)) else {
            return false;
        };
        if STUN.contains(&first) {
            lock(&self.side).checks.hold(contents, meta);
        } else {
            lock(&self.link.held).push(first, (contents.into(), meta));
        }
        // Its time may have come since.
        if !self.link.is_early(first) {
            self.has_side.store(true, SeqCst);
        }
        true
    }

    /// Takes note of checks, their answers and nominations.
    fn observe_ice(&self, contents: &[u8], meta: &RecvMeta) {
        if contents.first().is_none_or(|first| !STUN.contains(first)) {
            return;
        }
        self.link.first_check.observe(contents);
        let again = lock(&self.side)
            .checks
            .observe(contents, meta, self.link.has_pair());
        if again {
            self.has_side.store(true, SeqCst);
        }
    }

    /// While a reader is behind: keeps reads with data for later. Returns whether there is nothing to give.
    ///
    /// The remote SCTP, without acknowledgements, stops when its window is full. What the library queues stays
    /// small, which counts messages and not bytes. What acknowledges our own data is given: else two peers that are both
    /// behind would wait for each other for ever.
    fn delay(&self, buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        let contents = &buffer[..meta.len];
        let acknowledges = meta.stride <= SACK_LEN;
        let small = contents.len() < DATA_LEN || acknowledges;
        if self.link.stalled.load(SeqCst) == 0 || small || !is_dtls(contents) {
            return false;
        }
        // The datagrams of a read are of one size, but for the last.
        let short = match meta.len % meta.stride {
            len if len <= SACK_LEN => len,
            _ => 0,
        };
        let data = meta.len - short;
        let mut late = lock(&self.link.late);
        let mut its_meta = *meta;
        its_meta.len = data;
        late.push((contents[..data].into(), its_meta));
        // The reader may have caught up since.
        if self.link.stalled.load(SeqCst) == 0 {
            self.has_side.store(true, SeqCst);
        }
        if short > 0 {
            buffer.copy_within(data..meta.len, 0);
            (meta.len, meta.stride) = (short, short);
            return false;
        }
        if self.link.stalled.load(SeqCst) == 0 {
            return true;
        }
        let now = Instant::now();
        let since = *late.since.get_or_insert(now);
        if now - since < SIGN_OF_LIFE {
            return true;
        }
        late.since = Some(now);
        let Some((oldest, its_meta)) = late.pop() else {
            return true;
        };
        buffer[..oldest.len()].copy_from_slice(&oldest);
        *meta = its_meta;
        false
    }
}

/// Whether this is media or, in DTLS, what is not the handshake's.
fn is_data(contents: &[u8]) -> bool {
    contents
        .first()
        .is_some_and(|first| *first == APPLICATION_DATA || SRTP.contains(first))
}

fn is_dtls(contents: &[u8]) -> bool {
    contents.first().is_some_and(|b| DTLS.contains(b))
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let len = transmit.contents.len();
        if self.link.first_check.is_hasty(transmit.contents) || self.is_needless(transmit) {
            return Poll::Ready(Ok(len));
        }
        let most = self.inner.max_gso_segments();
        let can_join = most > 1 && transmit.segment_size.is_none() && is_data(transmit.contents);
        if can_join && self.join(transmit, most) {
            return Poll::Ready(Ok(len));
        }
        if self.link.has_unsent() {
            ready!(self.poll_flush(cx));
            if can_join && self.join(transmit, most) {
                return Poll::Ready(Ok(len));
            }
        }
        ready!(self.send(cx, transmit));
        Poll::Ready(Ok(len))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if bufs.is_empty() || meta.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.link.gives_way.load(Relaxed) && self.link.gives_way.swap(false, Relaxed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // One batch at a time, as the driver asks anyway.
        let (bufs, meta) = (&mut bufs[..1], &mut meta[..1]);
        loop {
            if self.take_side(&mut bufs[0], &mut meta[0]) {
                return Poll::Ready(Ok(1));
            }
            let Poll::Ready(read) = self.inner.poll_recv(cx, bufs, meta) else {
                if self.park(cx) {
                    continue;
                }
                return Poll::Pending;
            };
            match read {
                Ok(0) => continue,
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let filled = &mut meta[0];
            filled.stride = filled.stride.max(1);
            let contents = &bufs[0][..filled.len];
            let counts = &self.link.counts;
            counts
                .packets_received
                .fetch_add(datagrams(filled.len, Some(filled.stride)), Relaxed);
            counts.bytes_received.fetch_add(filled.len as u64, Relaxed);
            self.link.observe(contents);
            self.observe_ice(contents, filled);
            if self.hold(contents, *filled) || self.delay(&mut bufs[0], filled) {
                continue;
            }
            if self.link.is_settling() {
                self.link.nudge();
            }
            return Poll::Ready(Ok(1));
        }
    }
}

fn datagrams(len: usize, stride: Option<usize>) -> u64 {
    len.div_ceil(stride.unwrap_or(len).max(1)) as u64
}
