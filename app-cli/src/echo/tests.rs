//! Offers that cannot be read, stacks that fail over one, and two at once.

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
    Backend, Candidate, Capabilities, ChannelInit, ChannelPort, Codec, Direction, Engine, EngineConfig,
    EngineStats, EventSink, MLine, MediaKind, Net, PeerConfig, PeerConnection, RealNet, Result, Sdp,
    SessionDescription,
};

/// A stack that fails as it is told, at its next engine or answer, and then works.
#[derive(Debug)]
struct Failing<T> {
    works: T,
    fault: Arc<AtomicU8>,
}

const PANIC: u8 = 1;
const HANG: u8 = 2;

impl<T> Failing<T> {
    async fn fail_as_told(&self) {
        match self.fault.swap(0, Ordering::Relaxed) {
            PANIC => panic!("on purpose"),
            HANG => pending().await,
            _ => {}
        }
    }
}

#[async_trait]
impl Backend for Failing<Arc<dyn Backend>> {
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
        self.fail_as_told().await;
        Ok(Box::new(Failing {
            works: self.works.engine(config, net, events).await?,
            fault: Arc::clone(&self.fault),
        }))
    }
}

#[async_trait]
impl Engine for Failing<Box<dyn Engine>> {
    async fn make_offer(&mut self, want: &[MLine], ice_restart: bool) -> Result<Sdp> {
        self.works.make_offer(want, ice_restart).await
    }

    async fn commit_offer(&mut self) -> Result<()> {
        self.works.commit_offer().await
    }

    async fn discard_offer(&mut self) -> Result<()> {
        self.works.discard_offer().await
    }

    async fn apply_answer(&mut self, answer: &Sdp) -> Result<()> {
        self.works.apply_answer(answer).await
    }

    async fn answer(&mut self, offer: &Sdp, want: &[MLine]) -> Result<Sdp> {
        let fault = Failing {
            works: (),
            fault: Arc::clone(&self.fault),
        };
        fault.fail_as_told().await;
        self.works.answer(offer, want).await
    }

    async fn commit_answer(&mut self) -> Result<()> {
        self.works.commit_answer().await
    }

    async fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        self.works.add_candidate(candidate).await
    }

    fn open_channel(&mut self, port: ChannelPort) -> Result<()> {
        self.works.open_channel(port)
    }

    async fn stats(&mut self) -> EngineStats {
        self.works.stats().await
    }

    async fn close(&mut self) {
        self.works.close().await;
    }
}

/// An echo of one caller over such a stack, and what tells the stack to fail.
fn failing() -> (Arc<Echo>, Arc<AtomicU8>) {
    let fault = Arc::<AtomicU8>::default();
    let backend = Failing {
        works: Arc::clone(&backends::all()[0]),
        fault: Arc::clone(&fault),
    };
    let mut echo = Echo::new(Arc::new(backend), PeerConfig::loopback(), 1);
    echo.answer_timeout = Duration::from_secs(2);
    (Arc::new(echo), fault)
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
    let (echo, next_fault) = failing();
    let offer = written().await;
    for (fault, status) in [
        (PANIC, StatusCode::INTERNAL_SERVER_ERROR),
        (HANG, StatusCode::GATEWAY_TIMEOUT),
    ] {
        next_fault.store(fault, Ordering::Relaxed);
        let answer = caller::answer(&echo, read(&offer).expect("it reads")).await;
        assert_eq!(answer.expect_err("it fails").status, status);
    }
    // There is one place, and it is free again.
    echo.callers.none_left().await;
    let answer = caller::answer(&echo, read(&offer).expect("it reads")).await;
    assert!(answer.expect("an answer").0.sdp.contains("a=candidate:"));
    let full = caller::answer(&echo, read(&offer).expect("it reads")).await;
    assert_eq!(
        full.expect_err("no place").status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    echo.over.send_replace(true);
    echo.callers.none_left().await;
}

#[tokio::test]
async fn later_offers_are_answered_one_at_a_time() {
    let (echo, next_fault) = failing();
    let offer = written().await;
    for (fault, status) in [
        (PANIC, StatusCode::INTERNAL_SERVER_ERROR),
        (HANG, StatusCode::GATEWAY_TIMEOUT),
    ] {
        let (_, caller) = caller::answer(&echo, read(&offer).expect("it reads"))
            .await
            .expect("an answer");
        let again = || caller::answer_again(&echo, Arc::clone(&caller), read(&offer).expect("it reads"));
        let (first, second) = tokio::join!(again(), again());
        assert!(first.expect("an answer").sdp.contains("a=candidate:"));
        assert_eq!(second.expect_err("its turn comes").status, StatusCode::CONFLICT);
        again().await.expect("its turn has come");
        assert!(echo.callers.find(&caller.token).is_some());
        next_fault.store(fault, Ordering::Relaxed);
        assert_eq!(again().await.expect_err("it fails").status, status);
        echo.callers.none_left().await;
        assert!(echo.callers.find(&caller.token).is_none(), "the call is over");
    }
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
