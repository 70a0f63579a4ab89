//! A second host on this machine: sockets in another network namespace, at the other end of a veth pair. Packets then
//! go through a network card's queue, where a batch that GSO sends is cut, and not only through loopback, where it
//! never is.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use visavis_core::{
    RealNet,
    net::{Net, UdpSocket},
};

/// The offerer's address, in the namespace of the process, and the answerer's.
pub const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];

/// A network whose sockets are in the namespace of this name, as `ip netns` keeps it.
#[derive(Debug)]
pub(crate) struct Namespace(String);

impl Namespace {
    /// The network of a namespace.
    pub(crate) fn shared(name: &str) -> Arc<dyn Net> {
        Arc::new(Self(name.to_owned()))
    }
}

impl Net for Namespace {
    fn interfaces(&self) -> io::Result<Vec<IpAddr>> {
        Ok(vec![ADDRESSES[1].into()])
    }

    fn bind(&self, addr: SocketAddr) -> io::Result<Arc<dyn UdpSocket>> {
        RealNet.adopt(bind(&self.0, addr)?)
    }
}

/// A socket stays in the namespace in which it was made; a thread can go there to make it.
#[cfg(target_os = "linux")]
fn bind(namespace: &str, addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::{fs::File, os::fd::AsFd, thread};
    let file = File::open(format!("/run/netns/{namespace}"))?;
    let made = thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        std::net::UdpSocket::bind(addr)
    });
    made.join()
        .map_err(|_| io::Error::other("the thread that binds panicked"))?
}

#[cfg(not(target_os = "linux"))]
fn bind(namespace: &str, _: SocketAddr) -> io::Result<std::net::UdpSocket> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("the network namespace {namespace} needs Linux"),
    ))
}
