//! Any network made bad: what its sockets send goes over a [`Path`] first.

use super::{
    Changed, EcnCodepoint, Net, RecvMeta, Transmit, UdpSocket,
    impair::{Arrival, Impairments, Path, PathCounts, turn_over},
    send,
};
use crate::lock;
use std::{
    collections::{HashMap, VecDeque},
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// A socket holds this many bytes that are on their way; more are dropped, as on a path whose queue is full.
const ON_THE_WAY: usize = 32 * 1024 * 1024;

/// A [`Net`] whose sockets delay, lose, reorder, repeat and damage what they send. What they receive is left as it came:
/// for both directions, both sides need one.
///
/// Each socket has a task on Tokio's runtime, which ends when the socket is dropped and the last datagram is on its way.
/// Timers are good to a millisecond.
#[derive(Debug)]
pub struct ImpairedNet {
    inner: Arc<dyn Net>,
    paths: Arc<Mutex<Paths>>,
}

#[derive(Debug)]
struct Paths {
    impairments: Impairments,
    seed: u64,
    links: HashMap<(IpAddr, IpAddr), Path>,
    /// Dropped for [`ON_THE_WAY`].
    overflowed: u64,
}

impl ImpairedNet {
    /// This network with these impairments on each path from it. The same seed does the same to the same datagrams.
    pub fn new(inner: Arc<dyn Net>, impairments: Impairments, seed: u64) -> Self {
        let paths = Paths {
            impairments,
            seed,
            links: HashMap::new(),
            overflowed: 0,
        };
        Self {
            inner,
            paths: Arc::new(Mutex::new(paths)),
        }
    }

    /// Does something else to what is sent from now on.
    pub fn set(&self, impairments: Impairments) {
        let mut paths = lock(&self.paths);
        paths.impairments = impairments;
        for path in paths.links.values_mut() {
            path.set(impairments);
        }
    }

    /// What became of all datagrams so far.
    pub fn counts(&self) -> PathCounts {
        let paths = lock(&self.paths);
        let mut counts: PathCounts = paths.links.values().map(Path::counts).sum();
        counts.queue_full += paths.overflowed;
        counts
    }

    fn wrap(&self, inner: Arc<dyn UdpSocket>) -> io::Result<Arc<dyn UdpSocket>> {
        let socket = ImpairedSocket {
            from: inner.local_addr()?.ip(),
            inner: Arc::clone(&inner),
            paths: Arc::clone(&self.paths),
            way: Arc::default(),
        };
        tokio::spawn(deliver(inner, Arc::clone(&socket.way)));
        Ok(Arc::new(socket))
    }
}

impl Net for ImpairedNet {
    fn interfaces(&self) -> io::Result<Vec<IpAddr>> {
        self.inner.interfaces()
    }

    fn changed(&self) -> Changed {
        self.inner.changed()
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        self.wrap(self.inner.bind(addr)?)
    }

    fn adopt(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn UdpSocket>> {
        self.wrap(self.inner.adopt(socket)?)
    }
}

#[derive(Debug)]
struct ImpairedSocket {
    from: IpAddr,
    inner: Arc<dyn UdpSocket>,
    paths: Arc<Mutex<Paths>>,
    way: Arc<Way>,
}

/// What a socket has sent and not yet delivered.
#[derive(Debug, Default)]
struct Way {
    datagrams: Mutex<OnTheWay>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct OnTheWay {
    /// Earliest first.
    queue: VecDeque<Datagram>,
    bytes: usize,
    /// The socket is gone.
    closed: bool,
}

#[derive(Debug)]
struct Datagram {
    due: Instant,
    to: SocketAddr,
    ecn: Option<EcnCodepoint>,
    src_ip: Option<IpAddr>,
    contents: Box<[u8]>,
}

impl ImpairedSocket {
    fn send(&self, transmit: &Transmit<'_>, contents: &[u8]) {
        let to = transmit.destination;
        let mut paths = lock(&self.paths);
        let Paths {
            impairments, seed, ..
        } = *paths;
        let path = paths.links.entry((self.from, to.ip()));
        let path = path.or_insert_with(|| Path::new(impairments, seed, self.from, to.ip()));
        for arrival in path
            .send(Instant::now(), contents.len(), to.is_ipv6())
            .into_iter()
            .flatten()
        {
            if !self.way.put(arrival, transmit, contents) {
                paths.overflowed += 1;
            }
        }
    }
}

impl Way {
    /// Takes a datagram, if there is room.
    fn put(&self, arrival: Arrival, transmit: &Transmit<'_>, contents: &[u8]) -> bool {
        let mut contents: Box<[u8]> = contents.into();
        if let Some(bit) = arrival.wrong_bit {
            turn_over(&mut contents, bit);
        }
        let datagram = Datagram {
            due: arrival.due,
            to: transmit.destination,
            ecn: transmit.ecn,
            src_ip: transmit.src_ip,
            contents,
        };
        let mut way = lock(&self.datagrams);
        if way.bytes + datagram.contents.len() > ON_THE_WAY {
            return false;
        }
        way.bytes += datagram.contents.len();
        // Behind all that arrive no later: nearly always at the end.
        let later = way
            .queue
            .iter()
            .rev()
            .take_while(|d| d.due > datagram.due)
            .count();
        let place = way.queue.len() - later;
        way.queue.insert(place, datagram);
        drop(way);
        if place == 0 {
            self.changed.notify_one();
        }
        true
    }

    /// The next datagram when it is due, or nothing when there will be none.
    async fn next(&self) -> Option<Datagram> {
        loop {
            let due = {
                let mut way = lock(&self.datagrams);
                let due = way.queue.front().map(|d| d.due);
                if due.is_some_and(|due| due <= Instant::now()) {
                    let datagram = way.queue.pop_front()?;
                    way.bytes -= datagram.contents.len();
                    return Some(datagram);
                }
                if way.closed && due.is_none() {
                    return None;
                }
                due
            };
            let changed = self.changed.notified();
            match due {
                None => changed.await,
                Some(due) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
            }
        }
    }
}

/// Hands datagrams to the socket below at their times.
async fn deliver(socket: Arc<dyn UdpSocket>, way: Arc<Way>) {
    while let Some(datagram) = way.next().await {
        let transmit = Transmit {
            destination: datagram.to,
            ecn: datagram.ecn,
            contents: &datagram.contents,
            segment_size: None,
            src_ip: datagram.src_ip,
        };
        // A path does not tell the sender what it could not carry.
        if let Err(error) = send(&*socket, &transmit).await {
            tracing::debug!(%error, to = %datagram.to, "a datagram could not be sent");
        }
    }
}

impl Drop for ImpairedSocket {
    fn drop(&mut self) {
        lock(&self.way.datagrams).closed = true;
        self.way.changed.notify_one();
    }
}

impl UdpSocket for ImpairedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.try_send(transmit))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let size = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(size) {
            self.send(transmit, datagram);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::RealNet;
    use std::{future::poll_fn, time::Duration};
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(20);

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn parsed(text: &str) -> Impairments {
        text.parse().unwrap()
    }

    async fn send_to(socket: &dyn UdpSocket, destination: SocketAddr, contents: &[u8]) {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents,
            segment_size: Some(4),
            src_ip: None,
        };
        send(socket, &transmit).await.unwrap();
    }

    /// Datagrams of four bytes; GRO may put several into one buffer.
    async fn recv(socket: &dyn UdpSocket) -> Vec<u32> {
        let mut buffer = vec![0; 64 * 1024];
        let mut meta = [RecvMeta::default()];
        let read = poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta));
        timeout(LIMIT, read).await.expect("a datagram").unwrap();
        let datagrams = buffer[..meta[0].len].chunks(4);
        datagrams
            .map(|d| u32::from_be_bytes(d.try_into().unwrap()))
            .collect()
    }

    /// Sends numbers, the last of them on a clear path, and says which arrived.
    async fn numbers(net: &ImpairedNet, count: u32) -> Vec<u32> {
        let receiver = RealNet.bind(any()).unwrap();
        let sender = net.bind(any()).unwrap();
        let to = receiver.local_addr().unwrap();
        let contents: Vec<u8> = (0..count).flat_map(u32::to_be_bytes).collect();
        send_to(&*sender, to, &contents).await;
        net.set(Impairments::default());
        send_to(&*sender, to, &count.to_be_bytes()).await;
        // What is on its way arrives though the socket is gone.
        drop(sender);
        let mut arrived = Vec::new();
        while arrived.last() != Some(&count) {
            arrived.extend(recv(&*receiver).await);
        }
        arrived
    }

    #[tokio::test]
    async fn real_datagrams_are_lost_and_repeated() {
        let impairments = parsed("loss=20%,duplicate=20%");
        let net = ImpairedNet::new(RealNet::shared(), impairments, 1);
        let arrived = numbers(&net, 200).await;
        let ip = any().ip();
        let mut path = Path::new(impairments, 1, ip, ip);
        let mut expected: Vec<u32> = (0..200)
            .flat_map(|n| {
                path.send(Instant::now(), 4, false)
                    .into_iter()
                    .flatten()
                    .map(move |_| n)
            })
            .collect();
        expected.push(200);
        assert_eq!(arrived, expected);
        let counts = net.counts();
        assert!(counts.lost > 20 && counts.duplicated > 20, "{counts:?}");
        assert_eq!(counts.sent, 201);
    }

    #[tokio::test]
    async fn real_datagrams_take_their_time() {
        let net = ImpairedNet::new(RealNet::shared(), parsed("delay=30ms"), 1);
        let began = Instant::now();
        assert_eq!(numbers(&net, 3).await, [0, 1, 2, 3]);
        assert!(began.elapsed() >= Duration::from_millis(30));
    }

    #[tokio::test]
    async fn nothing_is_kept_without_end() {
        let net = ImpairedNet::new(RealNet::shared(), parsed("delay=60s"), 1);
        let sender = net.bind(any()).unwrap();
        let large = vec![0; 60_000];
        for _ in 0..1_000 {
            let transmit = Transmit {
                destination: any(),
                ecn: None,
                contents: &large,
                segment_size: None,
                src_ip: None,
            };
            send(&*sender, &transmit).await.unwrap();
        }
        assert_eq!(net.counts().queue_full, 1_000 - (ON_THE_WAY / large.len()) as u64);
    }
}
