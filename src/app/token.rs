//! `token`: issues, lists and revokes the bearer tokens of the gateway.

use std::sync::Arc;

use super::engine::wall_clock;
use crate::{
    auth::{IssueError, IssuedToken, IssuedTokens},
    cli::{
        self, Options,
        args::TokenCmd,
        print::Io,
        token::{ListedToken, created, list, revoked},
    },
    config::LoadOptions,
    domain::call::{Failure, FailureKind},
    gateway::{http::TokenLookup, random_bytes},
};

/// The tokens of the state folder, for the listener.
#[derive(Debug)]
pub struct Issued(IssuedTokens);

impl TokenLookup for Issued {
    fn required(&self) -> bool {
        self.0.required()
    }

    fn principal(&self, token: &[u8]) -> Option<Arc<str>> {
        self.0.principal(token)
    }
}

/// Returns the tokens of the state folder; `None` if it is unknown.
pub fn issued(load: &LoadOptions) -> Option<Arc<dyn TokenLookup>> {
    Some(Arc::new(Issued(IssuedTokens::new(load.state_dir.as_deref()?))))
}

/// Runs `token`; returns the exit code.
pub fn run(load: &LoadOptions, command: &TokenCmd, options: &Options) -> u8 {
    let fail = |failure: Failure| cli::fail(failure, options, Io::real());
    let Some(state) = load.state_dir.as_deref() else {
        return fail(Failure::new(FailureKind::InvalidArguments, "the state folder is unknown").hint("set HOME"));
    };
    let tokens = IssuedTokens::new(state);
    let done = match command {
        TokenCmd::New { name } => match random_bytes() {
            Ok(random) => tokens.issue(name, random, wall_clock() / 1000).map(|token| created(name, &token, options, Io::real())),
            Err(error) => return fail(Failure::new(FailureKind::Transport, format!("no random numbers: {error}"))),
        },
        TokenCmd::List => tokens.list().map(|tokens| {
            let listed = |token: IssuedToken| {
                let at = i64::try_from(token.created).ok().and_then(|at| chrono::DateTime::from_timestamp(at, 0));
                let created_text = at.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default();
                ListedToken { name: token.name, created: token.created, created_text }
            };
            list(&tokens.into_iter().map(listed).collect::<Vec<_>>(), options, Io::real())
        }),
        TokenCmd::Revoke { name } => match tokens.revoke(name) {
            Ok(true) => Ok(revoked(name, options, Io::real())),
            Ok(false) => {
                let failure = Failure::new(FailureKind::InvalidArguments, format!("no token is named {name:?}"));
                return fail(failure.hint("switchboard token list shows the names"));
            }
            Err(error) => Err(error),
        },
    };
    done.unwrap_or_else(|error| {
        let failure = Failure::new(FailureKind::InvalidArguments, error.to_string());
        fail(match error {
            IssueError::Exists(name) => failure.hint(format!("switchboard token revoke {name} revokes it first")),
            IssueError::Name(_) | IssueError::File { .. } => failure,
        })
    })
}
