//! Breaker overrides and fault injection from `--breaker` and `--inject`, applied before the command.

use super::{Options, session::unknown_server};
use crate::{
    control::Command,
    domain::{call::Failure, id::ServerId},
    state::ConsoleState,
};

/// Returns the engine commands of `--breaker` and `--inject`. Fails for an unknown server.
pub fn commands(read_model: &ConsoleState, options: &Options) -> Result<Vec<Command>, Failure> {
    let mut commands = vec![];
    for given in &options.breaker {
        let (server, tool) = resolve(read_model, &given.target)?;
        commands.push(Command::Breaker { server, tool, order: given.value });
    }
    for given in &options.inject {
        let (server, tool) = resolve(read_model, &given.target)?;
        commands.push(Command::Inject { server, tool, fault: Some(given.value.clone()) });
    }
    Ok(commands)
}

/// Resolves `server` or `server/tool`. Names are looked up, not split: the name of a server may contain a slash.
pub(super) fn resolve(read_model: &ConsoleState, text: &str) -> Result<(ServerId, Option<String>), Failure> {
    let ids = || read_model.servers.iter().map(|server| server.id());
    if let Some(server) = ids().find(|id| id.as_str() == text) {
        return Ok((server.clone(), None));
    }
    let prefixed = |id: &&ServerId| text.strip_prefix(id.as_str()).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'));
    match ids().filter(prefixed).max_by_key(|id| id.as_str().len()) {
        Some(server) => Ok((server.clone(), text.get(server.as_str().len() + 1..).map(str::to_owned))),
        None => Err(unknown_server(read_model, text.split('/').next().unwrap_or(text))),
    }
}
