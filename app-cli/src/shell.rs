//! `visavis completions` and `visavis man`: what shells and `man` know of the command line, written from it.

use crate::{
    args::{Cli, CompletionsArgs, ManArgs},
    out::Out,
};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::{
    fs,
    io::{self, Write},
};

/// `visavis completions`.
pub(crate) fn completions(args: &CompletionsArgs) -> io::Result<()> {
    let mut script = Vec::new();
    let command = &mut without_hidden(&Cli::command());
    clap_complete::generate(args.shell, command, "visavis", &mut script);
    io::stdout().write_all(&script)
}

/// `visavis man`.
pub(crate) fn man(args: &ManArgs, out: &mut Out) -> io::Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else {
        return io::stdout().write_all(page(command)?.1.as_bytes());
    };
    let mut pages = Vec::new();
    add_pages(command, &mut pages)?;
    let refused = |error: io::Error| {
        let text = format!("cannot write the pages into {}: {error}", dir.display());
        io::Error::new(error.kind(), text)
    };
    fs::create_dir_all(dir).map_err(refused)?;
    for (name, text) in pages {
        let path = dir.join(name);
        fs::write(&path, text).map_err(refused)?;
        out.line(path.display())?;
    }
    Ok(())
}

/// Adds the page of `command` and those of all its commands.
fn add_pages(command: Command, pages: &mut Vec<(String, String)>) -> io::Result<()> {
    let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
    let shown: Vec<_> = shown.cloned().collect();
    pages.push(page(command)?);
    shown
        .into_iter()
        .try_for_each(|command| add_pages(command, pages))
}

/// A page's file name and text.
fn page(command: Command) -> io::Result<(String, String)> {
    let man = Man::new(command);
    let mut text = Vec::new();
    man.render(&mut text)?;
    let text = String::from_utf8(text).map_err(io::Error::other)?;
    Ok((man.get_filename(), with_examples(&text)))
}

/// What follows a help text are examples here: pages have a heading for them, and their lines must stay as they are.
fn with_examples(page: &str) -> String {
    let Some((before, after)) = page.split_once(".SH EXTRA\nExamples:\n") else {
        return page.to_owned();
    };
    let end = after.find(".SH ").unwrap_or(after.len());
    let (examples, after) = after.split_at(end);
    format!("{before}.SH EXAMPLES\n.nf\n{}\n.fi\n{after}", examples.trim_end())
}

/// As much of `command` as completion needs: what is hidden would be offered otherwise.
fn without_hidden(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
    Command::new("visavis")
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments())
        .subcommands(shown.cloned())
}
