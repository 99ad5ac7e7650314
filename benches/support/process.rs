//! What a process costs, as the kernel counts it. Linux only.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Memory in megabytes (10^6 bytes).
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Private pages (USS): what would be free if the process ended.
    pub private: f64,
    /// Private pages that no file backs: heap and stacks.
    pub anonymous: f64,
    /// Resident pages (RSS), shared ones included.
    pub resident: f64,
}

pub fn memory(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the process lives");
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect("known field");
        let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        kib * 1024.0 / 1e6
    };
    Memory { private: field("Private_Clean:") + field("Private_Dirty:"), anonymous: field("Anonymous:"), resident: field("Rss:") }
}

/// What a process has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Clock ticks (10 ms) of user and system time.
    pub ticks: u64,
    /// Time on a processor.
    pub cpu: Duration,
    /// Number of voluntary context switches.
    pub naps: u64,
}

pub fn work(pid: u32) -> Work {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let number = |n: usize| after_name.split_whitespace().nth(n).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let mut work = Work { ticks: number(11) + number(12), ..Work::default() };
    for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives").flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let naps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        work.naps += naps.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0);
        let schedule = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        work.cpu += Duration::from_nanos(schedule.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0));
    }
    work
}

/// Waits until a process has done nothing for a while.
pub fn idle(pid: u32) {
    let end = Instant::now() + Duration::from_secs(20);
    let mut before = work(pid);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(700));
        let now = work(pid);
        if now.naps == before.naps && now.cpu == before.cpu {
            return;
        }
        before = now;
    }
}

/// What a process does in some time.
pub fn work_during(pid: u32, time: Duration) -> Work {
    let before = work(pid);
    std::thread::sleep(time);
    let after = work(pid);
    Work { ticks: after.ticks - before.ticks, cpu: after.cpu.saturating_sub(before.cpu), naps: after.naps.saturating_sub(before.naps) }
}
