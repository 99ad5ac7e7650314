//! Workflows: the file format, validated plans, expressions, and everything that can be derived without running.
//!
//! Owns the format (one TOML file per workflow, `docs/workflows.md`), the [`plan::Plan`] that a file is parsed to,
//! its expressions, and the static results: problems with their positions, dry run, graph layers, JSON Schema.
//! Parsing returns either a plan or every [`problem::Problem`] of the file; a plan needs no further checks.
//!
//! The runner, CLI and console use this module. Nothing here runs a workflow, reads files or uses the clock. Only
//! `expression/` names `minijinja`, and only `source` names `toml`.

pub mod answer;
pub mod case;
pub mod catalog_lookup;
pub mod check;
pub mod dry_run;
pub mod dry_run_view;
pub mod export;
pub mod expression;
pub mod graph;
pub mod history;
pub mod input;
pub mod input_values;
pub mod keys;
pub mod library;
pub mod name;
pub mod parse;
pub mod plan;
pub mod problem;
pub mod saved_call;
pub mod schedule;
mod source;
pub mod tool;

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

/// The test files of the demo's workflows: name of the workflow and text.
pub const DEMO_TESTS: [(&str, &str); 4] = [
    ("onboard_new_user", include_str!("../../../assets/workflows/onboard_new_user.test.toml")),
    ("enrich_user_data", include_str!("../../../assets/workflows/enrich_user_data.test.toml")),
    ("notify_all", include_str!("../../../assets/workflows/notify_all.test.toml")),
    ("resilient_charge", include_str!("../../../assets/workflows/resilient_charge.test.toml")),
];

/// Returns the candidate most similar to `name`, if one is similar enough, for "did you mean" hints.
pub(crate) fn closest_match<'a>(name: &str, all: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = match name.chars().count() {
        0..=4 => 1,
        5..=7 => 2,
        _ => 3,
    };
    let folded = name.to_lowercase();
    let best = all.into_iter().map(|known| (edit_distance(&folded, &known.to_lowercase()), known)).min_by_key(|(distance, _)| *distance)?;
    let longer = name.chars().count().max(best.1.chars().count());
    (best.0 <= allowed && best.0 < longer).then_some(best.1)
}
