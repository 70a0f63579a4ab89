//! What each stack writes, volatile values masked, and what each says it can do.

#[test]
fn placeholder() {}
