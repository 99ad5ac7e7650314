//! `open`: shows a session file in the console. No server runs.

use std::{sync::Arc, time::Duration};

use super::{
    console::{check_terminal, code_of, console_options, guard},
    refuse,
    session::read_session,
};
use crate::{
    cli::{self, Options, args::OpenArgs, exit, print::Io},
    control::RecordedSession,
    domain::call::{Failure, FailureKind},
    process::Watch,
    state::ConsoleState,
    tui,
    workspace::{ProjectErrors, Selection, WorkspaceService, engine_options},
};

/// Runs `open`; returns the exit code.
pub async fn run(selection: Selection, args: OpenArgs, options: Options, watch: Arc<Watch>) -> u8 {
    let plain = Options::default();
    let fail = |failure: Failure| cli::fail(failure, &plain, Io::real());
    let session = match read_session(&args.file) {
        Ok(session) => session,
        Err(why) => return fail(Failure::new(FailureKind::InvalidArguments, why)),
    };
    if let Err(code) = check_terminal() {
        return code;
    }
    // For the preferences of this user.
    let workspace = match WorkspaceService::open(selection, options.secrets.clone(), ProjectErrors::Ignore) {
        Ok(workspace) => workspace,
        Err(errors) => return refuse(&errors, &plain),
    };
    let preferences = match tui::preferences(&workspace.settings()) {
        Ok(preferences) => preferences,
        Err(errors) => return refuse(&errors, &plain),
    };
    let offset = engine_options(&workspace.loaded(), false).epoch.utc_offset_s;
    let (state, end) = ConsoleState::of_session(&session, offset);
    drop(session);
    let shown = tui::ConsoleOptions { begin: Some(end), ..console_options(preferences, &workspace, guard(), &watch) };
    let left = tui::run(RecordedSession::new(state), shown).await;
    watch.ending(left.as_ref().map_or(exit::FAILED, |left| code_of(*left)), Duration::ZERO);
    match left {
        Ok(left) => code_of(left),
        Err(error) => fail(Failure::new(FailureKind::Transport, format!("the console ended: {error}"))),
    }
}
