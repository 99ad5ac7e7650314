//! Expressions of workflows: compiled once when the file is parsed, evaluated against a [`Scope`].
//!
//! The language is minijinja's, cut down: no statements, no includes, no loaders, no macros, no escaping, a
//! fuel limit, and a value that is not there is an error wherever it is used (minijinja alone lets a missing
//! last key through as `null`). Only this folder names the crate. `data` are the values, `items`
//! those of very many items, `scope` what expressions see, `engine` the filters, `reference` what an expression refers to, `template` expressions
//! inside of text, lists and tables.

mod data;
mod date;
mod engine;
mod infer;
mod items;
mod reference;
mod scope;
mod template;

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

pub use self::{
    data::Data,
    infer::InferredType,
    items::{Ends, Results},
    reference::Reference,
    scope::{RunFacts, Scope, StepEnd, StepFault},
    template::{Part, Template},
};

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unevaluated {
    /// The key that it stands in, with those around it: `arguments.user.id`.
    pub key: String,
    /// Byte offset of the expression in the file; what a [`super::problem::Place`] can be made of.
    pub at: usize,
    /// The expression as written.
    pub expression: String,
    /// What is wrong, in one line.
    pub message: String,
}

impl fmt::Display for Unevaluated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {} in {{{{ {} }}}}", self.key, self.message, self.expression)
    }
}

impl std::error::Error for Unevaluated {}

/// Why an expression cannot be compiled: what, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxFault {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Byte offset in the text that was given.
    pub offset: usize,
}

/// The names of all filters, tests and functions that are offered.
pub fn offered() -> Vec<&'static str> {
    [engine::filters(), engine::tests(), engine::functions()].concat()
}

/// One compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expr(Arc<Inner>);

struct Inner {
    key: String,
    at: usize,
    /// Whether offsets in the expression are offsets in the file.
    exact: bool,
    /// Bytes of white space before the expression.
    lead: usize,
    source: String,
    program: engine::Program,
    references: Vec<Reference>,
    /// Whether it is nothing but a reference, so that its value needs no check.
    plain: bool,
    constant: Option<Data>,
    sure: Option<InferredType>,
}

impl Expr {
    /// Compiles `source` (without braces), which stands at byte `at` of its file under `key`; `exact` if it
    /// stands there as it is, without escapes.
    pub(super) fn compile(key: &str, at: usize, exact: bool, source: &str) -> Result<Expr, SyntaxFault> {
        reference::bounded(source)?;
        let (read, program) = match reference::read_path(source) {
            Some(reference) => {
                let program = engine::path(&reference);
                (reference::Read { guarded: String::new(), references: vec![reference], plain: true, constant: None, sure: None }, program)
            }
            None => {
                let read = reference::read(source)?;
                let program = engine::compile(&read.guarded).map_err(|fault| SyntaxFault { offset: 0, ..fault })?;
                (read, program)
            }
        };
        let inner = Inner {
            key: key.to_owned(),
            at,
            exact,
            lead: source.len() - source.trim_start().len(),
            source: source.trim().to_owned(),
            program,
            references: read.references,
            plain: read.plain,
            constant: read.constant,
            sure: read.sure,
        };
        Ok(Expr(Arc::new(inner)))
    }

    /// Its value.
    pub fn eval(&self, scope: &Scope) -> Result<Data, Unevaluated> {
        let fail = |message: String| self.fault(message);
        let value = engine::run(&self.0.program, scope).map_err(|error| fail(engine::explain(&error, &self.0.references, scope)))?;
        if value.is_undefined() {
            return Err(fail(engine::absent(&self.0.references, scope)));
        }
        let data = Data::of(value);
        if self.0.plain { Ok(data) } else { data.whole().map_err(fail) }
    }

    /// Its value as a yes or no. Anything but true and false is an error: `"no"` would be true otherwise.
    pub fn test(&self, scope: &Scope) -> Result<bool, Unevaluated> {
        let data = self.eval(scope)?;
        data.as_bool().ok_or_else(|| self.fault(format!("is {}, not true or false", data.kind())))
    }

    fn fault(&self, message: String) -> Unevaluated {
        let lead = if self.0.exact { self.0.lead } else { 0 };
        Unevaluated { key: self.0.key.clone(), at: self.0.at + lead, expression: self.0.source.clone(), message }
    }

    /// The expression as written, without braces.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The key that it stands in.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Byte offset in the file.
    pub fn at(&self) -> usize {
        self.0.at
    }

    /// The bytes of the file in which a reference of it stands, or the expression as a whole.
    pub(super) fn span_of(&self, reference: &Reference) -> (usize, usize) {
        let at = self.0.at + if self.0.exact { reference.offset } else { 0 };
        (at, if self.0.exact { at + reference.text().len() } else { at + 1 })
    }

    /// What it refers to.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// What it refers to, if it is nothing but that.
    pub fn plain(&self) -> Option<&Reference> {
        self.0.references.first().filter(|reference| self.0.plain && reference.complete)
    }

    /// The kind of its value, where its form tells whatever it refers to.
    pub fn sure(&self) -> Option<InferredType> {
        self.0.sure
    }

    /// Its value if that depends on nothing.
    pub fn constant(&self) -> Option<&Data> {
        self.0.constant.as_ref()
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{ {} }}}}", self.0.source)
    }
}
