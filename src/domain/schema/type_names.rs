//! Type names of other languages in schemas: `str`, `int`, `STRING`, `list[str]`, `string | null`.
//!
//! Hand-written servers and function declarations of model vendors use them in place of the seven names of JSON Schema
//! (2020-12, validation, section 6.1.1).

/// The names of JSON Schema.
pub const JSON_TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "object", "array", "null"];

/// Returns the JSON Schema types that a name means; an empty list for any type, `None` for an unknown name.
pub fn meaning(name: &str) -> Option<Vec<&'static str>> {
    let name = name.trim();
    if name.is_empty() || name.len() > 200 {
        return None;
    }
    if let Some(known) = JSON_TYPES.iter().find(|known| **known == name) {
        return Some(vec![known]);
    }
    if let Some(parts) = union_parts(name) {
        return combined(parts.iter().map(|part| meaning(part)));
    }
    if let Some(inner) = name.strip_suffix('?') {
        return combined([meaning(inner), Some(vec!["null"])].into_iter());
    }
    if name.ends_with("[]") {
        return Some(vec!["array"]);
    }
    let lower = name.to_lowercase();
    let base_end = lower.find(['[', '<', '(', ' ']).unwrap_or(lower.len());
    let (base, rest) = lower.split_at(base_end);
    let base = base.strip_prefix("typing.").unwrap_or(base);
    if base == "optional" || base == "nullable" {
        let inner = rest.trim_start_matches(['[', '<', '(']).trim_end_matches([']', '>', ')']);
        return combined([meaning(inner), Some(vec!["null"])].into_iter());
    }
    // A word after the name (`list of strings`, `string (ISO date)`) describes it. A sentence is not a type.
    if rest.starts_with(' ') && rest.split_whitespace().count() > 4 {
        return None;
    }
    Some(match base {
        "string" | "str" | "text" | "char" | "varchar" | "date" | "datetime" | "date-time" | "time" | "timestamp" | "email" | "uri"
        | "url" | "uuid" | "file" | "path" | "bytes" | "password" => vec!["string"],
        "integer" | "int" | "int8" | "int16" | "int32" | "int64" | "uint" | "uint8" | "uint16" | "uint32" | "uint64" | "long" | "short"
        | "bigint" | "i32" | "i64" | "u32" | "u64" | "usize" => vec!["integer"],
        "number" | "num" | "numeric" | "float" | "float32" | "float64" | "double" | "decimal" | "real" | "f32" | "f64" => vec!["number"],
        "boolean" | "bool" => vec!["boolean"],
        "object" | "dict" | "dictionary" | "map" | "mapping" | "record" | "hash" | "struct" | "json" => vec!["object"],
        "array" | "list" | "tuple" | "set" | "sequence" | "vec" | "vector" | "slice" => vec!["array"],
        "null" | "none" | "nonetype" | "nil" | "void" | "undefined" => vec!["null"],
        "any" | "unknown" | "mixed" | "dynamic" | "type_unspecified" | "anything" => vec![],
        _ => return None,
    })
}

/// Returns the parts of `a | b` and `Union[a, b]`, outside of brackets; `None` for other names.
fn union_parts(name: &str) -> Option<Vec<&str>> {
    let inner = name.strip_prefix("Union[").or_else(|| name.strip_prefix("typing.Union[")).and_then(|rest| rest.strip_suffix(']'));
    let (text, separator) = inner.map_or((name, '|'), |inner| (inner, ','));
    let (mut parts, mut depth, mut start) = (vec![], 0i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '[' | '<' | '(' => depth += 1,
            ']' | '>' | ')' => depth -= 1,
            c if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (parts.len() > 1).then_some(parts)
}

fn combined(parts: impl Iterator<Item = Option<Vec<&'static str>>>) -> Option<Vec<&'static str>> {
    let mut all: Vec<&'static str> = vec![];
    let mut any = false;
    for part in parts {
        let part = part?;
        any |= part.is_empty();
        for one in part {
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    Some(if any { vec![] } else { all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_languages_are_read() {
        let read = |name| meaning(name).map(|types| types.join(" "));
        for (name, types) in [
            ("string", "string"),
            ("STRING", "string"),
            ("str", "string"),
            ("int", "integer"),
            ("Integer", "integer"),
            ("float", "number"),
            ("bool", "boolean"),
            ("dict", "object"),
            ("Dict[str, Any]", "object"),
            ("list", "array"),
            ("List[int]", "array"),
            ("string[]", "array"),
            ("array<string>", "array"),
            ("list of strings", "array"),
            ("None", "null"),
            ("Optional[str]", "string null"),
            ("str | None", "string null"),
            ("Union[int, Dict[str, int]]", "integer object"),
            ("int?", "integer null"),
            ("any", ""),
            ("str | any", ""),
        ] {
            assert_eq!(read(name).as_deref(), Some(types), "{name}");
        }
        for unknown in ["", "frobnicate", "a long sentence that only begins like a name", "str | frobnicate", &"x".repeat(1000)] {
            assert_eq!(read(unknown), None, "{unknown}");
        }
    }
}
