//! Reads the tables of a file key by key and reports all problems.

use std::time::Duration;

use crate::domain::{
    document::{Field, Kind, Node},
    time::parse_duration,
    workflow::{
        closest_match,
        expression::{Data, Expr, InferredType, Reference, Template},
        keys::{self, Key},
        plan::{Count, MAX_COUNT, MAX_DURATION, TimeLimit},
        problem::Problem,
        source::{Page, TemplateFault, join_key},
    },
};

/// Maximum number of problems reported per file.
const MAX_PROBLEMS: usize = 200;

/// A byte range: start and end.
pub(in crate::domain::workflow) type Span = (usize, usize);

/// A file and its problems.
pub(in crate::domain::workflow) struct Report<'a> {
    pub page: Page<'a>,
    pub problems: Vec<Problem>,
}

impl Report<'_> {
    /// Returns whether no further problem would be recorded. Callers stop then, because each problem may be compared
    /// with every name.
    pub fn full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    pub fn add(&mut self, span: Span, step: Option<&str>, key: &str, message: impl Into<String>, hint: Option<String>) {
        if self.full() {
            return;
        }
        let mut problem = self.page.problem(span, step, key, message);
        problem.hint = hint;
        self.problems.push(problem);
    }
}

/// A table being read.
pub(in crate::domain::workflow) struct Table<'r, 'a, 'n> {
    pub report: &'r mut Report<'a>,
    pub fields: &'n [Field],
    /// The step that the table belongs to.
    pub step: Option<&'n str>,
    /// The key of the table itself; empty for a step or the top level.
    pub key: String,
    /// The span of the table, for problems about missing keys.
    pub span: Span,
}

impl<'a, 'n> Table<'_, 'a, 'n> {
    /// Reports a problem of `key` in this table.
    pub fn report_problem(&mut self, span: Span, key: &str, message: impl Into<String>, hint: Option<String>) {
        self.report.add(span, self.step, &join_key(&self.key, key), message, hint);
    }

    /// Reports every key that is not in `keys`.
    pub fn check_keys(&mut self, keys: &[Key]) {
        let names = keys::names(keys);
        for field in self.fields.iter().filter(|field| !names.contains(&field.key.as_str())) {
            if self.report.full() {
                return;
            }
            let own = keys::own_key(&field.key, &names);
            let hint = match own.or_else(|| closest_match(&field.key, names.iter().copied())) {
                Some(candidate) if own.is_some() => format!("use `{candidate}`"),
                Some(candidate) => format!("did you mean `{candidate}`?"),
                None => format!("allowed keys: {}", names.join(", ")),
            };
            self.report_problem((field.at, field.end), &field.key, "unknown key", Some(hint));
        }
    }

    pub fn field(&self, key: &str) -> Option<&'n Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    pub fn node(&self, key: &str) -> Option<&'n Node> {
        self.field(key).map(|field| &field.value)
    }

    /// Reports that a value has the wrong kind.
    fn kind(&mut self, node: &Node, key: &str, expected: &str) {
        self.report_problem((node.at, node.end), key, format!("is {}, not {expected}", node.kind_name()), None);
    }

    /// Reads a string; rejects an empty one.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let node = self.node(key)?;
        match node.text() {
            Some(text) if text.trim().is_empty() => self.report_problem((node.at, node.end), key, "is empty", None),
            Some(text) => return Some(text.to_owned()),
            None => self.kind(node, key, "a string"),
        }
        None
    }

    /// Reads a string without expressions.
    pub fn literal_text(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        let node = self.node(key)?;
        if text.contains("{{") {
            let hint = "write the name itself; to choose between two, use two steps with `when`".to_owned();
            self.report_problem(
                (node.at, node.end),
                key,
                "cannot contain an expression: the value must be known before the run",
                Some(hint),
            );
            return None;
        }
        Some(text)
    }

    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        let node = self.node(key)?;
        match node.kind {
            Kind::Bool(value) => Some(value),
            _ => {
                self.kind(node, key, "true or false");
                None
            }
        }
    }

    /// Reads an integer from 1 to `max`.
    pub fn count(&mut self, key: &str, max: u32) -> Option<u32> {
        let node = self.node(key)?;
        let Kind::Integer(digits) = &node.kind else {
            self.kind(node, key, "an integer");
            return None;
        };
        let number = digits.parse::<u32>().ok().filter(|number| (1..=max).contains(number));
        if number.is_none() {
            self.report_problem((node.at, node.end), key, format!("must be from 1 to {max}"), None);
        }
        number
    }

    /// Reads a number from `min` to `max`.
    pub fn number(&mut self, key: &str, min: f64, max: f64) -> Option<f64> {
        let node = self.node(key)?;
        let Some(number) = node.number() else {
            self.kind(node, key, "a number");
            return None;
        };
        let number = Some(number).filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.report_problem((node.at, node.end), key, format!("must be from {min} to {max}"), None);
        }
        number
    }

    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let node = self.node(key)?;
        let span = (node.at, node.end);
        let example = || Some("write it as \"500ms\", \"20s\" or \"1m30s\"".to_owned());
        match &node.kind {
            Kind::Text(text) => match parse_duration(text) {
                Some(Duration::ZERO) => self.report_problem(span, key, "must be longer than zero", example()),
                Some(duration) if duration > MAX_DURATION => self.report_problem(span, key, "is longer than 30 days", None),
                Some(duration) => return Some(duration),
                None => self.report_problem(span, key, format!("{text:?} is not a duration"), example()),
            },
            Kind::Integer(digits) => {
                self.report_problem(span, key, "has no unit", Some(format!("write \"{digits}s\" or \"{digits}ms\"")));
            }
            _ => self.kind(node, key, "a duration in quotes"),
        }
        None
    }

    /// Reads a duration, or text with expressions for one.
    pub fn time_limit(&mut self, key: &str) -> Option<TimeLimit> {
        let node = self.node(key)?;
        if node.text().is_some_and(|text| text.contains("{{")) {
            return Some(TimeLimit::Computed(self.template(key, node)));
        }
        self.duration(key).map(TimeLimit::Fixed)
    }

    /// Reads an integer from 1, or an expression for one.
    pub fn computed_count(&mut self, key: &str) -> Option<Count> {
        let node = self.node(key)?;
        if node.text().is_some_and(|text| text.contains("{{")) {
            return Some(Count::Computed(self.template(key, node)));
        }
        self.count(key, MAX_COUNT).map(|count| Count::Fixed(count as usize))
    }

    /// Reads one of a few words.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(T, &'static str)]) -> Option<T> {
        let node = self.node(key)?;
        let Some(text) = node.text() else {
            self.kind(node, key, "a string");
            return None;
        };
        self.word((node.at, node.end), key, text, choices)
    }

    /// Returns the choice for a word.
    pub fn word<T: Copy>(&mut self, span: Span, key: &str, text: &str, choices: &[(T, &'static str)]) -> Option<T> {
        if let Some((value, _)) = choices.iter().find(|(_, word)| *word == text) {
            return Some(*value);
        }
        let words = choices.iter().map(|(_, word)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let hint = closest_match(text, choices.iter().map(|(_, word)| *word)).map(|candidate| format!("did you mean `{candidate}`?"));
        self.report_problem(span, key, format!("must be one of {words}, not {text:?}"), hint);
        None
    }

    /// Reads the strings of an array with their spans; a single string counts as an array of one.
    pub fn strings(&mut self, key: &str) -> Vec<(String, Span)> {
        let Some(node) = self.node(key) else { return vec![] };
        let items = match &node.kind {
            Kind::Text(_) => std::slice::from_ref(node),
            Kind::Array(items) => items.as_slice(),
            _ => {
                self.kind(node, key, "an array of strings");
                return vec![];
            }
        };
        let mut found = vec![];
        for item in items {
            match item.text() {
                Some(text) => found.push((text.to_owned(), (item.at, item.end))),
                None => self.kind(item, key, "a string"),
            }
        }
        found
    }

    /// Reads the table at a key.
    pub fn inner(&mut self, key: &str) -> Option<Table<'_, 'a, 'n>> {
        let field = self.field(key)?;
        self.table_of(&field.value, key, (field.at, field.end))
    }

    /// Reads a value as a table.
    pub fn table_of(&mut self, node: &'n Node, key: &str, span: Span) -> Option<Table<'_, 'a, 'n>> {
        let Some(fields) = node.fields() else {
            self.kind(node, key, "a table");
            return None;
        };
        Some(Table { fields, step: self.step, key: join_key(&self.key, key), span, report: self.report })
    }

    /// Reads a value that may contain expressions.
    pub fn template(&mut self, key: &str, node: &Node) -> Template {
        let mut faults = vec![];
        let template = self.report.page.template(node, &join_key(&self.key, key), &mut faults);
        self.faults(faults);
        template
    }

    /// Reads a string that may contain expressions.
    pub fn text_template(&mut self, key: &str) -> Option<Template> {
        self.text(key)?;
        let node = self.node(key)?;
        Some(self.template(key, node))
    }

    /// Reads an object that may contain expressions; empty if absent.
    pub fn object_template(&mut self, key: &str) -> Template {
        match self.node(key) {
            Some(node) if node.fields().is_some() => self.template(key, node),
            Some(node) => {
                self.kind(node, key, "a table");
                Template::object(vec![])
            }
            None => Template::object(vec![]),
        }
    }

    fn faults(&mut self, faults: Vec<TemplateFault>) {
        for fault in faults {
            self.report.add(fault.span, self.step, &fault.key, fault.message, fault.hint);
        }
    }

    /// Reads a single expression, with or without braces.
    pub fn expression(&mut self, key: &str, node: &Node) -> Option<Expr> {
        let path = join_key(&self.key, key);
        let span = (node.at, node.end);
        match &node.kind {
            Kind::Bool(value) => Expr::compile(&path, node.at, false, if *value { "true" } else { "false" }).ok(),
            Kind::Text(text) if text.contains("{{") || text.contains("{%") => match self.template(key, node) {
                Template::Whole(expr) => Some(expr),
                Template::Text(_) => {
                    let hint = "put the whole condition in one pair of braces, or omit the braces".to_owned();
                    self.report_problem(span, key, "must be a single expression without text around it", Some(hint));
                    None
                }
                _ => None,
            },
            Kind::Text(text) => {
                let (at, end) = (self.report.page.file_offset(node, 0), self.report.page.file_offset(node, text.len()));
                match Expr::compile(&path, at, end - at == text.len(), text) {
                    Ok(expr) => Some(expr),
                    Err(fault) => {
                        let at = self.report.page.file_offset(node, fault.offset);
                        let span = if at == node.at { span } else { (at, at + 1) };
                        self.report_problem(span, key, fault.message, fault.hint);
                        None
                    }
                }
            }
            _ => {
                self.kind(node, key, "an expression");
                None
            }
        }
    }

    /// Reads a condition: an expression that may be true or false.
    pub fn condition(&mut self, key: &str, node: &Node) -> Option<Expr> {
        let expr = self.expression(key, node)?;
        match expr.constant() {
            Some(constant) if constant.as_bool().is_none() => {
                let message = format!("is always {}, not true or false", constant.kind());
                let hint = constant.as_str().map(|_| "quoted text is a constant; to refer to a value write `input.name`".to_owned());
                self.report_problem((node.at, node.end), key, message, hint);
                None
            }
            None if expr.single_reference().is_some_and(|reference| reference_type(reference).is_some()) => {
                let kind = expr.single_reference().and_then(reference_type).unwrap_or_default();
                let hint = format!("compare it with a value: `{} == …`", expr.source());
                self.report_problem((node.at, node.end), key, format!("is {kind}, not true or false"), Some(hint));
                None
            }
            // A constant that gets here is true or false.
            None if expr.inferred().is_some_and(|inferred| inferred != InferredType::Boolean) => {
                let kind = expr.inferred().map_or("", InferredType::words);
                self.report_problem(
                    (node.at, node.end),
                    key,
                    format!("is {kind}, not true or false"),
                    Some("compare it with a value".into()),
                );
                None
            }
            _ => Some(expr),
        }
    }
}

impl Table<'_, '_, '_> {
    /// Reads a condition whose value must not be constant: a condition on a result, or one that ends a loop.
    pub fn varying_condition(&mut self, key: &str, node: &Node) -> Option<Expr> {
        let expr = self.condition(key, node)?;
        let Some(constant) = expr.constant() else { return Some(expr) };
        let hint = "it has to depend on a result, an input or the round".to_owned();
        self.report_problem((node.at, node.end), key, format!("is always {}", constant.json()), Some(hint));
        None
    }
}

/// Returns the type of a reference whose value is never true or false, with its article.
fn reference_type(reference: &Reference) -> Option<&'static str> {
    let names: Vec<&str> = (0..reference.path.len()).map_while(|level| reference.name(level)).collect();
    if names.len() != reference.path.len() {
        return None;
    }
    match names.as_slice() {
        ["text"] | ["steps", _, "text" | "outcome"] | ["env", _] | ["run", "id" | "started" | "outcome"] => Some("a string"),
        ["error" | "failure", "kind" | "message"] | ["steps", _, "error", "kind" | "message"] => Some("a string"),
        ["index" | "attempt"] | ["steps", _, "duration_ms"] | ["run", "started_ms" | "attempt"] => Some("a number"),
        ["steps", _, "items"] => Some("a list"),
        ["steps", _] | ["steps", _, "error"] | ["steps" | "input" | "env" | "run" | "error" | "failure"] => Some("an object"),
        _ => None,
    }
}

/// Checks that a `for_each` value can be a list.
pub(in crate::domain::workflow) fn is_list(template: &Template) -> Result<(), &'static str> {
    let list = |data: &Data| if data.len().is_some() { Ok(()) } else { Err(data.kind()) };
    match template {
        Template::Literal(data) => list(data),
        Template::Whole(expr) => match (expr.constant(), expr.inferred()) {
            (Some(constant), _) => list(constant),
            (None, Some(inferred)) if inferred != InferredType::Array => Err(inferred.words()),
            (None, _) => Ok(()),
        },
        Template::List(_) => Ok(()),
        Template::Text(_) => Err("a string"),
        Template::Object(_) => Err("an object"),
    }
}
