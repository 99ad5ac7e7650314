//! The domain: plain data and pure rules.
//!
//! Owns what a server, tool, call, frame and event *are*. Depends on no other module and uses no tokio, no I/O and no
//! clock: callers pass the current time as a [`time::Stamp`].

pub mod advice;
pub mod argument_history;
pub mod ask;
pub mod body;
pub mod bounds;
pub mod call;
pub mod call_summary;
pub mod capabilities;
pub mod catalog;
pub mod client;
pub mod command;
pub mod config_error;
pub mod config_fault;
pub mod config_input;
pub mod console_layout;
pub mod directory;
pub mod document;
pub mod drift;
pub mod event;
pub mod filter;
pub mod fold;
pub mod form;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod glob;
pub mod history;
pub mod id;
pub mod in_doubt;
pub mod journal;
pub mod json;
pub mod login;
pub mod lossy_path;
pub mod masked;
pub mod mock_server;
pub mod name_table;
pub mod nesting;
pub mod pins;
pub mod plural;
pub mod policy;
pub mod profile;
pub mod program_session;
pub mod raw_object;
pub mod recorded;
pub mod request_meta;
pub mod restart;
pub mod result_diff;
pub mod retention;
pub mod run;
pub mod schema;
pub mod secret;
pub mod server;
pub mod session_file;
pub mod spec_hash;
pub mod spelling;
pub mod stats;
pub mod stored_catalog;
pub mod text;
pub mod time;
pub mod tls;
pub mod trace;
pub mod uri_template;
pub mod workflow;
pub mod workspace;

#[cfg(test)]
pub(crate) mod test_entries;
