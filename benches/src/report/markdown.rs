//! A report as Markdown.

use super::{
    contents::{Contents, LEGEND, NO_PERCENTILE},
    tables::{Field, Table},
};
use crate::{
    compare::Comparison,
    results::Run,
    summary::{Summary, Verdict},
};
use std::fmt::{Result, Write};

/// The results as they stand in `docs/benchmarks.md`: sections of the second level.
pub fn markdown(run: &Run, summary: &Summary, comparison: Option<&Comparison>) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut out, &Contents::of(run, summary, comparison));
    out
}

fn write(out: &mut String, contents: &Contents) -> Result {
    writeln!(out, "## Machine, build and parameters\n")?;
    if !contents.doubts.is_empty() {
        writeln!(out, "**These figures should not be relied on:**\n")?;
        for doubt in &contents.doubts {
            writeln!(out, "- **{}**", escaped(doubt))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "| | |\n|---|---|")?;
    for (name, value) in &contents.facts {
        writeln!(out, "| {name} | {} |", escaped(value))?;
    }
    writeln!(out, "\n## What can be said\n")?;
    if let Some(overview) = &contents.overview {
        writeln!(out, "{}:\n", overview.caption)?;
        table(out, overview)?;
    }
    if !contents.clear {
        writeln!(out, "\nNo difference is clear of the noise.")?;
    }
    for section in contents
        .sections
        .iter()
        .filter(|section| !section.verdicts.is_empty())
    {
        writeln!(out, "\n**{}**\n", section.scenario.heading().0)?;
        sentences(out, &section.verdicts, "")?;
    }
    writeln!(out, "\n{LEGEND}\n\n{NO_PERCENTILE}")?;
    if let Some(compared) = &contents.comparison {
        writeln!(out, "\n## Against the earlier run\n")?;
        sentences(
            out,
            &compared.verdicts,
            "Nothing has changed that is clear of the noise.",
        )?;
        if !compared.notes.is_empty() {
            writeln!(out, "\nWhat else was different, and may be the cause:\n")?;
            sentences(out, &compared.notes, "")?;
        }
        if !compared.table.lines.is_empty() {
            writeln!(out)?;
            table(out, &compared.table)?;
        }
    }
    for section in &contents.sections {
        let (title, lead) = section.scenario.heading();
        writeln!(out, "\n## {title}\n\n{lead}")?;
        for part in &section.rows {
            writeln!(out, "\n### {}\n\n{}.", escaped(&part.title), part.effort)?;
            for numbers in &part.tables {
                writeln!(out)?;
                table(out, numbers)?;
            }
            writeln!(out)?;
            sentences(out, &part.notes, "")?;
        }
    }
    if let Some(negotiated) = &contents.negotiated {
        writeln!(out, "\n## What the peers agreed on\n\n{}.\n", negotiated.caption)?;
        table(out, negotiated)?;
    }
    Ok(())
}

fn sentences(out: &mut String, sentences: &[String], none: &str) -> Result {
    for sentence in sentences {
        writeln!(out, "- {}", escaped(sentence))?;
    }
    if sentences.is_empty() && !none.is_empty() {
        writeln!(out, "{none}")?;
    }
    Ok(())
}

fn table(out: &mut String, table: &Table) -> Result {
    let header: Vec<String> = table.header.iter().map(|name| escaped(name)).collect();
    writeln!(out, "| {} |", header.join(" | "))?;
    let columns = 0..header.len();
    let rule = |column| if table.has_words(column) { "---" } else { "---:" };
    let rules: Vec<&str> = columns.map(rule).collect();
    writeln!(out, "|{}|", rules.join("|"))?;
    for line in &table.lines {
        let fields: Vec<String> = line.iter().map(field).collect();
        writeln!(out, "| {} |", fields.join(" | "))?;
    }
    Ok(())
}

fn field(field: &Field) -> String {
    match field {
        Field::Nothing => "–".to_owned(),
        Field::Text(text) | Field::Number(text) => escaped(text),
        Field::Estimate(value, interval) => format!("{value} {interval}"),
        Field::Ratio(value, interval, verdict) => {
            let mark = match verdict {
                Verdict::Better => " **better**",
                Verdict::Worse => " **worse**",
                Verdict::Unclear => "",
            };
            let space = if interval.is_empty() { "" } else { " " };
            format!("{value}{space}{interval}{mark}")
        }
    }
}

/// What came from outside in one line, and none of it with a meaning in Markdown.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped.push_str("&lt;"),
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped
}
