//! The filter of the traffic view: evaluates the filter language ([`crate::domain::filter`]) over rows, and completes it. Pure.

use crate::domain::{
    call::OriginKind,
    glob::matches_or_contains,
    program_session::{self, SessionKind},
};

use crate::domain::filter::{FIELDS, outcomes};
pub use crate::domain::filter::{Filter, LANGUAGE, OutcomeClass, ParseError, Term, Test};

use super::rows::{CallState, Row, RowId, RowKind, Rows};

/// Returns completions of the word before the cursor: whole words, the most likely first. Empty if nothing matches.
pub fn complete(text: &str, rows: &Rows) -> Vec<String> {
    let start = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &text[start..];
    let (not, bare) = word.strip_prefix('!').map_or(("", word), |rest| ("!", rest));
    if bare.starts_with(['"', '>', '<']) {
        return vec![];
    }
    let Some((field, value)) = bare.split_once(':') else {
        return FIELDS.iter().filter(|f| f.starts_with(&bare.to_lowercase())).map(|f| format!("{not}{f}:")).collect();
    };
    let (before, last) = value.rsplit_once('|').map_or(("", value), |(_, last)| (&value[..value.len() - last.len()], last));
    let last = last.to_lowercase();
    let mut values: Vec<String> = match field {
        "server" => rows.names().iter().map(|n| n.server.to_string()).collect(),
        "tool" => rows.names().iter().map(|n| n.tool.to_string()).collect(),
        "run" => rows.workflows().flat_map(|(run, name)| [name.to_string(), run.short()]).collect(),
        "client" => rows.clients().map(|(_, client)| client.name.as_ref().map_or(client.id.to_string(), |name| name.to_string())).collect(),
        "session" => session_words(rows),
        "outcome" => outcomes().map(|(word, _)| word.into_owned()).collect(),
        "origin" => OriginKind::ALL.iter().map(|o| o.word().to_owned()).collect(),
        "kind" => RowKind::ALL.iter().map(|k| k.word().to_owned()).collect(),
        _ => return vec![],
    };
    values.retain(|v| v.to_lowercase().contains(&last) && v.to_lowercase() != last && !v.contains(char::is_whitespace));
    if matches!(field, "server" | "tool" | "run" | "client") {
        values.sort();
        values.dedup();
    }
    values.sort_by_key(|v| !v.to_lowercase().starts_with(&last));
    values.truncate(50);
    values.into_iter().map(|v| format!("{not}{field}:{before}{v}")).collect()
}

fn session_words(rows: &Rows) -> Vec<String> {
    let kinds = SessionKind::ALL.into_iter().map(|kind| kind.word().to_owned());
    let ids = rows.sessions().flat_map(|session| [session.session.to_string(), session.date()]);
    std::iter::once(program_session::LAST.to_owned()).chain(kinds).chain(ids).collect()
}

/// A compiled filter: tests that depend on names only are evaluated once per name.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    filter: Filter,
    /// For each name, for each term, whether the name alone makes the term's test true.
    names: Vec<Box<[bool]>>,
}

impl Matcher {
    /// Compiles a filter.
    pub fn new(filter: Filter) -> Matcher {
        Matcher { filter, names: vec![] }
    }

    /// Returns the filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Returns how many terms search texts, which takes longer than all other tests.
    pub fn texts(&self) -> usize {
        self.filter.terms.iter().filter(|term| matches!(term.test, Test::Text(_))).count()
    }

    /// Returns whether a row in the ring passes.
    pub fn passes(&mut self, id: RowId, rows: &Rows) -> bool {
        let Some(row) = rows.get(id) else { return false };
        while self.names.len() < rows.names().len() {
            let name = &rows.names()[self.names.len()];
            let (server, tool) = (name.server.to_lowercase(), name.tool.to_lowercase());
            let hits = self.filter.terms.iter().map(|term| match &term.test {
                Test::Server(patterns) => patterns.iter().any(|p| matches_or_contains(p, &server)),
                Test::Tool(patterns) => patterns.iter().any(|p| matches_or_contains(p, &tool)),
                Test::Text(text) => server.contains(text) || tool.contains(text) || format!("{server}_{tool}").contains(text),
                _ => false,
            });
            self.names.push(hits.collect());
        }
        let names = self.names.get(usize::from(row.key));
        self.filter.terms.iter().enumerate().all(|(index, term)| {
            let by_name = names.is_some_and(|hits| hits[index]);
            term.not != (by_name || test_matches(&term.test, id, row, rows))
        })
    }
}

/// Returns whether a test matches a row, apart from names.
fn test_matches(test: &Test, id: RowId, row: &Row, rows: &Rows) -> bool {
    match test {
        Test::Server(_) | Test::Tool(_) => false,
        Test::Outcome(which) => which.iter().any(|which| match which {
            OutcomeClass::Is(state) => row.state == *state,
            OutcomeClass::Failed => matches!(row.state, CallState::Failed(_)),
            OutcomeClass::Pending => row.state.pending(),
        }),
        Test::Origin(origins) => row.origin().is_some_and(|origin| origins.contains(&origin)),
        Test::Client(patterns) => rows.client(rows.client_key(id)).is_some_and(|client| {
            let name = client.name.as_deref().unwrap_or_default().to_lowercase();
            patterns.iter().any(|p| matches_or_contains(p, &name) || *p == client.id.to_string())
        }),
        Test::Kind(kinds) => kinds.contains(&row.kind()),
        Test::Session(patterns) => rows.session_of(id).is_some_and(|session| {
            let newest = rows.sessions().all(|other| other.started_ms <= session.started_ms);
            patterns.iter().any(|pattern| session.matches(pattern, newest))
        }),
        Test::Run(patterns) => rows.step_of(row).is_some_and(|step| {
            let name = rows.workflow(step.run).map(|name| name.to_lowercase()).unwrap_or_default();
            let (short, path) = (step.run.short(), step.step.to_lowercase());
            patterns.iter().any(|p| {
                matches_or_contains(p, &name)
                    || matches_or_contains(p, &short)
                    || matches_or_contains(p, &path)
                    || *p == step.run.to_string()
            })
        }),
        Test::Longer(us) => ended(row) && u64::from(row.took_us) > *us,
        Test::Shorter(us) => ended(row) && u64::from(row.took_us) < *us,
        Test::Bigger(bytes) => u64::from(row.sent.max(row.got)) > *bytes,
        Test::Smaller(bytes) => u64::from(row.sent.max(row.got)) < *bytes,
        Test::Text(text) => {
            (row.state != CallState::None && row.state.words().contains(text.as_str()))
                || rows.note_of(row).is_some_and(|note| note.text.to_lowercase().contains(text))
                || rows.text_of(id).contains(text)
        }
    }
}

/// Returns whether the row is a call that ended: only those have a duration.
fn ended(row: &Row) -> bool {
    !row.state.pending() && row.state != CallState::None
}

#[cfg(test)]
mod tests;
