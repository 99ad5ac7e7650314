//! What an expression refers to, and the guards that make a missing value an error.
//!
//! minijinja in strict mode refuses to look into something that is not there, but gives the missing last key
//! itself as "undefined", which then equals nothing and is written as `null`. So every reference gets a
//! filter that refuses it, but where the author asks (`| default(…)`, `is defined`, `is undefined`): there
//! every key may be missing, not only the last. The same goes for filters that may come to nothing (`first` of an
//! empty list), and for those that look at a member of each item (`selectattr`), which would pass over items without it.

use minijinja::machinery::{
    ast::{CallArg, Expr},
    parse_expr,
};

use super::{
    Data, SyntaxFault, engine,
    infer::{self, InferredType},
};
use crate::domain::nesting;

/// Something that an expression refers to: `steps.create.result.userId`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name and the keys after it, as far as they stand there as they are.
    pub path: Vec<Key>,
    /// Whether all of its keys are in `path`; otherwise one that is computed follows.
    pub complete: bool,
    /// Whether it may be missing.
    pub optional: bool,
    /// Byte offset in the expression.
    pub offset: usize,
}

/// A key of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A name at the top or a member.
    Name(String),
    /// A place in a list; negative from its end.
    Index(i64),
}

impl Reference {
    /// The name at the top.
    pub fn root(&self) -> &str {
        self.name(0).unwrap_or_default()
    }

    /// The key at `level`, if it is a name.
    pub fn name(&self, level: usize) -> Option<&str> {
        match self.path.get(level) {
            Some(Key::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// As it is written: `steps.a.result[0]`, with `…` for what is computed.
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

/// An expression as read.
pub(super) struct Read {
    /// Its text with guards.
    pub guarded: String,
    pub references: Vec<Reference>,
    /// Whether it is a reference and nothing else.
    pub plain: bool,
    /// Its value if it refers to nothing.
    pub constant: Option<Data>,
    /// The kind of its value, where its form tells.
    pub sure: Option<InferredType>,
}

/// Reads an expression.
pub(super) fn read(source: &str) -> Result<Read, SyntaxFault> {
    if source.trim().is_empty() {
        return Err(SyntaxFault { message: "the expression is empty".into(), hint: Some("write {{ input.name }}".into()), offset: 0 });
    }
    let parsed = parse_expr(source).map_err(|error| engine::syntax_fault(&error))?;
    let mut walk = Walk { source, references: vec![], edits: vec![], fault: None };
    walk.expr(&parsed, false);
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
    let plain = matches!(parsed, Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_)) && walk.references.len() == 1;
    let constant = if walk.references.is_empty() { engine::constant(&guarded) } else { None };
    Ok(Read { guarded, references: walk.references, plain, constant, sure: infer::of(&parsed) })
}

/// Refuses what is too long or too deep, before it is parsed: every walk over the parsed tree is recursive.
pub(super) fn bounded(source: &str) -> Result<(), SyntaxFault> {
    let fault = |offset, message: String| SyntaxFault { message, hint: Some("split it over several steps".into()), offset };
    if source.len() > nesting::EXPRESSION_BYTES {
        return Err(fault(0, format!("the expression is longer than {} bytes", nesting::EXPRESSION_BYTES)));
    }
    match nesting::deep_expression(source) {
        Some(at) => Err(fault(at, format!("the expression is nested or chained more than {} deep", nesting::EXPRESSION))),
        None => Ok(()),
    }
}

/// Reads an expression that is nothing but names with dots between them, as most are.
pub(super) fn read_path(source: &str) -> Option<Reference> {
    let path = source.trim();
    let root = path.split('.').next()?;
    // Words of the language mean something else at the top.
    let word =
        ["true", "false", "none", "True", "False", "None", "not", "if", "else", "and", "or", "in", "is", "loop", "self"].contains(&root);
    if word || !path.split('.').all(is_name) {
        return None;
    }
    let keys = path.split('.').map(|name| Key::Name(name.to_owned())).collect();
    let offset = source.len() - source.trim_start().len();
    Some(Reference { path: keys, complete: true, optional: false, offset })
}

/// Where an expression begins; the span of what follows a value is that of the name or the brackets.
fn begin(expr: &Expr<'_>) -> usize {
    match expr {
        Expr::Filter(filter) => filter.expr.as_ref().map_or(expr.span().start_offset as usize, begin),
        Expr::GetAttr(inner) => begin(&inner.expr),
        Expr::GetItem(inner) => begin(&inner.expr),
        Expr::Call(call) => begin(&call.expr),
        other => other.span().start_offset as usize,
    }
}

/// The look-up of a reference of which every key may be missing.
fn loose(root: &str, path: &[Key]) -> String {
    let keys: Vec<String> = path[1..]
        .iter()
        .map(|key| match key {
            Key::Name(name) => Data::from(name.as_str()).json(),
            Key::Index(index) => index.to_string(),
        })
        .collect();
    format!("{}({root}, {})", engine::FIND, keys.join(", "))
}

/// Filters that give nothing where there is nothing to give.
const MAY_LACK: [&str; 5] = ["first", "last", "min", "max", "attr"];
/// Filters whose first argument is the member of each item that they look at, and those that name it `attribute`.
const OF_MEMBER: [&str; 4] = ["selectattr", "rejectattr", "groupby", "sum"];
const BY_ATTRIBUTE: [&str; 8] = ["map", "sort", "unique", "min", "max", "groupby", "sum", "join"];

struct Walk<'s> {
    source: &'s str,
    references: Vec<Reference>,
    /// What is put in the place of the bytes from one to another.
    edits: Vec<(usize, usize, String)>,
    fault: Option<SyntaxFault>,
}

impl Walk<'_> {
    /// Walks an expression. `loose`: a reference here needs no guard.
    fn expr(&mut self, expr: &Expr<'_>, loose: bool) {
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.chain(expr, loose, false),
            Expr::Const(_) => {}
            Expr::Slice(slice) => {
                // Nothing can stand between a value and its brackets; the slice itself refuses what is missing.
                self.base(&slice.expr);
                for bound in [&slice.start, &slice.stop, &slice.step].into_iter().flatten() {
                    self.expr(bound, false);
                }
            }
            Expr::UnaryOp(op) => self.expr(&op.expr, false),
            Expr::BinOp(op) => {
                self.expr(&op.left, false);
                self.expr(&op.right, false);
            }
            Expr::Compare(compare) => {
                self.expr(&compare.expr, false);
                for op in &compare.ops {
                    self.expr(&op.expr, false);
                }
            }
            Expr::IfExpr(condition) => {
                // Put in before what stands within, which then comes before it.
                if condition.false_expr.is_none() && !loose {
                    let end = expr.span().end_offset as usize;
                    self.edits.push((end, end, format!(" else {}()", engine::NOTHING)));
                }
                self.expr(&condition.test_expr, false);
                self.expr(&condition.true_expr, loose);
                if let Some(other) = &condition.false_expr {
                    self.expr(other, loose);
                }
            }
            Expr::Filter(filter) => {
                let excused = matches!(filter.name, "default" | "d");
                self.known(engine::has_filter(filter.name), "filter", filter.name, expr.span().start_offset, engine::filters);
                if let Some(inner) = &filter.expr {
                    self.inner(inner, excused);
                    self.members(filter.name, &filter.args, inner);
                }
                self.arguments(&filter.args);
                if !loose && MAY_LACK.contains(&filter.name) {
                    let end = expr.span().end_offset as usize;
                    self.edits.push((end, end, format!("|{}({})", engine::GUARD, Data::from(self.text(expr)).json())));
                }
            }
            Expr::Test(test) => {
                self.known(engine::has_test(test.name), "test", test.name, expr.span().start_offset, engine::tests);
                self.inner(&test.expr, matches!(test.name, "defined" | "undefined"));
                self.arguments(&test.args);
            }
            Expr::Call(call) => {
                match &call.expr {
                    Expr::Var(var) => {
                        self.known(engine::has_function(var.id), "function", var.id, var.span().start_offset, engine::functions)
                    }
                    Expr::GetAttr(method) => self.base(&method.expr),
                    other => self.expr(other, true),
                }
                self.arguments(&call.args);
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.expr(item, false)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.expr(item, false)),
            Expr::Map(map) => map.keys.iter().chain(&map.values).for_each(|item| self.expr(item, false)),
        }
    }

    /// The value that a filter or a test is about. `excused`: it may be missing.
    fn inner(&mut self, expr: &Expr<'_>, excused: bool) {
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.chain(expr, excused, excused),
            other => self.expr(other, excused),
        }
    }

    /// An expression as it is written.
    fn text(&self, expr: &Expr<'_>) -> &str {
        self.source.get(begin(expr)..expr.span().end_offset as usize).unwrap_or_default().trim()
    }

    /// Has every item of `list` looked at for the member that a filter is about, if it names one and has no value for
    /// those that lack it.
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
        let first = positional.next().flatten().filter(|_| OF_MEMBER.contains(&filter));
        let test = positional.next().flatten();
        let asked = filter.ends_with("attr") && matches!(test.as_deref(), Some("defined" | "undefined"));
        let member = first.or_else(|| named("attribute").flatten().filter(|_| BY_ATTRIBUTE.contains(&filter)));
        let Some(member) = member.filter(|_| !asked && named("default").is_none()) else { return };
        // Behind other expressions parentheses stand, and nothing fits in between.
        if !matches!(list, Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Filter(_) | Expr::Call(_) | Expr::List(_)) {
            return;
        }
        let (end, of) = (list.span().end_offset as usize, Data::from(self.text(list)).json());
        for path in member.split(',') {
            self.edits.push((end, end, format!("|{}({}, {of})", engine::EACH, Data::from(path.trim()).json())));
        }
    }

    /// What brackets or a call follow, so that no guard fits in.
    fn base(&mut self, expr: &Expr<'_>) {
        match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.chain(expr, true, false),
            other => self.expr(other, false),
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(expr) | CallArg::Kwarg(_, expr) | CallArg::PosSplat(expr) | CallArg::KwargSplat(expr) => {
                    self.expr(expr, false)
                }
            }
        }
    }

    /// A name with keys after it, or keys after something else.
    fn chain(&mut self, expr: &Expr<'_>, unguarded: bool, optional: bool) {
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
                        self.expr(&inner.subscript_expr, false);
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
                    self.edits.push((reference.offset, end, loose(var.id, &reference.path)));
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
        if nested && !unguarded {
            self.edits.push((end, end, format!("|{}({})", engine::GUARD, Data::from(text).json())));
        }
    }

    fn known(&mut self, known: bool, kind: &str, name: &str, offset: u32, all: fn() -> Vec<&'static str>) {
        if !known && self.fault.is_none() {
            let near = super::super::near(name, all());
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", all().join(", ")),
            };
            self.fault = Some(SyntaxFault { message: format!("there is no {kind} `{name}`"), hint: Some(hint), offset: offset as usize });
        }
    }
}
