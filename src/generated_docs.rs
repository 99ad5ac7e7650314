//! The reference pages in `docs/` that are generated from the program: keys, filters, exit codes and configuration keys.
//!
//! Tests compare each page with the program. `UPDATE_DOCS=1 cargo test --lib -- generated_docs` writes them again. Text
//! around the generated part of a page is not changed.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use crate::{
    cli::exit,
    domain::{call::FailureKind, run::RunOutcome},
    tui::{
        action::Action,
        filter::{self, LANGUAGE},
        keymap::{Context, Keymap},
        rows::Rows,
    },
};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Fails when a file differs from the text that the program generates, or writes it if `UPDATE_DOCS` is set.
pub(crate) fn compare_or_update(path: &str, generated: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        // In one step: other tests read the page meanwhile.
        let (path, new) = (in_repository(path), in_repository(&format!("{path}.new")));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&new, generated).unwrap();
        std::fs::rename(new, path).unwrap();
        return;
    }
    let found = std::fs::read_to_string(in_repository(path)).unwrap_or_default();
    assert!(
        found == generated,
        "{path} differs from the program. Run: UPDATE_DOCS=1 cargo test --lib -- generated_docs pictures docs_tests"
    );
}

/// Compares the part of a page between `<!-- generated -->` and `<!-- end -->`.
fn compare_part(path: &str, generated: &str) {
    let page = std::fs::read_to_string(in_repository(path)).unwrap();
    let (before, rest) = page.split_once("<!-- generated -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    compare_or_update(path, &format!("{before}<!-- generated -->\n\n{}\n\n<!-- end -->{after}", generated.trim()));
}

/// Text in a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The key tables: one for each context, and the actions without a key.
fn keys(map: &Keymap) -> String {
    let mut out = String::new();
    for context in Context::ALL {
        let _ = write!(out, "## `{}`\n\n{}\n\n| Key | Action | Effect |\n|---|---|---|\n", context.name(), context.about());
        for action in map.hints(*context).into_iter().map(|(_, action)| action) {
            let keys: Vec<String> = map.keys_of(*context, action).iter().map(|key| format!("`{}`", cell(key))).collect();
            let _ = writeln!(out, "| {} | `{}` | {} |", keys.join(" "), action.name(), cell(action.help()));
        }
        out.push('\n');
    }
    out.push_str("## Actions without a key\n\nThe palette (`:`) runs them.\n\n| Action | Effect |\n|---|---|\n");
    let bound = |action: Action| Context::ALL.iter().any(|context| !map.keys_of(*context, action).is_empty());
    for action in Action::ALL.iter().filter(|action| !bound(**action)) {
        let _ = writeln!(out, "| `{}` | {} |", action.name(), cell(action.help()));
    }
    out
}

#[test]
fn the_page_about_clients_is_the_table_of_kinds() {
    compare_part("docs/clients.md", &crate::config::clients_page());
}

#[test]
fn the_key_page_is_the_keymap() {
    compare_part("docs/keys.md", &keys(&Keymap::built_in()));
    let mut other = Keymap::built_in();
    other.bind("global", "f9", "zoom").unwrap();
    assert_ne!(keys(&other), keys(&Keymap::built_in()), "the page follows the keys");
}

/// The filter language: examples with their meaning, and the words of each field.
fn filters() -> String {
    let mut out = String::from("| Example | Matches |\n|---|---|\n");
    for (example, meaning) in LANGUAGE {
        let _ = writeln!(out, "| `{}` | {} |", cell(example), cell(meaning));
    }
    out.push_str("\n| Field | Values |\n|---|---|\n");
    for field in ["outcome", "origin", "kind"] {
        let prefix = format!("{field}:");
        let words = filter::complete(&prefix, &Rows::default());
        let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.trim_start_matches(&prefix))).collect();
        let _ = writeln!(out, "| `{field}` | {} |", words.join(" "));
    }
    out
}

#[test]
fn the_filter_page_is_the_language_that_is_parsed() {
    compare_part("docs/filters.md", &filters());
    for (example, _) in LANGUAGE.iter().filter(|(example, _)| !example.contains('…')) {
        let (parsed, mistakes) = filter::Filter::parse(example);
        assert!(mistakes.is_empty() && !parsed.is_empty(), "{example}: {mistakes:?}");
    }
}

/// The exit codes: the whole table, then the codes of failed calls and of workflow runs.
fn exit_codes() -> String {
    let mut out = String::from("| Code | Meaning |\n|---|---|\n");
    for (code, meaning) in exit::TABLE {
        let _ = writeln!(out, "| {code} | {} |", cell(meaning));
    }
    out.push_str("\n## How a call failed\n\n`failure.kind` in `--json` output, and its code:\n\n| Kind | Code |\n|---|---|\n");
    for kind in FAILURES {
        let _ = writeln!(out, "| `{}` | {} |", word(&kind), exit::of_failure(kind));
    }
    out.push_str("\n## How a workflow run ended\n\n`outcome` in `--json` output, and its code:\n\n| Outcome | Code |\n|---|---|\n");
    for outcome in OUTCOMES {
        let _ = writeln!(out, "| `{}` | {} |", word(&outcome), exit::of_run(outcome));
    }
    out
}

const FAILURES: [FailureKind; 13] = [
    FailureKind::UnknownServer,
    FailureKind::UnknownTool,
    FailureKind::InvalidArguments,
    FailureKind::NotReady,
    FailureKind::BreakerOpen,
    FailureKind::Transport,
    FailureKind::Protocol,
    FailureKind::Exited,
    FailureKind::TooLarge,
    FailureKind::Unauthorized,
    FailureKind::Timeout,
    FailureKind::Refused,
    FailureKind::Overloaded,
];

const OUTCOMES: [RunOutcome; 11] = [
    RunOutcome::Ok,
    RunOutcome::Partial,
    RunOutcome::Failed,
    RunOutcome::Compensated,
    RunOutcome::CompensationFailed,
    RunOutcome::TimedOut,
    RunOutcome::Cancelled,
    RunOutcome::Refused,
    RunOutcome::InDoubt,
    RunOutcome::Waiting,
    RunOutcome::Invalid,
];

/// The word of a value in JSON output.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn the_page_of_exit_codes_is_what_the_program_returns() {
    compare_part("docs/exit-codes.md", &exit_codes());
}

#[test]
fn the_page_and_the_schema_of_the_json_output_are_the_table() {
    let output = crate::cli::output_schema::Output::read().unwrap();
    compare_part("docs/json.md", &output.page());
    compare_or_update("docs/json.schema.json", &format!("{:#}\n", output.schema()));
}

#[test]
fn the_page_of_variables_is_the_table() {
    let rows = |items: &[(&str, &str)]| {
        let code = |names: &str| names.split(", ").map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        items.iter().map(|(names, text)| format!("| {} | {} |\n", code(names), cell(text))).collect::<String>()
    };
    let page = format!(
        "## Variables\n\n| Variable | Meaning |\n|---|---|\n{}\n## Files\n\n| File | Meaning |\n|---|---|\n{}",
        rows(crate::cli::reference::ENVIRONMENT),
        rows(crate::cli::reference::FILES)
    );
    compare_part("docs/variables.md", &page);
}

/// One paragraph of comment in `config.example.toml` with the keys below it.
#[derive(Default)]
struct Entry {
    about: Vec<String>,
    /// Keys with their values as written, and whether the line is an example rather than a default.
    keys: Vec<(String, String, bool)>,
}

/// The reference of configuration keys: `config.example.toml` as tables.
fn configuration(example: &str) -> String {
    let mut out = String::from("## Top level\n\n");
    let (mut entry, mut rows) = (Entry::default(), vec![]);
    // The page has an introduction of its own instead of the one of the file.
    let first = example.lines().position(|line| !line.starts_with('#') && line.contains(" = ")).unwrap();
    let skipped = example.lines().take(first).collect::<Vec<_>>().iter().rposition(|line| line.is_empty()).unwrap();
    let mut lines = example.lines().skip(skipped + 1);
    while let Some(line) = lines.next() {
        let example = line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' '));
        let code = example.unwrap_or(line);
        if let Some(text) = line.strip_prefix("# ") {
            if !entry.keys.is_empty() {
                rows.push(std::mem::take(&mut entry));
            }
            entry.about.push(text.to_owned());
        } else if code.starts_with('[') {
            let about = if entry.keys.is_empty() { std::mem::take(&mut entry.about) } else { vec![] };
            finish(&mut out, &mut rows, &mut entry);
            let _ = writeln!(out, "## `{code}`\n");
            if !about.is_empty() {
                let _ = writeln!(out, "{}\n", about.join(" ").replace(" \n\n ", "\n\n"));
            }
        } else if let Some((key, value)) = code.split_once(" = ") {
            let mut value = value.to_owned();
            if value == "[" {
                let rest = lines.by_ref().map(|line| line.trim_start_matches('#').trim());
                let rest: Vec<&str> = rest.scan(false, |ended, part| (!std::mem::replace(ended, part == "]")).then_some(part)).collect();
                value = format!("[{}", rest.join(" ").replace(", ]", "]"));
            }
            entry.keys.push((key.to_owned(), value, example.is_some()));
        } else if entry.keys.is_empty() && !entry.about.is_empty() {
            entry.about.push("\n\n".to_owned());
        }
    }
    finish(&mut out, &mut rows, &mut entry);
    out
}

/// Writes the rows of a table so far.
fn finish(out: &mut String, rows: &mut Vec<Entry>, last: &mut Entry) {
    rows.push(std::mem::take(last));
    rows.retain(|row| !row.keys.is_empty());
    if rows.is_empty() {
        return;
    }
    out.push_str("| Key | Default | Meaning |\n|---|---|---|\n");
    for row in rows.drain(..) {
        let mut names: Vec<String> = vec![];
        let mut values = vec![];
        for (key, value, example) in &row.keys {
            let name = format!("`{key}`");
            if !names.contains(&name) {
                names.push(name);
            }
            let value = cell(value.split("  #").next().unwrap_or(value).trim());
            values.push(if *example { format!("example: `{value}`") } else { format!("`{value}`") });
        }
        let _ = writeln!(out, "| {} | {} | {} |", names.join("<br>"), values.join("<br>"), cell(&row.about.join(" ")));
    }
    out.push('\n');
}

#[test]
fn the_page_of_policies_has_every_key_of_the_example() {
    let example = std::fs::read_to_string(in_repository("config.example.toml")).unwrap();
    let page = configuration(&example);
    for line in example.lines() {
        let code = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
        if let Some((key, _)) = code.split_once(" = ").filter(|(key, _)| !key.contains([' ', '{'])) {
            assert!(page.contains(&format!("`{key}`")), "the page lacks {key}");
        }
    }
    compare_part("docs/policies.md", &page);
}
