//! Templates: values of a file that contain expressions in text, lists and tables.

use std::{fmt, sync::Arc};

use super::{Data, Expr, Scope, SyntaxFault, Unevaluated};

/// A value that may contain expressions. Cheap to clone.
#[derive(Clone)]
pub enum Template {
    /// A value without expressions.
    Literal(Data),
    /// `"{{ … }}"` alone: the value keeps its type.
    Whole(Expr),
    /// Text with expressions inside; the value is text.
    Text(Arc<[Part]>),
    /// A list.
    List(Arc<[Template]>),
    /// An object; members in file order.
    Object(Arc<[(String, Template)]>),
}

/// A piece of text.
#[derive(Clone, Debug)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// The value of an expression: strings as they are, other values as JSON.
    Expr(Expr),
}

/// A syntax error of an expression inside text.
pub(in crate::domain::workflow) struct TemplateError {
    pub fault: SyntaxFault,
    /// Byte offset of the expression in the text.
    pub offset: usize,
}

impl Template {
    /// Compiles the text at `key`. `place` maps an offset in the text to a byte offset in the file. Returns all
    /// syntax errors.
    pub(in crate::domain::workflow) fn compile(
        key: &str,
        text: &str,
        place: &dyn Fn(usize) -> usize,
    ) -> Result<Template, Vec<TemplateError>> {
        let mut parts = vec![];
        let mut faults = vec![];
        let mut at = 0;
        while let Some((start, mark)) = next_mark(text, at) {
            if start > at {
                parts.push(Part::Text(text[at..start].to_owned()));
            }
            if mark != "{{" {
                let message = format!("`{mark}` is not supported");
                let hint = "use {{ expressions }} with `a if x else b` and filters such as `map` and `join`".into();
                faults.push(TemplateError { fault: SyntaxFault { message, hint: Some(hint), offset: 0 }, offset: start });
                at = start + 2;
                continue;
            }
            let Some(end) = find_closing(text, start + 2) else {
                let fault = SyntaxFault {
                    message: "`{{` without `}}`".into(),
                    hint: Some("write {{ '{{' }} for literal braces".into()),
                    offset: 0,
                };
                faults.push(TemplateError { fault, offset: start });
                at = text.len();
                break;
            };
            let (from, to) = (place(start + 2), place(end));
            match Expr::compile(key, from, to - from == end - start - 2, &text[start + 2..end]) {
                Ok(expr) => parts.push(Part::Expr(expr)),
                Err(fault) => faults.push(TemplateError { offset: start + 2 + fault.offset, fault }),
            }
            at = end + 2;
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        if at < text.len() {
            parts.push(Part::Text(text[at..].to_owned()));
        }
        Ok(match parts.as_slice() {
            [] => Template::Literal(Data::from("")),
            [Part::Text(text)] => Template::Literal(Data::from(text.as_str())),
            [Part::Expr(expr)] => Template::Whole(expr.clone()),
            _ => Template::Text(parts.into()),
        })
    }

    /// Creates a list; a literal if it contains no expressions.
    pub(in crate::domain::workflow) fn list(items: Vec<Template>) -> Template {
        let literal: Option<Vec<Data>> = items.iter().map(|item| item.literal().cloned()).collect();
        literal.map_or_else(|| Template::List(items.into()), |items| Template::Literal(Data::list(items)))
    }

    /// Creates an object; a literal if it contains no expressions.
    pub(in crate::domain::workflow) fn object(members: Vec<(String, Template)>) -> Template {
        let literal: Option<Vec<(String, Data)>> = members.iter().map(|(key, item)| Some((key.clone(), item.literal()?.clone()))).collect();
        literal.map_or_else(|| Template::Object(members.into()), |members| Template::Literal(Data::object(members)))
    }

    /// Evaluates the template.
    pub fn eval(&self, scope: &Scope) -> Result<Data, Unevaluated> {
        match self {
            Template::Literal(data) => Ok(data.clone()),
            Template::Whole(expr) => match expr.eval(scope)? {
                data if data.is_omit() => Err(expr.error("only a member of a table or an item of a list can be omitted".to_owned())),
                data => Ok(data),
            },
            Template::Text(parts) => {
                let mut out = String::new();
                for part in parts.iter() {
                    match part {
                        Part::Text(text) => out.push_str(text),
                        Part::Expr(expr) => out.push_str(&Template::Whole(expr.clone()).eval(scope)?.display()),
                    }
                }
                Ok(Data::from(out))
            }
            Template::List(items) => {
                items.iter().filter_map(|item| item.eval_part(scope).transpose()).collect::<Result<Vec<_>, _>>().map(Data::list)
            }
            Template::Object(members) => {
                let member = |(key, item): &'_ (String, Template)| item.eval_part(scope).transpose().map(|data| Ok((key.clone(), data?)));
                members.iter().filter_map(member).collect::<Result<Vec<_>, _>>().map(Data::object)
            }
        }
    }

    /// Evaluates a member or an item; `None` if it is omitted.
    fn eval_part(&self, scope: &Scope) -> Result<Option<Data>, Unevaluated> {
        let data = match self {
            Template::Whole(expr) => expr.eval(scope)?,
            other => other.eval(scope)?,
        };
        Ok(Some(data).filter(|data| !data.is_omit()))
    }

    /// Evaluates the template as text: strings as they are, other values as JSON.
    pub fn eval_text(&self, scope: &Scope) -> Result<String, Unevaluated> {
        self.eval(scope).map(|data| data.display())
    }

    /// Evaluates the known parts, for a dry run; unknown parts appear as written. Also returns whether the whole
    /// value is known. `is_known` returns whether all references of an expression are known.
    pub fn preview(&self, scope: &Scope, is_known: &dyn Fn(&Expr) -> bool) -> (Data, bool) {
        match self {
            Template::List(items) => {
                let parts: Vec<(Data, bool)> = items.iter().map(|item| item.preview(scope, is_known)).collect();
                let known = parts.iter().all(|(_, known)| *known);
                (Data::list(parts.into_iter().map(|(data, _)| data)), known)
            }
            Template::Object(members) => {
                let omitted = |item: &Template| match item {
                    Template::Whole(expr) if is_known(expr) => expr.eval(scope).is_ok_and(|data| data.is_omit()),
                    _ => false,
                };
                let listed = members.iter().filter(|(_, item)| !omitted(item));
                let parts: Vec<_> = listed.map(|(key, item)| (key.as_str(), item.preview(scope, is_known))).collect();
                let known = parts.iter().all(|(_, (_, known))| *known);
                (Data::object(parts.into_iter().map(|(key, (data, _))| (key, data))), known)
            }
            other => {
                let mut seen = true;
                other.each_expr(&mut |expr| seen &= is_known(expr));
                let value = if seen { other.eval(scope).ok() } else { None };
                value.map_or_else(|| (Data::from(other.written()), false), |data| (data, true))
            }
        }
    }

    /// Returns the value if it contains no expressions.
    pub fn literal(&self) -> Option<&Data> {
        match self {
            Template::Literal(data) => Some(data),
            _ => None,
        }
    }

    /// Returns a member of an object.
    pub fn member(&self, key: &str) -> Option<Template> {
        match self {
            Template::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, item)| item.clone()),
            Template::Literal(data) => data.member(key).map(Template::Literal),
            _ => None,
        }
    }

    /// Returns the keys of an object; `None` if they are not known.
    pub fn keys(&self) -> Option<Vec<String>> {
        match self {
            Template::Object(members) => Some(members.iter().map(|(key, _)| key.clone()).collect()),
            Template::Literal(data) if data.is_object() => Some(data.keys()),
            _ => None,
        }
    }

    /// Calls `each` for every expression.
    pub fn each_expr<'a>(&'a self, each: &mut dyn FnMut(&'a Expr)) {
        match self {
            Template::Literal(_) => {}
            Template::Whole(expr) => each(expr),
            Template::Text(parts) => {
                for part in parts.iter() {
                    if let Part::Expr(expr) = part {
                        each(expr);
                    }
                }
            }
            Template::List(items) => items.iter().for_each(|item| item.each_expr(each)),
            Template::Object(members) => members.iter().for_each(|(_, item)| item.each_expr(each)),
        }
    }

    /// Returns the template as written, for users: text as is, lists and objects as JSON with expressions as strings.
    pub fn written(&self) -> String {
        match self {
            Template::Literal(data) => data.display(),
            Template::Whole(expr) => format!("{{{{ {} }}}}", expr.source()),
            Template::Text(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Expr(expr) => format!("{{{{ {} }}}}", expr.source()),
                })
                .collect(),
            Template::List(_) | Template::Object(_) => self.with_sources().json(),
        }
    }

    /// Returns the value with every expression replaced by its source text.
    pub fn with_sources(&self) -> Data {
        match self {
            Template::Literal(data) => data.clone(),
            Template::List(items) => Data::list(items.iter().map(Template::with_sources)),
            Template::Object(members) => Data::object(members.iter().map(|(key, item)| (key.as_str(), item.with_sources()))),
            other => Data::from(other.written()),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written())
    }
}

/// Returns the position of the next `{{`, `{%` or `{#`.
fn next_mark(text: &str, from: usize) -> Option<(usize, &str)> {
    let mut at = from;
    while let Some(brace) = text[at..].find('{').map(|brace| at + brace) {
        let mark = text.get(brace..brace + 2).filter(|mark| ["{{", "{%", "{#"].contains(mark));
        if let Some(mark) = mark {
            return Some((brace, mark));
        }
        at = brace + 1;
    }
    None
}

/// Returns the position of the `}}` that closes an expression starting at `from`, ignoring those inside strings and
/// other braces.
pub(super) fn find_closing(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut quote, mut at) = (0usize, None, from);
    while at < bytes.len() {
        match (bytes[at], quote) {
            (b'\\', Some(_)) => at += 1,
            (byte, Some(open)) if byte == open => quote = None,
            (_, Some(_)) => {}
            (byte @ (b'"' | b'\''), None) => quote = Some(byte),
            (b'{' | b'[' | b'(', None) => depth += 1,
            (b'}', None) if depth == 0 => return (bytes.get(at + 1) == Some(&b'}')).then_some(at),
            (b'}' | b']' | b')', None) => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}
