//! Expressions of workflows: compiled once when the file is parsed, evaluated against a [`Scope`].
//!
//! The language is a subset of minijinja's: no statements, includes, loaders, macros or escaping, and a fuel limit. A
//! missing value is an error wherever it is used (minijinja alone turns a missing last key into `null`). Only this
//! folder names the crate.
//!
//! `data` holds values, `items` the values of very many items, `scope` the names that expressions see, `engine` the
//! filters, `reference` the references of an expression, `template` expressions inside text, lists and tables, and
//! `infer` type inference, `lint` hints for what other languages have.

mod data;
mod date;
mod engine;
mod infer;
mod items;
mod lint;
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
    scope::{RunFacts, RunFailure, Scope, StepEnd, StepFault},
    template::{Part, Template},
};

/// An evaluation error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unevaluated {
    /// The key of the expression with its parents: `arguments.user.id`.
    pub key: String,
    /// Byte offset of the expression in the file, from which a [`super::problem::Place`] is computed.
    pub at: usize,
    /// The expression as written.
    pub expression: String,
    /// The message, one line.
    pub message: String,
}

impl fmt::Display for Unevaluated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {} in {{{{ {} }}}}", self.key, self.message, self.expression)
    }
}

impl std::error::Error for Unevaluated {}

/// A syntax error in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxFault {
    /// The message.
    pub message: String,
    /// How to fix it.
    pub hint: Option<String>,
    /// Byte offset in the given text.
    pub offset: usize,
}

/// Returns the names of all available filters, tests and functions.
pub fn offered() -> Vec<&'static str> {
    [engine::filters(), engine::tests(), engine::functions()].concat()
}

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expr(Arc<Inner>);

struct Inner {
    key: String,
    at: usize,
    /// Whether offsets in the expression are offsets in the file.
    exact: bool,
    /// Bytes of white space before the expression.
    leading_space: usize,
    source: String,
    program: engine::Program,
    references: Vec<Reference>,
    /// Whether the expression is a single reference, so that its value needs no check.
    is_reference: bool,
    constant: Option<Data>,
    inferred: Option<InferredType>,
}

impl Expr {
    /// Compiles `source` (without braces) at byte `at` of the file under `key`. `exact`: the file contains the text
    /// as is, without escapes.
    pub(super) fn compile(key: &str, at: usize, exact: bool, source: &str) -> Result<Expr, SyntaxFault> {
        reference::check_bounds(source)?;
        let (analysis, program) = match reference::read_path(source) {
            Some(reference) => {
                let program = engine::path(&reference);
                (
                    reference::Analysis {
                        guarded: String::new(),
                        references: vec![reference],
                        is_reference: true,
                        constant: None,
                        inferred: None,
                    },
                    program,
                )
            }
            None => {
                let analysis = reference::analyze(source)?;
                let program = engine::compile(&analysis.guarded).map_err(|error| SyntaxFault { offset: 0, ..error })?;
                (analysis, program)
            }
        };
        let inner = Inner {
            key: key.to_owned(),
            at,
            exact,
            leading_space: source.len() - source.trim_start().len(),
            source: source.trim().to_owned(),
            program,
            references: analysis.references,
            is_reference: analysis.is_reference,
            constant: analysis.constant,
            inferred: analysis.inferred,
        };
        Ok(Expr(Arc::new(inner)))
    }

    /// Evaluates the expression.
    pub fn eval(&self, scope: &Scope) -> Result<Data, Unevaluated> {
        let fail = |message: String| self.error(message);
        let value = engine::run(&self.0.program, scope).map_err(|error| fail(engine::explain(&error, &self.0.references, scope)))?;
        if value.is_undefined() {
            return Err(fail(engine::describe_missing(&self.0.references, scope)));
        }
        let data = Data::of(value);
        if self.0.is_reference || data.is_omit() { Ok(data) } else { data.into_json().map_err(fail) }
    }

    /// Evaluates the expression as a condition. Any value except true and false is an error: otherwise `"no"` would
    /// count as true.
    pub fn test(&self, scope: &Scope) -> Result<bool, Unevaluated> {
        let data = self.eval(scope)?;
        data.as_bool().ok_or_else(|| self.error(format!("is {}, not true or false", data.kind())))
    }

    fn error(&self, message: String) -> Unevaluated {
        let leading_space = if self.0.exact { self.0.leading_space } else { 0 };
        Unevaluated { key: self.0.key.clone(), at: self.0.at + leading_space, expression: self.0.source.clone(), message }
    }

    /// Returns the expression as written, without braces.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Returns the key of the expression.
    pub fn key(&self) -> &str {
        &self.0.key
    }

    /// Returns the byte offset in the file.
    pub fn at(&self) -> usize {
        self.0.at
    }

    /// Returns the file span of a reference, or of the whole expression.
    pub(super) fn span_of(&self, reference: &Reference) -> (usize, usize) {
        let at = self.0.at + if self.0.exact { reference.offset } else { 0 };
        (at, if self.0.exact { at + reference.text().len() } else { at + 1 })
    }

    /// Returns the references of the expression.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// Returns the reference, if the expression is a single reference.
    pub fn single_reference(&self) -> Option<&Reference> {
        self.0.references.first().filter(|reference| self.0.is_reference && reference.complete)
    }

    /// Returns the inferred type of the value, if the form of the expression determines it.
    pub fn inferred(&self) -> Option<InferredType> {
        self.0.inferred
    }

    /// Returns the value if it does not depend on the scope.
    pub fn constant(&self) -> Option<&Data> {
        self.0.constant.as_ref()
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{ {} }}}}", self.0.source)
    }
}
