//! What was sent on a network in memory, datagram by datagram: for Wireshark, and to compare a replay with.

use etherparse::PacketBuilder;
use pcap_file::{
    DataLink,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};
use std::{
    collections::{HashMap, VecDeque},
    fmt::{self, Write as _},
    fs::{self, File},
    io::{self, BufWriter},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use visavis_core::net::{
    impair::Arrivals,
    memory::{Datagram, MemoryNetwork},
};

/// The newest datagrams are kept, up to so many bytes of them.
const KEPT: usize = 32 << 20;

/// The newest datagrams of a network in memory. Clones are the same trace.
#[derive(Debug, Clone)]
pub struct Trace {
    began: Instant,
    records: Arc<Mutex<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    kept: VecDeque<Record>,
    bytes: usize,
    /// How many datagrams each link has carried.
    links: HashMap<(IpAddr, IpAddr), u64>,
}

#[derive(Debug)]
struct Record {
    at: Duration,
    /// Of its link, from 0.
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
    contents: Box<[u8]>,
    fate: String,
}

impl Trace {
    /// Of what this network carries from now on.
    pub fn of(network: &MemoryNetwork) -> Self {
        let trace = Self {
            began: Instant::now(),
            records: Arc::default(),
        };
        let records = Arc::clone(&trace.records);
        let began = trace.began;
        network.set_tap(move |datagram, arrivals| {
            let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
            records.add(began.elapsed(), datagram, &fate(arrivals));
        });
        trace
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.kept.is_empty()
    }

    /// A line a datagram: when, from where to where, its number there, what it is, and what arrives of it. Two runs of one
    /// seed have the same. Ports are left out, and the lengths of DTLS handshakes, whose signatures differ in length.
    pub fn schedule(&self) -> String {
        let mut text = String::new();
        for record in &self.records.lock().unwrap_or_else(PoisonError::into_inner).kept {
            let Record { at, number, fate, .. } = record;
            let (from, to) = (record.from.ip(), record.to.ip());
            let kind = Kind::of(&record.contents);
            let _ = write!(
                text,
                "{:.3} ms {from} > {to} {number} {kind}",
                at.as_secs_f64() * 1e3
            );
            if kind != Kind::Handshake {
                let _ = write!(text, " {}", record.contents.len());
            }
            let _ = writeln!(text, ": {fate}");
        }
        text
    }

    /// Writes it in a form that Wireshark reads (pcapng), as sent, with what arrives of each datagram as its comment.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut writer = PcapNgWriter::new(BufWriter::new(File::create(path)?)).map_err(io::Error::other)?;
        let interface = InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName("memory".into()),
                // The library writes times in nanoseconds.
                InterfaceDescriptionOption::IfTsResol(9),
            ],
        };
        writer.write_pcapng_block(interface).map_err(io::Error::other)?;
        for record in &self.records.lock().unwrap_or_else(PoisonError::into_inner).kept {
            let packet = record.packet()?;
            let block = EnhancedPacketBlock {
                interface_id: 0,
                timestamp: record.at,
                original_len: packet.len() as u32,
                data: packet.into(),
                options: vec![EnhancedPacketOption::Comment(record.fate.as_str().into())],
            };
            writer.write_pcapng_block(block).map_err(io::Error::other)?;
        }
        io::Write::flush(writer.get_mut())
    }
}

impl Records {
    fn add(&mut self, at: Duration, datagram: &Datagram<'_>, fate: &str) {
        let Datagram { from, to, contents } = *datagram;
        let sent = self.links.entry((from.ip(), to.ip())).or_default();
        let number = *sent;
        *sent += 1;
        self.bytes += contents.len();
        self.kept.push_back(Record {
            at,
            number,
            from,
            to,
            contents: contents.into(),
            fate: fate.into(),
        });
        while self.bytes > KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.contents.len();
        }
    }
}

impl Record {
    /// The IP packet.
    fn packet(&self) -> io::Result<Vec<u8>> {
        let udp = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
            _ => return Err(io::Error::other("a datagram between IP versions")),
        }
        .udp(self.from.port(), self.to.port());
        let mut packet = Vec::with_capacity(udp.size(self.contents.len()));
        udp.write(&mut packet, &self.contents).map_err(io::Error::other)?;
        Ok(packet)
    }
}

/// What arrives of a datagram, in words.
fn fate(arrivals: Arrivals) -> String {
    let now = Instant::now();
    let mut text = String::new();
    for arrival in arrivals.into_iter().flatten() {
        let separator = if text.is_empty() { "arrives" } else { ", again" };
        let _ = write!(
            text,
            "{separator} after {:.3} ms",
            (arrival.due - now).as_secs_f64() * 1e3
        );
        if arrival.wrong_bit.is_some() {
            text += " with a wrong bit";
        }
    }
    if text.is_empty() {
        text += "lost";
    }
    text
}

/// What a datagram is, by its first byte (RFC 7983).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stun,
    Handshake,
    Dtls,
    Rtp,
    Other,
}

impl Kind {
    fn of(contents: &[u8]) -> Self {
        match contents {
            [0..=3, ..] => Self::Stun,
            [23, ..] => Self::Dtls,
            [20..=63, ..] => Self::Handshake,
            [128..=191, ..] => Self::Rtp,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stun => "STUN",
            Self::Handshake => "DTLS handshake",
            Self::Dtls => "DTLS",
            Self::Rtp => "RTP",
            Self::Other => "unknown",
        })
    }
}
