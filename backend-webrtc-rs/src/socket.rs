//! A socket of core's `Net` in the shape that webrtc-rs reads and writes, and what the two sides of it share.
//!
//! All packets of a peer pass here, so this is also where its driver is helped from outside: see [`Link`].

mod udp;

pub(crate) use udp::Socket;

use crate::{
    checks::{FirstCheck, STUN},
    convert::RECEIVE_BUFFER,
};
use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    task::Context,
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use udp::Side;
use webrtc::runtime::RecvMeta;

/// So many reads of DTLS are held while ICE has no pair to take them from.
const MAX_HELD: usize = 64;

/// So many bytes of SRTP are held until DTLS is connected and ICE has a pair.
const MAX_HELD_MEDIA: usize = 4 * 1024 * 1024;

/// So many packets of media go out before the driver reads again, and others run. More would overflow the buffers of
/// a receiver that shares our thread.
const BURST: usize = 64;

/// So many datagrams go by before the runtime's other tasks have a turn: 32 KiB if they are full.
const TURN: u64 = 28;

/// While a reader is behind, so many bytes are kept for it: a window of SCTP with its headers.
const MAX_LATE: usize = RECEIVE_BUFFER as usize + RECEIVE_BUFFER as usize / 8;

/// One driver pass reads at most this many messages out of SCTP; what is left waits for the next datagram
/// (`SCTP_PIPELINE_READ_BACKLOG_LIMIT` of rtc).
const READ_BACKLOG: usize = 256;

/// A peer that carried nothing for this long is idle. A timer of SCTP that is not due by then may be late.
const IDLE: Duration = Duration::from_secs(3);

/// How much later than asked for a timer is, so that what it waits for is over.
const GRAIN: Duration = Duration::from_millis(2);

/// The record types of DTLS (RFC 7983 §7, RFC 5246 §6.2.1).
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;
const SRTP: std::ops::RangeInclusive<u8> = 128..=191;
const ALERT: u8 = 21;
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
/// * An answerer's ICE checks in turn whenever it is checked, and once more if its own check is due at that moment. The
///   second goes nowhere ([`LastCheck`](crate::checks::LastCheck)).
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
    /// Something other than STUN went through a socket since the driver last slept.
    carried: AtomicBool,
    quiet: Mutex<Quiet>,
    /// The datagrams that had gone by at the end of the last turn.
    turn: AtomicU64,
    late: Mutex<Late>,
    sockets: Mutex<Vec<Weak<Socket>>>,
    pub(crate) counts: Counts,
}

/// When the driver, on its way to sleep, last saw that there was something.
#[derive(Default)]
struct Quiet {
    /// Something other than STUN, either way.
    active: Option<Instant>,
    /// Anything from the remote peer, and how many bytes that were in all.
    heard: Option<Instant>,
    received: u64,
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

    /// How long the driver may sleep if the connection is up and has carried nothing but ICE's checks for a while: until the
    /// next `check`, or until `silence` has lasted too long.
    pub(crate) fn rest(&self, check: Duration, silence: Duration) -> Option<Duration> {
        let (now, received) = (Instant::now(), self.counts.bytes_received.load(Relaxed));
        let mut quiet = lock(&self.quiet);
        if self.carried.swap(false, Relaxed) || self.is_settling() {
            quiet.active = Some(now);
        }
        if quiet.received != received {
            (quiet.received, quiet.heard) = (received, Some(now));
        }
        if now - quiet.active? < IDLE {
            return None;
        }
        let left = (quiet.heard? + silence).checked_duration_since(now)?;
        Some(check.min(left + GRAIN))
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

    /// Whether so much went by since this was last so that the runtime's other tasks are to run: the reader, and the remote
    /// peer if it is in this process.
    pub(crate) fn is_turn_over(&self) -> bool {
        let counts = &self.counts;
        let carried = counts.packets_sent.load(Relaxed) + counts.packets_received.load(Relaxed);
        let is_over = carried - self.turn.load(Relaxed) >= TURN;
        if is_over {
            self.turn.store(carried, Relaxed);
        }
        is_over
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
            socket.wake(&change);
        }
    }

    /// Looks at a datagram in either direction.
    fn observe(&self, contents: &[u8]) {
        if contents.first().is_some_and(|first| !STUN.contains(first)) {
            self.carried.store(true, Relaxed);
        }
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

/// Locks a mutex; one that a panic poisoned is used as it is.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn an_idle_driver_rests_until_the_next_check_or_the_end_of_patience() {
        let (check, silence) = (Duration::from_millis(2500), Duration::from_secs(5));
        let link = Link::default();
        assert_eq!(link.rest(check, silence), None, "nothing is connected");
        link.select(true);
        link.set_secured();
        link.observe(&[*SRTP.start()]);
        link.counts.bytes_received.store(1, Relaxed);
        assert_eq!(link.rest(check, silence), None, "it carries something");
        advance(IDLE).await;
        let left = silence.checked_sub(IDLE).unwrap();
        assert_eq!(link.rest(check, silence), Some(left + GRAIN));
        link.counts.bytes_received.store(2, Relaxed);
        assert_eq!(link.rest(check, silence), Some(check));
        advance(silence + GRAIN).await;
        assert_eq!(link.rest(check, silence), None, "it is disconnected");
        link.counts.bytes_received.store(3, Relaxed);
        assert_eq!(link.rest(check, silence), Some(check));
    }
}
