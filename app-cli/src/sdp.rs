//! `visavis sdp`: what a stack writes for a stated intent, and where two stacks differ.

use crate::{
    args::{DiffArgs, IntentArgs, SdpArgs, SdpCommand, Want},
    backends,
    out::{BOLD, DIM, GREEN, Out, RED, paint},
};
use similar::{ChangeTag, TextDiff};
use std::{error::Error, fs, io, path::Path};
use visavis_core::{
    ChannelInit, Direction, MediaKind, PeerConfig, PeerConnection, RealNet, SessionDescription, sdp::mask,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Prints a description, or compares two; the exit code.
pub(crate) async fn run(args: &SdpArgs, out: &mut Out) -> Result<u8> {
    if let Some(SdpCommand::Diff(args)) = &args.command {
        return diff(args, out).await;
    }
    let sdp = match &args.offer {
        Some(path) => answer(&args.backend, &args.intent.want, read(path)?).await?,
        None => write(&args.backend, &args.intent).await?,
    };
    let sdp = if args.raw { sdp } else { mask(&sdp) };
    for line in sdp.lines() {
        out.line(line)?;
    }
    Ok(0)
}

fn read(path: &Path) -> Result<String> {
    let text = if path.as_os_str() == "-" {
        io::read_to_string(io::stdin().lock())
    } else {
        fs::read_to_string(path)
    };
    text.map_err(|error| format!("cannot read the offer in {}: {error}", path.display()).into())
}

/// What the stack of that name writes.
async fn write(stack: &str, intent: &IntentArgs) -> Result<String> {
    let offerer = peer(stack, &intent.want).await?;
    let offer = offerer.create_offer().await?.sdp;
    offerer.close().await;
    if intent.answer {
        answer(stack, &intent.want, offer).await
    } else {
        Ok(offer)
    }
}

/// What it answers to `offer`.
async fn answer(stack: &str, want: &[Want], offer: String) -> Result<String> {
    let answerer = peer(stack, want).await?;
    let offer = SessionDescription::offer(normalised(&offer));
    answerer.set_remote_description(offer).await?;
    let answer = answerer.create_answer().await?.sdp;
    answerer.close().await;
    Ok(answer)
}

/// Lines end in CR LF (RFC 8866 §5), which editors and shells do not keep.
fn normalised(sdp: &str) -> String {
    sdp.lines().flat_map(|line| [line.trim_end(), "\r\n"]).collect()
}

/// A peer that wants this, and sends nothing: it has no remote description that counts.
async fn peer(stack: &str, want: &[Want]) -> Result<PeerConnection> {
    let backend = backends::find(stack).ok_or_else(|| format!("there is no stack {stack} in this build"))?;
    let peer = PeerConnection::new(&*backend, PeerConfig::loopback(), RealNet::shared()).await?;
    for kind in want.iter().map(|want| want.kind()) {
        if kind == MediaKind::Application {
            peer.create_data_channel(ChannelInit::new("visavis")).await?;
        } else {
            peer.add_transceiver(kind, Direction::SendRecv).await?;
        }
    }
    Ok(peer)
}

/// Prints where two stacks differ.
async fn diff(args: &DiffArgs, out: &mut Out) -> Result<u8> {
    let (a, b) = match (&args.a, &args.b, backends::names()) {
        (Some(a), Some(b), _) => (a.as_str(), b.as_str()),
        (_, _, [a, b, ..]) => (*a, *b),
        (_, _, names) => {
            let have = names.join(", ");
            return Err(format!(
                "a comparison takes two stacks; this build has {have} (see `visavis backends`)"
            )
            .into());
        }
    };
    let (sdp_a, sdp_b) = (write(a, &args.intent).await?, write(b, &args.intent).await?);
    let differ = print_diff((a, &sdp_a), (b, &sdp_b), out)?;
    Ok(u8::from(differ && args.exit_code))
}

fn print_diff(a: (&str, &str), b: (&str, &str), out: &mut Out) -> io::Result<bool> {
    out.line(paint(RED, format!("--- {}", a.0)))?;
    out.line(paint(GREEN, format!("+++ {}", b.0)))?;
    let (a, b) = (sections(&mask(a.1)), sections(&mask(b.1)));
    let mut differ = false;
    for index in 0..a.len().max(b.len()) {
        let none = Section::default();
        let (a, b) = (a.get(index).unwrap_or(&none), b.get(index).unwrap_or(&none));
        let title = if a.title.is_empty() { &b.title } else { &a.title };
        out.line("")?;
        out.line(paint(BOLD, title))?;
        let [old, new] = [a, b].map(|s| s.lines.iter().map(String::as_str).collect::<Vec<_>>());
        for change in TextDiff::from_slices(&old, &new).iter_all_changes() {
            let (sign, style) = match change.tag() {
                ChangeTag::Equal => (' ', DIM),
                ChangeTag::Delete => ('-', RED),
                ChangeTag::Insert => ('+', GREEN),
            };
            differ |= style != DIM;
            out.line(paint(style, format!("{sign} {}", change.value())))?;
        }
    }
    Ok(differ)
}

/// The session's part of a description, or one m-line's.
#[derive(Debug, Default, PartialEq)]
struct Section {
    title: String,
    lines: Vec<String>,
}

/// The parts of a description, the attributes of each sorted by kind: their order means nothing.
fn sections(sdp: &str) -> Vec<Section> {
    let mut sections = vec![Section {
        title: "session".to_owned(),
        lines: Vec::new(),
    }];
    for line in sdp.lines() {
        if let Some(media) = line.strip_prefix("m=") {
            let kind = media.split(' ').next().unwrap_or_default();
            let index = sections.len() - 1;
            sections.push(Section {
                title: format!("m-line {index}: {kind}"),
                lines: Vec::new(),
            });
        }
        if let Some(section) = sections.last_mut() {
            section.lines.push(line.to_owned());
        }
    }
    for section in &mut sections {
        // Lines that are not attributes stay in their order, before those that are.
        section.lines.sort_by_cached_key(|line| attribute_key(line));
    }
    sections
}

/// The attribute's name, then what it is about if that is a number (a payload type, an extension).
fn attribute_key(line: &str) -> Option<(String, u64)> {
    let attribute = line.strip_prefix("a=")?;
    let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    Some((name.to_owned(), value[..digits].parse().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_sorted_inside_their_m_line() {
        let sdp =
            "v=0\ns=-\na=b\na=a\nm=audio 9 X 8 111\nc=IN\na=rtpmap:111 opus\na=mid:0\na=rtpmap:8 PCMA\n";
        let sections: Vec<_> = sections(sdp)
            .into_iter()
            .map(|s| (s.title, s.lines.join("|")))
            .collect();
        let expected = [
            ("session", "v=0|s=-|a=a|a=b"),
            (
                "m-line 0: audio",
                "m=audio 9 X 8 111|c=IN|a=mid:0|a=rtpmap:8 PCMA|a=rtpmap:111 opus",
            ),
        ];
        assert_eq!(sections, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }
}
