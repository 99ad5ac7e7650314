//! Installation into other clients: the entry of the gateway in a client's file, and its removal. Comments, order and layout of the file are
//! preserved. A record in the state folder holds the file as it was, so that undoing restores it byte by byte.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstObject, CstRootNode},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, value};

use super::{
    error::ConfigError,
    export::{user_text, write_config},
    kinds::{self, KindId},
    moving::{self, MoveTo, Moved, MovedEntry, OwnChange, StayingEntry},
    private::{self, Links},
    text::Env,
};
use crate::{
    domain::secret::Secret,
    files::{self, Allowed},
};

/// The name of the entry.
pub const ENTRY: &str = "switchboard";
/// Largest file of a client, in bytes.
const LARGEST: u64 = 64 << 20;

/// How a client describes a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// `command` and `args`.
    Plain,
    /// The same with `type: "stdio"`.
    Typed,
    /// `type: "local"` with the whole command line in `command`.
    Local,
    /// `command` and `args` in TOML.
    Toml,
}

/// A client that the gateway can be installed into.
#[derive(Debug)]
struct Target {
    /// The name on the command line.
    name: &'static str,
    kind: KindId,
    /// The kind of the files in projects, if it is another one.
    project_kind: KindId,
    /// The keys that lead to the servers.
    path: &'static [&'static str],
    shape: Shape,
}

const fn target(name: &'static str, kind: KindId, path: &'static [&'static str], shape: Shape) -> Target {
    Target { name, kind, project_kind: kind, path, shape }
}

const SERVERS: &[&str] = &["mcpServers"];

const TARGETS: &[Target] = &[
    target("claude-desktop", KindId::ClaudeDesktop, SERVERS, Shape::Plain),
    Target { project_kind: KindId::ClaudeProject, ..target("claude-code", KindId::ClaudeCode, SERVERS, Shape::Typed) },
    target("cursor", KindId::Cursor, SERVERS, Shape::Plain),
    target("vscode", KindId::VsCode, &["servers"], Shape::Typed),
    target("zed", KindId::Zed, &["context_servers"], Shape::Plain),
    target("codex", KindId::Codex, &["mcp_servers"], Shape::Toml),
    target("gemini", KindId::Gemini, SERVERS, Shape::Plain),
    target("qwen", KindId::Qwen, SERVERS, Shape::Plain),
    target("opencode", KindId::OpenCode, &["mcp"], Shape::Local),
    target("crush", KindId::Crush, &["mcp"], Shape::Typed),
    target("windsurf", KindId::Windsurf, SERVERS, Shape::Plain),
    target("kiro", KindId::Kiro, SERVERS, Shape::Plain),
    target("junie", KindId::Junie, SERVERS, Shape::Plain),
    target("lm-studio", KindId::LmStudio, SERVERS, Shape::Plain),
    target("factory", KindId::Factory, SERVERS, Shape::Typed),
    target("trae", KindId::Trae, SERVERS, Shape::Plain),
    target("warp", KindId::Warp, SERVERS, Shape::Plain),
    target("cline", KindId::Cline, SERVERS, Shape::Plain),
    target("roo", KindId::Roo, SERVERS, Shape::Plain),
];

/// Returns the clients that the gateway can be installed into, by their names on the command line.
pub fn install_targets() -> impl Iterator<Item = &'static str> {
    TARGETS.iter().map(|target| target.name)
}

/// Where clients and records are.
#[derive(Clone, Copy, Debug)]
pub struct InstallPlaces<'a> {
    /// The user's home.
    pub home: &'a Path,
    /// The variables that move the files of clients.
    pub env: &'a Env,
    /// The project whose file is edited instead of the user's.
    pub project: Option<&'a Path>,
    /// The state folder, with the records.
    pub state: &'a Path,
}

/// The outcome of an installation for a client's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallEffect {
    /// The entry is added.
    Added,
    /// An entry of the same name is replaced.
    Replaced,
    /// The entry is there already.
    Unchanged,
    /// The entry is removed, since the file has changed after the installation.
    Removed,
    /// The file is restored as it was before the installation, or removed if it did not exist.
    Restored,
}

/// A planned change of a client's file.
#[derive(Clone, Debug)]
pub struct InstallPlan {
    /// The client.
    pub client: &'static str,
    /// Its file.
    pub file: PathBuf,
    /// The keys that lead to the entry.
    pub key: String,
    /// The entry as it is written.
    pub entry: String,
    /// The outcome for the file.
    pub effect: InstallEffect,
    /// The entries that are moved into our own file, or back.
    pub moved: Vec<MovedEntry>,
    /// The entries that stay in the client's file.
    pub staying: Vec<StayingEntry>,
    /// The change of our own file.
    pub own: Option<OwnChange>,
    /// The secret values that the client's file holds.
    pub secrets: Vec<Secret>,
    before: Option<String>,
    after: Option<String>,
    record: PathBuf,
}

/// The file of a client before an installation.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    file: PathBuf,
    before: Option<String>,
    /// SHA-256 of the text that was written.
    written: String,
    /// The entries that were moved into our own file.
    #[serde(default)]
    moved: Vec<MovedEntry>,
    /// What was done to our own file.
    #[serde(default)]
    own: Option<OwnRecord>,
}

/// Our own file before servers were moved into it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OwnRecord {
    file: PathBuf,
    before: Option<String>,
    /// SHA-256 of the text that was written.
    written: String,
    /// The servers that were added.
    added: Vec<String>,
}

/// The text of a file before and after a change; empty for a file that does not exist.
#[derive(Clone, Copy, Debug)]
pub struct FileChange<'a> {
    /// The file.
    pub file: &'a Path,
    /// Its text before.
    pub before: &'a str,
    /// Its text afterwards.
    pub after: &'a str,
}

/// Plans the installation of a command line into a client, whose own servers are moved into our file on request.
pub fn plan_install(
    name: &str,
    places: InstallPlaces<'_>,
    line: &[String],
    move_to: Option<MoveTo<'_>>,
) -> Result<InstallPlan, ConfigError> {
    let target = find(name)?;
    let mut plan = prepare(target, places)?;
    let before = plan.before.clone().unwrap_or_default();
    let mut text = before.clone();
    let mut variables = vec![];
    if let Some(to) = move_to {
        let is_toml = target.shape == Shape::Toml;
        let Moved { client_text, own, entries, staying, variables: of_secrets } =
            moving::take(&plan.file, &text, target.path, is_toml, places, to)?;
        text = client_text;
        variables = of_secrets.iter().map(|variable| (variable.name.clone(), variable.value.expose().to_owned())).collect();
        plan.secrets = of_secrets.into_iter().map(|variable| variable.value).collect();
        (plan.moved, plan.staying, plan.own) = (entries, staying, Some(own));
    }
    let (after, entry, was) = match target.shape {
        Shape::Toml => toml_with(&plan.file, &text, target.path[0], line, &variables)?,
        shape => json_with(&plan.file, &text, target.path, (shape, line), &variables)?,
    };
    plan.entry = outdented(&entry);
    plan.effect = match was {
        _ if after == before && plan.own.as_ref().is_none_or(|own| own.before == own.after) => InstallEffect::Unchanged,
        true => InstallEffect::Replaced,
        false => InstallEffect::Added,
    };
    plan.after = Some(after);
    Ok(plan)
}

/// Plans the removal of what was installed into a client.
pub fn plan_undo(name: &str, places: InstallPlaces<'_>) -> Result<InstallPlan, ConfigError> {
    let target = find(name)?;
    let mut plan = prepare(target, places)?;
    let record = private::read(&plan.record).ok().flatten().and_then(|text| serde_json::from_str::<Record>(&text).ok());
    let record = record.filter(|record| record.file == plan.file);
    let text = plan.before.clone().unwrap_or_default();
    plan.secrets = environment(target, &plan.file, &text);
    plan.own = record.as_ref().and_then(|record| record.own.as_ref()).map(undo_own).transpose()?;
    plan.moved = record.as_ref().map(|record| record.moved.clone()).unwrap_or_default();
    match record {
        Some(record) if record.written == digest(&text) => {
            plan.effect = InstallEffect::Restored;
            plan.after = record.before;
        }
        _ => {
            let (mut after, removed) = match target.shape {
                Shape::Toml => toml_without(&plan.file, &text, target.path[0])?,
                _ => json_without(&plan.file, &text, target.path)?,
            };
            if !plan.moved.is_empty() {
                after = moving::put_back(&plan.file, &after, target.path, target.shape == Shape::Toml, &plan.moved)?;
            }
            plan.after = Some(after);
            let changes = removed || !plan.changes().is_empty();
            plan.effect = if changes { InstallEffect::Removed } else { InstallEffect::Unchanged };
        }
    }
    Ok(plan)
}

/// Returns the values in the environment of the entry: secrets of servers that were moved.
fn environment(target: &Target, file: &Path, text: &str) -> Vec<Secret> {
    let key = target.shape.environment();
    match target.shape {
        Shape::Toml => {
            let document = document(file, text).ok();
            let values = document.as_ref().and_then(|whole| whole.get(target.path[0])?.get(ENTRY)?.get(key)?.as_table_like());
            values.into_iter().flat_map(TableLike::iter).filter_map(|(_, value)| Some(Secret::literal(value.as_str()?))).collect()
        }
        _ => {
            let entry = parse(file, text).ok().and_then(|root| json_object(&root, target.path)?.get(ENTRY)?.value()?.to_serde_value());
            let values = entry.as_ref().and_then(|entry| entry.get(key)?.as_object());
            values.into_iter().flatten().filter_map(|(_, value)| Some(Secret::literal(value.as_str()?))).collect()
        }
    }
}

/// Plans how our own file loses what was added to it: it is restored, unless it has changed since.
fn undo_own(record: &OwnRecord) -> Result<OwnChange, ConfigError> {
    let before = user_text(&record.file)?;
    let text = before.clone().unwrap_or_default();
    let after = match record.written == digest(&text) {
        true => record.before.clone(),
        false => Some(moving::remove(&text, &record.added)?),
    };
    Ok(OwnChange { file: record.file.clone(), before, after, added: vec![] })
}

impl InstallPlan {
    /// Returns the changes of both files.
    pub fn changes(&self) -> Vec<FileChange<'_>> {
        let own = self.own.iter().map(|own| (own.file.as_path(), &own.before, &own.after));
        let both = own.chain([(self.file.as_path(), &self.before, &self.after)]);
        let change = both.map(|(file, before, after)| FileChange {
            file,
            before: before.as_deref().unwrap_or_default(),
            after: after.as_deref().unwrap_or_default(),
        });
        change.filter(|change| change.before != change.after).collect()
    }

    /// Returns the whole text of the file after the change; `None` if it is removed.
    pub fn text(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Makes the change. An installation records the file as it was first; undoing removes the record last.
    pub fn apply(&self) -> Result<(), ConfigError> {
        let failed = |path: &Path, error: io::Error| ConfigError::new(format!("{} cannot be written: {error}", path.display()));
        let changed = |file: &Path| {
            let message = format!("{} has changed meanwhile, so nothing was written", file.display());
            ConfigError::new(message).hint("run the command again")
        };
        if read(&self.file)? != self.before {
            return Err(changed(&self.file));
        }
        if let Some(own) = self.own.as_ref().filter(|own| own.before != own.after)
            && user_text(&own.file)? != own.before
        {
            return Err(changed(&own.file));
        }
        let undo = matches!(self.effect, InstallEffect::Removed | InstallEffect::Restored);
        if !undo && self.effect != InstallEffect::Unchanged {
            self.record_before().map_err(|error| failed(&self.record, error))?;
        }
        // The servers are in one of both files at any moment.
        if !undo {
            self.write_own()?;
        }
        match &self.after {
            Some(text) => {
                let folder = self.file.parent().unwrap_or(Path::new("/"));
                fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
                private::write(&self.file, text, Links::Follow).map_err(|error| failed(&self.file, error))?;
            }
            None => fs::remove_file(&self.file).map_err(|error| failed(&self.file, error))?,
        }
        if undo {
            self.write_own()?;
        }
        if undo {
            // A record that is left only belongs to a text that is there no more.
            let _ = fs::remove_file(&self.record);
        }
        Ok(())
    }

    fn write_own(&self) -> Result<(), ConfigError> {
        let Some(own) = self.own.as_ref().filter(|own| own.before != own.after) else { return Ok(()) };
        match &own.after {
            Some(text) => write_config(&own.file, text),
            None => {
                fs::remove_file(&own.file).map_err(|error| ConfigError::new(format!("{} cannot be removed: {error}", own.file.display())))
            }
        }
    }

    fn record_before(&self) -> io::Result<()> {
        let earlier = private::read(&self.record)?.and_then(|text| serde_json::from_str::<Record>(&text).ok());
        let found = self.before.as_deref().map(digest);
        // A second installation: undoing it restores what was before the first.
        let earlier = earlier.filter(|earlier| Some(&earlier.written) == found.as_ref());
        let of_text = |text: &Option<String>| digest(text.as_deref().unwrap_or_default());
        let mut moved = earlier.as_ref().map(|earlier| earlier.moved.clone()).unwrap_or_default();
        moved.extend(self.moved.iter().cloned());
        let before_own = earlier.as_ref().and_then(|earlier| earlier.own.clone());
        let own = match (&self.own, before_own) {
            (None, before) => before,
            (Some(own), before) => {
                let same = before.filter(|before| before.file == own.file && before.written == of_text(&own.before));
                let (first, mut added) = same.map_or_else(|| (own.before.clone(), vec![]), |before| (before.before, before.added));
                added.extend(own.added.iter().cloned());
                Some(OwnRecord { file: own.file.clone(), before: first, written: of_text(&own.after), added })
            }
        };
        let before = earlier.map_or_else(|| self.before.clone(), |earlier| earlier.before);
        let record = Record { file: self.file.clone(), before, written: of_text(&self.after), moved, own };
        private::folder(self.record.parent().unwrap_or(Path::new("/")))?;
        private::write(&self.record, &serde_json::to_string(&record)?, Links::Refuse)
    }
}

fn find(name: &str) -> Result<&'static Target, ConfigError> {
    TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
        let known: Vec<&str> = install_targets().collect();
        ConfigError::new(format!("no client is named {name:?}")).hint(format!("one of {}", known.join(", ")))
    })
}

/// Finds the file of a client and reads it: the first of its places that exists, else the first.
fn prepare(target: &Target, places: InstallPlaces<'_>) -> Result<InstallPlan, ConfigError> {
    let found: Vec<(&'static str, PathBuf)> = match places.project {
        Some(project) => {
            let of = kinds::project_places().filter(|(kind, ..)| kind.id == target.project_kind);
            of.map(|(_, client, path)| (client, project.join(path))).collect()
        }
        None => {
            let located = kinds::user_places(places.home, places.env).into_iter();
            // A folder of macOS only if it is there.
            let usable = |path: &Path| !path.starts_with(places.home.join("Library")) || places.home.join("Library").is_dir();
            located.filter(|at| at.kind.id == target.kind && usable(&at.path)).map(|at| (at.client, at.path)).collect()
        }
    };
    let first = found.iter().find(|(_, path)| path.is_file()).or(found.first()).cloned();
    let Some((client, file)) = first else {
        return Err(ConfigError::new(format!("{} has no file in projects", target.name)).hint("leave out --project"));
    };
    let record = places.state.join("installed").join(format!("{}-{}.json", target.name, &digest(&file.to_string_lossy())[..12]));
    let before = read(&file)?;
    let key = [target.path, &[ENTRY]].concat().join(".");
    Ok(InstallPlan {
        client,
        file,
        key,
        entry: String::new(),
        effect: InstallEffect::Unchanged,
        moved: vec![],
        staying: vec![],
        own: None,
        secrets: vec![],
        after: before.clone(),
        before,
        record,
    })
}

fn read(file: &Path) -> Result<Option<String>, ConfigError> {
    if fs::symlink_metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let text = files::read_text(file, Allowed { bytes: LARGEST, within: None });
    text.map(Some).map_err(|why| ConfigError::new(format!("{} {why}", file.display())))
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn broken(file: &Path, why: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(format!("{} cannot be edited: {why}", file.display())).hint("correct the file, or use --print and add the entry to it")
}

/// Variables of the environment with their values.
type Variables = [(String, String)];

fn json_entry(shape: Shape, line: &[String], variables: &Variables) -> CstInputValue {
    let text = |text: &str| CstInputValue::String(text.to_owned());
    let list = |words: &[String]| CstInputValue::Array(words.iter().map(|word| text(word)).collect());
    let (command, args) = line.split_first().map_or(("", line), |(command, args)| (command.as_str(), args));
    let plain = [("command".to_owned(), text(command)), ("args".to_owned(), list(args))];
    let environment = variables.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let environment = (!variables.is_empty()).then(|| (shape.environment().to_owned(), CstInputValue::Object(environment)));
    let members: Vec<(String, CstInputValue)> = match shape {
        Shape::Local => {
            vec![("type".to_owned(), text("local")), ("command".to_owned(), list(line)), ("enabled".to_owned(), CstInputValue::Bool(true))]
        }
        Shape::Typed => [("type".to_owned(), text("stdio"))].into_iter().chain(plain).collect(),
        Shape::Plain | Shape::Toml => plain.into(),
    };
    CstInputValue::Object(members.into_iter().chain(environment).collect())
}

impl Shape {
    /// Returns the key of the variables of the environment.
    fn environment(self) -> &'static str {
        if self == Shape::Local { "environment" } else { "env" }
    }
}

/// Parses a file of a client, an empty one as an object.
pub(super) fn parse(file: &Path, text: &str) -> Result<CstRootNode, ConfigError> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    CstRootNode::parse(text, &ParseOptions::default()).map_err(|error| broken(file, error))
}

/// Returns the text with the entry, the entry, and whether one was there before.
fn json_with(
    file: &Path,
    text: &str,
    path: &[&str],
    (shape, line): (Shape, &[String]),
    variables: &Variables,
) -> Result<(String, String, bool), ConfigError> {
    let root = parse(file, text)?;
    let mut servers = root.object_value_or_create().ok_or_else(|| broken(file, "it has no JSON object"))?;
    for key in path {
        servers = servers.object_value_or_create(key).ok_or_else(|| broken(file, format!("`{key}` is not an object")))?;
    }
    let old = servers.get(ENTRY);
    let was = old.is_some();
    let old_value = old.as_ref().and_then(|old| old.value()).and_then(|old| old.to_serde_value());
    // An entry of an earlier installation keeps the variables of the servers that were moved then.
    let known = old_value.as_ref().and_then(|old| old.get(shape.environment())).and_then(|known| known.as_object());
    let known = known.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let entry = &json_entry(shape, line, &merged(known, variables));
    let same = old_value == Some(plain(entry));
    let written = match old {
        Some(old) => {
            if !same {
                old.set_value(entry.clone());
            }
            old
        }
        None => servers.append(ENTRY, entry.clone()),
    };
    Ok((root.to_string(), written.to_string(), was))
}

/// Returns variables, those of `more` last and with their values.
fn merged(known: impl Iterator<Item = (String, String)>, more: &Variables) -> Vec<(String, String)> {
    let is_new = |(name, _): &(String, String)| more.iter().all(|(other, _)| other != name);
    known.filter(is_new).chain(more.iter().cloned()).collect()
}

/// Returns the object at these keys.
pub(super) fn json_object(root: &CstRootNode, path: &[&str]) -> Option<CstObject> {
    path.iter().try_fold(root.object_value()?, |servers, key| servers.object_value(key))
}

/// Returns the text without the entry, and whether it was there.
fn json_without(file: &Path, text: &str, path: &[&str]) -> Result<(String, bool), ConfigError> {
    if text.trim().is_empty() {
        return Ok((text.to_owned(), false));
    }
    let root = parse(file, text)?;
    let Some(entry) = json_object(&root, path).and_then(|servers| servers.get(ENTRY)) else { return Ok((text.to_owned(), false)) };
    entry.remove();
    Ok((root.to_string(), true))
}

fn plain(entry: &CstInputValue) -> serde_json::Value {
    match entry {
        CstInputValue::Null => serde_json::Value::Null,
        CstInputValue::Bool(is) => (*is).into(),
        CstInputValue::Number(text) => serde_json::from_str(text).unwrap_or_default(),
        CstInputValue::String(text) => text.as_str().into(),
        CstInputValue::Array(items) => items.iter().map(plain).collect(),
        CstInputValue::Object(members) => members.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
    }
}

/// Returns a text whose first line is not indented, with its other lines as little indented as their least indented one.
fn outdented(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let least = text.lines().skip(1).filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    let rest = text.lines().skip(1).map(|line| line.get(least..).unwrap_or_default());
    text.lines().take(1).chain(rest).collect::<Vec<_>>().join("\n")
}

pub(super) fn document(file: &Path, text: &str) -> Result<DocumentMut, ConfigError> {
    text.parse().map_err(|error: toml_edit::TomlError| broken(file, error.message()))
}

fn toml_with(file: &Path, text: &str, key: &str, line: &[String], variables: &Variables) -> Result<(String, String, bool), ConfigError> {
    let mut document = document(file, text)?;
    let servers = document.entry(key).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let servers = servers.as_table_like_mut().ok_or_else(|| broken(file, format!("`{key}` is not a table")))?;
    let (command, args) = line.split_first().map_or(("", line), |(command, args)| (command.as_str(), args));
    let mut entry = Table::new();
    entry["command"] = value(command);
    entry["args"] = value(args.iter().collect::<Array>());
    let known = servers.get(ENTRY).and_then(|old| old.get(Shape::Toml.environment())).and_then(Item::as_table_like);
    let known = known.into_iter().flat_map(TableLike::iter).filter_map(|(name, value)| Some((name.to_owned(), value.as_str()?.to_owned())));
    let variables = merged(known, variables);
    if !variables.is_empty() {
        entry[Shape::Toml.environment()] = value(variables.into_iter().collect::<InlineTable>());
    }
    let shown = format!("[{key}.{ENTRY}]\n{entry}");
    let was = servers.contains_key(ENTRY);
    let same = servers.get(ENTRY).and_then(Item::as_table).is_some_and(|old| old.to_string().trim() == entry.to_string().trim());
    if !same {
        servers.insert(ENTRY, Item::Table(entry));
    }
    Ok((document.to_string(), shown, was))
}

fn toml_without(file: &Path, text: &str, key: &str) -> Result<(String, bool), ConfigError> {
    let mut document = document(file, text)?;
    let removed = document.get_mut(key).and_then(Item::as_table_like_mut).and_then(|servers| servers.remove(ENTRY));
    Ok((document.to_string(), removed.is_some()))
}

#[cfg(test)]
mod tests;
