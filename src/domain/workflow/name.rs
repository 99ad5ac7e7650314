//! Step names: how users and the journal name steps and items.
//!
//! `send` is a step, `send[3]` one item, `outer/inner` a step of a nested workflow, `outer[2]/inner` that step for
//! one item. A name without item numbers matches every item. Where one answer applies to all steps with the same id,
//! the id of a nested step alone is enough.

use super::{
    closest_match,
    plan::{Action, Fallback, Plan, PlanStep},
};

/// How many known names are listed for an unknown one.
const MAX_LISTED_NAMES: usize = 20;

/// One id of a path, with its item number if there is one.
type Segment<'t> = (&'t str, Option<u32>);

/// Parses one segment of a path. Returns `None` if it is malformed.
fn parse_segment(text: &str) -> Option<Segment<'_>> {
    match text.split_once('[') {
        None => (!text.is_empty() && !text.contains(']')).then_some((text, None)),
        Some((id, rest)) => Some((id, Some(rest.strip_suffix(']')?.parse().ok()?))),
    }
}

fn parse_path(text: &str) -> Option<Vec<Segment<'_>>> {
    text.split('/').map(parse_segment).collect()
}

/// Returns how specifically `name` matches a step path and item (higher is more specific); `None` if it does not
/// match.
pub fn specificity(name: &str, path: &str, item: Option<u32>) -> Option<usize> {
    let (name, mut path) = (parse_path(name)?, parse_path(path)?);
    path.last_mut()?.1 = item;
    let id_only = name.len() == 1 && path.len() > 1;
    let path = if id_only { &path[path.len() - 1..] } else { &path[..] };
    let fits = |(own, wanted): (&Segment<'_>, &Segment<'_>)| own.0 == wanted.0 && (own.1.is_none() || own.1 == wanted.1);
    if name.len() != path.len() || !name.iter().zip(path).all(fits) {
        return None;
    }
    let numbers = name.iter().filter(|(_, item)| item.is_some()).count();
    Some(numbers * 2 + usize::from(!id_only))
}

/// Returns whether `name`, as a path from the top, names the step at `path` with all of its items.
pub fn names_step(name: &str, path: &str) -> bool {
    let levels = |text: &str| text.split('/').count();
    levels(name) == levels(path) && specificity(name, path, None).is_some()
}

/// Returns the name of a step or item for use in a command line, quoted if it contains brackets, which shells expand.
pub fn shell_quoted(path: &str, item: Option<u32>) -> String {
    let item = item.map(|item| format!("[{item}]")).unwrap_or_default();
    let name = format!("{path}{item}");
    if name.contains('[') { format!("'{name}'") } else { name }
}

/// Returns the step at a journal path.
pub fn find_step<'p>(plan: &'p Plan, path: &str) -> Option<&'p PlanStep> {
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let step = plan.step(parse_segment(first)?.0)?;
    match (rest, &step.action) {
        (None, _) => Some(step),
        (Some(rest), Action::Workflow { plan, .. }) => find_step(plan, rest),
        _ => None,
    }
}

/// The steps that a name may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepFilter {
    /// Any step as a whole: by its path from the top, without item numbers.
    Any,
    /// Steps that ask for approval.
    Approve,
    /// Steps that ask the user anything.
    Ask,
    /// Steps that call tools, directly or for compensation: only these can be in doubt.
    Call,
}

impl StepFilter {
    fn has(self, step: &PlanStep) -> bool {
        match self {
            StepFilter::Any => true,
            StepFilter::Approve => matches!(step.action, Action::Approve { .. }),
            StepFilter::Ask => matches!(step.action, Action::Approve { .. } | Action::Elicit { .. }),
            StepFilter::Call => {
                matches!(step.action, Action::Tool(_))
                    || step.compensate.is_some()
                    || step.fallback.iter().any(|fallback| matches!(fallback, Fallback::Tool { .. }))
            }
        }
    }

    fn words(self) -> &'static str {
        match self {
            StepFilter::Any => "step",
            StepFilter::Approve => "step that asks for approval",
            StepFilter::Ask => "step that asks a person",
            StepFilter::Call => "step that calls a tool",
        }
    }
}

/// A name that matches no step, with a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownStep {
    /// The problem.
    pub message: String,
    /// The hint: the most similar name, or the known names.
    pub hint: String,
}

/// Checks that a name matches a step of the plan, among those that `which` allows.
pub fn check(plan: &Plan, name: &str, which: StepFilter) -> Result<(), UnknownStep> {
    let mut steps: Vec<(String, Vec<bool>)> = vec![];
    collect_steps(plan, which, "", &[], &mut steps);
    let known = || steps.iter().map(|(path, _)| path.as_str());
    let hint = |name: &str| match closest_match(name, known()) {
        Some(closest_match) => format!("did you mean `{closest_match}`?"),
        None if steps.is_empty() => "the workflow has none".to_owned(),
        None => {
            let more = steps.len().saturating_sub(MAX_LISTED_NAMES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("available: {}{more}", known().take(MAX_LISTED_NAMES).collect::<Vec<_>>().join(", "))
        }
    };
    let unknown = |name: &str| UnknownStep { message: format!("`{}` has no {} `{name}`", plan.name, which.words()), hint: hint(name) };
    let Some(segments) = parse_path(name) else { return Err(unknown(name)) };
    let id_only: String = segments.iter().map(|(id, _)| *id).collect::<Vec<_>>().join("/");
    let within = |path: &str| which != StepFilter::Any && segments.len() == 1 && path.rsplit('/').next() == Some(&id_only);
    let found: Vec<&(String, Vec<bool>)> = steps.iter().filter(|(path, _)| *path == id_only || within(path)).collect();
    if found.is_empty() {
        return Err(unknown(&id_only));
    }
    let fits = |(_, each): &&(String, Vec<bool>)| {
        let each = &each[each.len().saturating_sub(segments.len())..];
        segments.iter().zip(each).all(|((_, item), each)| item.is_none() || *each)
    };
    let last = segments.last().is_some_and(|(_, item)| item.is_some());
    if which == StepFilter::Any && last {
        return Err(UnknownStep { message: format!("`{name}` is one item of a step"), hint: format!("name the step: `{id_only}`") });
    }
    match found.iter().any(fits) {
        true => Ok(()),
        false => Err(UnknownStep {
            message: format!("`{name}` names an item, but the step has neither for_each nor repeat"),
            hint: format!("name the step: `{id_only}`"),
        }),
    }
}

/// Collects the paths of the steps, without numbers, and the levels that have a `for_each`.
fn collect_steps(plan: &Plan, which: StepFilter, prefix: &str, outer_loops: &[bool], found: &mut Vec<(String, Vec<bool>)>) {
    for step in &plan.steps {
        let path = format!("{prefix}{}", step.id);
        let each = [outer_loops, &[step.has_items()]].concat();
        if which.has(step) {
            found.push((path.clone(), each.clone()));
        }
        if let Action::Workflow { plan, .. } = &step.action {
            collect_steps(plan, which, &format!("{path}/"), &each, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::parse::{Source, parse};

    #[test]
    fn the_most_specific_name_wins() {
        for (name, path, item, exact) in [
            ("a", "a", None, Some(1)),
            ("a", "a", Some(3), Some(1)),
            ("a[3]", "a", Some(3), Some(3)),
            ("a[3]", "a", Some(2), None),
            ("a[3]", "a", None, None),
            ("b", "a[1]/b", None, Some(0)),
            ("a/b", "a[1]/b", None, Some(1)),
            ("a[1]/b", "a[1]/b", Some(7), Some(3)),
            ("a[1]/b[7]", "a[1]/b", Some(7), Some(5)),
            ("a[2]/b", "a[1]/b", None, None),
            ("a", "a[1]/b", None, None),
            ("a[x]", "a", Some(1), None),
            ("", "a", None, None),
        ] {
            assert_eq!(specificity(name, path, item), exact, "{name} for {path} {item:?}");
        }
        assert!(names_step("a/b", "a[1]/b") && names_step("b", "b") && !names_step("b", "a/b"));
    }

    #[test]
    fn unknown_names_are_rejected_with_the_available_ones() {
        let source = |text: &str| Source { file: "t.toml".into(), text: text.into() };
        let inner = "name = \"inner\"\n[[step]]\nid = \"send\"\ntool = \"t\"\n[[step]]\nid = \"sure\"\napprove = \"?\"\n";
        let outer = "name = \"outer\"\n[input]\nto = \"string[]\"\n[[step]]\nid = \"charge\"\ntool = \"t\"\n\
                     [[step]]\nid = \"all\"\nworkflow = \"inner\"\nfor_each = \"{{ input.to }}\"\n";
        let plan = parse(&source(outer), &|_| Some(source(inner))).unwrap();
        for (name, which) in [
            ("charge", StepFilter::Call),
            ("all/send", StepFilter::Call),
            ("all[4]/send", StepFilter::Call),
            ("send", StepFilter::Call),
            ("sure", StepFilter::Approve),
            ("all[0]/sure", StepFilter::Ask),
            ("all", StepFilter::Any),
            ("all/send", StepFilter::Any),
            ("all[1]/send", StepFilter::Any),
        ] {
            assert_eq!(check(&plan, name, which), Ok(()), "{name}");
        }
        assert_eq!(find_step(&plan, "all[3]/send").map(|step| &*step.id), Some("send"));
        assert!(find_step(&plan, "all/none").is_none() && find_step(&plan, "charge/send").is_none() && find_step(&plan, "").is_none());
        for (name, which, message, hint) in [
            ("chrage", StepFilter::Call, "`outer` has no step that calls a tool `chrage`", "did you mean `charge`?"),
            ("nothing", StepFilter::Call, "`outer` has no step that calls a tool `nothing`", "available: charge, all/send"),
            ("all/sent", StepFilter::Call, "`outer` has no step that calls a tool `all/sent`", "did you mean `all/send`?"),
            ("charge", StepFilter::Approve, "`outer` has no step that asks for approval `charge`", "available: all/sure"),
            (
                "charge[0]",
                StepFilter::Call,
                "`charge[0]` names an item, but the step has neither for_each nor repeat",
                "name the step: `charge`",
            ),
            (
                "all/send[0]",
                StepFilter::Call,
                "`all/send[0]` names an item, but the step has neither for_each nor repeat",
                "name the step: `all/send`",
            ),
            ("all[0]", StepFilter::Any, "`all[0]` is one item of a step", "name the step: `all`"),
            ("send", StepFilter::Any, "`outer` has no step `send`", "available: charge, all, all/send, all/sure"),
            ("all[", StepFilter::Call, "`outer` has no step that calls a tool `all[`", "available: charge, all/send"),
        ] {
            let error = check(&plan, name, which).unwrap_err();
            assert_eq!((error.message.as_str(), error.hint.as_str()), (message, hint));
        }
    }
}
