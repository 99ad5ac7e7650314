//! Compiles the filter language ([`crate::domain::filter`]) to SQL over the table of calls.

use rusqlite::types::Value;

use crate::domain::{
    call::{FailureKind, InterimKind},
    filter::{CallState, Filter, OutcomeClass, RowKind, Test},
    glob::is_glob,
    program_session,
};

/// The shortest text that the search index finds, in characters.
const INDEXED: usize = 3;

/// Conditions over the table `calls`, with the values of their parameters.
#[derive(Debug, Default, PartialEq)]
pub struct Conditions {
    /// Conditions that all must hold. Parameters are `?`.
    pub all: Vec<String>,
    /// The values of the parameters.
    pub values: Vec<Value>,
    /// The query of the search index that calls must match.
    pub text: Option<String>,
}

impl Conditions {
    /// Compiles a filter.
    pub fn new(filter: &Filter) -> Conditions {
        let mut conditions = Conditions::default();
        let mut texts = vec![];
        for term in &filter.terms {
            match &term.test {
                Test::Text(text) if text.chars().count() >= INDEXED && !term.not => texts.push(phrase(text)),
                test => {
                    let sql = conditions.test(test);
                    // A NULL does not match, negated or not.
                    conditions.all.push(if term.not { format!("NOT coalesce(({sql}), 0)") } else { format!("({sql})") });
                }
            }
        }
        conditions.text = (!texts.is_empty()).then(|| texts.join(" AND "));
        conditions
    }

    fn bind(&mut self, value: impl Into<Value>) -> &'static str {
        self.values.push(value.into());
        "?"
    }

    fn test(&mut self, test: &Test) -> String {
        match test {
            Test::Server(patterns) => self.any(patterns, |c, p| c.name("server", p)),
            Test::Tool(patterns) => self.any(patterns, |c, p| c.name("tool", p)),
            Test::Run(patterns) => self.any(patterns, |c, p| {
                let (step, run) = (c.name("step", p), c.name("run", p));
                let workflow = c.name("runs.workflow", p);
                format!("{step} OR {run} OR EXISTS (SELECT 1 FROM runs WHERE runs.run = calls.run AND {workflow})")
            }),
            Test::Outcome(classes) => {
                let words: Vec<&str> = classes.iter().flat_map(outcome_words).collect();
                self.one_of("outcome", &words)
            }
            Test::Origin(kinds) => {
                let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
                self.one_of("origin", &words)
            }
            // As the console compares them. Numbers are unique within one run of the engine only.
            Test::Client(patterns) => {
                let any = self.any(patterns, |c, p| {
                    let name = c.name("coalesce(json_extract(spec, '$.client_name'), '')", p);
                    let number = c.bind(p.to_owned());
                    format!("{name} OR CAST(json_extract(spec, '$.client') AS TEXT) = {number}")
                });
                format!("json_extract(spec, '$.client') IS NOT NULL AND ({any})")
            }
            Test::Session(patterns) => {
                let any = self.any(patterns, |c, p| match p {
                    program_session::LAST => {
                        "session = (SELECT session FROM sessions ORDER BY started_ms DESC, session LIMIT 1)".to_owned()
                    }
                    p => {
                        let (id, kind) = (c.name("printf('%08x', session)", p), c.name("kind", p));
                        format!("{id} OR {kind} OR {}", c.name("strftime('%Y-%m-%d', started_ms / 1000, 'unixepoch')", p))
                    }
                });
                format!("instance IN (SELECT session FROM sessions WHERE {any})")
            }
            // The history has no other kinds.
            Test::Kind(kinds) => {
                let stored = [(RowKind::Call, "0"), (RowKind::Lifecycle, "1")];
                let wanted: Vec<&str> = stored.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, number)| *number).collect();
                format!("calls.kind IN ({})", wanted.join(", "))
            }
            Test::Longer(us) => format!("took_us > {}", self.bind(integer(*us))),
            Test::Shorter(us) => format!("took_us < {}", self.bind(integer(*us))),
            Test::Bigger(bytes) => format!("max(sent_bytes, received_bytes) > {}", self.bind(integer(*bytes))),
            Test::Smaller(bytes) => format!("max(sent_bytes, received_bytes) < {}", self.bind(integer(*bytes))),
            Test::Text(text) if text.chars().count() >= INDEXED => {
                format!("call IN (SELECT rowid FROM calls_text WHERE calls_text MATCH {})", self.bind(phrase(text)))
            }
            Test::Text(text) => {
                let text = self.bind(text.clone());
                format!("instr(lower(server || ' ' || tool || ' ' || name || ' ' || outcome || ' ' || coalesce(error, '')), {text})")
            }
        }
    }

    fn any(&mut self, patterns: &[String], sql: impl Fn(&mut Conditions, &str) -> String) -> String {
        patterns.iter().map(|pattern| sql(self, pattern)).collect::<Vec<_>>().join(" OR ")
    }

    /// Compares a name as [`crate::domain::glob::matches_or_contains`] does.
    fn name(&mut self, column: &str, pattern: &str) -> String {
        if is_glob(pattern) {
            // A bracket has no meaning in the filter language.
            let glob = self.bind(pattern.replace('[', "[[]"));
            format!("lower({column}) GLOB {glob}")
        } else {
            format!("instr(lower({column}), {})", self.bind(pattern.to_owned()))
        }
    }

    fn one_of(&mut self, column: &str, words: &[&str]) -> String {
        let places: Vec<&str> = words.iter().map(|word| self.bind((*word).to_owned())).collect();
        format!("{column} IN ({})", places.join(", "))
    }
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns a query of the search index for a text.
fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Returns the stored words of a class of outcomes.
fn outcome_words(class: &OutcomeClass) -> Vec<&'static str> {
    let failed = || FailureKind::ALL.into_iter().map(FailureKind::words).collect();
    match class {
        OutcomeClass::Failed => failed(),
        OutcomeClass::Is(CallState::Interim) => [InterimKind::InputRequired, InterimKind::Task].map(InterimKind::words).to_vec(),
        // Calls of the history have settled.
        OutcomeClass::Pending | OutcomeClass::Is(CallState::Queued | CallState::Running | CallState::None) => vec![],
        OutcomeClass::Is(state) => vec![state.words()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Conditions {
        let (filter, mistakes) = Filter::parse(text);
        assert_eq!(mistakes, [], "{text}");
        Conditions::new(&filter)
    }

    #[test]
    fn terms_become_conditions_with_parameters() {
        let found = compiled("server:db|m* !outcome:ok >500ms mailbox \"a \\\"b\" x");
        assert_eq!(
            found.all,
            [
                "(instr(lower(server), ?) OR lower(server) GLOB ?)",
                "NOT coalesce((outcome IN (?)), 0)",
                "(took_us > ?)",
                "(instr(lower(server || ' ' || tool || ' ' || name || ' ' || outcome || ' ' || coalesce(error, '')), ?))",
            ]
        );
        assert_eq!(found.text.as_deref(), Some("\"mailbox\" AND \"a \"\"b\""));
        let texts: Vec<Value> =
            vec!["db".to_owned().into(), "m*".to_owned().into(), "ok".to_owned().into(), 500_000i64.into(), "x".to_owned().into()];
        assert_eq!(found.values, texts);
        let client = "(json_extract(spec, '$.client') IS NOT NULL AND (instr(lower(coalesce(json_extract(spec, '$.client_name'), '')), ?) \
                      OR CAST(json_extract(spec, '$.client') AS TEXT) = ?))";
        assert_eq!(compiled("client:claude").all, [client]);
        assert_eq!(compiled("outcome:pending").all, ["(outcome IN ())"]);
        assert_eq!(compiled("kind:log").all, ["(calls.kind IN ())"]);
        assert_eq!(compiled("kind:lifecycle|call").all, ["(calls.kind IN (0, 1))"]);
    }
}
