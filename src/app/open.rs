//! `open`: shows a session file in the console. No server runs.

use std::sync::Arc;

use super::{
    console::{console_options, ended, guard, open_preferences},
    session::read_session,
};
use crate::{
    cli::{self, Options, args::OpenArgs, print::Io},
    control::RecordedSession,
    domain::call::{Failure, FailureKind},
    process::Watch,
    state::ConsoleState,
    tui,
    workspace::{Selection, engine_options},
};

/// Runs `open`; returns the exit code.
pub async fn run(selection: Selection, args: OpenArgs, options: Options, watch: Arc<Watch>) -> u8 {
    let plain = Options::default();
    let fail = |failure: Failure| cli::fail(failure, &plain, Io::real());
    let session = match read_session(&args.file) {
        Ok(session) => session,
        Err(why) => return fail(Failure::new(FailureKind::InvalidArguments, why)),
    };
    let (workspace, preferences) = match open_preferences(selection, &options) {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let offset = engine_options(&workspace.loaded(), false).epoch.utc_offset_s;
    let (state, end) = ConsoleState::of_session(&session, offset);
    drop(session);
    let shown = tui::ConsoleOptions { begin: Some(end), ..console_options(preferences, &workspace, guard(), &watch) };
    ended(tui::run(RecordedSession::new(state), shown).await, &watch)
}
