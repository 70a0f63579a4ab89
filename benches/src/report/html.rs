//! A report as one HTML page, which needs no script and nothing from elsewhere.

use super::{
    contents::{Compared, Contents, LEGEND, NO_PERCENTILE, Part, Section},
    inks::style,
    plots::{Figure, figures},
    tables::{Field, Table},
};
use crate::{
    compare::Comparison,
    results::Run,
    summary::{Summary, Verdict},
};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The page: what the Markdown says, and the plots.
pub fn page(run: &Run, summary: &Summary, comparison: Option<&Comparison>) -> String {
    let contents = Contents::of(run, summary, comparison);
    let figures = figures(run, summary);
    let profile = run.plan.profile.name();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "visavis benchmarks, profile " (profile) }
                style { (PreEscaped(style())) (PreEscaped(include_str!("style.css"))) }
            }
            body {
                header {
                    h1 { "visavis benchmarks" }
                    p.lead {
                        "One WebRTC API over several stacks, measured in pairs. Profile " strong { (profile) } ", "
                        (run.environment.cpu) "."
                    }
                    (doubts(&contents))
                    nav aria-label="Sections" { ul {
                        @for section in &contents.sections {
                            li { a href={ "#" (section.scenario.name()) } { (section.scenario.heading().0) } }
                        }
                        li { a href="#parameters" { "Machine and parameters" } }
                    } }
                }
                main {
                    section #verdicts {
                        h2 { "What can be said" }
                        @if let Some(overview) = &contents.overview { p { (overview.caption) ":" } (table(overview)) }
                        @if !contents.clear { p { "No difference is clear of the noise." } }
                        @for section in contents.sections.iter().filter(|section| !section.verdicts.is_empty()) {
                            details.said {
                                summary { (section.scenario.heading().0) ", in sentences (" (section.verdicts.len()) ")" }
                                (sentences(&section.verdicts, ""))
                            }
                        }
                        details open { summary { "How to read the tables" } p { (LEGEND) } p { (NO_PERCENTILE) } }
                    }
                    @if let Some(compared) = &contents.comparison { (against(compared)) }
                    @for section in &contents.sections { (scenario(section, &figures)) }
                    section #parameters {
                        h2 { "Machine, build and parameters" }
                        dl { @for (name, value) in &contents.facts { div { dt { (name) } dd { (value) } } } }
                        @if let Some(negotiated) = &contents.negotiated {
                            h3 { "What the peers agreed on" }
                            (table(negotiated))
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

fn doubts(contents: &Contents) -> Markup {
    html! {
        @if !contents.doubts.is_empty() {
            div.doubts role="note" {
                strong { "These figures should not be relied on:" }
                ul { @for doubt in &contents.doubts { li { strong { (doubt) } } } }
            }
        }
    }
}

fn against(compared: &Compared) -> Markup {
    html! {
        section #comparison {
            h2 { "Against the earlier run" }
            (sentences(&compared.verdicts, "Nothing has changed that is clear of the noise."))
            @if !compared.notes.is_empty() {
                p { "What else was different, and may be the cause:" }
                (sentences(&compared.notes, ""))
            }
            @if !compared.table.lines.is_empty() {
                details.said { summary { (compared.table.caption) } (table(&compared.table)) }
            }
        }
    }
}

fn scenario(section: &Section, figures: &[Figure]) -> Markup {
    let (title, lead) = section.scenario.heading();
    html! {
        section id=(section.scenario.name()) {
            h2 { (title) }
            p.lead { (lead) }
            @for plot in figures.iter().filter(|figure| figure.scenario == section.scenario) { (figure(plot)) }
            @for part in &section.rows { (row(part)) }
        }
    }
}

fn figure(figure: &Figure) -> Markup {
    html! {
        figure id=(figure.name) {
            div.plot tabindex="0" {
                (PreEscaped(figure.picture.inline(&figure.name, &figure.title, &figure.caption)))
            }
            figcaption { strong { (figure.title) "." } " " (figure.caption) }
        }
    }
}

fn row(part: &Part) -> Markup {
    html! {
        article {
            h3 { (part.title) }
            p.effort { (part.effort) "." }
            @for numbers in &part.tables { (table(numbers)) }
            (sentences(&part.notes, ""))
        }
    }
}

fn sentences(sentences: &[String], none: &str) -> Markup {
    html! {
        @if !sentences.is_empty() {
            ul { @for sentence in sentences { li { (sentence) } } }
        } @else if !none.is_empty() {
            p { (none) }
        }
    }
}

/// A table in a box of its own, which scrolls where the screen is too narrow.
fn table(table: &Table) -> Markup {
    let spans: Vec<usize> = (0..table.header.len())
        .map(|column| span(table, column))
        .collect();
    html! {
        div.scroll tabindex="0" {
            table {
                caption { (table.caption) }
                thead { tr {
                    @for (column, (name, span)) in table.header.iter().zip(&spans).enumerate() {
                        th scope="col" colspan=[(*span > 1).then_some(span)] .of-several[*span > 1] .of-words[table.has_words(column)] .roomy[name.chars().count() > 12] { (name) }
                    }
                } }
                tbody { @for line in &table.lines {
                    tr { @for (column, field) in line.iter().enumerate() { (fields(field, spans[column], column == 0)) } }
                } }
            }
        }
    }
}

/// How many columns a column has: the parts of a number each stand below each other.
fn span(table: &Table, column: usize) -> usize {
    let fields = table.lines.iter().filter_map(|line| line.get(column));
    let parts = fields.map(|field| match field {
        Field::Ratio(_, interval, _) if interval.is_empty() => 2,
        Field::Ratio(..) => 3,
        Field::Estimate(..) => 2,
        _ => 1,
    });
    parts.max().unwrap_or(1)
}

fn fields(field: &Field, span: usize, heading: bool) -> Markup {
    let rest = |used: usize| (span > used).then_some(span - used);
    html! {
        @match field {
            Field::Nothing => {
                td.number { "–" }
                @if let Some(rest) = rest(1) { td colspan=(rest) {} }
            },
            Field::Text(text) if heading => { th scope="row" .long[long(text)] { (text) } },
            Field::Text(text) => { td .long[long(text)] { (text) } },
            Field::Number(text) => { td.number { (text) } },
            Field::Estimate(value, interval) => { td.number { (value) } td.interval { (interval) } },
            Field::Ratio(value, interval, verdict) => {
                td.number { (value) }
                @if !interval.is_empty() { td.interval { (interval) } }
                td.verdict {
                    @match verdict {
                        Verdict::Better => { span.better { "▲ better" } },
                        Verdict::Worse => { span.worse { "▼ worse" } },
                        Verdict::Unclear => {},
                    }
                }
            },
        }
    }
}

/// Whether a text may be broken into lines.
fn long(text: &str) -> bool {
    text.chars().count() > 30
}
