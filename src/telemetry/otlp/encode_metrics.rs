//! The Protocol Buffers form of metrics (opentelemetry-proto 1.x, `ExportMetricsServiceRequest`). Pure.
//!
//! Totals are cumulative: since the start of the process.

use super::{
    proto::{self, Message},
    span::{Attribute, Value},
};
use crate::telemetry::metrics::family::{Data, Family, Histogram, Labels};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

/// Returns an `ExportMetricsServiceRequest` with these metrics, measured in this span of time (nanoseconds since the Unix epoch).
pub fn request(resource: &[Attribute], families: &[Family], times: (u64, u64)) -> Vec<u8> {
    // A metric without points has no meaning.
    let families = families.iter().filter(|family| match &family.data {
        Data::Counter(series) | Data::Gauge(series) => !series.is_empty(),
        Data::Histogram(series) => !series.is_empty(),
    });
    proto::request(resource, |out| families.for_each(|family| out.message(2, |out| metric(out, family, times))))
}

/// Writes a `Metric`.
fn metric(out: &mut Message, family: &Family, times: (u64, u64)) {
    out.text(1, &format!("switchboard.{}", family.name));
    out.text(2, family.help);
    out.text(3, family.unit);
    match &family.data {
        Data::Gauge(series) => out.message(5, |gauge| series.iter().for_each(|point| number(gauge, point, times))),
        Data::Counter(series) => out.message(7, |sum| {
            series.iter().for_each(|point| number(sum, point, times));
            sum.integer(2, CUMULATIVE);
            // Monotonic.
            sum.integer(3, 1);
        }),
        Data::Histogram(series) => out.message(9, |all| {
            series.iter().for_each(|point| histogram(all, point, times));
            all.integer(2, CUMULATIVE);
        }),
    }
}

/// Writes a `NumberDataPoint`.
fn number(out: &mut Message, (labels, value): &(Labels, u64), (begin, end): (u64, u64)) {
    out.message(1, |point| {
        point.fixed(2, begin);
        point.fixed(3, end);
        // `as_int`, an `sfixed64`.
        point.fixed(6, (*value).min(i64::MAX.cast_unsigned()));
        attributes(point, 7, labels);
    });
}

/// Writes a `HistogramDataPoint`.
fn histogram(out: &mut Message, (labels, histogram): &(Labels, Histogram), (begin, end): (u64, u64)) {
    out.message(1, |point| {
        point.fixed(2, begin);
        point.fixed(3, end);
        point.fixed(4, histogram.counts.iter().sum());
        point.fixed(5, histogram.sum.to_bits());
        point.packed(6, histogram.counts.iter().copied());
        point.packed(7, histogram.bounds.iter().map(|bound| bound.to_bits()));
        attributes(point, 9, labels);
    });
}

fn attributes(out: &mut Message, field: u64, labels: &Labels) {
    for (name, text) in labels {
        out.attribute(field, &((*name).into(), Value::Text(text.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes of a metric.
    fn of(data: Data) -> Vec<u8> {
        let mut out = Message::default();
        metric(&mut out, &Family { name: "n", unit: "s", help: "h", data }, (1, 2));
        let head = b"\x0a\x0dswitchboard.n\x12\x01h\x1a\x01s";
        out.0.strip_prefix(&head[..]).expect("name, description and unit").to_vec()
    }

    #[test]
    fn metrics_are_encoded_as_protoc_does() {
        let times = [&[0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x19, 2, 0, 0, 0, 0, 0, 0, 0][..]].concat();
        let label = b"\x3a\x08\x0a\x01k\x12\x03\x0a\x01v";
        let point = [&times[..], &[0x31, 7, 0, 0, 0, 0, 0, 0, 0], label].concat();
        let series = || vec![(vec![("k", "v".to_owned())], 7)];
        let size = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        let points = [&[0x0a, size(&point)][..], &point].concat();
        assert_eq!(of(Data::Gauge(series())), [&[0x2a, size(&points)][..], &points].concat());
        let sum = [&points[..], &[0x10, 2, 0x18, 1]].concat();
        assert_eq!(of(Data::Counter(series())), [&[0x3a, size(&sum)][..], &sum].concat());
        let histogram = Histogram { bounds: &[0.5], counts: vec![1, 2], sum: 1.5 };
        let (sum, bound) = (1.5f64.to_le_bytes(), 0.5f64.to_le_bytes());
        let counts = [1u64.to_le_bytes(), 2u64.to_le_bytes()].concat();
        let count = 3u64.to_le_bytes();
        let point = [&times[..], &[0x21], &count, &[0x29], &sum, &[0x32, 16], &counts, &[0x3a, 8], &bound].concat();
        let all = [&[0x0a, size(&point)][..], &point, &[0x10, 2]].concat();
        assert_eq!(of(Data::Histogram(vec![(vec![], histogram)])), [&[0x4a, size(&all)][..], &all].concat());
        let empty = Family { name: "n", unit: "", help: "", data: Data::Gauge(vec![]) };
        assert_eq!(request(&[], &[empty], (1, 2)), request(&[], &[], (1, 2)));
    }
}
