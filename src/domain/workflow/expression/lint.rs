//! Hints for expressions that were written for another language, and for comparisons that are never true.

use minijinja::machinery::ast::{BinOpKind, CallArg, CompareOpKind, Expr};

use super::engine;
use crate::domain::workflow::closest_match;

/// The outcomes of a step.
pub(super) const OUTCOMES: [&str; 4] = ["ok", "failed", "skipped", "cancelled"];
/// The outcomes of a run that expressions can see.
const RUN_OUTCOMES: [&str; 8] = ["ok", "partial", "failed", "compensated", "compensation_failed", "timed_out", "cancelled", "refused"];

/// Methods of other languages, with what to write for them.
const METHODS: [(&str, &str); 16] = [
    ("strip", "| trim"),
    ("startswith", "is startingwith(…)"),
    ("startsWith", "is startingwith(…)"),
    ("endswith", "is endingwith(…)"),
    ("endsWith", "is endingwith(…)"),
    ("toUpperCase", "| upper"),
    ("toLowerCase", "| lower"),
    ("includes", "… in …"),
    ("contains", "… in …"),
    ("get", "| default(…)"),
    ("filter", "| selectattr(…)"),
    ("toString", "| string"),
    ("append", "… + […]"),
    ("concat", "… + …"),
    ("push", "… + […]"),
    ("size", "| length"),
];

/// Returns the hint for a method call, which values do not have.
pub(super) fn method_hint(name: &str) -> String {
    let known = METHODS.iter().find(|(method, _)| *method == name);
    match known {
        Some((_, instead)) => format!("write `{instead}`"),
        None if engine::has_filter(name) => format!("use the filter: `| {name}`"),
        None if engine::has_test(name) => format!("use the test: `is {name}`"),
        None => match closest_match(name, engine::filters()) {
            Some(filter) => format!("did you mean the filter `| {filter}`?"),
            None => "values have no methods; use filters".to_owned(),
        },
    }
}

/// Returns the hint for an expression with a syntax error, if it uses an operator of another language.
pub(super) fn syntax_hint(source: &str) -> Option<String> {
    let code = without_strings(source);
    let hint = match () {
        () if code.contains("===") => "use `==` to compare",
        () if code.contains("!==") => "use `!=` to compare",
        () if code.contains("&&") => "use `and`",
        () if code.contains("||") => "use `or`",
        () if code.contains('?') => "use `a if condition else b`",
        () if code.trim_start().starts_with('$') || code.contains("${") => "write the name without `$`",
        () if code.contains("=>") => "use filters such as `map(attribute='name')` instead of functions",
        () if assigns(&code) => "use `==` to compare",
        () if negates(&code) => "use `not`",
        () => return None,
    };
    Some(hint.to_owned())
}

/// Returns the expression with the content of its strings blanked.
fn without_strings(source: &str) -> String {
    let mut quote = None;
    let mut escaped = false;
    let blank = |c: char| {
        let inside = quote.is_some();
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        if inside { ' ' } else { c }
    };
    source.chars().map(blank).collect()
}

/// Returns whether an equals sign outside of parentheses does not compare.
fn assigns(code: &str) -> bool {
    let bytes = code.as_bytes();
    let mut depth = 0usize;
    bytes.iter().enumerate().any(|(at, byte)| {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let before = at.checked_sub(1).map(|at| bytes[at]);
        let compares = matches!(before, Some(b'=' | b'!' | b'<' | b'>')) || bytes.get(at + 1) == Some(&b'=');
        *byte == b'=' && depth == 0 && !compares
    })
}

/// Returns whether an exclamation mark negates something.
fn negates(code: &str) -> bool {
    code.match_indices('!').any(|(at, _)| !code[at + 1..].starts_with('='))
}

/// An outcome that a comparison names and that does not exist: the word, and the hint.
pub(super) type UnknownOutcome = (String, String);

/// Returns the outcome in a comparison of two operands that never occurs.
pub(super) fn outcome_of_operation(op: &BinOpKind, left: &Expr<'_>, right: &Expr<'_>) -> Option<UnknownOutcome> {
    match op {
        BinOpKind::Eq | BinOpKind::Ne => unknown_outcome(left, right).or_else(|| unknown_outcome(right, left)),
        BinOpKind::In => unknown_outcome(left, right),
        _ => None,
    }
}

/// Returns the outcome in one comparison of a chain that never occurs.
pub(super) fn outcome_of_comparison(op: &CompareOpKind, left: &Expr<'_>, right: &Expr<'_>) -> Option<UnknownOutcome> {
    match op {
        CompareOpKind::Eq | CompareOpKind::Ne => unknown_outcome(left, right).or_else(|| unknown_outcome(right, left)),
        CompareOpKind::In | CompareOpKind::NotIn => unknown_outcome(left, right),
        _ => None,
    }
}

/// Returns the outcome that a filter such as `selectattr('outcome', 'eq', 'success')` compares with.
pub(super) fn outcome_of_filter(name: &str, arguments: &[CallArg<'_>]) -> Option<UnknownOutcome> {
    if !matches!(name, "selectattr" | "rejectattr") {
        return None;
    }
    let text = |index: usize| match arguments.get(index) {
        Some(CallArg::Pos(expr)) => expr.as_const().and_then(|value| value.as_str().map(str::to_owned)),
        _ => None,
    };
    let compares = matches!(text(1)?.as_str(), "eq" | "equalto" | "ne" | "==" | "!=");
    (text(0)? == "outcome" && compares).then(|| check(&text(2)?, &OUTCOMES)).flatten()
}

fn unknown_outcome(reference: &Expr<'_>, compared: &Expr<'_>) -> Option<UnknownOutcome> {
    let known = known_outcomes(reference)?;
    let value = compared.as_const()?;
    match value.as_str() {
        Some(word) => check(word, known),
        None => value.try_iter().ok()?.find_map(|item| check(item.as_str()?, known)),
    }
}

fn check(word: &str, known: &[&str]) -> Option<UnknownOutcome> {
    if known.contains(&word) {
        return None;
    }
    let hint = match word {
        "success" | "succeeded" | "successful" | "completed" | "done" | "passed" => "did you mean `ok`?".to_owned(),
        "failure" | "error" | "errored" => "did you mean `failed`?".to_owned(),
        other => match closest_match(other, known.iter().copied()) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None => format!("one of {}", known.join(", ")),
        },
    };
    Some((word.to_owned(), hint))
}

/// Returns the outcomes that a reference can have: `steps.ID.outcome` or `run.outcome`.
fn known_outcomes(reference: &Expr<'_>) -> Option<&'static [&'static str]> {
    let Expr::GetAttr(last) = reference else { return None };
    if last.name != "outcome" {
        return None;
    }
    match &last.expr {
        Expr::Var(var) if var.id == "run" => Some(&RUN_OUTCOMES),
        Expr::GetAttr(step) => matches!(&step.expr, Expr::Var(var) if var.id == "steps").then_some(&OUTCOMES[..]),
        _ => None,
    }
}
