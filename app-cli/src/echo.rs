//! `visavis echo`: answers offers over HTTP, and sends everything back to whoever called.

mod caller;
mod callers;
mod channel;
mod negotiation;
mod offer;
mod refusal;
mod server;
mod stats;
#[cfg(test)]
mod tests;
mod track;

use crate::{
    args::EchoArgs,
    backends,
    out::{Out, note},
    signals::Interrupt,
};
use callers::Callers;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use std::{
    io::{self, IsTerminal},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use visavis_core::{Backend, PeerConfig, RealNet, net::bind_addresses};
use visavis_signaling::mdns::Resolver;

/// How long callers and their HTTP requests have to end, when the program is to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// An answer that takes longer than this is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What all callers and all requests share.
#[derive(Debug)]
struct Echo {
    backend: Arc<dyn Backend>,
    /// How each caller's peer connection is set up.
    peer: PeerConfig,
    answer_timeout: Duration,
    allow_quit: bool,
    /// Whether a line a caller goes to standard error, beside the log.
    tell: bool,
    began: Instant,
    callers: Callers,
    /// Finds the addresses that browsers hide behind names.
    names: Resolver,
    /// Whether it is over, for the callers and for HTTP.
    over: watch::Sender<bool>,
    /// Whether somebody asked for the end by HTTP.
    quit: watch::Sender<bool>,
}

impl Echo {
    fn new(backend: Arc<dyn Backend>, peer: PeerConfig, max_callers: usize) -> Self {
        Self {
            backend,
            peer,
            answer_timeout: ANSWER_TIMEOUT,
            allow_quit: false,
            tell: false,
            began: Instant::now(),
            callers: Callers::new(max_callers),
            names: Resolver::new(),
            over: watch::Sender::new(false),
            quit: watch::Sender::new(false),
        }
    }

    /// A line about a caller.
    fn tell(&self, id: u64, what: &str) {
        tracing::info!(caller = id, "{what}");
        if self.tell {
            note(format!("caller {id}: {what}"));
        }
    }
}

/// The line that says that calls are taken.
#[derive(Debug, Serialize)]
struct Ready {
    listening: String,
    backend: &'static str,
}

/// Answers calls until a signal or `POST /quit`; the exit code.
pub(crate) async fn run(args: &EchoArgs, out: &mut Out) -> io::Result<u8> {
    let backend = backends::find(&args.backend)
        .ok_or_else(|| io::Error::other(format!("there is no stack {}", args.backend)))?;
    let interrupt = Interrupt::with(
        || note("ending all calls; once more ends the program at once"),
        || {},
    )?;
    allow_open_files();
    let listening = server::Listening::bind(SocketAddr::new(args.listen, args.port)).await?;
    let echo = Arc::new(Echo {
        allow_quit: args.allow_quit,
        // A log on the terminal says the same.
        tell: io::stderr().is_terminal() && args.verbosity.level == 0,
        ..Echo::new(backend, peer_config(args), args.max_callers as usize)
    });
    out.json(&Ready {
        listening: listening.url(),
        backend: echo.backend.name(),
    })?;
    let mut server = tokio::spawn(listening.serve(Arc::clone(&echo)));
    let mut quit = echo.quit.subscribe();
    let code = tokio::select! {
        () = interrupt.wait() => interrupt.code().unwrap_or(0),
        _ = quit.wait_for(|quit| *quit) => 0,
        ended = &mut server => {
            let why = ended.err().map_or_else(|| "it ended by itself".to_owned(), |error| error.to_string());
            return Err(io::Error::other(format!("HTTP is served no more: {why}")));
        }
    };
    echo.over.send_replace(true);
    let all = async { tokio::join!(server, echo.callers.none_left()) };
    if timeout(GOODBYE, all).await.is_err() {
        tracing::warn!("some calls did not end within {GOODBYE:?}");
    }
    Ok(code)
}

/// How each caller's peer connection is set up.
fn peer_config(args: &EchoArgs) -> PeerConfig {
    // Most of the silence is for a call to heal in; half of a short one, for checks need their time.
    let disconnected_after = (args.silence / 2).min(Duration::from_secs(5));
    PeerConfig {
        bind: media_addresses(args.listen),
        disconnected_after,
        failed_after: args.silence.saturating_sub(disconnected_after),
        connect_timeout: args.connect_timeout,
        ..PeerConfig::default()
    }
}

/// Where calls bind, when HTTP is at `listen`: there, or on every interface. A machine that has none but loopback can
/// at least be called by itself.
fn media_addresses(listen: IpAddr) -> Vec<SocketAddr> {
    let any: &[IpAddr] = match listen {
        // Who listens on :: is called over IPv4 as well.
        IpAddr::V6(ip) if ip.is_unspecified() => &[
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ],
        ip => &[ip],
    };
    let wanted: Vec<_> = any.iter().map(|ip| SocketAddr::new(*ip, 0)).collect();
    if listen.is_unspecified() && bind_addresses(&RealNet, &wanted).is_err() {
        tracing::warn!("no interface is up but loopback, so only this machine can call");
        return PeerConfig::loopback().bind;
    }
    wanted
}

/// Each caller has sockets, and shells allow few.
fn allow_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files (RLIMIT_NOFILE) stays at {current:?}");
        }
    }
}
