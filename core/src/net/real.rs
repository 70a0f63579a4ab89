//! The machine's own network, through Tokio's reactor.

mod reactor;

use super::{Changed, Net, RecvMeta, Transmit, UdpSocket};
use quinn_udp::{BATCH_SIZE, UdpSockRef, UdpSocketState};
use reactor::Watched;
use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};

/// How often the interfaces are looked at while anybody waits for a change.
const LOOK: Duration = Duration::from_secs(1);

/// Whoever holds it looks at the interfaces for all who wait, on whatever runtime they are. When it is given up the
/// next takes over, so that a process looks once a second however many peers it has.
static LOOKING: Mutex<()> = Mutex::const_new(());

/// A read goes on until there is nothing left, if there is room: one that leaves room need not be repeated to know.
const READS_ALL: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// What was seen last.
static SEEN: LazyLock<watch::Sender<Vec<IpAddr>>> = LazyLock::new(watch::Sender::default);

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
        interfaces()
    }

    fn changed(&self) -> Changed {
        let before = interfaces().unwrap_or_default();
        publish(before.clone());
        Box::pin(async move {
            let mut seen = SEEN.subscribe();
            tokio::select! {
                biased;
                () = look() => {}
                _ = seen.wait_for(|now| *now != before) => {}
            }
        })
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
        Ok(Arc::new(RealSocket {
            io: Watched::new(socket)?,
            state,
        }))
    }
}

fn interfaces() -> io::Result<Vec<IpAddr>> {
    let mut ips: Vec<IpAddr> = if_addrs::get_if_addrs()?
        .into_iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect();
    ips.sort_unstable();
    ips.dedup();
    Ok(ips)
}

/// Tells all who wait what was seen.
fn publish(now: Vec<IpAddr>) {
    SEEN.send_if_modified(|seen| {
        let modified = *seen != now;
        *seen = now;
        modified
    });
}

/// Looks at the interfaces from time to time, if nobody else does.
async fn look() {
    let _looking = LOOKING.lock().await;
    loop {
        sleep(LOOK).await;
        match interfaces() {
            Ok(now) => publish(now),
            Err(error) => tracing::debug!(%error, "the interfaces cannot be listed"),
        }
    }
}

#[derive(Debug)]
struct RealSocket {
    io: Watched,
    state: UdpSocketState,
}

impl RealSocket {
    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.state.try_send(UdpSockRef::from(self.io.socket()), transmit)
    }
}

impl UdpSocket for RealSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.socket().local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        self.io.poll_write(cx, || self.send(transmit))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let room = bufs.len().min(BATCH_SIZE);
        self.io.poll_read(cx, || {
            let read = self.state.recv(UdpSockRef::from(self.io.socket()), bufs, meta)?;
            Ok((read, !READS_ALL || read == room))
        })
    }

    fn max_gso_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_learns_of_a_change() {
        let waiting = [RealNet.changed(), RealNet.changed()];
        let mut waiting = waiting.map(tokio::spawn);
        for waiting in &mut waiting {
            let early = tokio::time::timeout(LOOK / 10, waiting).await;
            assert!(early.is_err(), "nothing has changed");
        }
        // Who looks goes away, and the other takes over.
        let [looking, other] = waiting;
        looking.abort();
        assert!(looking.await.is_err());
        publish(vec![IpAddr::from([192, 0, 2, 1])]);
        tokio::time::timeout(4 * LOOK, other).await.unwrap().unwrap();
    }
}
