//! What stands above servers: `[[tool]]`, `[groups.NAME]`, `[[route]]` and `[cache]`.
//!
//! Lists of a higher file go over those of the files below: its rules for tools come later, its routes earlier, its groups
//! take the place of those of the same name.
//!
//! A project's rules are held to its own servers, since nothing of them is shown before they are used: they do not match
//! the tools of the user's servers (so that none becomes safe to repeat by the project's word, or is sent elsewhere), lead
//! nowhere but to the project's own servers and groups, and do not choose where answers are kept.

use std::time::Duration;

use super::{
    error::ConfigError,
    fields::{Fields, near_hint},
    load::put,
    policy,
    source::{Field, Kind, Node},
};
use crate::domain::{
    body::Body,
    id::ServerId,
    policy::{
        Fallback, Rules, ToolRule,
        cache::CacheSettings,
        mapping,
        route::{Group, Member, Route, Strategy},
    },
    secret::Secret,
};

/// Addresses of a Redis that are understood.
const REDIS: [&str; 6] = ["redis://", "rediss://", "redis+sentinel://", "rediss+sentinel://", "redis+unix://", "unix://"];

/// What one file, and the files that it includes, say.
#[derive(Clone, Debug, Default)]
pub(super) struct PartialRules {
    tools: Vec<ToolRule>,
    groups: Vec<Group>,
    routes: Vec<Route>,
    cache: PartialCache,
    /// Every server or group that is named somewhere, with where.
    named: Vec<Named>,
    /// Where another tool is named as a fallback.
    tools_set_off: Vec<ConfigError>,
    /// Where a rule says how breakers of the tools' own work, and leaves it to another whether they have one.
    breakers_set_off: Vec<ConfigError>,
    /// Where the table of each group stands.
    places: Vec<(ServerId, ConfigError)>,
}

/// The settings of the cache that were given.
#[derive(Clone, Debug, Default)]
struct PartialCache {
    redis: Option<Vec<Secret>>,
    prefix: Option<String>,
    bytes: Option<u64>,
    wait: Option<Duration>,
    pause: Option<Duration>,
    place: Option<ConfigError>,
}

/// A server or group that is named.
#[derive(Clone, Debug)]
struct Named {
    id: ServerId,
    /// Whether it may be a group.
    group: bool,
    place: ConfigError,
}

impl PartialRules {
    /// Reads `tool`, `groups`, `route` and `cache`.
    pub fn read(root: &mut Fields<'_, '_>) -> PartialRules {
        let mut rules = PartialRules::default();
        for node in root.array("tool").unwrap_or_default() {
            let rule = entry(root, node, "tool").and_then(|mut fields| {
                let rule = rules.tool(&mut fields, node);
                fields.finish();
                rule
            });
            rules.tools.extend(rule);
        }
        for field in root.table("groups").unwrap_or_default() {
            let group = rules.group(root, field);
            if let Some(group) = group {
                rules.places.push((group.id.clone(), root.report.place(field.at, &format!("groups.{}", field.key))));
                rules.groups.push(group);
            }
        }
        for node in root.array("route").unwrap_or_default() {
            let route = entry(root, node, "route").and_then(|mut fields| {
                let route = rules.route(&mut fields, node);
                fields.finish();
                route
            });
            rules.routes.extend(route);
        }
        rules.cache = cache(root);
        rules
    }

    /// These over `below`.
    pub fn over(self, below: PartialRules) -> PartialRules {
        let mut groups = below.groups;
        self.groups.into_iter().for_each(|group| put(&mut groups, group, |g| &g.id));
        let cache = self.cache;
        PartialRules {
            tools: below.tools.into_iter().chain(self.tools).collect(),
            groups,
            routes: self.routes.into_iter().chain(below.routes).collect(),
            cache: PartialCache {
                redis: cache.redis.or(below.cache.redis),
                prefix: cache.prefix.or(below.cache.prefix),
                bytes: cache.bytes.or(below.cache.bytes),
                wait: cache.wait.or(below.cache.wait),
                pause: cache.pause.or(below.cache.pause),
                place: cache.place.or(below.cache.place),
            },
            named: below.named.into_iter().chain(self.named).collect(),
            tools_set_off: below.tools_set_off.into_iter().chain(self.tools_set_off).collect(),
            breakers_set_off: below.breakers_set_off.into_iter().chain(self.breakers_set_off).collect(),
            places: below.places.into_iter().chain(self.places).collect(),
        }
    }

    /// Holds a project's rules to its own `servers` and its own groups, which take no name of `users` servers or of a
    /// group in `above`, the user's rules. Gives what is not used.
    pub fn of_project(&mut self, servers: &[ServerId], users: &[ServerId], above: &PartialRules) -> Vec<ConfigError> {
        let mut unused = vec![];
        let taken = |id: &ServerId| above.has_group(id) || (users.contains(id) && !servers.contains(id));
        for (id, place) in self.places.extract_if(.., |(id, _)| taken(id)) {
            let message = format!("one of your own servers or groups is called {:?}", id.as_str());
            unused.push(say(place, message, "the project's group is not used; give it another name"));
        }
        self.groups.retain(|group| !taken(&group.id));
        if let Some(place) = self.cache.place.take() {
            unused.push(say(place, "a project does not choose where answers are kept", "put it into your own configuration file"));
        }
        self.cache = PartialCache::default();
        let own: Vec<ServerId> = servers.iter().cloned().chain(self.groups.iter().map(|group| group.id.clone())).collect();
        for named in self.named.extract_if(.., |named| !own.contains(&named.id)) {
            let message = format!("a project's rules lead to its own servers only, and {:?} is none of them", named.id.as_str());
            unused.push(say(named.place, message, "put the rule into your own configuration file"));
        }
        for place in self.tools_set_off.drain(..) {
            unused.push(say(place, "a project's rules set off no other tool", "put the rule into your own configuration file"));
        }
        for group in &mut self.groups {
            group.members.retain(|member| own.contains(&member.server));
        }
        self.groups.retain(|group| !group.members.is_empty());
        self.routes.retain(|route| own.contains(&route.to));
        for rule in &mut self.tools {
            // What another tool does is not for a project to set off: it might be one of the user's own.
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

    /// The namespaces of all groups.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(Group::namespace)
    }

    /// Takes out a project's groups under whose namespace a tool could have the name of one of the user's. Gives them.
    pub fn without_namespaces(&mut self, taken: impl Fn(&str) -> bool) -> Vec<ConfigError> {
        let gone: Vec<Group> = self.groups.extract_if(.., |group| taken(group.namespace())).collect();
        // Each group is reported once.
        let places = self.places.extract_if(.., |(id, _)| gone.iter().any(|group| group.id == *id));
        let message = "its tools could have the names of your own, so the group is left out";
        places.map(|(_, place)| say(place, message, "give it another namespace")).collect()
    }

    /// Whether there is a group of this name.
    pub fn has_group(&self, id: &ServerId) -> bool {
        self.groups.iter().any(|group| group.id == *id)
    }

    /// What is wrong with the names of servers and groups, given the servers that there are, and what nothing comes of.
    pub fn check(&self, servers: &[ServerId]) -> Vec<ConfigError> {
        let mut errors = vec![];
        for (id, place) in &self.places {
            if servers.contains(id) {
                errors.push(say(place.clone(), "a server has this name too", "give the group another name"));
            }
        }
        if !self.tools.iter().any(|rule| rule.own_breaker == Some(true)) {
            let message = "says how breakers of the tools' own work, but no tool has one";
            let hint = "add own = true, or set it for the server in [servers.NAME.breaker]";
            errors.extend(self.breakers_set_off.iter().map(|place| say(place.clone(), message, hint)));
        }
        let groups: Vec<&ServerId> = self.groups.iter().map(|group| &group.id).collect();
        for named in &self.named {
            let is_group = groups.contains(&&named.id);
            if servers.contains(&named.id) || (is_group && named.group) {
                continue;
            }
            let known = servers.iter().chain(groups.iter().copied().filter(|_| named.group)).map(ServerId::as_str);
            errors.push(match is_group {
                true => {
                    say(named.place.clone(), format!("{:?} is a group; members are servers", named.id.as_str()), "name its members instead")
                }
                false => {
                    say(named.place.clone(), format!("there is no server {:?}", named.id.as_str()), near_hint(named.id.as_str(), known))
                }
            });
        }
        errors
    }

    /// The rules, defaults where nothing was given.
    pub fn finish(self) -> Rules {
        let defaults = CacheSettings::default();
        let cache = CacheSettings {
            redis: self.cache.redis.unwrap_or(defaults.redis),
            prefix: self.cache.prefix.unwrap_or(defaults.prefix),
            bytes: self.cache.bytes.unwrap_or(defaults.bytes),
            wait: self.cache.wait.unwrap_or(defaults.wait),
            pause: self.cache.pause.unwrap_or(defaults.pause),
        };
        let routing = crate::domain::policy::route::Routing { groups: self.groups, routes: self.routes };
        Rules { tools: self.tools, routing, cache }
    }

    fn name(&mut self, fields: &Fields<'_, '_>, node: &Node, key: &str, id: &str, group: bool) -> ServerId {
        let id = ServerId::from(id);
        self.named.push(Named { id: id.clone(), group, place: fields.report.place(node.at, &fields.name(key)) });
        id
    }

    /// A server or group named by a key.
    fn named(&mut self, fields: &mut Fields<'_, '_>, key: &'static str) -> Option<ServerId> {
        let text = fields.text(key)?;
        let node = fields.node(key)?;
        Some(self.name(fields, node, key, text, true))
    }

    fn tool(&mut self, fields: &mut Fields<'_, '_>, node: &Node) -> Option<ToolRule> {
        if fields.node("match").is_none() {
            fields.report.error(node.at, "tool", "has no `match`", "say which tools it is for: match = \"db_*\"");
        }
        let matches = fields.pattern("match");
        let timeout = fields.duration("timeout", false);
        let attempt = fields.duration("attempt", false);
        let safe = fields.boolean("safe");
        let idempotency_key = fields.text("idempotency_key").map(str::to_owned);
        if let (Some(at), Some("")) = (fields.node("idempotency_key").map(|n| n.at), idempotency_key.as_deref()) {
            fields.report.error(at, "tool.idempotency_key", "is empty", "name the argument that gets the key");
        }
        let (mut patch, breaker) = policy::rule_knobs(fields);
        self.breakers_set_off.extend(breaker.set_off);
        let own_breaker = breaker.own;
        patch.set.extend(attempt.map(|attempt| crate::domain::policy::PolicySetting::Attempt(Some(attempt)).into()));
        let nodes = fields.array("fallback").unwrap_or_default();
        let fallback = nodes.iter().filter_map(|node| self.fallback(fields, node)).collect();
        Some(ToolRule { matches: matches?, only: None, patch, timeout, safe, idempotency_key, own_breaker, fallback })
    }

    fn fallback(&mut self, fields: &Fields<'_, '_>, node: &Node) -> Option<Fallback> {
        let hint = "each is { server = \"…\" }, { tool = \"…\", arguments = { … } }, { stale = true } or { value = … }";
        let Some(table) = node.table() else {
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
            self.tools_set_off.push(fields.report.place(node.at, "tool.fallback.tool"));
        }
        let stale = inner.boolean("stale").filter(|stale| *stale).map(|_| Fallback::Stale);
        let value = inner.node("value").map(|node| Fallback::Value { value: Body::json(&node.json()) });
        if let Some(node) = arguments {
            match (&tool, &node.kind) {
                (None, _) => fields.report.error(node.at, "tool.fallback.arguments", "has no meaning without `tool`", hint),
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
                (Some(_), _) => inner.wrong(node, "arguments", "a table"),
            }
        }
        inner.finish();
        let mut given: Vec<Fallback> = [server, tool, stale, value].into_iter().flatten().collect();
        if given.len() != 1 {
            fields.report.error(node.at, "tool.fallback", "should say one thing to try", hint);
        }
        given.pop()
    }

    fn group(&mut self, root: &Fields<'_, '_>, field: &Field) -> Option<Group> {
        let name = format!("groups.{}", field.key);
        let Some(table) = field.value.table() else {
            root.report.error(field.at, &name, "should be a table", "give it at least `members`");
            return None;
        };
        if field.key.trim().is_empty() || field.key.chars().any(crate::domain::text::is_hidden) {
            root.report.error(field.at, &name, "the name is empty or holds characters that cannot be seen", "give it another name");
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
                root.report.error(node.at, &fields.name("members"), format!("{:?} is there twice", member.server.as_str()), "");
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
        let Some(table) = node.table() else {
            fields.wrong(node, "members", "the name of a server, or { server = \"…\", weight = 1 }");
            return None;
        };
        let mut inner = Fields::new(fields.report, table, fields.name("members"));
        let server = inner.text("server").map(|text| self.name(fields, node, "members", text, false));
        if server.is_none() {
            fields.report.error(node.at, &fields.name("members"), "a member has no `server`", "write { server = \"…\", weight = 1 }");
        }
        let weight = inner.whole("weight", 0, 1_000_000).unwrap_or(1);
        inner.finish();
        Some(Member { server: server?, weight })
    }

    fn route(&mut self, fields: &mut Fields<'_, '_>, node: &Node) -> Option<Route> {
        for (key, hint) in [("match", "say which tools it is for: match = \"db_*\""), ("to", "say where they go: to = \"NAME\"")] {
            if fields.node(key).is_none() {
                fields.report.error(node.at, "route", format!("has no `{key}`"), hint);
            }
        }
        let matches = fields.pattern("match");
        let to = self.named(fields, "to");
        Some(Route { matches: matches?, only: None, to: to? })
    }
}

/// A table of an array of tables, to be read.
fn entry<'r, 'a>(root: &Fields<'r, 'a>, node: &'r Node, key: &'static str) -> Option<Fields<'r, 'a>> {
    match node.table() {
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

/// `strategy` and, for a sticky one, `argument`.
fn strategy(fields: &mut Fields<'_, '_>) -> Strategy {
    let words = ["round-robin", "random", "least-in-flight", "least-latency", "primary", "weighted", "sticky"];
    let choices: Vec<(&str, usize)> = words.iter().copied().zip(0..).collect();
    let chosen = fields.choice("strategy", &choices);
    let argument = fields.text("argument").map(str::to_owned);
    let sticky = chosen == Some(6);
    if let (Some(node), false) = (fields.node("argument"), sticky) {
        fields.report.error(node.at, &fields.name("argument"), "has no meaning for this strategy", "it goes with strategy = \"sticky\"");
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
    let place = root.field("cache").map(|field| field.at);
    let Some(mut inner) = root.inner("cache") else { return PartialCache::default() };
    let cache = PartialCache {
        redis: redis(&mut inner),
        prefix: inner.text("prefix").map(str::to_owned),
        bytes: inner.count("bytes").map(|bytes| bytes as u64),
        wait: inner.duration("wait", false),
        pause: inner.duration("pause", false),
        place: place.map(|at| inner.report.place(at, "cache")),
    };
    let plain =
        |prefix: &String| (1..=64).contains(&prefix.len()) && prefix.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:".contains(c));
    if let (Some(node), false) = (inner.node("prefix"), cache.prefix.as_ref().is_none_or(plain)) {
        inner.report.error(
            node.at,
            "cache.prefix",
            "should be 1 to 64 of the characters A-Z a-z 0-9 _ . - :",
            "the default is \"switchboard\"",
        );
    }
    inner.finish();
    cache
}

/// `redis`: an address, or several.
fn redis(inner: &mut Fields<'_, '_>) -> Option<Vec<Secret>> {
    let node = inner.node("redis")?;
    let nodes = match &node.kind {
        Kind::Array(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut addresses = vec![];
    for node in nodes {
        let Some(text) = node.text() else {
            inner.wrong(node, "redis", "an address, or a list of them");
            continue;
        };
        let address = inner.report.expand(node.at, "cache.redis", text);
        let known = REDIS.iter().any(|scheme| address.expose().starts_with(scheme));
        // A missing variable was reported already.
        if !(known || address.interpolated() && address.expose().is_empty()) {
            inner.report.error(node.at, "cache.redis", "is no address of a Redis", format!("it begins with one of {}", REDIS.join(", ")));
        }
        addresses.push(address);
    }
    Some(addresses)
}

/// What is wrong at a place.
fn say(place: ConfigError, message: impl Into<String>, hint: impl Into<String>) -> ConfigError {
    let hint = hint.into();
    let error = ConfigError { message: message.into(), ..place };
    if hint.is_empty() { error } else { error.hint(hint) }
}
