//! The load of `tests/engine/chaos.rs` with many calls: replicas over HTTP are restarted one after the other, and one is killed.
//! Prints what each strategy lost, and fails if a safe call was lost, an unsafe one sent twice, or a replica that returned not used
//! within a second.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints, and panics on errors")]

#[path = "../tests/engine/chaos.rs"]
mod chaos;
#[path = "../tests/engine/scripted.rs"]
#[allow(dead_code, reason = "shared with tests/engine, which uses the rest of it")]
mod scripted;
#[path = "../tests/engine/support.rs"]
#[allow(dead_code, reason = "shared with tests/engine, which uses the rest of it")]
mod support;

use std::time::Instant;

/// Safe calls for each strategy.
const CALLS: usize = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut wrong = vec![];
    println!("{:<16} {:>7} {:>6} {:>8} {:>7} {:>12} {:>8}", "strategy", "safe", "lost", "unsafe", "twice", "unused (ms)", "took (s)");
    for strategy in chaos::strategies() {
        let began = Instant::now();
        let losses = runtime.block_on(chaos::chaos(strategy.clone(), CALLS));
        let unused = losses.unused.iter().max().copied().unwrap_or_default();
        let name = format!("{strategy:?}");
        println!(
            "{:<16} {:>7} {:>6} {:>8} {:>7} {:>12} {:>8.1}",
            name.split(' ').next().unwrap_or(&name),
            losses.safe,
            losses.lost.len(),
            losses.written,
            losses.twice.len(),
            unused.as_millis(),
            began.elapsed().as_secs_f64(),
        );
        if !losses.lost.is_empty() || !losses.twice.is_empty() || unused > chaos::USED {
            wrong.push(format!("{name}: {:#?}", losses.lost.first()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
