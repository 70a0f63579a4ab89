//! Of the network in memory.

use super::*;
use crate::net::send;
use std::future::poll_fn;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([127, 9, 0, last])
}

fn transmit(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
    Transmit {
        destination,
        ecn: None,
        contents,
        segment_size: None,
        src_ip: None,
    }
}

async fn recv(socket: &dyn UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 64];
    let mut meta = [RecvMeta::default()];
    poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta))
        .await
        .unwrap();
    (buffer[..meta[0].len].to_vec(), meta[0].addr)
}

#[tokio::test(start_paused = true)]
async fn a_datagram_takes_the_delay() {
    let network = MemoryNetwork::new(Duration::from_millis(50));
    let a = network.host([ip(1)]).bind(SocketAddr::new(ip(1), 0)).unwrap();
    let b = network.host([ip(2)]).bind(SocketAddr::new(ip(2), 0)).unwrap();
    let start = Instant::now();
    let transmit = Transmit {
        segment_size: Some(4),
        ..transmit(b.local_addr().unwrap(), b"abcdef")
    };
    send(&*a, &transmit).await.unwrap();
    assert_eq!(recv(&*b).await, (b"abcd".to_vec(), a.local_addr().unwrap()));
    assert_eq!(recv(&*b).await.0, b"ef");
    assert_eq!(start.elapsed(), Duration::from_millis(50));
    assert_eq!((network.delivered(), network.dropped()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_hears_is_counted() {
    let network = MemoryNetwork::new(Duration::ZERO);
    let host = network.host([ip(1)]);
    let a = host.bind(SocketAddr::new(ip(1), 0)).unwrap();
    let destination = SocketAddr::new(ip(2), 9);
    send(&*a, &transmit(destination, b"x")).await.unwrap();
    assert_eq!(network.dropped(), 1);
    assert!(host.bind(SocketAddr::new(ip(2), 0)).is_err());
    assert!(host.bind(a.local_addr().unwrap()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_socket_without_its_address_is_dead_until_it_is_back() {
    let network = MemoryNetwork::new(Duration::ZERO);
    let host = network.host([ip(1)]);
    let a = host.bind(SocketAddr::new(ip(1), 0)).unwrap();
    let b = network.host([ip(2)]).bind(SocketAddr::new(ip(2), 0)).unwrap();
    let (at_a, at_b) = (a.local_addr().unwrap(), b.local_addr().unwrap());
    let changed = host.changed();
    host.set_addresses([ip(3)]);
    changed.await;
    assert_eq!(host.interfaces().unwrap(), [ip(3)]);
    assert!(send(&*a, &transmit(at_b, b"gone")).await.is_err());
    send(&*b, &transmit(at_a, b"lost")).await.unwrap();
    assert_eq!((network.delivered(), network.dropped()), (0, 1));
    assert!(host.bind(SocketAddr::new(ip(3), 0)).is_ok());
    host.set_addresses([ip(1), ip(3)]);
    send(&*a, &transmit(at_b, b"back")).await.unwrap();
    assert_eq!(recv(&*b).await.0, b"back");
}

/// Sends `count` datagrams from one host to the other and says which were lost.
async fn losses(network: &MemoryNetwork, [from, to]: [u8; 2], count: u32) -> Vec<u32> {
    let a = network
        .host([ip(from)])
        .bind(SocketAddr::new(ip(from), 0))
        .unwrap();
    let b = network.host([ip(to)]).bind(SocketAddr::new(ip(to), 0)).unwrap();
    let mut lost = Vec::new();
    for n in 0..count {
        let before = network.lost();
        let contents = n.to_be_bytes();
        send(&*a, &transmit(b.local_addr().unwrap(), &contents))
            .await
            .unwrap();
        if network.lost() > before {
            lost.push(n);
        } else {
            assert_eq!(recv(&*b).await.0, contents);
        }
    }
    lost
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_loses_the_same_datagrams() {
    let network = MemoryNetwork::new(Duration::from_millis(1));
    network.set_loss(0.1, 7);
    let first = losses(&network, [1, 2], 1_000).await;
    assert_eq!(network.lost(), first.len() as u64);
    assert_eq!(
        (network.delivered(), network.dropped()),
        (1_000 - network.lost(), 0)
    );
    // Ports do not matter, nor what went the other way before.
    network.set_loss(0.1, 7);
    let back = losses(&network, [2, 1], 1_000).await;
    assert_eq!(losses(&network, [1, 2], 1_000).await, first);
    assert_ne!(back, first, "each direction has losses of its own");
    let other = MemoryNetwork::new(Duration::ZERO);
    other.set_loss(0.1, 7);
    assert_eq!(losses(&other, [1, 2], 1_000).await, first);
    other.set_loss(0.1, 8);
    assert_ne!(losses(&other, [1, 2], 1_000).await, first);
}

#[tokio::test(start_paused = true)]
async fn as_much_is_lost_as_was_asked_for() {
    const COUNT: u32 = 20_000;
    let network = MemoryNetwork::new(Duration::ZERO);
    assert!(losses(&network, [1, 2], 100).await.is_empty());
    for (probability, seed) in [(0.01, 1), (0.01, 2), (0.05, 3), (0.5, 4)] {
        network.set_loss(probability, seed);
        let rate = losses(&network, [1, 2], COUNT).await.len() as f64 / f64::from(COUNT);
        // Five standard deviations.
        let margin = 5.0 * (probability * (1.0 - probability) / f64::from(COUNT)).sqrt();
        assert!((rate - probability).abs() < margin, "{rate} for {probability}");
    }
    network.set_loss(1.0, 5);
    assert_eq!(losses(&network, [1, 2], 100).await.len(), 100);
    network.set_loss(0.0, 5);
    assert!(losses(&network, [1, 2], 100).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_filter_chooses_what_is_lost() {
    let network = MemoryNetwork::new(Duration::ZERO);
    network.set_loss(0.1, 9);
    let by_chance = losses(&network, [1, 2], 100).await;
    network.set_loss(0.1, 9);
    network.set_filter(|datagram| datagram.from.ip() == ip(1) && datagram.contents == 3_u32.to_be_bytes());
    let mut wanted = by_chance.clone();
    wanted.push(3);
    wanted.sort_unstable();
    wanted.dedup();
    assert_eq!(losses(&network, [1, 2], 100).await, wanted);
    network.clear_filter();
    network.set_loss(0.1, 9);
    assert_eq!(losses(&network, [1, 2], 100).await, by_chance);
}

/// Receives so many datagrams of four bytes.
async fn numbers(socket: &dyn UdpSocket, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let contents = recv(socket).await.0;
        numbers.push(u32::from_be_bytes(contents.try_into().unwrap()));
    }
    numbers
}

#[tokio::test(start_paused = true)]
async fn one_direction_has_its_own_impairments() {
    let network = MemoryNetwork::new(Duration::from_millis(10));
    let [a, b] = [1, 2].map(|n| network.host([ip(n)]).bind(SocketAddr::new(ip(n), 0)).unwrap());
    network.set_link(ip(1), ip(2), Impairments::blocked());
    for (from, to) in [(&a, &b), (&b, &a)] {
        send(&**from, &transmit(to.local_addr().unwrap(), &[0, 0, 0, 7]))
            .await
            .unwrap();
    }
    assert_eq!(numbers(&*a, 1).await, [7]);
    assert_eq!(
        (network.delivered(), network.lost(), network.counts().sent),
        (1, 1, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn the_reordered_arrive_late_and_all_arrive() {
    const COUNT: u32 = 1_000;
    let network = MemoryNetwork::new(Duration::ZERO);
    let text = "delay=10ms,reorder=5%,duplicate=5%";
    network.set_impairments(text.parse().unwrap(), 1);
    let [a, b] = [1, 2].map(|n| network.host([ip(n)]).bind(SocketAddr::new(ip(n), 0)).unwrap());
    for n in 0..COUNT {
        let contents = n.to_be_bytes();
        send(&*a, &transmit(b.local_addr().unwrap(), &contents))
            .await
            .unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let counts = network.counts();
    assert!(counts.reordered > 20 && counts.duplicated > 20, "{counts:?}");
    let mut arrived = numbers(&*b, (u64::from(COUNT) + counts.duplicated) as usize).await;
    let backward = arrived.windows(2).filter(|two| two[0] > two[1]).count();
    assert!(backward > 20, "{backward}");
    arrived.dedup();
    arrived.sort_unstable();
    arrived.dedup();
    assert_eq!(arrived, (0..COUNT).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_corrupt_differ_in_one_bit() {
    let network = MemoryNetwork::new(Duration::ZERO);
    network.set_impairments("corrupt=100%".parse().unwrap(), 1);
    let [a, b] = [1, 2].map(|n| network.host([ip(n)]).bind(SocketAddr::new(ip(n), 0)).unwrap());
    send(&*a, &transmit(b.local_addr().unwrap(), &[0; 4]))
        .await
        .unwrap();
    assert_eq!(numbers(&*b, 1).await[0].count_ones(), 1);
}
