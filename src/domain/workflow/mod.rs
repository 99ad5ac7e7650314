//! Workflows: saved flows of calls over several servers, as plain data that is right by construction.
//!
//! Owns the format (a TOML file a workflow, `docs/workflows.md`), the [`plan::Plan`] that a file becomes, the
//! expressions in it and everything that can be told of a plan without running it: problems with their
//! places, the layers of its graph, its JSON Schema. Reading a file ends in a plan or in every
//! [`problem::Problem`] of it; who holds a plan needs to check nothing again.
//!
//! The runner and every face use it; nothing here runs, reads a file or knows the time. `minijinja` is named
//! in `expression/` only, `toml` in `source` only.

pub mod answer;
pub mod case;
pub mod catalog_lookup;
pub mod check;
pub mod dry_run;
pub mod export;
pub mod expression;
pub mod graph;
pub mod history;
pub mod input;
pub mod input_values;
pub mod keys;
pub mod name;
pub mod parse;
pub mod plan;
pub mod problem;
pub mod schedule;
mod source;

#[cfg(test)]
mod docs_tests;

use super::spelling::edit_distance;

/// The workflows of the demo: name and text.
pub const DEMO: [(&str, &str); 4] = [
    ("onboard_new_user", include_str!("../../../assets/workflows/onboard_new_user.toml")),
    ("enrich_user_data", include_str!("../../../assets/workflows/enrich_user_data.toml")),
    ("notify_all", include_str!("../../../assets/workflows/notify_all.toml")),
    ("resilient_charge", include_str!("../../../assets/workflows/resilient_charge.toml")),
];

/// The test files of the demo's workflows: the workflow's name and the text.
pub const DEMO_TESTS: [(&str, &str); 4] = [
    ("onboard_new_user", include_str!("../../../assets/workflows/onboard_new_user.test.toml")),
    ("enrich_user_data", include_str!("../../../assets/workflows/enrich_user_data.test.toml")),
    ("notify_all", include_str!("../../../assets/workflows/notify_all.test.toml")),
    ("resilient_charge", include_str!("../../../assets/workflows/resilient_charge.test.toml")),
];

/// The one of `all` that was probably meant by `name`: the nearest, if it is near enough.
pub(crate) fn near<'a>(name: &str, all: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = match name.chars().count() {
        0..=4 => 1,
        5..=7 => 2,
        _ => 3,
    };
    let folded = name.to_lowercase();
    let best = all.into_iter().map(|known| (edit_distance(&folded, &known.to_lowercase()), known)).min_by_key(|(distance, _)| *distance)?;
    (best.0 <= allowed && best.0 < best.1.chars().count()).then_some(best.1)
}
