//! References of expressions, and the guards that turn a missing value into an error.
//!
//! minijinja in strict mode rejects a lookup in a missing value, but a missing last key is "undefined", equals
//! nothing and is written as `null`. So every reference gets a filter that rejects it, except where the author asks
//! about it (`| default(…)`, `is defined`, `is undefined`): there, every key may be missing, not only the last. The
//! same applies to filters that may have no result (`first` of an empty list), and to filters that read a member of
//! each item (`selectattr`) and would skip items without it.

use minijinja::machinery::{
    ast::{BinOpKind, CallArg, Expr},
    parse_expr,
};

use super::{
    Data, SyntaxFault, engine,
    infer::{self, InferredType},
    lint,
};
use crate::domain::nesting;

/// A reference of an expression: `steps.create.result.userId`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name and its keys, as far as they are literal.
    pub path: Vec<Key>,
    /// Whether `path` holds all keys; otherwise a computed key follows.
    pub complete: bool,
    /// Whether the value may be missing.
    pub optional: bool,
    /// Byte offset in the expression.
    pub offset: usize,
}

/// A key of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A top-level name or a member.
    Name(String),
    /// An index into a list; negative counts from the end.
    Index(i64),
}

impl Reference {
    /// Returns the top-level name.
    pub fn root(&self) -> &str {
        self.name(0).unwrap_or_default()
    }

    /// Returns the key at `level` if it is a name.
    pub fn name(&self, level: usize) -> Option<&str> {
        match self.path.get(level) {
            Some(Key::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// Returns the reference as written, `steps.a.result[0]`, with `…` for computed keys.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for key in &self.path {
            match key {
                Key::Name(name) if is_name(name) => {
                    out.push_str(if out.is_empty() { "" } else { "." });
                    out.push_str(name);
                }
                Key::Name(name) => out.push_str(&format!("[{}]", Data::from(name.as_str()).json())),
                Key::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        if !self.complete {
            out.push_str("[…]");
        }
        out
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// An expression with its analysis.
pub(super) struct Analysis {
    /// The text with guards.
    pub guarded: String,
    pub references: Vec<Reference>,
    /// Whether the expression is a single reference.
    pub is_reference: bool,
    /// The value if there are no references.
    pub constant: Option<Data>,
    /// The inferred type of the value.
    pub inferred: Option<InferredType>,
}

/// Analyses an expression.
pub(super) fn analyze(source: &str) -> Result<Analysis, SyntaxFault> {
    if source.trim().is_empty() {
        return Err(SyntaxFault { message: "the expression is empty".into(), hint: Some("write {{ input.name }}".into()), offset: 0 });
    }
    let parsed = parse_expr(source).map_err(|error| {
        let fault = engine::syntax_fault(&error);
        SyntaxFault { hint: lint::syntax_hint(source).or(fault.hint), ..fault }
    })?;
    let mut walk = Walk { source, references: vec![], edits: vec![], fault: None };
    walk.expr(&parsed, Guard::Insert);
    if let Some(fault) = walk.fault {
        return Err(fault);
    }
    let mut guarded = source.to_owned();
    walk.edits.sort_by_key(|(from, ..)| std::cmp::Reverse(*from));
    for (from, to, text) in &walk.edits {
        if from <= to && guarded.is_char_boundary(*from) && guarded.is_char_boundary(*to) {
            guarded.replace_range(*from..*to, text);
        }
    }
    let is_reference = matches!(parsed, Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_)) && walk.references.len() == 1;
    let constant = if walk.references.is_empty() { engine::constant(&guarded) } else { None };
    Ok(Analysis { guarded, references: walk.references, is_reference, constant, inferred: infer::infer(&parsed) })
}

/// Rejects expressions that are too long or too deeply nested before they are parsed: every walk of the syntax tree
/// is recursive.
pub(super) fn check_bounds(source: &str) -> Result<(), SyntaxFault> {
    let fault = |offset, message: String| SyntaxFault { message, hint: Some("split it over several steps".into()), offset };
    if source.len() > nesting::EXPRESSION_BYTES {
        return Err(fault(0, format!("the expression is longer than {} bytes", nesting::EXPRESSION_BYTES)));
    }
    match nesting::deep_expression(source) {
        Some(at) => Err(fault(at, format!("the expression is nested or chained more than {} deep", nesting::EXPRESSION))),
        None => Ok(()),
    }
}

/// Reads an expression that consists of names joined by dots, as most do.
pub(super) fn read_path(source: &str) -> Option<Reference> {
    let path = source.trim();
    let root = path.split('.').next()?;
    // Keywords have another meaning at the top level.
    let keyword =
        ["true", "false", "none", "True", "False", "None", "not", "if", "else", "and", "or", "in", "is", "loop", "self"].contains(&root);
    if keyword || !path.split('.').all(is_name) {
        return None;
    }
    let keys = path.split('.').map(|name| Key::Name(name.to_owned())).collect();
    let offset = source.len() - source.trim_start().len();
    Some(Reference { path: keys, complete: true, optional: false, offset })
}

/// Returns the start of an expression; minijinja's span of a postfix operation covers only the name or brackets.
fn start_of(expr: &Expr<'_>) -> usize {
    match expr {
        Expr::Filter(filter) => filter.expr.as_ref().map_or(expr.span().start_offset as usize, start_of),
        Expr::GetAttr(inner) => start_of(&inner.expr),
        Expr::GetItem(inner) => start_of(&inner.expr),
        Expr::Call(call) => start_of(&call.expr),
        other => other.span().start_offset as usize,
    }
}

/// Returns the lookup of a reference in which every key may be missing.
fn optional_lookup(root: &str, path: &[Key]) -> String {
    let keys: Vec<String> = path[1..]
        .iter()
        .map(|key| match key {
            Key::Name(name) => Data::from(name.as_str()).json(),
            Key::Index(index) => index.to_string(),
        })
        .collect();
    format!("{}({root}, {})", engine::FIND_OPTIONAL, keys.join(", "))
}

/// Filters whose result is missing for empty input.
const MAYBE_MISSING: [&str; 5] = ["first", "last", "min", "max", "attr"];
/// Filters whose first argument is the member of each item that they read, and filters that name it `attribute`.
const FIRST_ARGUMENT_MEMBER: [&str; 4] = ["selectattr", "rejectattr", "groupby", "sum"];
const ATTRIBUTE_MEMBER: [&str; 8] = ["map", "sort", "unique", "min", "max", "groupby", "sum", "join"];

/// Whether the value of a reference gets a guard that rejects it when it is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// A guard is inserted.
    Insert,
    /// No guard: something around the reference checks the value.
    Omit,
}

/// Whether the value of a reference may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// A missing value is an error.
    Required,
    /// The author asks whether the value exists.
    Optional,
}

struct Walk<'s> {
    source: &'s str,
    references: Vec<Reference>,
    /// Replacements of byte ranges.
    edits: Vec<(usize, usize, String)>,
    fault: Option<SyntaxFault>,
}

impl Walk<'_> {
    /// Walks an expression.
    fn expr(&mut self, expr: &Expr<'_>, guard: Guard) {
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.chain(expr, guard, Presence::Required),
            Expr::Const(_) => {}
            Expr::Slice(slice) => {
                // No filter can be placed between a value and its brackets; the slice itself rejects a missing value.
                self.base(&slice.expr);
                for bound in [&slice.start, &slice.stop, &slice.step].into_iter().flatten() {
                    self.expr(bound, Guard::Insert);
                }
            }
            Expr::UnaryOp(op) => self.expr(&op.expr, Guard::Insert),
            Expr::BinOp(op) => {
                self.outcome(lint::outcome_of_operation(&op.op, &op.left, &op.right), expr.span().start_offset);
                self.expr(&op.left, Guard::Insert);
                self.expr(&op.right, Guard::Insert);
                if matches!(op.op, BinOpKind::Mul) {
                    self.factor(&op.left);
                    self.factor(&op.right);
                }
            }
            Expr::Compare(compare) => {
                self.expr(&compare.expr, Guard::Insert);
                let mut left = &compare.expr;
                for op in &compare.ops {
                    self.outcome(lint::outcome_of_comparison(&op.op, left, &op.expr), expr.span().start_offset);
                    left = &op.expr;
                    self.expr(&op.expr, Guard::Insert);
                }
            }
            Expr::IfExpr(condition) => {
                // Added before the nested edits, so that those come before it in the text.
                if condition.false_expr.is_none() && guard == Guard::Insert {
                    let end = expr.span().end_offset as usize;
                    self.edits.push((end, end, format!(" else {}()", engine::MISSING_ELSE)));
                }
                self.expr(&condition.test_expr, Guard::Insert);
                self.expr(&condition.true_expr, guard);
                if let Some(other) = &condition.false_expr {
                    self.expr(other, guard);
                }
            }
            Expr::Filter(filter) => {
                self.outcome(lint::outcome_of_filter(filter.name, &filter.args), expr.span().start_offset);
                let presence = if matches!(filter.name, "default" | "d") { Presence::Optional } else { Presence::Required };
                self.known(engine::has_filter(filter.name), "filter", filter.name, expr.span().start_offset, engine::filters);
                if let Some(inner) = &filter.expr {
                    self.inner(inner, presence);
                    self.members(filter.name, &filter.args, inner);
                }
                self.arguments(&filter.args);
                if guard == Guard::Insert && MAYBE_MISSING.contains(&filter.name) {
                    let end = expr.span().end_offset as usize;
                    self.edits.push((end, end, format!("|{}({})", engine::REJECT_MISSING, Data::from(self.text(expr)).json())));
                }
            }
            Expr::Test(test) => {
                self.known(engine::has_test(test.name), "test", test.name, expr.span().start_offset, engine::tests);
                let presence = if matches!(test.name, "defined" | "undefined") { Presence::Optional } else { Presence::Required };
                self.inner(&test.expr, presence);
                self.arguments(&test.args);
            }
            Expr::Call(call) => {
                match &call.expr {
                    Expr::Var(var) => {
                        self.known(engine::has_function(var.id), "function", var.id, var.span().start_offset, engine::functions)
                    }
                    Expr::GetAttr(method) => {
                        self.fault(
                            format!("values have no method `{}`", method.name),
                            Some(lint::method_hint(method.name)),
                            call.expr.span().start_offset,
                        );
                        self.base(&method.expr);
                    }
                    other => self.expr(other, Guard::Omit),
                }
                self.arguments(&call.args);
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.expr(item, Guard::Insert)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.expr(item, Guard::Insert)),
            Expr::Map(map) => map.keys.iter().chain(&map.values).for_each(|item| self.expr(item, Guard::Insert)),
        }
    }

    /// Walks the operand of a filter or test.
    fn inner(&mut self, expr: &Expr<'_>, presence: Presence) {
        let guard = if presence == Presence::Optional { Guard::Omit } else { Guard::Insert };
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.chain(expr, guard, presence),
            other => self.expr(other, guard),
        }
    }

    /// Returns an expression as written.
    fn text(&self, expr: &Expr<'_>) -> &str {
        self.source.get(start_of(expr)..expr.span().end_offset as usize).unwrap_or_default().trim()
    }

    /// Adds a check that every item of `list` has the member that a filter reads, if the filter names one and has no
    /// default for items without it.
    fn members(&mut self, filter: &str, arguments: &[CallArg<'_>], list: &Expr<'_>) {
        let text = |expr: &Expr<'_>| expr.as_const().and_then(|value| value.as_str().map(str::to_owned));
        let mut positional = arguments.iter().filter_map(|argument| match argument {
            CallArg::Pos(expr) => Some(text(expr)),
            _ => None,
        });
        let named = |wanted: &str| {
            arguments.iter().find_map(|argument| match argument {
                CallArg::Kwarg(name, expr) if *name == wanted => Some(text(expr)),
                _ => None,
            })
        };
        let first = positional.next().flatten().filter(|_| FIRST_ARGUMENT_MEMBER.contains(&filter));
        let test = positional.next().flatten();
        let checks_presence = filter.ends_with("attr") && matches!(test.as_deref(), Some("defined" | "undefined"));
        let member = first.or_else(|| named("attribute").flatten().filter(|_| ATTRIBUTE_MEMBER.contains(&filter)));
        let Some(member) = member.filter(|_| !checks_presence && named("default").is_none()) else { return };
        // Other expressions are followed by parentheses; nothing can be inserted between.
        if !matches!(list, Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Filter(_) | Expr::Call(_) | Expr::List(_)) {
            return;
        }
        let (end, of) = (list.span().end_offset as usize, Data::from(self.text(list)).json());
        for path in member.split(',') {
            self.edits.push((end, end, format!("|{}({}, {of})", engine::REQUIRE_MEMBER, Data::from(path.trim()).json())));
        }
    }

    /// Walks an expression that is followed by brackets or a call, so that no guard can be inserted.
    fn base(&mut self, expr: &Expr<'_>) {
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.chain(expr, Guard::Omit, Presence::Required),
            other => self.expr(other, Guard::Insert),
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(expr) | CallArg::Kwarg(_, expr) | CallArg::PosSplat(expr) | CallArg::KwargSplat(expr) => {
                    self.expr(expr, Guard::Insert)
                }
            }
        }
    }

    /// Walks a name followed by keys, or keys that follow another expression.
    fn chain(&mut self, expr: &Expr<'_>, guard: Guard, presence: Presence) {
        let optional = presence == Presence::Optional;
        let mut keys: Vec<Option<Key>> = vec![];
        let mut at = expr;
        let root = loop {
            match at {
                Expr::GetAttr(inner) => {
                    keys.push(Some(Key::Name(inner.name.to_owned())));
                    at = &inner.expr;
                }
                Expr::GetItem(inner) => {
                    let key = inner.subscript_expr.as_const().and_then(|key| match key.as_str() {
                        Some(name) => Some(Key::Name(name.to_owned())),
                        None => key.as_i64().map(Key::Index),
                    });
                    if key.is_none() {
                        self.expr(&inner.subscript_expr, Guard::Insert);
                    }
                    keys.push(key);
                    at = &inner.expr;
                }
                root => break root,
            }
        };
        keys.reverse();
        let nested = !keys.is_empty();
        let end = expr.span().end_offset as usize;
        let known: Vec<Key> = keys.iter().map_while(Clone::clone).collect();
        let text = match root {
            Expr::Var(var) => {
                let complete = known.len() == keys.len();
                let path = [vec![Key::Name(var.id.to_owned())], known].concat();
                let reference = Reference { path, complete, optional, offset: var.span().start_offset as usize };
                let text = reference.text();
                if optional && complete && keys.len() > 1 {
                    self.edits.push((reference.offset, end, optional_lookup(var.id, &reference.path)));
                }
                self.references.push(reference);
                text
            }
            other => {
                self.base(other);
                let reference = Reference { complete: known.len() == keys.len(), path: known, optional, offset: 0 };
                reference.text()
            }
        };
        if nested && guard == Guard::Insert {
            self.edits.push((end, end, format!("|{}({})", engine::REJECT_MISSING, Data::from(text).json())));
        }
    }

    /// Makes an operand of `*` fail if it is a list. A filter belongs to the value before it, so it is added to every value that
    /// the operand can be, or consist of.
    fn factor(&mut self, expr: &Expr<'_>) {
        match expr {
            Expr::BinOp(op) => {
                self.factor(&op.left);
                self.factor(&op.right);
            }
            Expr::IfExpr(condition) => {
                self.factor(&condition.true_expr);
                if let Some(other) = &condition.false_expr {
                    self.factor(other);
                }
            }
            // Numbers and truth values.
            Expr::UnaryOp(_) | Expr::Compare(_) | Expr::Test(_) => {}
            _ => {
                let end = expr.span().end_offset as usize;
                self.edits.push((end, end, format!("|{}", engine::REJECT_LIST)));
            }
        }
    }

    /// Records the first fault.
    fn fault(&mut self, message: String, hint: Option<String>, offset: u32) {
        self.fault.get_or_insert(SyntaxFault { message, hint, offset: offset as usize });
    }

    fn outcome(&mut self, unknown: Option<lint::UnknownOutcome>, offset: u32) {
        if let Some((word, hint)) = unknown {
            self.fault(format!("an outcome is never {word:?}"), Some(hint), offset);
        }
    }

    fn known(&mut self, known: bool, kind: &str, name: &str, offset: u32, all: fn() -> Vec<&'static str>) {
        if !known && self.fault.is_none() {
            let candidate = super::super::closest_match(name, all());
            let hint = match candidate {
                Some(candidate) => format!("did you mean `{candidate}`?"),
                None => format!("available: {}", all().join(", ")),
            };
            self.fault(format!("unknown {kind} `{name}`"), Some(hint), offset);
        }
    }
}
