//! Configuration: the TOML file, the files of other MCP clients, approval of project files, reload.
//!
//! Owns where settings and servers come from and how they are validated. Called by `app`, and through it by the faces;
//! depends on [`crate::domain`] only. Everything but [`watch()`] is synchronous code that reads files. The environment is a
//! parameter ([`Env`]), so nothing depends on global state.
//!
//! Modules:
//! - `source` parses TOML, JSON with comments and (with `yaml`) YAML into one tree, `places` finds lines and columns;
//! - `fields` reads the tables of that tree and reports unknown keys, `renamed` names the successor of an old key;
//! - `text` expands `${VAR}`, `dialect` translates the placeholders of other clients into it;
//! - `settings` and `server` (our own format) and `kinds` (formats of other clients) interpret the tree;
//! - `auth` reads the OAuth settings of a server;
//! - `env_file` reads the `envFile` of a server, `inputs` has the values that the user gave for inputs of files;
//! - `policy` reads the policy settings of a server or a tool, `rules` what is not part of a server: rules for tools,
//!   groups, routes, the cache;
//! - [`load()`] merges the layers, `project` reads a project's workflows and scripts once, `trust` withholds what a project
//!   asks for until it is approved;
//! - [`import`](find_imports) finds the files of other clients, `export` writes servers into ours, `secret_variables` without
//!   their secrets, `install` writes the gateway into those of other clients; `edit` and `change` change servers of ours;
//! - `bundle` unpacks bundles of servers, `schema` is the JSON Schema of our file.

mod adhoc;
mod argument_history;
mod auth;
mod bundle;
mod change;
#[cfg(test)]
mod client_tests;
mod console_layout;
mod dialect;
mod edit;
mod env_file;
mod environments;
mod error;
mod export;
mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gateway;
mod import;
mod inputs;
mod install;
mod kinds;
mod load;
#[cfg(test)]
mod load_tests;
mod moving;
mod places;
mod policy;
#[cfg(test)]
mod policy_tests;
mod private;
mod project;
mod renamed;
mod rules;
mod schema;
mod secret_variables;
mod server;
mod settings;
mod source;
mod text;
mod trust;
mod watch;
mod workflows;
mod yaml;

#[cfg(test)]
pub(crate) use kinds::page as clients_page;

pub use adhoc::{Variables, add_headers, add_variables, server_from_command, server_from_url};
pub use argument_history::{load_recall, save_recall};
pub use bundle::{is_bundle, unpack_bundle};
pub use change::{ChangePlan, inputs_of, masked_text, plan_add, plan_edit};
pub use console_layout::{load_layout, save_layout};
pub use edit::{edit_server, editable};
pub use environments::EnvironmentChoice;
pub use error::ConfigError;
#[cfg(test)]
use export::add_to_toml;
pub use export::{to_toml, user_text, write_config};
pub use gateway::GatewaySettings;
pub use import::{FoundImport, SearchedPlace, find_imports, read_described, read_imports, searched_places};
pub use inputs::InputAnswers;
pub use install::{FileChange, InstallEffect, InstallPlaces, InstallPlan, install_targets, plan_install, plan_undo};
pub use load::{LoadOptions, Loaded, load};
pub use moving::{MoveTo, MovedEntry, StayingEntry};
pub use project::ProjectWorkflows;
pub use schema::schema;
pub use secret_variables::{ImportTexts, SecretVariable, import_texts};
pub use settings::{ConsoleSettings, HistorySettings, Settings, ThemeName};
pub use text::Env;
pub use trust::{PendingApproval, approve, approve_written, launch_hash, launch_lines};
pub use watch::{Reload, watch, watch_folders};
pub use workflows::{
    WorkflowFile, Workflows, add_case, log_file, save_workflow, stays_inside, store_file, tests_in, workflow_at, workflow_files,
    workflows_in,
};
