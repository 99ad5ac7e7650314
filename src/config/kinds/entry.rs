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
        let mut entry = Entry { fields: Fields::new(report, table, ""), kind: section.kind, table, at: entry.at, used: vec![] };
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
    /// Keys that were read.
    used: Vec<&'static str>,
}

impl<'r, 'a> Entry<'r, 'a> {
    /// Returns all keys with their meaning: those of the kind before the common ones.
    fn meanings(kind: &'static ClientKind) -> impl Iterator<Item = (&'static str, Means)> {
        let timeout = kind.timeout.map(|means| ("timeout", means));
        let own = kind.keys.iter().copied().chain(timeout);
        let common = COMMON.iter().copied().filter(|(key, _)| kind.keys.iter().all(|(own, _)| own != key));
        own.chain(common)
    }

    /// Returns the keys of the table with a meaning, in the order of the tables of keys, and marks them as read.
    fn keys(&mut self, is: impl Fn(Means) -> bool) -> Vec<&'static str> {
        let table = self.table;
        let given = |key: &str| table.iter().any(|field| field.key == key && !matches!(field.value.kind, Kind::Null));
        let found: Vec<&'static str> =
            Self::meanings(self.kind).filter(|(key, means)| is(*means) && given(key)).map(|(key, _)| key).collect();
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
        says(disabled, true) | says(enabled, false)
    }

    fn description(&mut self) -> Option<String> {
        let key = self.key(Means::Description)?;
        // Text for people never costs the server.
        let text = self.fields.node(key)?.text()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn tools(&mut self, (listed, off): (Option<Vec<Pattern>>, Vec<Pattern>)) -> ToolFilter {
        let mut filter = ToolFilter { enabled: listed, disabled: off };
        for key in self.keys(|means| matches!(means, Means::EnabledTools | Means::DisabledTools)) {
            let Some(node) = self.fields.node(key) else { continue };
            let enables = Self::meanings(self.kind).any(|(other, means)| other == key && means == Means::EnabledTools);
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
                            (Kind::Bool(on), _) | (_, Some(Kind::Bool(on))) => *on,
                            (Kind::Array(_), _) => {
                                let names = self.names(&tool.value, key);
                                match tool.key.as_str() {
                                    "include" | "allow" | "allowed" | "enabled" => filter.enabled.get_or_insert_default().extend(names),
                                    _ => filter.disabled.extend(names),
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
        // A list that names all tools limits nothing; nor does an empty one of Goose.
        let unlimited =
            |names: &Vec<Pattern>| names.iter().any(|name| name.text() == "*") || names.is_empty() && self.kind.id == KindId::Goose;
        if filter.enabled.as_ref().is_some_and(unlimited) {
            filter.enabled = None;
        }
        filter
    }

    fn names(&self, list: &Node, key: &str) -> Vec<Pattern> {
        let mut names = vec![];
        for item in list.items().unwrap_or_default() {
            // Gemini CLI can add arguments: `run(rm)`. The tool is filtered whole.
            let text = item.text().or_else(|| item.get("name")?.text()).map(|text| text.split('(').next().unwrap_or(text).trim());
            match text.map(Pattern::parse) {
                Some(Ok(pattern)) => names.push(pattern),
                _ => self.fields.report.error(item.at, key, "is not the name of a tool", "write a list of names"),
            }
        }
        names
    }

    fn timeouts(&mut self) -> PartialTimeouts {
        let (mut connect, mut call) = (None, None);
        for (key, means) in Self::meanings(self.kind).filter(|(_, means)| matches!(means, Means::CallTimeout(_) | Means::ConnectTimeout(_)))
        {
            let Some(node) = self.fields.node(key) else { continue };
            self.used.push(key);
            let (unit, is_call) = match means {
                Means::CallTimeout(unit) => (unit, true),
                Means::ConnectTimeout(unit) => (unit, false),
                _ => continue,
            };
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
            if comment || is_neutral(&field.value) {
                continue;
            }
            let means = Self::meanings(self.kind).find(|(key, _)| *key == field.key).map(|(_, means)| means);
            let effect = match means {
                Some(Means::Known) => continue,
                Some(means) => means.unused().unwrap_or("does not apply to this transport"),
                None => effect::UNKNOWN,
            };
            self.fields.report.unused_key(field.at, &field.key, effect, Some(server));
        }
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
