//! The transport of an entry, and its address with headers.

use std::path::Path;

use super::{Entry, is_neutral};
use crate::{
    config::{
        dialect::Use,
        fields::Fields,
        kinds::{
            Around, KindId,
            keys::{Means, effect},
        },
        server::{self, Reached},
    },
    domain::{document::Kind, secret::Secret},
};

/// Transports by the words of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Decided by the keys.
    Any,
    Stdio,
    Http,
    /// Known and not supported.
    Unsupported(Unsupported),
    Unknown,
}

/// Transports that are known and not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsupported {
    WebSocket,
    Tcp,
    /// The server lives in the process of its client.
    InProcess,
    BuiltIn,
    OpenApi,
}

fn wanted(word: &str) -> Wanted {
    let word: String = word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match word.as_str() {
        "" => Wanted::Any,
        "stdio" | "local" | "command" | "process" | "cmd" | "custom" => Wanted::Stdio,
        // Which of the HTTP transports a server speaks is found out when it is connected to.
        "sse" | "http" | "https" | "streamablehttp" | "streamable" | "httpstream" | "remote" | "url" | "streaminghttp" => Wanted::Http,
        "ws" | "websocket" | "wss" => Wanted::Unsupported(Unsupported::WebSocket),
        "tcp" => Wanted::Unsupported(Unsupported::Tcp),
        "sdk" | "inprocess" => Wanted::Unsupported(Unsupported::InProcess),
        "builtin" | "platform" | "frontend" | "inlinepython" => Wanted::Unsupported(Unsupported::BuiltIn),
        "openapi" => Wanted::Unsupported(Unsupported::OpenApi),
        _ => Wanted::Unknown,
    }
}

impl Entry<'_, '_> {
    /// Reads the transport.
    pub(super) fn reached(&mut self, root: Option<&Path>, around: &Around) -> Option<Reached> {
        let report = self.fields.report;
        self.check_sandbox(around);
        let (wanted, at) = self.wanted()?;
        let urls = self.keys(|means| means == Means::Url);
        let commands = self.keys(|means| means == Means::Command);
        match wanted {
            Wanted::Unsupported(transport) => {
                self.unsupported(transport, at);
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
            return self.unsupported(Unsupported::Tcp, tcp.at);
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

    fn unsupported(&self, transport: Unsupported, at: usize) {
        let report = self.fields.report;
        let other = "use stdio, Streamable HTTP or HTTP+SSE; many servers offer one of the latter under /mcp or /sse";
        match transport {
            // Not a fault: nobody can reach these from outside of their client.
            Unsupported::InProcess => report.note(at, "type", "is a server inside of its client, which cannot be reached from here", ""),
            Unsupported::BuiltIn => report.note(at, "type", "is built into its client, which cannot be reached from here", ""),
            Unsupported::OpenApi => {
                report.error(at, "type", "makes tools from an OpenAPI document, which is not supported", "start a server that does so");
            }
            Unsupported::WebSocket => report.error(at, "type", "uses the `websocket` transport, which is not supported", other),
            Unsupported::Tcp => report.error(at, "type", "uses the `tcp` transport, which is not supported", other),
        }
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
    fn transports_have_many_names() {
        for (word, transport) in [
            ("", Wanted::Any),
            ("STREAMABLE_HTTP", Wanted::Http),
            ("streamable-http", Wanted::Http),
            ("local", Wanted::Stdio),
            ("SSE", Wanted::Http),
            ("ws", Wanted::Unsupported(Unsupported::WebSocket)),
            ("carrier pigeon", Wanted::Unknown),
        ] {
            assert_eq!(wanted(word), transport, "{word}");
        }
    }
}
