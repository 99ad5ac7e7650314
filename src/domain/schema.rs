//! Checks arguments against a tool's JSON Schema before anything is sent.

use serde_json::Value;

use super::body::Body;

/// One place where arguments do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the arguments; empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// A compiled schema.
///
/// Dialect by `$schema`, 2020-12 without one (MCP 2025-11-25, SEP-1613). References to other
/// documents are never fetched. A schema that does not compile checks nothing and says why.
pub struct Checker {
    validator: Option<jsonschema::Validator>,
    /// Why the schema cannot be used, if it cannot.
    pub problem: Option<String>,
}

impl Checker {
    /// Compiles `schema`.
    pub fn new(schema: &Body) -> Checker {
        let compiled = match schema.parse::<Value>() {
            Err(error) => Err(format!("the schema is no JSON: {error}")),
            Ok(value) if depth(&value, 0) > 200 => Err("the schema is nested more than 200 deep".into()),
            Ok(value) => jsonschema::options().build(&value).map_err(|error| format!("the schema cannot be used: {error}")),
        };
        match compiled {
            Ok(validator) => Checker { validator: Some(validator), problem: None },
            Err(problem) => Checker { validator: None, problem: Some(problem) },
        }
    }

    /// Every violation of `instance`, at most 50.
    pub fn check(&self, instance: &Value) -> Vec<Violation> {
        let Some(validator) = &self.validator else { return vec![] };
        validator
            .iter_errors(instance)
            .take(50)
            .map(|e| Violation { path: e.instance_path().to_string(), message: e.to_string() })
            .collect()
    }
}

fn depth(value: &Value, level: usize) -> usize {
    if level > 200 {
        return level;
    }
    match value {
        Value::Array(items) => items.iter().map(|v| depth(v, level + 1)).max().unwrap_or(level),
        Value::Object(fields) => fields.values().map(|v| depth(v, level + 1)).max().unwrap_or(level),
        _ => level,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn violations_name_the_place() {
        let checker = Checker::new(&Body::json(
            &json!({"type": "object", "properties": {"level": {"enum": ["a", "b"]}, "n": {"type": "integer"}}, "required": ["level"]}),
        ));
        assert!(checker.check(&json!({"level": "a", "n": 3})).is_empty());
        let found = checker.check(&json!({"level": "zzz", "n": "x"}));
        assert_eq!(found.iter().map(|v| v.path.as_str()).collect::<Vec<_>>(), ["/level", "/n"]);
        assert_eq!(checker.check(&json!({})).len(), 1);
    }

    #[test]
    fn unusable_schemas_are_told_and_fetch_nothing() {
        for schema in ["{", r#"{"type": 7}"#, r#"{"$ref": "http://127.0.0.1:1/x.json"}"#] {
            let checker = Checker::new(&Body::from(schema));
            assert!(checker.problem.is_some(), "{schema}");
            assert!(checker.check(&json!({})).is_empty());
        }
    }
}
