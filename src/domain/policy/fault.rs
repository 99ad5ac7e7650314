//! Faults made by hand, for debugging.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::time::parse_duration;

/// What is done to the calls of a server or a tool on purpose. Never kept beyond the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Added before each attempt.
    pub latency: Duration,
    /// Share of attempts answered with an error of ours (-32603), 0 to 1; they are not sent.
    pub fail: f64,
    /// Share of attempts whose answer is thrown away, so that they hang until their deadline.
    pub drop: f64,
    /// Share of attempts during which the connection is cut.
    pub cut: f64,
    /// Share of answers whose bytes are damaged.
    pub corrupt: f64,
}

impl Fault {
    /// What it does, in words, as in `+200 ms, 30 % fail`.
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

/// The longest latency that can be added.
const LATENCY_MOST: Duration = Duration::from_secs(24 * 60 * 60);

impl Fault {
    /// Reads `latency=200ms,fail=0.3,drop=10%,cut=0.1,corrupt=0.05`: any of these, in any order. Shares are from 0 to 1
    /// or in per cent, together at most 1.
    pub fn parse(text: &str) -> Result<Fault, String> {
        let mut fault = Fault::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not of the form name=value"))?;
            let (name, value) = (name.trim(), value.trim());
            let place = match name {
                "latency" => {
                    let latency = parse_duration(value).filter(|latency| *latency <= LATENCY_MOST);
                    fault.latency = latency.ok_or_else(|| format!("latency {value:?} is no time up to a day, as in 200ms"))?;
                    continue;
                }
                "fail" => &mut fault.fail,
                "drop" => &mut fault.drop,
                "cut" => &mut fault.cut,
                "corrupt" => &mut fault.corrupt,
                _ => return Err(format!("there is no fault {name:?}; there are latency, fail, drop, cut and corrupt")),
            };
            *place = share(value).ok_or_else(|| format!("{name} {value:?} is no share from 0 to 1, as in 0.3 or 30%"))?;
        }
        if fault == Fault::default() {
            return Err("no fault is named; as in latency=200ms,fail=0.3".into());
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

/// What happens to one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Waited before it.
    pub latency: Duration,
    /// What is done to it then.
    pub blow: InjectedFault,
}

/// What is done to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// Nothing.
    None,
    /// It is not sent but answered with an error of ours (-32603).
    Fail,
    /// Its answer is thrown away.
    Drop,
    /// The connection is cut while it is under way.
    Cut,
    /// Its answer is damaged.
    Corrupt,
}

impl Strike {
    /// What was done, for people; `None` for nothing.
    pub fn words(&self) -> Option<String> {
        let blow = match self.blow {
            InjectedFault::None => None,
            InjectedFault::Fail => Some("failed on purpose, not sent"),
            InjectedFault::Drop => Some("answer thrown away on purpose"),
            InjectedFault::Cut => Some("connection cut on purpose"),
            InjectedFault::Corrupt => Some("answer damaged on purpose"),
        };
        let latency = (!self.latency.is_zero()).then(|| format!("+{}", crate::domain::time::short(self.latency)));
        match (latency, blow) {
            (Some(latency), Some(blow)) => Some(format!("{latency}, {blow}")),
            (latency, blow) => latency.or_else(|| blow.map(str::to_owned)),
        }
    }
}

/// Decides what happens to an attempt; `random` gives evenly spread numbers from 0 to 1. At most one blow falls, so that
/// each falls as often as its share says.
pub fn strike(fault: &Fault, random: &mut dyn FnMut() -> f64) -> Strike {
    let mut left = random();
    let blows = [
        (fault.fail, InjectedFault::Fail),
        (fault.drop, InjectedFault::Drop),
        (fault.cut, InjectedFault::Cut),
        (fault.corrupt, InjectedFault::Corrupt),
    ];
    for (share, blow) in blows {
        if left < share {
            return Strike { latency: fault.latency, blow };
        }
        left -= share;
    }
    Strike { latency: fault.latency, blow: InjectedFault::None }
}

/// The bytes with some of them damaged, or without their end. Never the same, unless there are none.
pub fn corrupt(bytes: &[u8], random: &mut dyn FnMut() -> f64) -> Vec<u8> {
    let mut place = |len: usize| ((random() * len as f64) as usize).min(len.saturating_sub(1));
    let mut damaged = bytes.to_vec();
    if bytes.is_empty() {
        return damaged;
    }
    if place(4) == 0 {
        damaged.truncate(place(bytes.len()));
        return damaged;
    }
    for _ in 0..3 {
        let at = place(bytes.len());
        // A line end would make two messages of one, which is another fault.
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
    fn faults_are_read_and_said() {
        let fault = Fault::parse("latency=200ms, fail=0.3,drop=10%").unwrap();
        assert_eq!(fault, Fault { latency: Duration::from_millis(200), fail: 0.3, drop: 0.1, ..Fault::default() });
        assert_eq!(fault.words(), "+200 ms, 30 % fail, 10 % drop");
        for (text, wrong) in [
            ("", "no fault is named"),
            ("fail", "not of the form"),
            ("fail=2", "no share"),
            ("fail=NaN", "no share"),
            ("fail=-0.1", "no share"),
            ("latency=2", "no time"),
            ("explode=1", "there is no fault"),
            ("fail=0.6,cut=0.6", "add up"),
        ] {
            assert!(Fault::parse(text).unwrap_err().contains(wrong), "{text}");
        }
    }

    #[test]
    fn each_blow_falls_by_its_share() {
        let fault = Fault::parse("latency=5ms,fail=0.2,drop=0.1,cut=0.3,corrupt=0.1").unwrap();
        let mut count = std::collections::HashMap::new();
        for step in 0..1000 {
            let strike = strike(&fault, &mut || f64::from(step) / 1000.0);
            assert_eq!(strike.latency, Duration::from_millis(5));
            *count.entry(format!("{:?}", strike.blow)).or_insert(0) += 1;
        }
        let near = |blow: &str, wanted: i32| (count[blow] - wanted).abs() <= 1;
        assert!(near("Fail", 200) && near("Drop", 100) && near("Cut", 300) && near("Corrupt", 100) && near("None", 300), "{count:?}");
        assert_eq!(strike(&Fault::default(), &mut || 0.0).words(), None);
    }

    #[test]
    fn what_is_damaged_is_never_the_same() {
        let mut random = fastrand::Rng::with_seed(7);
        let whole = br#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        for _ in 0..1000 {
            let damaged = corrupt(whole, &mut || random.f64());
            assert!(damaged != whole && damaged.len() <= whole.len() && !damaged.contains(&b'\n'));
        }
        assert!(corrupt(b"", &mut || 0.5).is_empty());
        assert_ne!(corrupt(b"x", &mut || 0.9999), b"x");
    }
}
