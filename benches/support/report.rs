//! Report on stdout: measured values, promised limits, and the ratio to the bare minimum of the same run.

use std::time::Duration;

/// Measurements of one thing.
#[derive(Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    pub fn new(values: impl IntoIterator<Item = f64>) -> Series {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Series(values)
    }

    /// Durations, in milliseconds.
    pub fn of(durations: &[Duration]) -> Series {
        Series::new(durations.iter().map(|d| d.as_secs_f64() * 1e3))
    }

    fn at(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((part * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub fn min(&self) -> f64 {
        self.at(0.0)
    }

    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.at(0.99)
    }

    pub fn max(&self) -> f64 {
        self.at(1.0)
    }
}

/// Which figure of a series a promise is about.
#[derive(Clone, Copy)]
pub enum Of {
    Median,
    Max,
}

/// One line of the report.
pub struct Line<'a> {
    what: &'a str,
    unit: &'a str,
    series: &'a Series,
    promise: Option<(Of, f64)>,
    peer: Option<(&'a str, f64)>,
}

pub fn heading(text: &str) {
    say(&format!("\n{text}"));
}

pub fn note(text: &str) {
    say(&format!("    {text}"));
}

#[allow(clippy::print_stdout, reason = "the report is the purpose of a benchmark")]
fn say(text: &str) {
    println!("{text}");
}

pub fn line<'a>(what: &'a str, unit: &'a str, series: &'a Series) -> Line<'a> {
    Line { what, unit, series, promise: None, peer: None }
}

impl<'a> Line<'a> {
    /// What was promised: below this.
    pub fn promise(mut self, of: Of, below: f64) -> Self {
        self.promise = Some((of, below));
        self
    }

    /// The bare minimum, or a peer, in the same unit.
    pub fn against(mut self, peer: &'a str, value: f64) -> Self {
        self.peer = Some((peer, value));
        self
    }

    pub fn print(self) {
        let Line { what, unit, series, .. } = &self;
        let mut text = match series.0.len() {
            1 => format!("  {what:<52} {:>9.2} {unit}", series.median()),
            count => format!(
                "  {what:<52} {:>9.2} {unit}  (min {:.2}, p99 {:.2}, max {:.2}, n {count})",
                series.median(),
                series.min(),
                series.p99(),
                series.max()
            ),
        };
        if let Some((of, below)) = self.promise {
            let (value, which) = match of {
                Of::Median => (series.median(), ""),
                Of::Max => (series.max(), "max "),
            };
            let met = if value < below || value == 0.0 && below == 0.0 { "met" } else { "NOT MET" };
            text.push_str(&format!("  promise {which}< {below:.2} {unit}: {met}"));
        }
        if let Some((peer, value)) = self.peer {
            text.push_str(&format!("  {:.2} x {peer} ({value:.2} {unit})", series.median() / value));
        }
        say(&text);
    }
}
