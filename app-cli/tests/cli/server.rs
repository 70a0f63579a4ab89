//! `visavis echo` in a process of its own.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout},
};

/// A running `visavis echo`; killed when it is dropped.
pub(super) struct Server {
    pub(super) child: Child,
    address: SocketAddr,
    // Open for as long as it runs.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it on a free port and waits until it listens.
    pub(super) fn start(args: &str) -> Self {
        let mut child = crate::visavis(&format!("echo --port 0 {args}"))
            .stderr(std::process::Stdio::inherit())
            .spawn()
            .expect("visavis runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("a line of JSON");
        let url = ready["listening"].as_str().expect("where it listens");
        let mut address: SocketAddr = url
            .strip_prefix("http://")
            .expect("a URL")
            .parse()
            .expect("an address");
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        Self {
            child,
            address,
            _stdout: stdout,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
