//! Generates a workflow file from calls that were made manually.
//!
//! A value that first appeared in the result of an earlier call becomes an expression that refers to it, also as a part of
//! a text. A value passed to several calls becomes an input. Everything else is copied. Each step needs the one before it,
//! because any call may write. The generated text always parses.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write,
};

use super::expression::Data;

/// A recorded call.
#[derive(Clone, Debug, PartialEq)]
pub struct PastCall {
    /// The exposed name of the tool.
    pub tool: String,
    /// Its arguments, an object.
    pub arguments: Data,
    /// The result as a step would read it ([`super::answer::read`]); `None` if the call failed.
    pub result: Option<Data>,
}

/// Maximum number of values examined per result.
const MAX_VALUES: usize = 20_000;

/// Maximum length of a text that is searched for earlier values, in bytes.
const MAX_SEARCHED: usize = 16 << 10;
/// Maximum number of earlier values that are linked within one text.
const MAX_PARTS: usize = 16;
/// Minimum length of a value that is linked within a text, in characters.
const MIN_PART: usize = 4;

/// Returns the text of a workflow that repeats `calls` in their order.
pub fn from_history(name: &str, calls: &[PastCall]) -> String {
    let ids = ids(calls);
    let arguments_by_value = arguments_by_value(calls);
    let mut inputs = Inputs::default();
    let mut steps = String::new();
    for (index, call) in calls.iter().enumerate() {
        let (ids, by_value) = (&ids, &arguments_by_value);
        let mut writer =
            Writer { ids, arguments_by_value: by_value, calls, index, inputs: &mut inputs, key: String::new(), linked: HashSet::new() };
        let _ = write!(steps, "\n[[step]]\nid = \"{}\"\ntool = {}\n", ids[index], text(&call.tool));
        let needs = steps.len();
        let keys = call.arguments.keys();
        let members: Vec<(String, String)> = keys
            .iter()
            .map(|member| (member.clone(), writer.value_of_member(member, &call.arguments.member(member).unwrap_or_default())))
            .collect();
        // A call whose arguments use the result of the call before follows it anyway.
        if let Some(before) = index.checked_sub(1).map(|before| &ids[before]).filter(|id| !writer.linked.contains(*id)) {
            steps.insert_str(needs, &format!("needs = [\"{before}\"]\n"));
        }
        if members.is_empty() {
            continue;
        }
        let inline = members.iter().map(|(member, value)| format!("{} = {value}", key(member))).collect::<Vec<_>>().join(", ");
        if inline.len() <= 100 {
            let _ = writeln!(steps, "arguments = {{ {inline} }}");
        } else {
            steps.push_str("\n[step.arguments]\n");
            for (member, value) in members {
                let _ = writeln!(steps, "{} = {value}", key(&member));
            }
        }
    }
    let mut out = format!("name = {}\n", text(name));
    if calls.len() > 1 {
        out.push_str("# The steps run in the recorded order. Remove `needs` where the order does not matter.\n");
    }
    if !inputs.found.is_empty() {
        out.push_str("\n[input]\n");
        for (name, (kind, default)) in &inputs.found {
            let _ = writeln!(out, "{} = {{ type = \"{kind}\", default = {default} }}", key(name));
        }
    }
    out + &steps
}

/// Returns an id for each call: the tool's name, numbered from its second use.
fn ids(calls: &[PastCall]) -> Vec<String> {
    let mut taken = HashSet::new();
    let name = |call: &PastCall| {
        let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let mut id: String = call.tool.chars().map(clean).take(56).collect();
        if !id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            id.insert_str(0, "call_");
        }
        let mut numbered = id.clone();
        let mut count = 1;
        while !taken.insert(numbered.clone()) {
            count += 1;
            numbered = format!("{id}_{count}");
        }
        numbered
    };
    calls.iter().map(name).collect()
}

/// Returns the calls (by index) whose arguments contain each distinctive value.
fn arguments_by_value(calls: &[PastCall]) -> HashMap<String, Vec<usize>> {
    let mut found: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, call) in calls.iter().enumerate() {
        each_scalar(&call.arguments, &mut |_, value| {
            let places = found.entry(value.json()).or_default();
            if places.last() != Some(&index) {
                places.push(index);
            }
        });
    }
    found
}

/// Returns whether a value is distinctive, so that finding it twice is not a coincidence: text of at least three
/// characters, or a number of at least three digits.
fn is_distinctive(value: &Data) -> bool {
    match value.as_str() {
        Some(text) => text.chars().count() >= 3,
        None => value.is_number() && value.json().bytes().filter(u8::is_ascii_digit).count() >= 3,
    }
}

/// Calls `each` with the path and value of every distinctive scalar.
fn each_scalar(value: &Data, each: &mut dyn FnMut(&str, &Data)) {
    let mut open = vec![(String::new(), value.clone())];
    let mut seen = 0;
    while let Some((path, value)) = open.pop() {
        seen += 1;
        if seen > MAX_VALUES {
            return;
        }
        if let Some(count) = value.len() {
            open.extend((0..count).rev().filter_map(|index| Some((format!("{path}[{index}]"), value.item(index)?))));
        } else if value.is_object() {
            let members = value.keys().into_iter().rev();
            open.extend(members.filter_map(|key| Some((format!("{path}{}", member(&key)), value.member(&key)?))));
        } else if is_distinctive(&value) {
            each(&path, &value);
        }
    }
}

/// Returns a member access in an expression: `.name` or `["a name"]`.
pub(super) fn member(key: &str) -> String {
    let name = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name { format!(".{key}") } else { format!("[{}]", Data::from(key).json()) }
}

/// Returns where `part` is a word of its own in `whole`: not within a longer word or number.
fn find_word(whole: &str, part: &str) -> Option<usize> {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    whole.match_indices(part).map(|(at, _)| at).find(|at| {
        let (before, after) = (whole[..*at].chars().next_back(), whole[at + part.len()..].chars().next());
        // A brace next to an expression would be part of it.
        !inside(before) && !inside(after) && before != Some('{') && after != Some('}')
    })
}

/// The inputs found so far: type and default by name, and the name for each value.
#[derive(Default)]
struct Inputs {
    found: BTreeMap<String, (&'static str, String)>,
    names: HashMap<String, String>,
}

struct Writer<'a> {
    ids: &'a [String],
    arguments_by_value: &'a HashMap<String, Vec<usize>>,
    calls: &'a [PastCall],
    index: usize,
    inputs: &'a mut Inputs,
    /// The key of the current value, used to name an input.
    key: String,
    /// The ids of the steps that the arguments refer to.
    linked: HashSet<String>,
}

impl Writer<'_> {
    fn value_of_member(&mut self, key: &str, value: &Data) -> String {
        key.clone_into(&mut self.key);
        self.value(value)
    }

    /// Returns a value as TOML, linked where possible.
    fn value(&mut self, value: &Data) -> String {
        if let Some(count) = value.len() {
            let items: Vec<String> = (0..count).filter_map(|index| value.item(index)).map(|item| self.value(&item)).collect();
            return format!("[{}]", items.join(", "));
        }
        if value.is_object() {
            let members: Vec<String> = value
                .keys()
                .iter()
                .map(|name| format!("{} = {}", key(name), self.value_of_member(name, &value.member(name).unwrap_or_default())))
                .collect();
            return if members.is_empty() { "{}".into() } else { format!("{{ {} }}", members.join(", ")) };
        }
        if is_distinctive(value) {
            if let Some(expression) = self.link(value) {
                return quoted(&format!("{{{{ {expression} }}}}"));
            }
            if let Some(name) = self.input(value) {
                return quoted(&format!("{{{{ input{} }}}}", member(&name)));
            }
        }
        value.as_str().and_then(|text| self.text_with_links(text)).unwrap_or_else(|| scalar(value))
    }

    /// Returns a text with links in place of the values that it contains, the longest first.
    fn text_with_links(&mut self, whole: &str) -> Option<String> {
        if whole.len() > MAX_SEARCHED || whole.contains("{{") || whole.contains("{%") || whole.contains("{#") {
            return None;
        }
        let mut candidates: BTreeSet<(std::cmp::Reverse<usize>, String)> = BTreeSet::new();
        for call in self.calls.iter().take(self.index) {
            let Some(result) = &call.result else { continue };
            each_scalar(result, &mut |_, value| {
                let part = value.display();
                let long = part.chars().count() >= MIN_PART && part.len() < whole.len();
                if long && find_word(whole, &part).is_some() {
                    candidates.insert((std::cmp::Reverse(part.len()), value.json()));
                }
            });
        }
        // Ranges of the text that are linked, with their expressions.
        let mut parts: Vec<(usize, usize, String)> = vec![];
        for (_, json) in candidates.into_iter().take(MAX_PARTS) {
            let Ok(value) = Data::parse(&json) else { continue };
            let part = value.display();
            let Some(at) = find_word(whole, &part) else { continue };
            let end = at + part.len();
            if parts.iter().any(|(from, to, _)| at < *to && *from < end) {
                continue;
            }
            parts.extend(self.link(&value).map(|expression| (at, end, expression)));
        }
        if parts.is_empty() {
            return None;
        }
        parts.sort_unstable();
        let (mut out, mut after) = (String::new(), 0);
        for (at, end, expression) in &parts {
            out.push_str(&whole[after..*at]);
            let _ = write!(out, "{{{{ {expression} }}}}");
            after = *end;
        }
        out.push_str(&whole[after..]);
        Some(quoted(&out))
    }

    /// Returns the single earlier result path that holds the value, before it was passed to any call.
    fn link(&mut self, value: &Data) -> Option<String> {
        let json = value.json();
        let first = self.arguments_by_value.get(&json).and_then(|places| places.first()).copied().unwrap_or(self.index);
        for (index, call) in self.calls.iter().enumerate().take(first.min(self.index)) {
            let mut paths = vec![];
            if let Some(result) = &call.result {
                each_scalar(result, &mut |path, found| {
                    if found.json() == json {
                        paths.push(path.to_owned());
                    }
                });
            }
            if let [path] = paths.as_slice() {
                self.linked.insert(self.ids[index].clone());
                return Some(format!("steps.{}.result{path}", self.ids[index]));
            }
        }
        None
    }

    /// Returns the input for a value that was passed to several calls.
    fn input(&mut self, value: &Data) -> Option<String> {
        let json = value.json();
        if self.arguments_by_value.get(&json)?.len() < 2 {
            return None;
        }
        if let Some(name) = self.inputs.names.get(&json) {
            return Some(name.clone());
        }
        let base = if self.key.is_empty() { "value".to_owned() } else { self.key.clone() };
        let mut name = base.clone();
        let mut count = 1;
        while self.inputs.found.contains_key(&name) {
            count += 1;
            name = format!("{base}_{count}");
        }
        let kind = if value.as_str().is_some() { "string" } else { "number" };
        // A default is plain data, without expressions.
        let default = value.as_str().map_or_else(|| number(&json), quoted);
        self.inputs.found.insert(name.clone(), (kind, default));
        self.inputs.names.insert(json, name.clone());
        Some(name)
    }
}

/// Returns a scalar as TOML.
pub(super) fn scalar(value: &Data) -> String {
    match value.as_str() {
        Some(string) => text(string),
        None if value.is_null() => "\"{{ none }}\"".into(),
        None if value.as_bool().is_some() => value.json(),
        None => number(&value.json()),
    }
}

/// Returns a number as TOML; as an expression if TOML's integers are too small.
pub(super) fn number(json: &str) -> String {
    let integer = !json.contains(['.', 'e', 'E']);
    if integer && json.parse::<i64>().is_err() { format!("\"{{{{ {json} }}}}\"") } else { json.to_owned() }
}

/// Returns text as a TOML string that is taken literally, whatever braces it contains.
fn text(string: &str) -> String {
    if ["{{", "{%", "{#"].iter().any(|mark| string.contains(mark)) {
        return quoted(&format!("{{{{ {} }}}}", Data::from(string).json()));
    }
    quoted(string)
}

/// Returns text as a basic TOML string, whose escapes are those of JSON.
pub(crate) fn quoted(string: &str) -> String {
    Data::from(string).json().replace('\u{7f}', "\\u007f")
}

/// Returns a TOML key.
pub(crate) fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::workflow::{
        expression::{RunFacts, Scope, StepEnd},
        parse::{Source, parse},
        plan::Action,
        problem::render_all,
    };

    fn call(tool: &str, arguments: &str, result: &str) -> PastCall {
        let data = |text: &str| Data::parse(text).unwrap();
        PastCall { tool: tool.into(), arguments: data(arguments), result: Some(data(result)) }
    }

    #[test]
    fn values_are_linked_to_their_source() {
        let calls = [
            call(
                "database_create_user",
                r#"{"email":"ann@x.org","name":"Ann"}"#,
                r#"{"userId":"u_1007","email":"ann@x.org","tags":["new one"]}"#,
            ),
            call("email_send_email", r#"{"to":"ann@x.org","subject":"Hi {{ you }}","body":"Hello"}"#, r#"{"messageId":"m_9"}"#),
            call(
                "analytics_track_event",
                r#"{"event":"signup","userId":"u_1007","properties":{"message":"m_9","tag":"new one","n":null,"big":123456789012345678901}}"#,
                "{}",
            ),
            call("analytics_track_event", r#"{"event":"login","userId":"u_1007"}"#, "{}"),
        ];
        let text = from_history("onboard", &calls);
        insta::assert_snapshot!(text);
        parse(&Source { file: "x.toml".into(), text }, &|_| None).unwrap_or_else(|problems| panic!("{}", render_all(&problems)));
    }

    #[test]
    fn the_order_is_kept_and_parts_of_texts_are_linked() {
        let calls = [
            call("create_table", r#"{"name":"users"}"#, r#"{"id":"tbl_204"}"#),
            call("insert", r#"{"row":1}"#, r#"{"count":"1"}"#),
            call("log", r#"{"text":"made tbl_204, not tbl_2044, as {\"id\":\"tbl_204\"}"}"#, "{}"),
        ];
        let text = from_history("x", &calls);
        let plan = parse(&Source { file: "x.toml".into(), text: text.clone() }, &|_| None).unwrap();
        assert_eq!(plan.steps.iter().map(|step| step.needs.clone()).collect::<Vec<_>>(), [vec![], vec![0], vec![0, 1]], "{text}");
        assert!(text.contains("\"made {{ steps.create_table.result.id }}, not tbl_2044"), "{text}");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            (-1e15f64..1e15).prop_map(Into::into),
            "(abc|u_[0-9]|\\PC|\\{\\{|%\\}|\\p{Cc}){0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::vec(("[a-z \"\\[-]{0,5}", inner), 0..4)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_generated_workflow_parses_and_makes_the_same_calls(calls in proptest::collection::vec(("[a-z]{1,3}", proptest::collection::vec(("[a-z ]{0,3}", json()), 0..4), json()), 1..6)) {
            let calls: Vec<PastCall> = calls.into_iter().map(|(tool, arguments, result)| PastCall {
                tool,
                arguments: Data::from(&serde_json::Value::Object(arguments.into_iter().collect())),
                result: Some(Data::from(&result)),
            }).collect();
            let text = from_history("x", &calls);
            let plan = match parse(&Source { file: "x.toml".into(), text: text.clone() }, &|_| None) {
                Ok(plan) => plan,
                Err(problems) => return Err(TestCaseError::fail(format!("{}\n{text}", render_all(&problems)))),
            };
            let input = crate::domain::workflow::input::example(&plan.input);
            let scope = Scope::new(&Arc::clone(&plan.names), Data::from(&input), &RunFacts::default(), []);
            for (index, (step, call)) in plan.steps.iter().zip(&calls).enumerate() {
                let Action::Tool(made) = &step.action else { panic!() };
                let arguments = made.arguments.eval(&scope).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
                prop_assert_eq!(arguments.value(), call.arguments.value(), "{}", text);
                scope.settle(index, StepEnd { outcome: "ok", result: call.result.clone(), ..StepEnd::default() });
            }
        }
    }
}
