//! Names of steps as people give them and as the journal has them: `send`, `send[3]` for one item, `outer/inner` for a
//! step of a workflow within, `outer[2]/inner` for that of one item.
//!
//! Numbers may be left out of a name; it then means every item. The id of a step within is enough where a single
//! answer is wanted for all of that id.

use super::{
    near,
    plan::{Action, Fallback, Plan, PlanStep},
};

/// How many names are told when one is not known.
const TOLD: usize = 20;

/// One id of a path, with the number of its item if there is one.
type Part<'t> = (&'t str, Option<u32>);

/// Reads one id of a path. `None` when it is malformed.
fn part(text: &str) -> Option<Part<'_>> {
    match text.split_once('[') {
        None => (!text.is_empty() && !text.contains(']')).then_some((text, None)),
        Some((id, rest)) => Some((id, Some(rest.strip_suffix(']')?.parse().ok()?))),
    }
}

fn parts(text: &str) -> Option<Vec<Part<'_>>> {
    text.split('/').map(part).collect()
}

/// How exactly `name` means the step of a path, or one item of it: greater is more exact. `None` when it means another.
pub fn means(name: &str, path: &str, item: Option<u32>) -> Option<usize> {
    let (name, mut path) = (parts(name)?, parts(path)?);
    path.last_mut()?.1 = item;
    let bare = name.len() == 1 && path.len() > 1;
    let path = if bare { &path[path.len() - 1..] } else { &path[..] };
    let fits = |(own, wanted): (&Part<'_>, &Part<'_>)| own.0 == wanted.0 && (own.1.is_none() || own.1 == wanted.1);
    if name.len() != path.len() || !name.iter().zip(path).all(fits) {
        return None;
    }
    let numbers = name.iter().filter(|(_, item)| item.is_some()).count();
    Some(numbers * 2 + usize::from(!bare))
}

/// Whether `name`, as a path from the top, means the step of a path with all of its items.
pub fn means_step(name: &str, path: &str) -> bool {
    let levels = |text: &str| text.split('/').count();
    levels(name) == levels(path) && means(name, path, None).is_some()
}

/// The name of a step, or an item of it, as it is typed for a flag: quoted where a shell takes brackets for a pattern.
pub fn shell(path: &str, item: Option<u32>) -> String {
    let item = item.map(|item| format!("[{item}]")).unwrap_or_default();
    let name = format!("{path}{item}");
    if name.contains('[') { format!("'{name}'") } else { name }
}

/// The step of a path as the journal has it.
pub fn find<'p>(plan: &'p Plan, path: &str) -> Option<&'p PlanStep> {
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let step = plan.step(part(first)?.0)?;
    match (rest, &step.action) {
        (None, _) => Some(step),
        (Some(rest), Action::Workflow { plan, .. }) => find(plan, rest),
        _ => None,
    }
}

/// Which steps a name may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Any, as a whole: no items, and by the path from the top.
    Whole,
    /// Those that ask for a yes or no.
    Approve,
    /// Those that ask a person anything.
    Ask,
    /// Those that call tools, themselves or to be undone: only of these the end may be unknown.
    Call,
}

impl Which {
    fn has(self, step: &PlanStep) -> bool {
        match self {
            Which::Whole => true,
            Which::Approve => matches!(step.action, Action::Approve { .. }),
            Which::Ask => matches!(step.action, Action::Approve { .. } | Action::Elicit { .. }),
            Which::Call => {
                matches!(step.action, Action::Tool(_))
                    || step.compensate.is_some()
                    || step.fallback.iter().any(|fallback| matches!(fallback, Fallback::Tool(_)))
            }
        }
    }

    fn words(self) -> &'static str {
        match self {
            Which::Whole => "step",
            Which::Approve => "step that asks for approval",
            Which::Ask => "step that asks a person",
            Which::Call => "step that calls a tool",
        }
    }
}

/// A name that means no step: what is wrong, and what may have been meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoStep {
    /// What is wrong with it.
    pub message: String,
    /// What to do about it: the nearest name, or those that there are.
    pub hint: String,
}

/// Whether a name means a step of a plan, of those that it may mean.
pub fn check(plan: &Plan, name: &str, which: Which) -> Result<(), NoStep> {
    let mut steps: Vec<(String, Vec<bool>)> = vec![];
    gather(plan, which, "", &[], &mut steps);
    let known = || steps.iter().map(|(path, _)| path.as_str());
    let hint = |name: &str| match near(name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if steps.is_empty() => "there is none".to_owned(),
        None => {
            let more = steps.len().saturating_sub(TOLD);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("there are {}{more}", known().take(TOLD).collect::<Vec<_>>().join(", "))
        }
    };
    let none = |name: &str| NoStep { message: format!("`{}` has no {} `{name}`", plan.name, which.words()), hint: hint(name) };
    let Some(given) = parts(name) else { return Err(none(name)) };
    let bare: String = given.iter().map(|(id, _)| *id).collect::<Vec<_>>().join("/");
    let within = |path: &str| which != Which::Whole && given.len() == 1 && path.rsplit('/').next() == Some(&bare);
    let found: Vec<&(String, Vec<bool>)> = steps.iter().filter(|(path, _)| *path == bare || within(path)).collect();
    if found.is_empty() {
        return Err(none(&bare));
    }
    let fits = |(_, each): &&(String, Vec<bool>)| {
        let each = &each[each.len().saturating_sub(given.len())..];
        given.iter().zip(each).all(|((_, item), each)| item.is_none() || *each)
    };
    let last = given.last().is_some_and(|(_, item)| item.is_some());
    if which == Which::Whole && last {
        return Err(NoStep { message: format!("`{name}` is one item of a step"), hint: format!("name the step: `{bare}`") });
    }
    match found.iter().any(fits) {
        true => Ok(()),
        false => {
            Err(NoStep { message: format!("`{name}` names an item where there is no for_each"), hint: format!("name the step: `{bare}`") })
        }
    }
}

/// The paths of the steps, without numbers, and at which of their levels there is a `for_each`.
fn gather(plan: &Plan, which: Which, prefix: &str, around: &[bool], found: &mut Vec<(String, Vec<bool>)>) {
    for step in &plan.steps {
        let path = format!("{prefix}{}", step.id);
        let each = [around, &[step.for_each.is_some()]].concat();
        if which.has(step) {
            found.push((path.clone(), each.clone()));
        }
        if let Action::Workflow { plan, .. } = &step.action {
            gather(plan, which, &format!("{path}/"), &each, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::parse::{Source, parse};

    #[test]
    fn the_most_exact_name_is_told() {
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
            assert_eq!(means(name, path, item), exact, "{name} for {path} {item:?}");
        }
        assert!(means_step("a/b", "a[1]/b") && means_step("b", "b") && !means_step("b", "a/b"));
    }

    #[test]
    fn unknown_names_are_refused_with_those_that_there_are() {
        let source = |text: &str| Source { file: "t.toml".into(), text: text.into() };
        let inner = "name = \"inner\"\n[[step]]\nid = \"send\"\ntool = \"t\"\n[[step]]\nid = \"sure\"\napprove = \"?\"\n";
        let outer = "name = \"outer\"\n[input]\nto = \"string[]\"\n[[step]]\nid = \"charge\"\ntool = \"t\"\n\
                     [[step]]\nid = \"all\"\nworkflow = \"inner\"\nfor_each = \"{{ input.to }}\"\n";
        let plan = parse(&source(outer), &|_| Some(source(inner))).unwrap();
        for (name, which) in [
            ("charge", Which::Call),
            ("all/send", Which::Call),
            ("all[4]/send", Which::Call),
            ("send", Which::Call),
            ("sure", Which::Approve),
            ("all[0]/sure", Which::Ask),
            ("all", Which::Whole),
            ("all/send", Which::Whole),
            ("all[1]/send", Which::Whole),
        ] {
            assert_eq!(check(&plan, name, which), Ok(()), "{name}");
        }
        assert_eq!(find(&plan, "all[3]/send").map(|step| &*step.id), Some("send"));
        assert!(find(&plan, "all/none").is_none() && find(&plan, "charge/send").is_none() && find(&plan, "").is_none());
        for (name, which, message, hint) in [
            ("chrage", Which::Call, "`outer` has no step that calls a tool `chrage`", "did you mean `charge`?"),
            ("nothing", Which::Call, "`outer` has no step that calls a tool `nothing`", "there are charge, all/send"),
            ("all/sent", Which::Call, "`outer` has no step that calls a tool `all/sent`", "did you mean `all/send`?"),
            ("charge", Which::Approve, "`outer` has no step that asks for approval `charge`", "there are all/sure"),
            ("charge[0]", Which::Call, "`charge[0]` names an item where there is no for_each", "name the step: `charge`"),
            ("all/send[0]", Which::Call, "`all/send[0]` names an item where there is no for_each", "name the step: `all/send`"),
            ("all[0]", Which::Whole, "`all[0]` is one item of a step", "name the step: `all`"),
            ("send", Which::Whole, "`outer` has no step `send`", "there are charge, all, all/send, all/sure"),
            ("all[", Which::Call, "`outer` has no step that calls a tool `all[`", "there are charge, all/send"),
        ] {
            let wrong = check(&plan, name, which).unwrap_err();
            assert_eq!((wrong.message.as_str(), wrong.hint.as_str()), (message, hint));
        }
    }
}
