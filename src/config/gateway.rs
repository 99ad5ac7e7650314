//! The settings of the gateway: `[gateway]`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{fields::Fields, server::patterns};
use crate::domain::{
    body::Body,
    policy::tool_filter::ToolFilter,
    profile::{Profile, ToolEdit},
};

/// The settings in `[gateway]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewaySettings {
    /// The address of the HTTP listener.
    pub http: Option<SocketAddr>,
    /// The Unix socket to listen on.
    pub socket: Option<PathBuf>,
    /// The file with the bearer token that clients need.
    pub token_file: Option<PathBuf>,
    /// Further names of this machine that clients may use in `Host`.
    pub hosts: Vec<String>,
    /// Origins of pages that may send requests.
    pub origins: Vec<String>,
    /// Whether a single server is offered under its own names, with its own capabilities and instructions.
    pub transparent: bool,
    /// How long the first list waits for starting servers.
    pub list_wait: Duration,
    /// How long the entries of an unreachable server stay listed.
    pub list_grace: Duration,
    /// The instructions before those of the servers.
    pub instructions: Option<String>,
    /// The profiles in the order of the file; the default one only if it is configured.
    pub profiles: Vec<Profile>,
    /// The files with the bearer tokens of profiles, by their names.
    pub profile_tokens: Vec<(Arc<str>, PathBuf)>,
    /// Whether the table has errors, so that a profile or an access rule may be missing. The gateway does not start then.
    pub faulty: bool,
}

impl Default for GatewaySettings {
    fn default() -> GatewaySettings {
        GatewaySettings {
            http: None,
            socket: None,
            token_file: None,
            hosts: vec![],
            origins: vec![],
            transparent: true,
            list_wait: Duration::from_secs(5),
            list_grace: Duration::from_secs(600),
            instructions: None,
            profiles: vec![],
            profile_tokens: vec![],
            faulty: false,
        }
    }
}

/// The settings of the gateway that one file sets; missing ones come from the layer below.
#[derive(Clone, Debug, Default)]
pub(super) struct PartialGateway {
    http: Option<SocketAddr>,
    socket: Option<PathBuf>,
    token_file: Option<PathBuf>,
    hosts: Option<Vec<String>>,
    origins: Option<Vec<String>>,
    transparent: Option<bool>,
    list_wait: Option<Duration>,
    list_grace: Option<Duration>,
    instructions: Option<String>,
    profiles: Vec<(Profile, Option<PathBuf>)>,
    faulty: bool,
}

impl PartialGateway {
    /// Reads the table.
    pub fn read(root: &mut Fields<'_, '_>) -> PartialGateway {
        let (read, valid) = root.report.checked(|| PartialGateway::table(root));
        // The table may be under a misspelt name.
        PartialGateway { faulty: !valid || root.has_misspelling_of(&["gateway"]), ..read }
    }

    fn table(root: &mut Fields<'_, '_>) -> PartialGateway {
        let Some(mut table) = root.inner("gateway") else { return PartialGateway::default() };
        let path = |table: &mut Fields<'_, '_>, key| table.text(key).map(|text| table.report.path(text));
        let read = PartialGateway {
            http: address(&mut table),
            socket: path(&mut table, "socket"),
            token_file: path(&mut table, "token_file"),
            hosts: texts(&mut table, "hosts", "hosts = [\"console.example.com\"]"),
            origins: texts(&mut table, "origins", "origins = [\"https://console.example.com\"]"),
            transparent: table.boolean("transparent"),
            list_wait: table.duration_or_zero("list_wait"),
            list_grace: table.duration_or_zero("list_grace"),
            instructions: table.text("instructions").map(str::to_owned),
            profiles: profiles(&mut table),
            faulty: false,
        };
        table.finish();
        read
    }

    /// Merges these settings over `below`.
    pub fn merged_over(self, below: PartialGateway) -> PartialGateway {
        PartialGateway {
            http: self.http.or(below.http),
            socket: self.socket.or(below.socket),
            token_file: self.token_file.or(below.token_file),
            hosts: self.hosts.or(below.hosts),
            origins: self.origins.or(below.origins),
            transparent: self.transparent.or(below.transparent),
            list_wait: self.list_wait.or(below.list_wait),
            list_grace: self.list_grace.or(below.list_grace),
            instructions: self.instructions.or(below.instructions),
            profiles: merged(self.profiles, below.profiles),
            faulty: self.faulty || below.faulty,
        }
    }

    /// Returns the settings, with defaults for missing ones.
    pub fn finish(self) -> GatewaySettings {
        let default = GatewaySettings::default();
        GatewaySettings {
            http: self.http,
            socket: self.socket,
            token_file: self.token_file,
            hosts: self.hosts.unwrap_or(default.hosts),
            origins: self.origins.unwrap_or(default.origins),
            transparent: self.transparent.unwrap_or(default.transparent),
            list_wait: self.list_wait.unwrap_or(default.list_wait),
            list_grace: self.list_grace.unwrap_or(default.list_grace),
            instructions: self.instructions,
            profile_tokens: self.profiles.iter().filter_map(|(profile, file)| Some((profile.name.clone(), file.clone()?))).collect(),
            profiles: self.profiles.into_iter().map(|(profile, _)| profile).collect(),
            faulty: self.faulty,
        }
    }
}

/// Reads `http`, an address with a port.
fn address(table: &mut Fields<'_, '_>) -> Option<SocketAddr> {
    let text = table.text("http")?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let at = table.node("http")?.at;
    table.report.error(at, "gateway.http", "should be an IP address with a port", "http = \"127.0.0.1:7420\"");
    None
}

/// Reads an array of texts.
pub(super) fn texts(table: &mut Fields<'_, '_>, key: &'static str, example: &str) -> Option<Vec<String>> {
    let nodes = table.array(key)?;
    let mut found = vec![];
    for node in nodes {
        match node.text() {
            Some(text) => found.push(text.to_owned()),
            None => table.report.error(node.at, &table.name(key), "should be texts in quotes", example),
        }
    }
    Some(found)
}

/// Reads `[gateway.profiles.NAME]`.
fn profiles(table: &mut Fields<'_, '_>) -> Vec<(Profile, Option<PathBuf>)> {
    let report = table.report;
    let mut found = vec![];
    for entry in table.table("profiles").unwrap_or_default() {
        let name = format!("gateway.profiles.{}", entry.key);
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if entry.key.is_empty() || entry.key.len() > 64 || !entry.key.chars().all(plain) {
            report.error(entry.at, &name, "should be named with 1 to 64 of the characters A-Z a-z 0-9 _ . -", "it is a part of a path");
        }
        let Some(inner) = entry.value.fields() else {
            report.error(entry.at, &name, "should be a table", format!("write [{name}]"));
            continue;
        };
        let mut fields = Fields::new(report, inner, name);
        let profile = Profile {
            name: entry.key.as_str().into(),
            servers: ToolFilter {
                enabled: patterns(&mut fields, "enabled_servers"),
                disabled: patterns(&mut fields, "disabled_servers").unwrap_or_default(),
            },
            tools: ToolFilter {
                enabled: patterns(&mut fields, "enabled_tools"),
                disabled: patterns(&mut fields, "disabled_tools").unwrap_or_default(),
            },
            destructive: fields.choice("destructive", &[("allow", true), ("deny", false)]).unwrap_or(true),
            instructions: fields.text("instructions").map(str::to_owned),
            all_logs: fields.choice("logs", &[("own", false), ("all", true)]).unwrap_or(false),
            edits: edits(&mut fields),
        };
        let token = fields.text("token_file").map(|text| fields.report.path(text));
        fields.finish();
        found.push((profile, token));
    }
    found
}

/// Reads `[gateway.profiles.NAME.tools.TOOL]`.
fn edits(profile: &mut Fields<'_, '_>) -> Vec<Arc<ToolEdit>> {
    let report = profile.report;
    let around = profile.name("tools");
    let mut found = vec![];
    for entry in profile.table("tools").unwrap_or_default() {
        let name = format!("{around}.{}", entry.key);
        let Some(inner) = entry.value.fields() else {
            report.error(entry.at, &name, "should be a table", format!("write [{name}]"));
            continue;
        };
        let mut fields = Fields::new(report, inner, name);
        let fixed = fields.table("fixed").unwrap_or_default();
        found.push(Arc::new(ToolEdit {
            tool: entry.key.as_str().into(),
            rename: fields.text("rename").map(Into::into),
            description: fields.text("description").map(str::to_owned),
            fixed: fixed.iter().map(|field| (field.key.clone(), Body::json(&field.value.json()))).collect(),
            hidden: texts(&mut fields, "hidden", "hidden = [\"timeout\"]").unwrap_or_default(),
            confirm: fields.boolean("confirm").unwrap_or(false),
            per_minute: fields.integer("per_minute", 1, 100_000),
        }));
        fields.finish();
    }
    found
}

/// Returns the profiles of both layers; those of the upper one replace others of the same name.
fn merged(mut upper: Vec<(Profile, Option<PathBuf>)>, below: Vec<(Profile, Option<PathBuf>)>) -> Vec<(Profile, Option<PathBuf>)> {
    let added: Vec<_> = below.into_iter().filter(|(profile, _)| !upper.iter().any(|(other, _)| other.name == profile.name)).collect();
    upper.extend(added);
    upper
}
