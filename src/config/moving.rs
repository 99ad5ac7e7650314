//! Moving: takes the servers of a client out of its file and adds them to ours. The values of secrets stay in the client's file, as
//! variables of the gateway's entry, so that ours holds none and the servers start as before.

use std::path::{Path, PathBuf};

use jsonc_parser::cst::{CstInputValue, CstObject};
use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, Item, Table};

use super::{
    env_file,
    error::ConfigError,
    export::{broken, user_text},
    import::{FoundImport, read_entry},
    install::{ENTRY, InstallPlaces, document, json_object, parse},
    secret_variables::{SecretVariable, import_texts},
};

/// Where the servers of a client are moved to.
#[derive(Clone, Copy, Debug)]
pub struct MoveTo<'a> {
    /// Our own configuration file.
    pub file: &'a Path,
    /// The current folder.
    pub cwd: &'a Path,
}

/// An entry that was taken out of a client's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedEntry {
    /// Its name in the client's file.
    pub name: String,
    /// The entry as it was written: a JSON value, or a TOML document with its table only.
    pub entry: String,
}

/// An entry that stays in the client's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StayingEntry {
    /// Its name.
    pub name: String,
    /// Why it stays, in one line.
    pub why: String,
}

/// A change of our own file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnChange {
    /// The file.
    pub file: PathBuf,
    /// Its text before; `None` if it did not exist.
    pub before: Option<String>,
    /// Its text afterwards; `None` if it is removed.
    pub after: Option<String>,
    /// The servers that are added.
    pub added: Vec<String>,
}

/// What is moved, and both texts afterwards.
pub(super) struct Moved {
    /// The client's text without the entries.
    pub client_text: String,
    pub own: OwnChange,
    pub entries: Vec<MovedEntry>,
    pub staying: Vec<StayingEntry>,
    /// The variables in place of secret values.
    pub variables: Vec<SecretVariable>,
}

/// Moves the entries of a client's text at `path`.
pub(super) fn take(
    file: &Path,
    text: &str,
    path: &[&str],
    is_toml: bool,
    places: InstallPlaces<'_>,
    to: MoveTo<'_>,
) -> Result<Moved, ConfigError> {
    let before = user_text(to.file)?;
    let mut taker = Taker { file, places, to, import: None, entries: vec![], staying: vec![] };
    let client_text = if is_toml { taker.take_toml(text, path[0])? } else { taker.take_json(text, path)? };
    let Taker { import, entries, staying, .. } = taker;
    let texts = import_texts(import.as_slice(), before.as_deref(), false)?;
    let after = if texts.added > 0 { Some(texts.with_variables) } else { before.clone() };
    let known = names(before.as_deref().unwrap_or_default())?;
    let added = names(after.as_deref().unwrap_or_default())?.into_iter().filter(|name| !known.contains(name)).collect();
    let own = OwnChange { file: to.file.to_owned(), before, after, added };
    Ok(Moved { client_text, own, entries, staying, variables: texts.variables })
}

/// Returns the names of the servers in the text of our own file.
fn names(text: &str) -> Result<Vec<String>, ConfigError> {
    let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| broken(text, &error))?;
    let servers = document.get("servers").and_then(Item::as_table_like);
    Ok(servers.map(|servers| servers.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default())
}

struct Taker<'a> {
    file: &'a Path,
    places: InstallPlaces<'a>,
    to: MoveTo<'a>,
    import: Option<FoundImport>,
    entries: Vec<MovedEntry>,
    staying: Vec<StayingEntry>,
}

impl Taker<'_> {
    fn take_json(&mut self, text: &str, path: &[&str]) -> Result<String, ConfigError> {
        if text.trim().is_empty() {
            return Ok(text.to_owned());
        }
        let root = parse(self.file, text)?;
        let Some(servers) = json_object(&root, path) else { return Ok(text.to_owned()) };
        for property in servers.properties() {
            let Some(name) = property.name().and_then(|name| name.decoded_value().ok()).filter(|name| name != ENTRY) else { continue };
            let Some(value) = property.value().map(|value| value.to_string()) else { continue };
            let inner = format!("{{{}: {value}\n}}", serde_json::Value::from(name.as_str()));
            let alone = path.iter().rev().fold(inner, |inner, key| format!("{{{}: {inner}}}", serde_json::Value::from(*key)));
            if self.takes(&name, &alone) {
                self.entries.push(MovedEntry { name, entry: value });
                property.remove();
            }
        }
        Ok(root.to_string())
    }

    fn take_toml(&mut self, text: &str, key: &str) -> Result<String, ConfigError> {
        let mut whole = document(self.file, text)?;
        let Some(servers) = whole.get_mut(key).and_then(Item::as_table_like_mut) else { return Ok(text.to_owned()) };
        let all: Vec<String> = servers.iter().map(|(name, _)| name.to_owned()).filter(|name| name != ENTRY).collect();
        for name in all {
            let Some(item) = servers.get(&name) else { continue };
            let alone = toml_entry(key, &name, item.clone());
            if self.takes(&name, &alone) {
                servers.remove(&name);
                self.entries.push(MovedEntry { name, entry: alone });
            }
        }
        Ok(whole.to_string())
    }

    /// Returns whether an entry can be moved, and remembers its server or why it stays. `alone` is the text of a file with this entry
    /// only.
    fn takes(&mut self, name: &str, alone: &str) -> bool {
        let found = read_entry(self.file, alone, Some(self.places.home), self.to.cwd, self.places.env);
        let mut found = match found {
            Ok(found) => found,
            Err(errors) => return self.stays(name, errors.first().map_or("it cannot be read", |error| error.message.as_str())),
        };
        let (Some(mut import), true) = (found.pop(), found.is_empty()) else { return self.stays(name, "it is read as several clients'") };
        let (Some(spec), true) = (import.servers.pop(), import.servers.is_empty()) else {
            let why = import.problems.first().map_or("it has no command and no URL", |error| error.message.as_str());
            return self.stays(name, why);
        };
        if env_file::of_server(&spec).is_some() {
            return self.stays(name, "its variables come from a file, which our format does not have");
        }
        match &mut self.import {
            Some(all) => all.servers.push(spec),
            None => self.import = Some(FoundImport { servers: vec![spec], ..import }),
        }
        true
    }

    fn stays(&mut self, name: &str, why: &str) -> bool {
        self.staying.push(StayingEntry { name: name.to_owned(), why: why.to_owned() });
        false
    }
}

/// Returns a TOML document with one entry.
fn toml_entry(key: &str, name: &str, item: Item) -> String {
    let mut servers = Table::new();
    servers.set_implicit(true);
    servers.insert(name, item);
    let mut document = DocumentMut::new();
    document.insert(key, Item::Table(servers));
    document.to_string()
}

/// Puts entries back into a client's text that has changed since. One whose name is taken is left out.
pub(super) fn put_back(file: &Path, text: &str, path: &[&str], is_toml: bool, entries: &[MovedEntry]) -> Result<String, ConfigError> {
    if is_toml {
        let mut whole = document(file, text)?;
        for MovedEntry { name, entry } in entries {
            let mut alone = document(file, entry)?;
            let item = alone.get_mut(path[0]).and_then(Item::as_table_like_mut).and_then(|servers| servers.remove(name));
            let servers = whole.entry(path[0]).or_insert_with(|| Item::Table(Table::new())).as_table_like_mut();
            if let (Some(item), Some(servers)) = (item, servers)
                && !servers.contains_key(name)
            {
                servers.insert(name, item);
            }
        }
        return Ok(whole.to_string());
    }
    let root = parse(file, text)?;
    let mut servers = root.object_value_or_create();
    for key in path {
        servers = servers.and_then(|servers| servers.object_value_or_create(key));
    }
    let Some(servers) = servers else { return Ok(text.to_owned()) };
    for MovedEntry { name, entry } in entries {
        let value = parse(file, entry)?.value().and_then(|value| value.to_serde_value());
        if let Some(value) = value.filter(|_| !has(&servers, name)) {
            servers.append(name, input(&value));
        }
    }
    Ok(root.to_string())
}

fn has(servers: &CstObject, name: &str) -> bool {
    servers.get(name).is_some()
}

fn input(value: &serde_json::Value) -> CstInputValue {
    match value {
        serde_json::Value::Null => CstInputValue::Null,
        serde_json::Value::Bool(is) => CstInputValue::Bool(*is),
        serde_json::Value::Number(number) => CstInputValue::Number(number.to_string()),
        serde_json::Value::String(text) => CstInputValue::String(text.clone()),
        serde_json::Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        serde_json::Value::Object(members) => {
            CstInputValue::Object(members.iter().map(|(name, value)| (name.clone(), input(value))).collect())
        }
    }
}

/// Removes servers from the text of our own file, which has changed since they were added.
pub(super) fn remove(text: &str, added: &[String]) -> Result<String, ConfigError> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| broken(text, &error))?;
    if let Some(servers) = document.get_mut("servers").and_then(Item::as_table_like_mut) {
        added.iter().for_each(|name| drop(servers.remove(name)));
    }
    Ok(document.to_string())
}
