//! Reads the tables of a file key by key and notes everything that is wrong.

use std::time::Duration;

use crate::domain::{
    time::parse_duration,
    workflow::{
        expression::{Data, Expr, InferredType, Template},
        keys::{self, Key},
        near,
        problem::Problem,
        source::{Field, Kind, Node, Page, TemplateFault, join},
    },
};

/// The longest duration that makes sense.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many problems of one file are told.
const MOST: usize = 200;

/// Bytes from one to another.
pub(in crate::domain::workflow) type Span = (usize, usize);

/// A file and what is wrong with it.
pub(in crate::domain::workflow) struct Report<'a> {
    pub page: Page<'a>,
    pub problems: Vec<Problem>,
}

impl Report<'_> {
    /// Whether no further problem would be noted. To look for more costs time: each may be compared with every name.
    pub fn full(&self) -> bool {
        self.problems.len() >= MOST
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

/// One table being read.
pub(in crate::domain::workflow) struct Table<'r, 'a, 'n> {
    pub report: &'r mut Report<'a>,
    pub fields: &'n [Field],
    /// The step that it belongs to.
    pub step: Option<&'n str>,
    /// The key of the table itself, empty for a step or the top.
    pub key: String,
    /// Where the table stands, for what is missing in it.
    pub span: Span,
}

impl<'a, 'n> Table<'_, 'a, 'n> {
    /// Notes a problem of `key` in this table.
    pub fn wrong(&mut self, span: Span, key: &str, message: impl Into<String>, hint: Option<String>) {
        self.report.add(span, self.step, &join(&self.key, key), message, hint);
    }

    /// Notes every key that is not one of `keys`.
    pub fn known(&mut self, keys: &[Key]) {
        let names = keys::names(keys);
        for field in self.fields.iter().filter(|field| !names.contains(&field.key.as_str())) {
            if self.report.full() {
                return;
            }
            let hint = match near(&field.key, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", names.join(", ")),
            };
            self.wrong((field.at, field.end), &field.key, "unknown key", Some(hint));
        }
    }

    pub fn field(&self, key: &str) -> Option<&'n Field> {
        self.fields.iter().find(|field| field.key == key)
    }

    pub fn node(&self, key: &str) -> Option<&'n Node> {
        self.field(key).map(|field| &field.value)
    }

    /// Notes that a value is of the wrong kind.
    fn kind(&mut self, node: &Node, key: &str, expected: &str) {
        self.wrong((node.at, node.end), key, format!("is {}, not {expected}", node.kind_name()), None);
    }

    /// A text; an empty one is refused.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let node = self.node(key)?;
        match node.text() {
            Some(text) if text.trim().is_empty() => self.wrong((node.at, node.end), key, "is empty", None),
            Some(text) => return Some(text.to_owned()),
            None => self.kind(node, key, "a string"),
        }
        None
    }

    /// A text without expressions.
    pub fn plain(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        let node = self.node(key)?;
        if text.contains("{{") {
            let hint = "write the name itself; two steps with `when` choose between two".to_owned();
            self.wrong((node.at, node.end), key, "cannot hold an expression: it must be known before the run", Some(hint));
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

    /// A whole number from 1 to `most`.
    pub fn count(&mut self, key: &str, most: u32) -> Option<u32> {
        let node = self.node(key)?;
        let Kind::Integer(digits) = &node.kind else {
            self.kind(node, key, "an integer");
            return None;
        };
        let number = digits.parse::<u32>().ok().filter(|number| (1..=most).contains(number));
        if number.is_none() {
            self.wrong((node.at, node.end), key, format!("should be from 1 to {most}"), None);
        }
        number
    }

    /// A number from `least` to `most`.
    pub fn number(&mut self, key: &str, least: f64, most: f64) -> Option<f64> {
        let node = self.node(key)?;
        let digits = match &node.kind {
            Kind::Integer(digits) => digits,
            Kind::Float(Some(digits)) => digits,
            _ => {
                self.kind(node, key, "a number");
                return None;
            }
        };
        let number = digits.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.wrong((node.at, node.end), key, format!("should be from {least} to {most}"), None);
        }
        number
    }

    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let node = self.node(key)?;
        let span = (node.at, node.end);
        let example = || Some("write it as \"500ms\", \"20s\" or \"1m30s\"".to_owned());
        match &node.kind {
            Kind::Text(text) => match parse_duration(text) {
                Some(Duration::ZERO) => self.wrong(span, key, "should be longer than nothing", example()),
                Some(duration) if duration > LONGEST => self.wrong(span, key, "is longer than 30 days", None),
                Some(duration) => return Some(duration),
                None => self.wrong(span, key, format!("{text:?} is no duration"), example()),
            },
            Kind::Integer(digits) => {
                self.wrong(span, key, "has no unit", Some(format!("write \"{digits}s\" or \"{digits}ms\"")));
            }
            _ => self.kind(node, key, "a duration in quotes"),
        }
        None
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(T, &'static str)]) -> Option<T> {
        let node = self.node(key)?;
        let Some(text) = node.text() else {
            self.kind(node, key, "a string");
            return None;
        };
        self.word((node.at, node.end), key, text, choices)
    }

    /// The choice that a word means.
    pub fn word<T: Copy>(&mut self, span: Span, key: &str, text: &str, choices: &[(T, &'static str)]) -> Option<T> {
        if let Some((value, _)) = choices.iter().find(|(_, word)| *word == text) {
            return Some(*value);
        }
        let words = choices.iter().map(|(_, word)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let hint = near(text, choices.iter().map(|(_, word)| *word)).map(|near| format!("did you mean `{near}`?"));
        self.wrong(span, key, format!("{text:?} is none of {words}"), hint);
        None
    }

    /// Strings of an array, each with its place; a lone string counts as one.
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

    /// The table of a key.
    pub fn inner(&mut self, key: &str) -> Option<Table<'_, 'a, 'n>> {
        let field = self.field(key)?;
        self.table_of(&field.value, key, (field.at, field.end))
    }

    /// A value as a table.
    pub fn table_of(&mut self, node: &'n Node, key: &str, span: Span) -> Option<Table<'_, 'a, 'n>> {
        let Some(fields) = node.fields() else {
            self.kind(node, key, "a table");
            return None;
        };
        Some(Table { fields, step: self.step, key: join(&self.key, key), span, report: self.report })
    }

    /// A value with expressions.
    pub fn template(&mut self, key: &str, node: &Node) -> Template {
        let mut faults = vec![];
        let template = self.report.page.template(node, &join(&self.key, key), &mut faults);
        self.faults(faults);
        template
    }

    /// Text with expressions.
    pub fn text_template(&mut self, key: &str) -> Option<Template> {
        self.text(key)?;
        let node = self.node(key)?;
        Some(self.template(key, node))
    }

    /// An object with expressions, empty if left out.
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

    /// A single expression, with braces or without.
    pub fn expression(&mut self, key: &str, node: &Node) -> Option<Expr> {
        let path = join(&self.key, key);
        let span = (node.at, node.end);
        match &node.kind {
            Kind::Bool(value) => Expr::compile(&path, node.at, false, if *value { "true" } else { "false" }).ok(),
            Kind::Text(text) if text.contains("{{") || text.contains("{%") => match self.template(key, node) {
                Template::Whole(expr) => Some(expr),
                Template::Text(_) => {
                    let hint = "put the whole condition inside of one pair of braces, or leave the braces out".to_owned();
                    self.wrong(span, key, "is text around an expression, not one expression", Some(hint));
                    None
                }
                _ => None,
            },
            Kind::Text(text) => {
                let (at, end) = (self.report.page.inside(node, 0), self.report.page.inside(node, text.len()));
                match Expr::compile(&path, at, end - at == text.len(), text) {
                    Ok(expr) => Some(expr),
                    Err(fault) => {
                        let at = self.report.page.inside(node, fault.offset);
                        let span = if at == node.at { span } else { (at, at + 1) };
                        self.wrong(span, key, fault.message, fault.hint);
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

    /// A condition: an expression that can be true or false.
    pub fn condition(&mut self, key: &str, node: &Node) -> Option<Expr> {
        let expr = self.expression(key, node)?;
        match expr.constant() {
            Some(constant) if constant.as_bool().is_none() => {
                let message = format!("is always {}, not true or false", constant.kind());
                let hint =
                    constant.as_str().map(|_| "text in an expression stands in quotes; a name without them is `input.name`".to_owned());
                self.wrong((node.at, node.end), key, message, hint);
                None
            }
            // What is constant and fits is true or false.
            None if expr.sure().is_some_and(|sure| sure != InferredType::Boolean) => {
                let kind = expr.sure().map_or("", InferredType::words);
                self.wrong((node.at, node.end), key, format!("is {kind}, not true or false"), Some("compare it with something".into()));
                None
            }
            _ => Some(expr),
        }
    }
}

/// The keys of a literal list, for `for_each`.
pub(in crate::domain::workflow) fn is_list(template: &Template) -> Result<(), &'static str> {
    let list = |data: &Data| if data.len().is_some() { Ok(()) } else { Err(data.kind()) };
    match template {
        Template::Literal(data) => list(data),
        Template::Whole(expr) => match (expr.constant(), expr.sure()) {
            (Some(constant), _) => list(constant),
            (None, Some(sure)) if sure != InferredType::Array => Err(sure.words()),
            (None, _) => Ok(()),
        },
        Template::List(_) => Ok(()),
        Template::Text(_) => Err("a string"),
        Template::Object(_) => Err("an object"),
    }
}
