//! Differential test: what a server writes and what a client of the gateway reads are the same bytes, for generated results, errors and
//! tools, over both transports on both sides.

use std::collections::BTreeMap;

use serde_json::{json, value::RawValue};
use switchboard::domain::server::ServerSpec;

use crate::{
    client::{Caller, Part, Pipe, Web, gateway},
    scripted::{Server, json_page},
    support::{Rig, built, http, stdio},
};

/// Generated results and errors in all.
const CASES: u64 = 10_000;
/// Generated tools of a server.
const TOOLS: usize = 1_000;

/// A generator of JSON texts that a typed decoder would change: numbers beyond 64 bits and their spelling, escapes, the order and
/// repetition of members, white space.
struct Texts(fastrand::Rng);

impl Texts {
    fn number(&mut self) -> String {
        let fixed = [
            "0",
            "-0",
            "1.0",
            "1.50",
            "1e400",
            "1E+2",
            "-1.7976931348623157e309",
            "12345678901234567890123",
            "0.1000000000000000055511",
            "9007199254740993",
        ];
        match self.0.u8(0..3) {
            0 => fixed[self.0.usize(0..fixed.len())].to_owned(),
            1 => self.0.i64(..).to_string(),
            _ => format!("{}.{:03}", self.0.u32(..), self.0.u32(0..1000)),
        }
    }

    fn string(&mut self) -> String {
        let parts = [
            "a",
            "Z",
            " ",
            "\\\"",
            "\\\\",
            "\\/",
            "/",
            "\\u0041",
            "\\u2028",
            "\\ud83d\\ude00",
            "\\ud800",
            "ü",
            "漢",
            "😀",
            "\\n",
            "\u{2029}",
            "{",
            "]",
        ];
        let parts: Vec<&str> = (0..self.0.usize(0..8)).map(|_| parts[self.0.usize(0..parts.len())]).collect();
        format!("\"{}\"", parts.concat())
    }

    fn space(&mut self) -> &'static str {
        ["", "", "", " ", "  ", "\t"][self.0.usize(0..6)]
    }

    fn value(&mut self, depth: u8) -> String {
        match self.0.u8(0..if depth == 0 { 4 } else { 6 }) {
            0 => self.number(),
            1 => self.string(),
            2 => "true".to_owned(),
            3 => "null".to_owned(),
            4 => {
                let items: Vec<String> = (0..self.0.usize(0..4)).map(|_| self.value(depth - 1)).collect();
                format!("[{}{}]", self.space(), items.join(","))
            }
            _ => {
                let members = self.members(depth - 1);
                format!("{{{members}}}")
            }
        }
    }

    /// Members of vendors; a name may repeat.
    fn members(&mut self, depth: u8) -> String {
        let members: Vec<String> = (0..self.0.usize(0..5))
            .map(|_| format!("\"x-{}\"{}:{}{}", self.0.u8(0..4), self.space(), self.space(), self.value(depth)))
            .collect();
        members.join(",")
    }

    /// An object with these members and some of vendors, in any order.
    fn object(&mut self, mut members: Vec<String>) -> String {
        let vendor = self.members(3);
        members.extend((!vendor.is_empty()).then_some(vendor));
        self.0.shuffle(&mut members);
        format!("{{{}}}", members.join(","))
    }

    fn result(&mut self) -> String {
        let text = self.string();
        let mut members = vec![format!(r#""content":[{{"type":"text","text":{text},"annotations":{}}}]"#, self.value(1))];
        if self.0.bool() {
            members.push(format!(r#""isError":{}"#, self.0.bool()));
        }
        if self.0.bool() {
            let structured = self.members(3);
            members.push(format!(r#""structuredContent":{{{structured}}}"#));
        }
        if self.0.bool() {
            let meta = self.members(2);
            members.push(format!(r#""_meta":{{{meta}}}"#));
        }
        self.object(members)
    }

    /// An error as the gateway writes one: `data` is the part that the server chooses freely.
    fn error(&mut self) -> String {
        // -32603 is a failure of the server, after which it is avoided for a while.
        let code = [-32602, -32601, -32042, -32000 - self.0.i32(10..19), -1, self.0.i32(1..10_000)][self.0.usize(0..6)];
        let message = json!(format!("no {} ü \"{}\"", self.0.u32(..), self.0.char('a'..='z')));
        let data = if self.0.bool() { format!(r#","data":{}"#, self.value(3)) } else { String::new() };
        format!(r#"{{"code":{code},"message":{message}{data}}}"#)
    }

    fn tool(&mut self, number: usize) -> String {
        let properties: Vec<String> = (0..self.0.usize(0..4))
            .map(|n| format!(r#""p{n}":{{"type":"string","default":{},{}"description":"d"}}"#, self.string(), self.space()))
            .collect();
        let schema = self.object(vec![r#""type":"object""#.to_owned(), format!(r#""properties":{{{}}}"#, properties.join(","))]);
        let hints = format!(r#""annotations":{{"readOnlyHint":{},"x-vendor":{}}}"#, self.0.bool(), self.value(2));
        let meta = self.members(2);
        let members = vec![
            format!(r#""name":"tool-{number}""#),
            format!(r#""description":{}"#, self.string()),
            format!(r#""inputSchema":{schema}"#),
            hints,
            format!(r#""_meta":{{{meta}}}"#),
        ];
        self.object(members)
    }
}

/// Returns the arguments of a call to which the server responds with this part, and the part.
fn case(texts: &mut Texts) -> (String, Part) {
    match texts.0.u8(0..4) {
        0 => {
            let error = texts.error();
            (json!({"error": error}).to_string(), Part::Error(error))
        }
        _ => {
            let result = texts.result();
            (json!({"result": result}).to_string(), Part::Result(result))
        }
    }
}

/// A server over HTTP that writes what it is given.
async fn mirror() -> Server {
    Server::start(|asked| {
        if asked.tool() != "echo" {
            return None;
        }
        let arguments = &asked.rpc["params"]["arguments"];
        let part = if arguments.get("error").is_some() { "error" } else { "result" };
        Some(json_page(format!(r#"{{"jsonrpc":"2.0","id":{},"{part}":{}}}"#, asked.id(), arguments[part].as_str().unwrap())))
    })
    .await
}

fn program(file: Option<&str>) -> ServerSpec {
    stdio("m", built("examples/mirror").to_str().unwrap(), &file.into_iter().collect::<Vec<_>>())
}

async fn compare(spec: ServerSpec, seed: u64) {
    let rig = Rig::start(vec![spec]);
    rig.ready("m").await;
    let gateway = gateway(&rig);
    let mut texts = Texts(fastrand::Rng::with_seed(seed));
    let mut pipe = Pipe::initialized(&gateway, json!({})).await;
    for number in 0..CASES / 4 {
        let (arguments, written) = case(&mut texts);
        assert_eq!(pipe.call("echo", &arguments).await, written, "case {number} of seed {seed} over stdio");
    }
    let web = Web::start(&gateway).await;
    let mut caller = Caller::connect(web.address).await;
    let session = caller.session(json!({})).await;
    for number in 1..=CASES / 4 {
        let (arguments, written) = case(&mut texts);
        let params = format!(r#"{{"name":"echo","arguments":{arguments}}}"#);
        let request = format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{params}}}"#);
        let reply = caller.post(&[("mcp-session-id", &session)], &request).await;
        assert_eq!(reply.part(number), written, "case {number} of seed {seed} over HTTP");
    }
    drop(caller);
    web.end().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_results_and_errors_of_a_program_have_no_difference() {
    compare(program(None), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_results_and_errors_of_an_address_have_no_difference() {
    let server = mirror().await;
    compare(http("m", &server.url()), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_tools_have_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tools");
    let mut texts = Texts(fastrand::Rng::with_seed(3));
    let tools: Vec<String> = (0..TOOLS).map(|number| texts.tool(number)).collect();
    std::fs::write(&file, tools.join("\n")).unwrap();
    let rig = Rig::start(vec![program(file.to_str())]);
    rig.ready("m").await;
    rig.until("the tools", |state| state.servers[0].catalog.tools.len() > TOOLS).await;
    let mut pipe = Pipe::initialized(&gateway(&rig), json!({})).await;
    let (mut listed, mut cursor) = (String::new(), json!({}));
    for _ in 0..TOOLS {
        let Part::Result(page) = pipe.ask("tools/list", &cursor.to_string()).await else { panic!("a list") };
        listed.push_str(&page);
        // Numbers and texts that no decoder accepts stay undecoded.
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(&page).unwrap();
        match members.get("nextCursor") {
            Some(next) => cursor = json!({"cursor": next}),
            None => break,
        }
    }
    for tool in &tools {
        assert!(listed.contains(tool.as_str()), "changed: {tool}");
    }
    rig.stop().await;
}
