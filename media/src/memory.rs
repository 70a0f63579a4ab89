//! Memory that was freed and that the C library keeps. Here because this is the one crate that calls C.

/// Gives freed memory back to the operating system. glibc keeps what a peak took, in an arena for each of several
/// threads, and uses it again; this takes milliseconds for tens of megabytes. Elsewhere it does nothing.
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), allow(unsafe_code))]
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: this is glibc's declaration. It may be called at any time from any thread, and touches only what is
        // free.
        unsafe { malloc_trim(0) };
    }
}
