//! Pictures out of characters.
