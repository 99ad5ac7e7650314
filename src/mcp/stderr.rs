//! The reader of a server's stderr: passes lines on, a bounded number a second.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::{
    engine::ports::ClientHandler,
    protocol::{
        lines::{Lines, Piece},
        pace::Pace,
    },
};

/// Lines a second that are passed on. The others are counted.
const RATE: u32 = 200;
/// Maximum length of a line, in bytes.
const LINE: usize = 8 << 10;
/// What a line costs in addition to its length, as bytes.
const LINE_COST: usize = 64;

/// Drains stderr until it ends, and passes a bounded number of lines a second on. A server that writes without a pause does not
/// hold up the runtime's worker.
pub async fn read(handler: Arc<dyn ClientHandler>, mut stderr: impl AsyncRead + Unpin) {
    let mut lines = Lines::new(LINE);
    let mut pace = Pace::default();
    let (mut second, mut passed, mut held) = (handler.now(), 0u32, 0u64);
    loop {
        // Held-back output is reported after a second, even if no more arrives.
        let pause = if held > 0 { Duration::from_secs(1) } else { Duration::MAX };
        let read = match timeout(pause, stderr.read_buf(lines.buffer())).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => read,
            Err(_) => 0,
        };
        let now = handler.now();
        if now.since(second) >= Duration::from_secs(1) {
            if held > 0 {
                handler.stderr(&format!("… {held} more lines, not shown"));
            }
            (second, passed, held) = (now, 0, 0);
        }
        let mut count = 0;
        lines.read(now, |piece| {
            count += 1;
            let text = match &piece {
                Piece::Line { body, .. } => body.text(),
                Piece::TooLong { head } => head.text(),
                Piece::TooLongEnd { .. } => return,
            };
            if passed < RATE {
                passed += 1;
                handler.stderr(&text);
            } else {
                held += 1;
            }
        });
        pace.spend(read + count * LINE_COST).await;
    }
    if held > 0 {
        handler.stderr(&format!("… {held} more lines, not shown"));
    }
    if let Some((rest, _)) = lines.unfinished() {
        handler.stderr(&rest.text());
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures_util::poll;
    use parking_lot::Mutex;

    use super::*;
    use crate::{
        domain::{body::Body, call::RpcError, frame::Anomaly, id::Attribution, server::Step, time::Stamp},
        engine::ports::{ConnectionObserver, FrameDraft},
    };

    /// Stores what is passed on. Its clock is always at zero.
    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl ConnectionObserver for Seen {
        fn now(&self) -> Stamp {
            Stamp(0)
        }
        fn fresh_start(&self) {}
        fn step(&self, _: Step) {}
        fn at_step(&self) -> Step {
            Step::Run
        }
        fn frame(&self, _: FrameDraft) -> u64 {
            0
        }
        fn anomaly(&self, _: Anomaly) {}
        fn stderr(&self, line: &str) {
            self.0.lock().push(line.to_owned());
        }
        fn last_stderr(&self, _: usize) -> Vec<String> {
            vec![]
        }
        fn notification(&self, _: &str, _: &Body, _: Attribution) {}
    }

    #[async_trait]
    impl ClientHandler for Seen {
        async fn ask(&self, _: &str, _: Body, _: Attribution) -> Result<Body, RpcError> {
            std::future::pending().await
        }
    }

    /// Input that is always ready never makes the reader wait, so it has to let others run.
    #[tokio::test]
    async fn input_without_a_pause_lets_others_run_and_is_counted() {
        const LINES: usize = 400_000;
        let text = b"EEEE\n".repeat(LINES);
        let seen = Arc::new(Seen::default());
        let reading = read(seen.clone(), &text[..]);
        tokio::pin!(reading);
        let mut polls = 1;
        while poll!(&mut reading).is_pending() {
            polls += 1;
        }
        assert!(polls > 20, "{polls} turns");
        let seen = seen.0.lock();
        assert_eq!((seen.len(), seen[0].as_str()), (RATE as usize + 1, "EEEE"));
        assert_eq!(seen[RATE as usize], format!("… {} more lines, not shown", LINES - RATE as usize));
    }
}
