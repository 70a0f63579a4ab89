//! What backends are set up with is what is negotiated, read from the packets: DTLS 1.2 sends its hellos in clear text.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use visavis_core::{
    Backend, ChannelInit, Codec, ConnectionState, Direction, DtlsState, ErrorKind, IceMode, KeyExchange,
    MemoryNetwork, PeerConfig, Result, Sdp, Side, SrtpProfile,
    security::{RTP_PACKET_SIZES, rtp_payload_size},
};
use visavis_str0m::Str0m;
use visavis_tests::{
    Stack, World, expect_kind,
    frames::Plan,
    media::{flow, line},
    negotiators,
};
use visavis_webrtc_rs::WebrtcRs;

const GCM_256: SrtpProfile = SrtpProfile::AeadAes256Gcm;
const GCM_128: SrtpProfile = SrtpProfile::AeadAes128Gcm;

/// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, the first of both stacks.
const AES_128_GCM_SHA256: u16 = 0xC02B;

/// How a backend is set up; empty lists and `None` are the default.
#[derive(Debug, Clone, Copy, Default)]
struct Setup {
    profiles: &'static [SrtpProfile],
    groups: &'static [KeyExchange],
    packet: Option<usize>,
}

impl Setup {
    fn is_default(self) -> bool {
        self.profiles.is_empty() && self.groups.is_empty() && self.packet.is_none()
    }
}

/// The same calls on either builder.
macro_rules! build {
    ($backend:expr, $setup:expr) => {{
        let mut backend = $backend.with_certificate_ahead(false);
        if !$setup.profiles.is_empty() {
            backend = backend.with_srtp_profiles($setup.profiles)?;
        }
        if !$setup.groups.is_empty() {
            backend = backend.with_key_exchange($setup.groups)?;
        }
        if let Some(bytes) = $setup.packet {
            backend = backend.with_rtp_packet_size(bytes)?;
        }
        Ok(Arc::new(backend))
    }};
}

fn backend(stack: Stack, setup: Setup) -> Result<Arc<dyn Backend>> {
    match stack {
        Stack::Str0m => build!(Str0m::new(), setup),
        Stack::WebrtcRs => build!(WebrtcRs::new(), setup),
    }
}

/// What went over the network.
#[derive(Debug, Default)]
struct Seen {
    /// Who sent the first `ClientHello`.
    client: Option<IpAddr>,
    cookie: bool,
    suite: Option<u16>,
    profile: Option<SrtpProfile>,
    group: Option<KeyExchange>,
    /// The RTP packets of the offerer: marker, and length in bytes.
    rtp: Vec<(bool, usize)>,
}

fn tap(network: &MemoryNetwork, offerer: SocketAddr) -> Arc<Mutex<Seen>> {
    let seen = Arc::<Mutex<Seen>>::default();
    let told = Arc::clone(&seen);
    network.set_filter(move |datagram| {
        let (from, contents) = (datagram.from.ip(), datagram.contents);
        let seen = &mut *told.lock().unwrap();
        match contents {
            [20..=63, ..] => _ = read_records(contents, from, seen),
            // RTCP has 64 to 95 in its second byte's low bits (RFC 5761 §4).
            [128..=191, second, ..] if from == offerer.ip() && !(64..96).contains(&(second & 0x7F)) => {
                seen.rtp.push((second & 0x80 != 0, contents.len()));
            }
            _ => {}
        }
        false
    });
    seen
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// An unsigned number of `bytes` bytes.
fn number(from: &mut &[u8], bytes: usize) -> Option<usize> {
    let taken = take(from, bytes)?;
    Some(taken.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
}

/// Reads the handshake messages of a datagram that are in clear text (RFC 6347 §4.1, §4.2.2). None of them comes in
/// fragments.
fn read_records(mut datagram: &[u8], from: IpAddr, seen: &mut Seen) -> Option<()> {
    while !datagram.is_empty() {
        let kind = number(&mut datagram, 1)?;
        let _version = take(&mut datagram, 2)?;
        let epoch = number(&mut datagram, 2)?;
        let _sequence = take(&mut datagram, 6)?;
        let len = number(&mut datagram, 2)?;
        let mut record = take(&mut datagram, len)?;
        while kind == 22 && epoch == 0 && !record.is_empty() {
            let message = number(&mut record, 1)?;
            let _sequence_and_fragment = take(&mut record, 8)?;
            let len = number(&mut record, 3)?;
            let mut body = take(&mut record, len)?;
            match message {
                1 => _ = seen.client.get_or_insert(from),
                2 => read_server_hello(body, seen)?,
                3 => seen.cookie = true,
                // Of kind `named_curve` (RFC 8422 §5.4).
                12 if number(&mut body, 1)? == 3 => {
                    seen.group = KeyExchange::from_id(number(&mut body, 2)? as u16);
                }
                _ => {}
            }
        }
    }
    Some(())
}

fn read_server_hello(mut body: &[u8], seen: &mut Seen) -> Option<()> {
    let _version_and_random = take(&mut body, 34)?;
    let session = number(&mut body, 1)?;
    let _session = take(&mut body, session)?;
    seen.suite = Some(number(&mut body, 2)? as u16);
    let _compression_and_length = take(&mut body, 3)?;
    while !body.is_empty() {
        let extension = number(&mut body, 2)?;
        let len = number(&mut body, 2)?;
        let mut content = take(&mut body, len)?;
        if extension == 14 {
            assert_eq!(number(&mut content, 2)?, 2, "a server chooses one profile");
            seen.profile = SrtpProfile::from_id(number(&mut content, 2)? as u16);
        }
    }
    Some(())
}

/// A call of two backends with frames on it, and what went over the network.
async fn call(world: &World, backends: [Arc<dyn Backend>; 2], codec: Codec, sizes: &'static [usize]) -> Seen {
    let world = world.with(backends);
    let seen = tap(world.memory(), world.bind(Side::Offerer)[0]);
    let call = world.media_call(&[line(codec, Direction::SendOnly)]).await;
    let plan = Plan::new(codec).sizes(sizes);
    flow(call.way(Side::Offerer, 0), plan, 0..2, 1).await;
    call.nothing_lost(Side::Offerer, 0, &plan, 2).await;
    call.close().await;
    world.memory().clear_filter();
    std::mem::take(&mut *seen.lock().unwrap())
}

/// Both sides are set up alike, and what was asked for is what is negotiated. Where a stack cannot do it, its builder
/// says so.
pub(super) async fn profiles_and_groups(world: World) {
    use KeyExchange::{P256, P384, X25519};
    let setups: &[(&'static [SrtpProfile], &'static [KeyExchange])] = &[
        (&[], &[]),
        (&[GCM_256], &[]),
        (&[GCM_256, GCM_128], &[]),
        (&[GCM_128], &[]),
        (&[GCM_128, GCM_256], &[]),
        (&[], &[X25519]),
        (&[], &[P256]),
        (&[], &[P384]),
        (&[], &[P256, X25519]),
        (&[], &[X25519, P256]),
        (&[GCM_256], &[X25519]),
    ];
    for (profiles, groups) in setups.iter().copied() {
        let setup = Setup {
            profiles,
            groups,
            packet: None,
        };
        let mut can = true;
        let backends = [world.stacks.offerer, world.stacks.answerer].map(|stack| {
            let possible = match stack {
                Stack::Str0m => profiles.first() != Some(&GCM_128),
                Stack::WebrtcRs => groups != [X25519, P256],
            };
            can &= possible;
            let backend = backend(stack, setup);
            if possible {
                return backend.unwrap();
            }
            expect_kind(backend, ErrorKind::NotSupported, stack);
            stack.backend()
        });
        let seen = call(&world, backends, Codec::H264, &[2_000]).await;
        if setup.is_default() {
            println!("{} by default: {seen:x?}", world.stacks);
        }
        assert_eq!(seen.suite, Some(AES_128_GCM_SHA256));
        if can {
            assert!(
                profiles.is_empty() || seen.profile == Some(profiles[0]),
                "{seen:?}"
            );
            assert!(groups.is_empty() || seen.group == Some(groups[0]), "{seen:?}");
        }
    }
}

/// Where the sides have nothing in common there is no connection, and nobody believes that there was one.
pub(super) async fn nothing_in_common(world: World) {
    let of = |profiles, groups| Setup {
        profiles,
        groups,
        packet: None,
    };
    let setups = [
        [of(&[], &[KeyExchange::X25519]), of(&[], &[KeyExchange::P256])],
        [of(&[GCM_256], &[]), of(&[GCM_128], &[])],
        [of(&[GCM_128], &[]), of(&[GCM_256], &[])],
    ];
    for [a, b] in setups {
        let stacks = world.stacks;
        let (Ok(a), Ok(b)) = (backend(stacks.offerer, a), backend(stacks.answerer, b)) else {
            // str0m offers and takes AES-256 in any case.
            continue;
        };
        let world = world.with([a, b]);
        let peer = |side| PeerConfig {
            // The side that does not refuse hears nothing more.
            disconnected_after: Duration::from_secs(1),
            failed_after: Duration::from_secs(2),
            ..world.config(side)
        };
        let mut a = world.peer_with(Side::Offerer, peer(Side::Offerer)).await;
        let mut b = world.peer_with(Side::Answerer, peer(Side::Answerer)).await;
        let _channel = a.create_data_channel(ChannelInit::new("t")).await.unwrap();
        let negotiators = negotiators(&a, &b, IceMode::Trickle, Duration::ZERO);
        a.log.connection(ConnectionState::Failed).await;
        b.log.connection(ConnectionState::Failed).await;
        for side in [&a, &b] {
            assert!(
                !side.log.dtls().contains(&DtlsState::Connected),
                "{:?}",
                side.log.dtls()
            );
        }
        drop(negotiators);
        a.close().await;
        b.close().await;
    }
}

/// Every peer has a certificate of its own, made ahead or not, and keeps it.
pub(super) async fn certificates(world: World) {
    let stack = world.stacks.offerer;
    let mut seen = Vec::new();
    for ahead in [true, false, true] {
        let backend: Arc<dyn Backend> = match stack {
            Stack::Str0m => Arc::new(Str0m::new().with_certificate_ahead(ahead)),
            Stack::WebrtcRs => Arc::new(WebrtcRs::new().with_certificate_ahead(ahead)),
        };
        let world = world.with([backend.clone(), backend]);
        for _ in 0..3 {
            let (a, b) = world.peers().await;
            for peer in [&a, &b] {
                let _channel = peer.create_data_channel(ChannelInit::new("t")).await.unwrap();
                let offer = || async {
                    let offer: Sdp = peer.create_offer().await.unwrap().sdp.parse().unwrap();
                    offer.fingerprint().unwrap().to_owned()
                };
                let first = offer().await;
                assert_eq!(offer().await, first, "of a dropped offer and the next one");
                assert!(!seen.contains(&first), "{first} twice");
                seen.push(first);
            }
            a.close().await;
            b.close().await;
        }
    }
    assert_eq!(seen.len(), 18);
}

/// A frame becomes as many packets on each stack, and none is larger than was asked for.
pub(super) async fn packet_sizes(world: World) {
    const FRAME: usize = 60_000;
    for stack in Stack::ALL {
        for bytes in [0, RTP_PACKET_SIZES.start() - 1, RTP_PACKET_SIZES.end() + 1] {
            let setup = Setup {
                packet: Some(bytes),
                ..Setup::default()
            };
            expect_kind(backend(stack, setup), ErrorKind::InvalidInput, bytes);
        }
    }
    for packet in [
        None,
        Some(*RTP_PACKET_SIZES.start()),
        Some(1200),
        Some(*RTP_PACKET_SIZES.end()),
    ] {
        for codec in [Codec::H264, Codec::Vp8] {
            let setup = Setup {
                packet,
                ..Setup::default()
            };
            let backends = [world.stacks.offerer, world.stacks.answerer];
            let backends = backends.map(|stack| backend(stack, setup).unwrap());
            let seen = call(&world, backends, codec, &[FRAME]).await;
            let ends = seen.rtp.iter().position(|(marker, _)| *marker);
            let second = &seen.rtp[ends.expect("an end of the first frame") + 1..];
            let largest = second.iter().map(|(_, len)| *len).max().unwrap();
            let Some(packet) = packet else {
                let count = second.len();
                println!(
                    "{} by default: {count} packets, at most {largest} bytes",
                    world.stacks
                );
                continue;
            };
            let payload = rtp_payload_size("t", packet).unwrap();
            // Behind a descriptor of 1 or 2 bytes.
            assert_eq!(second.len(), FRAME.div_ceil(payload - 2), "{second:?}");
            assert!((packet - 64..=packet).contains(&largest), "{packet}: {largest}");
        }
    }
}
