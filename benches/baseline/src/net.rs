//! Where peers bind.

use crate::{Error, error::At};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use visavis_core::Net;

/// Loopback where there is one, and otherwise the network's first interface: a simulated host may have its own only.
pub(crate) fn address(net: &dyn Net) -> Result<SocketAddr, Error> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    if net.bind(loopback).is_ok() {
        return Ok(loopback);
    }
    let first = net.interfaces().at("interfaces")?.into_iter().next();
    let ip: IpAddr = first.ok_or("the network has no address").at("interfaces")?;
    Ok(SocketAddr::new(ip, 0))
}

/// Whether the sockets of a network are the machine's: then nothing else can bind where one of them is bound.
#[cfg(feature = "webrtc-rs")]
pub(crate) fn is_real(net: &dyn Net, address: SocketAddr) -> Result<bool, Error> {
    let socket = net.bind(address).at("bind")?;
    let bound = socket.local_addr().at("bind")?;
    Ok(std::net::UdpSocket::bind(bound).is_err())
}
