//! `install`: plans and makes the change of a client's file.

use crate::{
    cli::{self, Options, args::InstallArgs, install::Change, print::Io},
    config::{InstallEffect, InstallPlaces, LoadOptions, MoveTo, plan_install, plan_undo},
    domain::{
        call::{Failure, FailureKind},
        plural::counted,
    },
    process,
};

/// Runs `install`; returns the exit code.
pub fn run(load: &LoadOptions, args: &InstallArgs, options: &Options) -> u8 {
    let fail = |why: String| cli::fail(Failure::new(FailureKind::InvalidArguments, why), options, Io::real());
    let (Some(home), Some(state)) = (&load.home, &load.state_dir) else {
        return fail("neither a home nor a state folder is known: set HOME".into());
    };
    let project = args.project.then_some(load.cwd.as_path());
    let places = InstallPlaces { home, env: &load.env, project, state };
    let planned = match args.undo {
        true => plan_undo(&args.client, places),
        false => {
            let Some(program) = process::own_program() else { return fail("the path of this program is unknown".into()) };
            // Clients of the desktop have another PATH than a shell.
            let mut line = vec![program.display().to_string(), "serve".to_owned()];
            line.extend(args.profile.iter().flat_map(|profile| ["--profile".to_owned(), profile.clone()]));
            let own = load.user_file();
            if args.move_servers && own.is_none() {
                return fail("the configuration folder is unknown: set HOME or XDG_CONFIG_HOME".into());
            }
            let move_to = own.as_deref().filter(|_| args.move_servers).map(|file| MoveTo { file, cwd: &load.cwd });
            plan_install(&args.client, places, &line, move_to)
        }
    };
    let plan = match planned {
        Ok(plan) => plan,
        Err(error) => return fail(error.to_string()),
    };
    let (client, key, file) = (plan.client, &plan.key, plan.file.display());
    let effect = match plan.effect {
        InstallEffect::Added => format!("{client} gets `{key}` in {file}"),
        InstallEffect::Replaced => format!("{client} gets another `{key}` in {file}"),
        InstallEffect::Unchanged if args.undo => format!("{client} has no `{key}` in {file}"),
        InstallEffect::Unchanged => format!("{client} already has `{key}` in {file}"),
        InstallEffect::Removed => format!("{client} loses `{key}` in {file}, which has changed since the installation"),
        InstallEffect::Restored => format!("{file} of {client} is restored as it was before the installation"),
    };
    let effect = match (plan.moved.len(), args.undo) {
        (0, _) => effect,
        (count, true) => format!("{effect}, with {} moved before", counted(count, "server")),
        (count, false) => format!("{effect}; {} moved into your configuration", counted(count, "server")),
    };
    let changes = plan.effect != InstallEffect::Unchanged;
    let differences = plan.changes();
    let moves = args.move_servers || plan.own.is_some();
    let files: Vec<_> = differences.iter().filter(|_| moves).map(|change| (change.file, change.before, change.after)).collect();
    let moved: Vec<&str> = plan.moved.iter().map(|entry| entry.name.as_str()).collect();
    let staying: Vec<_> = plan.staying.iter().map(|entry| (entry.name.as_str(), entry.why.as_str())).collect();
    let (files, moved, staying) = (files.as_slice(), moved.as_slice(), staying.as_slice());
    let change = Change { client, file: &plan.file, key, entry: &plan.entry, effect: &effect, changes, files, moved, staying };
    options.secrets.learn(plan.secrets.iter().cloned());
    cli::install::run(&change, args.print, options, Io::real(), || plan.apply().map_err(|error| error.to_string()))
}
