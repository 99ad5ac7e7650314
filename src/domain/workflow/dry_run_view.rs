//! Dry-run view: a dry run as blocks of labelled fields, in the words that both faces show.
//!
//! The CLI and the console lay out the blocks; neither writes texts of its own about a step.

use std::sync::Arc;

use crate::domain::plural::counted;

use super::{
    dry_run::{DryRunStep, Execution, PartialValue, Predicted, PredictedCall, PredictedFallback},
    expression::Data,
    plan::{ActionKind, Phase},
};

/// Note below a dry run with unknown values.
pub const UNKNOWN_VALUES: &str = "values in {{ }} are not known before the run";

/// Note that nothing was called.
pub const NO_CALL: &str = "no call was made";

/// Levels from a heading to its fields and to the nested steps.
pub const FIELD_LEVELS: usize = 2;

/// A dry run, ready to be laid out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DryRunView {
    /// The steps and items, in the order in which they can run. Nested steps follow the step or item that runs them.
    pub blocks: Vec<Block>,
    /// Whether a value is unknown before the run; see [`UNKNOWN_VALUES`].
    pub unknown: bool,
}

/// A heading with its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The heading.
    pub heading: Heading,
    /// The level of the heading, for indentation. The fields are [`FIELD_LEVELS`] below it.
    pub level: usize,
    /// The fields, in order.
    pub fields: Vec<Field>,
}

/// The heading of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Heading {
    /// A step.
    Step {
        /// Its path.
        path: String,
        /// The action and its target, with the server of a tool.
        action: String,
        /// The steps that it needs.
        needs: Vec<Arc<str>>,
        /// Its condition or why it does not run, and its `for_each`.
        notes: Vec<Field>,
    },
    /// An item of a step with `for_each`.
    Item {
        /// Its path.
        path: String,
        /// The item.
        value: String,
    },
    /// Number of items that are not listed.
    MoreItems(usize),
    /// Nested steps that are not listed.
    NestedTruncated,
}

impl Heading {
    /// Returns the path of a step or an item.
    pub fn path(&self) -> Option<&str> {
        match self {
            Heading::Step { path, .. } | Heading::Item { path, .. } => Some(path),
            Heading::MoreItems(_) | Heading::NestedTruncated => None,
        }
    }

    /// Returns the text after the path: what a step does, the value of an item, or what is not listed.
    pub fn text(&self) -> String {
        match self {
            Heading::Step { action, .. } => action.clone(),
            Heading::Item { value, .. } => value.clone(),
            Heading::MoreItems(count) => format!("and {count} more items"),
            Heading::NestedTruncated => "nested steps are not listed: too many".to_owned(),
        }
    }
}

/// A labelled text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The label.
    pub label: Label,
    /// The text.
    pub text: String,
}

/// The label of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The steps that a step needs.
    Needs,
    /// The condition of a step that is decided during the run.
    When,
    /// The step whose `when` is false if this step runs.
    Else,
    /// When a step of a later phase runs.
    Phase,
    /// Why a step does not run.
    Skipped,
    /// Why a step or a value would fail.
    Fails,
    /// The items of a `for_each`.
    ForEach,
    /// The conditions of a `repeat`.
    Repeat,
    /// A computed value.
    Value,
    /// What is sent.
    Arguments,
    /// The question to the user.
    Asks,
    /// JSON Schema of the form for the user.
    Form,
    /// A fallback call.
    Fallback,
    /// A fallback value.
    FallbackValue,
    /// The compensating call.
    Compensation,
}

impl Label {
    /// Returns the name for users.
    pub fn word(self) -> &'static str {
        match self {
            Label::Needs => "needs",
            Label::When => "when",
            Label::Else => "else of",
            Label::Phase => "runs",
            Label::Skipped => "skipped",
            Label::Fails => "fails",
            Label::ForEach => "for each of",
            Label::Repeat => "repeated",
            Label::Value => "value",
            Label::Arguments => "arguments",
            Label::Asks => "asks",
            Label::Form => "form",
            Label::Fallback => "fallback",
            Label::FallbackValue => "fallback value",
            Label::Compensation => "compensation",
        }
    }
}

/// Returns the server that a tool would be called on, by the tool's name.
pub type ServerOf<'a> = &'a dyn Fn(&str) -> Option<String>;

impl DryRunView {
    /// Creates the view of a dry run.
    pub fn new(steps: &[DryRunStep], server_of: ServerOf<'_>) -> DryRunView {
        let mut builder = Builder { server_of, view: DryRunView::default() };
        steps.iter().for_each(|step| builder.step(step, 0));
        builder.view
    }
}

struct Builder<'a> {
    server_of: ServerOf<'a>,
    view: DryRunView,
}

impl Builder<'_> {
    fn step(&mut self, step: &DryRunStep, level: usize) {
        let server = (step.kind == ActionKind::Tool).then(|| (self.server_of)(&step.subject)).flatten();
        let server = server.map(|server| format!("  of {server}")).unwrap_or_default();
        // The value of a `let` is a field.
        let action = match step.kind {
            ActionKind::Let => step.kind.word().to_owned(),
            kind => format!("{} {}{server}", kind.word(), step.subject),
        };
        let mut notes = vec![];
        let mut note = |label: Label, text: &str| notes.push(Field { label, text: text.to_owned() });
        match step.phase {
            Phase::Main => {}
            Phase::OnFailure => note(Label::Phase, "after a failure"),
            Phase::Finally => note(Label::Phase, "at the end"),
        }
        if let (Some(of), Predicted::Undecided) = (&step.else_of, &step.predicted) {
            note(Label::Else, of);
        }
        match &step.predicted {
            Predicted::Runs => {}
            Predicted::Undecided => step.when.iter().for_each(|when| note(Label::When, when)),
            Predicted::Skipped { why } => note(Label::Skipped, why),
            Predicted::Fails { why } => note(Label::Fails, why),
        }
        let total = step.each.as_ref().and_then(|each| each.total);
        if let Some(each) = &step.each {
            self.view.unknown |= total.is_none();
            note(Label::ForEach, &total.map_or_else(|| each.items.data.display(), |total| counted(total, "item")));
        }
        if let Some(repeat) = &step.repeat {
            note(Label::Repeat, repeat);
        }
        self.heading(Heading::Step { path: step.path.clone(), action, needs: step.needs.clone(), notes }, level);
        for execution in &step.executions {
            match total {
                Some(_) => {
                    let value = execution.item.as_ref().map(Data::display).unwrap_or_default();
                    self.heading(Heading::Item { path: execution.path.clone(), value }, level + 1);
                    self.execution(execution, level + 1);
                }
                // Without known items, the only execution represents all of them.
                None => self.execution(execution, level),
            }
        }
        let left_out = total.map_or(0, |total| total.saturating_sub(step.executions.len()));
        if left_out > 0 && step.predicted == Predicted::Runs {
            self.heading(Heading::MoreItems(left_out), level + 1);
        }
    }

    fn heading(&mut self, heading: Heading, level: usize) {
        self.view.blocks.push(Block { heading, level, fields: vec![] });
    }

    /// Adds the fields of an execution to the last block, and its nested steps.
    fn execution(&mut self, execution: &Execution, level: usize) {
        if let Some(sends) = &execution.sends {
            self.value(Label::Arguments, "", sends);
        }
        if let Some(value) = &execution.computes {
            self.value(Label::Value, "", value);
        }
        if let Some(asks) = &execution.asks {
            self.value(Label::Asks, "", asks);
        }
        if let Some(form) = &execution.form {
            self.field(Label::Form, form.text().into_owned());
        }
        for fallback in &execution.fallbacks {
            match fallback {
                PredictedFallback::Call(call) => self.call(Label::Fallback, call),
                PredictedFallback::Value(value) => self.value(Label::FallbackValue, "", value),
            }
        }
        if let Some(call) = &execution.undo {
            self.call(Label::Compensation, call);
        }
        execution.nested.iter().for_each(|step| self.step(step, level + FIELD_LEVELS));
        if execution.truncated {
            self.heading(Heading::NestedTruncated, level + FIELD_LEVELS);
        }
    }

    fn call(&mut self, label: Label, call: &PredictedCall) {
        let server = (self.server_of)(&call.tool).map(|server| format!(" of {server}")).unwrap_or_default();
        self.value(label, &format!("{}{server}  ", call.tool), &call.arguments);
    }

    fn value(&mut self, label: Label, before: &str, value: &PartialValue) {
        self.view.unknown |= !value.known && value.error.is_none();
        self.field(label, format!("{before}{}", value.data.display()));
        if let Some(error) = &value.error {
            self.field(Label::Fails, error.clone());
        }
    }

    fn field(&mut self, label: Label, text: String) {
        if let Some(block) = self.view.blocks.last_mut() {
            block.fields.push(Field { label, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::{
        dry_run::dry_run,
        parse::{Source, parse},
    };

    fn view(text: &str, inner: &str, input: &str) -> DryRunView {
        let source = |file: &str, text: &str| Source { file: file.into(), text: text.into() };
        let library = |name: &str| (name == "inner").then(|| source("inner.toml", inner));
        let plan = parse(&source("t.toml", text), &library).unwrap();
        let server_of = |tool: &str| (tool == "t").then(|| "s".to_owned());
        DryRunView::new(&dry_run(&plan, &Data::parse(input).unwrap(), None), &server_of)
    }

    fn fields(block: &Block) -> Vec<(&str, &str)> {
        block.fields.iter().map(|field| (field.label.word(), field.text.as_str())).collect()
    }

    const OUTER: &str = r#"
        name = "outer"
        [input]
        names = { type = "array", items = { type = "string" } }
        [[step]]
        id = "greet"
        workflow = "inner"
        for_each = "{{ input.names }}"
        arguments = { who = "{{ item }}" }
        [[step]]
        id = "sure"
        when = "input.names | length > 5"
        approve = "All of them?"
        [[step]]
        id = "ask"
        approve = "Greet {{ input.names | join(' and ') }}?"
    "#;
    const INNER: &str = r#"
        name = "inner"
        [input]
        who = "string"
        [[step]]
        id = "call"
        tool = "t"
        arguments = { who = "{{ input.who }}" }
        [[step.fallback]]
        tool = "u"
        arguments = { who = "{{ input.who }}" }
    "#;

    #[test]
    fn items_and_nested_workflows_follow_their_step() {
        let view = view(OUTER, INNER, r#"{"names":["Ann","Bob"]}"#);
        let paths: Vec<_> = view.blocks.iter().map(|block| (block.heading.path().unwrap(), block.level)).collect();
        let items = [("greet[0]", 1), ("greet[0]/call", 3), ("greet[1]", 1), ("greet[1]/call", 3)];
        assert_eq!(paths, [vec![("greet", 0)], items.to_vec(), vec![("sure", 0), ("ask", 0)]].concat());
        assert_eq!((view.blocks[0].heading.text(), view.blocks[3].heading.text()), ("workflow inner".into(), "Bob".into()));
        assert_eq!(view.blocks[4].heading.text(), "tool t  of s");
        assert_eq!(fields(&view.blocks[4]), [("arguments", r#"{"who":"Bob"}"#), ("fallback", r#"u  {"who":"Bob"}"#)]);
        let Heading::Step { notes, .. } = &view.blocks[5].heading else { panic!("{view:?}") };
        assert_eq!(notes, &[Field { label: Label::Skipped, text: "when: input.names | length > 5".into() }]);
        assert_eq!(fields(&view.blocks[6]), [("asks", "Greet Ann and Bob?")]);
        assert!(!view.unknown);
    }

    #[test]
    fn what_is_not_listed_is_counted() {
        let names: Vec<String> = (0..300).map(|n| format!("\"n{n}\"")).collect();
        let view = view(OUTER, INNER, &format!(r#"{{"names":[{}]}}"#, names.join(",")));
        let texts: Vec<String> = view.blocks.iter().map(|block| block.heading.text()).collect();
        assert!(texts.iter().any(|text| text.starts_with("and ") && text.ends_with(" more items")), "{texts:?}");
    }
}
