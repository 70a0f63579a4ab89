//! The peer's sockets: bound to literal addresses, read and written in batches.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::Arc,
    task::Poll,
};
use str0m::net;
use visavis_core::{
    Error, ErrorKind, Net, Result, UdpSocket,
    net::{RecvMeta, Transmit, bind_addresses, send},
};

/// The most bytes one send carries: what fits into an IPv6 datagram's length, with room for headers.
const MAX_BATCH: usize = 60_000;

/// A buffer for GRO holds a whole batch; without GRO it holds one datagram.
const GRO_BUFFER: usize = 64 * 1024;
const GRO_BUFFERS: usize = 8;
const PLAIN_BUFFER: usize = 2048;
const PLAIN_BUFFERS: usize = 32;

/// What went through the sockets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) packets_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) bytes_received: u64,
    /// Datagrams that a socket refused.
    pub(crate) send_errors: u64,
}

/// A peer's sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    net: Arc<dyn Net>,
    wanted: Vec<SocketAddr>,
    bound: Vec<Bound>,
    /// Which socket is read first, so that a busy one does not starve the others.
    first: usize,
    batch: Vec<u8>,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
struct Bound {
    addr: SocketAddr,
    socket: Arc<dyn UdpSocket>,
}

/// What [`Sockets::rebind`] changed.
#[derive(Debug, Default)]
pub(crate) struct Rebound {
    pub(crate) added: Vec<SocketAddr>,
    pub(crate) removed: Vec<SocketAddr>,
}

impl Sockets {
    /// Binds what `wanted` asks for.
    ///
    /// # Errors
    ///
    /// [`Network`](ErrorKind::Network) when not one address could be bound.
    pub(crate) fn bind(net: Arc<dyn Net>, wanted: Vec<SocketAddr>) -> Result<Self> {
        let mut sockets = Self {
            net,
            wanted,
            bound: Vec::new(),
            first: 0,
            batch: Vec::new(),
            counters: Counters::default(),
        };
        let failed = |e: io::Error| {
            Error::new(ErrorKind::Network, "engine", "no UDP socket could be bound").with_source(e)
        };
        let mut last = None;
        for addr in bind_addresses(&*sockets.net, &sockets.wanted).map_err(failed)? {
            if let Err(e) = sockets.add(addr) {
                last = Some(e);
            }
        }
        match last {
            Some(e) if sockets.bound.is_empty() => Err(failed(e)),
            _ => Ok(sockets),
        }
    }

    /// Asks the network again which addresses there are; keeps the sockets whose address is still there.
    pub(crate) fn rebind(&mut self) -> Rebound {
        let mut rebound = Rebound::default();
        let addresses = match bind_addresses(&*self.net, &self.wanted) {
            Ok(addresses) => addresses,
            Err(e) => {
                tracing::warn!(error = %e, "no address to gather; the old ones are kept");
                return rebound;
            }
        };
        let is = |bound: &SocketAddr, addr: &SocketAddr| {
            bound.ip() == addr.ip() && (addr.port() == 0 || bound.port() == addr.port())
        };
        self.bound.retain(|bound| {
            let stays = addresses.iter().any(|addr| is(&bound.addr, addr));
            if !stays {
                rebound.removed.push(bound.addr);
            }
            stays
        });
        for addr in addresses {
            if !self.bound.iter().any(|bound| is(&bound.addr, &addr))
                && let Ok(addr) = self.add(addr)
            {
                rebound.added.push(addr);
            }
        }
        rebound
    }

    fn add(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let bound = self.net.bind(addr).and_then(|socket| {
            let addr = plain(socket.local_addr()?);
            Ok(Bound { addr, socket })
        });
        match bound {
            Ok(bound) => {
                let addr = bound.addr;
                self.bound.push(bound);
                Ok(addr)
            }
            Err(e) => {
                tracing::warn!(%addr, error = %e, "cannot bind, so the address is skipped");
                Err(e)
            }
        }
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.bound.iter().map(|bound| bound.addr)
    }

    /// Reads from whichever socket has something. Returns the socket's address; `buffers` has the rest.
    ///
    /// Cancel safe: what was read is returned in the same poll.
    pub(crate) async fn recv(&mut self, buffers: &mut Buffers) -> SocketAddr {
        poll_fn(|cx| {
            let count = self.bound.len();
            for i in 0..count {
                let index = (self.first + i) % count;
                let bound = &self.bound[index];
                let gro = bound.socket.max_gro_segments() > 1;
                match buffers.fill(gro, |slices, meta| bound.socket.poll_recv(cx, slices, meta)) {
                    Poll::Pending => {}
                    Poll::Ready(read) => {
                        // An error is about something sent before (an ICMP message); reading goes on.
                        buffers.filled = read.unwrap_or_else(|e| {
                            tracing::trace!(error = %e, "receive");
                            0
                        });
                        self.first = index + 1;
                        return Poll::Ready(bound.addr);
                    }
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Sends everything, in order: runs of equal length to one destination in one system call.
    pub(crate) async fn flush(&mut self, transmits: &mut VecDeque<net::Transmit>) {
        while let Some(first) = transmits.pop_front() {
            let Some(bound) = self.bound.iter().find(|bound| bound.addr == first.source) else {
                tracing::trace!(source = %first.source, "the socket is gone");
                self.counters.send_errors += 1;
                continue;
            };
            let socket = Arc::clone(&bound.socket);
            let size = first.contents.len();
            let most = socket.max_gso_segments().min(MAX_BATCH / size.max(1)).max(1);
            self.batch.clear();
            self.batch.extend_from_slice(&first.contents);
            let mut count = 1;
            while count < most {
                let fits = transmits.front().is_some_and(|next| {
                    next.source == first.source
                        && next.destination == first.destination
                        && next.contents.len() <= size
                });
                let Some(next) = fits.then(|| transmits.pop_front()).flatten() else {
                    break;
                };
                self.batch.extend_from_slice(&next.contents);
                count += 1;
                if next.contents.len() < size {
                    break;
                }
            }
            self.send(&*socket, first.destination, size, count).await;
        }
    }

    async fn send(&mut self, socket: &dyn UdpSocket, destination: SocketAddr, size: usize, count: usize) {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: &self.batch,
            segment_size: (count > 1).then_some(size),
            src_ip: None,
        };
        let Err(e) = send(socket, &transmit).await else {
            self.counters.packets_sent += count as u64;
            self.counters.bytes_sent += self.batch.len() as u64;
            return;
        };
        tracing::trace!(%destination, count, error = %e, "send");
        if count == 1 {
            self.counters.send_errors += 1;
            return;
        }
        // Some drivers refuse segmentation at send time only; the datagrams one by one may still go.
        for contents in self.batch.chunks(size) {
            let one = Transmit {
                contents,
                segment_size: None,
                ..transmit
            };
            if send(socket, &one).await.is_ok() {
                self.counters.packets_sent += 1;
                self.counters.bytes_sent += contents.len() as u64;
            } else {
                self.counters.send_errors += 1;
            }
        }
    }
}

/// What one read fills.
pub(crate) struct Buffers {
    bytes: Vec<u8>,
    meta: Vec<RecvMeta>,
    size: usize,
    filled: usize,
}

impl Buffers {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            meta: Vec::new(),
            size: 0,
            filled: 0,
        }
    }

    /// Lends the buffers to `read`. Pages that no read fills are never touched, so they cost no memory.
    fn fill<T>(&mut self, gro: bool, read: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> T) -> T {
        let (size, count) = if gro {
            (GRO_BUFFER, GRO_BUFFERS)
        } else {
            (PLAIN_BUFFER, PLAIN_BUFFERS)
        };
        if self.size != size {
            self.size = size;
            self.bytes = vec![0; size * count];
            self.meta = vec![RecvMeta::default(); count];
        }
        let mut chunks = self.bytes.chunks_exact_mut(size);
        let mut slices: [_; PLAIN_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        read(&mut slices[..count], &mut self.meta)
    }

    /// The datagrams of the last read, each with its source.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let filled = self
            .bytes
            .chunks_exact(self.size.max(1))
            .zip(&self.meta)
            .take(self.filled);
        filled.flat_map(|(bytes, meta)| {
            bytes[..meta.len]
                .chunks(meta.stride.max(1))
                .map(|datagram| (plain(meta.addr), datagram))
        })
    }
}

/// Without flow and scope, which a candidate line does not carry.
fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use str0m::net::Protocol;
    use visavis_core::{MemoryNetwork, RealNet};

    fn transmit(source: SocketAddr, destination: SocketAddr, contents: &[u8]) -> net::Transmit {
        net::Transmit {
            proto: Protocol::Udp,
            source,
            destination,
            contents: contents.to_vec().into(),
        }
    }

    async fn exchange(mut a: Sockets, mut b: Sockets) {
        let from = a.addresses().next().unwrap();
        let to = b.addresses().next().unwrap();
        let lengths = [100, 100, 100, 40, 100, 0, 7, 1200, 1200];
        let mut transmits: VecDeque<_> = lengths
            .iter()
            .map(|&n| transmit(from, to, &vec![n as u8; n]))
            .collect();
        a.flush(&mut transmits).await;
        let mut buffers = Buffers::new();
        let mut received = Vec::new();
        while received.len() < lengths.len() - 1 {
            assert_eq!(b.recv(&mut buffers).await, to);
            for (source, datagram) in buffers.datagrams() {
                assert_eq!(source, from);
                assert!(datagram.iter().all(|&b| b == datagram.len() as u8));
                received.push(datagram.len());
            }
        }
        // An empty datagram carries nothing that a peer could want; it may be merged away.
        assert_eq!(
            received.into_iter().filter(|&n| n > 0).collect::<Vec<_>>(),
            [100, 100, 100, 40, 100, 7, 1200, 1200]
        );
        assert_eq!(a.counters.packets_sent, lengths.len() as u64);
    }

    #[tokio::test]
    async fn batches_arrive_whole() {
        let loopback = vec!["127.0.0.1:0".parse().unwrap()];
        let bind = || Sockets::bind(RealNet::shared(), loopback.clone()).unwrap();
        exchange(bind(), bind()).await;
        let network = MemoryNetwork::new(Duration::ZERO);
        let bind = |last: u8| {
            let ip = [127, 7, 0, last].into();
            Sockets::bind(network.host([ip]), vec![SocketAddr::new(ip, 0)]).unwrap()
        };
        exchange(bind(1), bind(2)).await;
    }

    #[test]
    fn what_cannot_be_bound_is_skipped_unless_it_is_all() {
        let network = MemoryNetwork::new(Duration::ZERO);
        let host = network.host([[127, 7, 0, 3].into()]);
        let (mine, other) = ("127.7.0.3:0".parse().unwrap(), "127.7.0.4:0".parse().unwrap());
        let sockets = Sockets::bind(host.clone(), vec![mine, other]).unwrap();
        assert_eq!(sockets.addresses().count(), 1);
        let error = Sockets::bind(host, vec![other]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network);
    }
}
