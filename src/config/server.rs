//! Server tables: reads `[servers.NAME]` into a [`ServerSpec`].

use std::path::Path;

use super::{
    auth::auth,
    fields::{Fields, Report},
    settings::Rules,
};
use crate::domain::{
    ask::AskPolicy,
    body::Body,
    document::{Field, Kind, Node},
    policy::{pattern::Pattern, tool_filter::ToolFilter},
    secret::Secret,
    server::{EraChoice, Root, ServerSpec, SpecOrigin, Transport},
    text::is_hidden,
    tls::TlsSettings,
};

/// A server as read from one file, before the defaults of all servers are known.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub spec: ServerSpec,
    pub rules: Rules,
    /// Whether the table is invalid, so that the transport is for display only.
    pub invalid: bool,
}

impl Draft {
    /// Returns the specification, with `defaults` for missing settings.
    pub fn finish(&self, defaults: &Rules) -> ServerSpec {
        let mut spec = self.spec.clone();
        self.rules.clone().merged_over(defaults.clone()).apply(&mut spec);
        spec
    }
}

/// The response to `roots/list`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RootsChoice {
    pub policy: AskPolicy,
    pub roots: Vec<Root>,
    /// Source texts of the roots that are not written as their URI, by [`root_field`].
    pub written: Vec<(String, String)>,
}

/// Returns the name under which the source text of the root at `index` is recorded.
pub(super) fn root_field(index: usize) -> String {
    format!("roots.{index}")
}

/// A transport as read, with the source texts of its fields.
pub(super) struct Reached {
    pub launch: Transport,
    pub written: Vec<(String, String)>,
}

/// Reads one server with `body` and adds its origin. An invalid table becomes a server that is listed with its errors. `None`
/// if `body` leaves the entry out without an error.
pub(super) fn draft(report: &Report<'_>, field: &Field, body: impl FnOnce(&[Field]) -> Option<(ServerSpec, Rules)>) -> Option<Draft> {
    let name = field.key.as_str();
    let (read, faults, found, variables) = report.server(name, || {
        if name.trim().is_empty() || name.chars().any(is_hidden) {
            report.error(field.at, "", "the name is empty or has invisible characters", "give it another name");
        }
        match field.value.fields() {
            Some(table) => body(table),
            None => {
                let message = format!("should be a table, not {}", field.value.kind_name());
                report.error(field.value.at, "", message, "set at least `command` or `url`");
                None
            }
        }
    });
    let invalid = faults.table || (read.is_none() && faults.variable);
    let (mut spec, rules) = match read {
        Some(read) if !invalid => read,
        _ if invalid => {
            let spec = unusable(field);
            (ServerSpec { disabled: spec.disabled || report.is_off(), ..spec }, Rules::default())
        }
        _ => return None,
    };
    spec.disabled |= report.servers.is_some_and(|servers| !servers.allows(name));
    if spec.disabled {
        report.forget_inputs(name);
    }
    spec.config_faults = found;
    spec.origin.file = Some(report.source.path.clone());
    spec.origin.line = Some(report.source.place(field.at).0);
    spec.origin.variables = variables;
    Some(Draft { spec, rules, invalid })
}

/// Returns a server for an invalid table. It has the transport that the table names, for display only.
fn unusable(field: &Field) -> ServerSpec {
    let text = |key: &str| field.value.get(key).and_then(Node::text).filter(|text| !text.trim().is_empty());
    let words = |node: &Node| match &node.kind {
        Kind::Array(items) => items.iter().filter_map(Node::text).map(Secret::literal).collect(),
        _ => vec![],
    };
    let url = ["url", "serverUrl", "httpUrl"].into_iter().find_map(text);
    let launch = match (text("command"), url) {
        (Some(command), _) => {
            let args = field.value.get("args").map(words).unwrap_or_default();
            Transport::Stdio { command: command.to_owned(), args, env: vec![], inherit_env: false, cwd: None }
        }
        (None, Some(url)) => Transport::Http { url: url.to_owned(), headers: vec![], socket: None },
        (None, None) => Transport::unknown(),
    };
    let disabled = matches!(field.value.get("disabled"), Some(Node { kind: Kind::Bool(true), .. }));
    ServerSpec { disabled, ..ServerSpec::new(field.key.as_str(), launch) }
}

/// Reads a `[servers.NAME]` table of our own format. `root` is the default working directory of programs.
pub(super) fn native(report: &Report<'_>, field: &Field, root: Option<&Path>) -> Option<Draft> {
    draft(report, field, |table| {
        let mut fields = Fields::new(report, table, "");
        let command = fields.field("command").map(|f| f.at);
        let url = fields.field("url").map(|f| f.at);
        let reached = match (command, url) {
            (Some(_), None) => stdio(&mut fields, root),
            (None, Some(_)) => http(&mut fields),
            (Some(_), Some(at)) => {
                report.error(at, "url", "is set together with `command`", "a server has either a `command` or a `url`");
                None
            }
            // The unknown key is reported below; one error is enough.
            (None, None) if fields.has_misspelling_of(&["command", "url"]) => None,
            (None, None) => {
                report.error(
                    field.at,
                    "",
                    "has neither `command` nor `url`",
                    "set `command` to the program to start, or `url` to the address of the server",
                );
                None
            }
        };
        let is_http = url.is_some();
        for (key, http_key) in [
            ("args", false),
            ("env", false),
            ("inherit_env", false),
            ("cwd", false),
            ("headers", true),
            ("socket", true),
            ("ca", true),
            ("insecure", true),
            ("auth", true),
        ] {
            if let Some(given) = fields.field(key).filter(|_| http_key != is_http && reached.is_some()) {
                let (other, message) =
                    if http_key { ("url", "does not apply to a program") } else { ("command", "does not apply to an address") };
                report.error(given.at, key, message, format!("use `{key}` with `{other}`"));
            }
        }
        let namespace = namespace(&mut fields);
        let text = |fields: &mut Fields<'_, '_>, key| fields.text(key).map(str::to_owned);
        let (owner, description, group) = (text(&mut fields, "owner"), text(&mut fields, "description"), text(&mut fields, "group"));
        let eras = [("auto", EraChoice::Auto), ("legacy", EraChoice::Legacy), ("modern", EraChoice::Modern)];
        let era = fields.choice("era", &eras).unwrap_or_default();
        let disabled = fields.boolean("disabled").unwrap_or(false);
        let trusted = fields.boolean("trusted").unwrap_or(false);
        let tools = ToolFilter {
            enabled: patterns(&mut fields, "enabled_tools"),
            disabled: patterns(&mut fields, "disabled_tools").unwrap_or_default(),
        };
        let rules = Rules::read(&mut fields);
        let mut reached = reached;
        let tls = tls(&mut fields, reached.as_mut());
        let auth = auth(&mut fields);
        fields.finish();
        let Reached { launch, written } = reached?;
        let origin = SpecOrigin { written, ..SpecOrigin::default() };
        let spec = ServerSpec::new(field.key.as_str(), launch);
        Some((ServerSpec { namespace, owner, description, group, era, disabled, trusted, tls, auth, tools, origin, ..spec }, rules))
    })
}

/// Reads an array of patterns over the own names of tools.
pub(super) fn patterns(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Vec<Pattern>> {
    let items = fields.array(key)?;
    let pattern = |item: &Node| match item.text().map(Pattern::parse) {
        Some(Ok(pattern)) => Some(pattern),
        Some(Err(why)) => {
            fields.report.error(item.at, &fields.name(key), why, "write a name, a name with * and ?, or /a regular expression/");
            None
        }
        None => {
            fields.wrong_type(item, key, "a list of tool names");
            None
        }
    };
    Some(items.iter().filter_map(pattern).collect())
}

/// Reads `namespace`: a prefix of exposed names.
pub(super) fn namespace(fields: &mut Fields<'_, '_>) -> Option<String> {
    let text = fields.text("namespace")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if text.len() > 32 || !text.chars().all(plain) {
        let at = fields.node("namespace").map_or(0, |n| n.at);
        fields.report.error(at, &fields.name("namespace"), "should be at most 32 of the characters A-Z a-z 0-9 _ . -", "");
    }
    Some(text.to_owned())
}

/// Reads `command`, `args`, `env`, `inherit_env` and `cwd`.
pub(super) fn stdio(fields: &mut Fields<'_, '_>, root: Option<&Path>) -> Option<Reached> {
    // `${VAR}` in the command line can mean a variable of the server's own environment.
    let env = pairs(fields, "env");
    fields.report.own_env(&env);
    let command = fields.expanded("command")?;
    let args = fields.array("args").unwrap_or_default();
    let args = args.iter().filter_map(|arg| scalar(fields, arg, "args")).collect();
    let inherit_env = fields.boolean("inherit_env").unwrap_or(false);
    let cwd = fields.expanded("cwd");
    let at = fields.node("command").map_or(0, |n| n.at);
    started(fields.report, at, Start { command, args, env, inherit_env, cwd }, root)
}

/// Command line, environment and working directory, as read.
pub(super) struct Start {
    pub command: Secret,
    pub args: Vec<Secret>,
    pub env: Vec<(String, Secret)>,
    pub inherit_env: bool,
    pub cwd: Option<Secret>,
}

/// Validates a program to start. `root` is its default working directory.
pub(super) fn started(report: &Report<'_>, at: usize, start: Start, root: Option<&Path>) -> Option<Reached> {
    let mut written = vec![];
    let exposed = start.command.expose();
    let program = report.tilde(exposed).map_or_else(|| exposed.to_owned(), |p| p.to_string_lossy().into_owned());
    if program.trim().is_empty() && !(start.command.interpolated() && report.unset()) {
        // A placeholder without a value is reported already.
        if !report.refused() {
            report.error(at, "command", "is empty", "name the program to start");
        }
        return None;
    }
    for (what, value) in start.args.iter().map(|a| ("args", a)).chain(start.env.iter().map(|(_, v)| ("env", v))) {
        if value.expose().contains('\0') {
            report.error(at, what, "has a NUL character", "remove it: the operating system does not allow it");
        }
    }
    for (name, _) in &start.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            report.error(at, "env", "has a variable with an invalid name", "a name is not empty and has no `=`");
        }
    }
    note_written(&mut written, "command", &program, &start.command);
    let cwd = start.cwd.as_ref().map(|cwd| report.path(cwd.expose()));
    match (&cwd, &start.cwd) {
        (Some(path), Some(cwd)) => note_written(&mut written, "cwd", &path.to_string_lossy(), cwd),
        // Approval must not depend on where a project was checked out.
        _ if root.is_some() => written.push(("cwd".into(), String::new())),
        _ => {}
    }
    let cwd = cwd.or_else(|| root.map(Path::to_owned));
    if start.inherit_env {
        report.inherits();
    }
    let launch = Transport::Stdio { command: program, args: start.args, env: start.env, inherit_env: start.inherit_env, cwd };
    Some(Reached { launch, written })
}

/// Reads `url`, `headers` and `socket`.
pub(super) fn http(fields: &mut Fields<'_, '_>) -> Option<Reached> {
    let url = fields.expanded("url")?;
    let headers = pairs(fields, "headers");
    let socket = fields.expanded("socket");
    let at = fields.node("url").map_or(0, |n| n.at);
    reached(fields.report, at, url, headers, socket)
}

/// Validates an endpoint.
pub(super) fn reached(
    report: &Report<'_>,
    at: usize,
    url: Secret,
    headers: Vec<(String, Secret)>,
    socket: Option<Secret>,
) -> Option<Reached> {
    let mut written = vec![];
    // An unset variable was reported already.
    if let Err((message, hint)) = check_url(url.expose())
        && !(url.interpolated() && report.unset())
    {
        report.error(at, "url", message, hint);
    }
    for (name, value) in &headers {
        if !is_header_name(name) {
            report.error(at, "headers", "has an invalid header name", "use letters, digits and -_.!#$%&'*+^`|~");
        } else if value.expose().chars().any(|c| c != '\t' && c.is_control()) {
            report.error(at, "headers", format!("the value of `{name}` has a control character"), "remove line breaks from the value");
        }
    }
    note_written(&mut written, "url", url.expose(), &url);
    let path = socket.as_ref().map(|socket| report.path(socket.expose()));
    if let (Some(path), Some(socket)) = (&path, &socket) {
        note_written(&mut written, "socket", &path.to_string_lossy(), socket);
    }
    Some(Reached { launch: Transport::Http { url: url.expose().to_owned(), headers, socket: path }, written })
}

/// Reads `ca` and `insecure`, which apply to https only.
fn tls(fields: &mut Fields<'_, '_>, reached: Option<&mut Reached>) -> TlsSettings {
    let ca = fields.expanded("ca");
    let insecure = fields.boolean("insecure").unwrap_or(false);
    let Some(Reached { launch: Transport::Http { url, .. }, written }) = reached else { return TlsSettings::default() };
    let given = ["ca", "insecure"].map(|key| (key, fields.field(key).map(|given| given.at)));
    for (key, at) in given.into_iter().filter_map(|(key, at)| Some((key, at?))).filter(|_| url.starts_with("http://")) {
        fields.report.error(at, key, "does not apply to an http:// address", format!("use `{key}` with https://, or remove it"));
    }
    if let (Some(at), true) = (given[0].1, insecure) {
        fields.report.error(at, "ca", "is set together with `insecure`", "remove `insecure` to check the certificate");
    }
    let path = ca.as_ref().map(|ca| fields.report.path(ca.expose()));
    if let (Some(path), Some(ca)) = (&path, &ca) {
        note_written(written, "ca", &path.to_string_lossy(), ca);
    }
    TlsSettings { ca: path, insecure }
}

/// Records the source text of a field if it differs from the value.
fn note_written(written: &mut Vec<(String, String)>, field: &str, value: &str, secret: &Secret) {
    if value != secret.written() {
        written.push((field.to_owned(), secret.written().to_owned()));
    }
}

/// Validates the URL of an endpoint. The error is a message and a hint.
pub(super) fn check_url(url: &str) -> Result<(), (&'static str, &'static str)> {
    let hint = "write it as https://host/path";
    if !url.contains("://") {
        return Err(("has no scheme", "put https:// in front of it, or http:// for a server on this machine"));
    }
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Err(("should begin with http:// or https://", hint));
    };
    if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(("has spaces or control characters", hint));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match host.rsplit('@').next() {
        None | Some("") => Err(("has no host", hint)),
        Some(host) if host.starts_with(':') => Err(("has no host", hint)),
        Some(_) => Ok(()),
    }
}

/// Returns whether a name is a token (RFC 9110, section 5.6.2).
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Reads a string, number or boolean as text and expands its variables.
pub(super) fn scalar(fields: &Fields<'_, '_>, node: &Node, key: &str) -> Option<Secret> {
    match &node.kind {
        Kind::Text(text) => Some(fields.report.expand(node.at, &fields.name(key), text)),
        Kind::Integer(n) | Kind::Float(n) | Kind::Date(n) => Some(Secret::literal(n.as_str())),
        Kind::Bool(b) => Some(Secret::literal(b.to_string())),
        Kind::Null | Kind::Array(_) | Kind::Table(_) => {
            fields.wrong_type(node, key, "a string");
            None
        }
    }
}

/// Reads a table of strings, in the order of the file. Names with a JSON `null` are skipped.
pub(super) fn pairs(fields: &mut Fields<'_, '_>, key: &'static str) -> Vec<(String, Secret)> {
    let table = fields.table(key).unwrap_or_default();
    let given = table.iter().filter(|f| !matches!(f.value.kind, Kind::Null));
    given.filter_map(|f| Some((f.key.clone(), scalar(fields, &f.value, &format!("{key}.{}", f.key))?))).collect()
}

/// Reads `"ask"`, `"decline"`, or a fixed answer as a table or as JSON text.
pub(super) fn policy(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<AskPolicy> {
    let node = fields.node(key)?;
    match &node.kind {
        Kind::Text(text) if text == "ask" => Some(AskPolicy::Ask),
        Kind::Text(text) if text == "decline" => Some(AskPolicy::Decline),
        Kind::Text(text) if text.trim_start().starts_with('{') => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(answer) => Some(AskPolicy::Fixed(Body::json(&answer))),
            Err(e) => {
                let message = format!("the fixed answer is not JSON (column {})", e.column());
                fields.report.error(node.at, &fields.name(key), message, "write it as a table: { name = \"value\" }");
                None
            }
        },
        Kind::Table(_) => Some(AskPolicy::Fixed(Body::json(&node.json()))),
        _ => {
            let message = "should be \"ask\", \"decline\" or a fixed answer";
            fields.report.error(node.at, &fields.name(key), message, "a fixed answer is a table, { name = \"value\" }, or JSON text");
            None
        }
    }
}

/// Reads `"ask"`, `"decline"` or a list of roots.
pub(super) fn roots(fields: &mut Fields<'_, '_>) -> Option<RootsChoice> {
    let node = fields.node("roots")?;
    let report = fields.report;
    let choice = |policy| Some(RootsChoice { policy, roots: vec![], written: vec![] });
    match &node.kind {
        Kind::Text(text) if text == "ask" => choice(AskPolicy::Ask),
        Kind::Text(text) if text == "decline" => choice(AskPolicy::Decline),
        Kind::Array(items) => {
            let (mut roots, mut written) = (vec![], vec![]);
            for (root, text) in items.iter().filter_map(|item| root(fields, item)) {
                written.extend(text.map(|text| (root_field(roots.len()), text)));
                roots.push(root);
            }
            Some(RootsChoice { policy: AskPolicy::Fixed(Body::default()), roots, written })
        }
        _ => {
            let hint = "each is a path, a file:// URI, or { uri = \"…\", name = \"…\" }";
            report.error(node.at, &fields.name("roots"), "should be a list of roots, \"ask\" or \"decline\"", hint);
            None
        }
    }
}

/// Reads a root, and its source text if that differs from the URI: it has variables, or depends on the file or the home.
fn root(fields: &Fields<'_, '_>, item: &Node) -> Option<(Root, Option<String>)> {
    let uri_of = |text: &str, at: usize| {
        let text = fields.report.expand(at, &fields.name("roots"), text);
        let (uri, fixed) = match text.expose() {
            uri if uri.starts_with("file://") => (uri.to_owned(), true),
            path => (file_uri(&fields.report.path(path)), path.starts_with('/')),
        };
        (uri, (text.interpolated() || !fixed).then(|| super::text::written(&text)))
    };
    let unnamed = |(uri, written)| (Root { uri, name: None }, written);
    match &item.kind {
        Kind::Text(text) => Some(unnamed(uri_of(text, item.at))),
        Kind::Table(table) => {
            let mut inner = Fields::new(fields.report, table, fields.name("roots"));
            let uri = inner.text("uri").map(|text| uri_of(text, item.at));
            let name = inner.text("name").map(str::to_owned);
            if uri.is_none() {
                fields.report.error(item.at, &fields.name("roots"), "a root has no `uri`", "write { uri = \"…\", name = \"…\" }");
            }
            inner.finish();
            uri.map(|(uri, written)| (Root { uri, name }, written))
        }
        _ => {
            fields.wrong_type(item, "roots", "a path or a table");
            None
        }
    }
}

/// Returns the `file://` URI of an absolute path (RFC 8089), percent-encoding all bytes that are not unreserved.
pub(super) fn file_uri(path: &Path) -> String {
    let mut uri = String::from("file://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => uri.push(*byte as char),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}
