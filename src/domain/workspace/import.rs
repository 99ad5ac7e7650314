//! The import of servers from the configurations of other MCP clients: what was found, and what it becomes.

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::domain::{lossy_path, secret::Secret, server::ServerSpec};

/// A configuration of another MCP client, found on this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FoundConfig {
    /// The name of the client.
    pub client: String,
    /// The file's path for display.
    pub path: String,
    /// How many servers the file describes.
    pub servers: usize,
    /// How many of them are configured already, under any name.
    pub used: usize,
    /// The exact commands and URLs of the servers.
    pub lines: Vec<String>,
    /// Parts of the file that could not be read.
    pub problems: Vec<String>,
}

impl FoundConfig {
    /// Returns whether all servers of the file are configured already.
    pub fn in_use(&self) -> bool {
        self.servers > 0 && self.used >= self.servers
    }
}

/// The ways to add servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WelcomeState {
    /// The configurations that were found.
    pub found: Vec<FoundConfig>,
    /// The user's configuration file, to which imported servers are written.
    pub target: String,
    /// Whether servers are configured already.
    pub more: bool,
    /// Whether the demo is running.
    pub demo: bool,
}

/// A way to add servers, as chosen by the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// Import the configuration at this index of [`WelcomeState::found`].
    Import(usize),
    /// Start the demo.
    Demo,
    /// Open this file, URL or command.
    Open(String),
}

/// One file of another client, for `import`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportSource {
    /// The client: `Claude Desktop`, `VS Code` …
    pub client: String,
    /// The file.
    #[serde(with = "lossy_path")]
    pub path: PathBuf,
    /// Whether it belongs to a project, so that its servers are imported only with `--project`.
    pub project: bool,
    /// The servers in it.
    pub servers: Vec<Arc<ServerSpec>>,
    /// Complete description of what they would start or contact.
    pub lines: Vec<String>,
    /// Errors in the file.
    pub problems: Vec<ImportProblem>,
    /// Whether the file could not be read, so that servers in it may be missing.
    pub unreadable: bool,
}

/// An error in a file, or in one entry of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportProblem {
    /// The entry.
    pub server: Option<String>,
    /// Line in the file, from 1.
    pub line: Option<u32>,
    /// What is wrong, with its key.
    pub message: String,
    /// What to do about it.
    #[serde(default, rename = "try", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the entry cannot be used.
    pub unusable: bool,
}

/// A variable in place of a secret value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportVariable {
    /// Its name.
    pub name: String,
    /// The server whose value it is.
    pub server: String,
    /// The key of the value in the server's entry.
    pub key: String,
    /// The value; masked, unless the user wants to see it.
    #[serde(skip)]
    pub value: String,
}

/// The imported servers as Switchboard's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportedConfig {
    /// With the secret values, or with masks in their place if it is only printed. A mask when serialised.
    pub with_values: Secret,
    /// With variables in place of the secret values.
    pub with_variables: String,
    /// With entries of the keyring in place of the secret values; `None` if the engine cannot use a keyring.
    pub with_keyring: Option<String>,
    /// These variables.
    pub variables: Vec<ImportVariable>,
    /// Number of new servers.
    pub added: usize,
}

/// Where secret values are written when servers are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretTarget {
    /// Into the configuration file.
    File,
    /// Nowhere: the file has variables in their place.
    Variables,
    /// Into the keyring of the desktop: the file has its entries in their place.
    Keyring,
}

/// What `import` found, and the configuration made of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImportPlan {
    /// The files that exist.
    pub sources: Vec<ImportSource>,
    /// The places that were searched: client and file. Empty if the files were named.
    pub searched: Vec<(String, String)>,
    /// The imported servers.
    pub toml: ImportedConfig,
    /// Whether servers of the project's files are imported too.
    pub project: bool,
    /// Whether secret values are masked where they are printed.
    pub masked: bool,
}

/// Which values `import` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretDisplay {
    /// Secret values are masked.
    Masked,
    /// Secret values are shown.
    Shown,
}
