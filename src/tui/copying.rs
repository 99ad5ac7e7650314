//! Clipboard text: a call as a command line, as curl, as a configuration entry. Pure.
//!
//! No text made here contains a secret: variables are written as variables, literal secrets become
//! variables, and arguments that look like secrets are left out (with a note).

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        argument_history::public,
        body::Body,
        call::Operation,
        directory::Directory,
        json::escape,
        secret::{
            Secret,
            rule::{self, UrlSecret},
        },
        server::{Era, ServerSpec, Transport, quote},
        text::{is_hidden, visible_lines},
    },
    state::ConsoleState,
};

pub use crate::domain::workspace::Invocation;

use super::{background::Material, widget::json::decoded};

/// What can be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// What is under the cursor.
    Value,
    /// The whole result, or the arguments, as JSON.
    Json,
    /// A `switchboard` command line.
    CallLine,
    /// A curl command.
    Curl,
    /// The rows of a table.
    Csv,
    /// The frames as they crossed the wire.
    Frames,
    /// The server as an entry of `mcpServers`.
    McpServers,
}

impl CopyKind {
    /// Returns its name in the message after copying.
    pub fn word(self) -> &'static str {
        match self {
            CopyKind::Value => "value",
            CopyKind::Json => "JSON",
            CopyKind::CallLine => "command line",
            CopyKind::Curl => "curl command",
            CopyKind::Csv => "CSV",
            CopyKind::Frames => "raw frames",
            CopyKind::McpServers => "mcpServers entry",
        }
    }
}

/// Prepares text that was received from a server for the clipboard, with notes about the changes.
pub fn prepared(kind: CopyKind, material: &Material) -> Copied {
    let text = match material.pieces.as_slice() {
        [one] if material.decode => decoded(one).text().into_owned(),
        [one] if kind != CopyKind::Frames => one.text().into_owned(),
        pieces => pieces.iter().map(|piece| format!("{}\n", piece.text())).collect(),
    };
    match kind {
        CopyKind::Json => {
            let (text, changed) = harmless_json(&text);
            Copied { text, notes: changed.then_some("hidden characters are written as \\u escapes").into_iter().collect() }
        }
        CopyKind::Frames => {
            let odd = visible_lines(&text) != text;
            let notes = odd.then_some("warning: it contains control or hidden characters as received").into_iter().collect();
            Copied { text, notes }
        }
        _ => plain(&text),
    }
}

/// Returns text with control and hidden characters escaped.
pub fn plain(text: &str) -> Copied {
    let shown = visible_lines(text);
    let changed = shown != text;
    let notes = changed.then_some("control and hidden characters are written as escapes").into_iter().collect();
    Copied { text: shown.into_owned(), notes }
}

/// Text for the clipboard with notes about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Copied {
    /// The text.
    pub text: String,
    /// What was changed or left out.
    pub notes: Vec<&'static str>,
}

impl Copied {
    fn new(text: String, left_out: bool) -> Copied {
        Copied { text, notes: left_out.then_some("arguments that look like secrets are left out").into_iter().collect() }
    }
}

/// Escapes hidden and control characters in JSON without changing its value; returns whether there were any.
pub fn harmless_json(text: &str) -> (String, bool) {
    let odd = |c: char| is_hidden(c) && c != '\n' && c != '\t';
    if !text.contains(odd) {
        return (text.to_owned(), false);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if odd(c) { escape(c, &mut out) } else { out.push(c) }
    }
    (out, true)
}

/// Returns the arguments of a call without those that look secret.
fn arguments_of(operation: &Operation, read_model: &ConsoleState) -> (Body, bool) {
    match operation {
        Operation::Tool { tool, arguments } => {
            let schema = read_model.tool(tool).map(|t| t.input_schema.clone()).unwrap_or_default();
            public(arguments, &schema)
        }
        Operation::Prompt { arguments, .. } => public(arguments, &Body::default()),
        _ => (Body::from("{}"), false),
    }
}

/// Returns `switchboard call …`, `read …` or `prompt …`, quoted for a shell.
pub fn call_line(operation: &Operation, read_model: &ConsoleState, invocation: &Invocation) -> Option<Copied> {
    let (arguments, left_out) = arguments_of(operation, read_model);
    let mut words: Vec<String> = vec!["switchboard".into()];
    words.extend(invocation.flags.iter().map(|f| quote(f)));
    match operation {
        Operation::Tool { tool, .. } => {
            let name = read_model.names.exposed(tool).map_or_else(|| format!("{}/{}", tool.server, tool.name), |n| n.to_string());
            words.extend(["call".into(), quote(&name)]);
            if arguments.text() != "{}" {
                words.extend(["--args".into(), quote(&harmless_json(&arguments.text()).0)]);
            }
        }
        Operation::Resource { server, uri } => words.extend(["read".into(), "--server".into(), quote(server.as_str()), quote(uri)]),
        Operation::Prompt { server, name, .. } => {
            words.extend(["prompt".into(), quote(&format!("{server}/{name}"))]);
            let value = arguments.value().unwrap_or_default();
            for (key, value) in value.as_object().into_iter().flatten() {
                words.push(quote(&format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))));
            }
        }
        Operation::Complete { .. } | Operation::Raw { .. } => return None,
    }
    if let Some(target) = &invocation.target {
        words.extend(["--".into(), target.clone()]);
    }
    Some(Copied::new(words.join(" "), left_out))
}

/// Returns the call as a curl command, for servers with an HTTP URL.
pub fn curl(operation: &Operation, read_model: &ConsoleState) -> Option<Copied> {
    let view = read_model.server(operation.server())?;
    let Transport::Http { url, headers, socket } = &view.spec.launch else { return None };
    let (arguments, left_out) = arguments_of(operation, read_model);
    let info = view.info.as_deref();
    let modern = info.is_some_and(|i| i.era == Era::Modern);
    let version = info.map_or("2025-11-25", |i| i.protocol.as_str());
    let (params, name) = match operation {
        Operation::Tool { tool, .. } => {
            (format!(r#"{{"name":{},"arguments":{}"#, json!(&*tool.name), arguments.text()), Some(tool.name.to_string()))
        }
        Operation::Resource { uri, .. } => (format!(r#"{{"uri":{}"#, json!(uri)), Some(uri.clone())),
        Operation::Prompt { name, .. } => (format!(r#"{{"name":{},"arguments":{}"#, json!(name), arguments.text()), Some(name.clone())),
        Operation::Complete { .. } | Operation::Raw { .. } => return None,
    };
    let meta = if modern {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "curl", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        format!(r#","_meta":{meta}"#)
    } else {
        String::new()
    };
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}","params":{params}{meta}}}}}"#, operation.method());
    let mut lines = vec![format!("curl -sS -X POST {}", double_quoted(&url_of(&view.spec, url)))];
    if let Some(socket) = socket {
        lines.push(format!("--unix-socket {}", quote(&socket.display().to_string())));
    }
    if let Some(ca) = &view.spec.tls.ca {
        lines.push(format!("--cacert {}", quote(&ca.display().to_string())));
    }
    if view.spec.tls.insecure {
        lines.push("--insecure".into());
    }
    let mut header = |name: &str, value: &str| lines.push(format!("-H {}", double_quoted(&format!("{name}: {value}"))));
    header("Content-Type", "application/json");
    header("Accept", "application/json, text/event-stream");
    header("MCP-Protocol-Version", version);
    if modern {
        header("Mcp-Method", operation.method());
        if let Some(name) = name.filter(|n| n.is_ascii() && !n.contains(char::is_control)) {
            header("Mcp-Name", &literal(&name));
        }
    } else if info.is_some() {
        header("Mcp-Session-Id", "${MCP_SESSION_ID}");
    }
    for (name, value) in headers {
        header(name, &written(name, value));
    }
    lines.push(format!("--data {}", quote(&harmless_json(&body).0)));
    let mut copied = Copied::new(lines.join(" \\\n  "), left_out);
    if !modern && info.is_some() {
        copied.notes.push("MCP_SESSION_ID is the session id of the response to `initialize`, if the server uses sessions");
    }
    Some(copied)
}

/// Returns the server as an entry of the `mcpServers` JSON that other clients read.
pub fn mcp_servers(spec: &ServerSpec) -> Copied {
    let mut entry = Map::new();
    match &spec.launch {
        Transport::Stdio { command, args, env, cwd, .. } => {
            entry.insert("command".into(), spec_written(spec, "command").unwrap_or_else(|| command.clone()).into());
            entry.insert("args".into(), args.iter().map(|a| Value::from(a.written())).collect());
            if !env.is_empty() {
                let env: Map<String, Value> = env.iter().map(|(name, value)| (name.clone(), env_value(name, value).into())).collect();
                entry.insert("env".into(), env.into());
            }
            if let Some(cwd) = cwd {
                entry.insert("cwd".into(), cwd.display().to_string().into());
            }
        }
        Transport::Http { url, headers, .. } => {
            entry.insert("type".into(), "http".into());
            entry.insert("url".into(), url_of(spec, url).into());
            if !headers.is_empty() {
                let headers: Map<String, Value> = headers.iter().map(|(name, value)| (name.clone(), written(name, value).into())).collect();
                entry.insert("headers".into(), headers.into());
            }
        }
    }
    let document = json!({"mcpServers": {spec.id.as_str(): entry}});
    Copied { text: serde_json::to_string_pretty(&document).unwrap_or_default(), notes: vec![] }
}

/// Returns the value of an environment variable as configured; a literal secret becomes the variable itself.
fn env_value(name: &str, value: &Secret) -> String {
    let literal = !value.interpolated() && rule::masks(name, value.expose());
    if literal { format!("${{{name}}}") } else { plain_variables(value.written()) }
}

/// Returns the value of a header as configured; a literal value becomes a variable, since headers carry credentials.
fn written(name: &str, value: &Secret) -> String {
    if value.interpolated() { plain_variables(value.written()) } else { format!("${{{}}}", variable(name)) }
}

/// Rewrites `${env:X}` and `${X:-default}` as `${X}`: the default may be the secret.
fn plain_variables(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(start) = rest.find("${") {
        let Some(end) = rest[start..].find('}').map(|e| e + start) else { break };
        let inner = rest[start + 2..end].trim_start_matches("env:");
        let name = inner.split(":-").next().unwrap_or(inner);
        out.push_str(&rest[..start]);
        out.push_str(&format!("${{{name}}}"));
        rest = &rest[end + 1..];
    }
    out + rest
}

fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn spec_written(spec: &ServerSpec, key: &str) -> Option<String> {
    spec.origin.written.iter().find(|(k, _)| k == key).map(|(_, text)| plain_variables(text))
}

/// Returns the URL as configured, without credentials.
fn url_of(spec: &ServerSpec, url: &str) -> String {
    let written = spec_written(spec, "url");
    let url = written.as_deref().unwrap_or(url);
    rule::replaced_url(url, |secret| match secret {
        UrlSecret::Credentials => String::new(),
        UrlSecret::Query(name) => format!("${{{}}}", if name.is_empty() { "QUERY".to_owned() } else { variable(name) }),
        UrlSecret::Segment => "${PATH_SEGMENT}".to_owned(),
    })
}

/// Escapes text of a server for double quotes of a shell, without variables.
fn literal(text: &str) -> String {
    text.replace("${", "$ {")
}

/// Wraps a text in double quotes for a shell: only `${NAME}` is replaced there.
fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\\' | '`' => out.extend(['\\', c]),
            '$' if chars.peek() != Some(&'{') => out.push_str("\\$"),
            c if is_hidden(c) => {}
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::test_support;

    #[test]
    fn a_command_line_is_quoted_and_holds_no_secret() {
        let read_model = test_support::shop_state();
        let operation = test_support::tool_call("database", "create_user", r#"{"name":"O'Hara $(x)","password":"hunter2"}"#);
        let invocation = Invocation { flags: vec!["--config".into(), "my shop.toml".into()], target: None };
        let copied = call_line(&operation, &read_model, &invocation).unwrap();
        assert_eq!(copied.text, r#"switchboard --config 'my shop.toml' call database_create_user --args '{"name":"O'\''Hara $(x)"}'"#);
        assert_eq!(copied.notes.len(), 1);
        let read = Operation::Resource { server: "database".into(), uri: "db://a b".into() };
        assert_eq!(call_line(&read, &read_model, &Invocation::default()).unwrap().text, "switchboard read --server database 'db://a b'");
        let prompt = Operation::Prompt { server: "database".into(), name: "explain".into(), arguments: Body::from(r#"{"sql":"x y"}"#) };
        assert_eq!(call_line(&prompt, &read_model, &Invocation::default()).unwrap().text, "switchboard prompt database/explain 'sql=x y'");
    }

    #[test]
    fn curl_writes_variables_and_never_their_values() {
        let mut read_model = test_support::shop_state();
        let server = read_model.servers.iter_mut().find(|s| s.id().as_str() == "analytics").unwrap();
        let mut spec = ServerSpec::clone(&server.spec);
        spec.launch = Transport::Http {
            url: "https://me:pass@analytics.example/mcp?key=SECRET1&page=2".into(),
            headers: vec![
                ("Authorization".into(), Secret::new("Bearer SECRET2", "Bearer ${env:TOKEN:-SECRET3}")),
                ("X-Key".into(), Secret::literal("SECRET4")),
            ],
            socket: None,
        };
        spec.tls.ca = Some("/etc/my ca.pem".into());
        server.spec = spec.into();
        let operation = test_support::tool_call("analytics", "track_event", r#"{"q":"it's `$HOME`"}"#);
        let text = curl(&operation, &read_model).unwrap().text;
        assert!(!text.contains("SECRET") && !text.contains("pass"), "{text}");
        for part in [
            r#""https://analytics.example/mcp?key=${KEY}&page=2""#,
            r#"-H "Authorization: Bearer ${TOKEN}""#,
            r#"-H "X-Key: ${X_KEY}""#,
            "--cacert '/etc/my ca.pem'",
            r#""arguments":{"q":"it'\''s `$HOME`"}"#,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let entry = mcp_servers(&read_model.server(&"analytics".into()).unwrap().spec).text;
        assert!(!entry.contains("SECRET") && entry.contains("Bearer ${TOKEN}"), "{entry}");
        assert_eq!(curl(&test_support::tool_call("database", "query_users", "{}"), &read_model), None, "not an HTTP server");
    }

    #[test]
    fn no_part_of_an_address_that_is_secret_is_copied() {
        let mut read_model = test_support::shop_state();
        let at = read_model.servers.iter().position(|s| s.id().as_str() == "analytics").unwrap();
        let mut spec = ServerSpec::clone(&read_model.servers[at].spec);
        let secrets = ["me:hunter2-pass", "a1b2c3d4e5f6a7b8", "plain-key"];
        let [user, segment, key] = secrets;
        for (url, written) in [
            (format!("https://{user}@h.example/s/{segment}/mcp?api_key={key}&page=2"), None),
            (
                format!("https://{user}@h.example/s/{segment}/value-of-v?api_key={key}&page=2"),
                Some(format!("https://{user}@h.example/s/{segment}/${{V}}?api_key={key}&page=2")),
            ),
        ] {
            spec.launch = Transport::Http { url, headers: vec![], socket: None };
            spec.origin.written = written.into_iter().map(|text| ("url".to_owned(), text)).collect();
            read_model.servers[at].spec = spec.clone().into();
            let operation = test_support::tool_call("analytics", "track_event", "{}");
            for text in [curl(&operation, &read_model).unwrap().text, mcp_servers(&spec).text] {
                assert!(secrets.iter().all(|secret| !text.contains(secret)) && !text.contains("value-of-v"), "{text}");
                assert!(text.contains("api_key=${API_KEY}&page=2") && text.contains("/s/${PATH_SEGMENT}/"), "{text}");
            }
        }
    }

    #[test]
    fn an_entry_has_the_environment_as_it_is_written() {
        let mut spec = test_support::spec("db", None);
        if let Transport::Stdio { env, args, .. } = &mut spec.launch {
            *env = vec![
                ("TOKEN".into(), Secret::literal("SECRET")),
                ("LEVEL".into(), Secret::literal("info")),
                ("HOST".into(), Secret::new("h", "${DB_HOST}")),
            ];
            *args = vec![Secret::new("SECRET", "--key=${K}")];
        }
        let value: Value = serde_json::from_str(&mcp_servers(&spec).text).unwrap();
        assert_eq!(
            value,
            json!({"mcpServers": {"db": {"command": "db-server", "args": ["--key=${K}"], "env": {"TOKEN": "${TOKEN}", "LEVEL": "info", "HOST": "${DB_HOST}"}}}})
        );
    }

    #[test]
    fn a_tool_of_the_network_with_a_hostile_name_stays_one_word() {
        assert_eq!(double_quoted("a\"`$x`${V}\u{202e}"), r#""a\"\`\$x\`${V}""#);
        assert_eq!(harmless_json("{\"a\":\"\u{202e}\u{1}\"}"), (r#"{"a":"\u202e\u0001"}"#.to_owned(), true));
    }
}
