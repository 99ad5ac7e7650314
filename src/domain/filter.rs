//! The filter language of traffic and history: `server:db outcome:failed tool:create* >500ms !origin:demo text`.
//!
//! All terms must match. `field:value` tests a field (`a|b` is either, `*` any characters, `?` one; without
//! them a part of the name is enough), `>500ms` and `<2s` the duration, `>10kB` the larger of the two sizes, `!` before a
//! term negates it, and any other word is searched in names, outcomes, the first bytes of arguments, errors
//! and messages. Matching is case-insensitive. The console evaluates a filter over its rows, the store compiles it to SQL.

use std::{borrow::Cow, fmt};

use super::call::{FailureKind, OriginKind, Outcome};

/// The kind of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RowKind {
    /// A call.
    Call,
    /// A notification, in either direction.
    Notification,
    /// A request of the server to the client.
    Request,
    /// A log message.
    Log,
    /// A protocol anomaly.
    Anomaly,
    /// A request of the session itself, or its response: the handshake, the lists, a ping.
    Lifecycle,
}

impl RowKind {
    /// Every kind.
    pub const ALL: [RowKind; 6] =
        [RowKind::Call, RowKind::Notification, RowKind::Request, RowKind::Log, RowKind::Anomaly, RowKind::Lifecycle];

    /// Returns its name in filters.
    pub fn word(self) -> &'static str {
        match self {
            RowKind::Call => "call",
            RowKind::Notification => "notification",
            RowKind::Request => "request",
            RowKind::Log => "log",
            RowKind::Anomaly => "anomaly",
            RowKind::Lifecycle => "lifecycle",
        }
    }
}

/// The state of a call, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallState {
    /// Not sent yet.
    Queued,
    /// Sent, no response yet.
    Running,
    /// Succeeded.
    Ok,
    /// Tool error.
    ToolError,
    /// Cancelled.
    Cancelled,
    /// Answered with an interim result.
    Interim,
    /// Failed.
    Failed(FailureKind),
    /// The row is not a call.
    None,
}

impl CallState {
    /// Returns the state of a call with this outcome.
    pub fn of(outcome: &Outcome) -> CallState {
        match outcome {
            Outcome::Ok { .. } => CallState::Ok,
            Outcome::ToolError { .. } => CallState::ToolError,
            Outcome::Failed { failure } => CallState::Failed(failure.kind),
            Outcome::Cancelled { .. } => CallState::Cancelled,
            Outcome::Interim { .. } => CallState::Interim,
        }
    }

    /// Returns its display name.
    pub fn words(self) -> &'static str {
        match self {
            CallState::Queued => "queued",
            CallState::Running => "running",
            CallState::Ok => "ok",
            CallState::ToolError => "tool error",
            CallState::Cancelled => "cancelled",
            CallState::Interim => "interim",
            CallState::Failed(kind) => kind.words(),
            CallState::None => "",
        }
    }

    /// Returns whether the call is in progress.
    pub fn pending(self) -> bool {
        matches!(self, CallState::Queued | CallState::Running)
    }
}

/// A filter: all terms must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The terms, in the order in which they were written.
    pub terms: Vec<Term>,
}

/// A term of a filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Whether it is negated.
    pub not: bool,
    /// The test.
    pub test: Test,
}

/// The test of a term.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The server name matches any of these patterns.
    Server(Vec<String>),
    /// The tool name matches any of these patterns.
    Tool(Vec<String>),
    /// The outcome of the call.
    Outcome(Vec<OutcomeClass>),
    /// The origin of the call.
    Origin(Vec<OriginKind>),
    /// The name of the client that requested the call matches any of these patterns, or its number is equal.
    Client(Vec<String>),
    /// The kind of the row.
    Kind(Vec<RowKind>),
    /// The run of a workflow: its id, the workflow name or the step name matches any of these patterns.
    Run(Vec<String>),
    /// The session: its id, the date of its begin or its kind matches any of these patterns, or one is `last` and it is the newest.
    Session(Vec<String>),
    /// Longer than this, in microseconds.
    Longer(u64),
    /// Shorter than this, in microseconds.
    Shorter(u64),
    /// More bytes than this.
    Bigger(u64),
    /// Fewer bytes than this.
    Smaller(u64),
    /// Contains this text; lower case.
    Text(String),
}

/// A class of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeClass {
    /// Exactly this state.
    Is(CallState),
    /// Failed, of any kind.
    Failed,
    /// In progress.
    Pending,
}

/// A term that cannot be parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct ParseError {
    /// The term as written.
    pub word: String,
    /// The reason, and the accepted form.
    pub why: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.word, self.why)
    }
}

/// The help of the filter language: an example and its meaning.
pub const LANGUAGE: [(&str, &str); 12] = [
    ("server:db|mail", "server name contains db or mail"),
    ("tool:create*", "tool name; * matches any characters"),
    ("outcome:failed", "outcome: failed, ok, tool-error, timeout, cancelled, pending …; Tab lists them"),
    ("origin:console", "origin: console, cli, demo, workflow, client"),
    ("client:claude*", "client of the gateway or of a tap, by its name or its number"),
    ("kind:log", "kind: call, notification, request, log, anomaly, lifecycle (handshake and lists)"),
    ("run:onboard*", "workflow run, by its id, workflow name or step name"),
    ("session:last", "run of the program: last, or a part of its id, date (UTC) or kind: console, headless, gateway, engine"),
    (">500ms  <2s", "longer or shorter than"),
    (">10kB  <1MB", "sent or received more or less than"),
    ("mailbox", "text in names, outcomes, messages, arguments and errors (the first 200 bytes of each, of the newest calls)"),
    ("!outcome:ok", "negated; \"two words\" in quotes are text"),
];

/// The names of fields.
pub const FIELDS: [&str; 8] = ["server", "tool", "outcome", "origin", "client", "kind", "run", "session"];
const OUTCOMES: [(&str, OutcomeClass); 8] = [
    ("failed", OutcomeClass::Failed),
    ("ok", OutcomeClass::Is(CallState::Ok)),
    ("tool-error", OutcomeClass::Is(CallState::ToolError)),
    ("cancelled", OutcomeClass::Is(CallState::Cancelled)),
    ("interim", OutcomeClass::Is(CallState::Interim)),
    ("pending", OutcomeClass::Pending),
    ("running", OutcomeClass::Is(CallState::Running)),
    ("queued", OutcomeClass::Is(CallState::Queued)),
];

/// Returns the words of `outcome:` with their classes: those of `OUTCOMES`, then one for each kind of failure.
pub fn outcomes() -> impl Iterator<Item = (Cow<'static, str>, OutcomeClass)> {
    let failures = FailureKind::ALL.into_iter().map(|kind| (failure_word(kind).into(), OutcomeClass::Is(CallState::Failed(kind))));
    OUTCOMES.into_iter().map(|(word, which)| (Cow::from(word), which)).chain(failures)
}

/// Returns the word of a kind of failure: the key of its JSON with hyphens.
fn failure_word(kind: FailureKind) -> String {
    kind.key().replace('_', "-")
}

impl Filter {
    /// Parses a filter. Every term that cannot be parsed is reported; the rest of the filter still applies.
    pub fn parse(text: &str) -> (Filter, Vec<ParseError>) {
        let (mut filter, mut mistakes) = (Filter::default(), Vec::new());
        for Word { not, text, quoted } in words(text) {
            match term(not, &text, quoted) {
                Ok(term) => filter.terms.push(term),
                Err(why) => mistakes.push(ParseError { word: format!("{}{text}", if not { "!" } else { "" }), why }),
            }
        }
        (filter, mistakes)
    }

    /// Returns the text of a filter of the history that passes calls only, unless it names kinds.
    pub fn of_calls(text: &str) -> String {
        let named = Filter::parse(text).0.terms.iter().any(|term| matches!(term.test, Test::Kind(_)));
        if named { text.to_owned() } else { format!("{text} kind:call").trim_start().to_owned() }
    }

    /// Returns whether every row passes.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

/// One word of the filter text.
struct Word {
    /// Whether it starts with a `!` outside of quotes.
    not: bool,
    text: String,
    quoted: bool,
}

/// Splits at spaces outside of quotes. A word that starts with a quote, or with `!` and a quote, is always text.
fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = chars.peek().copied() else { return words };
        let mut word = String::new();
        let not = first == '!';
        if not {
            chars.next();
        }
        let quoted = chars.next_if_eq(&'"').is_some();
        while let Some(c) = chars.next_if(|c| quoted || !c.is_whitespace()) {
            match c {
                '"' if quoted => break,
                '\\' if quoted => word.extend(chars.next()),
                c => word.push(c),
            }
        }
        words.push(Word { not, text: word, quoted });
    }
}

fn term(not: bool, word: &str, quoted: bool) -> Result<Term, String> {
    if not && word.is_empty() && !quoted {
        // A single exclamation mark is text.
        return Ok(Term { not: false, test: Test::Text("!".into()) });
    }
    let test = if quoted { Test::Text(word.to_lowercase()) } else { test(word)? };
    Ok(Term { not, test })
}

fn test(word: &str) -> Result<Test, String> {
    if let Some(amount) = word.strip_prefix('>') {
        return Ok(match measure(amount)? {
            Measure::Time(us) => Test::Longer(us),
            Measure::Bytes(bytes) => Test::Bigger(bytes),
        });
    }
    if let Some(amount) = word.strip_prefix('<') {
        return Ok(match measure(amount)? {
            Measure::Time(us) => Test::Shorter(us),
            Measure::Bytes(bytes) => Test::Smaller(bytes),
        });
    }
    // A prefix that is not a field name makes it text: a URL, a time, a piece of JSON.
    let Some((field, value)) = word.split_once(':').filter(|(f, _)| !f.is_empty() && f.bytes().all(|b| b.is_ascii_alphabetic())) else {
        return Ok(Test::Text(word.to_lowercase()));
    };
    if value.starts_with("//") {
        return Ok(Test::Text(word.to_lowercase()));
    }
    let values: Vec<String> = value.split('|').filter(|v| !v.is_empty()).map(str::to_lowercase).collect();
    if values.is_empty() {
        return Err(format!("the value after {field}: is missing"));
    }
    match field.to_ascii_lowercase().as_str() {
        "server" => Ok(Test::Server(values)),
        "tool" => Ok(Test::Tool(values)),
        "run" => Ok(Test::Run(values)),
        "client" => Ok(Test::Client(values)),
        "session" => Ok(Test::Session(values)),
        "outcome" => {
            values_of(&values, |v| outcomes().find(|(word, _)| *word == v).map(|(_, w)| w), outcomes().map(|(w, _)| w)).map(Test::Outcome)
        }
        "origin" => {
            let known = OriginKind::ALL.iter().map(|o| o.word());
            values_of(&values, |v| OriginKind::ALL.into_iter().find(|o| o.word() == v), known).map(Test::Origin)
        }
        "kind" => {
            values_of(&values, |v| RowKind::ALL.into_iter().find(|k| k.word() == v), RowKind::ALL.iter().map(|k| k.word())).map(Test::Kind)
        }
        _ => Err(format!("unknown field {field}; fields are {}. Quote it to search for text", FIELDS.join(", "))),
    }
}

fn values_of<T, W: Into<Cow<'static, str>>>(
    values: &[String],
    find: impl Fn(&str) -> Option<T>,
    known: impl Iterator<Item = W>,
) -> Result<Vec<T>, String> {
    let found = values.iter().map(|v| find(v).ok_or(v)).collect::<Result<Vec<T>, &String>>();
    found.map_err(|bad| format!("{bad} must be one of {}", known.map(Into::into).collect::<Vec<Cow<str>>>().join(", ")))
}

enum Measure {
    Time(u64),
    Bytes(u64),
}

/// The units, in microseconds or bytes; longest words first.
const TIMES: [(&str, f64); 4] = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
const SIZES: [(&str, f64); 3] = [("kb", 1e3), ("mb", 1e6), ("b", 1.0)];

fn measure(text: &str) -> Result<Measure, String> {
    let small = text.to_ascii_lowercase();
    let digits = small.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(small.len());
    let (number, unit) = small.split_at(digits);
    let error = || "write a number and a unit, such as >500ms, <2s, >10kB".to_owned();
    let number: f64 = number.parse().map_err(|_| error())?;
    let amount = |factor: f64| (number * factor).round().min(9e15) as u64;
    if let Some((_, factor)) = TIMES.iter().find(|(word, _)| *word == unit) {
        return Ok(Measure::Time(amount(*factor)));
    }
    SIZES.iter().find(|(word, _)| *word == unit).map(|(_, factor)| Measure::Bytes(amount(*factor))).ok_or_else(error)
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            write!(f, "{}{term}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.not { "!" } else { "" })?;
        match &self.test {
            Test::Server(values) => write!(f, "server:{}", values.join("|")),
            Test::Tool(values) => write!(f, "tool:{}", values.join("|")),
            Test::Run(values) => write!(f, "run:{}", values.join("|")),
            Test::Client(values) => write!(f, "client:{}", values.join("|")),
            Test::Session(values) => write!(f, "session:{}", values.join("|")),
            Test::Outcome(values) => {
                write!(f, "outcome:{}", join(values, |v| outcomes().find(|(_, w)| w == v).map_or_else(Cow::default, |(word, _)| word)))
            }
            Test::Origin(values) => write!(f, "origin:{}", join(values, |v| v.word().into())),
            Test::Kind(values) => write!(f, "kind:{}", join(values, |v| v.word().into())),
            Test::Longer(us) => write!(f, ">{}", time_words(*us)),
            Test::Shorter(us) => write!(f, "<{}", time_words(*us)),
            Test::Bigger(bytes) => write!(f, ">{}", size_words(*bytes)),
            Test::Smaller(bytes) => write!(f, "<{}", size_words(*bytes)),
            Test::Text(text)
                if matches!(term(false, text, false), Ok(Term { not: false, test: Test::Text(t) }) if t == *text)
                    && needs_no_quotes(text) =>
            {
                f.write_str(text)
            }
            Test::Text(text) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        }
    }
}

/// Returns whether a text is parsed as one word without quotes.
fn needs_no_quotes(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['"', '!']) && !text.contains(char::is_whitespace)
}

fn join<T>(values: &[T], word: impl Fn(&T) -> Cow<'static, str>) -> String {
    values.iter().map(word).collect::<Vec<_>>().join("|")
}

fn time_words(us: u64) -> String {
    match us {
        us if us % 1_000_000 == 0 => format!("{}s", us / 1_000_000),
        us if us % 1_000 == 0 => format!("{}ms", us / 1_000),
        us => format!("{us}us"),
    }
}

fn size_words(bytes: u64) -> String {
    match bytes {
        b if b % 1_000_000 == 0 => format!("{}MB", b / 1_000_000),
        b if b % 1_000 == 0 => format!("{}kB", b / 1_000),
        b => format!("{b}B"),
    }
}
