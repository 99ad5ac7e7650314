//! The transport of a server: a command over stdio, or an HTTP endpoint.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::{lossy_path, secret::Secret};

/// The transport of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "transport", rename_all = "lowercase")]
pub enum Transport {
    /// A child process that communicates over stdin and stdout (MCP "stdio" transport).
    Stdio {
        /// The program, looked up in `PATH` if it contains no slash.
        command: String,
        /// Its arguments.
        args: Vec<Secret>,
        /// Variables added to its environment, in order.
        env: Vec<(String, Secret)>,
        /// Whether it inherits the whole environment instead of a short allow-list.
        inherit_env: bool,
        /// Its working directory; ours if absent.
        #[serde(default, with = "lossy_path::optional")]
        cwd: Option<PathBuf>,
    },
    /// MCP "Streamable HTTP" transport.
    Http {
        /// The endpoint, `http` or `https`.
        url: String,
        /// Headers sent with every request, in order.
        headers: Vec<(String, Secret)>,
        /// Path of the Unix socket for the connection, if not TCP.
        #[serde(default, with = "lossy_path::optional")]
        socket: Option<PathBuf>,
    },
}

impl Transport {
    /// Returns the transport of an entry that names neither a program nor an address.
    pub fn unknown() -> Transport {
        Transport::Stdio { command: String::new(), args: vec![], env: vec![], inherit_env: false, cwd: None }
    }

    /// Returns whether a program or an address is named.
    pub fn is_known(&self) -> bool {
        !matches!(self, Transport::Stdio { command, .. } if command.is_empty())
    }

    /// Returns `stdio` or `http`, or `-` if it is unknown.
    pub fn transport(&self) -> &'static str {
        match self {
            unknown if !unknown.is_known() => "-",
            Transport::Stdio { .. } => "stdio",
            Transport::Http { .. } => "http",
        }
    }

    /// Returns a one-line summary: the command line with unexpanded variables, or the endpoint without its query.
    pub fn summary(&self) -> String {
        match self {
            unknown if !unknown.is_known() => "-".to_owned(),
            Transport::Stdio { command, args, .. } => {
                let mut line = quote(command);
                for arg in args {
                    line.push(' ');
                    line.push_str(&quote(arg.written()));
                }
                line
            }
            Transport::Http { url, socket, .. } => {
                let shown = url.split(['?', '#']).next().unwrap_or(url);
                let (scheme, rest) = shown.split_once("://").unwrap_or(("", shown));
                let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                let host = authority.rsplit('@').next().unwrap_or_default();
                let shown = if scheme.is_empty() { shown.to_owned() } else { format!("{scheme}://{host}{path}") };
                match socket {
                    Some(path) => format!("{shown} over {}", path.display()),
                    None => shown,
                }
            }
        }
    }
}

/// Quotes a word for a POSIX shell if necessary.
pub fn quote(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(safe) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
