//! Changes of our own files by command: adds servers, and plans changes so that they can be shown before they are written.
//! [`edit`](super::edit) disables, enables and removes.

use std::path::{Path, PathBuf};

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::{
    edit::{edit_server, editable},
    error::ConfigError,
    export::{broken, server_table, servers_of, user_text, write_config},
    text,
};
use crate::domain::{
    secret::{MASK, Redactor, Secret, rule},
    server::{ServerSpec, Transport},
    workspace::ServerEdit,
};

/// A change of one of our own files that is not written yet.
pub struct ChangePlan {
    /// The file, which need not exist.
    pub file: PathBuf,
    /// The text before, with secrets masked; empty for a new file.
    pub before: String,
    /// The text after, with secrets masked.
    pub after: String,
    /// The text after. Holds secrets.
    text: String,
    /// Whether the text changes.
    pub changes: bool,
}

impl ChangePlan {
    fn new(file: &Path, before: Option<&str>, text: String) -> Result<ChangePlan, ConfigError> {
        Ok(ChangePlan {
            file: file.to_owned(),
            before: before.map(masked_text).transpose()?.unwrap_or_default(),
            after: masked_text(&text)?,
            changes: before != Some(text.as_str()),
            text,
        })
    }

    /// Writes the file.
    pub fn apply(&self) -> Result<(), ConfigError> {
        write_config(&self.file, &self.text)
    }
}

/// Plans the addition of servers to a file. A server whose name is taken replaces the other one, or is an error.
pub fn plan_add(file: &Path, specs: &[ServerSpec], replace: bool) -> Result<ChangePlan, ConfigError> {
    let before = own_text(file)?;
    let mut text = before.clone().unwrap_or_default();
    for spec in specs {
        text = add_server(&text, spec, replace).map_err(|error| error.in_file(file))?;
    }
    ChangePlan::new(file, before.as_deref(), text)
}

/// Plans a change of servers of a file.
pub fn plan_edit(file: &Path, names: &[String], edit: &ServerEdit) -> Result<ChangePlan, ConfigError> {
    let before = own_text(file)?;
    let mut text = before.clone().unwrap_or_default();
    for name in names {
        text = edit_server(&text, name, edit).map_err(|error| error.in_file(file))?;
    }
    ChangePlan::new(file, before.as_deref(), text)
}

/// Reads a file that can be changed.
fn own_text(file: &Path) -> Result<Option<String>, ConfigError> {
    if !editable(file) {
        let error = ConfigError::new("is not a TOML file, so it is not changed").in_file(file);
        return Err(error.hint("edit it in your editor, or import its servers with `switchboard import FILE --write`"));
    }
    user_text(file)
}

/// Returns the text of a file with a server added, or replaced.
fn add_server(text: &str, spec: &ServerSpec, replace: bool) -> Result<String, ConfigError> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| broken(text, &error))?;
    let servers = document.entry("servers").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let inline = servers.is_value();
    let table: &mut dyn TableLike =
        servers.as_table_like_mut().ok_or_else(|| ConfigError::new("`servers` is not a table").hint("write servers as [servers.NAME]"))?;
    let name = spec.id.as_str();
    let mut entry = server_table(spec);
    match table.get(name) {
        Some(_) if !replace => {
            let error = ConfigError::new(format!("the file has a server `{name}` already")).of_server(name);
            return Err(error.hint("choose another name, or replace it with --replace"));
        }
        Some(Item::Table(old)) => {
            // It stays where it was, with its comment.
            entry.set_position(old.position());
            *entry.decor_mut() = old.decor().clone();
        }
        _ if !text.is_empty() => entry.decor_mut().set_prefix("\n"),
        _ => {}
    }
    let item = if inline { Item::Value(Value::InlineTable(entry.into_inline_table())) } else { Item::Table(entry) };
    table.insert(name, item);
    Ok(document.to_string())
}

/// Returns the ids of the inputs that a server asks for, in order.
pub fn inputs_of(spec: &ServerSpec) -> Vec<String> {
    let mut texts: Vec<&str> = spec.origin.written.iter().map(|(_, text)| text.as_str()).collect();
    match &spec.launch {
        Transport::Stdio { args, env, .. } => {
            texts.extend(args.iter().map(Secret::written));
            texts.extend(env.iter().map(|(_, value)| value.written()));
        }
        Transport::Http { headers, .. } => texts.extend(headers.iter().map(|(_, value)| value.written())),
    }
    let mut found: Vec<String> = vec![];
    for id in texts.into_iter().flat_map(text::inputs_in) {
        if !found.iter().any(|known| known == id) {
            found.push(id.to_owned());
        }
    }
    found
}

/// Returns the text of one of our own files with its secrets replaced by [`MASK`]. Comments and layout stay. Fails if the text
/// is not TOML: then nobody knows where its secrets are.
pub fn masked_text(text: &str) -> Result<String, ConfigError> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| broken(text, &error))?;
    let mut found: Vec<Secret> = servers_of(text).iter().flat_map(ServerSpec::secrets).collect();
    mask_table(document.as_table_mut(), &mut found);
    Ok(Redactor::new(&found).redact(&document.to_string()))
}

/// Keys of tables whose values count as secret under any name.
const PAIRS: [&str; 2] = ["env", "headers"];
/// Keys of addresses.
const ADDRESSES: [&str; 1] = ["url"];

fn mask_table(table: &mut dyn TableLike, found: &mut Vec<Secret>) {
    for (key, item) in table.iter_mut() {
        let key = key.get().to_owned();
        match item {
            Item::Value(Value::InlineTable(inner)) if PAIRS.contains(&key.as_str()) => mask_pairs(inner, found),
            Item::Table(inner) if PAIRS.contains(&key.as_str()) => mask_pairs(inner, found),
            Item::Value(value) => mask_value(&key, value, found),
            Item::Table(inner) => mask_table(inner, found),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|inner| mask_table(inner, found)),
            Item::None => {}
        }
    }
}

fn mask_value(key: &str, value: &mut Value, found: &mut Vec<Secret>) {
    match value {
        Value::String(text) if ADDRESSES.contains(&key) => {
            let masked = rule::masked_url(text.value(), MASK);
            if masked != *text.value() {
                replace(value, masked);
            }
        }
        Value::Array(items) if ADDRESSES.contains(&key) => items.iter_mut().for_each(|item| mask_value(key, item, found)),
        Value::Array(items) if key == "args" => found.extend(rule::of_arguments(&literals(items))),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_value(key, item, found)),
        Value::InlineTable(inner) => mask_inline(inner, found),
        _ => {}
    }
}

fn mask_inline(inner: &mut InlineTable, found: &mut Vec<Secret>) {
    mask_table(inner, found);
}

/// Masks the values of variables or headers.
fn mask_pairs(pairs: &mut dyn TableLike, found: &mut Vec<Secret>) {
    for (name, item) in pairs.iter_mut() {
        let Some(value) = item.as_value_mut() else { continue };
        let Some(text) = value.as_str().map(str::to_owned) else { continue };
        // A variable is not a secret; the text around it may be.
        if text.contains("${") {
            continue;
        }
        found.extend(rule::of_value(name.get(), &text));
        if rule::masks(name.get(), &text) {
            replace(value, MASK.to_owned());
        }
    }
}

fn literals(items: &Array) -> Vec<Secret> {
    items.iter().filter_map(Value::as_str).map(Secret::literal).collect()
}

/// Replaces a value and leaves the space around it.
fn replace(value: &mut Value, text: String) {
    let decor = value.decor().clone();
    *value = Value::from(text);
    *value.decor_mut() = decor;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Variables, add_headers, server_from_command, server_from_url};

    const FILE: &str =
        "# Mine.\ntheme = \"x\"\n\n# The files.\n[servers.files]\ncommand = \"npx\" # fast\n\n[servers.time]\ncommand = \"uvx\"\n";

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    #[test]
    fn a_server_is_added_at_the_end_and_the_rest_of_the_file_stays() {
        let spec = server_from_command(&words("npx -y server-${x}"));
        let text = add_server(FILE, &spec, false).unwrap();
        assert!(text.starts_with(FILE), "{text}");
        // The shell has expanded the words, so a dollar sign is one.
        assert_eq!(&text[FILE.len()..], "\n[servers.--x]\ncommand = \"npx\"\nargs = [\"-y\", \"server-$${x}\"]\n");
        assert_eq!(add_server("", &server_from_command(&words("tool")), false).unwrap(), "[servers.tool]\ncommand = \"tool\"\n");
        let inline = add_server("servers = { a = { command = \"x\" } }\n", &server_from_command(&words("tool")), false).unwrap();
        assert!(inline.contains("tool = { command = \"tool\" }"), "{inline}");
    }

    #[test]
    fn a_taken_name_is_replaced_only_on_request_and_keeps_its_place_and_comment() {
        let spec = ServerSpec { id: "files".into(), ..server_from_url("https://files.example/mcp").unwrap() };
        let error = add_server(FILE, &spec, false).unwrap_err().to_string();
        assert!(error.contains("--replace"), "{error}");
        let text = add_server(FILE, &spec, true).unwrap();
        assert!(text.contains("# The files.\n[servers.files]\nurl = \"https://files.example/mcp\"\n\n[servers.time]"), "{text}");
    }

    #[test]
    fn secrets_are_masked_wherever_they_are_written() {
        let text = "\
# old token: s3cret-token-1
[redis]
url = \"redis://user:s3cret-pass@cache.example/0\"
[servers.a]
command = \"npx\"
args = [\"--api-key\", \"s3cret-arg\", \"--verbose\"] # keep
env = { TOKEN = \"s3cret-token-1\", MODE = \"production\", PASSED = \"${TOKEN}\" }
[servers.b]
url = \"https://x.example/mcp?api_key=s3cret-query\"
[servers.b.headers]
Authorization = \"Bearer s3cret-header\"
[servers.broken]
args = [\"--token=s3cret-broken\"]
";
        let masked = masked_text(text).unwrap();
        assert!(!masked.contains("s3cret"), "{masked}");
        for stays in ["# keep", "production", "${TOKEN}", "--verbose", "# old token: "] {
            assert!(masked.contains(stays), "{stays}: {masked}");
        }
        assert!(masked_text("a = [").is_err());
    }

    #[test]
    fn inputs_are_listed_once() {
        let mut spec = server_from_url("https://x.example/mcp").unwrap();
        add_headers(
            &mut spec,
            &[Secret::literal("A: ${input:key} ${input:key}"), Secret::literal("B: ${input:other}")],
            Variables::Written,
        )
        .unwrap();
        assert_eq!(inputs_of(&spec), ["key", "other"]);
    }

    #[test]
    fn a_plan_shows_no_secret_and_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let mut spec = server_from_url("https://x.example/mcp").unwrap();
        add_headers(&mut spec, &[Secret::literal("Authorization: s3cret-value")], Variables::Expanded).unwrap();
        let plan = plan_add(&file, &[spec], false).unwrap();
        assert!(plan.changes && !plan.after.contains("s3cret") && plan.before.is_empty());
        assert!(!file.exists());
        plan.apply().unwrap();
        assert!(std::fs::read_to_string(&file).unwrap().contains("s3cret-value"));
        let plan = plan_edit(&file, &["x".to_owned()], &ServerEdit::Disable).unwrap();
        assert!(plan.after.contains("disabled = true") && !plan.before.contains("s3cret"), "{}", plan.after);
        assert!(plan_add(&dir.path().join("mcp.json"), &[], false).is_err_and(|error| error.to_string().contains("TOML")));
    }
}
