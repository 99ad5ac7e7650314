//! `import`: finds or reads the servers of other clients, and passes them to the command that prints and writes them.

use std::{path::PathBuf, sync::Arc};

use crate::{
    cli::{
        self, Options,
        args::ImportArgs,
        import::{Configuration, Found, ImportProblem, ImportSource, ImportVariable},
        print::Io,
    },
    config::{self, ConfigError, FoundImport, LoadOptions},
    domain::{
        call::{Failure, FailureKind},
        secret::MASK,
    },
};

use super::setup;

/// Runs `import`. Files of `--config` are read like files that the command names.
pub fn run(args: &ImportArgs, load: &LoadOptions, options: &Options) -> u8 {
    match find(args, load) {
        Ok((found, target)) => {
            let mut writer = |text: &str| {
                let file = target.clone().ok_or("there is no folder for the configuration")?;
                config::write_config(&file, text).map_err(|e| e.to_string())?;
                Ok(file)
            };
            cli::import::run(&found, if args.write { Some(&mut writer) } else { None }, options, Io::real())
        }
        Err(why) => cli::fail(Failure::new(FailureKind::InvalidArguments, why), options, Io::real()),
    }
}

/// Returns everything that was found, and the file that it would be written to.
fn find(args: &ImportArgs, load: &LoadOptions) -> Result<(Found, Option<PathBuf>), String> {
    let ImportArgs { write, project, show_secrets, .. } = *args;
    let files: Vec<PathBuf> = args.files.iter().chain(&load.config_files).cloned().collect();
    let (imports, searched) = if files.is_empty() {
        let home = load.home.clone().ok_or("there is no home folder")?;
        (config::find_imports(&home, &load.cwd, &load.env), config::searched_places(&home, &load.cwd, &load.env))
    } else {
        let read = config::read_imports(&files, load.home.as_deref(), &load.cwd, &load.env);
        (read.map_err(|errors| setup::all(&errors))?, vec![])
    };
    let target = load.user_file();
    let existing = target.as_deref().map(config::user_text).transpose().map_err(|error| error.to_string())?.flatten();
    let existing = if write { existing.as_deref() } else { None };
    // Printed output may be seen by others; only the file gets the values.
    let masks = !write && !show_secrets;
    // Servers of a project's files are imported only with `--project`.
    let taken: Vec<FoundImport> = imports.iter().filter(|found| project || !found.project).cloned().collect();
    let texts = config::import_texts(&taken, existing, masks).map_err(|error| error.to_string())?;
    let variable = |variable: config::SecretVariable| ImportVariable {
        value: if show_secrets { variable.value.expose().to_owned() } else { MASK.to_owned() },
        name: variable.name,
        server: variable.server,
        key: variable.key,
    };
    let variables = texts.variables.into_iter().map(variable).collect();
    let toml = Configuration { variables, with_values: texts.with_values, with_variables: texts.with_variables, added: texts.added };
    let searched = searched.into_iter().map(|place| (place.client.to_owned(), place.path)).collect();
    let sources = imports.into_iter().map(|found| source(found, show_secrets)).collect();
    Ok((Found { sources, searched, toml, project, masked: !show_secrets, secrets: args.secrets }, target))
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
