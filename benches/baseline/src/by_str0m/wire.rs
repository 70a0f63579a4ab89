//! A peer's socket. With its defaults it sends and reads a datagram at a time, as the examples do.

use crate::Variant;
use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::Arc,
};
use str0m::net;
use visavis_core::{
    UdpSocket,
    net::{RecvMeta, Transmit, send},
};

/// Larger than any datagram of WebRTC; the README's buffer.
const DATAGRAM: usize = 2_000;

/// A datagram's length has 16 bits, and GSO's is that of all segments.
const MAX_BATCH: usize = 60_000;

/// What one tuned read fills at most.
const MAX_BUFFERS: usize = 32;

pub(super) struct Wire {
    socket: Arc<dyn UdpSocket>,
    local: SocketAddr,
    /// What waits to be sent: nothing for longer than until the next flush.
    queue: VecDeque<net::Transmit>,
    batch: Vec<u8>,
    /// The most datagrams of one system call.
    segments: usize,
    received: Received,
}

/// What one read fills.
#[derive(Default)]
pub(super) struct Received {
    buffer: Vec<u8>,
    /// How much of the buffer is for one datagram, or for one batch of them.
    chunk: usize,
    meta: Vec<RecvMeta>,
    filled: usize,
}

impl Received {
    /// The datagrams, each with its source.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let filled = self
            .buffer
            .chunks_exact(self.chunk)
            .zip(&self.meta)
            .take(self.filled);
        filled.flat_map(|(bytes, meta)| {
            let datagrams = bytes[..meta.len].chunks(meta.stride.max(1));
            datagrams.map(|datagram| (meta.addr, datagram))
        })
    }
}

impl Wire {
    pub(super) fn new(socket: Arc<dyn UdpSocket>, variant: Variant) -> io::Result<Self> {
        let (segments, chunk, chunks) = match variant {
            Variant::Defaults => (1, DATAGRAM, 1),
            // Several datagrams in one system call, both ways (GSO, GRO): system calls are a third of the cost.
            Variant::Tuned if socket.max_gro_segments() > 1 => (socket.max_gso_segments(), 64 * 1024, 8),
            // Without GRO at least several buffers (recvmmsg).
            Variant::Tuned => (socket.max_gso_segments(), DATAGRAM, MAX_BUFFERS),
        };
        Ok(Self {
            local: socket.local_addr()?,
            socket,
            queue: VecDeque::new(),
            batch: Vec::new(),
            segments,
            received: Received {
                buffer: vec![0; chunk * chunks],
                chunk,
                meta: vec![RecvMeta::default(); chunks],
                filled: 0,
            },
        })
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes a datagram. It is sent with the next [`flush`](Self::flush).
    pub(super) fn push(&mut self, transmit: net::Transmit) {
        self.queue.push_back(transmit);
    }

    /// Whether what waits fills a system call.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= self.segments
    }

    /// Sends all that waits, in order: a run of equal datagrams, the last of which may be shorter, in one system call.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while let Some(first) = self.queue.pop_front() {
            let size = first.contents.len();
            let most = self.segments.min(MAX_BATCH / size.max(1));
            let joins =
                |next: &net::Transmit| next.destination == first.destination && next.contents.len() <= size;
            if most <= 1 || !self.queue.front().is_some_and(joins) {
                send(&*self.socket, &transmit(first.destination, &first.contents, None)).await?;
                continue;
            }
            self.batch.clear();
            self.batch.extend_from_slice(&first.contents);
            let (mut count, mut last) = (1, size);
            while count < most && last == size && self.queue.front().is_some_and(joins) {
                let Some(next) = self.queue.pop_front() else {
                    break;
                };
                self.batch.extend_from_slice(&next.contents);
                (count, last) = (count + 1, next.contents.len());
            }
            send(
                &*self.socket,
                &transmit(first.destination, &self.batch, Some(size)),
            )
            .await?;
        }
        Ok(())
    }

    /// Waits until something has been read. Cancelling it loses nothing: what is ready is returned in the same poll.
    pub(super) async fn recv(&mut self) -> io::Result<()> {
        let Received {
            buffer,
            chunk,
            meta,
            filled,
        } = &mut self.received;
        let mut chunks = buffer.chunks_exact_mut(*chunk);
        let mut slices: [_; MAX_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let slices = &mut slices[..meta.len()];
        *filled = poll_fn(|cx| self.socket.poll_recv(cx, slices, meta)).await?;
        Ok(())
    }

    /// Lends what was read. It must be put back before the next read.
    pub(super) fn take(&mut self) -> Received {
        std::mem::take(&mut self.received)
    }

    pub(super) fn put(&mut self, received: Received) {
        self.received = received;
    }
}

fn transmit(destination: SocketAddr, contents: &[u8], segment_size: Option<usize>) -> Transmit<'_> {
    Transmit {
        destination,
        ecn: None,
        contents,
        segment_size,
        src_ip: None,
    }
}
