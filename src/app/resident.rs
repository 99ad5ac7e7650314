//! Returns memory to the system: large allocations when they are freed, and while idle the mapped pages of the program's
//! file that are not in use.
//!
//! The allocator of glibc keeps freed memory for reuse: after the first large message that is freed, it takes messages of
//! that size from its arenas, which return memory only at their ends. [`return_large`] has every large allocation mapped
//! separately, so that it is returned when it is freed; [`give_back`] returns free memory within the arenas.
//!
//! The kernel maps ranges of a program's file around each page that is accessed. After the start, or a large result, most
//! resident pages are therefore code that will not run again soon. The pages remain in the page cache; a page that is needed
//! again is mapped within microseconds. Linux only; does nothing elsewhere.

#[cfg(target_os = "linux")]
use std::path::Path;

/// Allocations from this size on are mapped separately, in bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 256 << 10;

/// Configures the allocator to return large allocations as soon as they are freed. Called at the start of the program.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator has no safe interface")]
pub fn return_large() {
    // SAFETY: mallopt(3) takes two numbers and is safe to call from any thread. It changes from which memory later
    // allocations are taken, and nothing about those that exist.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_large() {}

/// Returns free memory of the allocator's arenas.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator has no safe interface")]
fn trim() {
    // SAFETY: malloc_trim(3) is safe to call from any thread and touches only memory that is free.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// Returns free memory, and the pages of the program's file; needed pages are mapped again.
#[cfg(target_os = "linux")]
pub fn give_back() {
    trim();
    let (Ok(maps), Ok(program)) = (std::fs::read_to_string("/proc/self/smaps"), std::fs::read_link("/proc/self/exe")) else { return };
    clean(&maps, &program).for_each(|(start, end)| unmap(start, end));
}

#[cfg(not(target_os = "linux"))]
pub fn give_back() {}

/// Returns the read-only, unmodified mappings of the program's own file from the text of `/proc/PID/smaps`. Libraries are
/// skipped, because one could be unloaded.
#[cfg(target_os = "linux")]
fn clean<'a>(smaps: &'a str, program: &'a Path) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut of = None;
    smaps.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        let (first, second) = (words.next()?, words.next()?);
        if let Some((start, end)) = first.split_once('-') {
            let file = words.nth(3).is_some_and(|path| Path::new(path) == program);
            let range = usize::from_str_radix(start, 16).ok().zip(usize::from_str_radix(end, 16).ok());
            of = range.filter(|_| file && second.starts_with('r') && second[1..].starts_with('-') && second.ends_with('p'));
            return None;
        }
        // Relocated pages are private copies that are not in the file.
        (first == "Anonymous:").then(|| of.take().filter(|_| second == "0")).flatten()
    })
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "there is no safe way to name mappings that are not one's own")]
fn unmap(start: usize, end: usize) {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the range is a private, read-only mapping of the running program's file, of which no page was
    // ever copied, and which stays where it is while the program runs. Every access after this reads the same
    // bytes from the file again (madvise(2), MADV_DONTNEED): nothing can be seen of it but the time that takes.
    let _ = unsafe { madvise(std::ptr::with_exposed_provenance_mut(start), end - start, Advice::LinuxDontNeed) };
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0c0000000-55d0c0200000 r--p 00000000 fe:00 1234                       /usr/bin/switchboard
Rss:                1024 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
55d0c0200000-55d0c0f00000 r-xp 00200000 fe:00 1234                       /usr/bin/switchboard
Anonymous:             0 kB
55d0c0f00000-55d0c1000000 r--p 00f00000 fe:00 1234                       /usr/bin/switchboard
Anonymous:           660 kB
55d0c1000000-55d0c1001000 rw-p 01000000 fe:00 1234                       /usr/bin/switchboard
Anonymous:             0 kB
55d0c2000000-55d0c2100000 rw-p 00000000 00:00 0                          [heap]
Anonymous:           656 kB
7f0000010000-7f0000020000 r-xp 00000000 fe:00 98                         /usr/lib/libm.so.6
Anonymous:             0 kB
7f0000000000-7f0000001000 r--s 00000000 fe:00 99                         /usr/lib/gconv-modules.cache
Anonymous:             0 kB
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
";

    #[test]
    fn returns_only_unmodified_pages_of_files() {
        let found: Vec<_> = clean(SMAPS, Path::new("/usr/bin/switchboard")).collect();
        assert_eq!(found, [(0x55d0_c000_0000, 0x55d0_c020_0000), (0x55d0_c020_0000, 0x55d0_c0f0_0000)]);
    }

    #[test]
    fn the_program_continues_after_the_return() {
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        assert!(clean(&std::fs::read_to_string("/proc/self/smaps").unwrap(), &program).count() >= 2, "code and constants");
        for _ in 0..3 {
            give_back();
            assert_eq!(serde_json::from_str::<serde_json::Value>("[1.5, \"é\"]").unwrap(), serde_json::json!([1.5, "é"]));
        }
    }
}
