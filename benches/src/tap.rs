//! What two peers really agreed on, read off the wire: in DTLS 1.2 the server says it in clear (RFC 5246 §7.4.1.3,
//! RFC 8422 §5.4, RFC 5764 §4.1).

use serde::{Deserialize, Serialize};
use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};
use visavis_core::{
    KeyExchange, SrtpProfile,
    net::{Net, RecvMeta, Transmit, UdpSocket},
};

/// What the handshake of two peers settled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negotiated {
    /// The version that the server chose.
    pub dtls: Option<String>,
    /// The cipher suite.
    pub cipher_suite: Option<String>,
    /// The named group of the key exchange.
    pub key_exchange: Option<String>,
    /// The SRTP protection profile.
    pub srtp_profile: Option<String>,
    /// Whether the server asked for a cookie, which costs a round trip.
    pub cookie: bool,
    /// The feedback that the answer takes for video, `a=rtcp-fb` (RFC 4585 §4.2).
    pub feedback: Vec<String>,
    /// What the offerer sent before the channel was open.
    pub datagrams: u64,
}

/// A network whose packets are read on their way.
#[derive(Debug)]
pub struct Tap {
    net: Arc<dyn Net>,
    seen: Arc<Mutex<Negotiated>>,
}

impl Tap {
    /// Reads what goes through `net`.
    pub fn new(net: Arc<dyn Net>) -> Self {
        Self {
            net,
            seen: Arc::default(),
        }
    }

    /// What it has read so far.
    pub fn negotiated(&self) -> Negotiated {
        lock(&self.seen).clone()
    }

    fn socket(&self, socket: Arc<dyn UdpSocket>) -> Arc<dyn UdpSocket> {
        Arc::new(Tapped {
            socket,
            seen: Arc::clone(&self.seen),
        })
    }
}

impl Net for Tap {
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
struct Tapped {
    socket: Arc<dyn UdpSocket>,
    seen: Arc<Mutex<Negotiated>>,
}

impl Tapped {
    fn sent(&self, transmit: &Transmit<'_>) {
        let mut seen = lock(&self.seen);
        for datagram in datagrams(transmit.contents, transmit.segment_size) {
            seen.datagrams += 1;
            seen.read(datagram);
        }
    }
}

impl UdpSocket for Tapped {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_send(cx, transmit))?;
        self.sent(transmit);
        Poll::Ready(Ok(()))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)?;
        self.sent(transmit);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(self.socket.poll_recv(cx, bufs, meta))?;
        let mut seen = lock(&self.seen);
        for (buf, meta) in bufs.iter().zip(&*meta).take(read) {
            for datagram in datagrams(&buf[..meta.len], Some(meta.stride)) {
                seen.read(datagram);
            }
        }
        Poll::Ready(Ok(read))
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

/// The datagrams of a batch.
pub(crate) fn datagrams(contents: &[u8], size: Option<usize>) -> impl Iterator<Item = &[u8]> {
    contents.chunks(size.unwrap_or(contents.len()).max(1))
}

fn lock(seen: &Mutex<Negotiated>) -> MutexGuard<'_, Negotiated> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Negotiated {
    /// Takes what a datagram says, if it is one of a DTLS handshake.
    fn read(&mut self, datagram: &[u8]) {
        let mut reader = Reader(datagram);
        while let Some(()) = self.record(&mut reader) {}
    }

    /// One record: type, version, epoch, sequence number, length (RFC 6347 §4.1). Only the first epoch is in clear.
    fn record(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let header = reader.take(13)?;
        let mut body = Reader(reader.take(usize::from(u16::from_be_bytes([header[11], header[12]])))?);
        if header[0] == 22 && header[3..5] == [0, 0] {
            while let Some(()) = self.message(&mut body) {}
        }
        Some(())
    }

    /// One handshake message: type, length, number, fragment offset and length (RFC 6347 §4.2.2). What is looked for
    /// stands in the first fragment.
    fn message(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let kind = reader.u8()?;
        reader.take(5)?;
        let offset = reader.u24()?;
        let length = reader.u24()?;
        let mut body = Reader(reader.take(length)?);
        if offset == 0 {
            match kind {
                2 => self.server_hello(&mut body)?,
                3 => self.cookie = true,
                12 => self.server_key_exchange(&mut body)?,
                _ => {}
            }
        }
        Some(())
    }

    fn server_hello(&mut self, body: &mut Reader<'_>) -> Option<()> {
        self.dtls = Some(version(body.u16()?));
        body.take(32)?;
        let session = body.u8()?;
        body.take(session.into())?;
        self.cipher_suite = Some(cipher_suite(body.u16()?));
        body.take(3)?; // compression, the length of the extensions
        while let Some(kind) = body.u16() {
            let length = body.u16()?;
            let mut extension = Reader(body.take(length.into())?);
            match kind {
                14 => {
                    extension.take(2)?;
                    self.srtp_profile = Some(srtp_profile(extension.u16()?));
                }
                43 => self.dtls = Some(version(extension.u16()?)),
                51 => self.key_exchange = Some(named_group(extension.u16()?)),
                _ => {}
            }
        }
        Some(())
    }

    fn server_key_exchange(&mut self, body: &mut Reader<'_>) -> Option<()> {
        const NAMED_CURVE: u8 = 3;
        if body.u8()? == NAMED_CURVE {
            self.key_exchange = Some(named_group(body.u16()?));
        }
        Some(())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u24(&mut self) -> Option<usize> {
        let bytes = self.take(3)?;
        Some(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize)
    }
}

fn version(code: u16) -> String {
    match code {
        0xfefd => "DTLS 1.2".to_owned(),
        0xfefc => "DTLS 1.3".to_owned(),
        other => format!("{other:#06x}"),
    }
}

fn cipher_suite(code: u16) -> String {
    match code {
        0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned(),
        0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned(),
        0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".to_owned(),
        0xc00a => "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA".to_owned(),
        0xc0ac => "TLS_ECDHE_ECDSA_WITH_AES_128_CCM".to_owned(),
        0xc0ae => "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8".to_owned(),
        0x1301 => "TLS_AES_128_GCM_SHA256".to_owned(),
        0x1302 => "TLS_AES_256_GCM_SHA384".to_owned(),
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256".to_owned(),
        other => format!("{other:#06x}"),
    }
}

fn named_group(code: u16) -> String {
    KeyExchange::from_id(code).map_or_else(|| format!("group {code}"), |group| group.to_string())
}

fn srtp_profile(code: u16) -> String {
    SrtpProfile::from_id(code).map_or_else(|| format!("profile {code}"), |profile| profile.to_string())
}
