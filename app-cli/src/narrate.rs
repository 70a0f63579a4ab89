//! Tells what happens in a call while it happens.

use crate::{
    numbers::millis,
    out::{BOLD, DIM, Out, paint, style_of},
    steps,
    talk::{Echoed, Heard},
};
use std::{collections::HashSet, future::Future, io, pin::pin, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use visavis_core::{ConnectionState, IceMode, Mark, PairEvent, PairEvents, PeerEvent, Side};

/// Steps are held back this long, for those of the two sides come by different ways and are told in order.
/// It also keeps the terminal from slowing the handshake.
const HOLD: Duration = Duration::from_millis(15);

/// Where a sentence begins, below the step that it explains.
const INDENT: usize = 20;

/// Follows one call: collects round trips, and tells the steps if it was given them.
#[derive(Debug)]
pub(crate) struct Narrator {
    began: Instant,
    last: Duration,
    ice: IceMode,
    steps: Option<PairEvents>,
    heard: mpsc::UnboundedReceiver<Heard>,
    pending: Vec<(Instant, Said)>,
    explained: HashSet<&'static str>,
    /// The round trips of the texts so far.
    pub(crate) rtts: Vec<Duration>,
}

/// Something to tell.
#[derive(Debug)]
enum Said {
    Step(Side, Mark),
    Connection(Side, ConnectionState),
    Text(Side, String, Duration),
}

impl Narrator {
    /// Follows a call that begins now, aloud if there are `steps`.
    pub(crate) fn new(steps: Option<PairEvents>, ice: IceMode) -> (Self, mpsc::UnboundedSender<Heard>) {
        let (tell, heard) = mpsc::unbounded_channel();
        let narrator = Self {
            began: Instant::now(),
            last: Duration::ZERO,
            ice,
            steps,
            heard,
            pending: Vec::new(),
            explained: HashSet::new(),
            rtts: Vec::new(),
        };
        (narrator, tell)
    }

    /// When the call began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Tells what happens until `work` is done.
    pub(crate) async fn during<T>(&mut self, out: &mut Out, work: impl Future<Output = T>) -> io::Result<T> {
        let mut work = pin!(work);
        loop {
            let held_until = self.pending.iter().map(|(at, _)| *at).min().map(|at| at + HOLD);
            tokio::select! {
                result = &mut work => return Ok(result),
                Some(event) = next(&mut self.steps) => self.hear(&event),
                Some(heard) = self.heard.recv() => match heard {
                    Heard::Echo(echoed) => self.hear_text(echoed),
                    Heard::Progress(text) if self.steps.is_some() => out.status(&text)?,
                    Heard::Progress(_) => {}
                },
                () = sleep_until(held_until.unwrap_or(self.began)), if held_until.is_some() => self.tell(out)?,
            }
        }
    }

    /// Tells what is left.
    pub(crate) async fn flush(&mut self, out: &mut Out) -> io::Result<()> {
        out.status("")?;
        if self.steps.is_some() {
            // The tasks that bring the steps may be a moment behind.
            self.during(out, sleep(HOLD)).await?;
        }
        while let Ok(heard) = self.heard.try_recv() {
            if let Heard::Echo(echoed) = heard {
                self.hear_text(echoed);
            }
        }
        self.tell(out)
    }

    /// Tells what is left, and that the call was hung up.
    pub(crate) async fn end(&mut self, out: &mut Out) -> io::Result<()> {
        let at = self.began.elapsed();
        self.flush(out).await?;
        if self.steps.is_none() {
            return Ok(());
        }
        self.head(out, at, None, "hung up", "")?;
        let sentence = "Both sides have said goodbye and closed their sockets; the pair can call again.";
        out.wrapped(INDENT, DIM, sentence)
    }

    fn hear(&mut self, event: &PairEvent) {
        match *event {
            PairEvent::Step(side, mark, at) => self.pending.push((at, Said::Step(side, mark))),
            PairEvent::Peer(side, PeerEvent::ConnectionState(state)) => {
                self.pending.push((Instant::now(), Said::Connection(side, state)));
            }
            _ => {}
        }
    }

    fn hear_text(&mut self, echoed: Echoed) {
        self.rtts.push(echoed.rtt);
        if self.steps.is_some() {
            let said = Said::Text(echoed.side, echoed.text, echoed.rtt);
            self.pending.push((echoed.at, said));
        }
    }

    fn tell(&mut self, out: &mut Out) -> io::Result<()> {
        self.pending.sort_by_key(|(at, _)| *at);
        for (at, said) in std::mem::take(&mut self.pending) {
            let at = at.saturating_duration_since(self.began);
            match said {
                Said::Step(side, mark) => {
                    let since = format!("+{:.2}", millis(at.saturating_sub(self.last)));
                    self.last = at;
                    self.head(out, at, Some(side), steps::label(mark), &since)?;
                    // What is the same for both sides is explained once.
                    let sentence = steps::sentence(side, mark, self.ice);
                    if self.explained.insert(sentence) {
                        out.wrapped(INDENT, DIM, sentence)?;
                    }
                }
                Said::Connection(side, ConnectionState::Disconnected) => {
                    self.head(out, at, Some(side), "disconnected", "")?;
                    out.wrapped(
                        INDENT,
                        DIM,
                        "The other side is not heard from. This may heal by itself.",
                    )?;
                }
                // The steps tell the rest.
                Said::Connection(..) => {}
                Said::Text(side, text, rtt) => {
                    let text = format!("`{text}` came back after {:.2} ms", millis(rtt));
                    let side = paint(style_of(side), column(side));
                    out.line(format!("{:>9.2}  {side}{text}", millis(at)))?;
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "it is the narrator who speaks")]
    fn head(
        &self,
        out: &mut Out,
        at: Duration,
        side: Option<Side>,
        what: &str,
        since: &str,
    ) -> io::Result<()> {
        let who = side.map_or(format!("{:21}", "both"), |side| {
            paint(style_of(side), column(side))
        });
        if since.is_empty() {
            return out.line(format!("{:>9.2}  {who}{}", millis(at), paint(BOLD, what)));
        }
        let what = paint(BOLD, format!("{what:<24}"));
        let since = paint(DIM, format!("{since:>8}"));
        out.line(format!("{:>9.2}  {who}{what}{since}", millis(at)))
    }
}

/// The two sides in two columns.
fn column(side: Side) -> String {
    match side {
        Side::Offerer => format!("{:<21}", "offerer"),
        Side::Answerer => format!("{:<21}", "          answerer"),
    }
}

/// The next event; none at all where nobody listens.
async fn next(events: &mut Option<PairEvents>) -> Option<PairEvent> {
    match events {
        Some(events) => events.next().await,
        None => None,
    }
}
