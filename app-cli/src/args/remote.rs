//! Options of `visavis offer` and `visavis answer`.

use super::{
    Verbosity,
    call::{bind, duration},
    media::SideMediaArgs,
    stacks,
};
use clap::Args;
use std::{net::SocketAddr, time::Duration};

/// Options of `visavis offer`.
#[derive(Debug, Args)]
pub(crate) struct OfferArgs {
    #[command(flatten)]
    pub(crate) common: RemoteArgs,

    /// Also take pictures and sound of the other side
    #[arg(long, help_heading = "Media")]
    pub(crate) both_ways: bool,

    /// How long the call lasts once it is up
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s", help_heading = "Length")]
    pub(crate) duration: Duration,

    /// How long connecting may take once the answer is here
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s", help_heading = "Network")]
    pub(crate) timeout: Duration,
}

/// Options of `visavis answer`.
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    pub(crate) common: RemoteArgs,

    /// How long the other side may take to connect once the answer is printed: somebody has to copy it
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m", help_heading = "Network")]
    pub(crate) timeout: Duration,
}

/// What both have.
#[derive(Debug, Args)]
pub(crate) struct RemoteArgs {
    /// This side's stack; the first one listed is the default
    #[arg(long, value_name = "STACK", value_parser = stacks())]
    pub(crate) backend: Option<String>,

    #[command(flatten)]
    pub(crate) media: SideMediaArgs,

    /// Where to bind: IP or IP:PORT, repeatable [default: 127.0.0.1]
    ///
    /// 127.0.0.1 is enough for two terminals of one machine. For two machines name an address that the other one can
    /// reach, or 0.0.0.0 and :: for every interface of their family.
    #[arg(long, value_name = "ADDR", value_parser = bind, help_heading = "Network")]
    pub(crate) bind: Vec<SocketAddr>,

    /// Print base64 in place of JSON, which chats and mail leave alone
    ///
    /// What is pasted may be either, whatever is printed.
    #[arg(long, help_heading = "Output")]
    pub(crate) base64: bool,

    /// Print the report as one JSON object, a second line after the description
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
}
