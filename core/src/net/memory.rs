//! A simulated network in memory: hosts with addresses of their own, datagrams with a delay.
//!
//! It runs on Tokio's clock, so under `tokio::time::pause` a call over a slow network takes no wall time. Give
//! hosts distinct addresses in `127.0.0.0/8` (or `::1`): webrtc-rs binds a real socket at the address before its
//! runtime replaces it, so the address must be bindable on this machine.

use super::{Net, RecvMeta, Transmit, UdpSocket};
use crate::lock;
use std::{
    collections::{HashMap, VecDeque},
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
    delivered: AtomicU64,
    dropped: AtomicU64,
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

    /// Datagrams that reached a socket's queue.
    pub fn delivered(&self) -> u64 {
        self.0.delivered.load(Ordering::Relaxed)
    }

    /// Datagrams that found no socket, a full queue or a blocked network.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    fn transmit(&self, from: SocketAddr, to: SocketAddr, contents: &[u8]) {
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
            destination: b.local_addr().unwrap(),
            ecn: None,
            contents: b"abcdef",
            segment_size: Some(4),
            src_ip: None,
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
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: b"x",
            segment_size: None,
            src_ip: None,
        };
        send(&*a, &transmit).await.unwrap();
        assert_eq!(network.dropped(), 1);
        assert!(host.bind(SocketAddr::new(ip(2), 0)).is_err());
        assert!(host.bind(a.local_addr().unwrap()).is_err());
    }
}
