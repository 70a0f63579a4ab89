use super::*;

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 9, 0, 1));
const TO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 9, 0, 2));

fn parsed(text: &str) -> Impairments {
    text.parse().unwrap()
}

fn path(text: &str, seed: u64) -> Path {
    Path::new(parsed(text), seed, FROM, TO)
}

/// Sends datagrams of 1,000 bytes at this interval and says after how many milliseconds each arrives.
fn arrivals(path: &mut Path, count: u32, every: Duration) -> Vec<Option<f64>> {
    let start = Instant::now();
    let sent = (0..count).map(|n| {
        let now = start + every * n;
        let [first, _] = path.send(now, 1_000, false);
        first.map(|arrival| (arrival.due - now).as_secs_f64() * 1e3)
    });
    sent.collect()
}

fn share(count: u64, all: u32) -> f64 {
    count as f64 / f64::from(all)
}

#[test]
fn text_and_back() {
    for text in [
        "delay=40ms,jitter=10ms,loss=5%,burst=3,reorder=1%,duplicate=0.5%,corrupt=2%,rate=2000kbps,queue=100ms,mtu=1200",
        "loss=100%",
        "",
    ] {
        let impairments = if text.is_empty() {
            Impairments::default()
        } else {
            parsed(text)
        };
        assert_eq!(impairments.to_string(), text);
    }
    for (name, text) in Impairments::PRESETS {
        assert_eq!(parsed(name), parsed(text), "{name}");
        assert_eq!(parsed(&parsed(name).to_string()), parsed(name), "{name}");
    }
    assert_eq!(parsed("4g, loss = 0.1"), parsed("4g,loss=10%"));
    assert_eq!(parsed("4g,loss=10%").delay, Duration::from_millis(25));
    assert_eq!(parsed("rate=2.5Mbps").rate, Some(2_500_000));
}

#[test]
fn what_is_no_impairment_says_so() {
    for (text, says) in [
        (
            "",
            "\"\" is not like loss=5%, nor one of wifi, 4g, satellite, lossy in the first place",
        ),
        ("loss=5%,wifi", "\"wifi\" is not like"),
        ("5g", "\"5g\" is not like"),
        ("loss=101%", "loss=101%: a share like"),
        ("loss=-1", "loss=-1: a share like"),
        ("loss=NaN", "loss=NaN: a share like"),
        ("delay=40", "delay=40: a time like"),
        ("delay=61s", "delay=61s: a time like"),
        ("rate=1bps", "rate=1bps: a rate like"),
        ("rate=fast", "rate=fast: a rate like"),
        ("burst=0", "burst=0: at least 1"),
        ("mtu=10", "mtu=10: at least 68"),
        ("lag=1ms", "lag=1ms: not one of delay, jitter"),
    ] {
        let error = text.parse::<Impairments>().unwrap_err().to_string();
        assert!(error.starts_with(says), "{text}: {error}");
    }
}

#[test]
fn nothing_happens_by_default() {
    let mut path = path("loss=0", 1);
    assert_eq!(arrivals(&mut path, 100, Duration::ZERO), [Some(0.0); 100]);
    let counts = PathCounts {
        sent: 100,
        ..PathCounts::default()
    };
    assert_eq!(path.counts(), counts);
}

#[test]
fn the_same_seed_does_the_same() {
    const ALL: &str = "lossy,corrupt=5%,rate=1Mbps";
    let every = Duration::from_millis(5);
    let first = arrivals(&mut path(ALL, 1), 1_000, every);
    assert_eq!(arrivals(&mut path(ALL, 1), 1_000, every), first);
    assert_ne!(arrivals(&mut path(ALL, 2), 1_000, every), first);
    let back = &mut Path::new(parsed(ALL), 1, TO, FROM);
    assert_ne!(arrivals(back, 1_000, every), first, "each direction has its own");
}

/// What is added to a path does not change what else happens on it.
#[test]
fn each_draw_is_for_itself() {
    let lost = |text: &str| -> Vec<bool> {
        let arrivals = arrivals(&mut path(text, 3), 1_000, Duration::from_millis(1));
        arrivals.iter().map(Option::is_none).collect()
    };
    let alone = lost("loss=5%");
    assert_eq!(
        lost("loss=5%,delay=1s,jitter=9ms,duplicate=50%,corrupt=50%,reorder=9%"),
        alone
    );
    assert!(alone.contains(&true));
}

#[test]
fn as_often_as_was_asked_for() {
    const COUNT: u32 = 50_000;
    for seed in 0..4 {
        for p in [0.01, 0.05, 0.3] {
            let mut path = path(&format!("loss={p},reorder={p},duplicate={p},corrupt={p}"), seed);
            arrivals(&mut path, COUNT, Duration::from_micros(100));
            let PathCounts {
                lost,
                duplicated,
                reordered,
                corrupted,
                ..
            } = path.counts();
            // Only what is not lost is counted further. Five standard deviations.
            let margin = 5.0 * (p * (1.0 - p) / f64::from(COUNT)).sqrt();
            assert!((share(lost, COUNT) - p).abs() < margin, "{lost} lost for {p}");
            let arrived = COUNT - lost as u32;
            for count in [duplicated, reordered, corrupted] {
                assert!(
                    (share(count, arrived) - p).abs() < margin * 1.2,
                    "{count} for {p}"
                );
            }
        }
    }
}

#[test]
fn losses_come_in_bursts() {
    const COUNT: u32 = 200_000;
    for burst in [1.0, 4.0, 20.0] {
        let mut path = path(&format!("loss=5%,burst={burst}"), 7);
        let arrivals = arrivals(&mut path, COUNT, Duration::ZERO);
        let lost = path.counts().lost;
        let starts = arrivals
            .windows(2)
            .filter(|two| two[0].is_some() && two[1].is_none());
        let mean = lost as f64 / starts.count() as f64;
        assert!((mean / burst - 1.0).abs() < 0.1, "bursts of {mean} for {burst}");
        assert!((share(lost, COUNT) / 0.05 - 1.0).abs() < 0.15, "{lost} lost");
    }
}

#[test]
fn jitter_keeps_the_order() {
    let every = Duration::from_millis(1);
    let start = Instant::now();
    let mut path = path("delay=20ms,jitter=10ms", 1);
    let mut last = start;
    let mut times = Vec::new();
    for n in 0..1_000 {
        let now = start + every * n;
        let [Some(arrival), None] = path.send(now, 100, false) else {
            panic!("one arrival");
        };
        assert!(arrival.due >= last, "number {n}");
        last = arrival.due;
        times.push((arrival.due - now).as_secs_f64() * 1e3);
    }
    assert!(times.iter().all(|ms| (10.0..=30.0).contains(ms)));
    assert!(times.iter().any(|ms| *ms < 20.0) && times.iter().any(|ms| *ms > 28.0));
}

#[test]
fn the_reordered_come_later_than_the_next() {
    let start = Instant::now();
    let mut path = path("delay=20ms,reorder=10%", 1);
    let dues: Vec<_> = (0..1_000_u32)
        .map(|n| {
            let now = start + Duration::from_millis(1) * n;
            path.send(now, 100, false)[0].unwrap().due
        })
        .collect();
    let overtaken = dues.windows(2).filter(|two| two[0] > two[1]).count() as u64;
    assert!(
        overtaken > 50 && overtaken <= path.counts().reordered,
        "{overtaken}"
    );
}

#[test]
fn a_rate_and_its_queue() {
    // 1,000 bytes and 28 of headers at 1 Mbit/s: 8.224 ms each.
    let mut path = path("rate=1Mbps,queue=50ms", 1);
    let arrivals = arrivals(&mut path, 20, Duration::ZERO);
    let waiting: Vec<_> = arrivals.iter().copied().flatten().collect();
    assert_eq!(waiting.len(), 7, "the seventh begins after 49.3 ms");
    for (n, ms) in waiting.iter().enumerate() {
        assert!((ms - 8.224 * (n + 1) as f64).abs() < 0.001, "{ms}");
    }
    assert_eq!(path.counts().queue_full, 13);
    let later = Instant::now() + Duration::from_secs(1);
    let arrival = path.send(later, 1_000, false)[0].unwrap();
    assert_eq!(
        (arrival.due - later).as_micros(),
        8_224,
        "the queue is empty again"
    );
}

#[test]
fn an_mtu_counts_the_headers() {
    let mut path = path("mtu=1280", 1);
    let now = Instant::now();
    for (len, ipv6, arrives) in [
        (1_252, false, true),
        (1_253, false, false),
        (1_232, true, true),
        (1_233, true, false),
    ] {
        assert_eq!(path.send(now, len, ipv6)[0].is_some(), arrives, "{len}");
    }
    assert_eq!(path.counts().too_large, 2);
}

#[test]
fn a_wrong_bit_is_one_bit() {
    let mut path = path("corrupt=100%,duplicate=100%", 1);
    for len in [0, 1, 1_200] {
        let [Some(first), Some(second)] = path.send(Instant::now(), len, false) else {
            panic!("two arrivals");
        };
        assert_eq!(first, second);
        let mut contents = vec![0; len];
        if let Some(bit) = first.wrong_bit {
            turn_over(&mut contents, bit);
        }
        let ones: u32 = contents.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!(ones, u32::from(len > 0));
    }
}

/// A path that changes in mid-call goes on where it was.
#[test]
fn set_in_between() {
    let mut path = path("delay=50ms", 1);
    let now = Instant::now();
    let first = path.send(now, 100, false)[0].unwrap().due;
    path.set(Impairments::default());
    assert_eq!(
        path.send(now, 100, false)[0].unwrap().due,
        first,
        "nothing is overtaken"
    );
    path.set(Impairments::blocked());
    assert_eq!(path.send(now, 100, false), [None; 2]);
    assert_eq!(path.counts().sent, 3);
}
