//! The mDNS daemon: a thread of `mdns-sd`.

use super::{DEADLINE, Lookup};
use async_trait::async_trait;
use mdns_sd::{HostnameResolutionEvent as Event, Receiver, ScopedIp, ServiceDaemon};
use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// Starts the daemon at the first lookup and stops it when dropped.
#[derive(Default)]
pub(super) struct Daemon {
    running: Mutex<Option<ServiceDaemon>>,
}

#[async_trait]
impl Lookup for Daemon {
    async fn lookup(&self, name: &str) -> Option<IpAddr> {
        let search = match self.search(name) {
            Ok(search) => search,
            Err(error) => {
                tracing::warn!(%error, "mDNS names cannot be looked up");
                return None;
            }
        };
        loop {
            match search.events.recv_async().await.ok()? {
                Event::AddressesFound(_, addresses) => {
                    let address = best(addresses.iter().map(ScopedIp::to_ip_addr));
                    if address.is_some() {
                        return address;
                    }
                }
                Event::SearchTimeout(_) | Event::SearchStopped(_) => return None,
                _ => {}
            }
        }
    }
}

impl Daemon {
    fn search(&self, name: &str) -> mdns_sd::Result<Search> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let daemon = match &*running {
            Some(daemon) => daemon.clone(),
            None => running.insert(ServiceDaemon::new()?).clone(),
        };
        let host = format!("{name}.");
        let timeout = u64::try_from(DEADLINE.as_millis()).ok();
        match daemon.resolve_hostname(&host, timeout) {
            Ok(events) => Ok(Search { daemon, host, events }),
            Err(error) => {
                // Its thread is gone: the next lookup starts another.
                if matches!(error, mdns_sd::Error::DaemonShutdown) {
                    *running = None;
                }
                Err(error)
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(daemon) = running.take() {
            let _ = daemon.shutdown();
        }
    }
}

/// A search under way; dropped, the daemon asks no more.
struct Search {
    daemon: ServiceDaemon,
    host: String,
    events: Receiver<Event>,
}

impl Drop for Search {
    fn drop(&mut self) {
        let _ = self.daemon.stop_resolve_hostname(&self.host);
    }
}

/// IPv4 before IPv6, which fewer hosts have. A link-local address is of no use without its scope, for which a candidate
/// has no place.
fn best(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses
        .filter(|address| !matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_address_that_can_be_sent_to() {
        let all: Vec<IpAddr> = ["fe80::1", "fd00::1", "192.0.2.1"]
            .map(|a| a.parse().unwrap())
            .into();
        assert_eq!(best(all.iter().copied()), Some(all[2]));
        assert_eq!(best(all[..2].iter().copied()), Some(all[1]));
        assert_eq!(best(all[..1].iter().copied()), None);
    }
}
