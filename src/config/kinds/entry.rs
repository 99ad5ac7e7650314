//! One server of another client's file: reads its keys by their meaning. `address` and `program` read the transport.

mod address;
mod program;

use std::{path::Path, time::Duration};

pub(in crate::config) use self::{address::unix_url, program::PROJECT_DIR};
use super::{
    Around, ClientKind, KindId, Section,
    keys::{COMMON, Means, Unit, effect},
    lists::Switches,
};
use crate::{
    config::{
        fields::{Fields, Report},
        server::{self, Draft, Reached},
        settings::{PartialTimeouts, Rules},
    },
    domain::{
        document::{Field, Kind, Node},
        policy::{pattern::Pattern, tool_filter::ToolFilter},
        server::{ServerSpec, SpecOrigin},
    },
};

/// Longest limit of time that is read, in seconds: 30 days.
const LONGEST: f64 = 30.0 * 24.0 * 3600.0;

/// The table and its key that switch a server off in AnythingLLM if the key is false.
const AUTO_START: (&str, &str) = ("anythingllm", "autoStart");

/// Reads one server. `root` is the default working directory of its program.
pub(super) fn read(
    report: &Report<'_>,
    section: &Section<'_>,
    entry: &Field,
    root: Option<&Path>,
    switches: &Switches,
    around: &Around,
) -> Option<Draft> {
    server::draft(report, entry, |table| {
        let name = entry.key.as_str();
        let mut entry = Entry::new(report, section.kind, table, entry.at);
        let disabled = entry.is_off() || switches.is_off(name);
        report.set_off(disabled);
        let description = entry.description();
        let tools = entry.tools(switches.tools(name));
        let timeouts = entry.timeouts();
        let reached = entry.reached(root, around);
        // The keys of a server that is refused do not matter.
        let Reached { launch, written } = reached?;
        entry.unused(name);
        let rules = Rules { timeouts, ..Rules::default() };
        let origin = SpecOrigin { written, ..SpecOrigin::default() };
        Some((ServerSpec { disabled, description, tools, origin, ..ServerSpec::new(name, launch) }, rules))
    })
}

struct Entry<'r, 'a> {
    fields: Fields<'r, 'a>,
    kind: &'static ClientKind,
    table: &'r [Field],
    at: usize,
    /// The keys of the table that have a meaning, in the order of the tables of keys.
    given: Vec<(&'static str, Means)>,
    /// Keys that were read.
    used: Vec<&'static str>,
}

impl<'r, 'a> Entry<'r, 'a> {
    fn new(report: &'r Report<'a>, kind: &'static ClientKind, table: &'r [Field], at: usize) -> Self {
        let is_set = |key: &str| table.iter().any(|field| field.key == key && !matches!(field.value.kind, Kind::Null));
        let given = Self::meanings(kind).filter(|(key, _)| is_set(key)).collect();
        Entry { fields: Fields::new(report, table, ""), kind, table, at, given, used: vec![] }
    }

    /// Returns all keys with their meaning: those of the kind before the common ones.
    fn meanings(kind: &'static ClientKind) -> impl Iterator<Item = (&'static str, Means)> {
        let timeout = kind.timeout.map(|means| ("timeout", means));
        let own = kind.keys.iter().copied().chain(timeout);
        let common = COMMON.iter().copied().filter(|(key, _)| kind.keys.iter().all(|(own, _)| own != key));
        own.chain(common)
    }

    /// Returns the keys of the table with a meaning, in the order of the tables of keys, and marks them as read.
    fn keys(&mut self, is: impl Fn(Means) -> bool) -> Vec<&'static str> {
        let found: Vec<&'static str> = self.given.iter().filter(|(_, means)| is(*means)).map(|(key, _)| *key).collect();
        self.used.extend(&found);
        found
    }

    fn key(&mut self, means: Means) -> Option<&'static str> {
        self.keys(|other| other == means).first().copied()
    }

    fn is_off(&mut self) -> bool {
        let disabled = self.keys(|means| means == Means::Disabled);
        let enabled = self.keys(|means| means == Means::Enabled);
        let mut says = |keys: Vec<&'static str>, value: bool| keys.into_iter().any(|key| self.fields.boolean(key) == Some(value));
        let off = says(disabled, true) | says(enabled, false);
        let Some(table) = self.table.iter().find(|field| field.key == AUTO_START.0) else { return off };
        self.used.push(AUTO_START.0);
        off || matches!(table.value.get(AUTO_START.1).map(|node| &node.kind), Some(Kind::Bool(false)))
    }

    fn description(&mut self) -> Option<String> {
        let key = self.key(Means::Description)?;
        // Text for people never costs the server.
        let text = self.fields.node(key)?.text()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn tools(&mut self, (listed, off): (Option<Vec<Pattern>>, Vec<Pattern>)) -> ToolFilter {
        let mut filter = ToolFilter { enabled: listed, disabled: off };
        self.filter_in_options(&mut filter);
        for key in self.keys(|means| matches!(means, Means::EnabledTools | Means::DisabledTools)) {
            let Some(node) = self.fields.node(key) else { continue };
            if self.filter_by_mode(node, key, &mut filter) {
                continue;
            }
            let enables = self.given.contains(&(key, Means::EnabledTools));
            match &node.kind {
                Kind::Array(_) => {
                    let names = self.names(node, key);
                    if enables {
                        filter.enabled.get_or_insert_default().extend(names);
                    } else {
                        filter.disabled.extend(names);
                    }
                }
                // A table of tools, or of lists.
                Kind::Table(tools) => {
                    for tool in tools {
                        let on = match (&tool.value.kind, tool.value.get("enabled").map(|node| &node.kind)) {
                            (Kind::Bool(on), _) if self.kind.id == KindId::Hermes => {
                                if !on {
                                    self.fields.report.unused_key(tool.at, &format!("{key}.{}", tool.key), effect::RESOURCES, None);
                                }
                                continue;
                            }
                            (Kind::Bool(on), _) | (_, Some(Kind::Bool(on))) => *on,
                            (Kind::Array(_) | Kind::Text(_), _) => {
                                let names = self.names(&tool.value, key);
                                match filter_word(&tool.key) {
                                    Some(true) => filter.enabled.get_or_insert_default().extend(names),
                                    Some(false) => filter.disabled.extend(names),
                                    None => self.unknown_filter(tool, key),
                                }
                                continue;
                            }
                            _ => continue,
                        };
                        filter.disabled.extend(Pattern::parse(&tool.key).ok().filter(|_| !on));
                    }
                }
                _ => self.fields.wrong_type(node, key, "a list of tool names"),
            }
        }
        if self.kind.id == KindId::Hermes && filter.enabled.is_some() {
            // There, the list of included tools takes precedence.
            filter.disabled.clear();
        }
        // A list that names all tools limits nothing; nor does an empty one of Goose.
        let unlimited =
            |names: &Vec<Pattern>| names.iter().any(|name| name.text() == "*") || names.is_empty() && self.kind.id == KindId::Goose;
        if filter.enabled.as_ref().is_some_and(unlimited) {
            filter.enabled = None;
        }
        filter
    }

    /// Reads a filter in `options`, as mcp-proxy writes it.
    fn filter_in_options(&mut self, filter: &mut ToolFilter) {
        let Some(options) = self.table.iter().find(|field| field.key == "options") else { return };
        let Some(node) = options.value.get("toolFilter") else { return };
        self.used.push("options");
        if !self.filter_by_mode(node, "options.toolFilter", filter) {
            self.fields.wrong_type(node, "options.toolFilter", "a table with `mode` and `list`");
        }
        for other in
            options.value.fields().unwrap_or_default().iter().filter(|other| other.key != "toolFilter" && !is_neutral(&other.value))
        {
            self.fields.report.unused_key(other.at, &format!("options.{}", other.key), effect::UNKNOWN, None);
        }
    }

    /// Reads a filter of the form `{"mode": "allow", "list": […]}`. Returns whether it has that form.
    fn filter_by_mode(&self, node: &Node, key: &str, filter: &mut ToolFilter) -> bool {
        let (Some(mode), Some(list)) = (node.get("mode").and_then(Node::text), node.get("list")) else { return false };
        let names = self.names(list, key);
        match filter_word(mode) {
            Some(true) => filter.enabled.get_or_insert_default().extend(names),
            Some(false) => filter.disabled.extend(names),
            None => self.fields.report.error(node.at, key, "has a mode that is not known", "write allow or block"),
        }
        true
    }

    /// Reports a key of a filter that may allow or forbid tools.
    fn unknown_filter(&self, field: &Field, key: &str) {
        let name = format!("{key}.{}", field.key);
        match field.value.kind {
            Kind::Array(_) => self.fields.report.error(field.at, &name, "is not a list that is known", "write include or exclude"),
            _ => self.fields.report.unused_key(field.at, &name, effect::UNKNOWN, None),
        }
    }

    fn names(&self, list: &Node, key: &str) -> Vec<Pattern> {
        let mut names = vec![];
        let items = list.items().unwrap_or_else(|| std::slice::from_ref(list));
        for item in items {
            // Gemini CLI can add arguments: `run(rm)`. The tool is filtered whole.
            let text = item
                .text()
                .or_else(|| item.get("name").or_else(|| item.get("original"))?.text())
                .map(|text| text.split('(').next().unwrap_or(text).trim());
            match text.map(Pattern::parse) {
                Some(Ok(pattern)) => names.push(pattern),
                _ => self.fields.report.error(item.at, key, "is not the name of a tool", "write a list of names"),
            }
        }
        names
    }

    fn timeouts(&mut self) -> PartialTimeouts {
        let (mut connect, mut call) = (None, None);
        for (key, means) in self.given.clone() {
            let (unit, is_call) = match means {
                Means::CallTimeout(unit) => (unit, true),
                Means::ConnectTimeout(unit) => (unit, false),
                _ => continue,
            };
            let Some(node) = self.fields.node(key) else { continue };
            self.used.push(key);
            let seconds = node.number().map(|number| if unit == Unit::Milliseconds { number / 1000.0 } else { number });
            match seconds
                .filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST)
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            {
                Some(limit) if is_call => call = call.or(Some(limit)),
                Some(limit) => connect = connect.or(Some(limit)),
                None => {
                    let unit = if unit == Unit::Milliseconds { "milliseconds" } else { "seconds" };
                    self.fields.report.note(node.at, key, format!("is not a valid number of {unit}"), "the default is used");
                }
            }
        }
        // Zed's older form has the limit next to the program.
        let inner = self.table.iter().find(|field| field.key == "command").and_then(|field| field.value.get("timeout")?.number());
        let limit = inner.filter(|ms| *ms > 0.0 && *ms <= LONGEST * 1000.0).and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
        PartialTimeouts::connect_and_call(connect, call.or(limit))
    }

    /// Reports the keys that were not read, once for each file.
    fn unused(&mut self, server: &str) {
        // A table that was read by hand.
        let command = self.table.iter().find(|field| field.key == "command");
        for inner in command.and_then(|field| field.value.fields()).unwrap_or_default() {
            if !["path", "args", "env", "timeout"].contains(&inner.key.as_str()) && !is_neutral(&inner.value) {
                self.fields.report.unused_key(inner.at, &format!("command.{}", inner.key), effect::UNKNOWN, Some(server));
            }
        }
        for field in self.table.iter().filter(|field| !self.used.iter().any(|key| *key == field.key)) {
            let comment =
                field.key.starts_with(['_', '#']) || field.key.starts_with("//") || field.key == "comment" || field.key == "$schema";
            let means = Self::meanings(self.kind).find(|(key, _)| *key == field.key).map(|(_, means)| means);
            // A server that its client starts later starts here with the others.
            let delayed = means == Some(Means::Unused(effect::WHEN)) && matches!(field.value.kind, Kind::Bool(false));
            if comment || (is_neutral(&field.value) && !delayed) {
                continue;
            }
            let effect = match means {
                Some(Means::Known) => continue,
                Some(means) => means.unused().unwrap_or("does not apply to this transport"),
                None => effect::UNKNOWN,
            };
            self.fields.report.unused_key(field.at, &field.key, effect, Some(server));
        }
    }
}

/// Returns whether the tools of a list are enabled (`Some(true)`) or disabled by its name; `None` if the name says neither.
fn filter_word(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "include" | "included" | "allow" | "allowed" | "enable" | "enabled" | "only" | "whitelist" | "allowlist" => Some(true),
        "exclude" | "excluded" | "block" | "blocked" | "deny" | "denied" | "disable" | "disabled" | "hide" | "hidden" | "blacklist"
        | "blocklist" | "denylist" => Some(false),
        _ => None,
    }
}

/// Returns whether a value asks for nothing: null, false, or empty.
pub(super) fn is_neutral(node: &Node) -> bool {
    match &node.kind {
        Kind::Null | Kind::Bool(false) => true,
        Kind::Text(text) => text.is_empty(),
        Kind::Array(items) => items.is_empty(),
        Kind::Table(fields) => fields.is_empty(),
        _ => false,
    }
}
