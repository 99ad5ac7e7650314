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
use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::{
    error::ConfigError,
    kinds::{self, KindId},
    private::{self, Links},
    text::Env,
};
use crate::files::{self, Allowed};

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
}

/// Plans the installation of a command line into a client.
pub fn plan_install(name: &str, places: InstallPlaces<'_>, line: &[String]) -> Result<InstallPlan, ConfigError> {
    let target = find(name)?;
    let mut plan = prepare(target, places)?;
    let text = plan.before.clone().unwrap_or_default();
    let (after, entry, was) = match target.shape {
        Shape::Toml => toml_with(&plan.file, &text, target.path[0], line)?,
        shape => json_with(&plan.file, &text, target.path, &json_entry(shape, line))?,
    };
    plan.entry = outdented(&entry);
    plan.effect = match was {
        _ if after == text => InstallEffect::Unchanged,
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
    let text = plan.before.clone().unwrap_or_default();
    match record {
        Some(record) if record.file == plan.file && record.written == digest(&text) => {
            plan.effect = InstallEffect::Restored;
            plan.after = record.before;
        }
        _ => {
            let (after, removed) = match target.shape {
                Shape::Toml => toml_without(&plan.file, &text, target.path[0])?,
                _ => json_without(&plan.file, &text, target.path)?,
            };
            plan.effect = if removed { InstallEffect::Removed } else { InstallEffect::Unchanged };
            plan.after = Some(after);
        }
    }
    Ok(plan)
}

impl InstallPlan {
    /// Returns the whole text of the file after the change; `None` if it is removed.
    pub fn text(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Makes the change. An installation records the file as it was first; undoing removes the record last.
    pub fn apply(&self) -> Result<(), ConfigError> {
        let failed = |path: &Path, error: io::Error| ConfigError::new(format!("{} cannot be written: {error}", path.display()));
        if read(&self.file)? != self.before {
            let hint = "run the command again";
            return Err(ConfigError::new(format!("{} has changed meanwhile, so nothing was written", self.file.display())).hint(hint));
        }
        let undo = matches!(self.effect, InstallEffect::Removed | InstallEffect::Restored);
        if !undo && self.effect != InstallEffect::Unchanged {
            self.record_before().map_err(|error| failed(&self.record, error))?;
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
            // A record that is left only belongs to a text that is there no more.
            let _ = fs::remove_file(&self.record);
        }
        Ok(())
    }

    fn record_before(&self) -> io::Result<()> {
        let earlier = private::read(&self.record)?.and_then(|text| serde_json::from_str::<Record>(&text).ok());
        let own = self.before.as_deref().map(digest);
        // A second installation: undoing it restores what was before the first.
        let before = match earlier {
            Some(earlier) if Some(&earlier.written) == own.as_ref() => earlier.before,
            _ => self.before.clone(),
        };
        let written = digest(self.after.as_deref().unwrap_or_default());
        let record = Record { file: self.file.clone(), before, written };
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
    Ok(InstallPlan { client, file, key, entry: String::new(), effect: InstallEffect::Unchanged, after: before.clone(), before, record })
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

fn json_entry(shape: Shape, line: &[String]) -> CstInputValue {
    let text = |text: &str| CstInputValue::String(text.to_owned());
    let list = |words: &[String]| CstInputValue::Array(words.iter().map(|word| text(word)).collect());
    let (command, args) = line.split_first().map_or(("", line), |(command, args)| (command.as_str(), args));
    let plain = [("command".to_owned(), text(command)), ("args".to_owned(), list(args))];
    let members = match shape {
        Shape::Local => {
            vec![("type".to_owned(), text("local")), ("command".to_owned(), list(line)), ("enabled".to_owned(), CstInputValue::Bool(true))]
        }
        Shape::Typed => [("type".to_owned(), text("stdio"))].into_iter().chain(plain).collect(),
        Shape::Plain | Shape::Toml => plain.into(),
    };
    CstInputValue::Object(members)
}

/// Parses a file of a client, an empty one as an object.
fn parse(file: &Path, text: &str) -> Result<CstRootNode, ConfigError> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    CstRootNode::parse(text, &ParseOptions::default()).map_err(|error| broken(file, error))
}

/// Returns the text with the entry, the entry, and whether one was there before.
fn json_with(file: &Path, text: &str, path: &[&str], entry: &CstInputValue) -> Result<(String, String, bool), ConfigError> {
    let root = parse(file, text)?;
    let mut servers = root.object_value_or_create().ok_or_else(|| broken(file, "it has no JSON object"))?;
    for key in path {
        servers = servers.object_value_or_create(key).ok_or_else(|| broken(file, format!("`{key}` is not an object")))?;
    }
    let old = servers.get(ENTRY);
    let was = old.is_some();
    let same = old.as_ref().and_then(|old| old.value()).is_some_and(|old| old.to_serde_value() == Some(plain(entry)));
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

/// Returns the text without the entry, and whether it was there.
fn json_without(file: &Path, text: &str, path: &[&str]) -> Result<(String, bool), ConfigError> {
    if text.trim().is_empty() {
        return Ok((text.to_owned(), false));
    }
    let root = parse(file, text)?;
    let servers = path.iter().try_fold(root.object_value(), |servers: Option<CstObject>, key| Some(servers?.object_value(key)));
    let Some(entry) = servers.flatten().and_then(|servers| servers.get(ENTRY)) else { return Ok((text.to_owned(), false)) };
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

fn document(file: &Path, text: &str) -> Result<DocumentMut, ConfigError> {
    text.parse().map_err(|error: toml_edit::TomlError| broken(file, error.message()))
}

fn toml_with(file: &Path, text: &str, key: &str, line: &[String]) -> Result<(String, String, bool), ConfigError> {
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
mod tests {
    use super::*;

    struct Home(tempfile::TempDir, Env);

    impl Home {
        fn new() -> Home {
            Home(tempfile::tempdir().unwrap(), Env::default())
        }

        fn places(&self) -> InstallPlaces<'_> {
            InstallPlaces { home: self.0.path(), env: &self.1, project: None, state: self.0.path() }
        }

        fn write(&self, path: &str, text: &str) -> PathBuf {
            let file = self.0.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            file
        }
    }

    fn line() -> Vec<String> {
        ["/bin/switchboard", "serve"].map(str::to_owned).to_vec()
    }

    #[test]
    fn every_client_gets_an_entry_and_undoing_restores_its_file_byte_by_byte() {
        for name in install_targets() {
            let home = Home::new();
            let place = plan_install(name, home.places(), &line()).unwrap().file;
            let toml = name == "codex";
            let old = match toml {
                true => "# mine\nmodel = \"x\"   # here\n\n[mcp_servers.other]\ncommand = \"y\"\n",
                false => "{\n  // mine\n  \"x\": 1.0, /* here */\n\t\"mcpServers\" : { \"other\":{\"command\":\"y\"} }\n}\n",
            };
            for before in [Some(old), Some(if toml { "" } else { "{}" }), None] {
                match before {
                    Some(text) => drop(home.write(place.strip_prefix(home.0.path()).unwrap().to_str().unwrap(), text)),
                    None => drop(fs::remove_file(&place)),
                }
                let plan = plan_install(name, home.places(), &line()).unwrap();
                assert_eq!(plan.effect, InstallEffect::Added, "{name}");
                plan.apply().unwrap();
                let text = fs::read_to_string(&place).unwrap();
                if before == Some(old) {
                    assert!(text.contains("mine") && text.contains("here") && text.contains("other"), "{name}: {text}");
                }
                assert!(text.contains("/bin/switchboard") && text.contains("serve"), "{name}: {text}");
                assert_eq!(plan_install(name, home.places(), &line()).unwrap().effect, InstallEffect::Unchanged, "{name}: {text}");
                let undo = plan_undo(name, home.places()).unwrap();
                assert_eq!(undo.effect, InstallEffect::Restored, "{name}");
                undo.apply().unwrap();
                assert_eq!(fs::read_to_string(&place).ok().as_deref(), before, "{name}");
                assert_eq!(plan_undo(name, home.places()).unwrap().effect, InstallEffect::Unchanged, "{name}");
            }
        }
    }

    #[test]
    fn what_a_client_reads_is_the_entry() {
        let home = Home::new();
        for (name, key, entry) in [
            ("cursor", "mcpServers", serde_json::json!({"command": "/bin/switchboard", "args": ["serve"]})),
            ("vscode", "servers", serde_json::json!({"type": "stdio", "command": "/bin/switchboard", "args": ["serve"]})),
            ("opencode", "mcp", serde_json::json!({"type": "local", "command": ["/bin/switchboard", "serve"], "enabled": true})),
        ] {
            let plan = plan_install(name, home.places(), &line()).unwrap();
            let written: serde_json::Value = serde_json::from_str(plan.text().unwrap()).unwrap();
            assert_eq!(written[key][ENTRY], entry, "{name}");
        }
        let plan = plan_install("codex", home.places(), &line()).unwrap();
        assert!(plan.text().unwrap().contains("[mcp_servers.switchboard]\ncommand = \"/bin/switchboard\"\nargs = [\"serve\"]"), "{plan:?}");
    }

    #[test]
    fn an_edited_file_loses_only_the_entry_and_a_second_installation_remembers_the_first_file() {
        let home = Home::new();
        let old = "{\"mcpServers\": {}}";
        let file = home.write(".cursor/mcp.json", old);
        plan_install("cursor", home.places(), &line()).unwrap().apply().unwrap();
        let other = [line(), vec!["--profile".into(), "x".into()]].concat();
        let second = plan_install("cursor", home.places(), &other).unwrap();
        assert_eq!(second.effect, InstallEffect::Replaced);
        second.apply().unwrap();
        plan_undo("cursor", home.places()).unwrap().apply().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), old);
        plan_install("cursor", home.places(), &line()).unwrap().apply().unwrap();
        let edited = fs::read_to_string(&file).unwrap().replacen('{', "{ // edited\n", 1);
        fs::write(&file, edited).unwrap();
        let undo = plan_undo("cursor", home.places()).unwrap();
        assert_eq!(undo.effect, InstallEffect::Removed);
        undo.apply().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("// edited") && !text.contains("switchboard"), "{text}");
    }

    #[test]
    fn what_cannot_be_edited_stays_as_it_is() {
        let home = Home::new();
        for text in ["{\"mcpServers\": [", "{\"mcpServers\": 3}", "[]"] {
            let file = home.write(".cursor/mcp.json", text);
            let error = plan_install("cursor", home.places(), &line()).unwrap_err().to_string();
            assert!(error.contains("mcp.json") && error.contains("--print"), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        let unknown = plan_install("emacs", home.places(), &line()).unwrap_err().to_string();
        assert!(unknown.contains("cursor") && unknown.contains("emacs"), "{unknown}");
        let file = home.write(".cursor/mcp.json", "{}");
        let plan = plan_install("cursor", home.places(), &line()).unwrap();
        fs::write(&file, "{ }").unwrap();
        assert!(plan.apply().unwrap_err().to_string().contains("has changed"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "{ }");
    }
}
