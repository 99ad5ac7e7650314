//! The capabilities that a client declares to servers. Pure.

use super::{
    ask::{AskPolicy, Question},
    body::Body,
    bounds,
    raw_object::RawObject,
    server::{Era, ServerSpec},
};

/// The tasks extension (SEP-2663): `tools/call` may be answered with a task.
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

/// What can answer the questions of servers whose policy is [`AskPolicy::Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answerable {
    /// Forms.
    pub forms: bool,
    /// Requests to open a page.
    pub pages: bool,
    /// Sampling.
    pub sampling: bool,
}

impl Answerable {
    /// A user, who answers everything.
    pub const ALL: Answerable = Answerable { forms: true, pages: true, sampling: true };
    /// Nothing: each question is declined.
    pub const NONE: Answerable = Answerable { forms: false, pages: false, sampling: false };
}

/// The capabilities of a client. Members of vendors and of extensions survive.
///
/// Declared in `initialize` (MCP 2025-11-25, lifecycle, "Capability Negotiation") or in `_meta` of each request (MCP 2026-07-28,
/// basic, "Request metadata").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCapabilities(RawObject);

/// Why a question of a server is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undeclared {
    /// The capability is not declared, so the method does not exist here.
    Method,
    /// The capability is declared without this member of it.
    Member(&'static str),
}

impl Default for ClientCapabilities {
    /// The capabilities towards a server without policies of its own, while a user answers.
    fn default() -> Self {
        Self::none()
            .with("roots", Body::from("{}"))
            .with("sampling", Body::from("{}"))
            .with("elicitation", Body::from(r#"{"form":{},"url":{}}"#))
            .with("extensions", Body::from(format!("{{\"{TASKS}\":{{}}}}")))
    }
}

impl ClientCapabilities {
    /// Returns the capabilities of a client that answers no requests of servers.
    pub fn none() -> Self {
        Self(RawObject::default())
    }

    /// Returns the capabilities towards a server: those of its questions that its policies or `answerable` can answer, and the
    /// extensions that the engine implements.
    ///
    /// `sampling.tools` is not declared: neither a fixed answer nor a form of the console runs tools.
    pub fn of(spec: &ServerSpec, answerable: Answerable) -> Self {
        let can = |policy: &AskPolicy, asked: bool| match policy {
            AskPolicy::Ask => asked,
            AskPolicy::Decline => false,
            AskPolicy::Fixed(_) => true,
        };
        let forms = can(&spec.elicitation, answerable.forms);
        // A fixed answer fills in forms; only a user can open a page.
        let pages = spec.elicitation != AskPolicy::Decline && answerable.pages;
        let mut all = Self::default();
        if !can(&spec.roots_policy, true) {
            all = all.without("roots");
        }
        if !can(&spec.sampling, answerable.sampling) {
            all = all.without("sampling");
        }
        match (forms, pages) {
            (true, true) => all,
            (true, false) => all.with("elicitation", Body::from(r#"{"form":{}}"#)),
            (false, true) => all.with("elicitation", Body::from(r#"{"url":{}}"#)),
            (false, false) => all.without("elicitation"),
        }
    }

    /// Reads a JSON object; `None` if `json` is something else.
    pub fn parse(json: &Body) -> Option<Self> {
        RawObject::parse(json).map(Self)
    }

    /// Returns the capabilities with one more, or with another value of it.
    #[must_use]
    pub fn with(self, name: &str, value: Body) -> Self {
        Self(self.0.with(name.to_owned(), value))
    }

    /// Returns the capabilities with one more extension.
    #[must_use]
    pub fn with_extension(self, name: &str, value: Body) -> Self {
        let extensions = self.0.get("extensions").and_then(RawObject::parse).unwrap_or_default();
        let extensions = extensions.with(name.to_owned(), value).to_body();
        self.with("extensions", extensions)
    }

    /// Returns the capabilities as a JSON object, for both eras.
    pub fn to_body(&self) -> Body {
        self.0.to_body()
    }

    /// Returns the capabilities without one.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        Self(self.0.without(name))
    }

    /// Returns whether a capability is declared.
    pub fn declares(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.bytes() != "null")
    }

    /// Returns whether a member of a capability is declared.
    pub fn declares_member(&self, name: &str, member: &str) -> bool {
        let members = self.0.get(name).and_then(RawObject::parse);
        members.is_some_and(|members| members.get(member).is_some_and(|value| !matches!(&**value.bytes(), b"null" | b"false")))
    }

    /// Returns whether a server may ask `question`.
    pub fn permit(&self, question: &Question) -> Result<(), Undeclared> {
        let (name, member) = match question {
            // A client that declares no mode supports forms (MCP 2025-11-25, client/elicitation, "Capabilities").
            Question::Form { .. } => ("elicitation", (self.declares_member("elicitation", "url")).then_some("form")),
            Question::Url { .. } => ("elicitation", Some("url")),
            Question::Sampling { .. } => ("sampling", question.offers_tools().then_some("tools")),
            Question::Roots => ("roots", None),
        };
        match member {
            _ if !self.declares(name) => Err(Undeclared::Method),
            Some(member) if !self.declares_member(name, member) => Err(Undeclared::Member(member)),
            _ => Ok(()),
        }
    }

    /// Returns the JSON object to declare in an era. The modern era has no `roots.listChanged`, the legacy era has tasks of another
    /// kind.
    pub fn declared(&self, era: Era) -> Body {
        let (name, member) = match era {
            Era::Modern => ("roots", "listChanged"),
            Era::Legacy => ("extensions", TASKS),
        };
        let Some(members) = self.0.get(name).and_then(RawObject::parse).filter(|members| members.get(member).is_some()) else {
            return self.0.to_body();
        };
        let rest = members.without(member);
        match rest.is_empty() && era == Era::Legacy {
            true => self.0.clone().without(name).to_body(),
            false => self.0.map(|other, _| (other == name).then(|| rest.to_body())).to_body(),
        }
    }
}

/// Returns what the user can do about capabilities that a server requires of its clients and that were not declared (MCP
/// 2026-07-28, `MissingRequiredClientCapabilityError`).
pub fn hint(required: &RawObject) -> String {
    let one = |name: &str| match name {
        "elicitation" => "answer its forms with --elicit, with elicitation in its configuration, or in the console".to_owned(),
        "sampling" => "answer its sampling requests with --sample, with sampling in its configuration, or in the console".to_owned(),
        "roots" => "set roots in its configuration".to_owned(),
        other => format!("use another client: the capability {} is not supported here", bounds::cut(other, 100)),
    };
    let parts: Vec<String> = required.names().take(4).map(one).collect();
    if parts.is_empty() { "check the server's log: it requires a capability that it does not name".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::server::Transport;

    #[test]
    fn the_default_is_declared_in_both_eras() {
        let declared = |era| ClientCapabilities::default().declared(era).text().into_owned();
        let questions = r#""roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}"#;
        assert_eq!(declared(Era::Legacy), format!("{{{questions}}}"));
        assert_eq!(declared(Era::Modern), format!("{{{questions},\"extensions\":{{\"{TASKS}\":{{}}}}}}"));
    }

    #[test]
    fn v15_only_questions_that_can_be_answered_are_declared() {
        let launch = Transport::Http { url: "http://x/mcp".into(), headers: vec![], socket: None };
        let spec = ServerSpec::new("x", launch);
        let fixed = AskPolicy::Fixed(Body::from("{}"));
        let form = Answerable { forms: true, ..Answerable::NONE };
        for (elicitation, sampling, roots, answerable, declared) in [
            (AskPolicy::Ask, AskPolicy::Ask, fixed.clone(), Answerable::NONE, r#"{"roots":{}}"#),
            (AskPolicy::Ask, AskPolicy::Ask, fixed.clone(), form, r#"{"roots":{},"elicitation":{"form":{}}}"#),
            (fixed.clone(), fixed.clone(), AskPolicy::Decline, Answerable::NONE, r#"{"sampling":{},"elicitation":{"form":{}}}"#),
            (AskPolicy::Decline, AskPolicy::Decline, AskPolicy::Decline, Answerable::ALL, "{}"),
            (fixed.clone(), AskPolicy::Ask, fixed, Answerable::ALL, r#"{"roots":{},"sampling":{},"elicitation":{"form":{},"url":{}}}"#),
        ] {
            let spec = ServerSpec { elicitation, sampling, roots_policy: roots, ..spec.clone() };
            assert_eq!(ClientCapabilities::of(&spec, answerable).declared(Era::Legacy).text(), declared, "{spec:?}");
        }
    }

    #[test]
    fn v11_v12_a_question_needs_its_mode_and_its_members_declared() {
        let form = Question::Form { message: String::new(), schema: Body::from("{}") };
        let page = Question::Url { message: String::new(), url: String::new() };
        let sampling = |params: &str| Question::Sampling { params: Body::from(params) };
        let tools = r#"{"messages":[],"tools":[]}"#;
        let parse = |json: &str| ClientCapabilities::parse(&Body::from(json)).unwrap();
        let all = ClientCapabilities::default();
        for (capabilities, question, permitted) in [
            (&all, &form, Ok(())),
            (&all, &page, Ok(())),
            (&all, &Question::Roots, Ok(())),
            (&all, &sampling(r#"{"messages":[],"tools":null}"#), Ok(())),
            (&all, &sampling(tools), Err(Undeclared::Member("tools"))),
            (&all, &sampling(r#"{"toolChoice":{"mode":"auto"}}"#), Err(Undeclared::Member("tools"))),
            (&parse(r#"{"sampling":{"tools":{}}}"#), &sampling(tools), Ok(())),
            (&parse(r#"{"elicitation":{}}"#), &form, Ok(())),
            (&parse(r#"{"elicitation":{}}"#), &page, Err(Undeclared::Member("url"))),
            (&parse(r#"{"elicitation":{"url":{}}}"#), &form, Err(Undeclared::Member("form"))),
            (&parse("{}"), &form, Err(Undeclared::Method)),
            (&parse(r#"{"sampling":null}"#), &sampling("{}"), Err(Undeclared::Method)),
        ] {
            assert_eq!(capabilities.permit(question), permitted, "{capabilities:?} {question:?}");
        }
    }

    #[test]
    fn members_of_vendors_survive() {
        let raw = r#"{"experimental":{"vendor/x":{"n":1.00}},"roots":{"listChanged":true,"vendor":2.50},"extensions":{}}"#;
        let read = ClientCapabilities::parse(&Body::from(raw)).unwrap();
        assert_eq!(read.declared(Era::Legacy).text(), raw);
        assert_eq!(read.declared(Era::Modern).text(), raw.replace(r#""listChanged":true,"#, ""));
        assert!(read.declares("roots") && !read.declares("sampling"));
        assert_eq!(ClientCapabilities::none().declared(Era::Modern).text(), "{}");
        assert_eq!(ClientCapabilities::parse(&Body::from("[]")), None);
        let vendor = format!(r#"{{"extensions":{{"{TASKS}":{{}},"vendor/x":1.50}}}}"#);
        let declared = ClientCapabilities::parse(&Body::from(vendor)).unwrap().declared(Era::Legacy);
        assert_eq!(declared.text(), r#"{"extensions":{"vendor/x":1.50}}"#);
    }
}
