//! The future of a call. The task that awaits it runs the call, so that a call of a client or of a step needs no task of its own and
//! no switch between threads.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::domain::event::Settled;

/// Runs a call while it is polled, and resolves to its result. Dropped before that, it continues the call as a task: only
/// cancelling ends a call early.
pub struct CallFuture {
    work: Option<BoxFuture<'static, Arc<Settled>>>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl CallFuture {
    /// Wraps the work of a call. Must be called within a tokio runtime.
    pub fn new(work: BoxFuture<'static, Arc<Settled>>, tasks: TaskTracker) -> CallFuture {
        CallFuture { work: Some(work), tasks, runtime: Handle::current() }
    }
}

impl Future for CallFuture {
    /// `None` after it has resolved.
    type Output = Option<Arc<Settled>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let settled = ready!(work.poll_unpin(context));
        self.work = None;
        Poll::Ready(Some(settled))
    }
}

impl Drop for CallFuture {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tasks.spawn_on(work, &self.runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::domain::{
        call::{Outcome, Timings},
        time::Stamp,
    };

    fn settled() -> Arc<Settled> {
        let at = Stamp(1);
        Arc::new(Settled {
            outcome: Outcome::Cancelled { reason: "test".into() },
            timings: Timings { queued: at, sent: None, first_byte: None, last_byte: None, settled: at },
            rounds: 1,
            sent_bytes: 0,
            received_bytes: 0,
            attempts: 0,
            by: None,
            cached: None,
        })
    }

    #[tokio::test]
    async fn a_dropped_call_continues_as_a_task() {
        let tasks = TaskTracker::new();
        let (go, wait) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let work = async move {
            let _ = wait.await;
            let _ = done.send(());
            settled()
        };
        let mut call = CallFuture::new(work.boxed(), tasks.clone());
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(tasks.len(), 0, "the awaiting task runs it");
        drop(call);
        assert_eq!(tasks.len(), 1);
        go.send(()).unwrap();
        ended.await.unwrap();
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn a_call_resolves_once() {
        let tasks = TaskTracker::new();
        let mut call = CallFuture::new(async { settled() }.boxed(), tasks.clone());
        assert_eq!((&mut call).await.map(|settled| settled.rounds), Some(1));
        assert!((&mut call).await.is_none());
        drop(call);
        assert_eq!(tasks.len(), 0);
    }
}
