//! webrtc-rs's `Runtime` on Tokio's clock and core's `Net`, one for each peer.
//!
//! It is the seam at which the library is put on a simulated network and under virtual time, keeps count of its
//! tasks so that closing ends every one, and wakes its driver when that has something to do.

use crate::{
    convert,
    crew::Crew,
    socket::{Link, Socket, lock},
};
use std::{
    future::{Future, poll_fn},
    io::{self, IoSliceMut},
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool, atomic::Ordering::SeqCst},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
};
use tracing::{Instrument, Span};
use visavis_core::{
    EngineConfig, Net,
    net::{RecvMeta, Transmit, bind_addresses},
};
use webrtc::runtime::{AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A sleep of this length is for ICE's next tick, of which there are five a second whatever the settings. An idle peer needs
/// them only for its checks.
const LONG: Duration = Duration::from_millis(150);

/// The tasks of one peer.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    set: Mutex<JoinSet<()>>,
    ended: AtomicBool,
}

impl Tasks {
    /// Starts a task, unless the peer has ended.
    pub(crate) fn spawn(&self, span: &Span, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut set = lock(&self.set);
        // Reaped here, so that a long call which opens and closes channels does not pile them up.
        while set.try_join_next().is_some() {}
        let handle = set.spawn(task.instrument(span.clone()));
        if self.ended.load(SeqCst) {
            handle.abort();
        }
        handle
    }

    /// Aborts every task, and each one that is still to start.
    pub(crate) fn abort(&self) {
        self.ended.store(true, SeqCst);
        lock(&self.set).abort_all();
    }

    /// Aborts every task and waits until they are gone.
    pub(crate) async fn end(&self) {
        self.abort();
        let mut set = std::mem::take(&mut *lock(&self.set));
        while set.join_next().await.is_some() {}
    }
}

/// The runtime of one peer.
#[derive(Debug)]
pub(crate) struct PeerRuntime {
    link: Arc<Link>,
    tasks: Arc<Tasks>,
    crew: Arc<Crew>,
    addresses: Arc<BindAddresses>,
    /// How often ICE checks a connected pair, and after how long a silence it is disconnected.
    check: Duration,
    silence: Duration,
    span: Span,
    /// The task of the library's first future; only its sleeps are nudged.
    driver: Arc<OnceLock<tokio::task::Id>>,
    spawned: AtomicBool,
    stopped: Arc<Notify>,
}

impl PeerRuntime {
    pub(crate) fn new(
        link: Arc<Link>,
        tasks: Arc<Tasks>,
        crew: Arc<Crew>,
        addresses: Arc<BindAddresses>,
        config: &EngineConfig,
        span: Span,
    ) -> Self {
        Self {
            link,
            tasks,
            crew,
            addresses,
            check: convert::keepalive(config),
            silence: config.disconnected_after,
            span,
            driver: Arc::default(),
            spawned: AtomicBool::new(false),
            stopped: Arc::default(),
        }
    }

    /// Notified when the library's driver has ended by itself.
    pub(crate) fn driver_stopped(&self) -> Arc<Notify> {
        Arc::clone(&self.stopped)
    }

    fn is_driver(&self) -> bool {
        self.crew.is_driving()
            && self
                .driver
                .get()
                .is_some_and(|id| tokio::task::try_id() == Some(*id))
    }
}

#[derive(Debug)]
struct Handle(AbortHandle);

impl JoinHandle for Handle {
    fn detach(&self) {}

    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

struct Interval(tokio::time::Interval);

impl AsyncInterval for Interval {
    fn tick(&mut self) -> Boxed<'_, ()> {
        Box::pin(async move {
            self.0.tick().await;
        })
    }
}

impl Runtime for PeerRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        if self.spawned.swap(true, SeqCst) {
            return Box::new(Handle(self.tasks.spawn(&self.span, future)));
        }
        let (driver, stopped) = (Arc::clone(&self.driver), Arc::clone(&self.stopped));
        let members = self.crew.start(async move {
            future.await;
            stopped.notify_one();
        });
        let link = Arc::clone(&self.link);
        Box::new(Handle(self.tasks.spawn(&self.span, async move {
            let _ = driver.set(tokio::task::id());
            let flush = |cx: &mut Context<'_>| {
                link.flush(cx);
                link.is_turn_over()
            };
            members.run(flush).await;
        })))
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let addr = socket.local_addr()?;
        let adopted = match self.addresses.net.adopt(socket) {
            // Without a socket the library's driver ends. In an ICE restart a dead one will do: the next restart binds
            // anew.
            Err(error) if self.addresses.rebinds.load(SeqCst) => {
                tracing::warn!(%addr, %error, "the address is gone");
                Arc::new(Dead(addr)) as Arc<dyn visavis_core::UdpSocket>
            }
            adopted => adopted?,
        };
        Ok(Socket::new(adopted, &self.link))
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        Err(unsupported("TCP candidates"))
    }

    fn connect_tcp(&self, _: SocketAddr) -> Boxed<'_, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async { Err(unsupported("TCP candidates")) })
    }

    fn resolve_host<'a>(&'a self, _: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Err(unsupported("names of STUN and TURN servers")) })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        if !self.is_driver() {
            return Box::pin(tokio::time::sleep(duration));
        }
        if !self.link.driver_sleeps() {
            return Box::pin(tokio::task::yield_now());
        }
        if self.link.has_unsent() || self.crew.others_wait() {
            self.link.give_way();
        }
        let rest = (duration >= LONG).then(|| self.link.rest(self.check, self.silence));
        let duration = duration.max(rest.flatten().unwrap_or_default());
        let (link, timer) = (Arc::clone(&self.link), tokio::time::sleep(duration));
        Box::pin(async move {
            tokio::select! {
                biased;
                () = link.nudged() => {}
                () = timer => {}
            }
            // The driver takes one by lot of what is ready. What came at the same moment is to be first, each time.
            let mut is_first = true;
            poll_fn(|cx| {
                if std::mem::take(&mut is_first) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
        })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        Box::new(Interval(tokio::time::interval(period)))
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        // For `main` functions; the library itself does not call it. Without a runtime there is nothing to run.
        match tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
        {
            Ok(runtime) => runtime.block_on(future),
            Err(error) => tracing::error!(%error, "no runtime to block on"),
        }
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        Box::pin(tokio::task::yield_now())
    }

    fn name(&self) -> &'static str {
        "visavis"
    }
}

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{what} are not supported"))
}

/// What the library binds: the configured addresses, or the interfaces that there are at that moment.
#[derive(Debug)]
pub(crate) struct BindAddresses {
    net: Arc<dyn Net>,
    wanted: Vec<SocketAddr>,
    bound_once: AtomicBool,
    /// What is bound now is for an ICE restart.
    rebinds: AtomicBool,
    /// Where the next ICE restart binds, with what keeps the ports free until then.
    plan: Mutex<Vec<(SocketAddr, Option<UdpSocket>)>>,
}

impl BindAddresses {
    pub(crate) fn new(net: Arc<dyn Net>, wanted: Vec<SocketAddr>) -> Self {
        Self {
            net,
            wanted,
            bound_once: AtomicBool::new(false),
            rebinds: AtomicBool::new(false),
            plan: Mutex::default(),
        }
    }

    /// Decides where the next ICE restart binds, so that it can be told before it happens.
    pub(crate) fn plan(&self) -> Vec<SocketAddr> {
        let mut plan = Vec::new();
        for address in bind_addresses(&*self.net, &self.wanted).unwrap_or_default() {
            if address.port() != 0 {
                // The present socket's own; it is free when that is closed.
                plan.push((address, None));
            } else if let Ok(kept) = UdpSocket::bind(address)
                && let Ok(address) = kept.local_addr()
            {
                plan.push((address, Some(kept)));
            }
        }
        let addresses = plan.iter().map(|(address, _)| *address).collect();
        *lock(&self.plan) = plan;
        addresses
    }

    /// Forgets the plan.
    pub(crate) fn unplan(&self) {
        lock(&self.plan).clear();
    }

    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses = bind_addresses(&*self.net, &self.wanted);
        if !self.bound_once.swap(true, SeqCst) {
            return addresses;
        }
        self.rebinds.store(true, SeqCst);
        let planned = std::mem::take(&mut *lock(&self.plan));
        // A plan for another network than this is none. What is bound instead is learnt from its checks.
        let there = |planned: SocketAddr| {
            let mut addresses = addresses.iter().flatten();
            addresses.any(|address| address.ip() == planned.ip())
        };
        let planned: Vec<_> = planned
            .into_iter()
            .map(|(address, _)| address)
            .filter(|a| there(*a))
            .collect();
        if !planned.is_empty() {
            return Ok(planned);
        }
        // If there is nothing to bind, as between two networks, the library's driver ends and the
        // connection with it. Loopback keeps it alive until the next restart finds a network.
        let mut usable = addresses.unwrap_or_default();
        usable.retain(|address| UdpSocket::bind((address.ip(), 0)).is_ok());
        if usable.is_empty() {
            tracing::warn!("no address to bind for the ICE restart; restart again when there is a network");
            usable.push(SocketAddr::from(([127, 0, 0, 1], 0)));
        }
        Ok(usable)
    }
}

/// A socket at an address that is gone.
#[derive(Debug)]
struct Dead(SocketAddr);

impl visavis_core::UdpSocket for Dead {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0)
    }

    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.try_send(transmit))
    }

    fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::NetworkUnreachable))
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        _: &mut [IoSliceMut<'_>],
        _: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // Whoever reads it has other things to wait for.
        Poll::Pending
    }
}

/// The library's handle of them.
pub(crate) struct Bind(pub(crate) Arc<BindAddresses>);

impl ToSocketAddrs for Bind {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        self.0.resolve().map(Vec::into_iter)
    }
}
