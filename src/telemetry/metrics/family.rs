//! Metrics as plain data: the one source of the Prometheus text format and of OTLP. Pure.

/// Labels of a series, in order.
pub type Labels = Vec<(&'static str, String)>;

/// A metric with all its series.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name without the prefix of the program: words with dots between them.
    pub name: &'static str,
    /// The unit in the notation of UCUM; empty for plain numbers.
    pub unit: &'static str,
    /// A sentence for users.
    pub help: &'static str,
    /// The values.
    pub data: Data,
}

/// The values of a metric by series.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Totals since the start of the process.
    Counter(Vec<(Labels, u64)>),
    /// Current values.
    Gauge(Vec<(Labels, u64)>),
    /// Distributions since the start of the process.
    Histogram(Vec<(Labels, Histogram)>),
}

/// A distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bounds of the buckets, ascending.
    pub bounds: &'static [f64],
    /// Values in each bucket; the last one has those above all bounds.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: f64,
}
