//! One server of another client's file: reads its keys by their meaning.

use std::{path::Path, time::Duration};

use super::{
    Around, ClientKind, Environment, KindId, Section,
    keys::{COMMON, Means, Unit, effect},
    lists::Switches,
};
use crate::{
    config::{
        dialect::Use,
        env_file,
        fields::{Fields, Report},
        server::{self, Draft, Reached, Start},
        settings::{PartialTimeouts, Rules},
    },
    domain::{
        document::{Field, Kind, Node},
        policy::{pattern::Pattern, tool_filter::ToolFilter},
        secret::Secret,
        server::{ServerSpec, SpecOrigin},
    },
};

/// Longest limit of time that is read, in seconds: 30 days.
const LONGEST: f64 = 30.0 * 24.0 * 3600.0;

/// The variable in which Claude Code gives the project's folder to its servers.
pub(in crate::config) const PROJECT_DIR: &str = "CLAUDE_PROJECT_DIR";

/// Shells, whose scripts have variables of their own.
const SHELLS: [&str; 7] = ["sh", "bash", "zsh", "dash", "ksh", "fish", "ash"];

/// Reads one server. `root` is the default working directory of its program.
pub(super) fn read(
    report: &Report<'_>,
    section: &Section<'_>,
    entry: &Field,
    root: Option<&Path>,
    switches: &Switches,
    around: &Around,
) -> Option<Draft> {
    server::draft(report, entry, |table| {
        let name = entry.key.as_str();
        let mut entry = Entry { fields: Fields::new(report, table, ""), kind: section.kind, table, at: entry.at, used: vec![] };
        let disabled = entry.is_off() || switches.is_off(name);
        report.set_off(disabled);
        let description = entry.description();
        let tools = entry.tools(switches.tools(name));
        let timeouts = entry.timeouts();
        let reached = entry.reached(root, around);
        // The keys of a server that is refused do not matter.
        let Reached { launch, written } = reached?;
        entry.unused(name);
        let rules = Rules { timeouts, ..Rules::default() };
        let origin = SpecOrigin { written, ..SpecOrigin::default() };
        Some((ServerSpec { disabled, description, tools, origin, ..ServerSpec::new(name, launch) }, rules))
    })
}

/// Transports by the words of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Decided by the keys.
    Any,
    Stdio,
    Http,
    /// Known and not supported, with its name.
    Unsupported(&'static str),
    Unknown,
}

fn wanted(word: &str) -> Wanted {
    let word: String = word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match word.as_str() {
        "" => Wanted::Any,
        "stdio" | "local" | "command" | "process" | "cmd" | "custom" => Wanted::Stdio,
        // Which of the HTTP transports a server speaks is found out when it is connected to.
        "sse" | "http" | "https" | "streamablehttp" | "streamable" | "httpstream" | "remote" | "url" | "streaminghttp" => Wanted::Http,
        "ws" | "websocket" | "wss" => Wanted::Unsupported("websocket"),
        "tcp" => Wanted::Unsupported("tcp"),
        "sdk" | "inprocess" => Wanted::Unsupported("in-process"),
        "builtin" | "platform" | "frontend" | "inlinepython" => Wanted::Unsupported("built-in"),
        "openapi" => Wanted::Unsupported("openapi"),
        _ => Wanted::Unknown,
    }
}

struct Entry<'r, 'a> {
    fields: Fields<'r, 'a>,
    kind: &'static ClientKind,
    table: &'r [Field],
    at: usize,
    /// Keys that were read.
    used: Vec<&'static str>,
}

impl<'r, 'a> Entry<'r, 'a> {
    /// Returns all keys with their meaning: those of the kind before the common ones.
    fn meanings(kind: &'static ClientKind) -> impl Iterator<Item = (&'static str, Means)> {
        let timeout = kind.timeout.map(|means| ("timeout", means));
        let own = kind.keys.iter().copied().chain(timeout);
        let common = COMMON.iter().copied().filter(|(key, _)| kind.keys.iter().all(|(own, _)| own != key));
        own.chain(common)
    }

    /// Returns the keys of the table with a meaning, in the order of the tables of keys, and marks them as read.
    fn keys(&mut self, is: impl Fn(Means) -> bool) -> Vec<&'static str> {
        let table = self.table;
        let given = |key: &str| table.iter().any(|field| field.key == key && !matches!(field.value.kind, Kind::Null));
        let found: Vec<&'static str> =
            Self::meanings(self.kind).filter(|(key, means)| is(*means) && given(key)).map(|(key, _)| key).collect();
        self.used.extend(&found);
        found
    }

    fn key(&mut self, means: Means) -> Option<&'static str> {
        self.keys(|other| other == means).first().copied()
    }

    fn is_off(&mut self) -> bool {
        let disabled = self.keys(|means| means == Means::Disabled);
        let enabled = self.keys(|means| means == Means::Enabled);
        let mut says = |keys: Vec<&'static str>, value: bool| keys.into_iter().any(|key| self.fields.boolean(key) == Some(value));
        says(disabled, true) | says(enabled, false)
    }

    fn description(&mut self) -> Option<String> {
        let key = self.key(Means::Description)?;
        // Text for people never costs the server.
        let text = self.fields.node(key)?.text()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn tools(&mut self, (listed, off): (Option<Vec<Pattern>>, Vec<Pattern>)) -> ToolFilter {
        let mut filter = ToolFilter { enabled: listed, disabled: off };
        for key in self.keys(|means| matches!(means, Means::EnabledTools | Means::DisabledTools)) {
            let Some(node) = self.fields.node(key) else { continue };
            let enables = Self::meanings(self.kind).any(|(other, means)| other == key && means == Means::EnabledTools);
            match &node.kind {
                Kind::Array(_) => {
                    let names = self.names(node, key);
                    if enables {
                        filter.enabled.get_or_insert_default().extend(names);
                    } else {
                        filter.disabled.extend(names);
                    }
                }
                // A table of tools, or of lists.
                Kind::Table(tools) => {
                    for tool in tools {
                        let on = match (&tool.value.kind, tool.value.get("enabled").map(|node| &node.kind)) {
                            (Kind::Bool(on), _) | (_, Some(Kind::Bool(on))) => *on,
                            (Kind::Array(_), _) => {
                                let names = self.names(&tool.value, key);
                                match tool.key.as_str() {
                                    "include" | "allow" | "allowed" | "enabled" => filter.enabled.get_or_insert_default().extend(names),
                                    _ => filter.disabled.extend(names),
                                }
                                continue;
                            }
                            _ => continue,
                        };
                        filter.disabled.extend(Pattern::parse(&tool.key).ok().filter(|_| !on));
                    }
                }
                _ => self.fields.wrong_type(node, key, "a list of tool names"),
            }
        }
        // A list that names all tools limits nothing; nor does an empty one of Goose.
        let unlimited =
            |names: &Vec<Pattern>| names.iter().any(|name| name.text() == "*") || names.is_empty() && self.kind.id == KindId::Goose;
        if filter.enabled.as_ref().is_some_and(unlimited) {
            filter.enabled = None;
        }
        filter
    }

    fn names(&self, list: &Node, key: &str) -> Vec<Pattern> {
        let mut names = vec![];
        for item in list.items().unwrap_or_default() {
            // Gemini CLI can add arguments: `run(rm)`. The tool is filtered whole.
            let text = item.text().or_else(|| item.get("name")?.text()).map(|text| text.split('(').next().unwrap_or(text).trim());
            match text.map(Pattern::parse) {
                Some(Ok(pattern)) => names.push(pattern),
                _ => self.fields.report.error(item.at, key, "is not the name of a tool", "write a list of names"),
            }
        }
        names
    }

    fn timeouts(&mut self) -> PartialTimeouts {
        let (mut connect, mut call) = (None, None);
        for (key, means) in Self::meanings(self.kind).filter(|(_, means)| matches!(means, Means::CallTimeout(_) | Means::ConnectTimeout(_)))
        {
            let Some(node) = self.fields.node(key) else { continue };
            self.used.push(key);
            let (unit, is_call) = match means {
                Means::CallTimeout(unit) => (unit, true),
                Means::ConnectTimeout(unit) => (unit, false),
                _ => continue,
            };
            let seconds = node.number().map(|number| if unit == Unit::Milliseconds { number / 1000.0 } else { number });
            match seconds
                .filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            {
                Some(limit) if is_call => call = call.or(Some(limit)),
                Some(limit) => connect = connect.or(Some(limit)),
                None => {
                    let unit = if unit == Unit::Milliseconds { "milliseconds" } else { "seconds" };
                    self.fields.report.note(node.at, key, format!("is not a valid number of {unit}"), "the default is used");
                }
            }
        }
        // Zed's older form has the limit next to the program.
        let inner = self.table.iter().find(|field| field.key == "command").and_then(|field| field.value.get("timeout")?.number());
        let limit = inner.filter(|ms| *ms > 0.0 && *ms <= LONGEST * 1000.0).and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
        PartialTimeouts::connect_and_call(connect, call.or(limit))
    }

    /// Reads the transport.
    fn reached(&mut self, root: Option<&Path>, around: &Around) -> Option<Reached> {
        let report = self.fields.report;
        self.check_sandbox(around);
        let (wanted, at) = self.wanted()?;
        let urls = self.keys(|means| means == Means::Url);
        let commands = self.keys(|means| means == Means::Command);
        match wanted {
            Wanted::Unsupported(name) => {
                self.unsupported(name, at);
                None
            }
            Wanted::Unknown => {
                let message = "names a transport that is not known";
                report.error(at, "type", message, "only stdio and Streamable HTTP are supported");
                None
            }
            Wanted::Stdio if commands.is_empty() => {
                report.error(self.at, "", "has no `command` although its type is stdio", "set `command` to the program to start");
                None
            }
            Wanted::Http if urls.is_empty() => {
                report.error(self.at, "", "has no `url` although its type is http", "set `url` to the address of the server");
                None
            }
            Wanted::Http | Wanted::Any if !urls.is_empty() => {
                self.ignore(&commands, "starts a program, but the server has an address");
                self.http(&urls)
            }
            _ if !commands.is_empty() => {
                self.ignore(&urls, "is an address, but the type of the server is stdio");
                self.stdio(commands.first()?, root)
            }
            _ => {
                self.nothing();
                None
            }
        }
    }

    /// Reports keys that do not apply.
    fn ignore(&self, keys: &[&'static str], why: &str) {
        for key in keys {
            if let Some(field) = self.table.iter().find(|field| field.key == *key) {
                self.fields.report.note(field.at, key, format!("is not used: it {why}"), "");
            }
        }
    }

    fn nothing(&self) {
        let report = self.fields.report;
        if let Some(tcp) = self.table.iter().find(|field| field.key == "tcp") {
            return self.unsupported("tcp", tcp.at);
        }
        let extension = self.table.iter().any(|f| f.key == "settings" || f.key == "source" && f.value.text() == Some("extension"));
        let (message, hint) = match self.kind.id {
            KindId::Zed if extension => {
                ("is started by an extension of Zed, which is not known here", "configure its command in [servers]")
            }
            KindId::Registry => (
                "has no package that can be started and no address of Streamable HTTP",
                "packages of npm, pypi, oci and nuget with the transport stdio can be started",
            ),
            _ => ("has neither `command` nor `url`", "set `command` to the program to start, or `url` to the address of the server"),
        };
        report.error(self.at, "", message, hint);
    }

    fn unsupported(&self, name: &str, at: usize) {
        let report = self.fields.report;
        // Not a fault: nobody can reach these from outside of their client.
        match name {
            "in-process" => return report.note(at, "type", "is a server inside of its client, which cannot be reached from here", ""),
            "built-in" => return report.note(at, "type", "is built into its client, which cannot be reached from here", ""),
            _ => {}
        }
        let (message, hint) = match name {
            "openapi" => ("makes tools from an OpenAPI document, which is not supported".to_owned(), "start a server that does so"),
            name => (
                format!("uses the `{name}` transport, which is not supported"),
                "use stdio, Streamable HTTP or HTTP+SSE; many servers offer one of the latter under /mcp or /sse",
            ),
        };
        report.error(at, "type", message, hint);
    }

    /// Reads the transport's name. `None` if it is not text.
    fn wanted(&mut self) -> Option<(Wanted, usize)> {
        let mut found = (Wanted::Any, self.at);
        for key in self.keys(|means| means == Means::Type) {
            let text = self.fields.text(key)?;
            let at = self.fields.node(key).map_or(self.at, |node| node.at);
            match wanted(text) {
                Wanted::Any => {}
                other if found.0 == Wanted::Any => found = (other, at),
                // What is not supported is more exact than `type: "http"`.
                unsupported @ Wanted::Unsupported(_) => found = (unsupported, at),
                _ => {}
            }
        }
        Some(found)
    }

    /// A server that its client would run in a sandbox is not run without it, unless the user says so.
    fn check_sandbox(&mut self, around: &Around) {
        let Some(key) = self.key(Means::Sandbox) else {
            // The details alone mean a sandbox, too, if the client has no switch for it.
            let rules = self.keys(|means| means == Means::SandboxRules);
            let node = rules.first().and_then(|key| self.fields.node(key));
            if let Some(node) = node.filter(|node| !is_neutral(node)) {
                self.refuse_sandbox(node.at, "sandbox", around);
            }
            return;
        };
        let rules = self.keys(|means| means == Means::SandboxRules);
        let Some(node) = self.fields.node(key) else { return };
        match node.kind {
            Kind::Bool(true) => self.refuse_sandbox(node.at, key, around),
            Kind::Bool(false) => self.used.retain(|key| !rules.contains(key)),
            _ => self.fields.wrong_type(node, key, "true or false"),
        }
    }

    fn refuse_sandbox(&self, at: usize, key: &'static str, around: &Around) {
        let message = format!("{} runs this server in a sandbox, which Switchboard does not have", self.kind.client);
        if around.unsandboxed {
            self.fields.report.note(at, key, format!("{message}; it runs without one"), "");
        } else {
            self.fields.report.error(at, key, message, "pass --allow-unsandboxed to run it without one");
        }
    }

    fn http(&mut self, urls: &[&'static str]) -> Option<Reached> {
        let report = self.fields.report;
        let (key, others) = urls.split_first()?;
        self.ignore(others, "is a second address");
        let node = self.fields.node(key)?;
        let text = self.fields.text(key)?;
        report.used_for(Use::Network);
        let (address, socket) = unix_url(text).unwrap_or_else(|| (text.to_owned(), None));
        let address = report.expand(node.at, key, &address);
        let socket = socket.map(|socket| report.expand(node.at, key, &socket));
        let headers = self.headers();
        report.used_for(Use::Local);
        server::reached(report, node.at, address, headers, socket)
    }

    /// Reads headers of all spellings.
    fn headers(&mut self) -> Vec<(String, Secret)> {
        let report = self.fields.report;
        let mut headers = vec![];
        for key in self.keys(|means| means == Means::Headers) {
            headers.extend(server::pairs(&mut self.fields, key));
        }
        for key in self.keys(|means| means == Means::Request) {
            if let Some(table) = self.fields.table(key) {
                let mut inner = Fields::new(report, table, key);
                headers.extend(server::pairs(&mut inner, "headers"));
                for other in table.iter().filter(|field| field.key != "headers" && !is_neutral(&field.value)) {
                    report.unused_key(other.at, &format!("{key}.{}", other.key), effect::PROXY, None);
                }
            }
        }
        for key in self.keys(|means| means == Means::HeadersFromEnv) {
            for header in self.fields.table(key).unwrap_or_default() {
                if let Some(name) = header.value.text() {
                    headers.push((header.key.clone(), report.variable(header.value.at, key, "", name)));
                }
            }
        }
        let is_set = |headers: &[(String, Secret)]| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some(key) = self.key(Means::BearerToken)
            && let Some(token) = self.fields.node(key).and_then(|node| Some((node.at, node.text()?)))
            && !is_set(&headers)
        {
            let (at, token) = token;
            let prefix = if token.starts_with("Bearer ") { "" } else { "Bearer " };
            headers.push(("Authorization".into(), report.expand(at, key, &format!("{prefix}{token}"))));
        }
        if let Some(key) = self.key(Means::BearerTokenEnv)
            && let Some(node) = self.fields.node(key)
            && let Some(name) = self.fields.text(key)
            && !is_set(&headers)
        {
            headers.push(("Authorization".into(), report.variable(node.at, key, "Bearer ", name)));
        }
        headers
    }

    fn stdio(&mut self, command: &'static str, root: Option<&Path>) -> Option<Reached> {
        let report = self.fields.report;
        let node = self.fields.node(command)?;
        let mut env = vec![];
        for key in self.keys(|means| means == Means::Env) {
            let variables = self.fields.table(key).unwrap_or_default();
            // VS Code removes a variable whose value is null; elsewhere null means that the key is absent.
            let removed = variables.iter().filter(|variable| self.kind.id == KindId::VsCode && matches!(variable.value.kind, Kind::Null));
            for variable in removed {
                report.unused_key(variable.at, &format!("{key}.{}", variable.key), effect::REMOVED_VARIABLE, None);
            }
            env.extend(server::pairs(&mut self.fields, key));
        }
        if let Some(table) = node.fields() {
            env.extend(server::pairs(&mut Fields::new(report, table, command), "env"));
        }
        self.passed(&mut env);
        if let (true, Some(root)) = (self.kind.id == KindId::ClaudeProject, root)
            && !env.iter().any(|(name, _)| name == PROJECT_DIR)
        {
            // With the variable as its text, so that an approval does not depend on where the project is.
            env.push((PROJECT_DIR.into(), Secret::new(root.to_string_lossy(), format!("${{{PROJECT_DIR}}}"))));
        }
        report.own_env(&env);
        let (program, mut args) = self.command_line(node, command)?;
        for key in self.keys(|means| means == Means::Args) {
            let words = self.fields.array(key).unwrap_or_default();
            let script = script_index(program.expose(), words);
            for (index, word) in words.iter().enumerate() {
                report.used_for(if Some(index) == script { Use::Script } else { Use::Local });
                args.extend(server::scalar(&self.fields, word, key));
            }
            report.used_for(Use::Local);
        }
        if self.kind.id == KindId::VsCode {
            // The editor expands `~/` in arguments.
            for arg in &mut args {
                if let (Some(path), false) = (report.tilde(arg.expose()), arg.interpolated()) {
                    *arg = Secret::literal(path.to_string_lossy());
                }
            }
        }
        let cwd = self.key(Means::Cwd).and_then(|key| self.fields.expanded(key));
        let inherit_env = self.kind.environment == Environment::All;
        let mut reached = server::started(report, node.at, Start { command: program, args, env, inherit_env, cwd }, root)?;
        if let Some(key) = self.key(Means::EnvFile) {
            env_file::add(&mut self.fields, key, &mut reached);
        }
        Some(reached)
    }

    /// Adds variables that the client passes on by name.
    fn passed(&mut self, env: &mut Vec<(String, Secret)>) {
        let report = self.fields.report;
        for (means, required) in [(Means::EnvNames, false), (Means::RequiredEnv, true)] {
            let Some(key) = self.key(means) else { continue };
            let names = self.fields.array(key).unwrap_or_default().iter();
            for (at, name) in names.filter_map(|n| Some((n.at, n.text().or_else(|| n.get("name")?.text())?))) {
                let given = env.iter().any(|(other, _)| other == name);
                if !given && (required || report.env.get(name).is_some()) {
                    env.push((name.to_owned(), report.variable(at, key, "", name)));
                }
            }
        }
    }

    /// Reads the program with its first arguments: text, a list, a line of words, or Zed's table.
    fn command_line(&mut self, node: &'r Node, key: &'static str) -> Option<(Secret, Vec<Secret>)> {
        let report = self.fields.report;
        match &node.kind {
            Kind::Array(words) => {
                let script = words.split_first().and_then(|(program, rest)| Some(script_index(program.text()?, rest)? + 1));
                let mut line = vec![];
                for (index, word) in words.iter().enumerate() {
                    report.used_for(if Some(index) == script { Use::Script } else { Use::Local });
                    line.extend(server::scalar(&self.fields, word, key));
                }
                report.used_for(Use::Local);
                if line.is_empty() {
                    report.error(node.at, key, "is empty", "name the program to start");
                    return None;
                }
                let program = line.remove(0);
                Some((program, line))
            }
            Kind::Table(table) => {
                let mut inner = Fields::new(report, table, key);
                let Some(program) = inner.expanded("path") else {
                    report.error(node.at, key, "has no `path`", "name the program to start");
                    return None;
                };
                let words = inner.array("args").unwrap_or_default();
                let args = words.iter().filter_map(|arg| server::scalar(&inner, arg, "args")).collect();
                Some((program, args))
            }
            Kind::Text(text) if self.kind.id == KindId::McPorter && text.contains(char::is_whitespace) => {
                let Some(words) = split_words(text) else {
                    report.error(node.at, key, "has a quotation mark that is not closed", "close it");
                    return None;
                };
                let mut words = words.iter().map(|word| report.expand(node.at, key, word));
                Some((words.next()?, words.collect()))
            }
            _ => Some((self.fields.expanded(key)?, vec![])),
        }
    }

    /// Reports the keys that were not read, once for each file.
    fn unused(&mut self, server: &str) {
        // A table that was read by hand.
        let command = self.table.iter().find(|field| field.key == "command");
        for inner in command.and_then(|field| field.value.fields()).unwrap_or_default() {
            if !["path", "args", "env", "timeout"].contains(&inner.key.as_str()) && !is_neutral(&inner.value) {
                self.fields.report.unused_key(inner.at, &format!("command.{}", inner.key), effect::UNKNOWN, Some(server));
            }
        }
        for field in self.table.iter().filter(|field| !self.used.iter().any(|key| *key == field.key)) {
            let comment =
                field.key.starts_with(['_', '#']) || field.key.starts_with("//") || field.key == "comment" || field.key == "$schema";
            if comment || is_neutral(&field.value) {
                continue;
            }
            let means = Self::meanings(self.kind).find(|(key, _)| *key == field.key).map(|(_, means)| means);
            let effect = match means {
                Some(Means::Known) => continue,
                Some(means) => means.unused().unwrap_or("does not apply to this transport"),
                None => effect::UNKNOWN,
            };
            self.fields.report.unused_key(field.at, &field.key, effect, Some(server));
        }
    }
}

/// Returns whether a value asks for nothing: null, false, or empty.
pub(super) fn is_neutral(node: &Node) -> bool {
    match &node.kind {
        Kind::Null | Kind::Bool(false) => true,
        Kind::Text(text) => text.is_empty(),
        Kind::Array(items) => items.is_empty(),
        Kind::Table(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Returns the index of the script in the arguments of a shell.
fn script_index(program: &str, words: &[Node]) -> Option<usize> {
    let name = program.rsplit('/').next().unwrap_or(program);
    if !SHELLS.contains(&name) {
        return None;
    }
    let flag = words
        .iter()
        .position(|word| word.text().is_some_and(|text| text.starts_with('-') && !text.starts_with("--") && text.ends_with('c')))?;
    Some(flag + 1)
}

/// Splits a command line into words as a POSIX shell does, without expansions. `None` if a quotation mark is not closed.
fn split_words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (vec![], None::<String>, None);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Splits VS Code's `unix:///path/to.sock#/mcp` into address and socket.
pub(in crate::config) fn unix_url(url: &str) -> Option<(String, Option<String>)> {
    let rest = url.strip_prefix("unix://")?;
    let (socket, path) = rest.split_once('#').unwrap_or((rest, "/"));
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some((format!("http://localhost{slash}{path}"), Some(socket.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_split_like_a_shell_does() {
        for (line, words) in [
            ("npx -y x", Some(vec!["npx", "-y", "x"])),
            ("  a  'b c'\t\"d \\\" e\" f\\ g ''", Some(vec!["a", "b c", "d \" e", "f g", ""])),
            ("a 'b", None),
        ] {
            assert_eq!(split_words(line), words.map(|words| words.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }

    #[test]
    fn transports_have_many_names() {
        for (word, transport) in [
            ("", Wanted::Any),
            ("STREAMABLE_HTTP", Wanted::Http),
            ("streamable-http", Wanted::Http),
            ("local", Wanted::Stdio),
            ("SSE", Wanted::Http),
            ("ws", Wanted::Unsupported("websocket")),
            ("carrier pigeon", Wanted::Unknown),
        ] {
            assert_eq!(wanted(word), transport, "{word}");
        }
    }
}
