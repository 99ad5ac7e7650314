//! Inputs of configuration files: values that another client's file asks its user for, such as the `inputs` of VS Code.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{lossy_path, secret::MASK};

/// An input that servers of the configuration use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigInput {
    /// The file that asks for it.
    #[serde(with = "lossy_path")]
    pub file: PathBuf,
    /// Its id, unique in the file.
    pub id: String,
    /// What it is, by the file.
    pub description: Option<String>,
    /// The value that the file proposes.
    pub default: Option<String>,
    /// The values to choose from; any text if empty.
    pub options: Vec<InputOption>,
    /// Whether the value is masked while it is typed.
    pub password: bool,
    /// The servers that use it.
    pub servers: Vec<String>,
    /// Where its value comes from.
    pub state: InputState,
}

/// A value to choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputOption {
    /// The value.
    pub value: String,
    /// The label of the value in the client.
    pub label: Option<String>,
}

/// Where the value of an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputState {
    /// It has none, so its servers are not started.
    Missing,
    /// The default of the file.
    Default,
    /// The user: on the command line, in this session or an earlier one.
    Given,
}

/// How long a given value is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputRetention {
    /// Until the program ends.
    #[default]
    Session,
    /// In later sessions too: stored in the state folder.
    Stored,
}

/// The value of an input. It may be a secret, so it is not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputValue(pub String);

impl fmt::Debug for InputValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl ConfigInput {
    /// Returns whether `value` is one of the values to choose from, or any text is accepted.
    pub fn accepts(&self, value: &str) -> bool {
        self.options.is_empty() || self.options.iter().any(|option| option.value == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_printed_and_one_of_the_options() {
        let option = |value: &str| InputOption { value: value.into(), label: None };
        let input = |options| ConfigInput {
            file: "f".into(),
            id: "i".into(),
            description: None,
            default: None,
            options,
            password: true,
            servers: vec![],
            state: InputState::Missing,
        };
        assert!(input(vec![]).accepts("any") && input(vec![option("a"), option("b")]).accepts("b"));
        assert!(!input(vec![option("a")]).accepts("c"));
        assert_eq!(format!("{:?}", InputValue("s3cret".into())), MASK);
        assert_eq!(serde_json::to_string(&InputValue("s3cret".into())).unwrap(), "\"s3cret\"", "the engine receives it");
    }
}
