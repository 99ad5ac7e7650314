//! Fault injection: manual faults for debugging, and how they are drawn per attempt.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::time::parse_duration;

/// The faults injected into the calls of a server or tool. Never stored beyond the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Delay before each attempt.
    pub latency: Duration,
    /// Share of attempts that fail locally with error -32603 without being sent, 0 to 1.
    pub fail: f64,
    /// Share of attempts whose response is dropped, so that they run into their deadline.
    pub drop: f64,
    /// Share of attempts during which the connection is cut.
    pub cut: f64,
    /// Share of responses whose bytes are corrupted.
    pub corrupt: f64,
}

impl Fault {
    /// Returns a short description for users, as in `+200 ms, 30 % fail`.
    pub fn words(&self) -> String {
        let mut words = vec![];
        if !self.latency.is_zero() {
            words.push(format!("+{}", crate::domain::time::short(self.latency)));
        }
        for (share, what) in [(self.fail, "fail"), (self.drop, "drop"), (self.cut, "cut"), (self.corrupt, "corrupt")] {
            if share > 0.0 {
                words.push(format!("{:.0} % {what}", share * 100.0));
            }
        }
        if words.is_empty() { "nothing".into() } else { words.join(", ") }
    }
}

/// Longest injected latency.
const MAX_LATENCY: Duration = Duration::from_secs(24 * 60 * 60);

impl Fault {
    /// Parses `latency=200ms,fail=0.3,drop=10%,cut=0.1,corrupt=0.05`: any of these, in any order. Shares are 0 to 1
    /// or per cent; their sum is at most 1.
    pub fn parse(text: &str) -> Result<Fault, String> {
        let mut fault = Fault::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not of the form name=value"))?;
            let (name, value) = (name.trim(), value.trim());
            let index = match name {
                "latency" => {
                    let latency = parse_duration(value).filter(|latency| *latency <= MAX_LATENCY);
                    fault.latency =
                        latency.ok_or_else(|| format!("latency {value:?} is not a duration of at most a day, such as 200ms"))?;
                    continue;
                }
                "fail" => &mut fault.fail,
                "drop" => &mut fault.drop,
                "cut" => &mut fault.cut,
                "corrupt" => &mut fault.corrupt,
                _ => return Err(format!("unknown fault {name:?}: must be one of latency, fail, drop, cut, corrupt")),
            };
            *index = share(value).ok_or_else(|| format!("{name} {value:?} is not a share from 0 to 1, such as 0.3 or 30%"))?;
        }
        if fault == Fault::default() {
            return Err("no fault given; for example latency=200ms,fail=0.3".into());
        }
        if fault.fail + fault.drop + fault.cut + fault.corrupt > 1.0 + 1e-9 {
            return Err("the shares add up to more than 1".into());
        }
        Ok(fault)
    }
}

fn share(text: &str) -> Option<f64> {
    let value = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&value).then_some(value)
}

/// The faults of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptFaults {
    /// Delay before the attempt.
    pub latency: Duration,
    /// What else happens to the attempt.
    pub kind: InjectedFault,
}

/// The kind of fault that is injected into an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// None.
    None,
    /// The attempt is not sent; it fails locally with error -32603.
    Fail,
    /// The response is dropped.
    Drop,
    /// The connection is cut during the attempt.
    Cut,
    /// The response is corrupted.
    Corrupt,
}

impl AttemptFaults {
    /// Returns a description for users; `None` without a fault.
    pub fn words(&self) -> Option<String> {
        let kind = match self.kind {
            InjectedFault::None => None,
            InjectedFault::Fail => Some("an error of the server, without sending"),
            InjectedFault::Drop => Some("response dropped"),
            InjectedFault::Cut => Some("connection cut"),
            InjectedFault::Corrupt => Some("response corrupted"),
        };
        let latency = (!self.latency.is_zero()).then(|| format!("+{}", crate::domain::time::short(self.latency)));
        match (latency, kind) {
            (Some(latency), Some(kind)) => Some(format!("{latency}, {kind}")),
            (latency, kind) => latency.or_else(|| kind.map(str::to_owned)),
        }
    }
}

/// Draws the faults of an attempt. `random` returns uniform numbers from 0 to 1. At most one kind is drawn, so that
/// each occurs exactly with its share.
pub fn draw_faults(fault: &Fault, random: &mut dyn FnMut() -> f64) -> AttemptFaults {
    let mut left = random();
    let kinds = [
        (fault.fail, InjectedFault::Fail),
        (fault.drop, InjectedFault::Drop),
        (fault.cut, InjectedFault::Cut),
        (fault.corrupt, InjectedFault::Corrupt),
    ];
    for (share, kind) in kinds {
        if left < share {
            return AttemptFaults { latency: fault.latency, kind };
        }
        left -= share;
    }
    AttemptFaults { latency: fault.latency, kind: InjectedFault::None }
}

/// Returns a corrupted copy of the bytes: some bytes changed, or the end cut off. It always differs unless the input
/// is empty.
pub fn corrupt(bytes: &[u8], random: &mut dyn FnMut() -> f64) -> Vec<u8> {
    let mut index = |len: usize| ((random() * len as f64) as usize).min(len.saturating_sub(1));
    let mut damaged = bytes.to_vec();
    if bytes.is_empty() {
        return damaged;
    }
    if index(4) == 0 {
        damaged.truncate(index(bytes.len()));
        return damaged;
    }
    for _ in 0..3 {
        let at = index(bytes.len());
        // A line end would turn one message into two, which is a different fault.
        if let (Some(byte), Some(was)) = (damaged.get_mut(at), bytes.get(at)) {
            *byte = if was ^ 0x15 == b'\n' { b'#' } else { was ^ 0x15 };
        }
    }
    damaged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_parsed_and_described() {
        let fault = Fault::parse("latency=200ms, fail=0.3,drop=10%").unwrap();
        assert_eq!(fault, Fault { latency: Duration::from_millis(200), fail: 0.3, drop: 0.1, ..Fault::default() });
        assert_eq!(fault.words(), "+200 ms, 30 % fail, 10 % drop");
        for (text, error) in [
            ("", "no fault given"),
            ("fail", "not of the form"),
            ("fail=2", "not a share"),
            ("fail=NaN", "not a share"),
            ("fail=-0.1", "not a share"),
            ("latency=2", "not a duration"),
            ("explode=1", "unknown fault"),
            ("fail=0.6,cut=0.6", "add up"),
        ] {
            assert!(Fault::parse(text).unwrap_err().contains(error), "{text}");
        }
    }

    #[test]
    fn each_fault_occurs_with_its_share() {
        let fault = Fault::parse("latency=5ms,fail=0.2,drop=0.1,cut=0.3,corrupt=0.1").unwrap();
        let mut count = std::collections::HashMap::new();
        for step in 0..1000 {
            let faults = draw_faults(&fault, &mut || f64::from(step) / 1000.0);
            assert_eq!(faults.latency, Duration::from_millis(5));
            *count.entry(format!("{:?}", faults.kind)).or_insert(0) += 1;
        }
        let is_close = |kind: &str, wanted: i32| (count[kind] - wanted).abs() <= 1;
        assert!(
            is_close("Fail", 200) && is_close("Drop", 100) && is_close("Cut", 300) && is_close("Corrupt", 100) && is_close("None", 300),
            "{count:?}"
        );
        assert_eq!(draw_faults(&Fault::default(), &mut || 0.0).words(), None);
    }

    #[test]
    fn corrupted_bytes_always_differ() {
        let mut random = fastrand::Rng::with_seed(7);
        let original = br#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        for _ in 0..1000 {
            let damaged = corrupt(original, &mut || random.f64());
            assert!(damaged != original && damaged.len() <= original.len() && !damaged.contains(&b'\n'));
        }
        assert!(corrupt(b"", &mut || 0.5).is_empty());
        assert_ne!(corrupt(b"x", &mut || 0.9999), b"x");
    }
}
