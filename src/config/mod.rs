//! Configuration: the TOML file, the files of other MCP clients, approval of project files, reload.
//!
//! Owns where settings and servers come from and how they are checked. Called by `app.rs` and, through
//! it, by the faces; names only [`crate::domain`]. Everything but [`watch()`] is plain synchronous code
//! that reads files; the environment is handed in ([`Env`]), so that nothing depends on hidden state.
//!
//! How the pieces fit:
//! - `source` turns TOML and JSON with comments into one tree that knows its lines;
//! - `fields` reads tables of that tree and reports what it does not know;
//! - `text` replaces `${VAR}`;
//! - `settings`, `server` (our own format) and `clients` (everybody else's) give meaning to the tree;
//! - `env_file` reads the file that such a file may name for the variables of a program;
//! - `policy` reads the knobs of a server or a tool, `rules` what stands above servers: rules for tools, groups, routes, the cache;
//! - [`load()`] puts the layers together, `project` reads a project's workflows and scripts once, `trust` holds back what a
//!   project asks for until it is approved;
//! - [`import`](find_imports) finds other clients' files, `export` writes them into ours.

mod adhoc;
mod argument_history;
#[cfg(test)]
mod client_tests;
mod clients;
mod env_file;
mod error;
mod export;
mod fields;
mod import;
mod load;
#[cfg(test)]
mod load_tests;
mod policy;
#[cfg(test)]
mod policy_tests;
mod private;
mod project;
mod rules;
mod server;
mod settings;
mod source;
mod text;
mod trust;
mod watch;
mod workflows;

pub use adhoc::{server_from_command, server_from_url};
pub use argument_history::{load_recall, save_recall};
pub use error::ConfigError;
pub use export::{add_to_toml, to_toml, user_text, write_config};
pub use import::{FoundImport, find_imports};
pub use load::{LoadOptions, Loaded, load};
pub use project::ProjectWorkflows;
pub use settings::{ConsoleSettings, KeySetting, Settings, ThemeName};
pub use text::Env;
pub use trust::{PendingApproval, approve, approve_written, launch_hash, launch_lines};
pub use watch::{Reload, watch, watch_folders};
pub use workflows::{
    WorkflowFile, Workflows, add_case, save_workflow, stays_inside, store_file, tests_in, workflow_at, workflow_files, workflows_in,
};
