//! Serialisation of paths as text, in which bytes that are not UTF-8 are replaced.
//!
//! `serde` fails for such paths, and one of them must not prevent a message that shows it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serializer};

/// Serialises a path.
pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Deserialises a path.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    PathBuf::deserialize(deserializer)
}

/// The same for paths that may be absent.
pub mod optional {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Serialises a path, if there is one.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => serializer.serialize_some(&*path.to_string_lossy()),
            None => serializer.serialize_none(),
        }
    }

    /// Deserialises a path, if there is one.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Option::deserialize(deserializer)
    }
}
