//! The conversation of a call: each side sends texts, the other side echoes them.

use std::{cell::RefCell, collections::VecDeque, time::Duration};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until, timeout},
};
use visavis_core::{Call, DataChannel, Side};

/// How often each side sends a text.
const PERIOD: Duration = Duration::from_millis(250);

/// What an echo begins with.
const ECHO: &str = "echo of ";

/// A text that has come back.
#[derive(Debug)]
pub(crate) struct Echoed {
    /// Who sent it.
    pub(crate) side: Side,
    /// What it said.
    pub(crate) text: String,
    /// When its echo arrived.
    pub(crate) at: Instant,
    /// From sending it to having its echo.
    pub(crate) rtt: Duration,
}

/// Sends texts both ways for `duration`, one at least, and waits for their echoes, at most `patience`.
///
/// # Errors
///
/// What went wrong, in words: the channel closed, an echo is not what was sent, or it did not come.
pub(crate) async fn exchange(
    call: &Call,
    duration: Duration,
    patience: Duration,
    echoed: &mpsc::UnboundedSender<Echoed>,
) -> Result<(), String> {
    let [offerer, answerer] = [Side::Offerer, Side::Answerer].map(|side| Speaker {
        side,
        channel: &call.side(side).channel,
        outstanding: RefCell::default(),
        answered: Notify::new(),
        echoed,
    });
    let talk = async {
        tokio::try_join!(offerer.speak(duration), answerer.speak(duration))?;
        let echoes = async { tokio::join!(offerer.all_echoed(), answerer.all_echoed()) };
        timeout(patience, echoes)
            .await
            .map(drop)
            .map_err(|_| format!("a text was not echoed within {patience:?}"))
    };
    tokio::select! {
        biased;
        error = offerer.listen() => Err(error),
        error = answerer.listen() => Err(error),
        result = talk => result,
    }
}

/// One side of the conversation.
struct Speaker<'a> {
    side: Side,
    channel: &'a DataChannel,
    outstanding: RefCell<VecDeque<(String, Instant)>>,
    answered: Notify,
    echoed: &'a mpsc::UnboundedSender<Echoed>,
}

impl Speaker<'_> {
    async fn speak(&self, duration: Duration) -> Result<(), String> {
        let mut turn = Instant::now();
        let end = turn + duration;
        if self.side == Side::Answerer {
            // The two sides take turns, so that the output reads as a conversation.
            turn = (turn + PERIOD / 2).min(end);
        }
        for number in 1.. {
            sleep_until(turn).await;
            let text = format!("text {number} of the {}", self.side);
            self.outstanding
                .borrow_mut()
                .push_back((text.clone(), Instant::now()));
            self.send(text).await?;
            turn += PERIOD;
            if turn >= end {
                break;
            }
        }
        sleep_until(end).await;
        Ok(())
    }

    /// Echoes what the other side says, times the echoes of what we said. Ends only by an error.
    async fn listen(&self) -> String {
        while let Some(message) = self.channel.recv().await {
            let Some(text) = message.as_text() else {
                return format!("the {} got bytes in place of a text", self.side);
            };
            let Some(text) = text.strip_prefix(ECHO) else {
                match self.send(format!("{ECHO}{text}")).await {
                    Ok(()) => continue,
                    Err(error) => return error,
                }
            };
            let at = Instant::now();
            match self.outstanding.borrow_mut().pop_front() {
                // The channel is ordered, so echoes come in the order of what was sent.
                Some((sent, when)) if sent == text => {
                    let _ = self.echoed.send(Echoed {
                        side: self.side,
                        text: sent,
                        at,
                        rtt: at - when,
                    });
                }
                expected => {
                    let expected = expected.map(|(text, _)| text);
                    return format!("the {} got `{text}` back in place of {expected:?}", self.side);
                }
            }
            self.answered.notify_one();
        }
        format!("the data channel of the {} closed", self.side)
    }

    async fn all_echoed(&self) {
        while !self.outstanding.borrow().is_empty() {
            self.answered.notified().await;
        }
    }

    async fn send(&self, text: String) -> Result<(), String> {
        self.channel
            .send(text)
            .await
            .map_err(|error| format!("the {} cannot send: {error}", self.side))
    }
}
