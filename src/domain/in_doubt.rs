//! Words about steps in doubt: requests that were sent, of whose end nothing is known.
//!
//! Somebody says of such a step that it is done again or counts as done. A word about a step that is not in doubt would
//! be lost in silence, so that it is refused, and the state of the step told.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    journal::{Place, RunEntry, RunRecord},
    run::{Purpose, StepAnswer},
    workflow::{
        name::{self, NoStep, Which, means, shell},
        plan::Plan,
    },
};

/// How many steps are told by name.
const TOLD: usize = 5;

/// Words by the names of steps, as they are given to a run.
pub type Words = [(String, StepAnswer)];

/// The word about a place in doubt: that of the most exact name.
pub fn word<'a>(words: &'a Words, place: &Place) -> Option<&'a StepAnswer> {
    let meant = about_doubt(words).rev().filter_map(|(name, word)| Some((means(name, &place.step, place.item)?, word)));
    meant.max_by_key(|(exact, _)| *exact).map(|(_, word)| word)
}

/// Whether each word about doubt is about a step that is in doubt, of a run as its journal has it. Gives the first name
/// that is not, and why.
pub fn check<'a>(record: &RunRecord, plan: &Plan, words: &'a Words) -> Result<(), (&'a str, NoStep)> {
    // What an ended run left unknown stands in its report; nothing goes on with it.
    let open = if record.report().is_some() { vec![] } else { record.in_doubt() };
    for (name, word) in about_doubt(words) {
        name::check(plan, name, Which::Call).map_err(|wrong| (&**name, wrong))?;
        if about_doubt(words).any(|(other, said)| other == name && said != word) {
            let message = format!("`{name}` is given two different words");
            return Err((name, NoStep { message, hint: "either it is done again, or it counts as done with one result".into() }));
        }
        if !open.iter().any(|(place, ..)| means(name, &place.step, place.item).is_some()) {
            let message = format!("`{name}` is not in doubt in the run {}: {}", record.run, state(record, name));
            return Err((name, NoStep { message, hint: next(record, &open) }));
        }
    }
    Ok(())
}

fn about_doubt(words: &Words) -> impl DoubleEndedIterator<Item = &(String, StepAnswer)> {
    words.iter().filter(|(_, word)| matches!(word, StepAnswer::Repeat | StepAnswer::Skip { .. }))
}

/// What can be said instead.
fn next<T, U>(record: &RunRecord, open: &[(Place, T, U)]) -> String {
    if record.report().is_some() {
        return "the run has ended, and nothing of it can be in doubt".into();
    }
    if open.is_empty() {
        return format!("nothing of the run is in doubt; `switchboard run --resume {}` goes on with it", record.run);
    }
    let names = open.iter().take(TOLD).map(|(place, ..)| match place.purpose {
        Purpose::Step => shell(&place.step, place.item),
        purpose => format!("{} ({})", shell(&place.step, place.item), purpose.word()),
    });
    let more = open.len().saturating_sub(TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("in doubt: {}{more}; leave out the others", names.collect::<Vec<_>>().join(", "))
}

/// What the journal has of the steps that a name means, none of which is in doubt.
fn state(record: &RunRecord, name: &str) -> String {
    // Of an item the end of its whole step is told too, when there is nothing of its own.
    let whole = name.strip_suffix(']').and_then(|name| name.rsplit_once('[')).map_or(name, |(whole, _)| whole);
    let mut found: BTreeMap<(Arc<str>, Option<u32>), String> = BTreeMap::new();
    let mut of_whole = None;
    let mut take = |step: &Arc<str>, item: Option<u32>, words: String| {
        if means(name, step, item).is_some() {
            if item.is_none() {
                // With the whole step settled its items are no more of interest.
                found.retain(|(path, _), _| path != step);
            }
            found.insert((step.clone(), item), words);
        } else if item.is_none() && means(whole, step, None).is_some() {
            of_whole = Some(format!("it was never begun, and `{step}` {words}"));
        }
    };
    for entry in &record.entries {
        match entry {
            RunEntry::Attempted { place, attempt, .. } => {
                take(&place.step, place.item, format!("failed at attempt {attempt}, and goes on from there"));
            }
            RunEntry::ItemEnded { step, item, end } => take(step, Some(*item), format!("has ended ({})", end.outcome.word())),
            RunEntry::StepEnded { step, end } => {
                let items = end.items.map(|count| format!(", {count} items")).unwrap_or_default();
                take(step, None, format!("has ended ({}{items})", end.outcome.word()));
            }
            RunEntry::Undone { step, item, error: None } => take(step, *item, "was undone".into()),
            RunEntry::Undone { step, item, error: Some(_) } => take(step, *item, "could not be undone".into()),
            RunEntry::Sending { .. }
            | RunEntry::Began { .. }
            | RunEntry::Resumed { .. }
            | RunEntry::GivenUp { .. }
            | RunEntry::Ended { .. } => {}
        }
    }
    let label = |path: &str, item: Option<u32>| format!("{path}{}", item.map(|item| format!("[{item}]")).unwrap_or_default());
    let mut lines: Vec<String> = found
        .iter()
        .map(|((path, item), words)| match label(path, *item) {
            own if own == name => format!("it {words}"),
            own => format!("`{own}` {words}"),
        })
        .collect();
    let more = lines.len().saturating_sub(TOLD);
    lines.truncate(TOLD);
    if more > 0 {
        lines.push(format!("and so on with {more} more"));
    }
    match lines.is_empty() {
        true => of_whole.unwrap_or_else(|| "nothing was sent for it yet".into()),
        false => lines.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        body::Body,
        journal::{StepOutcome, StepRecord},
        run::RunId,
        workflow::parse::{Source, parse},
    };

    const TEXT: &str = r#"
        name = "w"
        [input]
        to = "string[]"
        [[step]]
        id = "make"
        tool = "make"
        compensate = { tool = "unmake" }
        [[step]]
        id = "send"
        tool = "send"
        for_each = "{{ input.to }}"
        [[step]]
        id = "try"
        tool = "try"
        [[step]]
        id = "late"
        tool = "late"
    "#;

    fn plan() -> Plan {
        parse(&Source { file: "w.toml".into(), text: TEXT.into() }, &|_| None).unwrap()
    }

    fn place(step: &str, item: Option<u32>, purpose: Purpose) -> Place {
        Place { step: step.into(), item, purpose }
    }

    fn sending(step: &str, item: Option<u32>, purpose: Purpose) -> RunEntry {
        RunEntry::Sending { place: place(step, item, purpose), attempt: 1, what: "t".into(), arguments: Body::from("{}") }
    }

    fn end(outcome: StepOutcome, items: Option<u32>) -> StepRecord {
        StepRecord {
            outcome,
            result: None,
            text: None,
            duration_ms: 1,
            error: None,
            fallback: None,
            nothing_done: false,
            in_doubt: false,
            items,
        }
    }

    fn item(step: &str, item: u32) -> RunEntry {
        RunEntry::ItemEnded { step: step.into(), item, end: end(StepOutcome::Ok, None) }
    }

    fn whole(step: &str, items: Option<u32>) -> RunEntry {
        RunEntry::StepEnded { step: step.into(), end: end(StepOutcome::Ok, items) }
    }

    fn record(entries: Vec<RunEntry>) -> RunRecord {
        RunRecord { run: RunId::new(1, 1), entries }
    }

    fn repeat(name: &str) -> (String, StepAnswer) {
        (name.into(), StepAnswer::Repeat)
    }

    fn skip(name: &str) -> (String, StepAnswer) {
        (name.into(), StepAnswer::Skip { result: Body::from("1") })
    }

    #[test]
    fn a_word_about_what_is_not_in_doubt_is_refused_with_its_state() {
        let step = Purpose::Step;
        let open = record(vec![
            sending("make", None, step),
            whole("make", None),
            sending("send", Some(0), step),
            sending("send", Some(1), step),
            sending("send", Some(2), step),
            item("send", 1),
            sending("try", None, step),
            RunEntry::Attempted { place: place("try", None, step), attempt: 2, exhausted: None, error: None },
        ]);
        let told = |record: &RunRecord, words: &Words| {
            check(record, &plan(), words).map_err(|(name, wrong)| (name.to_owned(), format!("{} | {}", wrong.message, wrong.hint)))
        };
        // A name without a number means every item that is in doubt.
        for words in [vec![repeat("send")], vec![skip("send")], vec![repeat("send[2]"), skip("send")], vec![repeat("send"), repeat("send")]]
        {
            assert_eq!(told(&open, &words), Ok(()), "{words:?}");
        }
        let run = open.run;
        let doubt = "in doubt: 'send[0]', 'send[2]'; leave out the others";
        for (words, name, message) in [
            (vec![repeat("make")], "make", format!("`make` is not in doubt in the run {run}: it has ended (ok) | {doubt}")),
            (
                vec![repeat("send"), skip("send[1]")],
                "send[1]",
                format!("`send[1]` is not in doubt in the run {run}: it has ended (ok) | {doubt}"),
            ),
            (
                vec![skip("try")],
                "try",
                format!("`try` is not in doubt in the run {run}: it failed at attempt 2, and goes on from there | {doubt}"),
            ),
            (vec![repeat("late")], "late", format!("`late` is not in doubt in the run {run}: nothing was sent for it yet | {doubt}")),
            (
                vec![repeat("send[9]")],
                "send[9]",
                format!("`send[9]` is not in doubt in the run {run}: nothing was sent for it yet | {doubt}"),
            ),
            (vec![repeat("sent")], "sent", "`w` has no step that calls a tool `sent` | did you mean `send`?".to_owned()),
            (
                vec![repeat("send"), skip("send")],
                "send",
                "`send` is given two different words | either it is done again, or it counts as done with one result".to_owned(),
            ),
        ] {
            assert_eq!(told(&open, &words), Err((name.to_owned(), message)));
        }
    }

    #[test]
    fn the_state_of_items_and_of_what_was_undone_is_told() {
        let step = Purpose::Step;
        let told = |entries: Vec<RunEntry>, name: &str| check(&record(entries), &plan(), &[repeat(name)]).unwrap_err().1;
        let many = (0..7).flat_map(|at| [sending("send", Some(at), step), item("send", at)]).collect::<Vec<_>>();
        let wrong = told(many.clone(), "send");
        assert!(wrong.message.contains("`send[0]` has ended (ok), ") && wrong.message.ends_with("and so on with 2 more"), "{wrong:?}");
        let id = RunId::new(1, 1);
        assert_eq!(wrong.hint, format!("nothing of the run is in doubt; `switchboard run --resume {id}` goes on with it"));
        let ended = [many, vec![whole("send", Some(7))]].concat();
        assert!(told(ended.clone(), "send").message.ends_with("it has ended (ok, 7 items)"));
        assert!(told(ended, "send[8]").message.ends_with("it was never begun, and `send` has ended (ok, 7 items)"));
        let undoing = vec![sending("make", None, step), whole("make", None), sending("make", None, Purpose::Compensation)];
        assert_eq!(check(&record(undoing.clone()), &plan(), &[repeat("make")]), Ok(()));
        assert!(told(undoing.clone(), "try").hint.starts_with("in doubt: make (compensation)"), "{:?}", told(undoing.clone(), "try"));
        let undone = [undoing, vec![RunEntry::Undone { step: "make".into(), item: None, error: None }]].concat();
        assert!(told(undone, "make").message.ends_with("it was undone"));
    }

    #[test]
    fn the_word_of_the_most_exact_name_counts_and_other_answers_do_not() {
        let words = [("send".to_owned(), StepAnswer::Approve), repeat("send"), skip("send[1]")];
        assert_eq!(word(&words, &place("send", Some(0), Purpose::Step)), Some(&StepAnswer::Repeat));
        assert_eq!(word(&words, &place("send", Some(1), Purpose::Step)), Some(&words[2].1));
        assert_eq!(word(&words, &place("make", None, Purpose::Step)), None);
    }
}
