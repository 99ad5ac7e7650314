//! Type inference: derives an expression's type from its outermost operation, without knowing its inputs.
//! Undetermined types stay unknown.

use minijinja::machinery::ast::{BinOpKind, Expr, UnaryOpKind};

/// A type that is known without evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InferredType {
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A list.
    Array,
    /// An object.
    Object,
}

impl InferredType {
    /// Returns the JSON Schema name.
    pub fn word(self) -> &'static str {
        match self {
            InferredType::String => "string",
            InferredType::Boolean => "boolean",
            InferredType::Integer => "integer",
            InferredType::Number => "number",
            InferredType::Array => "array",
            InferredType::Object => "object",
        }
    }

    /// Returns the name with its article, for messages.
    pub fn words(self) -> &'static str {
        match self {
            InferredType::String => "a string",
            InferredType::Boolean => "true or false",
            InferredType::Integer | InferredType::Number => "a number",
            InferredType::Array => "a list",
            InferredType::Object => "an object",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, InferredType::Integer | InferredType::Number)
    }
}

/// Infers the type of an expression's value, if its form determines it.
pub(super) fn infer(expr: &Expr<'_>) -> Option<InferredType> {
    match expr {
        Expr::Test(_) | Expr::Compare(_) => Some(InferredType::Boolean),
        Expr::List(_) => Some(InferredType::Array),
        Expr::Map(_) => Some(InferredType::Object),
        Expr::UnaryOp(op) => match op.op {
            UnaryOpKind::Not => Some(InferredType::Boolean),
            UnaryOpKind::Neg => Some(InferredType::Number),
        },
        Expr::Const(constant) => {
            constant.value.as_str().map(|_| InferredType::String).or_else(|| constant.value.is_number().then_some(InferredType::Number))
        }
        Expr::BinOp(op) => {
            let both = || Some((infer(&op.left)?, infer(&op.right)?));
            match op.op {
                BinOpKind::Eq | BinOpKind::Ne | BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte | BinOpKind::In => {
                    Some(InferredType::Boolean)
                }
                BinOpKind::Concat => Some(InferredType::String),
                BinOpKind::Sub | BinOpKind::Div | BinOpKind::FloorDiv | BinOpKind::Pow => Some(InferredType::Number),
                // Also concatenates or repeats strings and lists.
                BinOpKind::Add | BinOpKind::Mul | BinOpKind::Rem => match both()? {
                    (left, right) if left.is_number() && right.is_number() => Some(InferredType::Number),
                    (InferredType::String, InferredType::String) if matches!(op.op, BinOpKind::Add) => Some(InferredType::String),
                    _ => None,
                },
                // The value is one of the two.
                BinOpKind::ScAnd | BinOpKind::ScOr => both().and_then(|(left, right)| (left == right).then_some(left)),
            }
        }
        // Without an `else`, the result is the value or an error.
        Expr::IfExpr(condition) => match &condition.false_expr {
            None => infer(&condition.true_expr),
            Some(other) => infer(&condition.true_expr).filter(|kind| Some(*kind) == infer(other)),
        },
        Expr::Filter(filter) => match filter.name {
            "tojson" | "string" | "b64encode" | "b64decode" | "sha256" | "urlencode" | "date" | "upper" | "lower" | "title"
            | "capitalize" | "trim" | "join" | "replace" | "indent" | "format" => Some(InferredType::String),
            "length" | "count" | "timestamp" => Some(InferredType::Integer),
            "bool" => Some(InferredType::Boolean),
            // With a default argument, the result may be that value.
            "int" if filter.args.is_empty() => Some(InferredType::Integer),
            "float" if filter.args.is_empty() => Some(InferredType::Number),
            "keys" | "values" | "list" | "lines" | "sort" | "flatten" => Some(InferredType::Array),
            "merge" => Some(InferredType::Object),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use crate::domain::workflow::expression::{Data, Expr, RunFacts, Scope};

    /// An inferred type is the type of the actual value, for inputs of every kind, whenever evaluation succeeds.
    #[test]
    fn the_inferred_type_is_the_type_of_the_value() {
        let forms = [
            "input.x | FILTER",
            "input.x + input.y",
            "input.x - input.y",
            "input.x * input.y",
            "input.x / input.y",
            "input.x // input.y",
            "input.x % input.y",
            "input.x ** input.y",
            "input.x ~ input.y",
            "input.x and input.y",
            "input.x or input.y",
            "not input.x",
            "-input.x",
            "input.x == input.y",
            "input.x < input.y",
            "input.x in input.y",
            "input.x is string",
            "[input.x, input.y]",
            "{'a': input.x}",
            "1 if input.x else 2",
            "'a' if input.x",
            "('a' + 'b') * input.y",
            "1 + input.x",
            "(input.x | length) + (input.y | length)",
            "input.x | int(default=input.y)",
            "input.x | join(',')",
            "input.x | replace('a', 'b')",
            "input.x | round(1)",
            "input.x | merge(input.y)",
            "input.x | sort(reverse=true)",
            "(input.x | string) or (input.y | string)",
        ];
        let values = [
            "null",
            "true",
            "3",
            "-2",
            "2.5",
            "1e300",
            "12345678901234567890123",
            "\"\"",
            "\"7\"",
            "\"a b\"",
            "[]",
            "[1,\"a\"]",
            "{}",
            "{\"a\":1}",
        ];
        let mut sources: Vec<String> = forms.iter().skip(1).map(|form| (*form).to_owned()).collect();
        sources.extend(super::super::engine::filters().into_iter().map(|filter| forms[0].replace("FILTER", filter)));
        let mut evaluated = 0;
        for source in sources {
            let Ok(expr) = Expr::compile("k", 0, true, &source) else { continue };
            let Some(inferred) = expr.inferred() else { continue };
            for (x, y) in values.iter().flat_map(|x| values.iter().map(move |y| (x, y))) {
                let input = Data::parse(&format!("{{\"x\":{x},\"y\":{y}}}")).unwrap();
                let scope = Scope::new(&Arc::new(HashMap::new()), input, &RunFacts::default(), []);
                let Ok(data) = expr.eval(&scope) else { continue };
                evaluated += 1;
                assert_eq!(data.kind(), inferred.words(), "{source} with x = {x}, y = {y} is {}", data.json());
            }
        }
        assert!(evaluated > 1_000, "{evaluated}");
    }
}
