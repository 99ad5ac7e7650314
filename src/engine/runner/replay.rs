//! Replay: the journaled state of an interrupted run, indexed for the flows that restore it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::domain::{
    body::Body,
    journal::{Place, RunEntry, RunRecord, StepOutcome, StepRecord},
    masked,
    run::{Purpose, StepAnswer, StepError},
    workflow::plan::{Phase, Plan},
};

/// A settled part of a run.
#[derive(Clone, Debug)]
pub enum ReplayEntry {
    /// An item of a step.
    Item {
        /// The step's id within its plan.
        id: String,
        /// The item's index.
        item: u32,
        /// Its result.
        end: StepRecord,
    },
    /// A step.
    Step {
        /// The step's id within its plan.
        id: String,
        /// Its result.
        end: StepRecord,
    },
    /// The flow was cancelled, or its deadline passed.
    GivenUp {
        /// Whether its deadline passed.
        time_up: bool,
        /// Whether it compensates.
        undo: bool,
        /// The reason.
        why: String,
    },
    /// A compensation ended.
    Undone {
        /// The step's id within its plan.
        id: String,
        /// The item, if the step has items.
        item: Option<u32>,
        /// Why it failed, if it did.
        error: Option<StepError>,
    },
}

impl ReplayEntry {
    /// Returns the settled part that an entry records, with the path prefix of its flow.
    pub fn of(entry: &RunEntry) -> Option<(&str, ReplayEntry)> {
        Some(match entry {
            RunEntry::ItemEnded { step, item, end } => {
                let (prefix, id) = split(step);
                (prefix, ReplayEntry::Item { id, item: *item, end: end.clone() })
            }
            RunEntry::StepEnded { step, end } => {
                let (prefix, id) = split(step);
                (prefix, ReplayEntry::Step { id, end: end.clone() })
            }
            RunEntry::Undone { step, item, error } => {
                let (prefix, id) = split(step);
                (prefix, ReplayEntry::Undone { id, item: *item, error: error.clone() })
            }
            RunEntry::GivenUp { prefix, time_up, undo, why } => {
                (prefix, ReplayEntry::GivenUp { time_up: *time_up, undo: *undo, why: why.clone() })
            }
            RunEntry::Began { .. }
            | RunEntry::Resumed { .. }
            | RunEntry::Asked { .. }
            | RunEntry::Answered { .. }
            | RunEntry::Sending { .. }
            | RunEntry::Attempted { .. }
            | RunEntry::Ended { .. } => return None,
        })
    }

    /// Returns the size of the results and texts in it, in bytes.
    pub fn size(&self) -> usize {
        match self {
            ReplayEntry::Item { end, .. } | ReplayEntry::Step { end, .. } => {
                end.result.as_ref().map_or(0, Body::len) + end.text.as_ref().map_or(0, String::len)
            }
            ReplayEntry::GivenUp { .. } | ReplayEntry::Undone { .. } => 0,
        }
    }
}

/// The progress of a step or item that did not end.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Attempts that ended.
    pub attempts: u32,
    /// The last failure, if no attempt follows it.
    pub exhausted: Option<StepError>,
    /// Fallbacks that failed.
    pub fallbacks: usize,
}

/// The resolution of an in-doubt request.
#[derive(Clone, Debug)]
pub enum InDoubtResolution {
    /// Repeat it.
    Repeat,
    /// Treat it as done, with this result.
    Done(Body),
}

/// The replay of a run; empty for a new run.
#[derive(Debug, Default)]
pub struct Replay {
    /// The settled parts by path prefix, in the order of the journal.
    entries: HashMap<String, Vec<ReplayEntry>>,
    progress: HashMap<(Arc<str>, Option<u32>), Progress>,
    /// Whether the journal masked secrets, so that an argument may hold a mask.
    pub masked: bool,
    /// The resolutions of in-doubt requests.
    pub resolutions: HashMap<Place, InDoubtResolution>,
    /// When questions of steps were asked, in milliseconds since the Unix epoch, and their recorded answers.
    questions: HashMap<Place, (u64, Option<StepAnswer>)>,
}

impl Replay {
    /// Reads a replay from the record of a run.
    pub fn of(record: &RunRecord) -> Replay {
        let mut replay = Replay { masked: record.entries.iter().any(masked::in_entry), ..Replay::default() };
        for entry in &record.entries {
            if let Some((prefix, settled)) = ReplayEntry::of(entry) {
                replay.entries.entry(prefix.to_owned()).or_default().push(settled);
            }
            match entry {
                RunEntry::Asked { place, unix_ms, .. } => {
                    replay.questions.entry(place.clone()).or_insert((*unix_ms, None));
                }
                RunEntry::Answered { place, answer, unix_ms } => {
                    replay.questions.entry(place.clone()).or_insert((*unix_ms, None)).1 = Some(answer.clone());
                }
                _ => {}
            }
            let RunEntry::Attempted { place, attempt, exhausted, .. } = entry else { continue };
            let progress = replay.progress.entry((place.step.clone(), place.item)).or_default();
            match place.purpose {
                Purpose::Step => {
                    progress.attempts = *attempt;
                    progress.exhausted = exhausted.clone();
                }
                Purpose::Fallback => progress.fallbacks = usize::try_from(*attempt).unwrap_or(usize::MAX),
                Purpose::Compensation => {}
            }
        }
        replay
    }

    /// Reads a replay for undoing what a run did: compensations that failed are not part of it, so that they are tried again.
    pub fn to_undo(record: &RunRecord) -> Replay {
        let settled = |entry: &&RunEntry| !matches!(entry, RunEntry::Undone { error: Some(_), .. } | RunEntry::GivenUp { .. });
        let entries = record.entries.iter().filter(settled).cloned().collect();
        Replay::of(&RunRecord { run: record.run, entries })
    }

    /// Returns when the question of a step was asked in an earlier process, in milliseconds since the Unix epoch.
    pub fn asked_ms(&self, place: &Place) -> Option<u64> {
        self.questions.get(place).map(|(asked_ms, _)| *asked_ms)
    }

    /// Returns the recorded answer to the question of a step.
    pub fn answer(&self, place: &Place) -> Option<&StepAnswer> {
        self.questions.get(place)?.1.as_ref()
    }

    /// Reads what an earlier run of the same workflow did, except for `from` and all steps that need it. Returns also the
    /// entries that the new run's journal begins with.
    pub fn before(record: &RunRecord, plan: &Plan, from: usize) -> (Replay, Vec<RunEntry>) {
        let mut repeated: HashSet<usize> = HashSet::from([from]);
        for step in &plan.order {
            // The steps after the end of a run belong to that run.
            if plan.steps[*step].phase != Phase::Main || plan.steps[*step].needs.iter().any(|need| repeated.contains(need)) {
                repeated.insert(*step);
            }
        }
        let compensated = record.entries.iter().filter_map(|entry| match entry {
            RunEntry::Undone { step, .. } => Some(&**step),
            _ => None,
        });
        let compensated: HashSet<&str> = compensated.collect();
        let is_reused = |path: &str| {
            let top = path.split(['/', '[']).next().unwrap_or(path);
            !compensated.contains(top) && plan.index(top).is_some_and(|step| !repeated.contains(&step))
        };
        // Steps that did not succeed are executed again.
        let succeeded = record.entries.iter().filter_map(|entry| match entry {
            RunEntry::StepEnded { step, end } if end.outcome == StepOutcome::Ok => Some(&**step),
            _ => None,
        });
        let succeeded: HashSet<&str> = succeeded.collect();
        let reused = record.entries.iter().filter(|entry| match entry {
            RunEntry::ItemEnded { step, .. } | RunEntry::StepEnded { step, .. } => {
                let top = step.split(['/', '[']).next().unwrap_or(step);
                succeeded.contains(top) && is_reused(step)
            }
            _ => false,
        });
        let entries: Vec<RunEntry> = reused.cloned().collect();
        (Replay::of(&RunRecord { run: record.run, entries: entries.clone() }), entries)
    }

    /// Returns the settled parts of the steps with this path prefix, in order.
    pub fn entries(&self, prefix: &str) -> &[ReplayEntry] {
        self.entries.get(prefix).map_or(&[], Vec::as_slice)
    }

    /// Returns the progress of a step or item.
    pub fn progress(&self, path: &Arc<str>, item: Option<u32>) -> Progress {
        self.progress.get(&(path.clone(), item)).cloned().unwrap_or_default()
    }
}

/// Splits a path into its prefix, including the last slash, and the id after it.
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
