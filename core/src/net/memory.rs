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
    Net, RecvMeta, Transmit, UdpSocket,
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
use tokio::time::{Instant, Sleep, sleep_until};

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
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }))
    }

    /// A host with these addresses.
    pub fn host(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Arc<MemoryNet> {
        Arc::new(MemoryNet {
            network: self.clone(),
            addresses: addresses.into_iter().collect(),
        })
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

    fn transmit(&self, from: SocketAddr, to: SocketAddr, contents: &[u8]) {
        let datagram = Datagram { from, to, contents };
        let mut arrivals = lock(&self.0.paths).send(&datagram);
        for place in &mut arrivals {
            let Some(arrival) = *place else { continue };
            let target = lock(&self.0.sockets).by_addr.get(&to).and_then(Weak::upgrade);
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
    addresses: Vec<IpAddr>,
}

impl Net for MemoryNet {
    fn interfaces(&self) -> io::Result<Vec<IpAddr>> {
        Ok(self.addresses.clone())
    }

    fn bind(&self, mut addr: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        if !self.addresses.contains(&addr.ip()) {
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
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    datagrams: VecDeque<(Instant, SocketAddr, Box<[u8]>)>,
    reader: Option<Waker>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl MemorySocket {
    fn enqueue(&self, arrival: Arrival, from: SocketAddr, contents: &[u8]) -> bool {
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
mod tests {
    use super::*;
    use crate::net::send;
    use std::future::poll_fn;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 9, 0, last])
    }

    fn transmit(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
        Transmit {
            destination,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: None,
        }
    }

    async fn recv(socket: &dyn UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 64];
        let mut meta = [RecvMeta::default()];
        poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta))
            .await
            .unwrap();
        (buffer[..meta[0].len].to_vec(), meta[0].addr)
    }

    #[tokio::test(start_paused = true)]
    async fn a_datagram_takes_the_delay() {
        let network = MemoryNetwork::new(Duration::from_millis(50));
        let a = network.host([ip(1)]).bind(SocketAddr::new(ip(1), 0)).unwrap();
        let b = network.host([ip(2)]).bind(SocketAddr::new(ip(2), 0)).unwrap();
        let start = Instant::now();
        let transmit = Transmit {
            segment_size: Some(4),
            ..transmit(b.local_addr().unwrap(), b"abcdef")
        };
        send(&*a, &transmit).await.unwrap();
        assert_eq!(recv(&*b).await, (b"abcd".to_vec(), a.local_addr().unwrap()));
        assert_eq!(recv(&*b).await.0, b"ef");
        assert_eq!(start.elapsed(), Duration::from_millis(50));
        assert_eq!((network.delivered(), network.dropped()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_hears_is_counted() {
        let network = MemoryNetwork::new(Duration::ZERO);
        let host = network.host([ip(1)]);
        let a = host.bind(SocketAddr::new(ip(1), 0)).unwrap();
        let destination = SocketAddr::new(ip(2), 9);
        send(&*a, &transmit(destination, b"x")).await.unwrap();
        assert_eq!(network.dropped(), 1);
        assert!(host.bind(SocketAddr::new(ip(2), 0)).is_err());
        assert!(host.bind(a.local_addr().unwrap()).is_err());
    }

    /// Sends `count` datagrams from one host to the other and says which were lost.
    async fn losses(network: &MemoryNetwork, [from, to]: [u8; 2], count: u32) -> Vec<u32> {
        let a = network
            .host([ip(from)])
            .bind(SocketAddr::new(ip(from), 0))
            .unwrap();
        let b = network.host([ip(to)]).bind(SocketAddr::new(ip(to), 0)).unwrap();
        let mut lost = Vec::new();
        for n in 0..count {
            let before = network.lost();
            let contents = n.to_be_bytes();
            send(&*a, &transmit(b.local_addr().unwrap(), &contents))
                .await
                .unwrap();
            if network.lost() > before {
                lost.push(n);
            } else {
                assert_eq!(recv(&*b).await.0, contents);
            }
        }
        lost
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_loses_the_same_datagrams() {
        let network = MemoryNetwork::new(Duration::from_millis(1));
        network.set_loss(0.1, 7);
        let first = losses(&network, [1, 2], 1_000).await;
        assert_eq!(network.lost(), first.len() as u64);
        assert_eq!(
            (network.delivered(), network.dropped()),
            (1_000 - network.lost(), 0)
        );
        // Ports do not matter, nor what went the other way before.
        network.set_loss(0.1, 7);
        let back = losses(&network, [2, 1], 1_000).await;
        assert_eq!(losses(&network, [1, 2], 1_000).await, first);
        assert_ne!(back, first, "each direction has losses of its own");
        let other = MemoryNetwork::new(Duration::ZERO);
        other.set_loss(0.1, 7);
        assert_eq!(losses(&other, [1, 2], 1_000).await, first);
        other.set_loss(0.1, 8);
        assert_ne!(losses(&other, [1, 2], 1_000).await, first);
    }

    #[tokio::test(start_paused = true)]
    async fn as_much_is_lost_as_was_asked_for() {
        const COUNT: u32 = 20_000;
        let network = MemoryNetwork::new(Duration::ZERO);
        assert!(losses(&network, [1, 2], 100).await.is_empty());
        for (probability, seed) in [(0.01, 1), (0.01, 2), (0.05, 3), (0.5, 4)] {
            network.set_loss(probability, seed);
            let rate = losses(&network, [1, 2], COUNT).await.len() as f64 / f64::from(COUNT);
            // Five standard deviations.
            let margin = 5.0 * (probability * (1.0 - probability) / f64::from(COUNT)).sqrt();
            assert!((rate - probability).abs() < margin, "{rate} for {probability}");
        }
        network.set_loss(1.0, 5);
        assert_eq!(losses(&network, [1, 2], 100).await.len(), 100);
        network.set_loss(0.0, 5);
        assert!(losses(&network, [1, 2], 100).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_filter_chooses_what_is_lost() {
        let network = MemoryNetwork::new(Duration::ZERO);
        network.set_loss(0.1, 9);
        let by_chance = losses(&network, [1, 2], 100).await;
        network.set_loss(0.1, 9);
        network
            .set_filter(|datagram| datagram.from.ip() == ip(1) && datagram.contents == 3_u32.to_be_bytes());
        let mut wanted = by_chance.clone();
        wanted.push(3);
        wanted.sort_unstable();
        wanted.dedup();
        assert_eq!(losses(&network, [1, 2], 100).await, wanted);
        network.clear_filter();
        network.set_loss(0.1, 9);
        assert_eq!(losses(&network, [1, 2], 100).await, by_chance);
    }

    /// Receives so many datagrams of four bytes.
    async fn numbers(socket: &dyn UdpSocket, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let contents = recv(socket).await.0;
            numbers.push(u32::from_be_bytes(contents.try_into().unwrap()));
        }
        numbers
    }

    #[tokio::test(start_paused = true)]
    async fn one_direction_has_its_own_impairments() {
        let network = MemoryNetwork::new(Duration::from_millis(10));
        let [a, b] = [1, 2].map(|n| network.host([ip(n)]).bind(SocketAddr::new(ip(n), 0)).unwrap());
        network.set_link(ip(1), ip(2), Impairments::blocked());
        for (from, to) in [(&a, &b), (&b, &a)] {
            send(&**from, &transmit(to.local_addr().unwrap(), &[0, 0, 0, 7]))
                .await
                .unwrap();
        }
        assert_eq!(numbers(&*a, 1).await, [7]);
        assert_eq!(
            (network.delivered(), network.lost(), network.counts().sent),
            (1, 1, 2)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_reordered_arrive_late_and_all_arrive() {
        const COUNT: u32 = 1_000;
        let network = MemoryNetwork::new(Duration::ZERO);
        let text = "delay=10ms,reorder=5%,duplicate=5%";
        network.set_impairments(text.parse().unwrap(), 1);
        let [a, b] = [1, 2].map(|n| network.host([ip(n)]).bind(SocketAddr::new(ip(n), 0)).unwrap());
        for n in 0..COUNT {
            let contents = n.to_be_bytes();
            send(&*a, &transmit(b.local_addr().unwrap(), &contents))
                .await
                .unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let counts = network.counts();
        assert!(counts.reordered > 20 && counts.duplicated > 20, "{counts:?}");
        let mut arrived = numbers(&*b, (u64::from(COUNT) + counts.duplicated) as usize).await;
        let backward = arrived.windows(2).filter(|two| two[0] > two[1]).count();
        assert!(backward > 20, "{backward}");
        arrived.dedup();
        arrived.sort_unstable();
        arrived.dedup();
        assert_eq!(arrived, (0..COUNT).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn the_corrupt_differ_in_one_bit() {
        let network = MemoryNetwork::new(Duration::ZERO);
        network.set_impairments("corrupt=100%".parse().unwrap(), 1);
        let [a, b] = [1, 2].map(|n| network.host([ip(n)]).bind(SocketAddr::new(ip(n), 0)).unwrap());
        send(&*a, &transmit(b.local_addr().unwrap(), &[0; 4]))
            .await
            .unwrap();
        assert_eq!(numbers(&*b, 1).await[0].count_ones(), 1);
    }
}
