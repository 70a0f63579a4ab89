//! The screen in each state.
