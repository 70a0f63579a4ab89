//! A simulated network in memory: hosts with addresses of their own, datagrams with a delay, and seeded loss.
//!
//! It runs on Tokio's clock, so under `tokio::time::pause` a call over a slow network takes no wall time. Give
//! hosts distinct addresses in `127.0.0.0/8` (or `::1`): webrtc-rs binds a real socket at the address before its
//! runtime replaces it, so the address must be bindable on this machine.
//!
//! Whether a datagram is lost depends on the seed, the two hosts and its number between them, and on nothing else:
//! not on the order in which several links are used, nor on ports, which differ from run to run.

use super::{Net, RecvMeta, Transmit, UdpSocket};
use crate::lock;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
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
    delay: Duration,
    blocked: AtomicBool,
    sockets: Mutex<Sockets>,
    impairment: Mutex<Impairment>,
    delivered: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
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

/// What is lost on purpose.
#[derive(Default)]
struct Impairment {
    /// A datagram whose hash is below this is lost.
    threshold: u64,
    seed: u64,
    /// How many datagrams each link has carried since the loss was set.
    links: HashMap<Link, u64>,
    filter: Option<Filter>,
}

/// From one host to another.
type Link = (IpAddr, IpAddr);

type Filter = Box<dyn FnMut(&Datagram<'_>) -> bool + Send>;

impl fmt::Debug for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Impairment")
            .field("threshold", &self.threshold)
            .field("seed", &self.seed)
            .field("filter", &self.filter.is_some())
            .finish_non_exhaustive()
    }
}

impl Impairment {
    fn loses(&mut self, datagram: &Datagram<'_>) -> bool {
        let link = (datagram.from.ip(), datagram.to.ip());
        // Counted even if the filter takes the datagram, so that a filter does not shift the losses behind it.
        let by_chance = self.threshold > 0 && {
            let index = self.links.entry(link).or_default();
            let hash = hash(self.seed, link, *index);
            *index += 1;
            hash < self.threshold
        };
        let by_choice = self.filter.as_mut().is_some_and(|loses| loses(datagram));
        by_chance || by_choice
    }
}

/// Evenly distributed, from the seed, the link and the datagram's number on it.
fn hash(seed: u64, (from, to): Link, index: u64) -> u64 {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    let words = [from, to].map(address).map(|a| [a as u64, (a >> 64) as u64]);
    let link = words.into_iter().flatten().fold(mix(seed), |h, w| mix(h ^ w));
    mix(link ^ index)
}

/// One step of `SplitMix64`.
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[derive(Debug, Default)]
struct Sockets {
    by_addr: HashMap<SocketAddr, Weak<MemorySocket>>,
    next_port: u16,
}

impl MemoryNetwork {
    /// A network on which every datagram takes `delay` one way.
    pub fn new(delay: Duration) -> Self {
        Self(Arc::new(Network {
            delay,
            blocked: AtomicBool::new(false),
            sockets: Mutex::default(),
            impairment: Mutex::default(),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            lost: AtomicU64::new(0),
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

    /// Loses each datagram with this probability (0 to 1) from now on, on every link and in both directions; 0, which
    /// is the default, stops that. The datagrams of each link are numbered anew, so the same seed loses the same ones
    /// again.
    pub fn set_loss(&self, probability: f64, seed: u64) {
        let mut impairment = lock(&self.0.impairment);
        // 1 becomes `u64::MAX`: a float's cast saturates.
        impairment.threshold = (probability.clamp(0.0, 1.0) * 2_f64.powi(64)) as u64;
        impairment.seed = seed;
        impairment.links.clear();
    }

    /// Loses every datagram for which `loses` is true, beside what is lost by chance. It sees every datagram, in the
    /// order of sending, so one that is never true is a tap. It must not send on this network.
    pub fn set_filter(&self, loses: impl FnMut(&Datagram<'_>) -> bool + Send + 'static) {
        lock(&self.0.impairment).filter = Some(Box::new(loses));
    }

    /// Takes the filter away.
    pub fn clear_filter(&self) {
        lock(&self.0.impairment).filter = None;
    }

    /// Datagrams that reached a socket's queue.
    pub fn delivered(&self) -> u64 {
        self.0.delivered.load(Ordering::Relaxed)
    }

    /// Datagrams that found no socket, a full queue or a blocked network.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Datagrams that were lost by chance or by the filter.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    fn transmit(&self, from: SocketAddr, to: SocketAddr, contents: &[u8]) {
        if lock(&self.0.impairment).loses(&Datagram { from, to, contents }) {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let target = lock(&self.0.sockets).by_addr.get(&to).and_then(Weak::upgrade);
        let blocked = self.0.blocked.load(Ordering::Relaxed);
        let taken =
            !blocked && target.is_some_and(|t| t.enqueue(Instant::now() + self.0.delay, from, contents));
        let counter = if taken { &self.0.delivered } else { &self.0.dropped };
        counter.fetch_add(1, Ordering::Relaxed);
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
    fn enqueue(&self, due: Instant, from: SocketAddr, contents: &[u8]) -> bool {
        let mut queue = lock(&self.queue);
        if queue.datagrams.len() >= QUEUE {
            return false;
        }
        queue.datagrams.push_back((due, from, contents.into()));
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
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(size) {
            self.network.transmit(self.addr, transmit.destination, datagram);
        }
        Poll::Ready(Ok(()))
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
}
