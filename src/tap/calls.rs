//! The calls on a tapped connection: requests that are calls, and the responses that end them.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    domain::{
        body::{self, Body},
        call::{Failure, FailureKind, InterimKind, Operation, Outcome, RpcError},
        client::{self, ClientInfo, ClientTransport, Principal},
        id::{CallId, ServerId, ToolId},
        profile,
        server::Era,
        time::Stamp,
    },
    engine::ports::ObservedCalls,
    protocol::meta::{CLIENT_INFO, VERSION},
};

/// Calls that may be in progress; the oldest is forgotten first.
const OPEN: usize = 1024;

/// A call in progress.
struct Open {
    connection: u64,
    id: Arc<str>,
    call: (CallId, Stamp),
    sent: u64,
}

/// The calls of the client of a tapped connection.
pub struct Calls {
    server: ServerId,
    observed: Arc<dyn ObservedCalls>,
    open: VecDeque<Open>,
    /// How the client described itself last.
    described: Option<Body>,
}

/// A request of the client on a connection.
pub struct Sent<'a> {
    /// The connection.
    pub connection: u64,
    /// The id, JSON text.
    pub id: &'a Arc<str>,
    /// The method.
    pub method: &'a str,
    /// The params as sent.
    pub params: &'a Body,
    /// Size of the message, in bytes.
    pub size: u64,
    /// When it passed.
    pub at: Stamp,
}

impl Calls {
    /// Creates the calls to a server, none of which is in progress.
    pub fn new(server: ServerId, observed: Arc<dyn ObservedCalls>) -> Calls {
        Calls { server, observed, open: VecDeque::new(), described: None }
    }

    /// Takes a request of the client. Returns its call, if it is one.
    pub fn request(&mut self, sent: &Sent<'_>) -> Option<CallId> {
        self.describe(sent);
        let operation = operation(&self.server, sent.method, sent.params)?;
        if self.open.len() >= OPEN
            && let Some(oldest) = self.open.pop_front()
        {
            self.fail(&oldest, "its response was not seen before 1024 later calls", sent.at);
        }
        let call = self.observed.began(operation, sent.at);
        self.open.push_back(Open { connection: sent.connection, id: sent.id.clone(), call, sent: sent.size });
        Some(call.0)
    }

    /// Takes a response of the server, with its size in bytes and when it passed. Returns the call that it ends. Over HTTP it may come on another connection than its request.
    pub fn response(
        &mut self,
        (connection, any_connection): (u64, bool),
        id: &str,
        answer: &Result<Body, RpcError>,
        (size, at): (u64, Stamp),
    ) -> Option<CallId> {
        let is_its = |open: &Open| *open.id == *id && (any_connection || open.connection == connection);
        let index = self.open.iter().rposition(is_its)?;
        let open = self.open.remove(index)?;
        self.observed.ended(open.call, outcome(answer), (open.sent, size), at);
        Some(open.call.0)
    }

    /// Ends the calls in progress with their connection.
    pub fn lost(&mut self, connection: u64, at: Stamp) {
        let (ended, open): (Vec<Open>, Vec<Open>) = self.open.drain(..).partition(|open| open.connection == connection);
        self.open = open.into();
        ended.iter().for_each(|open| self.fail(open, "the connection ended before the response", at));
    }

    fn fail(&self, open: &Open, why: &str, at: Stamp) {
        let failure = Arc::new(Failure::after_send(FailureKind::Transport, why));
        self.observed.ended(open.call, Outcome::Failed { failure }, (open.sent, 0), at);
    }

    /// Reports how the client describes itself: once per session in the legacy era, with each request in the modern era.
    fn describe(&mut self, sent: &Sent<'_>) {
        let described = match sent.method {
            "initialize" => sent.params.fields(["clientInfo", "protocolVersion"]).map(|found| (Era::Legacy, found)),
            _ => {
                let [meta] = sent.params.fields(["_meta"]).unwrap_or_default();
                let found = meta.and_then(|meta| body::fields(meta.get().as_bytes(), [CLIENT_INFO, VERSION]));
                found.filter(|[_, version]| version.is_some()).map(|found| (Era::Modern, found))
            }
        };
        let Some((era, [client_info, version])) = described else { return };
        let info = Body::from(client_info.map_or("{}", |info| info.get()));
        if self.described.as_ref() == Some(&info) {
            return;
        }
        let protocol = version.and_then(|version| serde_json::from_str::<String>(version.get()).ok()).unwrap_or_default();
        self.observed.described(ClientInfo {
            name: client::info_text(&info, "name"),
            version: client::info_text(&info, "version"),
            era,
            protocol: protocol.into(),
            transport: ClientTransport::Tap,
            principal: Principal::local(),
            profile: profile::DEFAULT.into(),
        });
        self.described = Some(info);
    }
}

/// Returns the operation of a request; `None` if it belongs to the session itself.
fn operation(server: &ServerId, method: &str, params: &Body) -> Option<Operation> {
    let text = |name: &str| {
        let [value] = params.fields([name])?;
        serde_json::from_str::<String>(value?.get()).ok()
    };
    let arguments = || match params.fields(["arguments"]) {
        Some([Some(arguments)]) => params.slice_of(arguments.get().as_bytes()),
        _ => Body::default(),
    };
    Some(match method {
        "tools/call" => Operation::Tool { tool: ToolId::new(server.clone(), text("name")?), arguments: arguments() },
        "resources/read" => Operation::Resource { server: server.clone(), uri: text("uri")? },
        "prompts/get" => Operation::Prompt { server: server.clone(), name: text("name")?, arguments: arguments() },
        "completion/complete" => Operation::Complete { server: server.clone(), params: params.clone() },
        _ => return None,
    })
}

fn outcome(answer: &Result<Body, RpcError>) -> Outcome {
    let result = match answer {
        Ok(result) => result.clone(),
        Err(error) => {
            let failure = Failure { rpc: Some(error.clone()), ..Failure::after_send(FailureKind::Protocol, error.message.clone()) };
            return Outcome::Failed { failure: Arc::new(failure) };
        }
    };
    let [is_error, kind] = result.fields(["isError", "resultType"]).unwrap_or_default();
    match (is_error.map(|is| is.get()), kind.map(|kind| kind.get())) {
        (Some("true"), _) => Outcome::ToolError { result },
        (_, Some("\"input_required\"")) => Outcome::Interim { result, kind: InterimKind::InputRequired },
        (_, Some("\"task\"")) => Outcome::Interim { result, kind: InterimKind::Task },
        _ => Outcome::Ok { result },
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<(u64, Vec<String>)>);

    impl ObservedCalls for Recorder {
        fn described(&self, info: ClientInfo) {
            self.0.lock().1.push(format!("{:?} {} {:?}", info.name, info.protocol, info.era));
        }

        fn began(&self, operation: Operation, at: Stamp) -> (CallId, Stamp) {
            let mut seen = self.0.lock();
            seen.0 += 1;
            let call = CallId(seen.0);
            seen.1.push(format!("{} {} {}", call.0, operation.method(), operation.subject()));
            (call, at)
        }

        fn ended(&self, (call, _): (CallId, Stamp), outcome: Outcome, bytes: (u64, u64), _: Stamp) {
            self.0.lock().1.push(format!("{} {} {bytes:?}", call.0, outcome.words()));
        }
    }

    #[test]
    fn requests_and_responses_are_calls_of_the_client_that_described_itself() {
        let recorder = Arc::new(Recorder::default());
        let mut calls = Calls::new("db".into(), recorder.clone());
        let send = |calls: &mut Calls, connection: u64, id: &str, method: &str, params: &'static str| {
            calls.request(&Sent { connection, id: &Arc::from(id), method, params: &Body::from(params), size: 10, at: Stamp(7) })
        };
        let initialize = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"agent","version":"7"}}"#;
        assert_eq!(send(&mut calls, 1, "0", "initialize", initialize), None);
        assert_eq!(send(&mut calls, 1, "1", "tools/list", "{}"), None);
        assert_eq!(send(&mut calls, 1, "1", "tools/call", r#"{"name":"query","arguments":{"n":1.0}}"#), Some(CallId(1)));
        assert_eq!(send(&mut calls, 2, "1", "resources/read", r#"{"uri":"x://a"}"#), Some(CallId(2)));
        assert_eq!(send(&mut calls, 2, "2", "prompts/get", "{}"), None, "a prompt has a name");
        let error = Err(RpcError { code: -32603, message: "no".into(), data: None });
        assert_eq!(calls.response((2, false), "1", &error, (20, Stamp(9))), Some(CallId(2)));
        assert_eq!(calls.response((2, false), "1", &error, (20, Stamp(9))), None);
        // A connection of HTTP is not that of the request.
        assert_eq!(calls.response((3, true), "1", &Ok(Body::from(r#"{"isError":true}"#)), (30, Stamp(9))), Some(CallId(1)));
        let modern = r#"{"name":"query","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"m"}}}"#;
        assert_eq!(send(&mut calls, 4, "\"a\"", "tools/call", modern), Some(CallId(3)));
        calls.lost(1, Stamp(9));
        calls.lost(4, Stamp(9));
        let seen = recorder.0.lock().1.clone();
        let expected = [
            "Some(\"agent\") 2025-11-25 Legacy",
            "1 tools/call query",
            "2 resources/read x://a",
            "2 protocol (10, 20)",
            "1 tool error (10, 30)",
            "Some(\"m\") 2026-07-28 Modern",
            "3 tools/call query",
            "3 transport (10, 0)",
        ];
        assert_eq!(seen, expected);
    }
}
