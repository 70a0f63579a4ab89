//! The visavis peer connection on str0m.
