//! Routing headers of MCP 2026-07-28 (SEP-2243). Pure.

use std::{collections::HashMap, fmt};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, value::RawValue};

use crate::domain::{
    body::{self, Body},
    bounds,
    time::size,
};

/// Longest schema whose annotations are read, in bytes.
const SCHEMA: usize = 256 << 10;
/// Deepest nesting at which annotations are read.
const DEPTH: usize = 64;
/// Tools with annotations that are remembered, and annotations of each.
const LEARNED: usize = 1000;
const HEADERS_OF_TOOL: usize = 64;
/// The annotation.
const ANNOTATION: &str = "x-mcp-header";
/// The types whose values can be mirrored.
const TYPES: [&str; 3] = ["string", "integer", "boolean"];

/// An argument of a tool that is mirrored into a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The names of the properties that lead to the argument.
    path: Vec<String>,
    /// The header without `Mcp-Param-`.
    header: String,
}

/// Why a tool must not be listed: an annotation of its schema breaks the rules (MCP 2026-07-28, server/tools, "x-mcp-header").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The annotation is not a string. Holds its place.
    NotText(String),
    /// The header has no name.
    Empty(String),
    /// The name is not a token (RFC 9110, section 5.6.2). Holds place and name.
    NotToken(String, String),
    /// Two arguments have the same header, regardless of case.
    Duplicate(String),
    /// The type of the argument cannot be mirrored. Holds place and type.
    Type(String, String),
    /// The argument cannot be reached by `properties` alone. Holds the place of the annotation.
    Unreachable(String),
    /// There are more annotations than are stored.
    TooMany,
    /// The schema is too large or too deeply nested to be read.
    Unread,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::NotText(place) => write!(f, "{ANNOTATION} of {place} is not a string"),
            Invalid::Empty(place) => write!(f, "{ANNOTATION} of {place} is empty"),
            Invalid::NotToken(place, name) => write!(f, "{ANNOTATION} of {place} is {name:?}, which is not a header name"),
            Invalid::Duplicate(name) => write!(f, "{ANNOTATION} {name:?} is used twice"),
            Invalid::Type(place, found) => {
                write!(f, "{ANNOTATION} of {place} is on the type {found}; only string, integer and boolean can be headers")
            }
            Invalid::Unreachable(place) => write!(f, "{ANNOTATION} at {place} is not on a property of the arguments"),
            Invalid::TooMany => write!(f, "more than {HEADERS_OF_TOOL} properties have {ANNOTATION}"),
            Invalid::Unread => {
                write!(f, "its schema with {ANNOTATION} is over {} or more than {DEPTH} levels deep", size(SCHEMA as u64))
            }
        }
    }
}

/// Returns the arguments that the input schema of a tool mirrors into headers.
pub fn mirrors(schema: &[u8]) -> Result<Vec<Mirror>, Invalid> {
    if memchr::memmem::find(schema, ANNOTATION.as_bytes()).is_none() {
        return Ok(vec![]);
    }
    let read = (schema.len() <= SCHEMA).then(|| serde_json::from_slice::<Value>(schema).ok()).flatten();
    let mut found = Vec::new();
    walk(&read.ok_or(Invalid::Unread)?, &mut Vec::new(), Some(&mut Vec::new()), &mut found, 0)?;
    if found.len() > HEADERS_OF_TOOL {
        return Err(Invalid::TooMany);
    }
    for (at, mirror) in found.iter().enumerate() {
        if found[..at].iter().any(|other| other.header.eq_ignore_ascii_case(&mirror.header)) {
            return Err(Invalid::Duplicate(mirror.header.clone()));
        }
    }
    Ok(found)
}

/// Keywords whose value is a schema, a list of schemas or an object of schemas.
const ONE: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const LISTS: [&str; 5] = ["allOf", "anyOf", "items", "oneOf", "prefixItems"];
const MAPS: [&str; 6] = ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

/// Collects the annotations of a schema and of those within it. `place` leads to the schema; `path` is that of the argument, if
/// `properties` alone lead to it.
fn walk(
    schema: &Value,
    place: &mut Vec<String>,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<Mirror>,
    depth: usize,
) -> Result<(), Invalid> {
    let Some(keywords) = schema.as_object() else { return Ok(()) };
    if depth > DEPTH {
        return Err(Invalid::Unread);
    }
    if let Some(annotation) = keywords.get(ANNOTATION) {
        let header = header_of(annotation, schema, place)?;
        match path.as_deref() {
            Some(path) if !path.is_empty() => found.push(Mirror { path: path.clone(), header }),
            _ => return Err(Invalid::Unreachable(shown(place))),
        }
    }
    let mut within = |value: &Value, key: &str, name: Option<&str>, path: Option<&mut Vec<String>>| {
        place.push(match name {
            Some(name) => format!("{key}/{name}"),
            None => key.to_owned(),
        });
        walk(value, place, path, found, depth + 1)?;
        place.pop();
        Ok(())
    };
    for (key, value) in keywords {
        let key = key.as_str();
        match value {
            Value::Object(schemas) if MAPS.contains(&key) => {
                for (name, schema) in schemas {
                    match path.as_deref_mut().filter(|_| key == "properties") {
                        Some(path) => {
                            path.push(name.clone());
                            within(schema, key, Some(name), Some(path))?;
                            path.pop();
                        }
                        None => within(schema, key, Some(name), None)?,
                    }
                }
            }
            Value::Array(schemas) if LISTS.contains(&key) => {
                for (at, schema) in schemas.iter().enumerate() {
                    within(schema, key, Some(&at.to_string()), None)?;
                }
            }
            Value::Object(_) if ONE.contains(&key) => within(value, key, None, None)?,
            _ => {}
        }
    }
    Ok(())
}

/// Returns the header that an annotation names.
fn header_of(annotation: &Value, schema: &Value, place: &[String]) -> Result<String, Invalid> {
    let header = annotation.as_str().ok_or_else(|| Invalid::NotText(shown(place)))?;
    if header.is_empty() {
        return Err(Invalid::Empty(shown(place)));
    }
    if !is_token(header) || header.len() > bounds::LINE {
        return Err(Invalid::NotToken(shown(place), bounds::cut(header, 100).into_owned()));
    }
    let types: Vec<&Value> = match schema.get("type") {
        // Without a type the value decides: others than these three are not mirrored.
        None => vec![],
        Some(Value::Array(types)) => types.iter().collect(),
        Some(one) => vec![one],
    };
    let fits = |found: &&Value| found.as_str().is_some_and(|found| TYPES.contains(&found));
    // `null` next to another type makes an argument optional.
    let optional = types.iter().any(fits);
    let foreign = types.iter().find(|found| !fits(found) && (!optional || found.as_str() != Some("null")));
    match foreign {
        Some(foreign) => Err(Invalid::Type(shown(place), foreign.as_str().map_or_else(|| foreign.to_string(), str::to_owned))),
        None => Ok(header.to_owned()),
    }
}

fn shown(place: &[String]) -> String {
    if place.is_empty() { "the schema".to_owned() } else { bounds::cut(&place.join("/"), 200).into_owned() }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A tool's arguments that are mirrored into headers: `x-mcp-header` in its schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParamHeaders {
    tools: HashMap<String, Vec<Mirror>>,
}

impl ParamHeaders {
    /// Reads the annotations of the tools in a result of `tools/list`, at most `items` of them.
    ///
    /// Only tools with an annotation are decoded. A tool is held once, and none beyond `LEARNED` tools. A tool with an invalid
    /// annotation has no headers.
    pub fn learn(&mut self, result: &Body, items: usize) {
        let Some([Some(list)]) = result.fields(["tools"]) else { return };
        let Ok((tools, _)) = body::members(list.get().as_bytes(), items) else { return };
        for tool in tools {
            let Some([Some(name), schema]) = body::fields(tool.get().as_bytes(), ["name", "inputSchema"]) else { continue };
            let name = Some(name.get()).filter(|name| name.len() <= bounds::NAME + 2);
            let Some(name) = name.and_then(|name| bounds::json_text(name, bounds::NAME)) else { continue };
            self.tools.remove(&name);
            let found = schema.and_then(|schema| mirrors(schema.get().as_bytes()).ok()).unwrap_or_default();
            if !found.is_empty() && self.tools.len() < LEARNED {
                self.tools.insert(name, found);
            }
        }
    }

    /// Returns the routing headers of a request with these `params`.
    pub fn of(&self, method: &str, params: &Body) -> Vec<(String, String)> {
        let mut headers = vec![("Mcp-Method".to_owned(), encode(method))];
        let key = match method {
            "tools/call" | "prompts/get" => "name",
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
            // SEP-2663, "Streamable HTTP: Routing Headers".
            "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
            _ => return headers,
        };
        let [name, arguments] = params.fields([key, "arguments"]).unwrap_or_default();
        let Some(name) = name.and_then(|name| bounds::json_text(name.get(), usize::MAX)) else { return headers };
        headers.push(("Mcp-Name".to_owned(), encode(&name)));
        if method == "tools/call" {
            for Mirror { path, header } in self.tools.get(&name).into_iter().flatten() {
                if let Some(text) = arguments.and_then(|arguments| value_at(arguments, path)) {
                    headers.push((format!("Mcp-Param-{header}"), encode(&text)));
                }
            }
        }
        headers
    }
}

/// Returns the argument at a path as the text of a header: numbers as they are written, since large ones have no exact other
/// form. `None` for `null`, arrays and objects.
fn value_at(arguments: &RawValue, path: &[String]) -> Option<String> {
    let value = path.iter().try_fold(arguments, |value, key| {
        let [inner] = body::fields(value.get().as_bytes(), [key.as_str()])?;
        inner
    })?;
    match value.get().as_bytes().first()? {
        b'"' => bounds::json_text(value.get(), usize::MAX),
        b't' | b'f' | b'-' | b'0'..=b'9' => Some(value.get().to_owned()),
        _ => None,
    }
}

/// Returns a value as a header can carry it; `=?base64?…?=` where it could not (SEP-2243).
pub fn encode(value: &str) -> String {
    let plain = value.bytes().all(|b| (0x20..=0x7e).contains(&b))
        && value.trim_matches([' ', '\t']) == value
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    if plain { value.to_owned() } else { format!("=?base64?{}?=", BASE64_STANDARD.encode(value)) }
}

/// Returns the value that a header carries; `None` if its encoding is broken.
pub fn decode(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

/// Returns the name of the first routing header that does not agree with a request, if there is one (MCP 2026-07-28,
/// basic/transports, "Server Validation"). `tool` is the entry of the called tool in the list. `header` returns the value of a header,
/// `params` the names of all headers that begin with `Mcp-Param-`.
pub fn mismatch<'h>(
    method: &str,
    params: &Body,
    tool: Option<&Body>,
    header: impl Fn(&str) -> Option<&'h str>,
    param_headers: &[&str],
) -> Option<String> {
    let mut known = ParamHeaders::default();
    if let Some(tool) = tool.filter(|tool| memchr::memmem::find(tool.bytes(), ANNOTATION.as_bytes()).is_some()) {
        known.learn(&Body::new([b"{\"tools\":[", tool.bytes().as_ref(), b"]}"].concat()), 1);
    }
    let expected = known.of(method, params);
    let differs = |(name, value): &&(String, String)| header(name).and_then(decode) != decode(value);
    if let Some((name, _)) = expected.iter().find(differs) {
        return Some(name.clone());
    }
    let annotated = |name: &&str| known.tools.values().flatten().any(|mirror| name[PARAM.len()..].eq_ignore_ascii_case(&mirror.header));
    let given = |name: &&str| expected.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    // The header of an argument that is absent or null.
    param_headers.iter().filter(|name| annotated(name)).find(|name| !given(name)).map(|name| (*name).to_owned())
}

/// The beginning of the headers of arguments.
pub const PARAM: &str = "mcp-param-";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn headers_that_contradict_the_request_are_found() {
        let schema = json!({"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
        let tool = Body::json(&json!({"name": "t", "inputSchema": schema}));
        let call = |arguments: Value| Body::json(&json!({"name": "t", "arguments": arguments}));
        let (eu, none) = (call(json!({"region": "grün"})), call(json!({"region": null})));
        let right = [("mcp-method", "tools/call"), ("mcp-name", "t"), ("mcp-param-region", "=?base64?Z3LDvG4=?=")];
        let find = |params: &Body, headers: &[(&str, &'static str)]| {
            let header = |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
            let names: Vec<&str> = headers.iter().map(|(name, _)| *name).filter(|name| name.starts_with(PARAM)).collect();
            mismatch("tools/call", params, Some(&tool), header, &names)
        };
        assert_eq!(find(&eu, &right), None);
        assert_eq!(find(&eu, &right[..2]), Some("Mcp-Param-Region".into()));
        assert_eq!(find(&eu, &right[1..]), Some("Mcp-Method".into()));
        assert_eq!(find(&eu, &[right[0], ("mcp-name", "u"), right[2]]), Some("Mcp-Name".into()));
        assert_eq!(find(&eu, &[right[0], right[1], ("mcp-param-region", "=?base64?!?=")]), Some("Mcp-Param-Region".into()));
        assert_eq!((find(&none, &right[..2]), find(&none, &right)), (None, Some("mcp-param-region".into())));
    }

    #[test]
    fn values_survive_as_headers() {
        for (value, sent) in [
            ("plain value", "plain value"),
            (" x", "=?base64?IHg=?="),
            ("grün", "=?base64?Z3LDvG4=?="),
            ("", ""),
            ("a\nb", "=?base64?YQpi?="),
        ] {
            assert_eq!(encode(value), sent);
        }
    }

    fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn annotated_arguments_become_headers() {
        let mut headers = ParamHeaders::default();
        let schema = json!({"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "o": {"type": "object", "properties": {"n": {"type": ["integer", "null"], "x-mcp-header": "N"}}},
            "flag": {"type": "boolean", "x-mcp-header": "Flag"},
            "none": {"x-mcp-header": "None"},
        }});
        headers.learn(&Body::json(&json!({"tools": [{"name": "t", "inputSchema": schema}]})), 10);
        let got = headers.of(
            "tools/call",
            &Body::json(&json!({"name": "t", "arguments": {"region": "eu", "o": {"n": 3}, "flag": false, "none": null}})),
        );
        let expected = [
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "t"),
            ("Mcp-Param-Flag", "false"),
            ("Mcp-Param-N", "3"),
            ("Mcp-Param-Region", "eu"),
        ];
        let (mut got, mut expected) = (got, named(&expected));
        got.sort();
        expected.sort();
        assert_eq!(got, expected);
        assert_eq!(
            headers.of("tasks/get", &Body::from(r#"{"taskId":"7 é"}"#)),
            named(&[("Mcp-Method", "tasks/get"), ("Mcp-Name", "=?base64?NyDDqQ==?=")])
        );
    }

    #[test]
    fn v06_numbers_are_mirrored_as_they_are_written() {
        let mut headers = ParamHeaders::default();
        let schema = json!({"properties": {"deep": {"type": "integer", "x-mcp-header": "Deep"}}});
        headers.learn(&Body::json(&json!({"tools": [{"name": "t", "inputSchema": schema}]})), 10);
        for number in ["12345678901234567890123", "-7", "42.0", "1E400"] {
            let params = Body::from(format!("{{\"name\":\"t\",\"arguments\":{{\"deep\":{number}}}}}"));
            assert_eq!(headers.of("tools/call", &params).last(), Some(&("Mcp-Param-Deep".to_owned(), number.to_owned())));
        }
    }

    #[test]
    fn v05_annotations_that_break_the_rules_are_invalid() {
        let property = |property: Value| json!({"type": "object", "properties": {"x": property}});
        let annotated = |kind: &str, header: Value| property(json!({"type": kind, "x-mcp-header": header}));
        let place = || "properties/x".to_owned();
        for (schema, why) in [
            (annotated("string", json!("")), Invalid::Empty(place())),
            (annotated("string", json!(7)), Invalid::NotText(place())),
            (annotated("string", json!("a b")), Invalid::NotToken(place(), "a b".into())),
            (annotated("string", json!("a:b")), Invalid::NotToken(place(), "a:b".into())),
            (annotated("string", json!("é")), Invalid::NotToken(place(), "é".into())),
            (annotated("string", json!("a\r\nb")), Invalid::NotToken(place(), "a\r\nb".into())),
            (annotated("number", json!("X")), Invalid::Type(place(), "number".into())),
            (annotated("object", json!("X")), Invalid::Type(place(), "object".into())),
            (annotated("array", json!("X")), Invalid::Type(place(), "array".into())),
            (annotated("null", json!("X")), Invalid::Type(place(), "null".into())),
            (property(json!({"type": ["string", "number"], "x-mcp-header": "X"})), Invalid::Type(place(), "number".into())),
            (
                json!({"properties": {"a": {"type": "string", "x-mcp-header": "X"}, "b": {"type": "string", "x-mcp-header": "x"}}}),
                Invalid::Duplicate("x".into()),
            ),
            (
                property(json!({"type": "array", "items": {"type": "string", "x-mcp-header": "X"}})),
                Invalid::Unreachable("properties/x/items".into()),
            ),
            (
                json!({"oneOf": [{"properties": {"x": {"type": "string", "x-mcp-header": "X"}}}]}),
                Invalid::Unreachable("oneOf/0/properties/x".into()),
            ),
            (json!({"$defs": {"d": {"type": "string", "x-mcp-header": "X"}}}), Invalid::Unreachable("$defs/d".into())),
            (json!({"type": "string", "x-mcp-header": "X"}), Invalid::Unreachable("the schema".into())),
        ] {
            let found = mirrors(schema.to_string().as_bytes());
            assert_eq!(found, Err(why), "{schema}");
            assert!(!found.unwrap_err().to_string().is_empty());
        }
        // Neither the value of another keyword nor a property of that name is an annotation.
        for schema in [
            json!({"properties": {"x-mcp-header": {"type": "number"}}}),
            property(json!({"type": "string", "default": {"x-mcp-header": "a b"}, "enum": [{"x-mcp-header": 7}]})),
            property(json!({"type": "string", "description": "see x-mcp-header"})),
        ] {
            assert_eq!(mirrors(schema.to_string().as_bytes()), Ok(vec![]), "{schema}");
        }
        let deep = (0..100).fold(json!({"type": "string", "x-mcp-header": "X"}), |inner, _| property(inner));
        assert_eq!(mirrors(deep.to_string().as_bytes()), Err(Invalid::Unread));
        let many: serde_json::Map<String, Value> =
            (0..=HEADERS_OF_TOOL).map(|n| (format!("p{n}"), json!({"type": "string", "x-mcp-header": format!("H{n}")}))).collect();
        assert_eq!(mirrors(json!({"properties": many}).to_string().as_bytes()), Err(Invalid::TooMany));
    }
}
