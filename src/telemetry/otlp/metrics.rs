//! The export of metrics: measured at regular intervals, and once more at the end.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{LAST, encode_metrics, post::Collector, settings::MetricSettings};
use crate::telemetry::metrics::family::Family;

/// Measures: returns all metrics as they are now.
pub type Source = Arc<dyn Fn() -> Vec<Family> + Send + Sync>;

/// The export of the metrics of an engine.
pub struct MetricsExport {
    exporter: AbortOnDropHandle<()>,
    over: CancellationToken,
}

impl MetricsExport {
    /// Exports metrics from now on. `clock` returns the time in milliseconds since the Unix epoch. Must be called within a runtime. Fails
    /// with the reason.
    pub fn start(source: Source, settings: MetricSettings, clock: fn() -> u64) -> Result<MetricsExport, String> {
        let (over, collector) = (CancellationToken::new(), Collector::new(settings.target)?);
        let task = export(source, collector, settings.interval, clock, over.clone());
        Ok(MetricsExport { exporter: AbortOnDropHandle::new(tokio::spawn(task)), over })
    }

    /// Exports once more, as far as the collector takes it soon.
    pub async fn finish(self) {
        self.over.cancel();
        // A panic in the task is in the log already.
        let _ = timeout(LAST, self.exporter).await;
    }
}

async fn export(source: Source, collector: Collector, every: Duration, clock: fn() -> u64, over: CancellationToken) {
    let nanoseconds = || clock().saturating_mul(1_000_000);
    let (begin, mut ticks, mut reported) = (nanoseconds(), interval(every), false);
    // The collector may be slower than the interval.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes immediately.
    ticks.tick().await;
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            () = over.cancelled() => true,
        };
        let batch = encode_metrics::request(&collector.target().resource, &source(), (begin, nanoseconds()));
        let sent = tokio::select! {
            biased;
            sent = collector.send(batch) => Some(sent),
            // The totals of the last export include those of this one.
            () = over.cancelled(), if !last => None,
        };
        match sent {
            Some(Ok(())) => reported = false,
            Some(Err(refused)) => {
                // Once, until the collector takes a batch again.
                if !reported {
                    tracing::warn!(target: "switchboard::otlp", why = %refused, "metrics were not exported");
                }
                reported = true;
            }
            None => {}
        }
        if last {
            return;
        }
    }
}
