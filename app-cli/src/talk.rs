//! The conversation of a call: each side sends texts, the other side echoes them.

use std::{cell::RefCell, collections::VecDeque, time::Duration};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use visavis_core::{Call, DataChannel, Message, Side};

/// How often each side sends a text.
const PERIOD: Duration = Duration::from_millis(250);

/// What an echo begins with.
const ECHO: &str = "echo of ";

/// What is heard of a call while it lasts.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A text has come back.
    Echo(Echoed),
    /// How the media does.
    Progress(String),
}

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

/// Sends texts both ways for `duration` or until it is `over`, one at least, and waits for their echoes, at most
/// `patience`.
///
/// # Errors
///
/// What went wrong, in words: the channel closed, an echo is not what was sent, or it did not come.
pub(crate) async fn exchange(
    call: &Call,
    duration: Duration,
    over: &watch::Receiver<bool>,
    patience: Duration,
    heard: &mpsc::UnboundedSender<Heard>,
) -> Result<(), String> {
    let [offerer, answerer] = [Side::Offerer, Side::Answerer].map(|side| Speaker {
        side,
        channel: &call.side(side).channel,
        outstanding: RefCell::default(),
        answered: Notify::new(),
        heard,
    });
    let talk = async {
        tokio::try_join!(offerer.speak(duration, over), answerer.speak(duration, over))?;
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

/// Sends texts for `duration`, one at least, to a remote peer that echoes them, and waits for their echoes, at most
/// `patience`; the round trips.
///
/// # Errors
///
/// As for [`exchange`].
pub(crate) async fn speak(
    side: Side,
    channel: &DataChannel,
    duration: Duration,
    patience: Duration,
) -> Result<Vec<Duration>, String> {
    let (heard, mut told) = mpsc::unbounded_channel();
    let (_over, is_over) = watch::channel(false);
    let speaker = Speaker {
        side,
        channel,
        outstanding: RefCell::default(),
        answered: Notify::new(),
        heard: &heard,
    };
    let talk = async {
        speaker.speak(duration, &is_over).await?;
        timeout(patience, speaker.all_echoed())
            .await
            .map_err(|_| format!("a text was not echoed within {patience:?}"))
    };
    tokio::select! {
        biased;
        error = speaker.listen() => return Err(error),
        result = talk => result?,
    }
    let mut rtts = Vec::new();
    while let Ok(heard) = told.try_recv() {
        if let Heard::Echo(echo) = heard {
            rtts.push(echo.rtt);
        }
    }
    Ok(rtts)
}

/// Echoes what the remote peer says until the channel closes; how many messages that were.
pub(crate) async fn echo(channel: &DataChannel) -> u64 {
    let mut count = 0;
    while let Some(message) = channel.recv().await {
        let answer: Message = match message.as_text() {
            // The remote peer's own echo of something.
            Some(text) if text.starts_with(ECHO) => continue,
            Some(text) => format!("{ECHO}{text}").into(),
            None => message,
        };
        if channel.send(answer).await.is_err() {
            break;
        }
        count += 1;
    }
    count
}

/// One side of the conversation.
struct Speaker<'a> {
    side: Side,
    channel: &'a DataChannel,
    outstanding: RefCell<VecDeque<(String, Instant)>>,
    answered: Notify,
    heard: &'a mpsc::UnboundedSender<Heard>,
}

impl Speaker<'_> {
    async fn speak(&self, duration: Duration, over: &watch::Receiver<bool>) -> Result<(), String> {
        let mut over = over.clone();
        let mut turn = Instant::now();
        let end = turn + duration;
        if self.side == Side::Answerer {
            // The two sides take turns, so that the output reads as a conversation.
            turn = (turn + PERIOD / 2).min(end);
        }
        for number in 1.. {
            let ended = wait(turn, &mut over).await;
            if ended && number > 1 {
                return Ok(());
            }
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
        wait(end, &mut over).await;
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
                    let _ = self.heard.send(Heard::Echo(Echoed {
                        side: self.side,
                        text: sent,
                        at,
                        rtt: at - when,
                    }));
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

/// Waits until `at`, or until it is over; whether it is.
async fn wait(at: Instant, over: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        Ok(_) = over.wait_for(|over| *over) => true,
        () = sleep_until(at) => false,
    }
}
