//! The Prometheus text format (version 0.0.4) of metrics. Pure.

use std::fmt::{Display, Write};

use super::family::{Data, Family, Labels};

/// Returns metrics as text.
pub fn text(families: &[Family]) -> String {
    let mut text = Text(String::new());
    families.iter().for_each(|family| text.family(family));
    text.0
}

/// Writes the text format.
struct Text(String);

impl Text {
    fn family(&mut self, family: &Family) {
        // The translation of OpenTelemetry: dots are underscores, the unit and the kind are suffixes.
        let unit = if family.unit == "s" { "_seconds" } else { "" };
        let name = format!("switchboard_{}{unit}", family.name.replace('.', "_"));
        let (name, kind) = match &family.data {
            Data::Counter(_) => (format!("{name}_total"), "counter"),
            Data::Gauge(_) => (name, "gauge"),
            Data::Histogram(_) => (name, "histogram"),
        };
        // Writing to a text does not fail.
        let _ = write!(self.0, "# HELP {name} {}\n# TYPE {name} {kind}\n", family.help);
        match &family.data {
            Data::Counter(series) | Data::Gauge(series) => {
                series.iter().for_each(|(labels, value)| self.sample(&name, labels, None, value))
            }
            Data::Histogram(series) => {
                for (labels, histogram) in series {
                    let mut below = 0;
                    let bounds = histogram.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
                    for (bound, count) in bounds.zip(&histogram.counts) {
                        below += count;
                        self.sample(&format!("{name}_bucket"), labels, Some(&bound), below);
                    }
                    self.sample(&format!("{name}_sum"), labels, None, histogram.sum);
                    self.sample(&format!("{name}_count"), labels, None, below);
                }
            }
        }
    }

    /// Writes a line. `bound` is the upper bound of a bucket.
    fn sample(&mut self, name: &str, labels: &Labels, bound: Option<&str>, value: impl Display) {
        self.0.push_str(name);
        let labels = labels.iter().map(|(label, text)| (*label, text.as_str())).chain(bound.map(|bound| ("le", bound)));
        let mut open = '{';
        for (label, text) in labels {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
            open = ',';
        }
        let _ = writeln!(self.0, "{} {value}", if open == ',' { "}" } else { "" });
    }
}
