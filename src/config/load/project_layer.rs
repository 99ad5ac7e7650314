//! The layer of a project: finds its file, and checks that it takes nothing from the user.

use std::path::{Path, PathBuf};

use super::Loader;
use crate::{
    config::{
        error::ConfigError,
        project,
        rules::PartialRules,
        trust::{Approvals, PendingApproval, launch_hash, launch_lines, project_hash, same_launch},
    },
    domain::{name_table, server::ServerSpec, text::visible},
};

/// Names of a project's file, in the order of the search.
const PROJECT_FILES: [&str; 3] = ["switchboard.toml", ".switchboard.toml", ".switchboard/config.toml"];

impl Loader<'_> {
    /// Returns whether no group of the user has the name of a project's server. Otherwise the user's routes would lead to
    /// it.
    pub(super) fn free_of_groups(&mut self, spec: &ServerSpec, users: &PartialRules) -> bool {
        let free = !users.has_group(&spec.id);
        if !free {
            let mut error = ConfigError::new("one of your own groups has this name, so the server is ignored").of_server(spec.id.as_str());
            (error.file, error.line) = (spec.origin.file.clone(), spec.origin.line);
            self.problems.push(error.hint("give the project's server another name"));
        }
        free
    }

    /// Returns whether no server of the user has the name of a project's server. Otherwise the user's workflows and calls
    /// would lead to it.
    pub(super) fn free_of_users(&mut self, spec: &ServerSpec, users: &[(ServerSpec, bool)]) -> bool {
        let Some((own, _)) = users.iter().find(|(own, _)| own.id == spec.id) else { return true };
        if !same_launch(own, spec) {
            let error = ConfigError::new("you have a server with this name, so the project's is ignored").of_server(spec.id.as_str());
            let error = ConfigError { line: spec.origin.line, file: spec.origin.file.clone(), ..error };
            self.problems.push(error.hint("give one of them another name"));
        }
        false
    }

    /// Returns whether no tool of a project's server can have the exposed name of a user's tool. Otherwise a workflow of the
    /// user would call it while the user's server is unavailable.
    pub(super) fn free_of_prefixes(&mut self, spec: &ServerSpec, users: &Prefixes) -> bool {
        let free = !users.overlap(spec.namespace());
        if !free {
            let message = "its tools could have the names of your own servers' tools, so the server is ignored";
            let error = ConfigError::new(message).of_server(spec.id.as_str()).hint("give it another namespace");
            self.problems.push(ConfigError { line: spec.origin.line, file: spec.origin.file.clone(), ..error });
        }
        free
    }

    /// Finds the project's folder (canonical) and file: in the current directory, or in the nearest folder above it up to
    /// the root of the repository or the home folder. Outside of both, only the current directory is searched: a shared
    /// folder such as `/tmp` must not configure what runs below it.
    pub(super) fn find_project(&mut self) -> Option<(PathBuf, PathBuf)> {
        let folders = project_folders(&self.options.cwd, self.options.home.as_deref());
        let user = self.options.user_file().and_then(|f| f.canonicalize().ok());
        for folder in &folders {
            self.files.extend(PROJECT_FILES.iter().map(|name| folder.join(name)));
            let root = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            let mut found = vec![];
            for file in PROJECT_FILES.iter().map(|name| root.join(name)) {
                if file.is_file() {
                    found.extend(Some(file).filter(|file| file.canonicalize().ok() != user));
                } else if file.symlink_metadata().is_ok() {
                    self.problems.push(ConfigError::new("is not a file, so it is not read").in_file(file).hint("remove it"));
                }
            }
            let mut found = found.into_iter();
            if let Some(file) = found.next() {
                for other in found {
                    let message = format!("is ignored, because {} also exists", file.display());
                    self.problems.push(ConfigError::new(message).in_file(other).hint("keep one of them"));
                }
                return Some((root, file));
            }
        }
        None
    }

    /// Returns the approval that a project needs; `None` when there is nothing to approve or it is approved.
    pub(super) fn hold_back(
        &mut self,
        (root, file): (&Path, &Path),
        servers: &[ServerSpec],
        reader: &project::Reader<'_>,
    ) -> Option<PendingApproval> {
        if servers.is_empty() && reader.parts.is_empty() {
            return None;
        }
        let hash = project_hash(servers, &reader.parts);
        if let Some(trusted) = &self.options.trust_hash {
            if *trusted == hash {
                return None;
            }
            let message = "the hash of --trust does not match this project";
            self.problems.push(ConfigError::new(message).in_file(file).hint(format!("review what the project starts; its hash is {hash}")));
        }
        let approvals = self.options.state_dir.as_deref().map(|dir| {
            self.files.push(Approvals::file(dir));
            Approvals::read(dir)
        });
        match approvals {
            Some(Ok(approvals)) if approvals.hold(root, &hash) => return None,
            Some(Err(e)) => self.problems.push(e),
            _ => {}
        }
        let mut lines = vec![];
        for spec in servers {
            lines.extend(launch_lines(std::slice::from_ref(spec)));
            let notes = reader.notes.get(spec.id.as_str()).into_iter().flatten();
            lines.extend(notes.map(|note| visible(note).into_owned()));
        }
        lines.extend(project::workflow_lines(&reader.workflows));
        let workflows = reader.workflows.files.iter().map(|file| file.name.clone()).collect();
        Some(PendingApproval {
            path: root.to_owned(),
            file: file.to_owned(),
            hash,
            servers: servers.to_vec(),
            workflows,
            lines,
            launches: launch_hash(servers),
            parts: reader.parts.clone(),
        })
    }
}

/// Prefixes of the exposed names of the user's tools.
pub(super) struct Prefixes {
    separator: String,
    all: Vec<String>,
}

impl Prefixes {
    pub(super) fn of(servers: &[(ServerSpec, bool)], rules: &PartialRules, separator: String) -> Prefixes {
        let namespaces = servers.iter().map(|(spec, _)| spec.namespace()).chain(rules.namespaces());
        // An empty namespace would match every name; the user chose it.
        let all = namespaces.filter(|namespace| !namespace.is_empty());
        let all = all.map(|namespace| format!("{}{separator}", name_table::prefix(namespace))).collect();
        Prefixes { separator, all }
    }

    /// Returns whether a tool under `namespace` could have a name with one of these prefixes.
    pub(super) fn overlap(&self, namespace: &str) -> bool {
        let prefix = if namespace.is_empty() { String::new() } else { format!("{}{}", name_table::prefix(namespace), self.separator) };
        self.all.iter().any(|own| own.starts_with(&prefix) || prefix.starts_with(own))
    }
}

/// Returns the folders that may hold a project's file, nearest first.
pub(in crate::config) fn project_folders(cwd: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let mut folders = vec![];
    for folder in cwd.ancestors() {
        if home == Some(folder) && folder != cwd {
            return folders;
        }
        folders.push(folder.to_owned());
        if folder.join(".git").exists() || home == Some(folder) {
            return folders;
        }
    }
    // Outside of repositories and of home.
    folders.truncate(1);
    folders
}
