//! The scenarios that compare stacks, and the method by which they are measured. `visavis bench` runs all of it;
//! criterion (`cargo bench -p visavis-bench`) runs the same scenarios one by one.
//!
//! A [`Work`](work::Work) says what is measured, an [`Arm`](work::Arm) on what. A [`Visit`](work::Visit) is one arm's
//! turn in one block, made by a [`worker`] in a process of its own. How results come about is in
//! `docs/benchmarks.md`.

#![forbid(unsafe_code)]

pub mod compare;
pub mod counts;
pub mod environment;
mod handicap;
pub mod lab;
pub mod metric;
pub mod netns;
pub mod outcome;
pub mod plan;
pub mod report;
pub mod results;
pub mod runner;
pub mod scenario;
pub mod stats;
pub mod summary;
pub mod tap;
pub mod words;
pub mod work;
pub mod worker;
