use proptest::prelude::*;

use super::*;
use crate::domain::{
    call::FailureKind,
    filter::{CallState, RowKind},
    id::InstanceId,
    program_session::{SessionKind, SessionStart},
};
use crate::tui::test_support;

fn read(text: &str) -> Filter {
    let (filter, mistakes) = Filter::parse(text);
    assert_eq!(mistakes, [], "{text}");
    filter
}

fn one(test: Test) -> Filter {
    Filter { terms: vec![Term { not: false, test }] }
}

#[test]
fn every_kind_of_word_is_parsed() {
    let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    for (text, test) in [
        ("server:db", Test::Server(words(&["db"]))),
        ("SERVER:Db|mail", Test::Server(words(&["db", "mail"]))),
        ("tool:create*", Test::Tool(words(&["create*"]))),
        ("outcome:failed", Test::Outcome(vec![OutcomeClass::Failed])),
        (
            "outcome:ok|timeout",
            Test::Outcome(vec![OutcomeClass::Is(CallState::Ok), OutcomeClass::Is(CallState::Failed(FailureKind::Timeout))]),
        ),
        ("origin:cli", Test::Origin(vec![OriginKind::Cli])),
        ("kind:log|anomaly", Test::Kind(vec![RowKind::Log, RowKind::Anomaly])),
        (">500ms", Test::Longer(500_000)),
        ("<2s", Test::Shorter(2_000_000)),
        (">1.5s", Test::Longer(1_500_000)),
        ("<40us", Test::Shorter(40)),
        (">10kB", Test::Bigger(10_000)),
        ("<1mb", Test::Smaller(1_000_000)),
        ("Mailbox", Test::Text("mailbox".into())),
        ("\"two words: >x\"", Test::Text("two words: >x".into())),
        ("db://users/7", Test::Text("db://users/7".into())),
        ("-32603", Test::Text("-32603".into())),
        ("{\"a\":1}", Test::Text("{\"a\":1}".into())),
        ("!", Test::Text("!".into())),
    ] {
        assert_eq!(read(text), one(test), "{text}");
    }
    assert_eq!(read("!outcome:ok"), Filter { terms: vec![Term { not: true, test: Test::Outcome(vec![OutcomeClass::Is(CallState::Ok)]) }] });
    assert_eq!(read("  a   b ").terms.len(), 2);
    assert!(read("").is_empty());
}

/// Returns the names of all variants of an enum, as serde lists them in its error for an unknown one.
fn variants<T: serde::de::DeserializeOwned>() -> Vec<String> {
    let error = serde_json::from_str::<T>("\"?\"").err().unwrap().to_string();
    let (_, expected) = error.split_once("expected one of ").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_variant_has_a_word() {
    let failures = variants::<FailureKind>();
    assert!(failures.contains(&"breaker_open".into()) && failures.contains(&"overloaded".into()), "{failures:?}");
    for name in &failures {
        let kind: FailureKind = serde_json::from_str(&format!("{name:?}")).unwrap();
        let expected = Test::Outcome(vec![OutcomeClass::Is(CallState::Failed(kind))]);
        assert_eq!(read(&format!("outcome:{}", name.replace('_', "-"))), one(expected));
    }
    for name in variants::<OriginKind>() {
        let origin: OriginKind = serde_json::from_str(&format!("{name:?}")).unwrap();
        assert_eq!(read(&format!("origin:{name}")), one(Test::Origin(vec![origin])));
    }
}

#[test]
fn a_word_that_cannot_be_parsed_is_reported_and_the_rest_applies() {
    for (text, part) in [
        ("colour:red", "fields are server, tool, outcome, origin, client, kind"),
        ("outcome:wonderful", "wonderful must be one of failed, ok"),
        ("origin:", "value after origin: is missing"),
        ("kind:call|song", "song must be one of call"),
        (">fast", "a number and a unit"),
        ("<12", "a number and a unit"),
    ] {
        let (filter, mistakes) = Filter::parse(&format!("{text} server:db"));
        assert_eq!(filter.terms.len(), 1, "{text}");
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].to_string().contains(part), "{}", mistakes[0]);
    }
}

#[test]
fn patterns_match_parts_or_the_whole_name() {
    let mut rows = Rows::new(100);
    for event in test_support::busy(0) {
        rows.push(&event);
    }
    let all = found("kind:call", &rows);
    assert_eq!(found("server:*", &rows), all);
    assert!(!found("server:DATA", &rows).is_empty());
    assert_eq!(found("server:data*", &rows), found("server:database", &rows));
    assert_eq!(found("server:?ata*", &rows), found("server:database", &rows));
    assert_eq!(found("server:atabase*", &rows), Vec::<u64>::new());
}

/// Returns the calls whose rows pass.
fn found(text: &str, rows: &Rows) -> Vec<u64> {
    let mut matcher = Matcher::new(read(text));
    rows.ids().filter(|id| matcher.passes(*id, rows)).filter_map(|id| rows.get(id)?.call()).map(|call| call.0).collect()
}

#[test]
fn words_are_searched_in_arguments_and_errors() {
    let mut rows = Rows::new(100);
    for event in test_support::busy(0) {
        rows.push(&event);
    }
    assert_eq!(found("ANN@example.org", &rows), [101], "in arguments, and not in successful results");
    assert_eq!(found("\"mailbox full\"", &rows), [101], "the text of a tool error");
    assert_eq!(found("\"within 5 s\"", &rows), [102], "the message of a failure");
    assert_eq!(found("\"queue is full\"", &rows), [102], "its stderr");
    assert_eq!(found("signup !outcome:ok", &rows), [104], "of a running call");
    assert_eq!(found("!ann !full", &rows), [103, 104]);
    assert_eq!(found("iserror", &rows), Vec::<u64>::new(), "not the envelope of a result");
}

#[test]
fn rows_of_the_ring_belong_to_the_session_of_the_engine() {
    let mut rows = Rows::new(100);
    for event in test_support::busy(0) {
        rows.push(&event);
    }
    assert_eq!(found("session:last", &rows), Vec::<u64>::new(), "the session is not known yet");
    let session = SessionStart { session: InstanceId(0xab), kind: SessionKind::Console, started_ms: 1_795_910_400_000 };
    rows.set_session(session);
    for filter in ["session:last", "session:000000ab", "session:2026-11-29", "session:headless|console"] {
        assert_eq!(found(filter, &rows), [100, 101, 102, 103, 104], "{filter}");
    }
    assert_eq!(found("session:gateway", &rows), Vec::<u64>::new());
    assert_eq!(found("!session:gateway", &rows), [100, 101, 102, 103, 104]);
    assert!(complete("session:", &rows).contains(&"session:000000ab".to_owned()));
}

#[test]
fn a_filter_of_calls_leaves_lifecycle_rows_out_unless_it_names_kinds() {
    for (text, expected) in [
        ("", "kind:call"),
        ("server:db", "server:db kind:call"),
        ("kind:lifecycle", "kind:lifecycle"),
        ("!kind:lifecycle x", "!kind:lifecycle x"),
        ("\"kind:call\"", "\"kind:call\" kind:call"),
    ] {
        assert_eq!(Filter::of_calls(text), expected);
    }
}

#[test]
fn the_examples_of_the_help_are_valid() {
    for (example, _) in LANGUAGE {
        assert!(!read(example).is_empty(), "{example}");
    }
    let help = LANGUAGE.iter().map(|(example, meaning)| format!("{example} {meaning}")).collect::<String>();
    assert!(FIELDS.iter().all(|field| help.contains(&format!("{field}:"))), "every field is in the help");
}

#[test]
fn completion_offers_fields_then_values() {
    let mut rows = Rows::new(100);
    for event in test_support::busy(0) {
        rows.push(&event);
    }
    assert_eq!(complete("", &rows).len(), FIELDS.len());
    assert_eq!(complete("x o", &rows), ["outcome:", "origin:"]);
    assert_eq!(complete("server:", &rows), ["server:analytics", "server:database", "server:email"]);
    assert_eq!(complete("!server:database|em", &rows), ["!server:database|email"]);
    assert_eq!(complete("outcome:fai", &rows), ["outcome:failed"]);
    assert!(complete(">5", &rows).is_empty() && complete("nothing:", &rows).is_empty());
}

fn value() -> impl Strategy<Value = String> {
    "[a-z0-9_*.:/-]{1,8}"
}

fn some_test() -> impl Strategy<Value = Test> {
    let states: Vec<OutcomeClass> = outcomes().map(|(_, which)| which).collect();
    prop_oneof![
        // A value that starts with two slashes makes a URL, which is text.
        proptest::collection::vec(value().prop_filter("address", |v| !v.starts_with("//")), 1..3).prop_map(Test::Server),
        proptest::collection::vec(value().prop_filter("address", |v| !v.starts_with("//")), 1..3).prop_map(Test::Tool),
        proptest::collection::vec(value().prop_filter("address", |v| !v.starts_with("//")), 1..3).prop_map(Test::Client),
        proptest::collection::vec(value().prop_filter("address", |v| !v.starts_with("//")), 1..3).prop_map(Test::Session),
        proptest::collection::vec(proptest::sample::select(states), 1..4).prop_map(Test::Outcome),
        proptest::collection::vec(proptest::sample::select(OriginKind::ALL.to_vec()), 1..3).prop_map(Test::Origin),
        proptest::collection::vec(proptest::sample::select(RowKind::ALL.to_vec()), 1..3).prop_map(Test::Kind),
        (0u64..10_000_000_000).prop_map(Test::Longer),
        (0u64..10_000_000_000).prop_map(Test::Shorter),
        (0u64..10_000_000_000).prop_map(Test::Bigger),
        (0u64..10_000_000_000).prop_map(Test::Smaller),
        ".{0,12}"
            .prop_map(|text| Test::Text(text.to_lowercase()))
            .prop_filter("lower case", |test| matches!(test, Test::Text(t) if t.to_lowercase() == *t)),
    ]
}

proptest! {
    #[test]
    fn any_text_is_parsed(text in ".{0,60}") {
        let (filter, mistakes) = Filter::parse(&text);
        prop_assert!(filter.terms.len() + mistakes.len() <= text.chars().count());
        // The parsed filter parses to itself when it is printed.
        let printed = filter.to_string();
        prop_assert_eq!(Filter::parse(&printed), (filter, vec![]), "{}", printed);
    }

    #[test]
    fn a_printed_filter_parses_to_itself(terms in proptest::collection::vec((any::<bool>(), some_test()), 0..5)) {
        let filter = Filter { terms: terms.into_iter().map(|(not, test)| Term { not, test }).collect() };
        let printed = filter.to_string();
        prop_assert_eq!(Filter::parse(&printed), (filter, vec![]), "{}", printed);
    }
}
