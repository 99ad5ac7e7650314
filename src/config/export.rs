//! Export: adds servers to our own file and leaves its existing content unchanged.

use std::{collections::HashSet, fmt::Write as _, io::ErrorKind, path::Path};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value, value};

use super::{
    error::ConfigError,
    fields::{Report, duration_text},
    import::FoundImport,
    load::free_name,
    private::{self, Links},
    server,
    settings::Rules,
    source::{Source, Whose},
    text::{self, Env},
};
use crate::domain::{
    ask::AskPolicy,
    login::{AuthMode, AuthSettings, CallbackHost, Grant},
    pins::PinMode,
    policy::pattern::Pattern,
    secret::Secret,
    server::{EraChoice, Limits, ServerSpec, SessionLimits, Timeouts, Transport},
};

/// Returns the text of our own file with the servers of `imports` added.
///
/// `existing` is the current text; its comments and order are preserved. A server that exists already, under any name, is
/// not added again; a name that is taken gets a number. Values are written as in their source, variables as variables.
/// Fails when `existing` is not valid TOML.
pub fn to_toml(imports: &[FoundImport], existing: Option<&str>) -> Result<String, ConfigError> {
    Ok(add_to_toml(imports, existing)?.0)
}

/// Like [`to_toml`]; also returns the number of servers added.
pub fn add_to_toml(imports: &[FoundImport], existing: Option<&str>) -> Result<(String, usize), ConfigError> {
    let mut added = 0;
    let text = existing.unwrap_or_default();
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| broken(text, &e))?;
    let mut known = known_launches(text);
    let servers = document.entry("servers").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let inline = servers.is_value();
    let table =
        servers.as_table_like_mut().ok_or_else(|| ConfigError::new("`servers` is not a table").hint("write servers as [servers.NAME]"))?;
    for import in imports {
        let mut first = true;
        for spec in &import.servers {
            let launch = launch_text(spec);
            if !known.insert(launch) {
                continue;
            }
            added += 1;
            let name = free_name(spec.id.as_str(), |name| table.contains_key(name));
            let mut entry = server_table(spec);
            if inline {
                table.insert(&name, Item::Value(Value::InlineTable(entry.into_inline_table())));
                continue;
            }
            // Counts all entries, so it is not asked for each of them.
            let gap = if first && text.is_empty() && table.is_empty() { "" } else { "\n" };
            let from = format!("{gap}# from {}: {}\n", import.client, crate::domain::text::visible(&import.path.to_string_lossy()));
            entry.decor_mut().set_prefix(if first { from.as_str() } else { "\n" });
            first = false;
            table.insert(&name, Item::Table(entry));
        }
    }
    Ok((document.to_string(), added))
}

pub(super) fn broken(text: &str, error: &toml_edit::TomlError) -> ConfigError {
    let (line, column) = Source::new("", text).place(error.span().map_or(0, |s| s.start));
    let found = ConfigError { line: Some(line), column: Some(column), ..ConfigError::new(error.message()) };
    found.hint("fix the file first: it must be valid TOML")
}

/// Returns the servers of a file that can be read, each as [`launch_text`].
pub(super) fn known_launches(text: &str) -> HashSet<String> {
    servers_of(text).iter().map(launch_text).collect()
}

/// Returns the servers of a file that can be read. Variables may be unset.
pub(super) fn servers_of(text: &str) -> Vec<ServerSpec> {
    let source = Source::new("", text);
    let env = Env::default();
    let Ok(tree) = source.parse() else { return vec![] };
    let report = Report::new(&source, &env, None, Path::new(""));
    let fields = tree.get("servers").and_then(|s| s.fields()).unwrap_or_default();
    fields
        .iter()
        .filter_map(|field| server::native(&report, field, None))
        .filter(|draft| !draft.invalid)
        .map(|draft| draft.finish(&Rules::default()))
        .collect()
}

/// Returns the transport of a server as written. Two servers with the same text are the same server.
pub(super) fn launch_text(spec: &ServerSpec) -> String {
    let mut all = String::new();
    // With its length, so that no value reads like several.
    let mut put = |key: &str, value: &str| _ = writeln!(all, "{key} {} {value}", value.len());
    match &spec.launch {
        Transport::Stdio { command, args, env, inherit_env, cwd } => {
            put("command", &field(spec, "command", command));
            args.iter().for_each(|arg| put("arg", &text::written(arg)));
            if let Some(cwd) = cwd {
                put("cwd", &field(spec, "cwd", &cwd.to_string_lossy()));
            }
            if *inherit_env {
                put("inherit_env", "");
            }
            for (name, value) in env {
                put("env", name);
                put("value", &text::written(value));
            }
        }
        Transport::Http { url, headers, socket } => {
            put("url", &field(spec, "url", url));
            if let Some(socket) = socket {
                put("socket", &field(spec, "socket", &socket.to_string_lossy()));
            }
            for (name, value) in headers {
                put("header", name);
                put("value", &text::written(value));
            }
            if let Some(ca) = &spec.tls.ca {
                put("ca", &field(spec, "ca", &ca.to_string_lossy()));
            }
            if spec.tls.insecure {
                put("insecure", "");
            }
            let mut table = Table::new();
            auth_fields(&spec.auth, &mut table);
            if let Some(auth) = table.get("auth") {
                put("auth", &auth.to_string());
            }
        }
    }
    all
}

/// Returns the table of one server: every key that differs from the default.
pub(super) fn server_table(spec: &ServerSpec) -> Table {
    let mut table = Table::new();
    let set = |table: &mut Table, key: &str, text: &str| table[key] = value(text);
    for (key, text) in [("namespace", &spec.namespace), ("owner", &spec.owner), ("description", &spec.description), ("group", &spec.group)]
    {
        if let Some(text) = text {
            set(&mut table, key, text);
        }
    }
    match spec.era {
        EraChoice::Auto => {}
        EraChoice::Legacy => set(&mut table, "era", "legacy"),
        EraChoice::Modern => set(&mut table, "era", "modern"),
    }
    match spec.pins {
        PinMode::Off => set(&mut table, "pins", "off"),
        PinMode::Warn => {}
        PinMode::Hold => set(&mut table, "pins", "hold"),
    }
    for (key, on) in [("disabled", spec.disabled), ("trusted", spec.trusted)] {
        if on {
            table[key] = value(true);
        }
    }
    launch_fields(spec, &mut table);
    let names = |patterns: &[Pattern]| value(patterns.iter().map(Pattern::text).collect::<Array>());
    if let Some(enabled) = &spec.tools.enabled {
        table["enabled_tools"] = names(enabled);
    }
    if !spec.tools.disabled.is_empty() {
        table["disabled_tools"] = names(&spec.tools.disabled);
    }
    policy_fields(spec, &mut table);
    if spec.timeouts != Timeouts::default() {
        table["timeouts"] = value(timeouts(&spec.timeouts));
    }
    if spec.limits != Limits::default() {
        table["limits"] = value(limits(&spec.limits));
    }
    if spec.sessions != SessionLimits::default() {
        table["sessions"] = value(sessions(&spec.sessions));
    }
    table
}

fn launch_fields(spec: &ServerSpec, table: &mut Table) {
    match &spec.launch {
        Transport::Stdio { command, args, env, inherit_env, cwd } => {
            table["command"] = value(field(spec, "command", command));
            if !args.is_empty() {
                table["args"] = value(args.iter().map(text::written).collect::<Array>());
            }
            if let Some(cwd) = cwd {
                table["cwd"] = value(field(spec, "cwd", &cwd.to_string_lossy()));
            }
            if *inherit_env {
                table["inherit_env"] = value(true);
            }
            pairs(table, "env", env);
        }
        Transport::Http { url, headers, socket } => {
            table["url"] = value(field(spec, "url", url));
            if let Some(socket) = socket {
                table["socket"] = value(field(spec, "socket", &socket.to_string_lossy()));
            }
            pairs(table, "headers", headers);
            if let Some(ca) = &spec.tls.ca {
                table["ca"] = value(field(spec, "ca", &ca.to_string_lossy()));
            }
            if spec.tls.insecure {
                table["insecure"] = value(true);
            }
            auth_fields(&spec.auth, table);
        }
    }
}

/// Returns the text of a field: as written if it holds variables, else its value, because a path relative to the source
/// file would be wrong in ours.
fn field(spec: &ServerSpec, name: &str, value: &str) -> String {
    let written = spec.origin.written.iter().find(|(field, _)| field == name);
    match written.filter(|(_, text)| text::expand(text, &Env::default()).is_err() || text.replace("$$", "").contains("${")) {
        Some((_, text)) => text.clone(),
        None => text::escape(value),
    }
}

/// Writes `auth`, if it differs from the default.
fn auth_fields(auth: &AuthSettings, table: &mut Table) {
    if *auth == AuthSettings::default() {
        return;
    }
    if auth.mode == AuthMode::Off {
        table["auth"] = value("off");
        return;
    }
    let mut inner = InlineTable::new();
    let mut put = |key: &str, text: Option<String>| {
        if let Some(text) = text {
            inner.insert(key, text.into());
        }
    };
    put("client_id", auth.client_id.as_deref().map(text::escape));
    put("client_secret", auth.client_secret.as_ref().map(text::written));
    put("client_metadata_url", auth.client_metadata_url.clone());
    put("resource", auth.resource.clone());
    put("grant", (auth.grant == Grant::ClientCredentials).then(|| "client_credentials".into()));
    put("callback_host", (auth.callback_host == CallbackHost::Name).then(|| CallbackHost::Name.as_str().into()));
    if auth.per_principal {
        inner.insert("per_principal", true.into());
    }
    if let Some(port) = auth.callback_port {
        inner.insert("callback_port", i64::from(port).into());
    }
    for (key, texts) in [("scopes", &auth.scopes), ("allow_hosts", &auth.allow_hosts)] {
        if !texts.is_empty() {
            inner.insert(key, texts.iter().map(String::as_str).collect::<Array>().into());
        }
    }
    table["auth"] = value(inner);
}

fn pairs(table: &mut Table, key: &str, pairs: &[(String, Secret)]) {
    if !pairs.is_empty() {
        let inline: InlineTable = pairs.iter().map(|(name, secret)| (name.as_str(), text::written(secret))).collect();
        table[key] = value(inline);
    }
}

fn policy_fields(spec: &ServerSpec, table: &mut Table) {
    for (key, policy) in [("elicitation", &spec.elicitation), ("sampling", &spec.sampling)] {
        match policy {
            AskPolicy::Ask => {}
            AskPolicy::Decline => table[key] = value("decline"),
            AskPolicy::Fixed(answer) => table[key] = value(answer.text().as_ref()),
        }
    }
    match &spec.roots_policy {
        AskPolicy::Ask => table["roots"] = value("ask"),
        AskPolicy::Decline => table["roots"] = value("decline"),
        AskPolicy::Fixed(_) if spec.roots.is_empty() => {}
        AskPolicy::Fixed(_) => {
            let roots = spec.roots.iter().map(|root| {
                let mut entry = InlineTable::new();
                entry.insert("uri", text::escape(&root.uri).into());
                if let Some(name) = &root.name {
                    entry.insert("name", name.as_str().into());
                }
                entry
            });
            table["roots"] = value(roots.collect::<Array>());
        }
    }
}

fn timeouts(timeouts: &Timeouts) -> InlineTable {
    let base = Timeouts::default();
    let Timeouts { connect, probe, call, call_max, list, health, stop } = timeouts;
    let all = [
        ("connect", connect, base.connect),
        ("probe", probe, base.probe),
        ("call", call, base.call),
        ("call_max", call_max, base.call_max),
        ("list", list, base.list),
        ("health", health, base.health),
        ("stop", stop, base.stop),
    ];
    all.into_iter().filter(|(_, given, default)| *given != default).map(|(key, given, _)| (key, duration_text(*given))).collect()
}

fn limits(limits: &Limits) -> InlineTable {
    let base = Limits::default();
    let Limits { message_bytes, pages, items, stderr_bytes } = limits;
    let all = [
        ("message_bytes", message_bytes, base.message_bytes),
        ("pages", pages, base.pages),
        ("items", items, base.items),
        ("stderr_bytes", stderr_bytes, base.stderr_bytes),
    ];
    let given = all.into_iter().filter(|(_, given, default)| *given != default);
    given.map(|(key, given, _)| (key, i64::try_from(*given).unwrap_or(i64::MAX))).collect()
}

fn sessions(sessions: &SessionLimits) -> InlineTable {
    let SessionLimits { max, idle } = sessions;
    let mut table = InlineTable::new();
    if *max != SessionLimits::default().max {
        table.insert("max", i64::try_from(*max).unwrap_or(i64::MAX).into());
    }
    if let Some(idle) = idle {
        table.insert("idle", duration_text(*idle).into());
    }
    table
}

/// Reads the user's own file; `None` when there is none. An unreadable file is an error, because it must not be
/// overwritten.
pub fn user_text(path: &Path) -> Result<Option<String>, ConfigError> {
    match Source::read(path, Whose::User) {
        Ok(source) => Ok(Some(source.text)),
        Err((ErrorKind::NotFound, _)) => Ok(None),
        Err((_, error)) => Err(error),
    }
}

/// Writes our own file atomically with mode 0600. A symbolic link is followed. Missing folders are created.
pub fn write_config(path: &Path, text: &str) -> Result<(), ConfigError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder
        .map_or(Ok(()), private::new_folders)
        .and_then(|()| private::write(path, text, Links::Follow))
        .map_err(|e| ConfigError::new(format!("cannot be written: {e}")).in_file(path).hint("check the folder's permissions"))
}
