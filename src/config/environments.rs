//! Environments: sets of variables and servers in `[environments.NAME]`, one of which is in use.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{
    error::ConfigError,
    fields::{Fields, Report, near_hint},
    server::patterns,
};
use crate::domain::{
    document::{Field, Node},
    policy::tool_filter::ToolFilter,
    secret::{Secret, rule},
    workspace::Environments,
};

/// The name of the environment in use. Clones share it, so that a reload reads the current one.
#[derive(Clone, Debug, Default)]
pub struct EnvironmentChoice(Arc<Mutex<Option<String>>>);

impl EnvironmentChoice {
    /// Returns a choice of this environment; `None` for none.
    pub fn new(name: Option<String>) -> EnvironmentChoice {
        EnvironmentChoice(Arc::new(Mutex::new(name)))
    }

    /// Returns the name of the environment in use.
    pub fn name(&self) -> Option<String> {
        self.0.lock().clone()
    }

    /// Sets the environment in use; returns the one before.
    pub fn replace(&self, name: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.0.lock(), name)
    }
}

/// The environments of the user's files.
#[derive(Debug, Default)]
pub(super) struct Known {
    names: Vec<String>,
    used: Option<Environment>,
}

/// An environment in use.
#[derive(Debug, Default)]
struct Environment {
    variables: Vec<(String, Secret)>,
    /// The servers that are enabled.
    servers: ToolFilter,
}

impl Known {
    /// Adds the environments of a file. `wanted` is the one to use. Errors are in the report: each costs its variable or its patterns.
    pub fn read(&mut self, report: &Report<'_>, tree: &Node, wanted: Option<&str>) {
        let mut root = Fields::new(report, tree.fields().unwrap_or_default(), "");
        for entry in root.table("environments").unwrap_or_default() {
            let used = entry_of(report, entry);
            if wanted == Some(entry.key.as_str()) {
                self.used = used.map(|entry| entry.expanded(report)).or(self.used.take());
            }
            if !self.names.contains(&entry.key) {
                self.names.push(entry.key.clone());
            }
        }
    }

    /// Returns the variables of the environment in use.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.used.iter().flat_map(|used| &used.variables).map(|(name, value)| (name.as_str(), value.expose()))
    }

    /// Returns which servers the environment in use enables; `None` without one.
    pub fn servers(&self) -> Option<&ToolFilter> {
        self.used.as_ref().map(|used| &used.servers)
    }

    /// Returns the values of the variables that are secret: by their names, or because they come from a variable.
    pub fn secrets(&self) -> Vec<Secret> {
        let variables = self.used.iter().flat_map(|used| &used.variables);
        variables.flat_map(|(name, value)| rule::of_value(if value.interpolated() { "secret" } else { name }, value.expose())).collect()
    }

    /// Returns the names and the one in use. Fails if `wanted` is none of them.
    pub fn choose(&self, wanted: Option<String>) -> Result<Environments, ConfigError> {
        if let Some(name) = wanted.as_deref().filter(|name| !self.names.iter().any(|known| known == name)) {
            let hint = match near_hint(name, self.names.iter().map(String::as_str)) {
                _ if self.names.is_empty() => format!("add [environments.{name}] to your configuration"),
                near if near.is_empty() => format!("environments: {}", self.names.join(", ")),
                near => near,
            };
            return Err(ConfigError::new(format!("the environment `{name}` is not configured")).hint(hint));
        }
        Ok(Environments { current: wanted, names: self.names.clone() })
    }
}

/// An environment as it is in the file.
struct Entry<'t> {
    key: String,
    variables: &'t [Field],
    servers: ToolFilter,
}

/// Reads `[environments.NAME]`.
fn entry_of<'t>(report: &'t Report<'_>, entry: &'t Field) -> Option<Entry<'t>> {
    let key = format!("environments.{}", entry.key);
    let Some(table) = entry.value.fields() else {
        report.error(entry.at, &key, "should be a table", format!("write [{key}]"));
        return None;
    };
    let mut fields = Fields::new(report, table, key.clone());
    let variables = fields.table("variables").unwrap_or_default();
    let servers = ToolFilter {
        enabled: patterns(&mut fields, "enabled_servers"),
        disabled: patterns(&mut fields, "disabled_servers").unwrap_or_default(),
    };
    fields.finish();
    Some(Entry { key, variables, servers })
}

impl Entry<'_> {
    /// Expands the variables. Those of another environment may be unset.
    fn expanded(self, report: &Report<'_>) -> Environment {
        let mut variables = vec![];
        for field in self.variables {
            let key = format!("{}.variables.{}", self.key, field.key);
            match field.value.text() {
                Some(text) => variables.push((field.key.clone(), report.expand(field.value.at, &key, text))),
                None => report.error(field.value.at, &key, "should be a text", "write the value in quotes"),
            }
        }
        Environment { variables, servers: self.servers }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Env, LoadOptions, Loaded, load};

    const FILE: &str = r#"
        include = ["more.toml"]
        [environments.staging]
        variables = { API = "https://staging.example/mcp", KEY = "${STAGING_KEY}" }
        disabled_servers = ["local*"]
        [environments.production]
        variables = { API = "https://example.com/mcp", KEY = "${PRODUCTION_KEY}" }
        enabled_servers = ["api", "deep"]
        [servers.api]
        url = "${API:-http://127.0.0.1:1/mcp}"
        headers = { X-Api = "${KEY:-none}" }
        [servers.local_db]
        command = "${LOCAL_DB}"
        [servers.other]
        command = "true"
    "#;
    const MORE: &str = "[environments.late]\n[servers.deep]\ncommand = \"${API:-here}\"\n";

    fn options(dir: &Path, environment: Option<&str>) -> LoadOptions {
        std::fs::create_dir_all(dir.join("conf")).unwrap();
        std::fs::write(dir.join("conf/config.toml"), FILE).unwrap();
        std::fs::write(dir.join("conf/more.toml"), MORE).unwrap();
        let env = Env::from_iter([("STAGING_KEY", "s3cret-staging"), ("LOCAL_DB", "db")]);
        let environment = EnvironmentChoice::new(environment.map(str::to_owned));
        LoadOptions { user_dir: Some(dir.join("conf")), cwd: dir.to_owned(), no_project: true, env, environment, ..LoadOptions::default() }
    }

    fn enabled(loaded: &Loaded) -> Vec<&str> {
        loaded.servers.iter().filter(|server| !server.disabled).map(|server| server.id.as_str()).collect()
    }

    fn target(loaded: &Loaded, server: &str) -> String {
        loaded.servers.iter().find(|spec| spec.id.as_str() == server).unwrap().launch.summary()
    }

    #[test]
    fn an_environment_sets_variables_and_selects_servers() {
        let dir = tempfile::tempdir().unwrap();
        let without = load(&options(dir.path(), None)).unwrap();
        assert_eq!(enabled(&without), ["api", "local_db", "other", "deep"]);
        assert_eq!((target(&without, "api").as_str(), target(&without, "deep").as_str()), ("http://127.0.0.1:1/mcp", "here"));
        assert_eq!(without.environments.current, None);

        let staging = load(&options(dir.path(), Some("staging"))).unwrap();
        assert_eq!(enabled(&staging), ["api", "other", "deep"]);
        let api = "https://staging.example/mcp";
        assert_eq!((target(&staging, "api").as_str(), target(&staging, "deep").as_str()), (api, api), "also in included files");
        assert_eq!(staging.environments.current.as_deref(), Some("staging"));
        assert_eq!(staging.environments.names, ["staging", "production"]);
        assert!(staging.environment_secrets.iter().any(|secret| secret.expose() == "s3cret-staging"));
        assert!(!format!("{staging:?}").contains("s3cret"), "values are not printed");
        // An environment of an included file would apply to a part of the files only.
        assert!(staging.problems.iter().any(|problem| problem.key.as_deref() == Some("environments")), "{:?}", staging.problems);
    }

    #[test]
    fn unset_variables_of_another_environment_are_no_problem() {
        let dir = tempfile::tempdir().unwrap();
        let unset = |loaded: &Loaded| loaded.problems.iter().filter(|problem| problem.message.contains("PRODUCTION_KEY")).count();
        assert_eq!(unset(&load(&options(dir.path(), Some("staging"))).unwrap()), 0);
        let production = load(&options(dir.path(), Some("production"))).unwrap();
        assert_eq!(enabled(&production), ["api", "deep"]);
        assert!(unset(&production) > 0, "{:?}", production.problems);
    }

    #[test]
    fn an_unknown_environment_is_refused_until_another_is_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), Some("stagin"));
        let errors = load(&options).unwrap_err();
        assert_eq!(errors[0].to_string().lines().next(), Some("the environment `stagin` is not configured"));
        assert!(format!("{:?}", errors[0]).contains("did you mean `staging`?"));
        // The choice is shared with what watches the files.
        let watched = options.clone();
        assert_eq!(options.environment.replace(Some("production".into())).as_deref(), Some("stagin"));
        assert_eq!(load(&watched).unwrap().environments.current.as_deref(), Some("production"));
    }

    #[test]
    fn a_project_cannot_define_environments() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), Some("staging"));
        options.no_project = false;
        std::fs::write(dir.path().join("switchboard.toml"), "[environments.staging.variables]\nAPI = \"https://evil.example\"\n").unwrap();
        let loaded = load(&options).unwrap();
        assert_eq!(target(&loaded, "api"), "https://staging.example/mcp");
        assert!(
            loaded.problems.iter().any(|problem| problem.message.contains("a project cannot change settings")),
            "{:?}",
            loaded.problems
        );
    }
}
