//! Data channels: throughput, small messages, round trips, and a reader that stalls. Every message's number, length and
//! bytes are checked, on one reliable and ordered channel.

use crate::{
    lab::{Lab, Site},
    metric::Metric,
    outcome::{Meter, Outcome},
    scenario::{handshake::negotiated, on_a_worker},
    stats::median,
    work::{Network, Visit, Work},
};
use fastrand::Rng;
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use visavis_core::{DataChannel, Message, PairConfig, PeerPair, SamePage};

/// A message that takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A sender that has waited for this long has no more room: what it sent before left within milliseconds.
const STALLED: Duration = Duration::from_millis(200);

/// A stack that has taken so many bytes without making the sender wait never will.
const BOTTOMLESS: usize = 64 * 1024 * 1024;

/// About how long a batch takes, so that its processor time can be read.
const BATCH: f64 = 0.02;

/// About how many bytes the first batch has.
const FIRST: u64 = 4 * 1024 * 1024;

/// The size in bytes from which bytes a second say more than messages a second.
const LARGE: usize = 1024;

/// Carries messages on one call, as the visit's [`Work::Messages`], [`Work::RoundTrips`] or [`Work::StalledReader`]
/// says.
///
/// # Errors
///
/// Why there was no call. What is lost or damaged is a failure in the outcome.
pub async fn run(lab: &Lab, visit: &Visit, outcome: &mut Outcome) -> Result<(), String> {
    let (Work::Messages { size } | Work::RoundTrips { size } | Work::StalledReader { size }) = visit.work
    else {
        return Err(format!("{} is no work for a data channel", visit.work));
    };
    let site = lab.site(visit, Network::Loopback, false)?;
    let mut call = DataCall::new(&site, size).await?;
    match visit.work {
        Work::Messages { .. } => messages(&mut call, visit, outcome).await,
        Work::RoundTrips { .. } => round_trips(&mut call, visit, outcome).await,
        _ => stalls(&mut call, visit, outcome).await,
    }
    call.end().await;
    outcome.negotiated = Some(negotiated(&site).await?);
    Ok(())
}

async fn messages(call: &mut DataCall, visit: &Visit, outcome: &mut Outcome) {
    let size = call.messages.size;
    // Enough that the first batch, too, lasts for some milliseconds.
    let mut count = (FIRST / size as u64).clamp(100, 5_000);
    outcome
        .measure(visit, async || {
            let meter = Meter::start();
            let sent = count;
            call.send(sent).await?;
            let (wall, cpu) = meter.read();
            let rate = sent as f64 / wall;
            count = ((rate * BATCH) as u64).max(10);
            let mut values = vec![
                (Metric::Throughput, rate * size as f64 / 1e6),
                (Metric::MessagesPerSecond, rate),
                (Metric::MessagesPerCpuSecond, sent as f64 / cpu),
            ];
            if size < LARGE {
                values.swap(0, 1);
            }
            Ok(values)
        })
        .await;
}

async fn round_trips(call: &mut DataCall, visit: &Visit, outcome: &mut Outcome) {
    let mut count = 50;
    outcome
        .measure(visit, async || {
            let took = call.round_trips(count).await?;
            let micros: Vec<_> = took.iter().map(|time| time.as_nanos() as f64 / 1e3).collect();
            count = ((BATCH * 1e6 / median(&micros)) as u64).clamp(50, 200);
            Ok(micros.into_iter().map(|time| (Metric::RoundTrip, time)).collect())
        })
        .await;
}

async fn stalls(call: &mut DataCall, visit: &Visit, outcome: &mut Outcome) {
    outcome
        .measure(visit, async || {
            let stall = call.stall().await?;
            Ok(vec![
                (Metric::HeldBytes, stall.held as f64 / 1024.0),
                (Metric::Recovery, stall.recovery.as_secs_f64() * 1e3),
            ])
        })
        .await;
}

/// A call whose channel carries numbered messages of one size.
#[derive(Debug)]
pub struct DataCall {
    pair: SamePage,
    offerer: DataChannel,
    answerer: DataChannel,
    messages: Messages,
    sent: u64,
}

/// What a reader that stopped has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// Bytes taken from the sender before it had to wait.
    pub held: usize,
    /// From the reader going on until it had read all of them.
    pub recovery: Duration,
}

impl DataCall {
    /// Calls, and waits until the channel is open.
    ///
    /// # Errors
    ///
    /// Why there was no call, or that the size in bytes is none for a numbered message.
    pub async fn new(site: &Site, size: usize) -> Result<Self, String> {
        let messages = Messages::new(size)?;
        let pair = site.pair(PairConfig::default()).await;
        let call = pair.call().await.map_err(|failure| failure.to_string())?;
        Ok(Self {
            pair,
            offerer: call.offerer.channel.clone(),
            answerer: call.answerer.channel.clone(),
            messages,
            sent: 0,
        })
    }

    /// Sends `count` messages as fast as they are taken, and reads each. The time is from the first one sent to the
    /// last one read.
    ///
    /// # Errors
    ///
    /// When one is lost, out of order or not what was sent.
    pub async fn send(&mut self, count: u64) -> Result<Duration, String> {
        let numbers = self.numbers(count);
        let end = numbers.end;
        let (offerer, answerer, messages) =
            (self.offerer.clone(), self.answerer.clone(), self.messages.clone());
        let took = on_a_worker(async move {
            let began = Instant::now();
            let send = async {
                for n in numbers.clone() {
                    send(&offerer, messages.get(n)).await?;
                }
                Ok(())
            };
            tokio::try_join!(send, messages.read(&answerer, numbers.clone()))?;
            Ok(began.elapsed())
        });
        let took = took.await?;
        self.check_counts(end)?;
        Ok(took)
    }

    /// Sends `count` messages there and back, one at a time; how long each took.
    ///
    /// # Errors
    ///
    /// When one does not come back as it was sent.
    pub async fn round_trips(&mut self, count: u64) -> Result<Vec<Duration>, String> {
        let numbers = self.numbers(count);
        let (offerer, answerer, messages) =
            (self.offerer.clone(), self.answerer.clone(), self.messages.clone());
        let took = on_a_worker(async move {
            let mut took = Vec::with_capacity(count as usize);
            for n in numbers {
                let message = messages.get(n);
                let began = Instant::now();
                send(&offerer, message).await?;
                let there = receive(&answerer, n).await?;
                messages.check(n, &there)?;
                send(&answerer, there).await?;
                let back = receive(&offerer, n).await?;
                took.push(began.elapsed());
                messages.check(n, &back)?;
            }
            Ok(took)
        });
        took.await
    }

    /// Sends to a reader that has stopped until the sender has to wait; then reads all of it.
    ///
    /// # Errors
    ///
    /// When the sender never waits, or something is lost, out of order or not what was sent.
    pub async fn stall(&mut self) -> Result<Stall, String> {
        let first = self.sent;
        let mut held = 0;
        while let Ok(sent) = timeout(STALLED, send(&self.offerer, self.messages.get(self.sent))).await {
            sent?;
            self.sent += 1;
            held += self.messages.size;
            if held >= BOTTOMLESS {
                return Err(format!(
                    "the sender did not have to wait in {held} bytes that nobody read"
                ));
            }
        }
        let began = Instant::now();
        self.messages.read(&self.answerer, first..self.sent).await?;
        let recovery = began.elapsed();
        self.check_counts(self.sent)?;
        Ok(Stall { held, recovery })
    }

    /// Hangs up.
    pub async fn end(self) {
        // The only refusal is that the call is over already.
        let _ = self.pair.hang_up().await;
    }

    fn numbers(&mut self, count: u64) -> Range<u64> {
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        numbers
    }

    /// Whether the channel has counted `count` messages on both sides.
    fn check_counts(&self, count: u64) -> Result<(), String> {
        let (out, back) = (self.offerer.stats(), self.answerer.stats());
        let counted = (out.messages_sent, out.messages_dropped, back.messages_received);
        (counted == (count, 0, count))
            .then_some(())
            .ok_or_else(|| format!("of {count} messages not all were counted: {out:?}, {back:?}"))
    }
}

async fn send(channel: &DataChannel, message: Message) -> Result<(), String> {
    channel.send(message).await.map_err(|error| error.to_string())
}

/// The next message, which should be number `n`.
async fn receive(channel: &DataChannel, n: u64) -> Result<Message, String> {
    // A timer is needed only where there is something to wait for.
    if let Some(message) = channel.try_recv() {
        return Ok(message);
    }
    let message = timeout(PATIENCE, channel.recv()).await;
    let message = message.map_err(|_| format!("message {n} did not arrive within {PATIENCE:?}"))?;
    message.ok_or_else(|| format!("the channel closed before message {n}"))
}

/// Messages of one size: a number, and then bytes that follow from it.
#[derive(Debug, Clone)]
struct Messages {
    size: usize,
    noise: Arc<[u8]>,
}

impl Messages {
    const NUMBER: usize = size_of::<u64>();

    /// Where in the noise the bytes begin differs between messages that can be under way together.
    const PHASES: u64 = 1024;

    fn new(size: usize) -> Result<Self, String> {
        let rest = size
            .checked_sub(Self::NUMBER)
            .ok_or_else(|| format!("{size} bytes have no room for a number"))?;
        let mut rng = Rng::with_seed(1);
        let noise = std::iter::repeat_with(|| rng.u8(..)).take(rest + Self::PHASES as usize);
        Ok(Self {
            size,
            noise: noise.collect(),
        })
    }

    fn get(&self, n: u64) -> Message {
        let mut bytes = Vec::with_capacity(self.size);
        bytes.extend(n.to_be_bytes());
        bytes.extend(self.rest(n));
        bytes.into()
    }

    fn check(&self, n: u64, arrived: &Message) -> Result<(), String> {
        let number = arrived.as_bytes().first_chunk().map(|n| u64::from_be_bytes(*n));
        if number != Some(n) {
            return Err(format!("message {n} was due, and {number:?} arrived"));
        }
        (arrived.as_text().is_none() && arrived.as_bytes()[Self::NUMBER..] == *self.rest(n))
            .then_some(())
            .ok_or_else(|| format!("the bytes of message {n} are not what was sent"))
    }

    /// Reads these numbers and nothing else.
    async fn read(&self, channel: &DataChannel, numbers: Range<u64>) -> Result<(), String> {
        for n in numbers {
            self.check(n, &receive(channel, n).await?)?;
        }
        Ok(())
    }

    fn rest(&self, n: u64) -> &[u8] {
        &self.noise[(n % Self::PHASES) as usize..][..self.size - Self::NUMBER]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_number_and_its_bytes() {
        let messages = Messages::new(100).unwrap();
        let sent = messages.get(7);
        assert_eq!(sent.len(), 100);
        messages.check(7, &sent).unwrap();
        assert!(messages.check(8, &sent).unwrap_err().contains("Some(7)"));
        let mut damaged = sent.as_bytes().to_vec();
        damaged[99] ^= 1;
        messages.check(7, &damaged.clone().into()).unwrap_err();
        messages.check(7, &damaged[..99].to_vec().into()).unwrap_err();
        messages.check(7, &"text".into()).unwrap_err();
        Messages::new(7).unwrap_err();
    }
}
