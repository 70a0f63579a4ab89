use super::*;
use crate::net::{memory::MemoryNetwork, send};
use std::future::poll_fn;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

const MS: Duration = Duration::from_millis(1);

/// A socket that repeats, another that does not, and when the first has sent what.
struct Link {
    ours: Arc<dyn UdpSocket>,
    theirs: Arc<dyn UdpSocket>,
    sent: mpsc::UnboundedReceiver<(Duration, Vec<u8>)>,
    reader: JoinHandle<()>,
}

impl Link {
    fn new(delay: Duration) -> Self {
        let network = MemoryNetwork::new(delay);
        let ip = |last: u8| IpAddr::from([127, 9, 3, last]);
        let host = network.host([ip(1)]);
        let ours = RepeatingNet::new(host).bind(SocketAddr::new(ip(1), 0)).unwrap();
        let theirs = network.host([ip(2)]).bind(SocketAddr::new(ip(2), 0)).unwrap();
        let (tx, sent) = mpsc::unbounded_channel();
        let began = Instant::now();
        network.set_filter(move |datagram| {
            if datagram.from.ip() == ip(1) {
                let _ = tx.send((began.elapsed(), datagram.contents.to_vec()));
            }
            false
        });
        let socket = Arc::clone(&ours);
        let reader = tokio::spawn(async move { while read(&*socket).await.is_some() {} });
        Self {
            ours,
            theirs,
            sent,
            reader,
        }
    }

    async fn send(&self, contents: &[u8]) {
        transmit(&*self.ours, &*self.theirs, contents).await;
    }

    async fn answer(&self, contents: &[u8]) {
        transmit(&*self.theirs, &*self.ours, contents).await;
    }

    /// Waits so long, and says in which milliseconds something was sent since the start.
    async fn sent_within(&mut self, time: Duration) -> Vec<u64> {
        sleep(time).await;
        let mut times = Vec::new();
        while let Ok((at, _)) = self.sent.try_recv() {
            times.push(at.as_millis() as u64);
        }
        times
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn transmit(from: &dyn UdpSocket, to: &dyn UdpSocket, contents: &[u8]) {
    let transmit = Transmit {
        destination: to.local_addr().unwrap(),
        ecn: None,
        contents,
        segment_size: None,
        src_ip: None,
    };
    send(from, &transmit).await.unwrap();
}

async fn read(socket: &dyn UdpSocket) -> Option<usize> {
    let mut buffer = [0; 2_000];
    let mut meta = [RecvMeta::default()];
    let read = poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta)).await;
    read.ok().map(|_| meta[0].len)
}

fn record(kind: u8, epoch: u8, sequence: u8, contents: &[u8]) -> Vec<u8> {
    let mut record = vec![
        kind,
        0xFE,
        0xFD,
        0,
        epoch,
        0,
        0,
        0,
        0,
        0,
        sequence,
        0,
        contents.len() as u8,
    ];
    record.extend(contents);
    record
}

/// A message of a flight; its record has a new number whenever a stack sends it again.
fn handshake(message: u8, sequence: u8) -> Vec<u8> {
    record(
        HANDSHAKE,
        0,
        sequence,
        &[1, 0, 0, 0, 0, message, 0, 0, 0, 0, 0, 0],
    )
}

fn check(message: [u8; 2]) -> Vec<u8> {
    let mut check = vec![message[0], message[1], 0, 0, 0x21, 0x12, 0xA4, 0x42];
    check.extend([7; 12]);
    check
}

#[tokio::test(start_paused = true)]
async fn again_and_again_until_it_is_answered() {
    let mut link = Link::new(10 * MS);
    link.send(&handshake(0, 0)).await;
    assert_eq!(link.sent_within(700 * MS).await, [0, 125, 313, 595]);
    link.answer(&handshake(0, 0)).await;
    assert_eq!(link.sent_within(Duration::from_secs(60)).await, []);
}

#[tokio::test(start_paused = true)]
async fn not_for_ever() {
    let mut link = Link::new(10 * MS);
    link.send(&handshake(0, 0)).await;
    link.send(&record(APPLICATION_DATA, 1, 0, &[0; 50])).await;
    let sent = link.sent_within(Duration::from_secs(60)).await;
    assert_eq!(
        sent.len() as u32,
        1 + FLIGHT_REPEATS + 1 + DATA_REPEATS,
        "{sent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_is_waited_for() {
    let mut link = Link::new(100 * MS);
    link.send(&check(BINDING_REQUEST)).await;
    sleep(100 * MS).await;
    link.answer(&check(BINDING_RESPONSE)).await;
    sleep(110 * MS).await;
    link.send(&handshake(0, 0)).await;
    assert_eq!(link.sent_within(300 * MS).await, [0, 210, 460]);
    // An answer to what was sent before is none to this.
    link.send(&handshake(1, 1)).await;
    link.answer(&handshake(0, 0)).await;
    assert_eq!(link.sent_within(300 * MS).await, [510, 760]);
}

#[tokio::test(start_paused = true)]
async fn the_same_flight_once_more_is_no_answer() {
    let mut link = Link::new(MS);
    link.answer(&handshake(0, 0)).await;
    sleep(10 * MS).await;
    link.send(&handshake(0, 0)).await;
    link.answer(&handshake(0, 1)).await;
    assert_eq!(link.sent_within(200 * MS).await, [10, 135]);
    // A datagram of several records, the last of them new.
    link.answer(&[handshake(0, 2), handshake(1, 3)].concat()).await;
    assert_eq!(link.sent_within(Duration::from_secs(5)).await, []);
    for (n, news) in [
        handshake(2, 0),
        record(APPLICATION_DATA, 1, 0, &[0]),
        vec![0x80; 20],
    ]
    .iter()
    .enumerate()
    {
        link.send(&handshake(n as u8 + 1, 0)).await;
        link.answer(news).await;
        assert_eq!(link.sent_within(Duration::from_secs(5)).await.len(), 1, "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_dtls() {
    let mut link = Link::new(MS);
    for contents in [
        check(BINDING_REQUEST),
        check(BINDING_RESPONSE),
        vec![0x80; 50],
        vec![],
        vec![22],
    ] {
        link.send(&contents).await;
    }
    let sent = link.sent_within(Duration::from_secs(60)).await;
    assert_eq!(
        sent.len() as u32,
        4 + FLIGHT_REPEATS,
        "the last has a byte of DTLS: {sent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_first_datagrams() {
    let mut link = Link::new(MS);
    for n in 0..MOST {
        link.send(&record(APPLICATION_DATA, 1, n as u8, &[0])).await;
    }
    sleep(10 * MS).await;
    link.answer(&record(APPLICATION_DATA, 1, 0, &[0])).await;
    sleep(10 * MS).await;
    link.send(&record(APPLICATION_DATA, 1, 77, &[0])).await;
    assert_eq!(link.sent_within(Duration::from_secs(60)).await.len(), MOST + 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_not_remembered() {
    let mut link = Link::new(MS);
    link.send(&handshake(0, 0)).await;
    for n in 0..2 * SEEN as u64 {
        let mut record = record(APPLICATION_DATA, 1, 0, &[0]);
        record[3..11].copy_from_slice(&((1 << 48) | n).to_be_bytes());
        link.answer(&record).await;
    }
    sleep(10 * MS).await;
    link.send(&handshake(1, 1)).await;
    assert_eq!(link.sent_within(Duration::from_secs(60)).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_in_a_silence_is_sent_again() {
    let mut link = Link::new(10 * MS);
    let data = |number: u8| {
        vec![
            APPLICATION_DATA,
            254,
            253,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            number,
            0,
            1,
            number,
        ]
    };
    let response = [&BINDING_RESPONSE[..], &[0; 18]].concat();
    // The handshake is over.
    for number in 0..MOST as u8 {
        link.send(&data(number)).await;
    }
    link.answer(&data(1)).await;
    link.sent_within(1_000 * MS).await;
    link.answer(&data(2)).await;
    assert!(link.sent_within(3_000 * MS).await.is_empty());
    // A message now and then that is answered.
    link.send(&data(100)).await;
    link.answer(&response).await;
    link.answer(&data(3)).await;
    assert_eq!(link.sent_within(3_000 * MS).await.len(), 1);
    // Nobody answers.
    for number in [101, 103] {
        link.send(&data(number)).await;
        link.send(&data(number + 1)).await;
        assert_eq!(link.sent_within(2_000 * MS).await.len(), 2);
    }
    let again = async |link: &mut Link, contents: &[u8]| {
        link.answer(contents).await;
        sleep(11 * MS).await;
        let sent = std::iter::from_fn(|| link.sent.try_recv().ok());
        sent.map(|(_, contents)| contents).collect::<Vec<_>>()
    };
    assert_eq!(again(&mut link, &response).await, [data(103), data(104)]);
    assert!(again(&mut link, &response).await.is_empty(), "once a second");
    link.sent_within(1_000 * MS).await;
    assert_eq!(again(&mut link, &data(4)).await, [data(103), data(104)]);
    link.sent_within(3_000 * MS).await;
    for contents in [&data(5), &response] {
        assert!(again(&mut link, contents).await.is_empty(), "the silence is over");
    }
}
