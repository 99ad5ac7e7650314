//! Changes of a server in the file that configures it.

use std::path::PathBuf;

use crate::{
    config::{self, Loaded},
    domain::{
        id::ServerId,
        workspace::{ServerEdit, WorkspaceError},
    },
};

/// Changes a server in its file; returns the path of the file. The watch of the configuration applies the change.
pub fn edit_server(loaded: &Loaded, server: &ServerId, edit: &ServerEdit) -> Result<PathBuf, WorkspaceError> {
    let spec = loaded.servers.iter().find(|spec| spec.id == *server);
    let file = spec.and_then(|spec| spec.origin.file.clone());
    let file = file.ok_or_else(|| WorkspaceError::invalid(format!("{server} is not in a file: it was added for this session only")))?;
    if !config::editable(&file) {
        return Err(WorkspaceError::invalid(format!("{} is not a TOML file; edit it in your editor", file.display())));
    }
    let invalid = |error: config::ConfigError| WorkspaceError::invalid(error.in_file(&file).to_string());
    let text = config::user_text(&file).map_err(|error| WorkspaceError::invalid(error.to_string()))?.unwrap_or_default();
    let text = config::edit_server(&text, server.as_str(), edit).map_err(invalid)?;
    config::write_config(&file, &text).map_err(|error| WorkspaceError::NotWritten { why: error.to_string() })?;
    Ok(file)
}
