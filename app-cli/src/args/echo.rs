//! Options of `visavis echo`.

use super::{Verbosity, call::duration, stacks};
use crate::backends;
use clap::Args;
use std::{net::IpAddr, time::Duration};

/// Options of `visavis echo`.
#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// The stack that answers
    #[arg(long, value_name = "STACK", value_parser = stacks(), default_value = backends::default_name())]
    pub(crate) backend: String,

    /// The IP address to listen on, for HTTP and for calls
    ///
    /// 127.0.0.1 and ::1 serve callers on this machine alone; 0.0.0.0 and :: mean every interface.
    #[arg(long, value_name = "IP", value_parser = listen, default_value = "127.0.0.1", help_heading = "Network")]
    pub(crate) listen: IpAddr,

    /// The TCP port for HTTP; 0 picks one. Calls use UDP ports of their own
    #[arg(long, value_name = "PORT", default_value_t = 8080, help_heading = "Network")]
    pub(crate) port: u16,

    /// How many callers there may be at once; more get 503
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Limits")]
    pub(crate) max_callers: u32,

    /// A caller who got an answer and is not connected after this long is given up
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s", help_heading = "Limits")]
    pub(crate) connect_timeout: Duration,

    /// A caller not heard from for this long is given up
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15s", help_heading = "Limits")]
    pub(crate) silence: Duration,

    /// Let POST /quit end the program, for scripts. It is refused to browsers (requests with an Origin)
    #[arg(long)]
    pub(crate) allow_quit: bool,

    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

fn listen(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse();
    address.map_err(|_| "write an IP address, such as 127.0.0.1, 0.0.0.0, ::1 or ::".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ip_addresses() {
        for (text, address) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("::", "::")] {
            assert_eq!(listen(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in ["", "localhost", "127.0.0.1:80", "[::1]:80", "[127.0.0.1"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
