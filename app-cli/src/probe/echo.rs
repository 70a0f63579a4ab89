//! Messages that must come back as they were sent.

use std::time::Duration;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use visavis_core::{DataChannel, Message};

/// How many messages are sent of each size, texts and bytes in turn.
const MESSAGES: u8 = 8;

/// So many bytes are on the way at most. An endpoint that stops reading until its echo has gone must not come to that:
/// it might then not read that its echo has arrived either.
const ON_THE_WAY: usize = 512 * 1024;

/// Messages for the throughput have this size if nothing else is asked for.
const SIZE: usize = 16 * 1024;

/// Sends texts and bytes of `size` in turn, and waits for them to come back, for `patience` at most.
///
/// # Errors
///
/// What is wrong with what came back, in words.
pub(super) async fn messages(channel: &DataChannel, size: usize, patience: Duration) -> Result<(), String> {
    let all: Vec<_> = (0..MESSAGES).map(|index| message(index, size)).collect();
    let exchange = async {
        for message in &all {
            channel
                .send(message.clone())
                .await
                .map_err(|error| error.to_string())?;
        }
        for (index, sent) in all.iter().enumerate() {
            let back = channel.recv().await.ok_or("the data channel was closed")?;
            check(index, sent, &back)?;
        }
        Ok(())
    };
    timeout(patience, exchange)
        .await
        .map_err(|_| format!("not all {MESSAGES} messages of {size} bytes came back within {patience:?}"))?
}

/// Sends `bytes` in messages of `size` and waits for all of them to come back; megabytes a second, each way. `patience`
/// is how long nothing may come back.
///
/// # Errors
///
/// What is wrong with what came back, in words.
pub(super) async fn throughput(
    channel: &DataChannel,
    bytes: u64,
    size: Option<usize>,
    patience: Duration,
) -> Result<f64, String> {
    let most = channel.max_message_size() as usize;
    let size = size.unwrap_or(SIZE.min(most)).max(8);
    if size > most {
        return Err(format!(
            "the other side takes messages of {most} bytes at most, not {size}"
        ));
    }
    let count = bytes.div_ceil(size as u64);
    let room = Semaphore::new((ON_THE_WAY / size).max(1));
    let began = Instant::now();
    let send = async {
        for number in 0..count {
            room.acquire().await.map_err(|error| error.to_string())?.forget();
            let sent = channel.send(numbered(number, size)).await;
            sent.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    let receive = async {
        for number in 0..count {
            let back = timeout(patience, channel.recv()).await;
            let back = back.map_err(|_| {
                format!("after {number} of {count} messages nothing came back for {patience:?}")
            })?;
            let back = back.ok_or("the data channel was closed")?;
            let same = back.len() == size && back.as_bytes().starts_with(&number.to_be_bytes());
            if !same || back.as_text().is_some() {
                return Err(format!("message {number} of {count} came back as {back:?}"));
            }
            room.add_permits(1);
        }
        Ok(())
    };
    tokio::try_join!(send, receive)?;
    let rate = (count * size as u64) as f64 / 1e6 / began.elapsed().as_secs_f64();
    Ok((rate * 1_000.0).round() / 1_000.0)
}

/// A text if `index` is even, else bytes that are no UTF-8; no two are alike.
fn message(index: u8, size: usize) -> Message {
    let bytes = (0..size).map(|at| (at as u8).wrapping_mul(31).wrapping_add(index));
    if index.is_multiple_of(2) {
        bytes
            .map(|byte| char::from(b'a' + byte % 26))
            .collect::<String>()
            .into()
    } else {
        bytes.map(|byte| byte | 0x80).collect::<Vec<_>>().into()
    }
}

fn numbered(number: u64, size: usize) -> Message {
    let mut bytes = vec![0; size];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

/// Whether what came back is what was sent.
fn check(index: usize, sent: &Message, back: &Message) -> Result<(), String> {
    if sent == back {
        return Ok(());
    }
    let number = index + 1;
    let what = |message: &Message| {
        if message.as_text().is_some() {
            "a text"
        } else {
            "bytes"
        }
    };
    if what(sent) != what(back) {
        return Err(format!(
            "message {number} was {} and came back as {}",
            what(sent),
            what(back)
        ));
    }
    if sent.len() != back.len() {
        let (sent, back) = (sent.len(), back.len());
        return Err(format!(
            "message {number} had {sent} bytes and came back with {back}"
        ));
    }
    Err(format!("message {number} came back changed, or out of order"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_size_and_differ() {
        for size in [1_000, 60_000] {
            let all: Vec<_> = (0..MESSAGES).map(|index| message(index, size)).collect();
            for (index, one) in all.iter().enumerate() {
                assert_eq!(one.len(), size);
                assert_eq!(one.as_text().is_some(), index % 2 == 0);
                assert!(all[..index].iter().all(|other| other != one));
            }
        }
    }

    #[test]
    fn it_says_how_an_echo_differs() {
        let differs = |sent: Message, back: Message| check(0, &sent, &back).unwrap_err();
        assert!(differs("a".into(), vec![b'a'].into()).contains("came back as bytes"));
        assert!(differs("aa".into(), "a".into()).contains("with 1"));
        assert!(differs("a".into(), "b".into()).contains("changed"));
    }
}
