//! Names that a table answers for; the network is in `tests/mdns.rs`.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::time::sleep;
use visavis_core::{
    Signal, Signaling,
    signaling::{InMemory, in_memory},
};

const SOON: &str = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local";
const LATE: &str = "2f4712db-ea17-4bcf-a596-105139dfd8bf.local";
const NEVER: &str = "3f4712db-ea17-4bcf-a596-105139dfd8bf.local";

/// Answers for two names after a while, and counts what it is asked.
#[derive(Clone, Default)]
struct Table(Arc<AtomicUsize>);

#[async_trait]
impl Lookup for Table {
    async fn lookup(&self, name: &str) -> Option<IpAddr> {
        self.0.fetch_add(1, Relaxed);
        match name {
            SOON => Some([192, 0, 2, 1].into()),
            LATE => {
                sleep(Duration::from_millis(1_100)).await;
                Some("2001:db8::1".parse().unwrap())
            }
            _ => std::future::pending().await,
        }
    }
}

fn resolver() -> (Resolver, Table) {
    let table = Table::default();
    (Resolver::with(Box::new(table.clone())), table)
}

fn line(name: &str) -> String {
    format!("candidate:842163049 1 udp 2113937151 {name} 54596 typ host generation 0 network-cost 999")
}

fn candidate(name: &str) -> Signal {
    Signal::Candidate(Candidate {
        candidate: line(name),
        sdp_mid: Some("0".into()),
        ..Candidate::default()
    })
}

fn offer(lines: &str) -> SessionDescription {
    SessionDescription::offer(format!(
        "v=0\r\nm=application 9 UDP/DTLS/SCTP x\r\n{lines}a=mid:0\r\n"
    ))
}

#[test]
fn only_uuids_are_looked_up() {
    assert_eq!(
        candidate_name(&SOON.to_uppercase()).as_deref(),
        Some(SOON),
        "names have no case"
    );
    for name in [
        "printer.local",
        ".local",
        "1f4712db-ea17-4bcf-a596-105139dfd8bf",
        "1f4712db-ea17-4bcf-a596-105139dfd8bf.local.",
        "1f4712db-ea17-4bcf-a596-105139dfd8bf.example",
        "1f4712db-ea17-4bcf-a596-105139dfd8bf.host.local",
        "1f4712dbxea17-4bcf-a596-105139dfd8bf.local",
        "1f4712db-ea17-4bcf-a596-105139dfd8bg.local",
        "\u{e9}f4712db-ea17-4bcf-a596-105139dfd8b.local",
    ] {
        assert_eq!(candidate_name(name), None, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_are_rewritten_in_place() {
    let (resolver, table) = resolver();
    let began = Instant::now();
    let given = offer(&format!(
        "a=candidate:1 1 udp 1 {SOON} 5000 typ host\r\n\
         a=candidate:2 1 UDP 1 {NEVER} 5001 typ host\r\n\
         a=candidate:3 1 udp 1 203.0.113.7 5002 typ srflx raddr 0.0.0.0 rport 0\r\n\
         a=candidate:4 1 udp 1 {} 5003 typ host generation 0\r\n\
         a=candidate:5 1 tcp 1 {SOON} 9 typ host tcptype active\r\n\
         a=candidate:6 1 udp 1 printer.local 5004 typ host\r\n\
         a=candidate:7 1 udp 1 {SOON} 5005 typ host\r\n\
         a=candidate:8 1 udp nonsense {SOON} 5005 typ host\r\n\
         a=x-note:{SOON}\r\n",
        LATE.to_uppercase()
    ));
    let expected = offer(&format!(
        "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\n\
         a=candidate:3 1 udp 1 203.0.113.7 5002 typ srflx raddr 0.0.0.0 rport 0\r\n\
         a=candidate:4 1 udp 1 2001:db8::1 5003 typ host generation 0\r\n\
         a=candidate:7 1 udp 1 192.0.2.1 5005 typ host\r\n\
         a=candidate:8 1 udp nonsense {SOON} 5005 typ host\r\n\
         a=x-note:{SOON}\r\n"
    ));
    assert_eq!(resolver.literal_description(given.clone()).await, expected);
    assert_eq!(table.0.load(Relaxed), 3, "each name once, together");
    assert!(began.elapsed() < DEADLINE * 2);
    assert_eq!(resolver.literal_description(given).await, expected);
    assert_eq!(table.0.load(Relaxed), 3, "they are remembered");
}

#[tokio::test(start_paused = true)]
async fn without_names_nothing_is_touched() {
    let (resolver, table) = resolver();
    for given in [
        offer("a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\na=end-of-candidates\r\n"),
        SessionDescription::rollback(),
        SessionDescription::answer("not SDP, \n\r\r\na=candidate:\n.local"),
        offer(&format!("a={}\r\n", line(SOON)).repeat(4000)),
    ] {
        assert_eq!(resolver.literal_description(given.clone()).await, given);
    }
    for given in [
        Candidate::end(None),
        Candidate {
            candidate: "nonsense.local".into(),
            ..Candidate::default()
        },
    ] {
        assert_eq!(resolver.literal_candidate(given.clone()).await, Some(given));
    }
    assert_eq!(table.0.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_names_is_bounded() {
    let (resolver, table) = resolver();
    let flood = |caller: u16| {
        let lines = (0..100).map(|i| {
            format!("a=candidate:1 1 udp 1 00000000-0000-4000-{caller:04x}-{i:012x}.local 5 typ host\r\n")
        });
        offer(&lines.collect::<String>())
    };
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..100 {
        let (resolver, given) = (resolver.clone(), flood(caller));
        callers.spawn(async move { resolver.literal_description(given).await });
    }
    while let Some(rewritten) = callers.join_next().await {
        assert_eq!(rewritten.unwrap(), offer(""));
    }
    assert_eq!(
        table.0.load(Relaxed),
        MAX_AT_ONCE,
        "the others had no room in time"
    );
    assert!(began.elapsed() < DEADLINE * 2, "{:?}", began.elapsed());
    assert_eq!(resolver.resolve(SOON).await, Some([192, 0, 2, 1].into()));
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_is_dropped_is_taken_over() {
    let (resolver, table) = resolver();
    let other = resolver.clone();
    let first = tokio::spawn(async move { other.resolve(LATE).await });
    let other = resolver.clone();
    let second = tokio::spawn(async move { other.resolve(LATE).await });
    sleep(Duration::from_millis(100)).await;
    assert_eq!(table.0.load(Relaxed), 1, "both wait for one lookup");
    first.abort();
    assert_eq!(second.await.unwrap(), Some("2001:db8::1".parse().unwrap()));
    assert_eq!(resolver.resolve(LATE).await, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(table.0.load(Relaxed), 2);
}

const SECTION: &str = "a=mid:0\r\na=ice-ufrag:abcd\r\n";

#[test]
fn a_description_is_split() {
    let lines = format!(
        "a=candidate:1 1 udp 1 {SOON} 5000 typ host\r\n\
         a=candidate:2 1 udp 1 203.0.113.7 5001 typ srflx raddr 0.0.0.0 rport 0\r\n\
         a=candidate:3 1 tcp 1 {SOON} 9 typ host tcptype active\r\n"
    );
    let sdp = |lines: &str| {
        SessionDescription::offer(format!(
            "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n{lines}{SECTION}"
        ))
    };
    let (description, named) = split(sdp(&lines));
    assert_eq!(
        description,
        sdp("a=candidate:2 1 udp 1 203.0.113.7 5001 typ srflx raddr 0.0.0.0 rport 0\r\n")
    );
    let expected = Candidate {
        candidate: format!("candidate:1 1 udp 1 {SOON} 5000 typ host"),
        sdp_mid: Some("0".into()),
        sdp_m_line_index: Some(0),
        username_fragment: Some("abcd".into()),
    };
    assert_eq!(named, [expected]);
    let (untouched, none) = split(description.clone());
    assert_eq!((untouched, none.len()), (description, 0));
    let broken = SessionDescription::offer(lines);
    assert_eq!(split(broken.clone()), (broken, Vec::new()), "core refuses it");
}

fn literal() -> (InMemory, Literal<InMemory>, Table) {
    let (far, near) = in_memory();
    let (resolver, table) = resolver();
    (far, Literal::new(near, resolver), table)
}

/// What a candidate says of its address, or the kind of another signal.
fn says(signal: Option<Signal>) -> String {
    match signal {
        None => "end".into(),
        Some(Signal::Bye) => "bye".into(),
        Some(Signal::Description(description)) => description.kind.to_string(),
        Some(Signal::Candidate(candidate)) if candidate.is_end() => "no more".into(),
        Some(Signal::Candidate(candidate)) => candidate.parse().unwrap().address,
    }
}

/// An offer with a candidate of this name.
fn named_offer(name: &str) -> Signal {
    Signal::Description(SessionDescription::offer(format!(
        "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na={}\r\n{SECTION}",
        line(name)
    )))
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_a_name() {
    let (mut far, mut near, _) = literal();
    let began = Instant::now();
    for signal in [
        named_offer(LATE),
        candidate(NEVER),
        candidate("192.0.2.9"),
        candidate(SOON),
        Signal::Candidate(Candidate::end(None)),
        Signal::Bye,
    ] {
        far.send(signal).await.unwrap();
    }
    drop(far);
    let mut heard = Vec::new();
    while heard.last().map(String::as_str) != Some("end") {
        heard.push(says(near.recv().await.unwrap()));
        if heard.len() == 4 {
            assert_eq!(began.elapsed(), Duration::ZERO);
        }
    }
    assert_eq!(
        heard,
        [
            "offer",
            "192.0.2.9",
            "bye",
            "192.0.2.1",
            "2001:db8::1",
            "no more",
            "end"
        ]
    );
    assert!(
        began.elapsed() < DEADLINE + Duration::from_millis(100),
        "{:?}: not one after the other",
        began.elapsed()
    );
    assert_eq!(says(near.recv().await.unwrap()), "end", "it is said again");
}

#[tokio::test(start_paused = true)]
async fn receiving_is_cancel_safe() {
    let (mut far, mut near, _) = literal();
    for name in [LATE, SOON, "192.0.2.9"] {
        far.send(candidate(name)).await.unwrap();
    }
    far.send(Signal::Candidate(Candidate::end(None))).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 4 {
        // Dropped after one poll, as the negotiator does, and after a while.
        for wait in [0, 30] {
            let signal = tokio::select! {
                biased;
                signal = near.recv() => signal,
                () = sleep(Duration::from_millis(wait)) => continue,
            };
            heard.push(says(signal.unwrap()));
        }
    }
    assert_eq!(heard, ["192.0.2.9", "192.0.2.1", "2001:db8::1", "no more"]);
}

#[tokio::test(start_paused = true)]
async fn trickled_names_are_bounded() {
    let (mut far, mut near, table) = literal();
    let sending = tokio::spawn(async move {
        for i in 0..1000 {
            let name = format!("00000000-0000-4000-8000-{i:012x}.local");
            far.send(candidate(&name)).await.unwrap();
        }
        for _ in 0..1000 {
            far.send(candidate("00000000-0000-4000-8000-000000000000.local"))
                .await
                .unwrap();
        }
        far.send(Signal::Bye).await.unwrap();
        far
    });
    assert_eq!(says(near.recv().await.unwrap()), "bye");
    sleep(DEADLINE * 2).await;
    assert_eq!(table.0.load(Relaxed), MAX_NAMES);
    // The next description has names of its own.
    let mut far = sending.await.unwrap();
    far.send(named_offer(LATE)).await.unwrap();
    far.send(candidate(SOON)).await.unwrap();
    for expected in ["offer", "192.0.2.1", "2001:db8::1"] {
        assert_eq!(says(near.recv().await.unwrap()), expected);
    }
}
