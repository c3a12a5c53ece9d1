//! The allocator of every command.
#![allow(unsafe_code, reason = "calls the allocator's own interface")]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives pages that hold nothing any more back to the kernel. By itself the allocator does so late, when more memory is
/// asked for: a daemon with one proxy had 45 MB of its own, and has 25.
pub(crate) fn give_back() {
    // SAFETY: may be called at any time from any thread: it looks after the calling thread's own heap and, with the
    // allocator's own synchronisation, after pages that no thread has.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
