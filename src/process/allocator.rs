//! Settings of the memory allocator: memory of large messages returns to the system when it is freed.
//!
//! The allocator of glibc keeps freed memory for reuse. After the first large message is freed, it serves messages of that
//! size from its arenas, which shrink only at their ends. [`map_large_allocations`] maps every large allocation separately, so
//! that freeing it returns it; [`trim`] returns free memory within the arenas. Other allocators need neither.

/// Allocations of at least this many bytes are mapped separately.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 256 << 10;

/// Maps every large allocation separately from now on. Call it before other threads start.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt(3) has no safe interface")]
pub fn map_large_allocations() {
    // SAFETY: mallopt(3) takes two numbers and is safe to call from any thread. It changes where later allocations come
    // from, and nothing about those that exist.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn map_large_allocations() {}

/// Returns free memory within the allocator's arenas to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "malloc_trim(3) has no safe interface")]
pub fn trim() {
    // SAFETY: malloc_trim(3) is safe to call from any thread and touches only memory that is free.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn trim() {}
