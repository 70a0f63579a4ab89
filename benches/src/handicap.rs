//! Faults put in on purpose, around a stack and around its network: what measures them must find them, or fail.

use crate::{tap::datagrams, work::Handicap};
use async_trait::async_trait;
use std::{
    collections::HashSet,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use visavis_core::{
    Backend, Candidate, Capabilities, ChannelPort, Engine, EngineConfig, EngineStats, EventSink, MLine, Mark,
    Result,
    net::{Net, RecvMeta, Transmit, UdpSocket},
    sdp::Sdp,
};

/// `stack` with those of the handicaps that concern it.
pub(crate) fn stack(stack: Arc<dyn Backend>, handicaps: &[Handicap]) -> Arc<dyn Backend> {
    let slow_sdp = handicaps.iter().find_map(|handicap| match handicap {
        Handicap::SlowSdp(micros) => Some(Duration::from_micros(*micros)),
        _ => None,
    });
    let early = handicaps.contains(&Handicap::EarlyOpen);
    if slow_sdp.is_none() && !early {
        return stack;
    }
    Arc::new(Handicapped {
        stack,
        slow_sdp: slow_sdp.unwrap_or_default(),
        early,
    })
}

#[derive(Debug)]
struct Handicapped {
    stack: Arc<dyn Backend>,
    slow_sdp: Duration,
    early: bool,
}

#[async_trait]
impl Backend for Handicapped {
    fn name(&self) -> &'static str {
        self.stack.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.stack.capabilities()
    }

    async fn engine(
        &self,
        config: EngineConfig,
        net: Arc<dyn Net>,
        events: EventSink,
    ) -> Result<Box<dyn Engine>> {
        if self.early {
            events.mark(Mark::IceConnected);
            events.mark(Mark::DtlsConnected);
            events.mark(Mark::ChannelOpen);
        }
        let engine = self.stack.engine(config, net, events).await?;
        Ok(Box::new(SlowEngine {
            engine,
            slow_sdp: self.slow_sdp,
        }))
    }
}

#[derive(Debug)]
struct SlowEngine {
    engine: Box<dyn Engine>,
    slow_sdp: Duration,
}

#[async_trait]
impl Engine for SlowEngine {
    async fn make_offer(&mut self, want: &[MLine], ice_restart: bool) -> Result<Sdp> {
        tokio::time::sleep(self.slow_sdp).await;
        self.engine.make_offer(want, ice_restart).await
    }

    async fn commit_offer(&mut self) -> Result<()> {
        self.engine.commit_offer().await
    }

    async fn discard_offer(&mut self) -> Result<()> {
        self.engine.discard_offer().await
    }

    async fn apply_answer(&mut self, answer: &Sdp) -> Result<()> {
        self.engine.apply_answer(answer).await
    }

    async fn answer(&mut self, offer: &Sdp, want: &[MLine]) -> Result<Sdp> {
        tokio::time::sleep(self.slow_sdp).await;
        self.engine.answer(offer, want).await
    }

    async fn commit_answer(&mut self) -> Result<()> {
        self.engine.commit_answer().await
    }

    async fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        self.engine.add_candidate(candidate).await
    }

    fn open_channel(&mut self, port: ChannelPort) -> Result<()> {
        self.engine.open_channel(port)
    }

    async fn stats(&mut self) -> EngineStats {
        self.engine.stats().await
    }

    async fn close(&mut self) {
        self.engine.close().await;
    }
}

/// `net` with those of the handicaps that concern it.
pub(crate) fn net(net: Arc<dyn Net>, handicaps: &[Handicap]) -> Arc<dyn Net> {
    let faults: Vec<_> = handicaps
        .iter()
        .filter_map(|handicap| match *handicap {
            Handicap::SlowFrames(micros) => Some(Fault::Slow(Duration::from_micros(micros))),
            Handicap::DropFrames(every) => Some(Fault::Drop(every)),
            _ => None,
        })
        .collect();
    if faults.is_empty() {
        net
    } else {
        Arc::new(FaultyNet { net, faults })
    }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Slow(Duration),
    Drop(u64),
}

#[derive(Debug)]
struct FaultyNet {
    net: Arc<dyn Net>,
    faults: Vec<Fault>,
}

impl FaultyNet {
    fn socket(&self, socket: Arc<dyn UdpSocket>) -> Arc<dyn UdpSocket> {
        Arc::new(FaultySocket {
            socket,
            faults: self.faults.clone(),
            frames: Mutex::default(),
        })
    }
}

impl Net for FaultyNet {
    fn interfaces(&self) -> io::Result<Vec<IpAddr>> {
        self.net.interfaces()
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        Ok(self.socket(self.net.bind(addr)?))
    }

    fn adopt(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn UdpSocket>> {
        Ok(self.socket(self.net.adopt(socket)?))
    }
}

#[derive(Debug)]
struct FaultySocket {
    socket: Arc<dyn UdpSocket>,
    faults: Vec<Fault>,
    /// The RTP timestamps of the frames that were sent, and of those that are dropped.
    frames: Mutex<[HashSet<u32>; 2]>,
}

impl FaultySocket {
    /// What happens to a datagram, if it is RTP: `true` if it is dropped. The header can be read (RFC 3711 §3.1), and
    /// a retransmission has the timestamp of what it repeats (RFC 4588 §4).
    fn is_dropped(&self, datagram: &[u8]) -> bool {
        let Some(&[first, second, _, _, a, b, c, d]) = datagram.first_chunk() else {
            return false;
        };
        let is_rtp = (128..192).contains(&first) && !(192..224).contains(&second);
        if !is_rtp {
            return false;
        }
        let timestamp = u32::from_be_bytes([a, b, c, d]);
        let [sent, dropped] = &mut *self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let new = sent.insert(timestamp);
        for fault in &self.faults {
            match fault {
                #[allow(clippy::disallowed_methods)] // holding up the driver is what is wanted
                Fault::Slow(time) if new => std::thread::sleep(*time),
                Fault::Drop(every) if new && (sent.len() as u64).is_multiple_of(*every) => {
                    dropped.insert(timestamp);
                }
                _ => {}
            }
        }
        dropped.contains(&timestamp)
    }

    /// A batch is of one frame or the end of one and the start of the next; it goes or is lost as a whole.
    fn loses(&self, transmit: &Transmit<'_>) -> bool {
        let mut lost = false;
        for datagram in datagrams(transmit.contents, transmit.segment_size) {
            lost |= self.is_dropped(datagram);
        }
        lost
    }
}

impl UdpSocket for FaultySocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        if self.loses(transmit) {
            Poll::Ready(Ok(()))
        } else {
            self.socket.poll_send(cx, transmit)
        }
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.loses(transmit) {
            Ok(())
        } else {
            self.socket.try_send(transmit)
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(cx, bufs, meta)
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}
