//! Changes of one server in a file of the user: disable, enable, duplicate, remove. Everything else in the file stays as it is.

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, TableLike, value};

use super::{error::ConfigError, export::broken};
use crate::domain::workspace::ServerEdit;

/// Returns the text of a file after a change of a server. Fails if the text is not TOML or has no such server, or if the new
/// name of a duplicate is taken.
pub fn edit_server(text: &str, name: &str, edit: &ServerEdit) -> Result<String, ConfigError> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| broken(text, &error))?;
    let servers = document.get_mut("servers").and_then(Item::as_table_like_mut);
    let servers = servers.filter(|servers| servers.contains_key(name)).ok_or_else(|| {
        ConfigError::new(format!("the file has no table [servers.{name}]"))
            .hint("open the file in an editor: the server may come from another one")
    })?;
    match edit {
        ServerEdit::Disable => {
            entry(servers, name)?.insert("disabled", value(true));
        }
        ServerEdit::Enable => {
            entry(servers, name)?.remove("disabled");
        }
        ServerEdit::Remove => {
            servers.remove(name);
        }
        ServerEdit::Duplicate(new) => {
            if servers.contains_key(new) {
                return Err(ConfigError::new(format!("the file has a server `{new}` already")).hint("choose another name"));
            }
            let mut copy = servers.get(name).cloned().unwrap_or_default();
            if let Some(table) = copy.as_table_mut() {
                // The comments above the server are about the original.
                table.decor_mut().set_prefix("\n");
                append(table);
            }
            servers.insert(new, copy);
        }
    }
    Ok(document.to_string())
}

fn entry<'s>(servers: &'s mut dyn TableLike, name: &str) -> Result<&'s mut dyn TableLike, ConfigError> {
    let table = servers.get_mut(name).and_then(Item::as_table_like_mut);
    table.ok_or_else(|| ConfigError::new(format!("`servers.{name}` is not a table")))
}

/// Removes the positions of a table and its inner tables, so that they are written after the others.
fn append(table: &mut Table) {
    table.set_position(None);
    table.iter_mut().filter_map(|(_, item)| item.as_table_mut()).for_each(append);
}

/// Returns whether a file can be changed by [`edit_server`]: the formats of other clients are not.
pub fn editable(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Mine.\ntheme = \"dark\"\n\n# The files of the shop.\n[servers.files]\ncommand = \"npx\" # fast\nargs = [\"-y\", \"files\"]\n\n[servers.files.env]\nA = \"1\"\n\n[servers.time]\ncommand = \"uvx\"\n";

    fn edited(edit: &ServerEdit) -> String {
        edit_server(FILE, "files", edit).unwrap()
    }

    #[test]
    fn disabling_and_enabling_again_restores_the_file() {
        let disabled = edited(&ServerEdit::Disable);
        assert!(disabled.contains("args = [\"-y\", \"files\"]\ndisabled = true\n"), "{disabled}");
        assert_eq!(edit_server(&disabled, "files", &ServerEdit::Enable).unwrap(), FILE);
    }

    #[test]
    fn a_removed_server_takes_its_comment_and_nothing_else() {
        let removed = edited(&ServerEdit::Remove);
        assert_eq!(removed, "# Mine.\ntheme = \"dark\"\n\n[servers.time]\ncommand = \"uvx\"\n");
    }

    #[test]
    fn a_duplicate_is_added_with_its_inner_tables() {
        let text = edited(&ServerEdit::Duplicate("files2".into()));
        assert!(text.starts_with(FILE), "{text}");
        let added = &text[FILE.len()..];
        assert!(
            added.contains("[servers.files2]\ncommand = \"npx\" # fast\n") && added.contains("[servers.files2.env]\nA = \"1\"\n"),
            "{text}"
        );
        assert!(!added.contains("The files of the shop"), "{text}");
        assert!(edit_server(FILE, "files", &ServerEdit::Duplicate("time".into())).is_err());
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let missing = edit_server(FILE, "none", &ServerEdit::Remove).unwrap_err().to_string();
        assert!(missing.contains("[servers.none]"), "{missing}");
        assert!(edit_server("x = [", "files", &ServerEdit::Remove).unwrap_err().to_string().contains("valid TOML"));
        assert!(editable(Path::new("/a/switchboard.toml")) && !editable(Path::new("/a/.mcp.json")));
    }
}
