//! Mock server: answers MCP requests as recorded servers did. Pure.
//!
//! A request is answered by what was recorded for the same method, name and arguments: the first time with the first answer, the
//! next time with the next, and after the last one with the last again.

use std::{collections::HashMap, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    body::Body,
    call::{CallSpec, Operation},
    drift::{DefinitionKind, canonical},
    journal::{CallOutcome, CallRecord},
    json::Json,
    session_file::SessionFile,
};

/// `Method not found` (JSON-RPC 2.0).
const METHOD_NOT_FOUND: i64 = -32601;
/// `Invalid params`.
const INVALID_PARAMS: i64 = -32602;
/// `Internal error`.
const INTERNAL: i64 = -32603;
/// The newest version of the legacy era, for clients that request none.
const VERSION: &str = "2025-11-25";

/// Method, name and arguments of a request.
type Key = (String, String, String);

/// A recorded answer.
#[derive(Clone, Debug)]
struct Recorded {
    /// The result as received, or code and message of an error.
    end: Result<Body, (i64, String)>,
    took: Duration,
}

/// The servers of a session file, or one of them.
#[derive(Debug)]
pub struct MockServer {
    tools: Vec<String>,
    prompts: Vec<String>,
    templates: Vec<String>,
    answers: HashMap<Key, Vec<Recorded>>,
    /// How often each request was answered.
    given: HashMap<Key, usize>,
}

/// A request as it comes.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// A response, and when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct MockReply {
    /// The message, one line.
    pub line: String,
    /// How long the recorded server took.
    pub after: Duration,
}

impl MockServer {
    /// Creates a server from a session; if `server` is given, only from its calls and definitions. Tools that were called and
    /// whose definition is missing take any object.
    pub fn new(session: &SessionFile, server: Option<&str>) -> MockServer {
        let of = |name: &str| server.is_none_or(|server| server == name);
        let defined = |wanted| {
            let definitions = session.definitions.iter().filter(move |one| one.kind == wanted && of(one.server.as_str()));
            definitions.map(|one| one.definition.text().into_owned()).collect::<Vec<_>>()
        };
        let mut mock = MockServer {
            tools: defined(DefinitionKind::Tool),
            prompts: defined(DefinitionKind::Prompt),
            templates: defined(DefinitionKind::Template),
            answers: HashMap::new(),
            given: HashMap::new(),
        };
        let is_defined = |name: &str| {
            session.definitions.iter().any(|one| one.kind == DefinitionKind::Tool && one.name == name && of(one.server.as_str()))
        };
        let mut assumed: Vec<&str> = vec![];
        for call in session.calls.iter().filter(|call| of(call.summary.server.as_str())) {
            mock.answers.entry(key_of(&call.spec)).or_default().push(recorded(call));
            if let Operation::Tool { tool, .. } = &call.spec.operation
                && !is_defined(&tool.name)
                && !assumed.contains(&&*tool.name)
            {
                assumed.push(&tool.name);
            }
        }
        let tool = |name: &str| format!(r#"{{"name":{},"inputSchema":{{"type":"object"}}}}"#, Json::String(name.to_owned()).text());
        mock.tools.extend(assumed.into_iter().map(tool));
        mock
    }

    /// Answers one message; `None` for a notification or a response.
    pub fn answer(&mut self, message: &str) -> Option<MockReply> {
        let request = match serde_json::from_str::<Request<'_>>(message) {
            Ok(request) => request,
            Err(_) => return Some(reply("null", Err((-32700, "the message is not JSON".into())), Duration::ZERO)),
        };
        let (id, method) = (request.id?.get(), request.method?);
        let params = request.params.map_or("{}", RawValue::get);
        let list = |key: &str, items: &[String]| Ok(Body::from(format!(r#"{{"{key}":[{}]}}"#, items.join(","))));
        let now = |end| Some(reply(id, end, Duration::ZERO));
        match method.as_str() {
            "initialize" => now(Ok(initialized(params))),
            "ping" => now(Ok(Body::from("{}"))),
            "tools/list" => now(list("tools", &self.tools)),
            "prompts/list" => now(list("prompts", &self.prompts)),
            "resources/templates/list" => now(list("resourceTemplates", &self.templates)),
            "resources/list" => now(list("resources", &[])),
            _ => {
                let Some(found) = self.find(&method, params) else {
                    // Probes of other eras are answered as a server of this one does.
                    let known = ["tools/call", "prompts/get", "resources/read", "completion/complete"].contains(&method.as_str());
                    let code = if known { INVALID_PARAMS } else { METHOD_NOT_FOUND };
                    return now(Err((code, format!("nothing is recorded for {method} with these arguments"))));
                };
                Some(reply(id, found.end, found.took))
            }
        }
    }

    fn find(&mut self, method: &str, params: &str) -> Option<Recorded> {
        let key = key_in(method, params)?;
        let answers = self.answers.get(&key)?;
        let given = self.given.entry(key).or_default();
        let found = answers.get(*given).or(answers.last()).cloned();
        *given += 1;
        found
    }
}

fn recorded(call: &CallRecord) -> Recorded {
    let took = call.summary.took();
    let end = match (&call.result, &call.summary.outcome) {
        (Some(result), _) => Ok(result.clone()),
        (None, CallOutcome::Ok | CallOutcome::ToolError) => Err((INTERNAL, "the result was too large to be recorded".to_owned())),
        (None, outcome) => Err((INTERNAL, call.summary.error.clone().unwrap_or_else(|| outcome.words().to_owned()))),
    };
    Recorded { end, took }
}

fn key_of(spec: &CallSpec) -> Key {
    let operation = &spec.operation;
    let (name, arguments) = match operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => (operation.subject(), arguments.text().into_owned()),
        Operation::Resource { .. } => (operation.subject(), String::new()),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => ("", params.text().into_owned()),
    };
    (operation.method().to_owned(), name.to_owned(), plain(&arguments))
}

/// Returns the key of a request.
fn key_in(method: &str, params: &str) -> Option<Key> {
    let params = Json::parse(params).ok()?;
    let name = |key: &str| params.get(key).and_then(Json::str).unwrap_or_default().to_owned();
    let arguments = || params.get("arguments").map(Json::text).unwrap_or_default();
    let (name, arguments) = match method {
        "tools/call" | "prompts/get" => (name("name"), arguments()),
        "resources/read" => (name("uri"), String::new()),
        _ => {
            let members = params.members().iter().filter(|(key, _)| key != "_meta").cloned().collect();
            (String::new(), Json::Object(members).text())
        }
    };
    Some((method.to_owned(), name, plain(&arguments)))
}

/// Returns arguments in a form in which equal ones are equal texts.
fn plain(arguments: &str) -> String {
    match Json::parse(arguments) {
        Ok(json) if json == Json::Object(vec![]) => String::new(),
        Ok(json) => canonical(&json).text(),
        Err(_) => arguments.to_owned(),
    }
}

/// Returns the result of `initialize`.
fn initialized(params: &str) -> Body {
    let params = Json::parse(params).unwrap_or(Json::Null);
    let version = params.get("protocolVersion").and_then(Json::str).unwrap_or(VERSION).to_owned();
    let info = r#""capabilities":{"tools":{},"prompts":{},"resources":{},"completions":{}},"serverInfo":{"name":"switchboard mock","version":"1"}"#;
    Body::from(format!(r#"{{"protocolVersion":{},{info}}}"#, Json::String(version).text()))
}

fn reply(id: &str, end: Result<Body, (i64, String)>, after: Duration) -> MockReply {
    let end = match end {
        // A result may have line breaks between its members.
        Ok(result) => format!(r#""result":{}"#, result.text().replace(['\n', '\r'], " ")),
        Err((code, message)) => format!(r#""error":{{"code":{code},"message":{}}}"#, Json::String(message).text()),
    };
    MockReply { line: format!(r#"{{"jsonrpc":"2.0","id":{id},{end}}}"#), after }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        call::{FailureKind, Origin},
        id::{CallId, ToolId},
        test_entries,
    };

    fn call(number: u64, arguments: &str, result: Option<&str>) -> CallRecord {
        let spec = CallSpec::tool(ToolId::new("db".into(), "query"), arguments, Origin::Console);
        let mut call = test_entries::call_record(CallId(number), number, spec, "db_query");
        call.result = result.map(Body::from);
        if result.is_none() {
            call.summary.outcome = CallOutcome::Failed(FailureKind::Timeout);
            call.summary.error = Some("no answer".into());
        }
        call
    }

    #[test]
    fn requests_are_answered_by_their_arguments_in_order() {
        let calls = vec![
            call(1, r#"{"a":1,"b":1.50}"#, Some("{\"n\": 1.50,\n\"x\":1}")),
            call(2, r#"{"a":2}"#, Some(r#"{"n":2}"#)),
            call(3, r#"{"b":1.50,"a":1}"#, Some(r#"{"n":3}"#)),
            call(4, "", None),
        ];
        let mut mock = MockServer::new(&SessionFile { calls, definitions: vec![] }, Some("db"));
        let mut ask =
            |method: &str, params: &str| mock.answer(&format!(r#"{{"jsonrpc":"2.0","id":"x","method":"{method}","params":{params}}}"#));
        let mut query =
            |arguments: &str| ask("tools/call", &format!(r#"{{"name":"query","arguments":{arguments},"_meta":{{"a":1}}}}"#)).unwrap();
        let (first, again) = (query(r#"{"b":1.50,"a":1}"#), query(r#"{"a":1,"b":1.50}"#));
        assert_eq!(first.line, r#"{"jsonrpc":"2.0","id":"x","result":{"n": 1.50, "x":1}}"#);
        assert_eq!(first.after, Duration::from_micros(7));
        assert!(again.line.contains(r#"{"n":3}"#) && query(r#"{"a":1,"b":1.50}"#).line.contains(r#"{"n":3}"#), "the last one again");
        assert!(query(r#"{"a":2}"#).line.contains(r#"{"n":2}"#));
        assert!(query(r#"{"a":3}"#).line.contains("-32602"));
        assert!(query("{}").line.contains("no answer"));
        assert!(ask("tools/list", "{}").unwrap().line.contains(r#"{"name":"query","inputSchema":{"type":"object"}}"#));
        assert!(ask("initialize", r#"{"protocolVersion":"2025-06-18"}"#).unwrap().line.contains("2025-06-18"));
        assert!(ask("server/discover", "{}").unwrap().line.contains("-32601"));
        assert_eq!(mock.answer(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), None);
        assert!(mock.answer("{").unwrap().line.contains("-32700"));
        let mut other = MockServer::new(&SessionFile { calls: vec![call(1, "{}", Some("{}"))], definitions: vec![] }, Some("other"));
        assert!(other.answer(r#"{"id":1,"method":"tools/list"}"#).unwrap().line.contains(r#""tools":[]"#));
    }
}
