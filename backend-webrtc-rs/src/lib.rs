//! The visavis peer connection on webrtc-rs.
