//! Settings of the program, and the defaults of all servers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    error::ConfigError,
    fields::{Fields, near_hint},
    gateway::{GatewaySettings, PartialGateway},
    policy,
    server::{self, RootsChoice},
};
use crate::domain::{
    ask::AskPolicy,
    catalog::ConfirmPolicy,
    login::SecretPlace,
    pins::PinMode,
    policy::{PolicyPatch, PolicySetting},
    retention::Retention,
    server::{Limits, ServerSpec, SessionLimits, Timeouts},
    workspace::KeySetting,
};

/// Settings of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Separator between namespace and tool in exposed names.
    pub separator: String,
    /// Limits of what is stored in memory.
    pub retention: Retention,
    /// Settings of the console.
    pub console: ConsoleSettings,
    /// The user's key bindings, in the order of the files, lowest precedence first.
    pub keys: Vec<KeySetting>,
    /// Workflow files and folders, in addition to the default `workflows` folders.
    pub workflows: Vec<PathBuf>,
    /// Settings of the history of calls.
    pub history: HistorySettings,
    /// The file of the store; `None` for the one in the state folder.
    pub store: Option<PathBuf>,
    /// Whether the journal of runs is flushed to the disk before each request, so that it survives a power cut.
    pub journal_flush: bool,
    /// The running engine that headless commands use: its name, or `auto`.
    pub via: Option<String>,
    /// Settings of the gateway.
    pub gateway: GatewaySettings,
    /// Where the secrets of stored logins are.
    pub login_secrets: SecretPlace,
}

/// Which calls are stored across sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistorySettings {
    /// Most calls; 0 disables the history.
    pub calls: usize,
    /// For how many days; 0 for any time.
    pub days: u32,
    /// Size of the database in megabytes from which the oldest calls are deleted; 0 for any size.
    pub megabytes: u32,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self { calls: 100_000, days: 90, megabytes: 1_000 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            separator: "_".into(),
            retention: Retention::default(),
            console: ConsoleSettings::default(),
            keys: vec![],
            workflows: vec![],
            history: HistorySettings::default(),
            store: None,
            journal_flush: false,
            via: None,
            gateway: GatewaySettings::default(),
            login_secrets: SecretPlace::default(),
        }
    }
}

/// Settings of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// Theme.
    pub theme: ThemeName,
    /// Mouse support.
    pub mouse: bool,
    /// Calls that need a confirmation.
    pub confirm: ConfirmPolicy,
}

impl Default for ConsoleSettings {
    fn default() -> Self {
        Self { theme: ThemeName::Ansi, mouse: true, confirm: ConfirmPolicy::default() }
    }
}

/// A theme by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ThemeName {
    /// The terminal's own palette.
    #[default]
    Ansi,
    /// No colours.
    Mono,
    /// Light text on a dark ground.
    Dark,
    /// Dark text on a light ground.
    Light,
    /// White on black, strong colours.
    Contrast,
    /// A file in the format of those in `assets/themes`.
    File(PathBuf),
}

/// The settings that one file sets; missing ones come from the layer below.
#[derive(Clone, Debug, Default)]
pub(super) struct PartialSettings {
    separator: Option<String>,
    retention: [Option<usize>; 5],
    theme: Option<ThemeName>,
    mouse: Option<bool>,
    keys: Vec<KeySetting>,
    confirm: Option<ConfirmPolicy>,
    workflows: Vec<PathBuf>,
    history: [Option<u32>; 3],
    store: Option<PathBuf>,
    journal_flush: Option<bool>,
    via: Option<String>,
    gateway: PartialGateway,
    login_secrets: Option<SecretPlace>,
    /// Positions of the tables and keys that a project cannot set.
    personal: Vec<ConfigError>,
}

/// Keys that a project cannot set, because they would also apply to the user's own servers.
const PERSONAL: [&str; 11] =
    ["separator", "retention", "history", "store", "journal", "console", "keys", "client", "auth", "gateway", "environments"];

impl PartialSettings {
    /// Reads `separator`, `workflows`, `[retention]`, `[history]`, `[store]`, `[journal]`, `[console]`, `[keys]`, `[client]`,
    /// `[auth]` and `[gateway]`.
    pub fn read(root: &mut Fields<'_, '_>) -> PartialSettings {
        let separator = root.text("separator").map(str::to_owned);
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let fits = |s: &String| (1..=8).contains(&s.len()) && s.chars().all(plain);
        if let (Some(node), false) = (root.node("separator"), separator.as_ref().is_none_or(fits)) {
            root.report.error(node.at, "separator", "should be 1 to 8 of the characters A-Z a-z 0-9 _ . -", "the default is \"_\"");
        }
        let mut out = PartialSettings { separator, ..Self::default() };
        for key in PERSONAL {
            if let Some(field) = root.field(key) {
                out.personal.push(root.report.place(field.at, key));
            }
        }
        if let Some(mut retention) = root.inner("retention") {
            out.retention = ["calls", "result_bytes", "frames", "frame_bytes", "logs"].map(|key| retention.count(key));
            retention.finish();
        }
        if let Some(mut history) = root.inner("history") {
            let limits = [("calls", 10_000_000), ("days", 36_500), ("megabytes", 1_000_000)];
            out.history = limits.map(|(key, most)| history.integer(key, 0, most));
            history.finish();
        }
        if let Some(mut store) = root.inner("store") {
            out.store = store_file(&mut store);
            store.finish();
        }
        if let Some(mut journal) = root.inner("journal") {
            out.journal_flush = journal.boolean("flush");
            journal.finish();
        }
        if let Some(mut client) = root.inner("client") {
            out.via = client.text("via").map(str::to_owned).filter(|via| !via.is_empty());
            client.finish();
        }
        if let Some(mut auth) = root.inner("auth") {
            out.login_secrets = auth.choice("store", &[("file", SecretPlace::File), ("keyring", SecretPlace::Keyring)]);
            auth.finish();
        }
        for node in root.array("workflows").unwrap_or_default() {
            match node.text() {
                Some(text) => out.workflows.push(root.report.path(text)),
                None => root.report.error(
                    node.at,
                    "workflows",
                    "should be paths in quotes",
                    "workflows = [\"flows/onboard.toml\", \"more-flows\"]",
                ),
            }
        }
        let (_, valid) = root.report.checked(|| out.read_console(root));
        if !valid && out.confirm.is_none() {
            // What the user wanted is unknown, and this protects most.
            out.confirm = Some(ConfirmPolicy::Untrusted);
        }
        out.keys = keys(root);
        out.gateway = PartialGateway::read(root);
        out
    }

    fn read_console(&mut self, root: &mut Fields<'_, '_>) {
        if let Some(mut console) = root.inner("console") {
            self.theme = theme(&mut console);
            self.mouse = console.boolean("mouse");
            let policies =
                [("untrusted", ConfirmPolicy::Untrusted), ("destructive", ConfirmPolicy::Destructive), ("never", ConfirmPolicy::Never)];
            self.confirm = console.choice("confirm", &policies);
            console.finish();
        }
    }

    /// Drops the settings that a project cannot set, which is all of them but the workflow files. The others belong to the
    /// user, and many protect the user: which calls need a confirmation, the exposed names (which rules match), what is
    /// stored, which key answers a question. Returns errors for the dropped settings.
    pub fn limit_to_project(&mut self) -> Vec<ConfigError> {
        let PartialSettings { workflows, personal, .. } = std::mem::take(self);
        self.workflows = workflows;
        let unused = |place: ConfigError| ConfigError { message: "a project cannot change settings of the program".into(), ..place };
        personal.into_iter().map(|place| unused(place).hint("put it into your own configuration file")).collect()
    }

    /// Returns the separator between namespace and tool.
    pub fn separator(&self) -> String {
        self.separator.clone().unwrap_or_else(|| Settings::default().separator)
    }

    /// Removes and returns the paths of workflow files.
    pub fn take_workflows(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.workflows)
    }

    /// Merges these settings over `below`.
    pub fn merged_over(self, below: PartialSettings) -> PartialSettings {
        let mut retention = below.retention;
        for (value, own) in retention.iter_mut().zip(self.retention) {
            *value = own.or(*value);
        }
        let mut history = below.history;
        for (value, own) in history.iter_mut().zip(self.history) {
            *value = own.or(*value);
        }
        let mut keys = below.keys;
        keys.extend(self.keys);
        let mut workflows = self.workflows;
        workflows.extend(below.workflows);
        let mut personal = self.personal;
        personal.extend(below.personal);
        PartialSettings {
            keys,
            workflows,
            personal,
            history,
            store: self.store.or(below.store),
            journal_flush: self.journal_flush.or(below.journal_flush),
            via: self.via.or(below.via),
            login_secrets: self.login_secrets.or(below.login_secrets),
            gateway: self.gateway.merged_over(below.gateway),
            separator: self.separator.or(below.separator),
            retention,
            theme: self.theme.or(below.theme),
            mouse: self.mouse.or(below.mouse),
            confirm: self.confirm.or(below.confirm),
        }
    }

    /// Returns the settings, with defaults for missing ones.
    pub fn finish(self) -> Settings {
        let mut settings = Settings::default();
        if let Some(separator) = self.separator {
            settings.separator = separator;
        }
        let retention = &mut settings.retention;
        let places =
            [&mut retention.calls, &mut retention.result_bytes, &mut retention.frames, &mut retention.frame_bytes, &mut retention.logs];
        for (place, given) in places.into_iter().zip(self.retention) {
            *place = given.unwrap_or(*place);
        }
        settings.console.theme = self.theme.unwrap_or_default();
        settings.console.mouse = self.mouse.unwrap_or(settings.console.mouse);
        settings.keys = self.keys;
        settings.workflows = self.workflows;
        let (history, [calls, days, megabytes]) = (&mut settings.history, self.history);
        history.calls = calls.and_then(|calls| usize::try_from(calls).ok()).unwrap_or(history.calls);
        history.days = days.unwrap_or(history.days);
        history.megabytes = megabytes.unwrap_or(history.megabytes);
        settings.store = self.store;
        settings.journal_flush = self.journal_flush.unwrap_or(settings.journal_flush);
        settings.via = self.via;
        settings.login_secrets = self.login_secrets.unwrap_or_default();
        settings.gateway = self.gateway.finish();
        settings.console.confirm = self.confirm.unwrap_or_default();
        settings
    }
}

/// Reads `url` of `[store]`.
fn store_file(store: &mut Fields<'_, '_>) -> Option<PathBuf> {
    let url = store.text("url")?;
    let at = store.node("url")?.at;
    if let Some(path) = url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        return Some(store.report.path(path));
    }
    let (message, hint) = match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => ("needs PostgreSQL, which this version does not support", "use a file: sqlite:PATH"),
        _ => ("is not the address of a store", "write sqlite:PATH"),
    };
    store.report.error(at, "store.url", message, hint);
    None
}

/// Reads the name of a theme or the path of a theme file.
fn theme(console: &mut Fields<'_, '_>) -> Option<ThemeName> {
    let text = console.text("theme")?;
    if text.ends_with(".toml") {
        return Some(ThemeName::File(console.report.path(text)));
    }
    let names = [ThemeName::Ansi, ThemeName::Mono, ThemeName::Dark, ThemeName::Light, ThemeName::Contrast];
    let words = ["ansi", "mono", "dark", "light", "contrast"];
    if let Some((_, name)) = words.iter().zip(names).find(|(word, _)| **word == text) {
        return Some(name);
    }
    let at = console.node("theme")?.at;
    let hint = match near_hint(text, words.into_iter()) {
        near if near.is_empty() => "name one of them, or a file: theme = \"mine.toml\"".to_owned(),
        near => near,
    };
    console.report.error(at, "console.theme", format!("should be one of \"{}\"", words.join("\", \"")), hint);
    None
}

/// Reads `[keys.CONTEXT]`: `"ctrl-q" = "quit"`, `"q" = "none"`.
fn keys(root: &mut Fields<'_, '_>) -> Vec<KeySetting> {
    let mut found = vec![];
    let report = root.report;
    for context in root.table("keys").unwrap_or_default() {
        let name = format!("keys.{}", context.key);
        let Some(bindings) = context.value.fields() else {
            report.error(context.at, &name, "should be a table of keys", format!("write [{name}] and below it \"ctrl-q\" = \"quit\""));
            continue;
        };
        for binding in bindings {
            let name = format!("{name}.{}", binding.key);
            let Some(action) = binding.value.text() else {
                report.error(binding.at, &name, "should be the name of an action in quotes", "\"none\" unbinds the key");
                continue;
            };
            let place = report.place(binding.at, &name);
            found.push(KeySetting { context: context.key.clone(), keys: binding.key.clone(), action: action.to_owned(), place });
        }
    }
    found
}

/// Most own sessions of clients that a configuration can allow at one server.
const MAX_SESSIONS: u32 = 1000;

/// Limits and policies of one server or, in `[defaults]`, of all.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Policy settings, in order.
    pub policy: PolicyPatch,
    pub timeouts: PartialTimeouts,
    pub limits: [Option<usize>; 4],
    /// Number and idle time of the own sessions of clients.
    pub sessions: (Option<usize>, Option<Duration>),
    pub elicitation: Option<AskPolicy>,
    pub sampling: Option<AskPolicy>,
    pub roots: Option<RootsChoice>,
    pub pins: Option<PinMode>,
}

/// The timeouts that are set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartialTimeouts([Option<Duration>; 7]);

impl PartialTimeouts {
    /// Returns `connect` and `call` only, as in the files of other clients.
    pub fn connect_and_call(connect: Option<Duration>, call: Option<Duration>) -> PartialTimeouts {
        PartialTimeouts([connect, None, call, None, None, None, None])
    }
}

impl Rules {
    /// Reads `timeouts`, `limits`, `sessions`, `elicitation`, `sampling`, `roots`, `pins` and the policy settings of a table.
    pub fn read(table: &mut Fields<'_, '_>) -> Rules {
        let mut rules = Rules { policy: policy::settings(table), ..Rules::default() };
        if let Some(mut inner) = table.inner("timeouts") {
            let keys = [
                ("connect", false),
                ("probe", false),
                ("call", false),
                ("call_max", false),
                ("list", false),
                ("health", true),
                ("stop", true),
            ];
            rules.timeouts = PartialTimeouts(keys.map(|(key, zero)| if zero { inner.duration_or_zero(key) } else { inner.duration(key) }));
            if let Some(attempt) = inner.duration("attempt") {
                rules.policy.set.push(Arc::new(PolicySetting::Attempt(Some(attempt))));
            }
            inner.finish();
        }
        if let Some(mut inner) = table.inner("limits") {
            rules.limits = ["message_bytes", "pages", "items", "stderr_bytes"].map(|key| inner.count(key));
            inner.finish();
        }
        if let Some(mut inner) = table.inner("sessions") {
            let max = inner.integer("max", 0, MAX_SESSIONS).map(|max| usize::try_from(max).unwrap_or(usize::MAX));
            rules.sessions = (max, inner.duration("idle"));
            inner.finish();
        }
        rules.elicitation = server::policy(table, "elicitation");
        rules.sampling = server::policy(table, "sampling");
        rules.roots = server::roots(table);
        rules.pins = table.choice("pins", &[("off", PinMode::Off), ("warn", PinMode::Warn), ("hold", PinMode::Hold)]);
        rules
    }

    /// Merges these rules over `below`.
    pub fn merged_over(self, below: Rules) -> Rules {
        let mut out = below;
        for (kept, own) in out.timeouts.0.iter_mut().zip(self.timeouts.0) {
            *kept = own.or(*kept);
        }
        for (kept, own) in out.limits.iter_mut().zip(self.limits) {
            *kept = own.or(*kept);
        }
        Rules {
            sessions: (self.sessions.0.or(out.sessions.0), self.sessions.1.or(out.sessions.1)),
            elicitation: self.elicitation.or(out.elicitation),
            sampling: self.sampling.or(out.sampling),
            roots: self.roots.or(out.roots),
            pins: self.pins.or(out.pins),
            policy: self.policy.over(out.policy),
            ..out
        }
    }

    /// Applies these rules to a specification.
    pub fn apply(self, spec: &mut ServerSpec) {
        self.policy.apply(&mut spec.policy);
        let Timeouts { connect, probe, call, call_max, list, health, stop } = &mut spec.timeouts;
        for (place, given) in [connect, probe, call, call_max, list, health, stop].into_iter().zip(self.timeouts.0) {
            *place = given.unwrap_or(*place);
        }
        let Limits { message_bytes, pages, items, stderr_bytes } = &mut spec.limits;
        for (place, given) in [message_bytes, pages, items, stderr_bytes].into_iter().zip(self.limits) {
            *place = given.unwrap_or(*place);
        }
        let SessionLimits { max, idle } = &mut spec.sessions;
        *max = self.sessions.0.unwrap_or(*max);
        *idle = self.sessions.1.or(*idle);
        if let Some(policy) = self.elicitation {
            spec.elicitation = policy;
        }
        if let Some(policy) = self.sampling {
            spec.sampling = policy;
        }
        spec.pins = self.pins.unwrap_or(spec.pins);
        if let Some(choice) = self.roots {
            spec.roots_policy = choice.policy;
            spec.roots = choice.roots;
            spec.origin.written.extend(choice.written);
        }
    }
}
