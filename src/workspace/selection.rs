//! Selection: the servers and files that the command line selects, and the settings of the engine for them.

use std::collections::HashSet;

use chrono::Offset;

use crate::{
    config::{self, ConfigError, LoadOptions, Loaded, Settings},
    demo::Demo,
    domain::{
        ask::AskPolicy,
        id::ServerId,
        policy::{
            Rules,
            route::{Group, Route, Routing},
        },
        secret::{MASK, Secret, SecretRegistry, rule},
        server::{ServerSpec, Transport},
        time::Epoch,
        workspace::Invocation,
    },
    engine::EngineOptions,
};

/// What the command line selects.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Sources of the configuration.
    pub load: LoadOptions,
    /// Whether the demo servers are used.
    pub demo: bool,
    /// Whether the configuration files define the servers: not for the demo, nor for a server on the command line. The
    /// settings of the user's file apply in any case.
    pub files: bool,
    /// The selected servers; all when empty.
    pub only: Vec<String>,
    /// Whether the command line has a response to elicitation requests.
    pub elicit: bool,
    /// Whether the command line has a response to sampling requests.
    pub sample: bool,
}

impl Selection {
    /// Reads the configuration, if it is used. Its secrets are added to `secrets`.
    pub fn read(&self, secrets: &SecretRegistry) -> Result<Loaded, Vec<ConfigError>> {
        let read = config::load(&self.load);
        match &read {
            Ok(loaded) => self.note(loaded, secrets),
            // They quote no values.
            Err(errors) => errors.iter().for_each(|error| tracing::error!(target: "switchboard::config", "{error}")),
        }
        read
    }

    /// Logs the files of a configuration, after its secrets are masked.
    pub fn note(&self, loaded: &Loaded, known: &SecretRegistry) {
        known.learn(secrets(loaded));
        let files: Vec<String> = loaded.files.iter().filter(|file| file.exists()).map(|file| file.display().to_string()).collect();
        tracing::info!(
            target: "switchboard::config", files = files.join(" "), servers = loaded.servers.len(), problems = loaded.problems.len(),
            pending = loaded.pending.as_ref().map(|pending| tracing::field::display(pending.file.display())),
            "read"
        );
        for problem in &loaded.problems {
            tracing::warn!(target: "switchboard::config", "{problem}");
        }
    }

    /// Returns the problems of the configuration that are printed before a command runs. Those of a server that is not selected are
    /// not; nor, if the command `lists_servers`, are the errors that it shows with their server.
    pub fn warnings<'l>(&self, loaded: &'l Loaded, lists_servers: bool) -> impl Iterator<Item = &'l ConfigError> {
        let shown = |spec: &&ServerSpec| lists_servers && !spec.disabled && !spec.config_faults.is_empty();
        let shown: HashSet<&str> = loaded.servers.iter().filter(shown).map(|spec| spec.id.as_str()).collect();
        loaded.problems.iter().filter(move |problem| {
            let Some(server) = problem.server.as_deref() else { return true };
            let selected = self.only.is_empty() || self.only.iter().any(|name| name == server);
            selected && !(problem.unusable && shown.contains(server))
        })
    }

    /// Returns the selected servers of the configuration and of the demo.
    pub fn servers(&self, loaded: &Loaded, demo: Option<&Demo>) -> Vec<ServerSpec> {
        let all = demo.map(Demo::specs).unwrap_or_default().into_iter().chain(loaded.servers.iter().cloned());
        let mut wanted: Vec<ServerSpec> =
            all.filter(|spec| self.only.is_empty() || self.only.iter().any(|name| name == spec.id.as_str())).collect();
        for spec in &mut wanted {
            // A response on the command line overrides the configured one.
            if self.elicit {
                spec.elicitation = AskPolicy::Ask;
            }
            if self.sample {
                spec.sampling = AskPolicy::Ask;
            }
        }
        wanted
    }

    /// Returns the command line that uses the same servers.
    pub fn invocation(&self) -> Invocation {
        let mut flags = vec![];
        if self.demo {
            flags.push("--demo".to_owned());
        }
        for file in &self.load.config_files {
            flags.extend(["--config".to_owned(), file.display().to_string()]);
        }
        for name in &self.only {
            flags.extend(["--server".to_owned(), name.clone()]);
        }
        if self.load.no_project {
            flags.push("--no-project-config".to_owned());
        }
        if self.load.unsandboxed {
            flags.push("--allow-unsandboxed".to_owned());
        }
        if let Some(hash) = &self.load.trust_hash {
            flags.extend(["--trust".to_owned(), hash.clone()]);
        }
        let mut invocation = Invocation { flags, target: None };
        invocation.set_environment(self.load.environment.name().as_deref());
        let Invocation { mut flags, .. } = invocation;
        let target = self.load.extra.first();
        match target.map(|spec| &spec.launch) {
            Some(Transport::Http { headers, .. }) => {
                flags.extend(headers.iter().flat_map(|(name, _)| ["--header".to_owned(), format!("{name}: {MASK}")]));
            }
            Some(Transport::Stdio { env, .. }) => {
                let written = |(name, value): &(String, Secret)| if value.interpolated() { name.clone() } else { format!("{name}={MASK}") };
                flags.extend(env.iter().flat_map(|variable| ["--env".to_owned(), written(variable)]));
            }
            None => {}
        }
        Invocation { flags, target: target.map(|spec| spec.launch.summary()) }
    }

    /// Returns the names given by `--server` that are unknown.
    pub fn unknown<'a>(&'a self, servers: &[ServerSpec]) -> Vec<&'a str> {
        self.only.iter().map(String::as_str).filter(|name| !servers.iter().any(|s| s.id.as_str() == *name)).collect()
    }
}

/// Returns the rules of a configuration, over those of the demo if it runs. A group of the demo, and the routes that need it,
/// are used only with all of its members.
pub fn rules(loaded: &Loaded, demo: bool, servers: &[ServerSpec]) -> Rules {
    let mut rules = loaded.rules.clone();
    if demo {
        rules.tools.splice(0..0, Demo::rules());
        let Routing { groups, routes } = Demo::routing();
        let runs = |id: &ServerId| servers.iter().any(|spec| spec.id == *id);
        let free = |id: &ServerId| !runs(id) && !rules.routing.groups.iter().any(|group| group.id == *id);
        let complete = |group: &Group| free(&group.id) && group.members.iter().all(|member| runs(&member.server));
        let groups: Vec<Group> = groups.into_iter().filter(complete).collect();
        let used = |route: &Route| route.only.iter().flatten().all(|id| groups.iter().any(|group| group.id == *id));
        rules.routing.routes.extend(routes.into_iter().filter(used));
        rules.routing.groups.extend(groups);
    }
    rules
}

/// Returns the secrets of a configuration: of its servers, of the addresses of Redis and of the environment's proxies.
pub fn secrets(loaded: &Loaded) -> Vec<Secret> {
    let mut found: Vec<Secret> = loaded.servers.iter().flat_map(ServerSpec::secrets).collect();
    found.extend(loaded.environment_secrets.iter().cloned());
    for address in &loaded.rules.cache.redis {
        found.extend(rule::of_value(if address.interpolated() { "secret" } else { "" }, address.expose()));
    }
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        found.extend(std::env::var(name).ok().iter().flat_map(|address| rule::of_url(address, false)));
    }
    found
}

/// Returns the options of an engine. The demo always uses the default separator, because its rules and workflows use the
/// default exposed names.
#[expect(clippy::disallowed_methods, reason = "the epoch of the engine")]
pub fn engine_options(loaded: &Loaded, demo: bool) -> EngineOptions {
    let settings = &loaded.settings;
    let now = chrono::Local::now();
    let epoch =
        Epoch { unix_ms: u64::try_from(now.timestamp_millis()).unwrap_or_default(), utc_offset_s: now.offset().fix().local_minus_utc() };
    let separator = if demo { Settings::default().separator } else { settings.separator.clone() };
    EngineOptions { epoch, separator, seed: None }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;
    use crate::domain::catalog::ConfirmPolicy;

    /// As with these servers on the command line, in a place of its own.
    fn selection(dir: &Path, extra: Vec<ServerSpec>, demo: bool) -> Selection {
        let (cwd, folder) = (dir.join("project"), |name| Some(dir.join(name)));
        let files = extra.is_empty() && !demo;
        let load = LoadOptions {
            extra,
            servers_given: !files,
            cwd,
            home: folder(""),
            user_dir: folder("conf"),
            state_dir: folder("state"),
            ..LoadOptions::process()
        };
        Selection { load, demo, files, ..Selection::default() }
    }

    #[test]
    fn the_users_settings_hold_for_servers_of_the_command_line_and_for_the_demo() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let user = "separator = \"-\"\n[console]\nconfirm = \"never\"\n[defaults.timeouts]\ncall = \"7s\"\n[servers.mine]\ncommand = \"mine\"\n\
                    [servers.unset]\ncommand = \"${NO_SUCH_VARIABLE_HERE}\"\n[groups.all]\nmembers = [\"mine\"]\n";
        write("conf/config.toml", user);
        write("project/switchboard.toml", "[servers.theirs]\ncommand = \"theirs\"\n");
        let url = config::server_from_url("https://example.com/mcp").unwrap();
        let given = [
            (vec![config::server_from_command(&["git".into(), "serve".into()])], false, vec!["git"]),
            (vec![url], false, vec!["example"]),
            (vec![], true, vec![]),
        ];
        for (extra, demo, ids) in given {
            let line = &ids;
            let mut setup = selection(dir.path(), extra, demo);
            let loaded = setup.read(&SecretRegistry::default()).unwrap();
            assert_eq!((loaded.settings.separator.as_str(), loaded.settings.console.confirm), ("-", ConfirmPolicy::Never), "{line:?}");
            assert_eq!(loaded.servers.iter().map(|spec| spec.id.as_str()).collect::<Vec<_>>(), ids, "{line:?}");
            assert!(loaded.servers.iter().all(|spec| spec.timeouts.call == Duration::from_secs(7)), "{line:?}");
            assert_eq!((&loaded.rules, &loaded.pending, &loaded.problems), (&Rules::default(), &None, &vec![]), "{line:?}");
            assert_eq!(engine_options(&loaded, setup.demo).separator, if setup.demo { "_" } else { "-" }, "{line:?}");
            // What a reload reads: the same servers, whatever was added to the file.
            write("conf/config.toml", &format!("{user}[servers.more]\ncommand = \"more\"\n").replace("never", "destructive"));
            let again = config::load(&setup.load).unwrap();
            assert_eq!((&again.servers, again.settings.console.confirm), (&loaded.servers, ConfirmPolicy::Destructive), "{line:?}");
            write("conf/config.toml", user);
            setup.load.servers_given = false;
            assert!(setup.read(&SecretRegistry::default()).unwrap().pending.is_some(), "{line:?}");
        }
        assert!(
            selection(dir.path(), vec![], false)
                .read(&SecretRegistry::default())
                .unwrap()
                .servers
                .iter()
                .any(|spec| spec.id.as_str() == "mine")
        );
    }
}
