//! The process of the program: its runtime and threads, the watchdog, the allocator and the signal of the file size limit.
//!
//! Called by the composition root only.

mod allocator;
mod watchdog;

use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

pub use self::{
    allocator::trim,
    watchdog::{Verdict, Watch},
};
use crate::{
    cli::{self, Options, print::Io},
    domain::call::{Failure, FailureKind},
};

/// Stack size of the runtime's threads, the same as a main thread's. Only used pages take memory.
const STACK: usize = 8 << 20;
/// Most worker threads of the engine.
const WORKERS: usize = 8;
/// Time for restoring the terminal and printing the reason when the watchdog ends the program.
const RESTORE_TIMEOUT: Duration = Duration::from_millis(500);
/// The exit code of Rust programs that panic.
const PANICKED: u8 = 101;

/// Runs a face in its own runtime, next to a watchdog; returns the exit code. Remaining tasks are dropped at the end.
///
/// `restore` gives the terminal back when the watchdog ends the program.
pub fn run<F: Future<Output = u8>>(face: impl FnOnce(Arc<Watch>) -> F + Send + 'static, restore: fn()) -> u8 {
    allocator::map_large_allocations();
    let ended = watchdog::run(move |watch, handle| {
        // At least two workers: a busy one must not block timers and connections.
        let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, WORKERS);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(workers).enable_all().thread_name("switchboard").thread_stack_size(STACK).build();
        match runtime {
            Ok(runtime) => {
                // Fails only after the watchdog has ended.
                let _ = handle.send(runtime.handle().clone());
                let code = runtime.block_on(face(watch));
                runtime.shutdown_background();
                code
            }
            Err(error) => {
                let failure = Failure::new(FailureKind::Transport, format!("no threads could be started: {error}"));
                cli::fail(failure, &Options::default(), Io::real())
            }
        }
    });
    match ended {
        Ok(code) => code.unwrap_or(PANICKED),
        Err(verdict) => abandon(verdict, restore),
    }
}

/// Gives the terminal back, prints why the watchdog ends the program, and returns the exit code.
fn abandon(verdict: Verdict, restore: fn()) -> u8 {
    tracing::error!(target: "switchboard::process", "{}", verdict.why);
    let (done, said) = std::sync::mpsc::channel();
    // A stuck thread may hold the terminal, so restoring it happens on a thread that may block.
    let words = std::thread::Builder::new().spawn(move || {
        restore();
        // Not with the printer: a stuck thread may hold stdout.
        let _ = writeln!(Io::real().stderr, "failed  {}", verdict.why);
        let _ = done.send(());
    });
    if words.is_ok() {
        let _ = said.recv_timeout(RESTORE_TIMEOUT);
    }
    verdict.code
}

/// Handles SIGXFSZ, so that a write beyond the file size limit (`ulimit -f`) fails with an error. By default the signal ends
/// the program.
pub fn note_file_size_signal() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    let _within = runtime.enter();
    // The handler remains without the runtime. Started servers get the default handler again (execve(2)).
    let kind = tokio::signal::unix::SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    let _ = tokio::signal::unix::signal(kind);
}

/// Returns the path of this program, to start helpers and demo servers.
pub fn own_program() -> Option<PathBuf> {
    std::env::current_exe().ok()
}
