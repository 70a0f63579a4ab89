//! Options of `visavis sdp`.

use super::{Verbosity, stacks};
use crate::backends;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use visavis_core::MediaKind;

/// Options of `visavis sdp`.
#[derive(Debug, Args)]
pub(crate) struct SdpArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SdpCommand>,
    /// The stack that writes it
    #[arg(long, value_name = "STACK", value_parser = stacks(), default_value = backends::default_name())]
    pub(crate) backend: String,
    #[command(flatten)]
    pub(crate) intent: IntentArgs,
    /// Answer the offer in this file, - being standard input; implies --answer
    #[arg(long, value_name = "FILE")]
    pub(crate) offer: Option<PathBuf>,
    /// Print it as it is, nothing masked
    #[arg(long)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// What can be done with descriptions.
#[derive(Debug, Subcommand)]
pub(crate) enum SdpCommand {
    /// Compare what two stacks write for the same intent
    ///
    /// The descriptions are aligned by m-line; inside an m-line the attributes are sorted by kind, for their
    /// order means nothing (RFC 8866), and what changes from run to run is masked. Lines with - are the first
    /// stack's alone, lines with + the second's.
    #[command(
        after_help = "Examples:\n  visavis sdp diff\n  visavis sdp diff str0m webrtc-rs --want data\n  \
                            visavis sdp diff --answer --exit-code   exits 1 if the answers differ"
    )]
    Diff(DiffArgs),
}

/// Options of `visavis sdp diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The one stack [default: the first of this build]
    #[arg(requires = "b", value_parser = stacks())]
    pub(crate) a: Option<String>,
    /// The other stack [default: the second of this build]
    #[arg(value_parser = stacks())]
    pub(crate) b: Option<String>,
    #[command(flatten)]
    pub(crate) intent: IntentArgs,
    /// Exit with 1 if they differ, with 0 if they are the same
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}

/// What a description is asked to be for.
#[derive(Debug, Args)]
pub(crate) struct IntentArgs {
    /// Write an answer to the stack's own offer in place of an offer
    #[arg(long)]
    pub(crate) answer: bool,
    /// What the peer wants: any of data, audio and video
    #[arg(long, value_enum, value_delimiter = ',', default_value = "data,audio,video")]
    pub(crate) want: Vec<Want>,
}

/// An m-line to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Want {
    /// A data channel
    Data,
    /// Sound, both ways
    Audio,
    /// Pictures, both ways
    Video,
}

impl Want {
    /// The m-line's kind.
    pub(crate) fn kind(self) -> MediaKind {
        match self {
            Self::Data => MediaKind::Application,
            Self::Audio => MediaKind::Audio,
            Self::Video => MediaKind::Video,
        }
    }
}
