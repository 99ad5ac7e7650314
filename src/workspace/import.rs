//! Import of the servers that other clients have configured.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{self, ConfigError, FoundImport, ImportTexts, LoadOptions, SearchedPlace},
    domain::{
        secret::{MASK, Secret},
        workspace::{ImportPlan, ImportProblem, ImportSource, ImportVariable, ImportedConfig, SecretDisplay, WorkspaceError},
    },
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
        added: texts.added,
    };
    let searched = searched.into_iter().map(|place| (place.client.to_owned(), place.path.display().to_string())).collect();
    let sources = imports.into_iter().map(|found| source(found, shows)).collect();
    Ok(ImportPlan { sources, searched, toml, project, masked: !shows })
}

/// Adds the servers to the user's configuration file; returns its path.
pub fn write(load: &LoadOptions, files: &[PathBuf], project: bool, variables: bool) -> Result<PathBuf, WorkspaceError> {
    let unwritten = |why: String| WorkspaceError::NotWritten { why };
    let (imports, _) = find(load, files)?;
    let file = load.user_file().ok_or_else(|| unwritten("the configuration folder is unknown: set HOME or XDG_CONFIG_HOME".into()))?;
    let texts = texts(Some(&file), &imports, project, false)?;
    let text = if variables { &texts.with_variables } else { &texts.with_values };
    config::write_config(&file, text).map_err(|error| unwritten(error.to_string()))?;
    Ok(file)
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
