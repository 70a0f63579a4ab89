//! The machine's own network, through Tokio's reactor.

use super::{Net, RecvMeta, Transmit, UdpSocket};
use quinn_udp::{UdpSockRef, UdpSocketState};
use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::Interest;

/// The machine's interfaces and sockets. Needs a Tokio runtime with I/O enabled.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealNet;

impl RealNet {
    /// As a shared [`Net`].
    pub fn shared() -> Arc<dyn Net> {
        Arc::new(Self)
    }
}

impl Net for RealNet {
    fn interfaces(&self) -> io::Result<Vec<IpAddr>> {
        let mut ips: Vec<IpAddr> = if_addrs::get_if_addrs()?
            .into_iter()
            .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
            .map(|interface| interface.ip())
            .collect();
        ips.sort_unstable();
        ips.dedup();
        Ok(ips)
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        self.adopt(std::net::UdpSocket::bind(addr)?)
    }

    fn adopt(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn UdpSocket>> {
        // Turns on non-blocking mode, and GSO, GRO and ECN where the kernel has them.
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // A default receive buffer of 208 KiB overflows within a burst of one large message; best effort.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), 2 * 1024 * 1024);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), 2 * 1024 * 1024);
        let io = tokio::net::UdpSocket::from_std(socket)?;
        Ok(Arc::new(RealSocket { io, state }))
    }
}

#[derive(Debug)]
struct RealSocket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
}

impl UdpSocket for RealSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.io.poll_send_ready(cx))?;
            match self.try_send(transmit) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || {
            self.state.try_send(UdpSockRef::from(&self.io), transmit)
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let read = self.io.try_io(Interest::READABLE, || {
                self.state.recv(UdpSockRef::from(&self.io), bufs, meta)
            });
            match read {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn max_gso_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.state.gro_segments()
    }
}
