//! Argument mapping: builds the arguments of a fallback tool from those of the original call.
//!
//! A template is JSON whose strings may contain `{{ arguments.path }}`. A string that consists of one placeholder
//! becomes the value with its JSON type; inside other text the value becomes text. A missing value is an error.

use serde_json::Value;

use crate::domain::body::Body;

/// Fills `template` with values from `arguments`.
pub fn fill(template: &Body, arguments: &Value) -> Result<Body, String> {
    let template = template.value().ok_or("the template is not valid JSON")?;
    let filled = fill_value(&template, arguments)?;
    if !filled.is_object() {
        return Err("the template is not a JSON object".into());
    }
    Ok(Body::json(&filled))
}

/// Checks a template without arguments.
pub fn check(template: &Value) -> Result<(), String> {
    match template {
        Value::String(text) => parse_parts(text).map(|_| ()),
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(map) => map.values().try_for_each(check),
        _ => Ok(()),
    }
}

fn fill_value(template: &Value, arguments: &Value) -> Result<Value, String> {
    Ok(match template {
        Value::String(text) => match parse_parts(text)?.as_slice() {
            [Part::Path(path)] => lookup(path, arguments)?.clone(),
            parse_parts => {
                let mut out = String::new();
                for part in parse_parts {
                    match part {
                        Part::Text(text) => out.push_str(text),
                        Part::Path(path) => match lookup(path, arguments)? {
                            Value::String(text) => out.push_str(text),
                            other => out.push_str(&other.to_string()),
                        },
                    }
                }
                Value::String(out)
            }
        },
        Value::Array(items) => Value::Array(items.iter().map(|item| fill_value(item, arguments)).collect::<Result<_, _>>()?),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, item)| Ok((key.clone(), fill_value(item, arguments)?))).collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

enum Part<'a> {
    Text(&'a str),
    /// The keys after `arguments`.
    Path(Vec<&'a str>),
}

fn parse_parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parse_parts = vec![];
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inner, after) = after.split_once("}}").ok_or_else(|| format!("{text:?} has {{{{ without }}}}"))?;
        if !before.is_empty() {
            parse_parts.push(Part::Text(before));
        }
        let mut keys = inner.trim().split('.');
        let valid_key = |key: &&str| !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
        if keys.next() != Some("arguments") || !keys.clone().all(|key| valid_key(&key)) {
            return Err(format!("{{{{{inner}}}}} is not a path such as {{{{ arguments.user.name }}}}"));
        }
        parse_parts.push(Part::Path(keys.collect()));
        rest = after;
    }
    if !rest.is_empty() || parse_parts.is_empty() {
        parse_parts.push(Part::Text(rest));
    }
    Ok(parse_parts)
}

fn lookup<'a>(path: &[&str], arguments: &'a Value) -> Result<&'a Value, String> {
    let mut at = arguments;
    for key in path {
        let inner = match at {
            Value::Array(items) => key.parse::<usize>().ok().and_then(|i| items.get(i)),
            other => other.get(key),
        };
        at = inner.ok_or_else(|| format!("the call has no argument {}", path.join(".")))?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_type_alone_and_become_text_inside() {
        let arguments = serde_json::json!({"to": {"name": "Ada", "ages": [36, 37]}, "n": 3});
        let fill = |template: &str| fill(&Body::from(template.to_owned()), &arguments).map(|body| body.text().into_owned());
        let template = r#"{"who":"{{ arguments.to.name }}","all":"{{arguments.to}}","text":"n={{ arguments.n }}, {{ arguments.to.ages.1 }}","x":[1,"{{ arguments.n }}",""]}"#;
        let wanted = r#"{"who":"Ada","all":{"name":"Ada","ages":[36,37]},"text":"n=3, 37","x":[1,3,""]}"#;
        assert_eq!(fill(template).unwrap(), wanted);
        assert_eq!(fill(r#"{"who":"{{ arguments.unknown }}"}"#).unwrap_err(), "the call has no argument unknown");
        assert!(fill(r#"{"who":"{{ arguments.to"}"#).unwrap_err().contains("without"));
        assert!(fill(r#"{"who":"{{ 1 + 1 }}"}"#).unwrap_err().contains("not a path"));
        assert!(fill(r#"["{{ arguments.n }}"]"#).is_err());
        assert!(
            check(&serde_json::json!({"a": ["{{ input.x }}"]})).is_err() && check(&serde_json::json!({"a": "{{ arguments.x }}"})).is_ok()
        );
    }
}
