//! What is wrong with a configuration, and where.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    config_fault::ConfigFault,
    event::{Notice, NoticeLevel},
    lossy_path,
    text::visible,
};

/// Something wrong in a configuration file, in words that hold no configured value.
///
/// Displayed as one block: place, what is wrong, what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// The file; absent for servers given on the command line.
    #[serde(with = "lossy_path::optional")]
    pub file: Option<PathBuf>,
    /// Line in the file, counted from 1.
    pub line: Option<u32>,
    /// Column in characters, counted from 1.
    pub column: Option<u32>,
    /// The server whose table it is.
    pub server: Option<Box<str>>,
    /// The key, with the tables around it: `timeouts.connect`.
    pub key: Option<Box<str>>,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<Box<str>>,
    /// Whether the error makes something unusable: `server`, of whose specification it is then one of the faults, or without one
    /// a setting or an entry of one of our own files outside of the tables of servers.
    #[serde(default)]
    pub unusable: bool,
}

impl ConfigError {
    /// An error of which only the message is known.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// The error with a place.
    pub fn in_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Returns whether the error costs a setting or an entry outside of the tables of servers.
    pub fn loses_entry(&self) -> bool {
        self.unusable && self.server.is_none()
    }

    /// Returns the error as a fault of its server.
    pub fn fault(&self) -> ConfigFault {
        let ConfigError { file, line, column, key, message, hint, .. } = self.clone();
        ConfigFault { file, line, column, key, message, hint }
    }

    /// The error with a way out.
    pub fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error with the server that it is about.
    pub fn of_server(mut self, server: impl Into<Box<str>>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Returns the notice of an error that makes only a part of the configuration unusable.
    pub fn warning(&self) -> Notice {
        let text = self.to_string();
        let mut lines = text.lines().map(str::to_owned);
        Notice { level: NoticeLevel::Warn, text: lines.next().unwrap_or_default(), detail: lines.collect() }
    }

    /// Returns the notice of an error that prevents a new configuration.
    pub fn rejected(&self) -> Notice {
        let mut notice = Notice { level: NoticeLevel::Error, ..self.warning() };
        notice.detail.push("the previous configuration remains active".into());
        notice
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(&visible(&file.to_string_lossy()))?;
            for number in [self.line, self.column].into_iter().flatten() {
                write!(f, ":{number}")?;
            }
            f.write_str(": ")?;
        }
        if let Some(server) = &self.server {
            write!(f, "server `{}`: ", visible(server))?;
        }
        if let Some(key) = &self.key {
            write!(f, "`{}`: ", visible(key))?;
        }
        f.write_str(&visible(&self.message))?;
        match &self.hint {
            Some(hint) => write!(f, "\n  try: {}", visible(hint)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_readable_block_without_control_characters() {
        let error = ConfigError {
            file: Some("/etc/a.toml".into()),
            line: Some(3),
            column: Some(7),
            server: Some("gi\x1bt".into()),
            key: Some("comand".into()),
            message: "unknown key".into(),
            hint: Some("did you mean `command`?".into()),
            unusable: true,
        };
        let shown = "/etc/a.toml:3:7: server `gi\\x1bt`: `comand`: unknown key\n  try: did you mean `command`?";
        assert_eq!(error.to_string(), shown);
        assert_eq!(ConfigError::new("x").to_string(), "x");
    }
}
