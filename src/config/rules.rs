//! Rules that are not part of a server: `[[tool]]`, `[groups.NAME]`, `[[route]]`, `[redis]` and `[cache]`.
//!
//! A file of a higher layer takes precedence over the lower layers: its rules for tools come later, its routes earlier, and
//! its groups replace those of the same name.
//!
//! A project's rules are limited to its own servers, because the approval does not show them: they do not match tools of
//! the user's servers (a project cannot declare those safe to repeat, or send their calls elsewhere), lead only to the
//! project's own servers and groups, and do not configure the store of the cache.

use std::time::Duration;

use super::{
    error::ConfigError,
    fields::{Fields, near_hint},
    load::replace_or_push,
    policy,
};
use crate::domain::{
    body::Body,
    document::{Field, Kind, Node},
    id::ServerId,
    policy::{
        Fallback, Rules, ToolRule,
        cache::CacheSettings,
        mapping,
        route::{Group, Member, Route, Strategy},
    },
    secret::Secret,
};

/// Supported URL schemes of Redis.
const REDIS: [&str; 6] = ["redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://", "redis+unix://", "unix://"];

/// Rules of one file and the files that it includes.
#[derive(Clone, Debug, Default)]
pub(super) struct PartialRules {
    tools: Vec<ToolRule>,
    groups: Vec<Group>,
    routes: Vec<Route>,
    cache: PartialCache,
    /// Every reference to a server or group, with its position.
    named: Vec<Named>,
    /// Positions of fallbacks to another tool.
    tool_fallbacks: Vec<ConfigError>,
    /// Positions of rules with settings of a tool's own breaker but without `own`.
    breakers_missing_own: Vec<ConfigError>,
    /// Position of the table of each group.
    places: Vec<(ServerId, ConfigError)>,
}

/// The settings of the cache that the file sets.
#[derive(Clone, Debug, Default)]
struct PartialCache {
    redis: Option<Vec<Secret>>,
    prefix: Option<String>,
    bytes: Option<u64>,
    timeout: Option<Duration>,
    retry_interval: Option<Duration>,
    place: Option<ConfigError>,
}

/// A reference to a server or group.
#[derive(Clone, Debug)]
struct Named {
    id: ServerId,
    /// Whether it may be a group.
    group: bool,
    place: ConfigError,
}

impl PartialRules {
    /// Reads `tool`, `groups`, `route`, `redis` and `cache`.
    pub fn read(root: &mut Fields<'_, '_>) -> PartialRules {
        let mut rules = PartialRules::default();
        for node in root.array("tool").unwrap_or_default() {
            let (report, before) = (root.report, rules.references());
            let rule = report.entry(|| {
                let mut fields = entry(root, node, "tool")?;
                let rule = rules.tool(&mut fields, node);
                fields.finish();
                rule
            });
            if rule.is_none() {
                rules.forget_references(before);
            }
            rules.tools.extend(rule);
        }
        for field in root.table("groups").unwrap_or_default() {
            let before = rules.references();
            let group = root.report.entry(|| rules.group(root, field));
            if group.is_none() {
                rules.forget_references(before);
            }
            if let Some(group) = group {
                rules.places.push((group.id.clone(), root.report.place(field.at, &format!("groups.{}", field.key))));
                rules.groups.push(group);
            }
        }
        for node in root.array("route").unwrap_or_default() {
            let (report, before) = (root.report, rules.references());
            let route = report.entry(|| {
                let mut fields = entry(root, node, "route")?;
                let route = rules.route(&mut fields, node);
                fields.finish();
                route
            });
            if route.is_none() {
                rules.forget_references(before);
            }
            rules.routes.extend(route);
        }
        rules.cache = cache(root);
        rules
    }

    /// Returns the numbers of references and of places that were noted so far.
    fn references(&self) -> [usize; 3] {
        [self.named.len(), self.tool_fallbacks.len(), self.breakers_missing_own.len()]
    }

    /// Forgets those that were noted later, which belong to an entry that is lost.
    fn forget_references(&mut self, [named, fallbacks, breakers]: [usize; 3]) {
        self.named.truncate(named);
        self.tool_fallbacks.truncate(fallbacks);
        self.breakers_missing_own.truncate(breakers);
    }

    /// Merges these rules over `below`.
    pub fn merged_over(self, below: PartialRules) -> PartialRules {
        let mut groups = below.groups;
        self.groups.into_iter().for_each(|group| replace_or_push(&mut groups, group, |g| &g.id));
        let cache = self.cache;
        PartialRules {
            tools: below.tools.into_iter().chain(self.tools).collect(),
            groups,
            routes: self.routes.into_iter().chain(below.routes).collect(),
            cache: PartialCache {
                redis: cache.redis.or(below.cache.redis),
                prefix: cache.prefix.or(below.cache.prefix),
                bytes: cache.bytes.or(below.cache.bytes),
                timeout: cache.timeout.or(below.cache.timeout),
                retry_interval: cache.retry_interval.or(below.cache.retry_interval),
                place: cache.place.or(below.cache.place),
            },
            named: below.named.into_iter().chain(self.named).collect(),
            tool_fallbacks: below.tool_fallbacks.into_iter().chain(self.tool_fallbacks).collect(),
            breakers_missing_own: below.breakers_missing_own.into_iter().chain(self.breakers_missing_own).collect(),
            places: below.places.into_iter().chain(self.places).collect(),
        }
    }

    /// Limits a project's rules to its own `servers` and its own groups, whose names must differ from those of `users`
    /// servers and of the groups in `above`, the user's rules. Returns errors for the rules that are dropped.
    pub fn limit_to_project(&mut self, servers: &[ServerId], users: &[ServerId], above: &PartialRules) -> Vec<ConfigError> {
        let mut unused = vec![];
        let taken = |id: &ServerId| above.has_group(id) || (users.contains(id) && !servers.contains(id));
        for (id, place) in self.places.extract_if(.., |(id, _)| taken(id)) {
            let message = format!("one of your own servers or groups is named {:?}", id.as_str());
            unused.push(error_at(place, message, "rename the project's group, which is ignored"));
        }
        self.groups.retain(|group| !taken(&group.id));
        if let Some(place) = self.cache.place.take() {
            unused.push(error_at(place, "a project cannot configure the store of the cache", "put it into your own configuration file"));
        }
        self.cache = PartialCache::default();
        let own: Vec<ServerId> = servers.iter().cloned().chain(self.groups.iter().map(|group| group.id.clone())).collect();
        for named in self.named.extract_if(.., |named| !own.contains(&named.id)) {
            let message = format!("a project's rules lead to its own servers only, and {:?} is not one of them", named.id.as_str());
            unused.push(error_at(named.place, message, "put the rule into your own configuration file"));
        }
        for place in self.tool_fallbacks.drain(..) {
            unused.push(error_at(
                place,
                "a project's rules cannot call another tool as a fallback",
                "put the rule into your own configuration file",
            ));
        }
        for group in &mut self.groups {
            group.members.retain(|member| own.contains(&member.server));
        }
        self.groups.retain(|group| !group.members.is_empty());
        self.routes.retain(|route| own.contains(&route.to));
        for rule in &mut self.tools {
            // A project must not call another tool as a fallback: the tool might be the user's.
            rule.fallback.retain(|fallback| match fallback {
                Fallback::Server { server } => own.contains(server),
                Fallback::Tool { .. } => false,
                Fallback::Stale | Fallback::Value { .. } => true,
            });
        }
        for only in self.tools.iter_mut().map(|rule| &mut rule.only).chain(self.routes.iter_mut().map(|route| &mut route.only)) {
            *only = Some(own.clone());
        }
        unused
    }

    /// Returns the namespaces of all groups.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(Group::namespace)
    }

    /// Removes and reports a project's groups under whose namespace a tool could have the exposed name of a user's tool.
    pub fn without_namespaces(&mut self, taken: impl Fn(&str) -> bool) -> Vec<ConfigError> {
        let gone: Vec<Group> = self.groups.extract_if(.., |group| taken(group.namespace())).collect();
        // Each group is reported once.
        let places = self.places.extract_if(.., |(id, _)| gone.iter().any(|group| group.id == *id));
        let message = "its tools could have the names of your own tools, so the group is ignored";
        places.map(|(_, place)| error_at(place, message, "give it another namespace")).collect()
    }

    /// Returns whether a group has this name.
    pub fn has_group(&self, id: &ServerId) -> bool {
        self.groups.iter().any(|group| group.id == *id)
    }

    /// Removes what leads to unknown servers and groups. Returns errors for it, and for settings without effect.
    pub fn check(&mut self, servers: &[ServerId]) -> Vec<ConfigError> {
        let mut errors = vec![];
        for (_, place) in self.places.extract_if(.., |(id, _)| servers.contains(id)) {
            errors.push(error_at(place, "a server has this name too", "give the group another name"));
        }
        self.groups.retain(|group| !servers.contains(&group.id));
        if !self.tools.iter().any(|rule| rule.own_breaker == Some(true)) {
            let message = "sets the breaker of single tools, but no tool has its own breaker";
            let hint = "add own = true, or set it for the server in [servers.NAME.breaker]";
            errors.extend(self.breakers_missing_own.iter().map(|place| error_at(place.clone(), message, hint)));
        }
        let groups: Vec<ServerId> = self.groups.iter().map(|group| group.id.clone()).collect();
        for named in &self.named {
            let is_group = groups.contains(&named.id);
            if servers.contains(&named.id) || (is_group && named.group) {
                continue;
            }
            let known = servers.iter().chain(groups.iter().filter(|_| named.group)).map(ServerId::as_str);
            errors.push(match is_group {
                true => error_at(
                    named.place.clone(),
                    format!("{:?} is a group; members are servers", named.id.as_str()),
                    "name its members instead",
                ),
                false => {
                    error_at(named.place.clone(), format!("unknown server {:?}", named.id.as_str()), near_hint(named.id.as_str(), known))
                }
            });
        }
        for group in &mut self.groups {
            group.members.retain(|member| servers.contains(&member.server));
        }
        self.groups.retain(|group| !group.members.is_empty());
        let is_known = |id: &ServerId| servers.contains(id) || self.groups.iter().any(|group| group.id == *id);
        self.routes.retain(|route| is_known(&route.to));
        for rule in &mut self.tools {
            rule.fallback.retain(|fallback| !matches!(fallback, Fallback::Server { server } if !is_known(server)));
        }
        errors
    }

    /// Returns the rules, with defaults for missing settings.
    pub fn finish(self) -> Rules {
        let defaults = CacheSettings::default();
        let cache = CacheSettings {
            redis: self.cache.redis.unwrap_or(defaults.redis),
            prefix: self.cache.prefix.unwrap_or(defaults.prefix),
            bytes: self.cache.bytes.unwrap_or(defaults.bytes),
            timeout: self.cache.timeout.unwrap_or(defaults.timeout),
            retry_interval: self.cache.retry_interval.unwrap_or(defaults.retry_interval),
        };
        let routing = crate::domain::policy::route::Routing { groups: self.groups, routes: self.routes };
        Rules { tools: self.tools, routing, cache }
    }

    fn name(&mut self, fields: &Fields<'_, '_>, node: &Node, key: &str, id: &str, group: bool) -> ServerId {
        let id = ServerId::from(id);
        self.named.push(Named { id: id.clone(), group, place: fields.report.place(node.at, &fields.name(key)) });
        id
    }

    /// Reads a reference to a server or group.
    fn named(&mut self, fields: &mut Fields<'_, '_>, key: &'static str) -> Option<ServerId> {
        let text = fields.text(key)?;
        let node = fields.node(key)?;
        Some(self.name(fields, node, key, text, true))
    }

    fn tool(&mut self, fields: &mut Fields<'_, '_>, node: &Node) -> Option<ToolRule> {
        if fields.node("match").is_none() {
            fields.report.error(node.at, "tool", "has no `match`", "select tools: match = \"db_*\"");
        }
        let matches = fields.pattern("match");
        let timeout = fields.duration("timeout");
        let attempt = fields.duration("attempt");
        let safe = fields.boolean("safe");
        let idempotency_key = fields.text("idempotency_key").map(str::to_owned);
        if let (Some(at), Some("")) = (fields.node("idempotency_key").map(|n| n.at), idempotency_key.as_deref()) {
            fields.report.error(at, "tool.idempotency_key", "is empty", "name the argument that receives the key");
        }
        let (mut patch, breaker) = policy::rule_settings(fields);
        self.breakers_missing_own.extend(breaker.missing_own);
        let own_breaker = breaker.own;
        patch.set.extend(attempt.map(|attempt| crate::domain::policy::PolicySetting::Attempt(Some(attempt)).into()));
        let nodes = fields.array("fallback").unwrap_or_default();
        let fallback = nodes.iter().filter_map(|node| self.fallback(fields, node)).collect();
        Some(ToolRule { matches: matches?, only: None, patch, timeout, safe, idempotency_key, own_breaker, fallback })
    }

    fn fallback(&mut self, fields: &Fields<'_, '_>, node: &Node) -> Option<Fallback> {
        let hint = "each is { server = \"…\" }, { tool = \"…\", arguments = { … } }, { stale = true } or { value = … }";
        let Some(table) = node.fields() else {
            fields.report.error(node.at, "tool.fallback", format!("should be a table, not {}", node.kind_name()), hint);
            return None;
        };
        let mut inner = Fields::new(fields.report, table, "tool.fallback");
        let server = self.named(&mut inner, "server").map(|server| Fallback::Server { server });
        let arguments = inner.node("arguments");
        let tool = inner
            .text("tool")
            .map(|tool| Fallback::Tool { tool: tool.to_owned(), arguments: arguments.map(|node| Body::json(&node.json())) });
        if let Some(node) = inner.node("tool") {
            self.tool_fallbacks.push(fields.report.place(node.at, "tool.fallback.tool"));
        }
        let stale = inner.boolean("stale").filter(|stale| *stale).map(|_| Fallback::Stale);
        let value = inner.node("value").map(|node| Fallback::Value { value: Body::json(&node.json()) });
        if let Some(node) = arguments {
            match (&tool, &node.kind) {
                (None, _) => fields.report.error(node.at, "tool.fallback.arguments", "needs `tool`", hint),
                (_, Kind::Table(_)) => {
                    if let Err(why) = mapping::check(&node.json()) {
                        fields.report.error(
                            node.at,
                            "tool.fallback.arguments",
                            why,
                            "write {{ arguments.NAME }} for an argument of the call",
                        );
                    }
                }
                (Some(_), _) => inner.wrong_type(node, "arguments", "a table"),
            }
        }
        inner.finish();
        let mut given: Vec<Fallback> = [server, tool, stale, value].into_iter().flatten().collect();
        if given.len() != 1 {
            fields.report.error(node.at, "tool.fallback", "should have one fallback", hint);
        }
        given.pop()
    }

    fn group(&mut self, root: &Fields<'_, '_>, field: &Field) -> Option<Group> {
        let name = format!("groups.{}", field.key);
        let Some(table) = field.value.fields() else {
            root.report.error(field.at, &name, "should be a table", "set at least `members`");
            return None;
        };
        if field.key.trim().is_empty() || field.key.chars().any(crate::domain::text::is_hidden) {
            root.report.error(field.at, &name, "the name is empty or has invisible characters", "give it another name");
        }
        let mut fields = Fields::new(root.report, table, name.clone());
        let namespace = super::server::namespace(&mut fields);
        let nodes = fields.array("members").unwrap_or_default();
        let members: Vec<Member> = nodes.iter().filter_map(|node| self.member(&fields, node)).collect();
        if nodes.is_empty() {
            root.report.error(field.at, &name, "has no members", "members = [\"one\", \"two\"]");
        }
        let mut seen: Vec<&ServerId> = vec![];
        for (member, node) in members.iter().zip(nodes) {
            if seen.contains(&&member.server) {
                root.report.error(node.at, &fields.name("members"), format!("{:?} is listed twice", member.server.as_str()), "");
            }
            seen.push(&member.server);
        }
        let strategy = strategy(&mut fields);
        let members_listed = fields.boolean("members_listed").unwrap_or(false);
        fields.finish();
        Some(Group { id: ServerId::from(field.key.as_str()), namespace, members, strategy, members_listed })
    }

    fn member(&mut self, fields: &Fields<'_, '_>, node: &Node) -> Option<Member> {
        if let Some(text) = node.text() {
            return Some(Member { server: self.name(fields, node, "members", text, false), weight: 1 });
        }
        let Some(table) = node.fields() else {
            fields.wrong_type(node, "members", "the name of a server, or { server = \"…\", weight = 1 }");
            return None;
        };
        let mut inner = Fields::new(fields.report, table, fields.name("members"));
        let server = inner.text("server").map(|text| self.name(fields, node, "members", text, false));
        if server.is_none() {
            fields.report.error(node.at, &fields.name("members"), "a member has no `server`", "write { server = \"…\", weight = 1 }");
        }
        let weight = inner.integer("weight", 0, 1_000_000).unwrap_or(1);
        inner.finish();
        Some(Member { server: server?, weight })
    }

    fn route(&mut self, fields: &mut Fields<'_, '_>, node: &Node) -> Option<Route> {
        for (key, hint) in [("match", "select tools: match = \"db_*\""), ("to", "name the target: to = \"NAME\"")] {
            if fields.node(key).is_none() {
                fields.report.error(node.at, "route", format!("has no `{key}`"), hint);
            }
        }
        let matches = fields.pattern("match");
        let to = self.named(fields, "to");
        Some(Route { matches: matches?, only: None, to: to? })
    }
}

/// Starts reading a table of an array of tables.
fn entry<'r, 'a>(root: &Fields<'r, 'a>, node: &'r Node, key: &'static str) -> Option<Fields<'r, 'a>> {
    match node.fields() {
        Some(table) => Some(Fields::new(root.report, table, key)),
        None => {
            root.report.error(
                node.at,
                key,
                format!("should be a table, not {}", node.kind_name()),
                format!("write [[{key}]] and its keys below"),
            );
            None
        }
    }
}

/// Reads `strategy` and, for a sticky one, `argument`.
fn strategy(fields: &mut Fields<'_, '_>) -> Strategy {
    let words = ["round-robin", "random", "least-in-flight", "least-latency", "primary", "weighted", "sticky"];
    let choices: Vec<(&str, usize)> = words.iter().copied().zip(0..).collect();
    let chosen = fields.choice("strategy", &choices);
    let argument = fields.text("argument").map(str::to_owned);
    let sticky = chosen == Some(6);
    if let (Some(node), false) = (fields.node("argument"), sticky) {
        fields.report.error(node.at, &fields.name("argument"), "does not apply to this strategy", "use it with strategy = \"sticky\"");
    }
    match chosen {
        Some(1) => Strategy::Random,
        Some(2) => Strategy::LeastInFlight,
        Some(3) => Strategy::LeastLatency,
        Some(4) => Strategy::Primary,
        Some(5) => Strategy::Weighted,
        Some(6) => match argument.filter(|argument| !argument.is_empty()) {
            Some(argument) => Strategy::Sticky { argument },
            None => {
                let at = fields.node("strategy").map_or(0, |node| node.at);
                fields.report.error(at, &fields.name("strategy"), "\"sticky\" needs `argument`", "name the argument whose value decides");
                Strategy::default()
            }
        },
        _ => Strategy::RoundRobin,
    }
}

fn cache(root: &mut Fields<'_, '_>) -> PartialCache {
    let mut cache = PartialCache::default();
    for table in ["redis", "cache"] {
        if let Some(at) = root.field(table).map(|field| field.at) {
            cache.place.get_or_insert_with(|| root.report.place(at, table));
        }
    }
    if let Some(mut redis) = root.inner("redis") {
        cache.redis = addresses(&mut redis);
        cache.prefix = redis.text("prefix").map(str::to_owned);
        cache.timeout = redis.duration("timeout");
        cache.retry_interval = redis.duration("retry_interval");
        let plain =
            |prefix: &String| (1..=64).contains(&prefix.len()) && prefix.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:".contains(c));
        if let (Some(node), false) = (redis.node("prefix"), cache.prefix.as_ref().is_none_or(plain)) {
            let message = "should be 1 to 64 of the characters A-Z a-z 0-9 _ . - :";
            redis.report.error(node.at, "redis.prefix", message, "the default is \"switchboard\"");
        }
        redis.finish();
    }
    if let Some(mut inner) = root.inner("cache") {
        cache.bytes = inner.count("bytes").map(|bytes| bytes as u64);
        inner.finish();
    }
    cache
}

/// Reads `url`: an address or a list of them.
fn addresses(inner: &mut Fields<'_, '_>) -> Option<Vec<Secret>> {
    let node = inner.node("url")?;
    let nodes = match &node.kind {
        Kind::Array(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut addresses = vec![];
    for node in nodes {
        let Some(text) = node.text() else {
            inner.wrong_type(node, "url", "an address, or a list of them");
            continue;
        };
        let address = inner.report.expand(node.at, "redis.url", text);
        let known = REDIS.iter().any(|scheme| address.expose().starts_with(scheme));
        // An unset variable was reported already.
        if !(known || address.interpolated() && address.expose().is_empty()) {
            inner.report.error(node.at, "redis.url", "is not an address of a Redis", format!("begin it with one of {}", REDIS.join(", ")));
        }
        addresses.push(address);
    }
    Some(addresses)
}

/// Returns an error at a position.
fn error_at(place: ConfigError, message: impl Into<String>, hint: impl Into<String>) -> ConfigError {
    let hint = hint.into();
    let error = ConfigError { message: message.into(), ..place };
    if hint.is_empty() { error } else { error.hint(hint) }
}
