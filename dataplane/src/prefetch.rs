//! Memory on its way before it is needed.
#![allow(unsafe_code, reason = "the intrinsic is unsafe because it takes a pointer")]

/// Starts fetching the cache line at `place`, which need not be readable and may be changed by others meanwhile. Only a
/// hint.
#[inline(always)]
pub(crate) fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: PREFETCHT0 never faults, whatever the address, and changes no architectural state; SSE is part of x86-64.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
