//! Options of `visavis completions` and `visavis man`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

/// Options of `visavis completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell that is to complete
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Options of `visavis man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write every page into this directory, and say which
    ///
    /// visavis.1 and one page a command, visavis-call.1 and so on. The directory is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
