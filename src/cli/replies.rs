//! Responses to the elicitation and sampling requests of servers, from `--elicit` and `--sample`.

use serde_json::value::RawValue;

use super::{
    args::ReplySource,
    json::{self, Node},
};
use crate::domain::{
    ask::{Answer, Question},
    body::Body,
    json::compact,
    schema::Checker,
    time::size,
};

/// Largest schema of a form for `--elicit defaults`, in bytes.
const LARGEST_FORM: usize = 256 << 10;

/// The responses chosen on the command line.
#[derive(Clone, Debug, Default)]
pub struct ElicitationReplies {
    elicit: Choice,
    sample: Choice,
}

#[derive(Clone, Debug, Default)]
enum Choice {
    #[default]
    Decline,
    Defaults,
    Fixed(Body),
}

impl ElicitationReplies {
    /// Reads the files that the flags name. Errors name the flag.
    pub fn load(elicit: Option<&ReplySource>, sample: Option<&ReplySource>) -> Result<ElicitationReplies, String> {
        Ok(ElicitationReplies { elicit: load("--elicit", elicit)?, sample: load("--sample", sample)? })
    }

    /// Returns the response to `question`, and a description of its source.
    ///
    /// Requests to open a URL are always declined, because no user is present. So are requests for roots: the engine
    /// answers with the configured ones. `--elicit` is not checked here ([`violations`]).
    pub fn answer(&self, question: &Question) -> (Answer, String) {
        let (choice, flag) = match question {
            Question::Form { .. } => (&self.elicit, "--elicit"),
            Question::Sampling { .. } => (&self.sample, "--sample"),
            Question::Url { .. } => return (Answer::Decline, "declined: only the console can open a page".into()),
            Question::Roots => return (Answer::Decline, "declined".into()),
        };
        match (choice, question) {
            (Choice::Fixed(content), _) => (Answer::Accept { content: content.clone() }, format!("answered by {flag}")),
            (Choice::Defaults, Question::Form { schema, .. }) => match defaults(schema) {
                Ok(content) => (Answer::Accept { content }, "answered with the defaults of the form".into()),
                Err(why) => (Answer::Decline, format!("declined: {why}")),
            },
            _ => (Answer::Decline, format!("declined; respond with {flag}")),
        }
    }
}

/// Returns the violations of a form's answer against the requested schema (MCP 2025-11-25, client/elicitation, "Security
/// Considerations": both sides should validate), and what of it could not be checked.
pub fn violations(question: &Question, answer: &Answer) -> (Vec<String>, Vec<String>) {
    let (Question::Form { schema, .. }, Answer::Accept { content }) = (question, answer) else { return (vec![], vec![]) };
    let checker = Checker::quick(schema);
    let value = match content.parse() {
        Ok(value) => value,
        Err(error) => return (vec![format!("the answer cannot be read: {error}")], vec![]),
    };
    match checker.glance(&value) {
        Ok(found) => (found.iter().map(ToString::to_string).collect(), checker.warnings()),
        Err(dear) => (vec![], vec![dear.to_string()]),
    }
}

fn load(flag: &str, from: Option<&ReplySource>) -> Result<Choice, String> {
    let text = match from {
        None | Some(ReplySource::Decline) => return Ok(Choice::Decline),
        Some(ReplySource::Defaults) => return Ok(Choice::Defaults),
        Some(ReplySource::Json(text)) => text.clone(),
        Some(ReplySource::File(path)) => {
            std::fs::read_to_string(path).map_err(|error| format!("{flag}: {} cannot be read: {error}", path.display()))?
        }
    };
    match json::fields(&text) {
        Ok(_) => Ok(Choice::Fixed(Body::from(compact(&text)))),
        Err(error) => Err(format!("{flag}: the value is not a JSON object: {error}")),
    }
}

/// Returns the form's content with every default. Fails for a required field without one.
fn defaults(schema: &Body) -> Result<Body, String> {
    if schema.len() > LARGEST_FORM {
        return Err(format!("the form is larger than {}", size(LARGEST_FORM as u64)));
    }
    let value = schema.value().unwrap_or_default();
    let text = schema.text();
    let fields = |text: &str| json::fields(text).unwrap_or_default();
    let properties = fields(&text).into_iter().find(|(key, _)| key == "properties").map(|(_, raw)| fields(raw.get())).unwrap_or_default();
    let mut content = Node::Object(vec![]);
    let mut filled: Vec<String> = Vec::new();
    for (name, property) in properties {
        let default: Option<Box<RawValue>> = fields(property.get()).into_iter().find(|(key, _)| key == "default").map(|(_, raw)| raw);
        if let Some(default) = default {
            content.set(std::slice::from_ref(&name), default).map_err(|part| format!("{part} is not an object"))?;
            filled.push(name);
        }
    }
    let required = value.get("required").and_then(|r| r.as_array()).cloned().unwrap_or_default();
    match required.iter().filter_map(|name| name.as_str()).find(|name| !filled.iter().any(|f| f == name)) {
        Some(name) => Err(format!("the required field {name:?} has no default")),
        None => Ok(Body::from(content.text())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(schema: &str) -> Question {
        Question::Form { message: "m".into(), schema: Body::from(schema) }
    }

    #[test]
    fn defaults_fill_a_form_or_name_the_missing_field() {
        let answers = ElicitationReplies::load(Some(&ReplySource::Defaults), None).unwrap();
        let schema = r#"{"properties":{"n":{"type":"number","default":1.50},"s":{"type":"string"}},"required":["n"]}"#;
        assert_eq!(answers.answer(&form(schema)).0, Answer::Accept { content: Body::from(r#"{"n":1.50}"#) });
        let (answer, how) = answers.answer(&form(r#"{"properties":{"s":{}},"required":["s"]}"#));
        assert_eq!(answer, Answer::Decline);
        assert!(how.contains("\"s\""), "{how}");
        assert_eq!(answers.answer(&Question::Sampling { params: Body::default() }).0, Answer::Decline);
    }

    #[test]
    fn files_and_json_answer_and_pages_are_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, "{ \"a\": 1 }").unwrap();
        let answers =
            ElicitationReplies::load(Some(&ReplySource::File(path.clone())), Some(&ReplySource::Json("{\"role\":\"assistant\"}".into())))
                .unwrap();
        assert_eq!(answers.answer(&form("{}")).0, Answer::Accept { content: Body::from(r#"{"a":1}"#) });
        assert!(matches!(answers.answer(&Question::Sampling { params: Body::default() }).0, Answer::Accept { .. }));
        assert_eq!(answers.answer(&Question::Url { message: String::new(), url: "u".into() }).0, Answer::Decline);
        std::fs::write(&path, "[1]").unwrap();
        assert!(ElicitationReplies::load(Some(&ReplySource::File(path)), None).unwrap_err().contains("not a JSON object"));
        assert!(ElicitationReplies::load(None, Some(&ReplySource::File("/nonexistent".into()))).unwrap_err().contains("--sample"));
    }
}
