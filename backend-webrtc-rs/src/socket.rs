//! A socket of core's `Net` in the shape that webrtc-rs reads and writes, and what the two sides of it share.
//!
//! All packets of a peer pass here, so this is also where its driver is helped from outside: see [`Link`].

use crate::{
    checks::{Checks, FirstCheck, STUN},
    convert::RECEIVE_BUFFER,
    joined::Joined,
};
use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use visavis_core::UdpSocket;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// So many reads of DTLS are held while ICE has no pair to take them from.
const MAX_HELD: usize = 64;

/// So many bytes of SRTP are held until DTLS is connected and ICE has a pair.
const MAX_HELD_MEDIA: usize = 4 * 1024 * 1024;

/// So many packets of media go out before the driver reads again, and others run. More would overflow the buffers of
/// a receiver that shares our thread.
const BURST: usize = 64;

/// A datagram of DTLS with at least so many bytes carries data, not only acknowledgements.
const DATA_LEN: usize = 400;

/// In a read of several datagrams, one of at most so many bytes is taken for one that only acknowledges: SCTP sends that in
/// a packet of its own, behind the data.
const SACK_LEN: usize = 128;

/// While a reader is behind, so many bytes are kept for it: a window of SCTP with its headers.
const MAX_LATE: usize = RECEIVE_BUFFER as usize + RECEIVE_BUFFER as usize / 8;

/// While a reader is behind, a read with data goes through this often, and what acknowledges it tells the remote
/// SCTP that the association lives. Some give up after ten repetitions, five minutes.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// One driver pass reads at most this many messages out of SCTP; what is left waits for the next datagram
/// (`SCTP_PIPELINE_READ_BACKLOG_LIMIT` of rtc).
const READ_BACKLOG: usize = 256;

/// A STUN Binding indication (RFC 8489 §5): an ICE agent takes it and does nothing.
const INDICATION: [u8; 20] = [
    0x00, 0x11, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// The record types of DTLS (RFC 7983 §7, RFC 5246 §6.2.1).
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;
const SRTP: std::ops::RangeInclusive<u8> = 128..=191;
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
const FATAL: u8 = 2;

/// What a peer's sockets, its runtime and its event handler share.
///
/// The library's driver sleeps in places where it has something to do. Each is helped by an ordinary wake-up or
/// datagram:
///
/// * What handling an *event* queues (the first DTLS flight, SCTP's INIT, DCEP's OPEN) goes out only in the next
///   pass of its loop. While the connection is coming up each datagram and event makes the driver's next sleep
///   return at once, once ([`nudge`](Self::nudge)).
/// * A check that arrives before the remote description is thrown away, and the remote peer repeats it when its timer
///   says so, up to half a second later. An answerer checks as soon as it has the offer, so each call waited for that.
///   Such checks are held until the library knows the credentials ([`describe`](Self::describe)).
/// * The other way round it checks as soon as it has an offer, before its answer is there. Not every offerer can bear
///   that, and few can use it. Until the first check of the offerer, which proves that it has the answer, its own
///   are left out; each comes again with the next tick ([`wait_for_check`](Self::wait_for_check)).
/// * A nomination that arrives before the answer to its own check is forgotten (RFC 8445 §7.3.1.5 has it remembered), and
///   the remote peer's next one comes 50 ms later or more. It is read again behind that answer.
/// * DTLS that arrives before ICE has selected a pair is thrown away, and the remote peer's retransmission comes a
///   second later. It is held here until then ([`select`](Self::select)).
/// * Messages that one pass leaves in SCTP wait for the next datagram, which a quiet peer sends only for
///   consent. After so many messages the sockets make one up ([`count_read`](Self::count_read)).
/// * Nor does SCTP say when its window opens again after a slow reader closed it: the sender finds out by probes
///   whose distance doubles up to a minute. While a reader is behind, datagrams with data are kept back
///   ([`stall`](Self::stall)), and what acknowledges them when the reader has caught up says so.
/// * Without a selected pair, as during an ICE restart, what is sent is thrown away. Channels wait until there is
///   one ([`has_pair`](Self::has_pair)), rather than for a retransmission that comes later each time.
/// * SRTP that comes in one pass with the end of the DTLS handshake is thrown away, for its keys reach SRTP only at the
///   end of the pass. It is held until then ([`set_secured`](Self::set_secured)).
/// * A pass sends all that there is to send. Media is sent in bursts ([`may_send`](Self::may_send)).
/// * Datagrams are given to the socket one by one. Those of a pass are joined, and go out when the application's side has
///   had its turn ([`flush`](Self::flush)): what arrived in the same pass is not kept waiting by its acknowledgement.
/// * The end of DTLS is reported to nobody. An alert makes [`alerted`](Self::alerted) return when the driver has
///   handled it.
#[derive(Default)]
pub(crate) struct Link {
    /// Wakes the driver's sleep, or makes its next one return at once.
    nudge: Notify,
    /// The library has a remote description.
    described: AtomicBool,
    first_check: FirstCheck,
    /// ICE has selected a pair.
    selected: AtomicBool,
    /// DTLS is connected.
    secured: AtomicBool,
    /// Channels of ours that wait for the remote peer's DCEP acknowledgement.
    opening: AtomicUsize,
    /// Messages that were read since the last made-up datagram.
    unkicked: AtomicUsize,
    /// Channels whose reader is behind.
    stalled: AtomicUsize,
    /// An alert is on its way to the driver.
    alert: AtomicBool,
    alerted: Notify,
    /// Counts the driver's passes while somebody waits for one.
    passes: watch::Sender<u64>,
    /// A fatal alert was sent or arrived before DTLS was connected.
    refused: AtomicBool,
    /// What arrived while no pair was selected. Here and not in a socket, for an ICE restart replaces those.
    held: Mutex<Held>,
    /// Packets of media in this pass of the driver.
    burst: AtomicUsize,
    /// Some socket may hold datagrams that this pass of the driver sends.
    unsent: AtomicBool,
    /// The driver's next read waits until others had their turn.
    gives_way: AtomicBool,
    late: Mutex<Late>,
    sockets: Mutex<Vec<Weak<Socket>>>,
    pub(crate) counts: Counts,
}

/// What one read gave.
pub(crate) type Batch = (Box<[u8]>, RecvMeta);

/// Datagrams and bytes both ways.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) packets_sent: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) packets_received: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
}

impl Link {
    /// Makes the driver's sleep, the present or the next one, return at once.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Waits for a [`nudge`](Self::nudge); for the driver's sleep only.
    pub(crate) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    fn is_settling(&self) -> bool {
        !self.selected.load(Relaxed) || !self.secured.load(Relaxed) || self.opening.load(Relaxed) > 0
    }

    /// The library has a remote description: lets checks through.
    pub(crate) fn describe(&self) {
        if !self.described.swap(true, SeqCst) {
            self.wake_sockets(|_| {});
        }
    }

    /// An offer with new credentials was answered: leaves checks out until the offerer's first, for a while at most.
    pub(crate) fn wait_for_check(&self) {
        self.first_check.wait();
    }

    /// ICE has selected a pair, or has none any more: lets DTLS through or holds it.
    pub(crate) fn select(&self, selected: bool) {
        if self.selected.swap(selected, SeqCst) != selected && selected {
            self.wake_sockets(|_| {});
        }
    }

    /// Whether ICE has a pair to send on.
    pub(crate) fn has_pair(&self) -> bool {
        self.selected.load(SeqCst)
    }

    /// DTLS is connected: lets SRTP through.
    pub(crate) fn set_secured(&self) {
        if !self.secured.swap(true, SeqCst) {
            self.wake_sockets(|_| {});
        }
    }

    /// Whether this pass of the driver may send a packet of media, or else the next one must.
    pub(crate) fn may_send(&self) -> bool {
        self.burst.load(Relaxed) < BURST
    }

    /// A packet of media was sent.
    pub(crate) fn count_sent(&self) {
        self.burst.fetch_add(1, Relaxed);
    }

    /// A channel of ours waits for its acknowledgement until the guard is dropped.
    pub(crate) fn opening(self: &Arc<Self>) -> Opening {
        self.opening.fetch_add(1, Relaxed);
        self.nudge();
        Opening(Arc::clone(self))
    }

    /// A channel has taken a message from the driver.
    pub(crate) fn count_read(&self) {
        self.unkicked.fetch_add(1, Relaxed);
    }

    /// A channel has taken all that the driver gave it. If the driver may have left more in SCTP, it is given a
    /// datagram.
    pub(crate) fn all_read(&self) {
        if self.unkicked.load(Relaxed) >= READ_BACKLOG {
            self.unkicked.store(0, Relaxed);
            self.wake_sockets(|side| side.kick = true);
        }
    }

    /// A channel's reader is behind, until the guard is dropped.
    pub(crate) fn stall(self: &Arc<Self>) -> Stalled {
        self.stalled.fetch_add(1, SeqCst);
        Stalled(Arc::clone(self))
    }

    /// Called when the driver goes to sleep: it has handled all that it has read. `false`: it may have more to send.
    pub(crate) fn driver_sleeps(&self) -> bool {
        if self.alert.load(Relaxed) && self.alert.swap(false, Relaxed) {
            self.alerted.notify_one();
        }
        if self.passes.receiver_count() > 0 {
            self.passes.send_modify(|n| *n += 1);
        }
        self.burst.swap(0, Relaxed) < BURST
    }

    /// Whether a socket may hold what is to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent.load(Relaxed)
    }

    /// The driver, which would go on reading, first lets others have their turn.
    pub(crate) fn give_way(&self) {
        self.gives_way.store(true, Relaxed);
    }

    /// Sends what the driver's pass has left with the sockets.
    pub(crate) fn flush(&self, cx: &mut Context<'_>) {
        if !self.unsent.swap(false, Relaxed) {
            return;
        }
        for socket in lock(&self.sockets).iter().filter_map(Weak::upgrade) {
            if socket.poll_flush(cx).is_pending() {
                self.unsent.store(true, Relaxed);
            }
        }
    }

    /// Whether what begins with this byte must wait.
    fn is_early(&self, first: u8) -> bool {
        let selected = self.selected.load(SeqCst);
        match first {
            _ if STUN.contains(&first) => !self.described.load(SeqCst),
            _ if DTLS.contains(&first) => !selected,
            _ if SRTP.contains(&first) => !selected || !self.secured.load(SeqCst),
            _ => false,
        }
    }

    /// Changes after each pass of the driver.
    pub(crate) fn passes(&self) -> watch::Receiver<u64> {
        self.passes.subscribe()
    }

    /// Waits until the driver has handled a DTLS alert.
    pub(crate) async fn alerted(&self) {
        self.alerted.notified().await;
    }

    /// Whether the handshake ended in a fatal alert.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }

    fn wake_sockets(&self, change: impl Fn(&mut Side)) {
        let mut sockets = lock(&self.sockets);
        sockets.retain(|socket| socket.strong_count() > 0);
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            let mut side = lock(&socket.side);
            change(&mut side);
            socket.has_side.store(true, SeqCst);
            if let Some(waker) = side.waker.take() {
                waker.wake();
            }
        }
    }

    /// Looks at a datagram of DTLS in either direction.
    fn observe(&self, contents: &[u8]) {
        if contents.first() != Some(&ALERT) {
            return;
        }
        // Until DTLS is connected an alert ends it. One in epoch 0 is in the clear and shows its level.
        let plain = contents.get(3..5) == Some(&[0, 0]);
        if !self.secured.load(Relaxed) && (!plain || contents.get(13) == Some(&FATAL)) {
            self.refused.store(true, Relaxed);
        }
        self.alert.store(true, Relaxed);
        self.nudge();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("selected", &self.selected)
            .field("secured", &self.secured)
            .field("opening", &self.opening)
            .finish_non_exhaustive()
    }
}

/// While it lives, a channel waits to be open. See [`Link::opening`].
#[derive(Debug)]
pub(crate) struct Opening(Arc<Link>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.opening.fetch_sub(1, Relaxed);
    }
}

/// While it lives, a channel's reader is behind. See [`Link::stall`].
#[derive(Debug)]
pub(crate) struct Stalled(Arc<Link>);

impl Drop for Stalled {
    fn drop(&mut self) {
        if self.0.stalled.fetch_sub(1, SeqCst) == 1 {
            lock(&self.0.late).since = None;
        }
        // First what SCTP kept is read, which opens its window; then comes what is acknowledged with it.
        self.0.wake_sockets(|side| side.kick = true);
    }
}

/// A socket for webrtc-rs.
pub(crate) struct Socket {
    inner: Arc<dyn UdpSocket>,
    link: Arc<Link>,
    /// Whether `side` may hold something, so that a read need not lock to know.
    has_side: AtomicBool,
    side: Mutex<Side>,
    joined: Mutex<Joined>,
}

/// What a read returns besides what the network has.
#[derive(Default)]
struct Side {
    kick: bool,
    waker: Option<Waker>,
    checks: Checks,
}

impl Socket {
    pub(crate) fn new(inner: Arc<dyn UdpSocket>, link: &Arc<Link>) -> Arc<Self> {
        let socket = Arc::new(Self {
            inner,
            link: Arc::clone(link),
            has_side: AtomicBool::new(false),
            side: Mutex::default(),
            joined: Mutex::default(),
        });
        lock(&link.sockets).push(Arc::downgrade(&socket));
        socket
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

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
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

/// Reads that came too early.
#[derive(Default)]
struct Held {
    dtls: VecDeque<Batch>,
    media: VecDeque<Batch>,
    media_bytes: usize,
}

impl Held {
    fn push(&mut self, first: u8, read: Batch) {
        if DTLS.contains(&first) {
            if self.dtls.len() < MAX_HELD {
                self.dtls.push_back(read);
            }
        } else if self.media_bytes + read.0.len() <= MAX_HELD_MEDIA {
            self.media_bytes += read.0.len();
            self.media.push_back(read);
        }
    }

    fn pop(&mut self, link: &Link) -> Option<Batch> {
        if !link.is_early(*DTLS.start())
            && let Some(read) = self.dtls.pop_front()
        {
            return Some(read);
        }
        if link.is_early(*SRTP.start()) {
            return None;
        }
        let read = self.media.pop_front()?;
        self.media_bytes -= read.0.len();
        Some(read)
    }
}

/// Reads with data that wait for a reader.
#[derive(Default)]
struct Late {
    reads: VecDeque<Batch>,
    bytes: usize,
    /// When the stall began, or the last sign of life was given.
    since: Option<Instant>,
}

impl Late {
    fn push(&mut self, read: Batch) {
        if self.bytes < MAX_LATE {
            self.bytes += read.0.len();
            self.reads.push_back(read);
        }
    }

    fn pop(&mut self) -> Option<Batch> {
        let read = self.reads.pop_front()?;
        self.bytes -= read.0.len();
        Some(read)
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
        if self.link.first_check.is_hasty(transmit.contents) {
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

/// Locks a mutex; one that a panic poisoned is used as it is.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
