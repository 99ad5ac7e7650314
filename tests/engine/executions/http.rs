//! Executions over HTTP.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{SERVERS, SET_UPS, each, limit, policies, rig, wrong};
use crate::{
    scripted::{Answer, Asked, Server, Step, event, json_page, page, send, stream},
    support::http,
};
use serde_json::{Value, json};
use switchboard::domain::{
    call::Outcome,
    id::ServerId,
    server::{ServerSpec, Transport},
};

type Respond = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// One way to answer the call of a tool that was executed.
struct Fault {
    name: &'static str,
    /// Executions of a call that is safe to repeat, with the default policy.
    safe: usize,
    /// No answer comes.
    silent: bool,
    respond: Respond,
}

fn fault(name: &'static str, safe: usize, respond: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Fault {
    Fault { name, safe, silent: false, respond: Box::new(respond) }
}

fn rpc(asked: &Asked, code: i64, message: &str) -> String {
    json!({"jsonrpc": "2.0", "id": asked.id(), "error": {"code": code, "message": message}}).to_string()
}

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

/// Refusals by status.
fn refusals() -> Vec<Fault> {
    let plain = |name, status: &'static str, safe| fault(name, safe, move |_| page(status, &[], "no"));
    let mut faults = vec![
        plain("http400", "400 Bad Request", 1),
        plain("http401", "401 Unauthorized", 1),
        fault("http401_challenge", 1, |_| page("401 Unauthorized", &[("WWW-Authenticate", "Bearer realm=\"mcp\"")], "")),
        plain("http402", "402 Payment Required", 1),
        plain("http403", "403 Forbidden", 1),
        plain("http404", "404 Not Found", 2),
        plain("http405", "405 Method Not Allowed", 1),
        plain("http406", "406 Not Acceptable", 1),
        plain("http408", "408 Request Timeout", 1),
        plain("http409", "409 Conflict", 1),
        plain("http410", "410 Gone", 1),
        plain("http413", "413 Content Too Large", 1),
        plain("http415", "415 Unsupported Media Type", 1),
        plain("http422", "422 Unprocessable Content", 1),
        plain("http425", "425 Too Early", 1),
        fault("http429", 3, |_| page("429 Too Many Requests", &[("Retry-After", "0")], "")),
        plain("http500", "500 Internal Server Error", 3),
        plain("http502", "502 Bad Gateway", 3),
        fault("http503", 3, |_| page("503 Service Unavailable", &[("Retry-After", "0")], "")),
        plain("http504", "504 Gateway Timeout", 3),
        fault("http404_rpc", 2, |asked| page("404 Not Found", &JSON, rpc(asked, -32602, "no such order"))),
        fault("http400_session_word", 1, |_| page("400 Bad Request", &[], "charged, but the checkout session could not be saved")),
        fault("http400_sdk_page", 1, |_| page("400 Bad Request", &[], "Bad Request: No valid session ID provided")),
    ];
    // The safe ones are repeated by the code of the error, as ever.
    for (name, code, message, safe) in [
        ("http400_rpc_session", -32000, "charged, but the checkout session could not be saved", 3),
        ("http400_rpc_invalid", -32602, "the session of this order is over", 1),
        ("http400_sdk_no_session", -32000, "Bad Request: No valid session ID provided", 6),
        ("http400_sdk_not_initialized", -32000, "Bad Request: Server not initialized", 6),
        ("http400_sdk_not_found", -32001, "Session not found", 6),
    ] {
        faults.push(fault(name, safe, move |asked| page("400 Bad Request", &JSON, rpc(asked, code, message))));
    }
    faults
}

/// Redirects by a server that executes whatever reaches it.
fn redirects() -> Vec<Fault> {
    let to = |name, status: &'static str, safe, target: fn(&Asked) -> String| {
        fault(name, safe, move |asked| page(status, &[("Location", &target(asked))], ""))
    };
    let own: fn(&Asked) -> String = |asked| asked.path.clone();
    let deeper: fn(&Asked) -> String = |asked| format!("{}/x", asked.path);
    let query: fn(&Asked) -> String = |asked| format!("{}?again=1", asked.path);
    vec![
        to("redirect301", "301 Moved Permanently", 1, own),
        to("redirect302", "302 Found", 1, own),
        to("redirect303", "303 See Other", 1, own),
        to("redirect307", "307 Temporary Redirect", 5, own),
        to("redirect308", "308 Permanent Redirect", 5, own),
        to("redirect307_chain", "307 Temporary Redirect", 5, deeper),
        to("redirect308_chain", "308 Permanent Redirect", 5, deeper),
        to("redirect307_query", "307 Temporary Redirect", 5, query),
        to("redirect302_chain", "302 Found", 1, deeper),
        to("redirect307_away", "307 Temporary Redirect", 1, |_| "http://127.0.0.1:9/mcp".into()),
        to("redirect307_nowhere", "307 Temporary Redirect", 5, |_| String::new()),
        fault("redirect307_without_target", 1, |_| page("307 Temporary Redirect", &[], "")),
        fault("redirect308_once", 2, |asked| match asked.path.ends_with("/moved") {
            true => json_page(asked.text("moved")),
            false => page("308 Permanent Redirect", &[("Location", &format!("{}/moved", asked.path))], ""),
        }),
        fault("redirect307_then_cut", 6, |asked| match asked.path.ends_with("/moved") {
            true => vec![Step::Close],
            false => page("307 Temporary Redirect", &[("Location", &format!("{}/moved", asked.path))], ""),
        }),
    ]
}

/// Answers that are none, and connections that end.
fn broken() -> Vec<Fault> {
    let short = format!("{HEAD}Content-Length: 500\r\n\r\n{{\"jsonrpc\"");
    let (short_reset, chunked) = (short.clone(), format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n40\r\n{{\"jsonrpc\""));
    let note = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;
    vec![
        fault("closed", 3, |_| vec![Step::Close]),
        fault("reset", 3, |_| vec![Step::Reset]),
        fault("cut_off", 3, move |_| vec![send(&short), Step::Close]),
        fault("cut_off_reset", 3, move |_| vec![send(&short_reset), Step::Reset]),
        fault("cut_within_chunk", 3, move |_| vec![send(&chunked), Step::Close]),
        fault("no_http", 3, |_| vec![send("220 mail.example ESMTP\r\n"), Step::Close]),
        fault("login_page", 3, |_| page("200 OK", &[("Content-Type", "text/html")], "<html>Please log in</html>")),
        fault("nothing", 3, |_| page("200 OK", &[], "")),
        fault("nothing_as_json", 3, |_| page("200 OK", &JSON, "")),
        fault("accepted", 3, |_| page("202 Accepted", &[], "")),
        fault("no_content", 3, |_| page("204 No Content", &[], "")),
        fault("other_id", 3, |_| json_page(r#"{"jsonrpc":"2.0","id":987654,"result":{}}"#)),
        fault("batch", 3, |asked| json_page(format!("[{}]", asked.text("hello")))),
        fault("nan", 3, |asked| json_page(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"x":NaN}}}}"#, asked.id()))),
        fault("half_an_answer", 3, |asked| json_page(&asked.text("hello")[..20])),
        fault("notification", 3, move |_| json_page(note)),
        fault("no_result", 3, |asked| json_page(format!(r#"{{"jsonrpc":"2.0","id":{}}}"#, asked.id()))),
        fault("too_large", 1, |asked| json_page(asked.text(&"x".repeat(100 << 10)))),
        Fault { silent: true, ..fault("silence", 1, |_| vec![Step::Hold]) },
        fault("stream_ended", 3, |_| vec![stream(""), Step::Close]),
        fault("stream_cut", 3, |_| vec![stream("data: {\"jsonrpc\":"), Step::Close]),
        fault("stream_reset", 3, |_| vec![stream("data: {\"jsonrpc\":"), Step::Reset]),
        fault("stream_resumable", 3, |_| vec![stream("id: e-1\nretry: 1\ndata: \n\n"), Step::Close]),
        fault("stream_note", 3, move |_| vec![stream(event(None, note)), Step::Close]),
        Fault { silent: true, ..fault("stream_silence", 1, |_| vec![stream(""), Step::Hold]) },
        fault("rpc_internal", 3, |asked| json_page(rpc(asked, -32603, "internal error"))),
        fault("rpc_session", 3, |asked| json_page(rpc(asked, -32001, "Session not found"))),
        fault("rpc_invalid", 1, |asked| json_page(rpc(asked, -32602, "no"))),
    ]
}

/// Results of another version, and results that are none. This server speaks 2025-11-25.
fn results() -> Vec<Fault> {
    let answer = |name, result: Value| fault(name, 1, move |asked| json_page(asked.result(result.clone())));
    // What is not an object is as good as no answer.
    let broken = |name, result| Fault { safe: 3, ..answer(name, result) };
    let form = json!({"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {"type": "object"}}});
    vec![
        broken("input_required", json!({"resultType": "input_required"})),
        broken("input_required_roots", json!({"resultType": "input_required", "inputRequests": {"r": {"method": "roots/list"}}})),
        broken("input_required_form", json!({"resultType": "input_required", "inputRequests": {"r": form}})),
        broken("input_required_state", json!({"resultType": "input_required", "requestState": "s"})),
        answer("input_required_content", json!({"resultType": "input_required", "requestState": "s", "content": []})),
        broken("result_number", json!(3)),
        broken("result_null", Value::Null),
        broken("result_array", json!([1, 2])),
        answer("result_empty", json!({})),
        fault("pages_declined", 1, |asked| {
            let page = json!({"mode": "url", "message": "Open", "url": "https://example.com/", "elicitationId": "e"});
            let error = json!({"code": -32042, "message": "open a page", "data": {"elicitations": [page]}});
            json_page(json!({"jsonrpc": "2.0", "id": asked.id(), "error": error}).to_string())
        }),
        fault("pages_none", 1, |asked| json_page(rpc(asked, -32042, "open a page"))),
    ]
}

fn faults() -> Vec<Fault> {
    [refusals(), redirects(), broken(), results()].into_iter().flatten().collect()
}

/// How often the tools ran, by the server that was called.
type Ran = Arc<Mutex<BTreeMap<String, usize>>>;

/// A server that executes every call that reaches it and answers like this. The calls of each configured server have a path
/// of their own.
async fn start(respond: Respond) -> (Server, Ran) {
    let ran = Ran::default();
    let count = ran.clone();
    let server = Server::start(move |asked| match asked.method() {
        "tools/call" => {
            let first = asked.path.split(['/', '?']).nth(1).unwrap_or_default();
            *count.lock().unwrap().entry(first.to_owned()).or_default() += 1;
            Some(respond(asked))
        }
        "tools/list" => Some(json_page(asked.result(json!({"tools": [
            {"name": "bad", "inputSchema": {"type": "object"}, "annotations": {"destructiveHint": true}},
            {"name": "safe", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
        ]})))),
        _ => None,
    })
    .await;
    (server, ran)
}

fn specs(server: &Server) -> Vec<ServerSpec> {
    let spec = |id: &&str| {
        let mut spec = http(id, &server.url());
        spec.launch = Transport::Http { url: format!("http://127.0.0.1:{}/{id}", server.port), headers: vec![], socket: None };
        spec.limits.message_bytes = 64 << 10;
        // The hints count.
        spec.trusted = true;
        spec
    };
    SERVERS.iter().map(spec).collect()
}

fn total(ran: &Ran, servers: &[&str]) -> usize {
    let ran = ran.lock().unwrap();
    servers.iter().filter_map(|server| ran.get(*server)).sum()
}

/// Makes the call of the destructive tool in every set-up and with every policy; gives what is wrong.
async fn unsafe_calls(fault: Fault) -> Vec<String> {
    let (server, ran) = start(fault.respond).await;
    let mut found = vec![];
    for (n, policy) in policies().iter().enumerate() {
        let rig = rig(specs(&server), policy).await;
        for (target, servers) in SET_UPS {
            let before = total(&ran, servers);
            let settled = rig.call_within(target, "bad", limit(fault.silent)).await;
            let executions = total(&ran, servers) - before;
            found.extend(wrong(executions, &settled).map(|what| format!("{} {target} policy {n}: {what}", fault.name)));
            assert!(executions > 0 || fault.silent, "{} {target}: the call reached the server: {settled:?}", fault.name);
        }
        rig.stop().await;
    }
    found
}

/// Makes the call of the safe tool; gives how often it was executed, if that is not what is expected.
async fn safe_call(fault: Fault) -> Vec<String> {
    let (server, ran) = start(fault.respond).await;
    let mut policy = policies()[0].clone();
    policy.retry.backoff = Duration::from_millis(1);
    let rig = rig(specs(&server).into_iter().filter(|spec| spec.id == ServerId::from("plain")).collect(), &policy).await;
    let settled = rig.call_within("plain", "safe", limit(fault.silent)).await;
    rig.stop().await;
    let executions = total(&ran, &["plain"]);
    let denied = matches!(&settled.outcome, Outcome::Failed { failure } if executions > 0 && !failure.may_have_run);
    let found = (executions != fault.safe || denied).then(|| format!("{}: {executions} executions, not {}", fault.name, fault.safe));
    found.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_call_is_executed_once_whatever_is_answered() {
    let count = faults().len() * SET_UPS.len() * policies().len();
    let found = each(faults(), unsafe_calls).await;
    assert!(found.is_empty(), "{} of {count} calls:\n{}", found.len(), found.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_call_is_still_repeated_where_that_may_help() {
    let found = each(faults(), safe_call).await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}
