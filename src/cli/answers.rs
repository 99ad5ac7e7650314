//! What answers servers' questions when nobody sits at an inbox.

use serde_json::value::RawValue;

use super::{
    args::AnswerFrom,
    json::{self, Node},
};
use crate::domain::{
    ask::{Answer, Question},
    body::Body,
    time::size,
};

/// The largest schema of a form that is answered with its defaults, in bytes.
const FORM: usize = 256 << 10;

/// The answers chosen on the command line.
#[derive(Clone, Debug, Default)]
pub struct Answers {
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

impl Answers {
    /// Reads the files that the flags name. Errors say which flag is wrong and how.
    pub fn load(elicit: Option<&AnswerFrom>, sample: Option<&AnswerFrom>) -> Result<Answers, String> {
        Ok(Answers { elicit: load("--elicit", elicit)?, sample: load("--sample", sample)? })
    }

    /// The answer to `question`, and how it came about for people.
    ///
    /// A page that a server wants opened is declined always: nobody is there to open it. So are
    /// roots: those that may be shared are configured and never asked for here.
    pub fn answer(&self, question: &Question) -> (Answer, String) {
        let (choice, flag) = match question {
            Question::Form { .. } => (&self.elicit, "--elicit"),
            Question::Sampling { .. } => (&self.sample, "--sample"),
            Question::Url { .. } => return (Answer::Decline, "declined: a page can be opened from the console only".into()),
            Question::Roots => return (Answer::Decline, "declined".into()),
        };
        match (choice, question) {
            (Choice::Fixed(content), _) => (Answer::Accept { content: content.clone() }, format!("answered by {flag}")),
            (Choice::Defaults, Question::Form { schema, .. }) => match defaults(schema) {
                Ok(content) => (Answer::Accept { content }, "answered with the defaults of the form".into()),
                Err(why) => (Answer::Decline, format!("declined: {why}")),
            },
            _ => (Answer::Decline, format!("declined; {flag} answers such questions")),
        }
    }
}

fn load(flag: &str, from: Option<&AnswerFrom>) -> Result<Choice, String> {
    let text = match from {
        None | Some(AnswerFrom::Decline) => return Ok(Choice::Decline),
        Some(AnswerFrom::Defaults) => return Ok(Choice::Defaults),
        Some(AnswerFrom::Json(text)) => text.clone(),
        Some(AnswerFrom::File(path)) => {
            std::fs::read_to_string(path).map_err(|error| format!("{flag}: {} cannot be read: {error}", path.display()))?
        }
    };
    match json::fields(&text) {
        Ok(_) => Ok(Choice::Fixed(Body::from(json::compact(&text)))),
        Err(error) => Err(format!("{flag}: the answer is no JSON object: {error}")),
    }
}

/// The form's content with every default, or which required field has none.
fn defaults(schema: &Body) -> Result<Body, String> {
    if schema.len() > FORM {
        return Err(format!("the form is larger than {}", size(FORM as u64)));
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
            content.set(std::slice::from_ref(&name), default).map_err(|part| format!("{part} is no object"))?;
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
    fn defaults_fill_a_form_or_say_what_is_missing() {
        let answers = Answers::load(Some(&AnswerFrom::Defaults), None).unwrap();
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
            Answers::load(Some(&AnswerFrom::File(path.clone())), Some(&AnswerFrom::Json("{\"role\":\"assistant\"}".into()))).unwrap();
        assert_eq!(answers.answer(&form("{}")).0, Answer::Accept { content: Body::from(r#"{"a":1}"#) });
        assert!(matches!(answers.answer(&Question::Sampling { params: Body::default() }).0, Answer::Accept { .. }));
        assert_eq!(answers.answer(&Question::Url { message: String::new(), url: "u".into() }).0, Answer::Decline);
        std::fs::write(&path, "[1]").unwrap();
        assert!(Answers::load(Some(&AnswerFrom::File(path)), None).unwrap_err().contains("no JSON object"));
        assert!(Answers::load(None, Some(&AnswerFrom::File("/nonexistent".into()))).unwrap_err().contains("--sample"));
    }
}
