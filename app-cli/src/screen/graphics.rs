//! Pictures by the terminal's own graphics, where it has them.
