//! A simulated network in memory: hosts with addresses of their own, and between each two of them a [`Path`] each way
//! that may delay, lose, reorder, repeat and damage datagrams.
//!
//! It runs on Tokio's clock, so under `tokio::time::pause` a call over a slow network takes no wall time. Give
//! hosts distinct addresses in `127.0.0.0/8` (or `::1`): webrtc-rs binds a real socket at the address before its
//! runtime replaces it, so the address must be bindable on this machine.
//!
//! What happens to a datagram depends on the seed, the two hosts and its number between them, and on nothing else:
//! not on the order in which several links are used, nor on ports, which differ from run to run.

use super::{
    Changed, Nat, Net, RecvMeta, Transmit, UdpSocket,
    impair::{Arrival, Arrivals, Impairments, Path, PathCounts, turn_over},
};
use crate::lock;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};

/// A receive queue holds this many datagrams; more are dropped and counted, as a socket buffer does.
const QUEUE: usize = 8192;

/// A network in memory. Clones are the same network.
#[derive(Debug, Clone)]
pub struct MemoryNetwork(Arc<Network>);

#[derive(Debug)]
struct Network {
    blocked: AtomicBool,
    sockets: Mutex<Sockets>,
    paths: Mutex<Paths>,
    tap: OnceLock<Tap>,
    nats: Mutex<Vec<Nat>>,
    delivered: AtomicU64,
    dropped: AtomicU64,
}

/// A datagram on its way, for [`MemoryNetwork::set_filter`].
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The sender's address.
    pub from: SocketAddr,
    /// The receiver's address.
    pub to: SocketAddr,
    /// What it carries. RTP's headers can be read, also those of SRTP (RFC 3711 §3.1).
    pub contents: &'a [u8],
}

/// What happens between the hosts.
struct Paths {
    /// Of every link that has none of its own.
    impairments: Impairments,
    seed: u64,
    /// Those that were used since the seed was set.
    links: HashMap<Link, Path>,
    filter: Option<Filter>,
    /// Lost by the filter.
    filtered: u64,
}

/// From one host to another.
type Link = (IpAddr, IpAddr);

type Filter = Box<dyn FnMut(&Datagram<'_>) -> bool + Send>;

type Told = dyn Fn(&Datagram<'_>, Arrivals) + Send + Sync;

struct Tap(Box<Told>);

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paths")
            .field("impairments", &self.impairments)
            .field("seed", &self.seed)
            .field("filter", &self.filter.is_some())
            .finish_non_exhaustive()
    }
}

impl Paths {
    fn link(&mut self, link @ (from, to): Link) -> &mut Path {
        let made = || Path::new(self.impairments, self.seed, from, to);
        self.links.entry(link).or_insert_with(made)
    }

    /// What arrives of a datagram.
    fn send(&mut self, datagram: &Datagram<'_>) -> Arrivals {
        // Sent even if the filter takes the datagram, so that a filter does not shift the losses behind it.
        let path = self.link((datagram.from.ip(), datagram.to.ip()));
        let arrivals = path.send(Instant::now(), datagram.contents.len(), datagram.to.is_ipv6());
        if self.filter.as_mut().is_some_and(|loses| loses(datagram)) {
            self.filtered += u64::from(arrivals[0].is_some());
            return [None; 2];
        }
        arrivals
    }

    fn counts(&self) -> PathCounts {
        self.links.values().map(Path::counts).sum()
    }
}

#[derive(Debug, Default)]
struct Sockets {
    by_addr: HashMap<SocketAddr, Weak<MemorySocket>>,
    next_port: u16,
}

impl MemoryNetwork {
    /// A network on which every datagram takes `delay` one way, and nothing else happens to it.
    pub fn new(delay: Duration) -> Self {
        Self(Arc::new(Network {
            blocked: AtomicBool::new(false),
            sockets: Mutex::default(),
            paths: Mutex::new(Paths {
                impairments: Impairments::delay(delay),
                seed: 0,
                links: HashMap::new(),
                filter: None,
                filtered: 0,
            }),
            tap: OnceLock::new(),
            nats: Mutex::default(),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }))
    }

    /// A host with these addresses.
    pub fn host(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Arc<MemoryNet> {
        Arc::new(MemoryNet {
            network: self.clone(),
            addresses: watch::Sender::new(addresses.into_iter().collect()),
        })
    }

    /// Puts the hosts with the addresses inside of `nat` behind it. Those without one keep reaching each other.
    pub fn add_nat(&self, nat: Nat) {
        lock(&self.0.nats).push(nat);
    }

    /// Has every NAT forget its mappings, as one that was restarted: what goes out from now on comes from other ports.
    pub fn rebind_nats(&self) {
        lock(&self.0.nats).iter_mut().for_each(Nat::forget);
    }

    /// Stops or restarts all delivery; what is sent while it is stopped is dropped and counted.
    pub fn set_blocked(&self, blocked: bool) {
        self.0.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Does this on every link from now on, in both directions. The datagrams of each link are numbered anew, so the same
    /// seed does the same to them again.
    pub fn set_impairments(&self, impairments: Impairments, seed: u64) {
        let mut paths = lock(&self.0.paths);
        (paths.impairments, paths.seed) = (impairments, seed);
        paths.links.clear();
    }

    /// What happens on every link that has nothing of its own.
    pub fn impairments(&self) -> Impairments {
        lock(&self.0.paths).impairments
    }

    /// Does this to what goes from one host to another from now on, until [`set_impairments`](Self::set_impairments).
    pub fn set_link(&self, from: IpAddr, to: IpAddr, impairments: Impairments) {
        lock(&self.0.paths).link((from, to)).set(impairments);
    }

    /// Loses each datagram with this probability (0 to 1) from now on, beside what else happens on every link.
    /// As [`set_impairments`](Self::set_impairments).
    pub fn set_loss(&self, loss: f64, seed: u64) {
        self.set_impairments(
            Impairments {
                loss,
                ..self.impairments()
            },
            seed,
        );
    }

    /// What became of the datagrams since the impairments were set, on all links together.
    pub fn counts(&self) -> PathCounts {
        lock(&self.0.paths).counts()
    }

    /// Loses every datagram for which `loses` is true, beside what is lost by chance. It sees every datagram, in the
    /// order of sending. It must not send on this network.
    pub fn set_filter(&self, loses: impl FnMut(&Datagram<'_>) -> bool + Send + 'static) {
        lock(&self.0.paths).filter = Some(Box::new(loses));
    }

    /// Takes the filter away.
    pub fn clear_filter(&self) {
        lock(&self.0.paths).filter = None;
    }

    /// Tells `tap` of every datagram from now on, in the order of sending: what it is, and what arrives of it. Only the first
    /// tap is told. It must not send on this network.
    pub fn set_tap(&self, tap: impl Fn(&Datagram<'_>, Arrivals) + Send + Sync + 'static) {
        let _ = self.0.tap.set(Tap(Box::new(tap)));
    }

    /// Datagrams that reached a socket's queue.
    pub fn delivered(&self) -> u64 {
        self.0.delivered.load(Ordering::Relaxed)
    }

    /// Datagrams that found no socket, a full queue or a blocked network.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Datagrams that were lost by a path or by the filter since the impairments were set.
    pub fn lost(&self) -> u64 {
        let paths = lock(&self.0.paths);
        paths.counts().dropped() + paths.filtered
    }

    /// The addresses of a datagram after NATs: from where it comes on the outside, and to which host it goes.
    fn translate(&self, from: SocketAddr, to: SocketAddr) -> (SocketAddr, Option<SocketAddr>) {
        let now = Instant::now();
        let mut nats = lock(&self.0.nats);
        let near = nats.iter().position(|nat| nat.has(from.ip()));
        let far = nats.iter().position(|nat| nat.has(to.ip()));
        if far.is_some() {
            // An address on the inside means nothing elsewhere.
            return (from, (near == far).then_some(to));
        }
        let from = near.map_or(from, |near| nats[near].outbound(now, from, to));
        let to = match nats.iter_mut().find(|nat| nat.public() == to.ip()) {
            Some(nat) => nat.inbound(now, from, to.port()),
            None => Some(to),
        };
        (from, to)
    }

    fn transmit(&self, from: SocketAddr, to: SocketAddr, contents: &[u8]) {
        // The path is that between the addresses on the outside.
        let (from, outside) = self.translate(from, to);
        let datagram = Datagram { from, to, contents };
        let mut arrivals = lock(&self.0.paths).send(&datagram);
        for place in &mut arrivals {
            let Some(arrival) = *place else { continue };
            let target = outside.and_then(|to| lock(&self.0.sockets).by_addr.get(&to)?.upgrade());
            let blocked = self.0.blocked.load(Ordering::Relaxed);
            let taken = !blocked && target.is_some_and(|t| t.enqueue(arrival, from, contents));
            let counter = if taken { &self.0.delivered } else { &self.0.dropped };
            counter.fetch_add(1, Ordering::Relaxed);
            *place = taken.then_some(arrival);
        }
        if let Some(Tap(tap)) = self.0.tap.get() {
            tap(&datagram, arrivals);
        }
    }
}

/// One host of a [`MemoryNetwork`].
#[derive(Debug)]
pub struct MemoryNet {
    network: MemoryNetwork,
    addresses: watch::Sender<Vec<IpAddr>>,
}

impl MemoryNet {
    /// Gives the host these addresses instead of those it has. Sockets at an address that is gone send nothing and
    /// receive nothing until it is back; what is sent from them is an error.
    pub fn set_addresses(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.addresses.send_replace(addresses.into_iter().collect());
    }
}

impl Net for MemoryNet {
    fn interfaces(&self) -> io::Result<Vec<IpAddr>> {
        Ok(self.addresses.borrow().clone())
    }

    fn changed(&self) -> Changed {
        let mut addresses = self.addresses.subscribe();
        let before = addresses.borrow().clone();
        Box::pin(async move {
            // A host that nobody holds keeps its addresses.
            if addresses.wait_for(|now| *now != before).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn bind(&self, mut addr: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        if !self.addresses.borrow().contains(&addr.ip()) {
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "not an address of this host",
            ));
        }
        let mut sockets = lock(&self.network.0.sockets);
        sockets.by_addr.retain(|_, socket| socket.strong_count() > 0);
        if addr.port() == 0 {
            let free = (0..=u16::MAX).find_map(|_| {
                sockets.next_port = sockets.next_port.checked_add(1).unwrap_or(1).max(1024);
                addr.set_port(sockets.next_port);
                (!sockets.by_addr.contains_key(&addr)).then_some(addr)
            });
            addr = free.ok_or_else(|| io::Error::from(io::ErrorKind::AddrInUse))?;
        } else if sockets.by_addr.contains_key(&addr) {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
        let socket = Arc::new(MemorySocket {
            addr,
            network: self.network.clone(),
            addresses: self.addresses.subscribe(),
            queue: Mutex::new(Queue::default()),
        });
        sockets.by_addr.insert(addr, Arc::downgrade(&socket));
        Ok(socket)
    }
}

#[derive(Debug)]
struct MemorySocket {
    addr: SocketAddr,
    network: MemoryNetwork,
    /// Of the host.
    addresses: watch::Receiver<Vec<IpAddr>>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    datagrams: VecDeque<(Instant, SocketAddr, Box<[u8]>)>,
    reader: Option<Waker>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl MemorySocket {
    fn is_up(&self) -> bool {
        self.addresses.borrow().contains(&self.addr.ip())
    }

    fn enqueue(&self, arrival: Arrival, from: SocketAddr, contents: &[u8]) -> bool {
        if !self.is_up() {
            return false;
        }
        let mut queue = lock(&self.queue);
        if queue.datagrams.len() >= QUEUE {
            return false;
        }
        let mut contents: Box<[u8]> = contents.into();
        if let Some(bit) = arrival.wrong_bit {
            turn_over(&mut contents, bit);
        }
        // Behind all that arrive no later: nearly always at the end.
        let later = queue
            .datagrams
            .iter()
            .rev()
            .take_while(|d| d.0 > arrival.due)
            .count();
        let place = queue.datagrams.len() - later;
        queue.datagrams.insert(place, (arrival.due, from, contents));
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }
}

impl UdpSocket for MemorySocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.try_send(transmit))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if !self.is_up() {
            // As a kernel that finds no route from there.
            return Err(io::Error::from(io::ErrorKind::NetworkUnreachable));
        }
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(size) {
            self.network.transmit(self.addr, transmit.destination, datagram);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut queue = lock(&self.queue);
        let now = Instant::now();
        let mut count = 0;
        while count < bufs.len().min(meta.len()) && queue.datagrams.front().is_some_and(|d| d.0 <= now) {
            let Some((_, from, contents)) = queue.datagrams.pop_front() else {
                break;
            };
            let len = contents.len().min(bufs[count].len());
            bufs[count][..len].copy_from_slice(&contents[..len]);
            let mut filled = RecvMeta::default();
            (filled.addr, filled.len, filled.stride) = (from, len, len.max(1));
            meta[count] = filled;
            count += 1;
        }
        if count > 0 {
            return Poll::Ready(Ok(count));
        }
        queue.reader = Some(cx.waker().clone());
        let Some(due) = queue.datagrams.front().map(|d| d.0) else {
            return Poll::Pending;
        };
        let timer = queue.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
