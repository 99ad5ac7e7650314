//! What the command line does to breakers and makes of faults, before anything else.

use super::{Options, session::unknown_server};
use crate::{
    domain::{call::Failure, id::ServerId, read_model::ConsoleState},
    engine::control::Command,
};

/// The commands that `--breaker` and `--inject` mean. Fails for a server that there is none of.
pub fn commands(read_model: &ConsoleState, options: &Options) -> Result<Vec<Command>, Failure> {
    let mut commands = vec![];
    for placed in &options.breaker {
        let (server, tool) = place(read_model, &placed.place)?;
        commands.push(Command::Breaker { server, tool, order: placed.what });
    }
    for placed in &options.inject {
        let (server, tool) = place(read_model, &placed.place)?;
        commands.push(Command::Inject { server, tool, fault: Some(placed.what.clone()) });
    }
    Ok(commands)
}

/// The server and tool that are meant. Names are looked up, never split: a server may have a slash in its name.
fn place(read_model: &ConsoleState, text: &str) -> Result<(ServerId, Option<String>), Failure> {
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
