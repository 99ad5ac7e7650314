//! Output of `token`: the bearer tokens of the gateway.

use std::sync::Arc;

use serde::Serialize;

use super::{
    Options, exit,
    print::{Format, Io, Printer},
};
use crate::domain::secret::Secret;

/// Prints a new token; returns the exit code. It is not stored, so this is the only time.
pub fn created(name: &str, token: &Secret, options: &Options, io: Io) -> u8 {
    #[derive(Serialize)]
    struct Created<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        name: &'a str,
        token: &'a str,
    }
    // Not masked: the user asked for it.
    super::finish(Printer::new(io, options.format, options.raw), |printer| {
        if printer.format() != Format::Human {
            printer.document(&Created { kind: "token", name, token: token.expose() })?;
            return Ok(exit::OK);
        }
        printer.line(token.expose())?;
        printer.note(&format!("the token of {name} is shown once; clients send it as: Authorization: Bearer TOKEN"));
        Ok(exit::OK)
    })
}

/// A token, for output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedToken {
    /// Its name.
    pub name: Arc<str>,
    /// When it was created, in seconds since the Unix epoch.
    pub created: u64,
    /// The same, for users.
    #[serde(skip)]
    pub created_text: String,
}

/// Prints the tokens; returns the exit code.
pub fn list(tokens: &[ListedToken], options: &Options, io: Io) -> u8 {
    #[derive(Serialize)]
    struct Tokens<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        tokens: &'a [ListedToken],
    }
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        if printer.format() != Format::Human {
            printer.document(&Tokens { kind: "tokens", tokens })?;
            return Ok(exit::OK);
        }
        if tokens.is_empty() {
            printer.note("no tokens are issued");
        }
        for token in tokens {
            printer.line(&format!("{}  created {}", token.name, token.created_text))?;
        }
        Ok(exit::OK)
    })
}

/// Prints that a token was revoked; returns the exit code.
pub fn revoked(name: &str, options: &Options, io: Io) -> u8 {
    #[derive(Serialize)]
    struct Revoked<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        name: &'a str,
    }
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        if printer.format() != Format::Human {
            printer.document(&Revoked { kind: "token_revoked", name })?;
            return Ok(exit::OK);
        }
        printer.line(&format!("the token of {name} is revoked; requests with it are refused from now on"))?;
        Ok(exit::OK)
    })
}
