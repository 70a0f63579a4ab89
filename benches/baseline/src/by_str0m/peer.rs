//! The task that owns a peer.

use super::{wire::Wire, work::Work};
use crate::{Error, Variant, error::At};
use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};
use str0m::{
    Candidate, Event, Input, Output, Rtc,
    channel::ChannelId,
    net::{Protocol, Receive},
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::{JoinHandle, consume_budget},
    time::{Instant, sleep_until},
};
use visavis_core::Net;

/// str0m may ask for time to pass at once, again and again. After so many in a row it must wait.
const IMMEDIATE_TIMEOUTS: usize = 8;

/// For so long.
const PAUSE: Duration = Duration::from_millis(1);

/// Further than any timer; Tokio's have a limit and str0m's "never" is 100 years.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A peer.
pub(super) struct Peer {
    pub(super) rtc: Rtc,
    wire: Wire,
    variant: Variant,
    channel: Option<ChannelId>,
    /// Until the channel is open.
    opened: Option<oneshot::Sender<Instant>>,
    work: Work,
    /// When the present work first wrote something, and where to say that it is done.
    first: Option<Instant>,
    done: Option<oneshot::Sender<Done>>,
}

/// When work was begun and done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) first: Instant,
    pub(super) last: Instant,
}

struct Order {
    work: Work,
    given: oneshot::Sender<()>,
    done: oneshot::Sender<Done>,
}

impl Peer {
    /// Binds, and makes the one candidate known to `rtc`.
    pub(super) fn new(
        mut rtc: Rtc,
        net: &dyn Net,
        address: SocketAddr,
        variant: Variant,
    ) -> Result<Self, Error> {
        let wire = Wire::new(net.bind(address).at("bind")?, variant).at("bind")?;
        rtc.add_local_candidate(Candidate::host(wire.local(), "udp").at("candidate")?);
        Ok(Self {
            rtc,
            wire,
            variant,
            channel: None,
            opened: None,
            work: Work::Nothing,
            first: None,
            done: None,
        })
    }

    /// Spawns the peer's task.
    pub(super) fn start(mut self) -> Handle {
        let (orders, inbox) = mpsc::channel(1);
        let (opened, is_open) = oneshot::channel();
        self.opened = Some(opened);
        Handle {
            orders,
            is_open: Some(is_open),
            task: tokio::spawn(self.run(inbox)),
        }
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) -> Result<(), Error> {
        if self.variant == Variant::Tuned {
            // Otherwise a pair is first checked at the next tick, up to 50 ms later: once for the credentials, and
            // once for the pair.
            for _ in 0..2 {
                self.input(Input::Timeout(Instant::now().into_std()))?;
                self.drain().await?;
            }
        }
        let mut immediate = 0;
        loop {
            let wake = self.drain().await?;
            let now = Instant::now();
            if wake <= now && immediate < IMMEDIATE_TIMEOUTS {
                immediate += 1;
                self.input(Input::Timeout(now.into_std()))?;
                continue;
            }
            if self.turn()? {
                immediate = 0;
                continue;
            }
            self.wire.flush().await.at("send")?;
            // Sockets in memory take nothing from the task's budget, and the other peer may share this thread.
            consume_budget().await;
            let wake = if wake <= now {
                now + PAUSE
            } else {
                wake.min(now + NEVER)
            };
            tokio::select! {
                // For exact runs. None is starved: the loop looks for room and for the time by itself.
                biased;
                order = inbox.recv() => match order {
                    Some(order) => self.take(order),
                    None => return self.say_goodbye().await,
                },
                read = self.wire.recv() => {
                    read.at("receive")?;
                    self.receive().await?;
                }
                () = room(self.work.room()) => self.work.take_room(),
                () = sleep_until(wake) => self.input(Input::Timeout(Instant::now().into_std()))?,
            }
            immediate = 0;
        }
    }

    /// Polls until there is nothing but to wait until the time that it returns.
    async fn drain(&mut self) -> Result<Instant, Error> {
        loop {
            match self.rtc.poll_output().at("poll")? {
                Output::Timeout(wake) => return Ok(Instant::from_std(wake)),
                Output::Transmit(transmit) => {
                    self.wire.push(transmit);
                    if self.wire.is_full() {
                        self.wire.flush().await.at("send")?;
                    }
                }
                Output::Event(event) => self.handle(event)?,
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Error> {
        if let Event::ChannelOpen(id, _) = event {
            self.channel = Some(id);
            if let Some(opened) = self.opened.take() {
                // Nobody waits for it if the other side has failed.
                let _ = opened.send(Instant::now());
            }
            return Ok(());
        }
        self.work.handle(event)?;
        self.report();
        Ok(())
    }

    /// One thing that the application does. Returns whether it did: then `rtc` must be drained again.
    fn turn(&mut self) -> Result<bool, Error> {
        let now = Instant::now();
        let wrote = self.work.turn(&mut self.rtc, self.channel, now)?;
        if wrote {
            self.first.get_or_insert(now);
        }
        self.report();
        Ok(wrote)
    }

    fn report(&mut self) {
        if self.work.is_done() {
            self.work = Work::Nothing;
            let last = Instant::now();
            let first = self.first.take().unwrap_or(last);
            if let Some(done) = self.done.take() {
                let _ = done.send(Done { first, last });
            }
        }
    }

    fn take(&mut self, order: Order) {
        self.work = order.work;
        self.first = None;
        self.done = Some(order.done);
        let _ = order.given.send(());
        self.report();
    }

    async fn receive(&mut self) -> Result<(), Error> {
        let now = Instant::now().into_std();
        // Moved out, for draining sends.
        let received = self.wire.take();
        for (source, datagram) in received.datagrams() {
            let receive = Receive::new(Protocol::Udp, source, self.wire.local(), datagram).at("receive")?;
            self.input(Input::Receive(now, receive))?;
            self.drain().await?;
        }
        self.wire.put(received);
        Ok(())
    }

    fn input(&mut self, input: Input<'_>) -> Result<(), Error> {
        self.rtc.handle_input(input).at("input")
    }

    async fn say_goodbye(&mut self) -> Result<(), Error> {
        // The other side may have been faster.
        if self.rtc.is_alive() {
            self.rtc.close().at("close")?;
            self.drain().await?;
            self.wire.flush().await.at("close")?;
        }
        Ok(())
    }
}

/// Waits until another frame may be under way; for ever if none is to be sent.
async fn room(room: Option<Arc<Semaphore>>) {
    match room {
        // It is never closed.
        Some(room) => {
            if let Ok(permit) = room.acquire().await {
                permit.forget();
            }
        }
        None => pending().await,
    }
}

/// A peer whose task runs.
#[derive(Debug)]
pub(super) struct Handle {
    orders: mpsc::Sender<Order>,
    is_open: Option<oneshot::Receiver<Instant>>,
    task: JoinHandle<Result<(), Error>>,
}

impl Handle {
    /// Waits for the data channel; once.
    pub(super) async fn opened(&mut self) -> Result<Instant, Error> {
        let step = "open the data channel";
        let is_open = self.is_open.take().ok_or(Error::Ended(step))?;
        match is_open.await {
            Ok(at) => Ok(at),
            Err(_) => Err(self.failure(step).await),
        }
    }

    /// Gives the peer work, and waits until it has taken it.
    pub(super) async fn give(
        &mut self,
        step: &'static str,
        work: Work,
    ) -> Result<oneshot::Receiver<Done>, Error> {
        let (given, is_given) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let sent = self.orders.send(Order { work, given, done }).await;
        if sent.is_err() || is_given.await.is_err() {
            return Err(self.failure(step).await);
        }
        Ok(is_done)
    }

    /// Waits until work is done.
    pub(super) async fn done(
        &mut self,
        step: &'static str,
        done: oneshot::Receiver<Done>,
    ) -> Result<Done, Error> {
        match done.await {
            Ok(done) => Ok(done),
            Err(_) => Err(self.failure(step).await),
        }
    }

    /// Closes the peer.
    pub(super) async fn close(self) -> Result<(), Error> {
        drop(self.orders);
        self.task.await.at("close")?
    }

    /// Why the task has ended.
    async fn failure(&mut self, step: &'static str) -> Error {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            _ => Error::Ended(step),
        }
    }
}
