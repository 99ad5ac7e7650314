//! Ways to add servers: finds those that the welcome dialog offers, and applies the choice.

use std::path::{Path, PathBuf};

use crate::{
    config::{self, ConfigError, FoundImport, LoadOptions, Loaded},
    domain::{
        server::ServerSpec,
        workspace::{FoundConfig, WelcomeState},
    },
};

/// Returns the configurations of other clients on this machine, and the state of the dialog.
pub fn offer(load: &LoadOptions) -> (Vec<FoundImport>, WelcomeState) {
    let home = load.home.clone().unwrap_or_default();
    let mut found = load.home.as_ref().map(|home| config::find_imports(home, &load.cwd, &load.env)).unwrap_or_default();
    found.retain(|import| !import.servers.is_empty());
    let shown = found
        .iter()
        .map(|import| FoundConfig {
            client: import.client.to_owned(),
            path: short(&import.path, &home),
            servers: import.servers.len(),
            used: 0,
            lines: config::launch_lines(&if import.project { import.servers.clone() } else { import.masked().servers }),
            problems: import.problems.iter().map(|p| p.to_string().replace('\n', " · ")).collect(),
        })
        .collect();
    let target = load.user_file().map(|file| short(&file, &home)).unwrap_or_default();
    (found, WelcomeState { found: shown, target, ..WelcomeState::default() })
}

/// Marks the servers of an offer that are already in `servers`: with the same transport, under any name.
pub fn mark(offer: &mut WelcomeState, found: &[FoundImport], servers: &[ServerSpec]) {
    let used = |spec: &&ServerSpec| servers.iter().any(|have| have.launch == spec.launch);
    for (shown, import) in offer.found.iter_mut().zip(found) {
        shown.used = import.servers.iter().filter(used).count();
    }
    offer.more = !servers.is_empty();
}

/// Returns the imported servers that are not in `servers` although the file was written, because another configuration file
/// is active or `--server` excludes them. They run in this session, each with a unique name.
pub fn left_out(import: &FoundImport, servers: &[ServerSpec]) -> Vec<ServerSpec> {
    let mut added: Vec<ServerSpec> = vec![];
    for spec in import.servers.iter().filter(|spec| servers.iter().all(|have| have.launch != spec.launch)) {
        let mut spec = spec.clone();
        let name = spec.id.to_string();
        let taken = |id: &str, added: &[ServerSpec]| servers.iter().chain(added).any(|have| have.id.as_str() == id);
        let mut number = 2;
        while taken(spec.id.as_str(), &added) {
            spec.id = format!("{name}-{number}").as_str().into();
            number += 1;
        }
        added.push(spec);
    }
    added
}

/// Shortens a path below the home to `~/`.
fn short(path: &Path, home: &Path) -> String {
    match path.strip_prefix(home) {
        Ok(rest) if !home.as_os_str().is_empty() => format!("~/{}", rest.display()),
        _ => path.display().to_string(),
    }
}

/// Writes the servers of an import into the user's file and reloads the configuration.
pub fn take_over(import: &FoundImport, load: &LoadOptions) -> Result<Loaded, Vec<ConfigError>> {
    let file =
        load.user_file().ok_or_else(|| vec![ConfigError::new("the configuration folder is unknown: set HOME or XDG_CONFIG_HOME")])?;
    let existing = config::user_text(&file).map_err(|error| vec![error])?;
    let text = config::to_toml(std::slice::from_ref(import), existing.as_deref()).map_err(|e| vec![e.in_file(&file)])?;
    config::write_config(&file, &text).map_err(|e| vec![e])?;
    config::load(load)
}

/// Parses a typed text: the path of a file with servers, a URL, or a command.
pub fn typed(text: &str, load: &LoadOptions) -> Result<Vec<ServerSpec>, Vec<ConfigError>> {
    let text = text.trim();
    if text.contains("://") && !text.contains(char::is_whitespace) {
        return config::server_from_url(text).map(|spec| vec![spec]).map_err(|e| vec![e]);
    }
    let path = match (text.strip_prefix("~/"), &load.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => load.cwd.join(text),
    };
    let is_config = path.extension().is_some_and(|e| e == "json" || e == "toml" || e == "jsonc");
    if is_config && (!text.contains(char::is_whitespace) || path.is_file()) {
        let options = LoadOptions { config_files: vec![path], extra: vec![], servers_given: false, ..load.clone() };
        return config::load(&options).map(|loaded| loaded.servers);
    }
    let argv = words(text, load.home.as_ref()).ok_or_else(|| vec![ConfigError::new("a quotation mark is not closed")])?;
    if argv.is_empty() {
        return Err(vec![ConfigError::new("the command is empty")]);
    }
    Ok(vec![config::server_from_command(&argv)])
}

/// Splits a command into words like a POSIX shell. Only `~/` at the start of a word is expanded. `None` when a quote is not
/// closed.
fn words(text: &str, home: Option<&PathBuf>) -> Option<Vec<String>> {
    let at_home = |word: String| match (word.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest).display().to_string(),
        _ => word,
    };
    Some(shlex::split(text)?.into_iter().map(at_home).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::server::Transport;

    fn place(home: &Path) -> LoadOptions {
        LoadOptions { cwd: home.to_owned(), home: Some(home.to_owned()), user_dir: Some(home.join("conf")), ..LoadOptions::default() }
    }

    #[test]
    fn offers_and_imports_servers_of_other_clients() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".cursor")).unwrap();
        std::fs::write(
            home.path().join(".cursor/mcp.json"),
            r#"{"mcpServers": {"files": {"command": "files-server", "args": ["--root", "/srv"]}}}"#,
        )
        .unwrap();
        let load = place(home.path());
        let (found, offer) = offer(&load);
        assert_eq!(offer.found.len(), 1, "{offer:?}");
        assert_eq!((offer.found[0].path.as_str(), offer.found[0].servers), ("~/.cursor/mcp.json", 1));
        assert!(offer.found[0].lines[0].contains("files-server --root /srv"), "{offer:?}");
        assert_eq!(offer.target, "~/conf/config.toml");
        let loaded = take_over(&found[0], &load).unwrap();
        assert_eq!(loaded.servers.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["files"]);
        assert!(std::fs::read_to_string(home.path().join("conf/config.toml")).unwrap().contains("files-server"));
        let again = take_over(&found[0], &load).unwrap();
        assert_eq!(again.servers.len(), 1, "taken over twice is there once");
    }

    #[test]
    fn marks_used_servers_under_any_name() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".cursor")).unwrap();
        let text = r#"{"mcpServers": {"files": {"command": "files-server"}, "search": {"url": "https://example.com/mcp"}}}"#;
        std::fs::write(home.path().join(".cursor/mcp.json"), text).unwrap();
        let load = place(home.path());
        let (found, mut offer) = offer(&load);
        mark(&mut offer, &found, &[]);
        assert_eq!((offer.found[0].used, offer.more), (0, false));
        let mut one = found[0].servers[0].clone();
        one.id = "mine".into();
        mark(&mut offer, &found, &[one.clone()]);
        assert_eq!((offer.found[0].used, offer.more), (1, true));
        // Servers that the active configuration lacks are returned too, with unique names.
        let mut other = found[0].servers[1].clone();
        other.launch = one.launch.clone();
        let added = left_out(&found[0], &[other]);
        assert_eq!(added.iter().map(|spec| spec.id.as_str()).collect::<Vec<_>>(), ["search-2"]);
        assert!(left_out(&found[0], &found[0].servers).is_empty());
    }

    #[test]
    fn a_typed_text_is_a_file_an_address_or_a_command() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("mcp.json"), r#"{"mcpServers": {"a": {"command": "x"}, "b": {"command": "y"}}}"#).unwrap();
        let load = place(home.path());
        assert_eq!(typed("~/mcp.json", &load).unwrap().len(), 2);
        assert!(
            matches!(&typed("https://example.com/mcp", &load).unwrap()[0].launch, Transport::Http { url, .. } if url == "https://example.com/mcp")
        );
        let Transport::Stdio { command, args, .. } = &typed(r#"npx -y 'my server' ~/d "a\"b""#, &load).unwrap()[0].launch else {
            panic!("no command")
        };
        assert_eq!(command, "npx");
        assert_eq!(
            args.iter().map(|a| a.expose().to_owned()).collect::<Vec<_>>(),
            ["-y", "my server", &format!("{}/d", home.path().display()), "a\"b"]
        );
        for wrong in ["'open", "   ", "missing.json", "ftp://x"] {
            assert!(typed(wrong, &load).is_err(), "{wrong}");
        }
    }
}
