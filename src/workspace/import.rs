//! Import of the servers that other clients have configured.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{self, ConfigError, FoundImport, ImportTexts, LoadOptions, SearchedPlace},
    domain::{
        secret::{MASK, Secret},
        workspace::{ImportPlan, ImportProblem, ImportSource, ImportVariable, ImportedConfig, SecretDisplay, SecretTarget, WorkspaceError},
    },
    keyring::KeyringError,
};

fn invalid(error: &ConfigError) -> WorkspaceError {
    WorkspaceError::invalid(error.to_string())
}

/// Returns the configurations of other clients, and the places that were searched. Files of `--config` are read like files that
/// the command names.
fn find(load: &LoadOptions, files: &[PathBuf]) -> Result<(Vec<FoundImport>, Vec<SearchedPlace>), WorkspaceError> {
    let files: Vec<PathBuf> = files.iter().chain(&load.config_files).cloned().collect();
    if files.is_empty() {
        let home = load.home.clone().ok_or_else(|| WorkspaceError::invalid("the home folder is unknown: set HOME"))?;
        return Ok((config::find_imports(&home, &load.cwd, &load.env), config::searched_places(&home, &load.cwd, &load.env)));
    }
    let read = config::read_imports(&files, load.home.as_deref(), &load.cwd, &load.env);
    Ok((read.map_err(WorkspaceError::Configuration)?, vec![]))
}

/// Returns the texts of the configuration with the servers of `imports`. Servers of a project's files are imported only if
/// requested.
fn texts(target: Option<&Path>, imports: &[FoundImport], project: bool, masks: bool) -> Result<ImportTexts, WorkspaceError> {
    let existing = target.map(config::user_text).transpose().map_err(|error| invalid(&error))?.flatten();
    let taken: Vec<FoundImport> = imports.iter().filter(|found| project || !found.project).cloned().collect();
    config::import_texts(&taken, existing.as_deref(), masks).map_err(|error| invalid(&error))
}

/// Returns what would be imported, without writing. `into_file` adds the servers to the text of the user's file.
pub fn plan(
    load: &LoadOptions,
    files: &[PathBuf],
    project: bool,
    into_file: bool,
    secrets: SecretDisplay,
) -> Result<ImportPlan, WorkspaceError> {
    let (imports, searched) = find(load, files)?;
    let shows = secrets == SecretDisplay::Shown;
    let target = load.user_file().filter(|_| into_file);
    // Printed output may be seen by others; only the file gets the values.
    let texts = texts(target.as_deref(), &imports, project, !into_file && !shows)?;
    let variable = |variable: config::SecretVariable| ImportVariable {
        value: if shows { variable.value.expose().to_owned() } else { MASK.to_owned() },
        name: variable.name,
        server: variable.server,
        key: variable.key,
    };
    let toml = ImportedConfig {
        variables: texts.variables.into_iter().map(variable).collect(),
        with_values: Secret::literal(texts.with_values),
        with_variables: texts.with_variables,
        with_keyring: load.env.keyring().is_supported().then_some(texts.with_keyring),
        added: texts.added,
    };
    let searched = searched.into_iter().map(|place| (place.client.to_owned(), place.path.display().to_string())).collect();
    let sources = imports.into_iter().map(|found| source(found, shows)).collect();
    Ok(ImportPlan { sources, searched, toml, project, masked: !shows })
}

/// Adds the servers to the user's configuration file; returns its path.
pub fn write(load: &LoadOptions, files: &[PathBuf], project: bool, secrets: SecretTarget) -> Result<PathBuf, WorkspaceError> {
    let unwritten = |why: String| WorkspaceError::NotWritten { why };
    let (imports, _) = find(load, files)?;
    let file = load.user_file().ok_or_else(|| unwritten("the configuration folder is unknown: set HOME or XDG_CONFIG_HOME".into()))?;
    let texts = texts(Some(&file), &imports, project, false)?;
    let text = match secrets {
        SecretTarget::File => &texts.with_values,
        SecretTarget::Variables => &texts.with_variables,
        SecretTarget::Keyring => {
            store(load, &texts).map_err(unwritten)?;
            &texts.with_keyring
        }
    };
    config::write_config(&file, text).map_err(|error| unwritten(error.to_string()))?;
    Ok(file)
}

/// Stores the secret values of the new servers in the keyring. An entry with another value is not replaced, because other servers may
/// use it: nothing is stored then.
fn store(load: &LoadOptions, texts: &ImportTexts) -> Result<(), String> {
    let keyring = load.env.keyring();
    let mut new = vec![];
    for variable in &texts.variables {
        let failed = |error: KeyringError| format!("{error}: {}", error.hint());
        match keyring.get(&variable.name).map_err(failed)? {
            Some(value) if value == variable.value.expose() => {}
            Some(_) => return Err(format!("the keyring has another value of the entry {}", variable.name)),
            None => new.push(variable),
        }
    }
    for variable in new {
        keyring.set(&variable.name, variable.value.expose()).map_err(|error| format!("{error}: {}", error.hint()))?;
    }
    Ok(())
}

fn source(found: FoundImport, show_secrets: bool) -> ImportSource {
    ImportSource {
        // A project's servers are shown as they would be started, except for certain secrets.
        lines: config::launch_lines(&if found.project || show_secrets { found.servers.clone() } else { found.masked().servers }),
        unreadable: found.unreadable(),
        client: found.client.to_owned(),
        path: found.path,
        project: found.project,
        servers: found.servers.into_iter().map(Arc::new).collect(),
        problems: found.problems.iter().map(problem).collect(),
    }
}

fn problem(error: &ConfigError) -> ImportProblem {
    let key = error.key.as_ref().map(|key| format!("`{key}`: ")).unwrap_or_default();
    ImportProblem {
        server: error.server.as_deref().map(str::to_owned),
        line: error.line,
        message: format!("{key}{}", error.message),
        hint: error.hint.as_deref().map(str::to_owned),
        unusable: error.unusable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::server::Transport,
        keyring::{Keyring, SecretStore, memory::Memory},
    };

    const TEAM: &str =
        r#"{"mcpServers": {"web": {"url": "https://h.example/mcp", "headers": {"Authorization": "Bearer s3cret-0123456789"}}}}"#;

    /// A configuration whose folder has a file of another client.
    fn options(folder: &Path, memory: &Arc<Memory>) -> (LoadOptions, Vec<PathBuf>) {
        std::fs::write(folder.join("team.json"), TEAM).unwrap();
        let env = config::Env::default().with_keyring(Keyring::over(memory.clone()));
        let load = LoadOptions { cwd: folder.to_owned(), user_dir: Some(folder.join("own")), env, ..LoadOptions::default() };
        (load, vec![folder.join("team.json")])
    }

    #[test]
    fn secret_values_are_stored_in_the_keyring_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Arc::new(Memory::default());
        let (load, files) = options(folder.path(), &memory);
        let planned = plan(&load, &files, false, true, SecretDisplay::Masked).unwrap();
        assert!(planned.toml.with_keyring.unwrap().contains("Bearer ${keyring:WEB_AUTHORIZATION}"));
        assert!(memory.entries.lock().is_empty(), "a plan stores nothing");
        let file = write(&load, &files, false, SecretTarget::Keyring).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains("${keyring:WEB_AUTHORIZATION}") && !text.contains("s3cret"), "{text}");
        let loaded = config::load(&load).unwrap();
        let Transport::Http { headers, .. } = &loaded.servers[0].launch else { panic!("no address") };
        assert_eq!(headers[0].1.expose(), "Bearer s3cret-0123456789");
        assert_eq!(plan(&load, &files, false, true, SecretDisplay::Masked).unwrap().toml.added, 0, "the server is known");
        // Without the entry, the server says what is missing.
        memory.remove("WEB_AUTHORIZATION").unwrap();
        let loaded = config::load(&load).unwrap();
        assert!(loaded.problems[0].message.contains("the keyring has no entry `WEB_AUTHORIZATION`"), "{:?}", loaded.problems);
        assert!(!loaded.servers[0].config_faults.is_empty());
    }

    #[test]
    fn an_entry_with_another_value_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Arc::new(Memory::default());
        let (load, files) = options(folder.path(), &memory);
        memory.set("WEB_AUTHORIZATION", "of another program").unwrap();
        let refused = write(&load, &files, false, SecretTarget::Keyring).unwrap_err();
        assert!(matches!(&refused, WorkspaceError::NotWritten { why } if why.contains("another value")), "{refused:?}");
        assert!(!folder.path().join("own/config.toml").exists());
        *memory.fails.lock() = Some(KeyringError::Locked);
        assert!(write(&load, &files, false, SecretTarget::Keyring).is_err());
        *memory.fails.lock() = None;
        assert_eq!(memory.get("WEB_AUTHORIZATION").unwrap().as_deref(), Some("of another program"));
    }
}
