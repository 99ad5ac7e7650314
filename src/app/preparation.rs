//! What a face without a console needs before the engine starts: the approved configuration, the demo, and servers that exist.

use std::sync::Arc;

use super::{engine::prepare_demo, workspace};
use crate::{
    cli::{self, Options, print::Io, session},
    config::Loaded,
    demo::Demo,
    domain::text::visible_lines,
    store::Store,
    workspace::{Selection, WorkspaceService},
};

/// The workspace and the demo of a face.
pub struct Prepared {
    /// The workspace.
    pub workspace: Arc<WorkspaceService>,
    /// The demo, if the command line selects it; not started.
    pub demo: Option<Demo>,
    /// The standard streams.
    pub io: Io,
}

impl Prepared {
    /// Prepares a face that lists servers, or uses them only. Fails with the exit code, after the error was printed.
    pub fn new(selection: Selection, options: &Options, lists_servers: bool) -> Result<Prepared, u8> {
        let workspace = workspace(selection, options)?;
        let loaded = workspace.loaded();
        // A project with workflows only does not block: a command that names one of them is refused later.
        if loaded.pending.as_ref().is_some_and(|pending| !pending.servers.is_empty()) {
            return Err(cli::approve::required(&*workspace, options, Io::real()));
        }
        let mut io = Io::real();
        for problem in workspace.selection().warnings(&loaded, lists_servers) {
            warn(&mut io, &problem.to_string());
        }
        let demo = prepare_demo(&workspace, options)?;
        let servers = workspace.selection().servers(&loaded, demo.as_ref());
        if let Some(name) = workspace.selection().unknown(&servers).first() {
            let all = Selection { only: vec![], ..workspace.selection().clone() }.servers(&loaded, demo.as_ref());
            let known: Vec<&str> = all.iter().map(|server| server.id.as_str()).collect();
            return Err(cli::fail(session::no_server(name, &known), options, Io::real()));
        }
        Ok(Prepared { workspace, demo, io })
    }
}

/// Prints a warning on stderr.
pub fn warn(io: &mut Io, text: &str) {
    if io.style.quiet {
        return;
    }
    // A closed stderr does not stop the command.
    let _ = writeln!(io.stderr, "warning: {}", visible_lines(text));
}

/// Returns the store if the calls of a face are recorded in it.
pub fn recorded(store: &Option<Store>, loaded: &Loaded, demo: bool) -> Option<Store> {
    store.clone().filter(|_| !demo && loaded.settings.history.calls > 0)
}
