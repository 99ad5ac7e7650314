//! `add`, `remove`, `enable`, `disable`, `list` and `config`: reads the files and makes the changes.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::refuse;
use crate::{
    cli::{
        self, Options,
        args::{AddArgs, AddSource, CheckArgs, Cli, ConfigCmd, EditArgs},
        print::Io,
        report::ReportContext,
        setup::{Change, ConfigFile},
    },
    config::{self, ChangePlan, ConfigError, FoundImport, LoadOptions, Variables},
    domain::{
        call::{Failure, FailureKind},
        server::ServerSpec,
        workspace::ServerEdit,
    },
    mcp::registry::{self, RegistryError},
};

fn invalid(why: impl Into<String>) -> Failure {
    Failure::new(FailureKind::InvalidArguments, why)
}

fn refused(error: &ConfigError) -> Failure {
    invalid(error.to_string())
}

/// Returns the file that commands change: the one of --config, or the user's.
fn target(load: &LoadOptions) -> Result<PathBuf, Failure> {
    match load.config_files.as_slice() {
        [] => load.user_file().ok_or_else(|| invalid("the configuration folder is unknown").hint("set HOME")),
        [file] => Ok(load.cwd.join(file)),
        _ => Err(invalid("--config names several files").hint("name the file to change")),
    }
}

/// Runs `add`; returns the exit code.
pub fn add(load: &LoadOptions, args: &AddArgs, cli: &Cli, options: &Options) -> u8 {
    match planned(load, args, cli, options) {
        Err(failure) => cli::fail(failure, options, Io::real()),
        Ok((plan, added)) => {
            let servers: Vec<String> = added.servers.iter().map(|spec| spec.id.to_string()).collect();
            let inputs: Vec<String> = added.servers.iter().flat_map(config::inputs_of).collect();
            finish("added", &plan, &servers, (&added.warnings, &inputs), args.dry_run, options)
        }
    }
}

/// The servers that `add` adds.
struct Added {
    servers: Vec<ServerSpec>,
    warnings: Vec<ConfigError>,
}

fn planned(load: &LoadOptions, args: &AddArgs, cli: &Cli, options: &Options) -> Result<(ChangePlan, Added), Failure> {
    let file = target(load)?;
    let (name, source) = args.source(|path| load.cwd.join(path).is_file()).map_err(invalid)?;
    let one = |spec: ServerSpec| Added { servers: vec![spec], warnings: vec![] };
    let mut added = match &source {
        AddSource::Command(words) => one(config::server_from_command(words)),
        AddSource::Url(url) => one(config::server_from_url(url).map_err(|error| refused(&error))?),
        AddSource::File(path) => {
            let files = [bundled(home_path(path, load), load, args.dry_run)?];
            described(config::read_imports(&files, load.home.as_deref(), &load.cwd, &load.env))?
        }
        AddSource::Registry(server) => {
            let text = from_registry(&args.registry, server, options)?;
            described(config::read_described(server, &text, load.home.as_deref(), &load.cwd, &load.env))?
        }
    };
    let global = &cli.global;
    match (added.servers.as_mut_slice(), name) {
        ([], _) => return Err(invalid("the source describes no server that can be added")),
        ([spec], name) => {
            spec.id = name.map_or_else(|| spec.id.clone(), |name| name.as_str().into());
            let changed = config::add_headers(spec, &global.header, Variables::Written)
                .and_then(|()| config::add_variables(spec, &global.env, &load.env, Variables::Written));
            changed.map_err(|error| refused(&error))?;
        }
        (several, Some(_)) => {
            let names: Vec<&str> = several.iter().map(|spec| spec.id.as_str()).collect();
            return Err(invalid(format!("the file has several servers: {}", names.join(", "))).hint("leave the name out to add all"));
        }
        (_, None) if !(global.header.is_empty() && global.env.is_empty()) => {
            return Err(invalid("--header and --env apply to one server, and the file has several"));
        }
        (_, None) => {}
    }
    for spec in &mut added.servers {
        if spec.id.as_str().trim().is_empty() {
            return Err(invalid("the server has no name").hint("write one before the source: switchboard add NAME SOURCE"));
        }
        spec.disabled |= args.disabled;
        spec.description = args.description.clone().or(spec.description.take());
        spec.group = args.group.clone().or(spec.group.take());
    }
    let plan = config::plan_add(&file, &added.servers, args.replace).map_err(|error| refused(&error))?;
    Ok((plan, added))
}

/// Returns a path with the home folder in place of `~`, which a shell does not expand inside quotes.
fn home_path(path: &Path, load: &LoadOptions) -> PathBuf {
    match (path.strip_prefix("~"), &load.home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// Returns the manifest of a bundle, which is unpacked into the state folder; any other file as it is.
fn bundled(path: PathBuf, load: &LoadOptions, dry_run: bool) -> Result<PathBuf, Failure> {
    if !config::is_bundle(&path) {
        return Ok(path);
    }
    let Some(state) = load.state_dir.as_ref().filter(|_| !dry_run) else {
        let why =
            if dry_run { "a bundle is unpacked when it is added, so there is nothing to show" } else { "the state folder is unknown" };
        return Err(invalid(why).hint("unpack it (it is a ZIP archive), and add its manifest.json"));
    };
    config::unpack_bundle(&load.cwd.join(path), &state.join("bundles")).map_err(|error| refused(&error))
}

/// Returns the servers of a description. A server that cannot be used is an error.
fn described(read: Result<Vec<FoundImport>, Vec<ConfigError>>) -> Result<Added, Failure> {
    let text = |errors: &[ConfigError]| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let found = read.map_err(|errors| invalid(text(&errors)))?;
    let mut added = Added { servers: vec![], warnings: vec![] };
    for import in found {
        added.servers.extend(import.servers);
        added.warnings.extend(import.problems);
    }
    if added.servers.is_empty() && !added.warnings.is_empty() {
        return Err(invalid(text(&added.warnings)));
    }
    Ok(added)
}

/// Reads the description of a server in the registry.
fn from_registry(base: &str, name: &str, options: &Options) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(FailureKind::Transport, format!("no threads could be started: {error}")))?;
    let limit = options.timeout.unwrap_or(std::time::Duration::MAX);
    let found = runtime.block_on(async { tokio::time::timeout(limit, registry::server_json(base, name)).await });
    match found {
        Err(_) => Err(Failure::new(FailureKind::Timeout, format!("the registry {base} did not answer in time"))),
        Ok(Ok(text)) => Ok(text),
        Ok(Err(RegistryError::Unknown)) => {
            Err(invalid(format!("the registry {base} has no server {name:?}")).hint("names look like io.github.user/server"))
        }
        Ok(Err(RegistryError::Failed(failure))) => {
            let message = format!("the registry {base} cannot be used: {}", failure.message);
            Err(Failure { message, ..*failure })
        }
    }
}

/// Runs `remove`, `enable` and `disable`; returns the exit code.
pub fn edit(load: &LoadOptions, args: &EditArgs, edit: &ServerEdit, options: &Options) -> u8 {
    let plan = file_of(load, &args.names).and_then(|file| config::plan_edit(&file, &args.names, edit).map_err(|error| refused(&error)));
    match plan {
        Err(failure) => cli::fail(failure, options, Io::real()),
        Ok(plan) => finish(edit.done(), &plan, &args.names, (&[], &[]), args.dry_run, options),
    }
}

/// Returns the file that configures the servers. If the configuration cannot be loaded, it is the user's.
fn file_of(load: &LoadOptions, names: &[String]) -> Result<PathBuf, Failure> {
    let Ok(loaded) = config::load(load) else { return target(load) };
    let mut files: Vec<PathBuf> = vec![];
    for name in names {
        let Some(spec) = loaded.servers.iter().find(|spec| spec.id.as_str() == name) else {
            let known: Vec<&str> = loaded.servers.iter().map(|spec| spec.id.as_str()).collect();
            return Err(cli::session::no_server(name, &known));
        };
        files.extend(spec.origin.file.clone().filter(|file| !files.contains(file)));
    }
    match files.as_slice() {
        [file] => Ok(file.clone()),
        [] => target(load),
        _ => {
            let list = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
            Err(invalid(format!("the servers are in several files: {list}")).hint("change those of one file at a time"))
        }
    }
}

fn finish(
    action: &'static str,
    plan: &ChangePlan,
    servers: &[String],
    (warnings, inputs): (&[ConfigError], &[String]),
    dry_run: bool,
    options: &Options,
) -> u8 {
    let ChangePlan { file, before, after, changes, .. } = plan;
    let change = Change { action, servers, file, before, after, changes: *changes, warnings, inputs };
    cli::setup::change(&change, dry_run, options, Io::real(), || plan.apply())
}

/// Runs `list`; returns the exit code.
pub fn list(load: &LoadOptions, options: &Options) -> u8 {
    match config::load(load) {
        Err(errors) => refuse(&errors, options),
        Ok(loaded) => {
            let pending = loaded.pending.as_ref().map_or(0, |pending| pending.servers.len());
            cli::setup::list(&loaded.servers, pending, &loaded.problems, options, Io::real())
        }
    }
}

/// Runs `config`; returns the exit code.
pub fn config(load: &LoadOptions, command: &ConfigCmd, options: &Options) -> u8 {
    match command {
        ConfigCmd::Path => {
            let user = target(load).ok();
            let files = files(load, &config::load(load).map(|loaded| loaded.files).unwrap_or_default());
            cli::setup::paths(user.as_deref(), &files, load.state_dir.as_deref(), options, Io::real())
        }
        ConfigCmd::Show => show(load, options),
        ConfigCmd::Edit => open_editor(load, options),
        ConfigCmd::Check(args) => check(load, args, options),
        ConfigCmd::Schema => cli::setup::schema(&config::schema(), Io::real()),
    }
}

/// Returns the files of the configuration: those that were read, or if it cannot be loaded the user's.
fn files(load: &LoadOptions, read: &[PathBuf]) -> Vec<ConfigFile> {
    let mut paths: Vec<PathBuf> = load.config_files.iter().map(|file| load.cwd.join(file)).collect();
    if paths.is_empty() {
        paths.extend(load.user_file());
    }
    for path in read {
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    paths.into_iter().map(|path| ConfigFile { exists: path.is_file(), path, text: None }).collect()
}

fn show(load: &LoadOptions, options: &Options) -> u8 {
    let read = config::load(load).map(|loaded| loaded.files).unwrap_or_default();
    let mut files = files(load, &read);
    files.retain(|file| file.exists);
    for file in &mut files {
        if file.path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = config::user_text(&file.path).and_then(|text| text.as_deref().map(config::masked_text).transpose());
        match text {
            Ok(text) => file.text = text,
            Err(error) => return refuse(&[error.in_file(&file.path)], options),
        }
    }
    cli::setup::show(&files, options, Io::real())
}

/// Returns what a report says of the configuration. A file that is not TOML is not shown: nobody knows where its secrets are.
pub fn report_context(load: &LoadOptions) -> ReportContext {
    let (read, problems) = match config::load(load) {
        Ok(loaded) => (loaded.files, loaded.problems),
        Err(errors) => (vec![], errors),
    };
    let mut files = files(load, &read);
    for file in files.iter_mut().filter(|file| file.exists && file.path.extension().is_some_and(|extension| extension == "toml")) {
        let text = config::user_text(&file.path).ok().flatten();
        file.text = text.as_deref().and_then(|text| config::masked_text(text).ok());
    }
    ReportContext { files, problems: problems.iter().map(ToString::to_string).collect(), home: load.home.clone() }
}

fn check(load: &LoadOptions, args: &CheckArgs, options: &Options) -> u8 {
    let (found, read, servers, refused) = match config::load(load) {
        Ok(loaded) => (loaded.problems, loaded.files, loaded.servers.len(), false),
        Err(errors) => (errors, vec![], 0, true),
    };
    cli::setup::check(&files(load, &read), servers, &found, refused, args, options, Io::real())
}

/// The text of a new file.
const NEW_FILE: &str = "\
# Configuration of Switchboard: an empty file means the defaults.
# All keys: `switchboard config schema`, docs/configuration.md. Add servers here, or with `switchboard add NAME -- COMMAND`.

#[servers.everything]
#command = \"npx\"
#args = [\"-y\", \"@modelcontextprotocol/server-everything\"]
";

fn open_editor(load: &LoadOptions, options: &Options) -> u8 {
    let fail = |failure: Failure| cli::fail(failure, options, Io::real());
    let file = match target(load) {
        Ok(file) => file,
        Err(failure) => return fail(failure),
    };
    if !file.exists()
        && let Err(error) = config::write_config(&file, NEW_FILE)
    {
        return fail(refused(&error));
    }
    let set = |name: &str| load.env.non_empty(name);
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or("vi");
    // The variable may contain arguments (`code --wait`), which a shell splits as usual.
    let status = Command::new("/bin/sh").arg("-c").arg(format!("{editor} \"$@\"")).arg("editor").arg(&file).status();
    match status {
        Ok(status) if status.success() => check(load, &CheckArgs::default(), options),
        Ok(status) => fail(Failure::new(FailureKind::Refused, format!("the editor {editor:?} ended with {status}"))),
        Err(error) => fail(Failure::new(FailureKind::Refused, format!("the editor {editor:?} could not be started: {error}"))),
    }
}
