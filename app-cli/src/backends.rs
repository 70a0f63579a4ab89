//! The stacks in this build (the only file that names any), and `visavis backends`.

use crate::{args::BackendsArgs, out::Out};
use serde::Serialize;
use std::{io, sync::Arc};
use visavis_bench::lab::{Lab, Settings};
use visavis_core::{Backend, Capabilities};

#[cfg(not(any(feature = "str0m", feature = "webrtc-rs")))]
compile_error!("a build needs a stack: --features str0m or --features webrtc-rs, or both");

/// The stacks in this build, the default first.
pub(crate) fn all() -> Vec<Arc<dyn Backend>> {
    vec![
        #[cfg(feature = "str0m")]
        Arc::new(visavis_str0m::Str0m::new()),
        #[cfg(feature = "webrtc-rs")]
        Arc::new(visavis_webrtc_rs::WebrtcRs::new()),
    ]
}

/// Their names, the default first. Kept beside [`all`] so that `--help` makes no stack.
pub(crate) fn names() -> &'static [&'static str] {
    &[
        #[cfg(feature = "str0m")]
        "str0m",
        #[cfg(feature = "webrtc-rs")]
        "webrtc-rs",
    ]
}

/// The name of the stack that is used when none is asked for.
pub(crate) fn default_name() -> &'static str {
    names()[0]
}

/// The stack of that name.
pub(crate) fn find(name: &str) -> Option<Arc<dyn Backend>> {
    let index = names().iter().position(|n| *n == name)?;
    all().into_iter().nth(index)
}

/// The stacks for `visavis bench`.
pub(crate) fn lab() -> Lab {
    Lab {
        names: names(),
        stack,
    }
}

/// The stack of that name with these settings.
fn stack(name: &str, settings: Settings) -> Option<Arc<dyn Backend>> {
    let stack: visavis_core::Result<Arc<dyn Backend>> = match name {
        #[cfg(feature = "str0m")]
        "str0m" => set!(visavis_str0m::Str0m::new(), settings),
        #[cfg(feature = "webrtc-rs")]
        "webrtc-rs" => set!(visavis_webrtc_rs::WebrtcRs::new(), settings),
        _ => return None,
    };
    // The settings are of this program, and every stack has them.
    Some(stack.expect("settings that the stack takes"))
}

/// A backend with [`Settings`]: the builders have the same setters, but no trait.
macro_rules! set {
    ($stack:expr, $settings:expr) => {{
        let stack = $stack.with_certificate_ahead($settings.certificates_ahead);
        match $settings.equal {
            None => Ok(Arc::new(stack) as Arc<dyn Backend>),
            Some(equal) => stack
                .with_srtp_profiles(&[equal.srtp_profile])
                .and_then(|stack| stack.with_key_exchange(&[equal.key_exchange]))
                .and_then(|stack| stack.with_rtp_packet_size(equal.rtp_packet_size))
                .map(|stack| Arc::new(stack) as Arc<dyn Backend>),
        }
    }};
}
use set;

/// `visavis backends`.
pub(crate) fn run(args: &BackendsArgs, out: &mut Out) -> io::Result<()> {
    let backends = all();
    if args.json {
        return out.json(&Listing::new(&backends));
    }
    for line in table(&backends) {
        out.line(line)?;
    }
    out.line("")?;
    out.line(format!(
        "The default is {}. A build can leave a stack out, or have both:",
        default_name()
    ))?;
    out.line("  cargo build --release -p visavis --no-default-features --features str0m")?;
    out.line("  cargo build --release -p visavis --features str0m,webrtc-rs")
}

/// The JSON form.
#[derive(Debug, Serialize)]
struct Listing {
    schema_version: u32,
    backends: Vec<Listed>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: &'static str,
    default: bool,
    capabilities: Capabilities,
}

impl Listing {
    fn new(backends: &[Arc<dyn Backend>]) -> Self {
        let listed = |backend: &Arc<dyn Backend>| Listed {
            name: backend.name(),
            default: backend.name() == default_name(),
            capabilities: backend.capabilities(),
        };
        Self {
            schema_version: 1,
            backends: backends.iter().map(listed).collect(),
        }
    }
}

/// The aligned lines: a row a capability, a column a stack.
fn table(backends: &[Arc<dyn Backend>]) -> Vec<String> {
    let columns: Vec<_> = backends.iter().map(|b| rows(b.capabilities())).collect();
    let labels = rows_width(columns.iter().flatten().map(|(label, _)| label.len()));
    let cells = |index: usize| columns.iter().map(move |rows| rows[index].1.clone());
    let mut lines = vec![line("", labels, backends.iter().map(|b| b.name().to_owned()))];
    for (index, (label, _)) in columns.first().into_iter().flatten().enumerate() {
        lines.push(line(label, labels, cells(index)));
    }
    lines
}

fn rows_width(widths: impl Iterator<Item = usize>) -> usize {
    widths.max().unwrap_or(0)
}

fn line(label: &str, width: usize, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.map(|cell| format!("  {cell:<12}")).collect();
    format!("{label:<width$}{}", cells.concat()).trim_end().to_owned()
}

/// Every capability in words. Taken apart field by field, so that a new one cannot be forgotten here.
fn rows(capabilities: Capabilities) -> Vec<(&'static str, String)> {
    let Capabilities {
        dtls,
        trickle_ice,
        ice_restart,
        ipv6,
        tcp_candidates,
        ice_servers,
        rollback_local_offer,
        rollback_after_answer,
        pranswer,
        partial_reliability,
        negotiated_channels,
        max_message_size,
        receive_back_pressure,
        udp_segmentation,
        rtt_stats,
        retransmission_stats,
        bandwidth_estimation,
    } = capabilities;
    let yes = |is: bool| if is { "yes" } else { "-" }.to_owned();
    vec![
        ("DTLS versions", dtls.join(", ")),
        ("trickle ICE", yes(trickle_ice)),
        ("ICE restart", yes(ice_restart)),
        ("IPv6 host candidates", yes(ipv6)),
        ("TCP candidates", yes(tcp_candidates)),
        ("STUN and TURN servers", yes(ice_servers)),
        ("rollback of a local offer", yes(rollback_local_offer)),
        ("rollback after create_answer", yes(rollback_after_answer)),
        ("provisional answers", yes(pranswer)),
        ("channels that give up on a message", yes(partial_reliability)),
        ("channels with an agreed stream id", yes(negotiated_channels)),
        ("largest message", format!("{} KiB", max_message_size / 1024)),
        ("back-pressure from a slow reader", yes(receive_back_pressure)),
        ("several datagrams a system call", yes(udp_segmentation)),
        ("round-trip time in the stats", yes(rtt_stats)),
        ("retransmissions in the stats", yes(retransmission_stats)),
        ("bandwidth estimated from", bandwidth_estimation.join(", ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_stacks() {
        let made: Vec<_> = all().iter().map(|b| b.name()).collect();
        assert_eq!(made, names());
        assert!(find("nothing").is_none());
    }
}
