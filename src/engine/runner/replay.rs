//! What an earlier life of a run left in the journal, put where the flows look for it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::domain::{
    body::Body,
    journal::{Place, RunEntry, RunRecord, StepOutcome, StepRecord},
    masked,
    run::{Purpose, StepError},
    workflow::plan::Plan,
};

/// Something that was settled.
#[derive(Clone, Debug)]
pub enum Line {
    /// An item of a step.
    Item {
        /// The step's id within its plan.
        id: String,
        /// Which.
        item: u32,
        /// How it ended.
        end: StepRecord,
    },
    /// A step.
    Step {
        /// The step's id within its plan.
        id: String,
        /// How it ended.
        end: StepRecord,
    },
    /// The flow was given up, or its time was up.
    GivenUp {
        /// Whether its time was up.
        time_up: bool,
        /// Whether what it did is undone.
        undo: bool,
        /// Why.
        why: String,
    },
    /// Something was undone, or could not be.
    Undone {
        /// The step's id within its plan.
        id: String,
        /// Which item.
        item: Option<u32>,
        /// Why not.
        error: Option<StepError>,
    },
}

/// How far a step, or an item of it, had come that did not end.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Attempts that ended.
    pub attempts: u32,
    /// Why the last of them failed, when there is to be no further one.
    pub exhausted: Option<StepError>,
    /// Fallbacks that were tried and failed.
    pub fallbacks: usize,
}

/// What to do about something that was sent and of whose end nothing is known.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Do it again.
    Repeat,
    /// It was done, with this result.
    Done(Body),
}

/// The memory of a run; empty for a new one.
#[derive(Debug, Default)]
pub struct Replay {
    /// By the prefix of the paths, in the order of the journal.
    lines: HashMap<String, Vec<Line>>,
    progress: HashMap<(Arc<str>, Option<u32>), Progress>,
    /// Whether secrets were masked in what is taken over, so that an argument may hold a mask.
    pub masked: bool,
    /// What was decided about what was in doubt.
    pub decisions: HashMap<Place, Decision>,
}

impl Replay {
    /// What a record tells.
    pub fn of(record: &RunRecord) -> Replay {
        let mut memory = Replay { masked: record.entries.iter().any(masked::in_entry), ..Replay::default() };
        for entry in &record.entries {
            match entry {
                RunEntry::ItemEnded { step, item, end } => {
                    let (prefix, id) = split(step);
                    memory.line(prefix, Line::Item { id, item: *item, end: end.clone() });
                }
                RunEntry::StepEnded { step, end } => {
                    let (prefix, id) = split(step);
                    memory.line(prefix, Line::Step { id, end: end.clone() });
                }
                RunEntry::Undone { step, item, error } => {
                    let (prefix, id) = split(step);
                    memory.line(prefix, Line::Undone { id, item: *item, error: error.clone() });
                }
                RunEntry::GivenUp { prefix, time_up, undo, why } => {
                    memory.line(prefix, Line::GivenUp { time_up: *time_up, undo: *undo, why: why.clone() });
                }
                RunEntry::Attempted { place, attempt, exhausted, .. } => {
                    let progress = memory.progress.entry((place.step.clone(), place.item)).or_default();
                    match place.purpose {
                        Purpose::Step => {
                            progress.attempts = *attempt;
                            progress.exhausted = exhausted.clone();
                        }
                        Purpose::Fallback => progress.fallbacks = usize::try_from(*attempt).unwrap_or(usize::MAX),
                        Purpose::Compensation => {}
                    }
                }
                RunEntry::Began { .. } | RunEntry::Resumed { .. } | RunEntry::Sending { .. } | RunEntry::Ended { .. } => {}
            }
        }
        memory
    }

    /// Takes over what an earlier run of the same workflow did, but for `from` and all that needs it.
    /// Gives the entries that the new run's journal has to begin with.
    pub fn before(record: &RunRecord, plan: &Plan, from: usize) -> (Replay, Vec<RunEntry>) {
        let mut again: HashSet<usize> = HashSet::from([from]);
        for step in &plan.order {
            if plan.steps[*step].needs.iter().any(|need| again.contains(need)) {
                again.insert(*step);
            }
        }
        let undone = record.entries.iter().filter_map(|entry| match entry {
            RunEntry::Undone { step, .. } => Some(&**step),
            _ => None,
        });
        let undone: HashSet<&str> = undone.collect();
        let keeps = |path: &str| {
            let top = path.split(['/', '[']).next().unwrap_or(path);
            !undone.contains(top) && plan.index(top).is_some_and(|step| !again.contains(&step))
        };
        // What did not end well is done again.
        let ended_well = record.entries.iter().filter_map(|entry| match entry {
            RunEntry::StepEnded { step, end } if end.outcome == StepOutcome::Ok => Some(&**step),
            _ => None,
        });
        let ended_well: HashSet<&str> = ended_well.collect();
        let kept = record.entries.iter().filter(|entry| match entry {
            RunEntry::ItemEnded { step, .. } | RunEntry::StepEnded { step, .. } => {
                let top = step.split(['/', '[']).next().unwrap_or(step);
                ended_well.contains(top) && keeps(step)
            }
            _ => false,
        });
        let entries: Vec<RunEntry> = kept.cloned().collect();
        (Replay::of(&RunRecord { run: record.run, entries: entries.clone() }), entries)
    }

    fn line(&mut self, prefix: &str, line: Line) {
        self.lines.entry(prefix.to_owned()).or_default().push(line);
    }

    /// What was settled of the steps whose paths begin like this, in its order.
    pub fn lines(&self, prefix: &str) -> &[Line] {
        self.lines.get(prefix).map_or(&[], Vec::as_slice)
    }

    /// How far a step, or an item of it, had come.
    pub fn progress(&self, path: &Arc<str>, item: Option<u32>) -> Progress {
        self.progress.get(&(path.clone(), item)).cloned().unwrap_or_default()
    }
}

/// A path's prefix, with its last slash, and the id behind it.
pub fn split(path: &str) -> (&str, String) {
    let at = path.rfind('/').map_or(0, |slash| slash + 1);
    (&path[..at], path[at..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_their_last_slash() {
        assert_eq!(split("a"), ("", "a".to_owned()));
        assert_eq!(split("a[3]/b/c"), ("a[3]/b/", "c".to_owned()));
    }
}
