//! The call on screen: two pictures, three buttons, and what goes on between them.
//!
//! ```text
//! terminal ─▶ input thread ─▶ Controller ─▶ SamePage, CallMedia
//!                                 │ changes
//!                                 ▼
//! terminal ◀─ drawing thread ◀─ Model ◀─ pictures from the Monitor
//! ```
//!
//! The [`Controller`](control::Controller) is the one that changes the [`Model`](model::Model) and acts on the call; the
//! view draws the model and knows nothing else; the drawing thread alone waits for the terminal.

mod control;
mod draw;
mod figures;
mod graphics;
mod in_call;
mod keys;
mod model;
mod picture;
mod setup;
mod terminal;
#[cfg(test)]
mod tests;
mod timeline;
mod view;

pub(crate) use control::run;
pub(crate) use draw::Screen;
pub(crate) use graphics::Choice as Graphics;
pub(crate) use terminal::leave;

/// The name of the drawing thread.
const THREAD: &str = "screen";
