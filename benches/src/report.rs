//! A run for readers: Markdown for the documentation, one HTML page that needs nothing else, and its plots as files.

mod axis;
mod bars;
mod canvas;
mod chart;
mod contents;
mod forest;
mod html;
mod inks;
mod lines;
mod markdown;
mod plots;
mod tables;
#[cfg(test)]
mod tests;

pub use html::page;
pub use markdown::markdown;
pub use plots::svgs;
