//! Offers that cannot be read, and stacks that fail over one.

use super::{
    Echo, caller,
    offer::{Offer, Sent},
    refusal::Refusal,
};
use crate::backends;
use async_trait::async_trait;
use axum::http::StatusCode;
use serde_json::json;
use std::{
    future::pending,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use visavis_core::{
    Backend, Capabilities, ChannelInit, Codec, Direction, Engine, EngineConfig, EventSink, MediaKind, Net,
    PeerConfig, PeerConnection, RealNet, Result, SessionDescription,
};

/// A stack that fails as it is told, and then works.
#[derive(Debug)]
struct Failing {
    works: Arc<dyn Backend>,
    fault: AtomicU8,
}

const PANIC: u8 = 1;
const HANG: u8 = 2;

#[async_trait]
impl Backend for Failing {
    fn name(&self) -> &'static str {
        self.works.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.works.capabilities()
    }

    async fn engine(
        &self,
        config: EngineConfig,
        net: Arc<dyn Net>,
        events: EventSink,
    ) -> Result<Box<dyn Engine>> {
        match self.fault.swap(0, Ordering::Relaxed) {
            PANIC => panic!("on purpose"),
            HANG => pending().await,
            _ => self.works.engine(config, net, events).await,
        }
    }
}

/// An offer of a channel and a video.
async fn written() -> SessionDescription {
    let backend = &backends::all()[0];
    let peer = PeerConnection::new(&**backend, PeerConfig::loopback(), RealNet::shared())
        .await
        .expect("a peer");
    peer.create_data_channel(ChannelInit::new("echo"))
        .await
        .expect("a channel");
    peer.add_transceiver(MediaKind::Video, Direction::SendRecv)
        .await
        .expect("a transceiver");
    let offer = peer.create_offer().await.expect("an offer");
    peer.close().await;
    offer
}

fn read(description: &SessionDescription) -> std::result::Result<Offer, Refusal> {
    Offer::read(&serde_json::to_vec(description).expect("JSON"))
}

#[tokio::test]
async fn a_stack_that_panics_or_hangs_costs_one_caller() {
    let failing = Arc::new(Failing {
        works: Arc::clone(&backends::all()[0]),
        fault: AtomicU8::new(0),
    });
    let mut echo = Echo::new(Arc::clone(&failing) as _, PeerConfig::loopback(), 1);
    echo.answer_timeout = Duration::from_secs(2);
    let echo = Arc::new(echo);
    let offer = written().await;
    for (fault, status) in [
        (PANIC, StatusCode::INTERNAL_SERVER_ERROR),
        (HANG, StatusCode::GATEWAY_TIMEOUT),
    ] {
        failing.fault.store(fault, Ordering::Relaxed);
        let answer = caller::answer(&echo, read(&offer).expect("it reads")).await;
        assert_eq!(answer.expect_err("it fails").status, status);
    }
    // There is one place, and it is free again.
    echo.callers.none_left().await;
    let answer = caller::answer(&echo, read(&offer).expect("it reads")).await;
    assert!(answer.expect("an answer").sdp.contains("a=candidate:"));
    let full = caller::answer(&echo, read(&offer).expect("it reads")).await;
    assert_eq!(
        full.expect_err("no place").status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    echo.over.send_replace(true);
    echo.callers.none_left().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_offer_is_said() {
    let offer = written().await;
    let with = |sdp: String| json!({ "type": "offer", "sdp": sdp }).to_string();
    let without = |name: &str| {
        let lines = offer.sdp.lines().filter(|line| !line.starts_with(name));
        with(lines.flat_map(|line| [line, "\r\n"]).collect())
    };
    let rejected = offer.sdp.lines().map(|line| {
        let mut parts: Vec<_> = line.split(' ').collect();
        if line.starts_with("m=") {
            parts[1] = "0";
        }
        parts.join(" ") + "\r\n"
    });
    let cases = [
        (String::new(), "not the JSON of an offer"),
        ("{".to_owned(), "not the JSON of an offer"),
        ("[1]".to_owned(), "not the JSON of an offer"),
        (r#"{"sdp":"v=0"}"#.to_owned(), "`type`"),
        (r#"{"type":"hello","sdp":"v=0"}"#.to_owned(), "hello"),
        (r#"{"type":"offer"}"#.to_owned(), "SDP"),
        (
            json!({ "type": "answer", "sdp": offer.sdp }).to_string(),
            "`answer`",
        ),
        (r#"{"type":"rollback"}"#.to_owned(), "`rollback`"),
        (with("nonsense".to_owned()), "does not parse"),
        (
            with(offer.sdp[..offer.sdp.find("m=").unwrap()].to_owned()),
            "no m-lines",
        ),
        (with(rejected.collect()), "every m-line is rejected"),
        (without("a=ice-ufrag"), "a=ice-ufrag is missing"),
        (without("a=ice-pwd"), "a=ice-pwd is missing"),
        (without("a=fingerprint"), "a=fingerprint is missing"),
        (without("a=group"), "BUNDLE"),
        (
            with(offer.sdp.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")),
            "`RTP/AVP`",
        ),
    ];
    for (body, expected) in cases {
        let refusal = Offer::read(body.as_bytes()).expect_err(expected);
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{refusal:?}");
        assert!(refusal.text.contains(expected), "{expected}: {refusal:?}");
    }
    assert!(Offer::read(b"{\"type\":\"offer\",\"sdp\":\"\xff\"}").is_err());
}

#[tokio::test]
async fn the_first_codec_that_is_known_is_sent_back() {
    let mut offer = written().await;
    // As a text editor leaves it.
    offer.sdp = offer.sdp.replace("\r\n", "\n");
    let mids: Vec<_> = offer
        .sdp
        .lines()
        .filter_map(|line| Some(line.strip_prefix("a=mid:")?.to_owned()))
        .collect();
    let sent = |offer: &Offer| mids.iter().filter_map(|mid| offer.sent(mid)).collect::<Vec<_>>();
    let read = |offer: &SessionDescription| read(offer).expect("it reads");
    assert_eq!(mids.len(), 2);
    let codec = Codec::H264;
    assert_eq!(sent(&read(&offer)), [Sent { codec }], "and nothing of the data");
    offer.sdp = offer.sdp.replace("a=sendrecv", "a=recvonly");
    assert_eq!(sent(&read(&offer)), []);
    assert_eq!(read(&offer).sent("nothing"), None);
}

#[test]
fn calls_bind_where_http_listens() {
    let bind = |listen: &str| super::media_addresses(listen.parse::<IpAddr>().expect("an address"));
    let at = |address: &str| vec![address.parse::<SocketAddr>().expect("an address")];
    assert_eq!(bind("127.0.0.1"), at("127.0.0.1:0"));
    assert_eq!(bind("::1"), at("[::1]:0"));
    assert!(!bind("0.0.0.0").is_empty() && !bind("::").is_empty());
}
