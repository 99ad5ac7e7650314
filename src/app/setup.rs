//! Setup: derives servers, rules and the engine from the command line and the configuration.

use std::{collections::HashSet, sync::Arc};

use chrono::Offset;

use crate::{
    cache,
    cli::args::{Cli, Headless, Target},
    config::{self, ConfigError, LoadOptions, Loaded, Settings},
    control::LocalControl,
    demo::Demo,
    domain::{
        ask::AskPolicy,
        policy::{Rules, cache::CacheSettings},
        secret::{MASK, Secret, rule},
        server::{ServerSpec, Transport},
        time::Epoch,
    },
    engine::{Adapters, Engine, EngineOptions},
    mcp::Connections,
    store::{Store, StoreOptions},
    telemetry::Log,
    tui::copying::Invocation,
};

/// The request of the command line.
#[derive(Clone)]
pub struct Setup {
    /// Sources of the configuration.
    pub load: LoadOptions,
    /// The error of the command line, if any.
    pub problem: Option<String>,
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
    /// The log of this process.
    pub log: Log,
}

impl Setup {
    /// Interprets the command line. `demo` selects the demo servers.
    pub fn new(cli: &Cli, demo: bool) -> Setup {
        let mut load = LoadOptions::process();
        load.config_files = cli.global.config.clone();
        load.no_project = cli.global.no_project_config;
        load.trust_hash = cli.global.trust.clone();
        load.unsandboxed = cli.global.allow_unsandboxed;
        load.env = std::mem::take(&mut load.env).with_inputs(cli.global.inputs.iter().map(|input| (input.id.clone(), input.value.clone())));
        let mut problem = None;
        let target = cli.target().unwrap_or_else(|why| {
            problem = Some(why);
            None
        });
        match target.map(|target| given(&target, cli, &load.env)) {
            Some(Ok(spec)) => load.extra.push(spec),
            Some(Err(error)) => problem = Some(error.to_string()),
            None if problem.is_none() && !(cli.global.header.is_empty() && cli.global.env.is_empty()) => {
                let error = ConfigError::new("--header and --env apply to a server on the command line");
                let hint = "add a URL, or a command after --; for configured servers set `headers` or `env` in the file";
                problem = Some(error.hint(hint).to_string());
            }
            None => {}
        }
        let files = (load.extra.is_empty() && !demo) || !load.config_files.is_empty();
        load.servers_given = !files;
        let global = &cli.global;
        Setup {
            load,
            problem,
            demo,
            files,
            only: global.servers.clone(),
            elicit: global.elicit.is_some(),
            sample: global.sample.is_some(),
            log: Log::default(),
        }
    }

    /// Reads the configuration, if it is used.
    pub fn read(&self) -> Result<Loaded, Vec<ConfigError>> {
        let read = config::load(&self.load);
        match &read {
            Ok(loaded) => self.log_configuration(loaded),
            // They quote no values.
            Err(errors) => errors.iter().for_each(|error| tracing::error!(target: "switchboard::config", "{error}")),
        }
        read
    }

    /// Logs the files of a configuration, and masks its secrets in the log from now on.
    pub fn log_configuration(&self, loaded: &Loaded) {
        self.log.learn(secrets(loaded));
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
    /// not; nor are the errors that a list of servers shows with their server.
    pub fn warnings<'l>(&self, loaded: &'l Loaded, command: &Headless) -> impl Iterator<Item = &'l ConfigError> {
        let shown = |spec: &&ServerSpec| command.lists_servers() && !spec.disabled && !spec.config_faults.is_empty();
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

    /// Returns the rules of the configuration, over those of the demo if it runs.
    pub fn rules(loaded: &Loaded, demo: bool) -> Rules {
        let mut rules = loaded.rules.clone();
        if demo {
            rules.tools.splice(0..0, Demo::rules());
        }
        rules
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

/// Returns the server of the command line.
fn given(target: &Target, cli: &Cli, env: &config::Env) -> Result<ServerSpec, ConfigError> {
    let (mut spec, after) = match target {
        Target::Command(argv) => (config::server_from_command(argv), &[][..]),
        Target::Url(url, headers) => (config::server_from_url(url)?, headers.as_slice()),
    };
    config::add_headers(&mut spec, &cli.global.header)?;
    config::add_headers(&mut spec, after)?;
    config::add_variables(&mut spec, &cli.global.env, env)?;
    Ok(spec)
}

/// Opens the store in the state folder. Fails with the reason.
///
/// Calls of the demo are not stored in the history and do not replace stored ones; its runs are written to the journal.
pub fn store(setup: &Setup, loaded: &Loaded) -> Result<Store, String> {
    let opened = open_store(setup, loaded);
    if let Err(why) = &opened {
        tracing::warn!(target: "switchboard::store", why, "the store cannot be opened");
    }
    opened
}

fn open_store(setup: &Setup, loaded: &Loaded) -> Result<Store, String> {
    let Some(state_dir) = &setup.load.state_dir else { return Err("there is no state folder".into()) };
    let path = config::store_file(state_dir).map_err(|error| format!("{}: {error}", state_dir.display()))?;
    let calls = (!setup.demo).then_some(loaded.settings.history_calls);
    let opened = Store::open_with(&path, StoreOptions { calls, flush: loaded.settings.journal_flush });
    opened.map_err(|error| error.to_string())
}

/// Returns the secrets of a configuration: of its servers, of the addresses of Redis and of the environment's proxies.
pub fn secrets(loaded: &Loaded) -> Vec<Secret> {
    let mut found: Vec<Secret> = loaded.servers.iter().flat_map(ServerSpec::secrets).collect();
    for address in &loaded.rules.cache.redis {
        found.extend(rule::of_value(if address.interpolated() { "secret" } else { "" }, address.expose()));
    }
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        found.extend(std::env::var(name).ok().iter().flat_map(|address| rule::of_url(address, false)));
    }
    found
}

/// Returns an engine with the configured settings. Must be called within a runtime.
#[cfg(test)]
pub fn engine(loaded: &Loaded, demo: bool, store: Option<&Store>) -> Arc<LocalControl> {
    engine_over(Arc::new(Connections::new(crate::process::own_program())), loaded, demo, store)
}

/// Returns an engine over these connections.
pub fn engine_over(connections: Arc<Connections>, loaded: &Loaded, demo: bool, store: Option<&Store>) -> Arc<LocalControl> {
    let mut adapters = Adapters::new(connections);
    if let Some(store) = store {
        adapters.journal = Arc::new(store.clone());
        // The demo's servers have another folder in each run, so that no catalog would be found again.
        if !demo {
            adapters.catalogs = Arc::new(store.catalogs());
        }
    }
    let engine = LocalControl::with(engine_options(loaded, demo), loaded.settings.retention, adapters);
    engine.secrets().learn(secrets(loaded));
    engine.set_wall_clock(Arc::new(|| u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or_default()));
    engine
}

/// Returns the options of an engine. The demo always uses the default separator, because its rules and workflows use the
/// default exposed names.
pub fn engine_options(loaded: &Loaded, demo: bool) -> EngineOptions {
    let settings = &loaded.settings;
    let now = chrono::Local::now();
    let epoch =
        Epoch { unix_ms: u64::try_from(now.timestamp_millis()).unwrap_or_default(), utc_offset_s: now.offset().fix().local_minus_utc() };
    let separator = if demo { Settings::default().separator } else { settings.separator.clone() };
    EngineOptions { epoch, separator, seed: None }
}

/// Applies rules, and opens their store of cached responses if it differs from `before`. Returns the error if responses are
/// cached in memory instead of in Redis.
pub fn put_in_force(engine: &Engine, rules: Rules, before: Option<&CacheSettings>) -> Result<(), String> {
    let mut opened = Ok(());
    if before != Some(&rules.cache) {
        let store = cache::open(&rules.cache).or_else(|why| {
            opened = Err(format!("responses are cached in memory only: {why}"));
            cache::open(&CacheSettings { redis: vec![], ..rules.cache.clone() })
        });
        engine.set_store(store.ok());
    }
    engine.set_rules(rules);
    opened
}

/// Joins all errors with line breaks.
pub fn all(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::domain::catalog::ConfirmPolicy;

    /// As on this command line, in a place of its own.
    fn setup(dir: &std::path::Path, line: &[&str]) -> Setup {
        let cli = Cli::try_parse_from(["switchboard"].iter().chain(line)).unwrap();
        let mut setup = Setup::new(&cli, cli.global.demo || matches!(cli.command, Some(crate::cli::args::Cmd::Demo(_))));
        let load = std::mem::take(&mut setup.load);
        let (cwd, folder) = (dir.join("project"), |name| Some(dir.join(name)));
        setup.load = LoadOptions { cwd, home: folder(""), user_dir: folder("conf"), state_dir: folder("state"), ..load };
        setup
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
        let given: [(&[&str], &[&str]); 4] =
            [(&["--", "git", "serve"], &["git"]), (&["https://example.com/mcp"], &["example"]), (&["demo"], &[]), (&["--demo"], &[])];
        for (line, ids) in given {
            let mut setup = setup(dir.path(), line);
            let loaded = setup.read().unwrap();
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
            assert!(setup.read().unwrap().pending.is_some(), "{line:?}");
        }
        assert!(setup(dir.path(), &[]).read().unwrap().servers.iter().any(|spec| spec.id.as_str() == "mine"));
    }

    #[tokio::test]
    async fn the_demo_leaves_the_history_of_the_user_alone() {
        use crate::domain::{
            body::Body,
            call::{CallSpec, Origin},
            id::{CallId, ToolId},
            journal::{CallOutcome, CallRecord},
        };
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("project")).unwrap();
        let of = |line: &[&str]| {
            let setup = setup(dir.path(), line);
            let loaded = setup.read().unwrap();
            store(&setup, &loaded).unwrap()
        };
        let spec = CallSpec::tool(ToolId::new("db".into(), "query"), "{}", Origin::Console);
        let (call, outcome, name) = (CallId(7), CallOutcome::Ok, "db_query".into());
        let record = CallRecord { call, unix_ms: 1, spec: spec.into(), name, outcome, result: Some(Body::from("{}")), took_us: 1 };
        let users = of(&[]);
        assert!(users.note_call(record.clone()));
        users.flush().await.unwrap();
        let demo = of(&["--demo"]);
        // Any write before it used to have this effect.
        demo.flush().await.unwrap();
        assert_eq!(users.calls(10, vec![]).await.unwrap(), [record]);
    }
}
