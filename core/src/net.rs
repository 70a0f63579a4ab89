//! The network as the engines see it: interfaces and poll-shaped UDP sockets.
//!
//! [`RealNet`] is the machine's; [`MemoryNet`](memory::MemoryNet) is a host of a simulated network. Either can be made
//! bad ([`impair`]), the real one by [`ImpairedNet`]. Datagrams travel in `quinn-udp`'s shapes: a [`Transmit`] may hold several of one size (GSO), and one read may return
//! several (GRO).

pub mod impair;
mod impaired;
pub mod memory;
mod nat;
mod real;
mod repeat;

pub use impaired::ImpairedNet;
pub use nat::{Dependence, Nat, NatKind};
pub use quinn_udp::{EcnCodepoint, RecvMeta, Transmit};
pub use real::RealNet;
pub(crate) use repeat::RepeatingNet;

use std::{
    fmt,
    future::{self, Future, poll_fn},
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Resolves when a host's interfaces are others than they were. See [`Net::changed`].
pub type Changed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A host's network.
pub trait Net: fmt::Debug + Send + Sync {
    /// The addresses a peer elsewhere could reach: not loopback, not link-local.
    fn interfaces(&self) -> io::Result<Vec<IpAddr>>;

    /// Resolves when [`interfaces`](Self::interfaces) gives other addresses than at this call. Default: never.
    ///
    /// Between two changes there may be others; ask again for what there is.
    fn changed(&self) -> Changed {
        Box::pin(future::pending())
    }

    /// Binds a UDP socket; port 0 picks one.
    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn UdpSocket>>;

    /// Takes over a socket that a library has bound by itself.
    fn adopt(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn UdpSocket>> {
        let addr = socket.local_addr()?;
        drop(socket);
        self.bind(addr)
    }
}

/// A UDP socket in the shape of `quinn-udp`. One task reads and one task writes: only the last waker of each
/// direction is woken.
pub trait UdpSocket: fmt::Debug + Send + Sync {
    /// The address it is bound to.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends one datagram, or several of [`Transmit::segment_size`] bytes each.
    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>>;

    /// Sends at once or not at all, and leaves the waker of [`poll_send`](Self::poll_send) alone.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is no room, and the network's own.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()>;

    /// Reads up to `bufs.len()` batches; each may hold several datagrams of [`RecvMeta::stride`] bytes.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>>;

    /// The most datagrams one [`Transmit`] may hold.
    fn max_gso_segments(&self) -> usize {
        1
    }

    /// The most datagrams one buffer may be filled with.
    fn max_gro_segments(&self) -> usize {
        1
    }
}

/// Sends, waiting until the socket takes it.
pub async fn send(socket: &dyn UdpSocket, transmit: &Transmit<'_>) -> io::Result<()> {
    poll_fn(|cx| socket.poll_send(cx, transmit)).await
}

/// The addresses to bind for `wanted`, or for every interface of `net` and port 0 when nothing is wanted.
///
/// # Errors
///
/// When there is nothing to bind: no interface is up but loopback.
pub fn bind_addresses(net: &dyn Net, wanted: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
    let (wild, mut literal): (Vec<SocketAddr>, Vec<SocketAddr>) = if wanted.is_empty() {
        (
            vec![
                SocketAddr::from(([0, 0, 0, 0], 0)),
                SocketAddr::from(([0_u16; 8], 0)),
            ],
            Vec::new(),
        )
    } else {
        wanted.iter().partition(|a| a.ip().is_unspecified())
    };
    if !wild.is_empty() {
        for ip in net.interfaces()? {
            let matching = wild.iter().find(|w| w.is_ipv4() == ip.is_ipv4());
            literal.extend(matching.map(|w| SocketAddr::new(ip, w.port())));
        }
    }
    literal.sort_unstable();
    literal.dedup();
    if literal.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "no network interface is up but loopback; bind 127.0.0.1:0 for a call on this machine",
        ));
    }
    Ok(literal)
}
