//! Export of traces and metrics to an OpenTelemetry collector (OTLP over HTTP or gRPC), off unless the environment asks for it.
//!
//! Reads the engine's events as every face does, so that no call waits for a collector. Spans that do not fit into the queue,
//! and those that the collector does not take, are counted and lost.

mod builder;
mod encode;
mod encode_metrics;
mod grpc;
mod metrics;
mod post;
mod proto;
mod settings;
mod span;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{builder::Builder, post::Collector, span::Span};
pub use self::{
    metrics::{MetricsExport, Source},
    settings::{MetricSettings, TraceSettings, Unusable, metrics as read_metrics, parent, traces as read_traces},
};
use crate::{
    control::{Interest, Lagged, LocalControl, Tail},
    domain::trace::{TraceParent, TraceState},
};

/// A position in a trace, with its `tracestate`.
type Parent = (Option<TraceParent>, Option<TraceState>);

/// Spans that wait for the collector at most.
const WAITING: usize = 2_048;
/// Spans of one batch at most.
const BATCH: usize = 512;
/// How long the end of the program waits for the collector.
const LAST: Duration = Duration::from_secs(2);

/// The export of the traces of an engine.
pub struct TraceExport {
    follower: AbortOnDropHandle<()>,
    exporter: AbortOnDropHandle<()>,
    over: CancellationToken,
    lost: Arc<AtomicU64>,
}

/// Exports traces from now on. `parent` is the trace that this process belongs to, with its `tracestate`. Must be called within a runtime. Fails with the
/// reason.
pub fn start(engine: &Arc<LocalControl>, settings: TraceSettings, parent: Parent) -> Result<TraceExport, String> {
    let (state, tail) = crate::control::Control::observe(&**engine, Interest::Events);
    let builder = Builder::new(engine.instance(), state.epoch, settings.sampler, parent);
    let collector = Collector::new(settings.target)?;
    Ok(spawn(builder, tail, collector, settings.delay))
}

fn spawn(builder: Builder, tail: Tail, collector: Collector, delay: Duration) -> TraceExport {
    let (over, lost) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let (queue, waiting) = mpsc::channel(WAITING);
    let follower = AbortOnDropHandle::new(tokio::spawn(follow(builder, tail, queue, lost.clone(), over.clone())));
    let exporter = AbortOnDropHandle::new(tokio::spawn(export(collector, delay, waiting, lost.clone())));
    TraceExport { follower, exporter, over, lost }
}

impl TraceExport {
    /// Returns the counter of lost spans.
    pub fn lost(&self) -> Arc<AtomicU64> {
        self.lost.clone()
    }

    /// Exports what ended so far, as far as the collector takes it soon.
    pub async fn finish(self) {
        self.over.cancel();
        // A panic in a task is in the log already.
        let _ = self.follower.await;
        let _ = timeout(LAST, self.exporter).await;
    }
}

async fn follow(mut builder: Builder, mut tail: Tail, queue: mpsc::Sender<Span>, lost: Arc<AtomicU64>, over: CancellationToken) {
    loop {
        match tail.next_gathered(&over).await {
            Ok(Some(event)) => {
                for span in builder.apply(&event) {
                    if queue.try_send(span).is_err() {
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            Ok(None) => return,
            Err(Lagged { missed }) => tracing::warn!(target: "switchboard::otlp", missed, "events are missing in the traces"),
        }
    }
}

async fn export(collector: Collector, delay: Duration, mut waiting: mpsc::Receiver<Span>, lost: Arc<AtomicU64>) {
    let mut reported = false;
    while let Some(first) = waiting.recv().await {
        let mut batch = vec![first];
        let until = Instant::now() + delay;
        while batch.len() < BATCH
            && let Ok(Some(span)) = timeout_at(until, waiting.recv()).await
        {
            batch.push(span);
        }
        let request = encode::request(&collector.target().resource, &batch);
        match collector.send(request).await {
            Ok(()) => reported = false,
            Err(refused) => {
                lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                // Once, until the collector takes a batch again.
                if !reported {
                    tracing::warn!(target: "switchboard::otlp", spans = batch.len(), why = %refused, "spans were not exported");
                }
                reported = true;
            }
        }
    }
}
