//! URI templates of resources (RFC 6570): lists their variables and expands them. Pure.

use std::collections::BTreeMap;

/// Returns the variables of a template in order of appearance, each once.
pub fn variables(template: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for part in parts(template) {
        if let Part::Expression(_, list) = part {
            for name in list {
                if !names.iter().any(|n| n == name) {
                    names.push(name.to_owned());
                }
            }
        }
    }
    names
}

/// Expands the variables; missing and empty ones are omitted, following RFC 6570.
pub fn expand(template: &str, values: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    for part in parts(template) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Expression(operator, names) => {
                let (first, separator, named, reserved) = match operator {
                    Some('+') => ("", ",", false, true),
                    Some('#') => ("#", ",", false, true),
                    Some('.') => (".", ".", false, false),
                    Some('/') => ("/", "/", false, false),
                    Some(';') => (";", ";", true, false),
                    Some('?') => ("?", "&", true, false),
                    Some('&') => ("&", "&", true, false),
                    _ => ("", ",", false, false),
                };
                let filled: Vec<String> = names
                    .iter()
                    .filter_map(|name| Some((name, values.get(*name).filter(|v| !v.is_empty())?)))
                    .map(|(name, value)| {
                        let value = encode(value, reserved);
                        if named { format!("{name}={value}") } else { value }
                    })
                    .collect();
                if !filled.is_empty() {
                    out.push_str(first);
                    out.push_str(&filled.join(separator));
                }
            }
        }
    }
    out
}

enum Part<'a> {
    Text(&'a str),
    Expression(Option<char>, Vec<&'a str>),
}

fn parts(template: &str) -> Vec<Part<'_>> {
    let (mut parts, mut rest) = (Vec::new(), template);
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}').map(|c| c + open) else { break };
        parts.push(Part::Text(&rest[..open]));
        let inner = &rest[open + 1..close];
        let operator = inner.chars().next().filter(|c| "+#./;?&".contains(*c));
        let list = inner.trim_start_matches(|c| Some(c) == operator);
        let names = list.split(',').map(|name| name.split([':', '*']).next().unwrap_or(name).trim()).filter(|n| !n.is_empty()).collect();
        parts.push(Part::Expression(operator, names));
        rest = &rest[close + 1..];
    }
    parts.push(Part::Text(rest));
    parts
}

fn encode(value: &str, reserved: bool) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        let c = char::from(byte);
        let plain = c.is_ascii_alphanumeric() || "-._~".contains(c) || (reserved && ":/?#[]@!$&'()*+,;=%".contains(c));
        if plain {
            out.push(c);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_expanded_as_in_rfc_6570() {
        let values: BTreeMap<String, String> =
            [("id", "a b/ü"), ("path", "x/y z"), ("q", "1&2"), ("none", "")].map(|(k, v)| (k.into(), v.into())).into();
        for (template, wanted) in [
            ("db://rows/{id}", "db://rows/a%20b%2F%C3%BC"),
            ("file:///{+path}", "file:///x/y%20z"),
            ("s{?q,none}", "s?q=1%262"),
            ("s{?none}", "s"),
            ("a{/id,q}", "a/a%20b%2F%C3%BC/1%262"),
            ("open {brace", "open {brace"),
            ("{}", ""),
        ] {
            assert_eq!(expand(template, &values), wanted, "{template}");
        }
        assert_eq!(variables("x{a}/{+b,a}{?c*,d:3}"), ["a", "b", "c", "d"]);
    }
}
