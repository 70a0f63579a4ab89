//! Much data: order, content, and back-pressure on both sides.

use std::time::Duration;
use tokio::time::{Instant, timeout};
use visavis_core::{ConnectionState, DataChannel, MAX_MESSAGE_SIZE};
use visavis_tests::{World, deadline, peers::recv, ping, within};

const LARGE: usize = MAX_MESSAGE_SIZE as usize;

/// Message `n`: its number, and bytes that no other message has at the same place.
fn message(n: usize, size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
    bytes.rotate_left(n % size);
    bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
    bytes
}

pub(super) async fn send(channel: &DataChannel, count: usize, size: usize) {
    for n in 0..count {
        // On a bad path SCTP may wait for its timer several times, twice as long each time.
        let sent = channel.send(message(n, size));
        within(Duration::from_secs(300), "room to send", sent)
            .await
            .unwrap();
    }
}

pub(super) async fn receive(channel: &DataChannel, count: usize, size: usize) {
    for n in 0..count {
        let received = within(Duration::from_secs(300), "a message", channel.recv()).await;
        let received = received.expect("a channel that is open");
        assert!(
            received.as_bytes() == message(n, size),
            "message {n} is not what was sent"
        );
    }
}

/// 64 MiB in messages of 256 KiB.
pub(super) async fn bulk(world: World) {
    let call = world.call().await;
    let count = 64 * 1024 * 1024 / LARGE;
    let transfer = async { tokio::join!(send(&call.a, count, LARGE), receive(&call.b, count, LARGE)) };
    within(Duration::from_secs(90), "64 MiB", transfer).await;
    assert_eq!(call.b.stats().bytes_received, 64 * 1024 * 1024);
    assert_eq!(call.offerer.connection_state(), ConnectionState::Connected);
    ping(&call.a, &call.b).await;
    call.close().await;
}

/// The same both ways at once.
pub(super) async fn bulk_both_ways(world: World) {
    let call = world.call().await;
    let count = 8 * 1024 * 1024 / 65_536;
    let transfer = async {
        tokio::join!(
            send(&call.a, count, 65_536),
            receive(&call.b, count, 65_536),
            send(&call.b, count, 65_536),
            receive(&call.a, count, 65_536),
        )
    };
    within(Duration::from_secs(60), "8 MiB each way", transfer).await;
    ping(&call.a, &call.b).await;
    call.close().await;
}

/// Thousands of small messages, in order.
pub(super) async fn small_messages(world: World) {
    let call = world.call().await;
    let transfer = async { tokio::join!(send(&call.a, 20_000, 100), receive(&call.b, 20_000, 100)) };
    within(Duration::from_secs(60), "20,000 messages", transfer).await;
    call.close().await;
}

/// Sends for `stall` while nobody reads, then reads all: what is under way stays bounded and nothing is lost.
async fn stall(world: World, stall: Duration) {
    const SIZE: usize = 64 * 1024;
    /// A send queue and a receive queue of 1 MiB and a message each, and the stacks' own windows between them.
    const BOUND: u64 = 8 * 1024 * 1024;
    let call = world.call().await;
    let began = Instant::now();
    let mut sent = 0;
    let mut at_half = None;
    while began.elapsed() < stall {
        if began.elapsed() >= stall / 2 {
            at_half.get_or_insert(call.a.stats().bytes_sent);
        }
        // A refused message is one that was not sent, so the same number goes again.
        if timeout(stall / 20, call.a.send(message(sent, SIZE)))
            .await
            .is_ok()
        {
            sent += 1;
        }
        assert!(
            call.a.stats().bytes_sent <= 8 * BOUND,
            "there is no back-pressure"
        );
    }
    let under_way = call.a.stats().bytes_sent;
    println!(
        "{}: {} KiB accepted in a stall of {stall:?}, {} KiB of them after half of it",
        world.stacks,
        under_way / 1024,
        (under_way - at_half.unwrap_or(under_way)) / 1024
    );
    assert!(
        under_way <= BOUND,
        "{under_way} bytes are under way and nobody reads"
    );
    assert_eq!(
        at_half.unwrap_or(under_way),
        under_way,
        "it still grows after half of the stall"
    );
    for peer in [&call.offerer, &call.answerer] {
        assert_eq!(peer.connection_state(), ConnectionState::Connected);
    }
    // While the reader catches up, the sender goes on.
    let more = 100;
    let sender = async {
        for n in sent..sent + more {
            deadline("room to send", call.a.send(message(n, SIZE)))
                .await
                .unwrap();
        }
    };
    let reader = async {
        for n in 0..sent + more {
            let received = recv(&call.b).await;
            assert!(
                received.as_bytes() == message(n, SIZE),
                "message {n} is not what was sent"
            );
        }
    };
    within(Duration::from_secs(60), "catching up", async {
        tokio::join!(sender, reader)
    })
    .await;
    ping(&call.a, &call.b).await;
    // The other way was never held up, and the connection stands.
    assert_eq!(call.offerer.connection_state(), ConnectionState::Connected);
    call.close().await;
}

/// A reader that stops stops the sender, and loses nothing when it goes on.
pub(super) async fn stalled_reader(world: World) {
    stall(world, Duration::from_secs(5)).await;
}

/// The same for much longer.
pub(super) async fn stalled_for_long(world: World) {
    stall(world, Duration::from_secs(180)).await;
}

/// Nothing more is accepted, and nothing of what was moves any more.
const FULL: Duration = Duration::from_millis(500);

/// Sends until nothing more is accepted. Returns how many messages were.
async fn fill(channel: &DataChannel, size: usize) -> usize {
    let mut sent = 0;
    while timeout(FULL, channel.send(message(sent, size))).await.is_ok() {
        sent += 1;
        assert!(sent < 1024, "there is no back-pressure");
    }
    sent
}

/// Both sides send until nothing more is accepted, and nobody reads. Then one side reads all that the other sent while
/// that one still does not read, and at last the other does.
pub(super) async fn full_both_ways(world: World) {
    const SIZE: usize = 64 * 1024;
    let call = world.call().await;
    let (from_a, from_b) = tokio::join!(fill(&call.a, SIZE), fill(&call.b, SIZE));
    println!("{}: {from_a} and {from_b} messages under way", world.stacks);
    within(
        Duration::from_secs(60),
        "the first reader",
        receive(&call.b, from_a, SIZE),
    )
    .await;
    // The way is free again, and nobody has read on the other.
    within(Duration::from_secs(60), "more for the first reader", async {
        tokio::join!(send(&call.a, 50, SIZE), receive(&call.b, 50, SIZE))
    })
    .await;
    within(
        Duration::from_secs(60),
        "the second reader",
        receive(&call.a, from_b, SIZE),
    )
    .await;
    ping(&call.a, &call.b).await;
    call.close().await;
}

/// One side sends back what comes. The other sends on and begins to read only when it cannot send any more, which is
/// when both ways are full.
pub(super) async fn echo_to_a_late_reader(world: World) {
    const SIZE: usize = 64 * 1024;
    const COUNT: usize = 200;
    let call = world.call().await;
    let echo = async {
        for _ in 0..COUNT {
            let received = recv(&call.b).await;
            deadline("room to send back", call.b.send(received))
                .await
                .unwrap();
        }
    };
    let (full, is_full) = tokio::sync::oneshot::channel();
    let sender = async {
        let sent = fill(&call.a, SIZE).await;
        full.send(()).unwrap();
        for n in sent..COUNT {
            deadline("room to send", call.a.send(message(n, SIZE)))
                .await
                .unwrap();
        }
    };
    let reader = async {
        is_full.await.unwrap();
        receive(&call.a, COUNT, SIZE).await;
    };
    within(Duration::from_secs(60), "the echo", async {
        tokio::join!(echo, sender, reader)
    })
    .await;
    ping(&call.a, &call.b).await;
    call.close().await;
}
