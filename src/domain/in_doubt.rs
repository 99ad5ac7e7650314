//! In-doubt steps: resolves steps whose request was sent but whose outcome was never recorded.
//!
//! A user resolves such a step by repeating it or by counting it as done. A resolution for a step that is not in
//! doubt would be ignored silently, so it is rejected with the state of the step.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    journal::{Place, RunEntry, RunRecord},
    plural::counted,
    run::{Purpose, StepAnswer},
    workflow::{
        name::{self, StepFilter, UnknownStep, shell_quoted, specificity},
        plan::Plan,
    },
};

/// How many steps are listed by name.
const MAX_LISTED: usize = 5;

/// Resolutions by step name, as passed to a run.
pub type Resolutions = [(String, StepAnswer)];

/// Returns the resolution for a place in doubt: that of the most specific name.
pub fn resolution<'a>(resolutions: &'a Resolutions, place: &Place) -> Option<&'a StepAnswer> {
    let matching = resolutions_only(resolutions)
        .rev()
        .filter_map(|(name, resolution)| Some((specificity(name, &place.step, place.item)?, resolution)));
    matching.max_by_key(|(exact, _)| *exact).map(|(_, resolution)| resolution)
}

/// Checks that each resolution names a step of the run that is in doubt. The error is the first name that does not,
/// and the reason.
pub fn check<'a>(record: &RunRecord, plan: &Plan, resolutions: &'a Resolutions) -> Result<(), (&'a str, UnknownStep)> {
    // The in-doubt steps of a finished run are part of its report and cannot be resolved any more.
    let open = if record.report().is_some() { vec![] } else { record.in_doubt() };
    for (name, resolution) in resolutions_only(resolutions) {
        name::check(plan, name, StepFilter::Call).map_err(|error| (&**name, error))?;
        if resolutions_only(resolutions).any(|(other, second)| other == name && second != resolution) {
            let message = format!("`{name}` has two different resolutions");
            return Err((name, UnknownStep { message, hint: "use either --repeat, or --skip with one result".into() }));
        }
        if !open.iter().any(|(place, ..)| specificity(name, &place.step, place.item).is_some()) {
            let message = format!("`{name}` is not in doubt in the run {}: {}", record.run, state(record, name));
            return Err((name, UnknownStep { message, hint: next(record, &open) }));
        }
    }
    Ok(())
}

fn resolutions_only(resolutions: &Resolutions) -> impl DoubleEndedIterator<Item = &(String, StepAnswer)> {
    resolutions.iter().filter(|(_, resolution)| matches!(resolution, StepAnswer::Repeat | StepAnswer::Skip { .. }))
}

/// Suggests what to resolve instead.
fn next<T, U>(record: &RunRecord, open: &[(Place, T, U)]) -> String {
    if record.report().is_some() {
        return "the run has ended, so no step can be resolved".into();
    }
    if open.is_empty() {
        return format!("no step of the run is in doubt; `switchboard run --resume {}` continues it", record.run);
    }
    let names = open.iter().take(MAX_LISTED).map(|(place, ..)| match place.purpose {
        Purpose::Step => shell_quoted(&place.step, place.item),
        purpose => format!("{} ({})", shell_quoted(&place.step, place.item), purpose.word()),
    });
    let more = open.len().saturating_sub(MAX_LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("in doubt: {}{more}; remove the others", names.collect::<Vec<_>>().join(", "))
}

/// Describes the journal's state of the steps that a name matches, none of which is in doubt.
fn state(record: &RunRecord, name: &str) -> String {
    // For an item without an entry of its own, reports the end of its whole step.
    let step_name = name.strip_suffix(']').and_then(|name| name.rsplit_once('[')).map_or(name, |(step_name, _)| step_name);
    let mut found: BTreeMap<(Arc<str>, Option<u32>), String> = BTreeMap::new();
    let mut of_whole = None;
    let mut add_state = |step: &Arc<str>, item: Option<u32>, text: String| {
        if specificity(name, step, item).is_some() {
            if item.is_none() {
                // Once the whole step has settled, its items do not matter.
                found.retain(|(path, _), _| path != step);
            }
            found.insert((step.clone(), item), text);
        } else if item.is_none() && specificity(step_name, step, None).is_some() {
            of_whole = Some(format!("it was never started, and `{step}` {text}"));
        }
    };
    for entry in &record.entries {
        match entry {
            RunEntry::Attempted { place, attempt, .. } => {
                add_state(&place.step, place.item, format!("failed at attempt {attempt} and continues from there"));
            }
            RunEntry::ItemEnded { step, item, end } => add_state(step, Some(*item), format!("has ended ({})", end.outcome.word())),
            RunEntry::StepEnded { step, end } => {
                let items = end.items.map(|count| format!(", {}", counted(count, "item"))).unwrap_or_default();
                add_state(step, None, format!("has ended ({}{items})", end.outcome.word()));
            }
            RunEntry::Undone { step, item, error: None } => add_state(step, *item, "was compensated".into()),
            RunEntry::Undone { step, item, error: Some(_) } => add_state(step, *item, "could not be compensated".into()),
            RunEntry::Sending { .. }
            | RunEntry::Began { .. }
            | RunEntry::Resumed { .. }
            | RunEntry::Asked { .. }
            | RunEntry::Answered { .. }
            | RunEntry::GivenUp { .. }
            | RunEntry::Ended { .. } => {}
        }
    }
    let label = |path: &str, item: Option<u32>| format!("{path}{}", item.map(|item| format!("[{item}]")).unwrap_or_default());
    let mut lines: Vec<String> = found
        .iter()
        .map(|((path, item), text)| match label(path, *item) {
            own if own == name => format!("it {text}"),
            own => format!("`{own}` {text}"),
        })
        .collect();
    let more = lines.len().saturating_sub(MAX_LISTED);
    lines.truncate(MAX_LISTED);
    if more > 0 {
        lines.push(format!("and {more} more"));
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
        test_entries::{end, item_ended, run_record, sending, step_ended, undone},
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

    fn repeat(name: &str) -> (String, StepAnswer) {
        (name.into(), StepAnswer::Repeat)
    }

    fn skip(name: &str) -> (String, StepAnswer) {
        (name.into(), StepAnswer::Skip { result: Body::from("1") })
    }

    #[test]
    fn a_resolution_for_a_step_that_is_not_in_doubt_is_rejected_with_its_state() {
        let step = Purpose::Step;
        let open = run_record(vec![
            sending("make", None, step, "t"),
            step_ended("make", end(StepOutcome::Ok)),
            sending("send", Some(0), step, "t"),
            sending("send", Some(1), step, "t"),
            sending("send", Some(2), step, "t"),
            item_ended("send", 1, end(StepOutcome::Ok)),
            sending("try", None, step, "t"),
            RunEntry::Attempted { place: Place::new("try", None, step), attempt: 2, exhausted: None, error: None },
        ]);
        let outcome_of = |record: &RunRecord, resolutions: &Resolutions| {
            check(record, &plan(), resolutions).map_err(|(name, error)| (name.to_owned(), format!("{} | {}", error.message, error.hint)))
        };
        // A name without a number matches every item that is in doubt.
        for resolutions in
            [vec![repeat("send")], vec![skip("send")], vec![repeat("send[2]"), skip("send")], vec![repeat("send"), repeat("send")]]
        {
            assert_eq!(outcome_of(&open, &resolutions), Ok(()), "{resolutions:?}");
        }
        let run = open.run;
        let doubt = "in doubt: 'send[0]', 'send[2]'; remove the others";
        for (resolutions, name, message) in [
            (vec![repeat("make")], "make", format!("`make` is not in doubt in the run {run}: it has ended (ok) | {doubt}")),
            (
                vec![repeat("send"), skip("send[1]")],
                "send[1]",
                format!("`send[1]` is not in doubt in the run {run}: it has ended (ok) | {doubt}"),
            ),
            (
                vec![skip("try")],
                "try",
                format!("`try` is not in doubt in the run {run}: it failed at attempt 2 and continues from there | {doubt}"),
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
                "`send` has two different resolutions | use either --repeat, or --skip with one result".to_owned(),
            ),
        ] {
            assert_eq!(outcome_of(&open, &resolutions), Err((name.to_owned(), message)));
        }
    }

    #[test]
    fn the_state_of_items_and_compensated_steps_is_reported() {
        let step = Purpose::Step;
        let outcome_of = |entries: Vec<RunEntry>, name: &str| check(&run_record(entries), &plan(), &[repeat(name)]).unwrap_err().1;
        let many =
            (0..7).flat_map(|at| [sending("send", Some(at), step, "t"), item_ended("send", at, end(StepOutcome::Ok))]).collect::<Vec<_>>();
        let error = outcome_of(many.clone(), "send");
        assert!(error.message.contains("`send[0]` has ended (ok), ") && error.message.ends_with("and 2 more"), "{error:?}");
        let id = RunId::new(1, 1);
        assert_eq!(error.hint, format!("no step of the run is in doubt; `switchboard run --resume {id}` continues it"));
        let ended = [many, vec![step_ended("send", StepRecord { items: Some(7), ..end(StepOutcome::Ok) })]].concat();
        assert!(outcome_of(ended.clone(), "send").message.ends_with("it has ended (ok, 7 items)"));
        assert!(outcome_of(ended, "send[8]").message.ends_with("it was never started, and `send` has ended (ok, 7 items)"));
        let undoing = vec![
            sending("make", None, step, "t"),
            step_ended("make", end(StepOutcome::Ok)),
            sending("make", None, Purpose::Compensation, "t"),
        ];
        assert_eq!(check(&run_record(undoing.clone()), &plan(), &[repeat("make")]), Ok(()));
        assert!(
            outcome_of(undoing.clone(), "try").hint.starts_with("in doubt: make (compensation)"),
            "{:?}",
            outcome_of(undoing.clone(), "try")
        );
        let ended = [undoing, vec![undone("make")]].concat();
        assert!(outcome_of(ended, "make").message.ends_with("it was compensated"));
    }

    #[test]
    fn the_resolution_of_the_most_specific_name_applies() {
        let resolutions = [("send".to_owned(), StepAnswer::Approve), repeat("send"), skip("send[1]")];
        assert_eq!(resolution(&resolutions, &Place::new("send", Some(0), Purpose::Step)), Some(&StepAnswer::Repeat));
        assert_eq!(resolution(&resolutions, &Place::new("send", Some(1), Purpose::Step)), Some(&resolutions[2].1));
        assert_eq!(resolution(&resolutions, &Place::new("make", None, Purpose::Step)), None);
    }
}
