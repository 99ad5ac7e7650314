//! Approval of projects: withholds the servers and workflows of a project until the user approves exactly these.
//!
//! An approval is the SHA-256 of everything that would be started or contacted, as written in the files. Changing one byte
//! of it requires a new approval; rotating a token in a variable does not.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    env_file,
    error::ConfigError,
    load::Loaded,
    private::{self, Links},
    project::{PartKind, Parts},
    server::{file_uri, root_field},
    text,
};
use crate::domain::{
    ask::AskPolicy,
    login::AuthSettings,
    pins::PinMode,
    policy::pattern::Pattern,
    secret::{MASK, Secret, rule},
    server::{Root, ServerSpec, Transport, looks_secret, quote},
    text::visible,
    tls::TlsSettings,
};

/// A project that waits for approval.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingApproval {
    /// The project's folder, canonical.
    pub path: PathBuf,
    /// The file in it that was read.
    pub file: PathBuf,
    /// Hash of what an approval covers: the servers as in [`launch_hash`], and their files.
    pub hash: String,
    /// The withheld servers.
    pub servers: Vec<ServerSpec>,
    /// The names of the withheld workflows, without `project/`.
    pub workflows: Vec<String>,
    /// Description of what would be started, contacted or run: complete, without control characters.
    pub lines: Vec<String>,
    /// The hash of the servers alone.
    pub(super) launches: String,
    /// The files.
    pub(super) parts: Parts,
}

/// Returns the source text of a field if it differs from the value.
fn written<'s>(spec: &'s ServerSpec, field: &str) -> Option<&'s str> {
    spec.origin.written.iter().find(|(name, _)| name == field).map(|(_, text)| text.as_str())
}

/// Returns a field of the transport as written in the file.
fn as_written<'s>(spec: &'s ServerSpec, field: &str, value: &'s str) -> &'s str {
    written(spec, field).unwrap_or(value)
}

/// Returns a configured value as written in the file, in a form that no literal can imitate.
fn canonical(secret: &Secret) -> Value {
    json!(text::written(secret))
}

fn canonical_pairs(pairs: &[(String, Secret)]) -> Value {
    pairs.iter().map(|(name, value)| json!([name, canonical(value)])).collect()
}

fn canonical_policy(policy: &AskPolicy) -> Value {
    match policy {
        AskPolicy::Ask => json!("ask"),
        AskPolicy::Decline => json!("decline"),
        AskPolicy::Fixed(answer) => json!({"fixed": answer.text()}),
    }
}

/// Returns the roots of a server. Source texts and URIs are distinguished, because one could look like the other.
fn canonical_roots(spec: &ServerSpec) -> Value {
    if spec.roots.is_empty() {
        return canonical_policy(&spec.roots_policy);
    }
    let form = |(index, root): (usize, &Root)| match written(spec, &root_field(index)) {
        Some(text) => json!({"written": text, "name": root.name}),
        None => json!({"uri": root.uri, "name": root.name}),
    };
    spec.roots.iter().enumerate().map(form).collect()
}

/// Returns what would be started or contacted for one server, in canonical form, without its name.
fn launch_form(spec: &ServerSpec) -> Value {
    let launch = match &spec.launch {
        Transport::Stdio { command, args, env, inherit_env, cwd } => {
            let cwd = cwd.as_ref().map(|path| path.to_string_lossy());
            json!({
                "command": as_written(spec, "command", command),
                "args": args.iter().map(canonical).collect::<Value>(),
                "env": canonical_pairs(env),
                "inherit_env": inherit_env,
                "cwd": cwd.as_ref().map(|cwd| as_written(spec, "cwd", cwd)),
            })
        }
        Transport::Http { url, headers, socket } => {
            let socket = socket.as_ref().map(|path| path.to_string_lossy());
            json!({
                "url": as_written(spec, "url", url),
                "headers": canonical_pairs(headers),
                "socket": socket.as_ref().map(|socket| as_written(spec, "socket", socket)),
            })
        }
    };
    let mut form = json!({
        "launch": launch,
        "trusted": spec.trusted,
        "disabled": spec.disabled,
        "elicitation": canonical_policy(&spec.elicitation),
        "sampling": canonical_policy(&spec.sampling),
        "roots": canonical_roots(spec),
    });
    // Absent by default, so that earlier approvals remain valid.
    if spec.tls != TlsSettings::default() {
        let ca = spec.tls.ca.as_ref().map(|ca| as_written(spec, "ca", &ca.to_string_lossy()).to_owned());
        form["tls"] = json!({"ca": ca, "insecure": spec.tls.insecure});
    }
    if spec.pins != PinMode::default() {
        form["pins"] = json!(spec.pins);
    }
    if spec.auth != AuthSettings::default() {
        form["auth"] = canonical_auth(&spec.auth);
    }
    if !spec.tools.is_empty() {
        // A project must not widen its filter without an approval.
        form["tools"] = json!(spec.tools);
    }
    if let Some(file) = env_file::of_server(spec) {
        // With the digest of its content: a variable can make any program run another.
        form["env_file"] = json!([file.file, file.digest]);
    }
    form
}

/// Returns the settings of logins, with the secret as written.
fn canonical_auth(auth: &AuthSettings) -> Value {
    let mut form = json!(auth);
    form["client_secret"] = auth.client_secret.as_ref().map(canonical).into();
    form
}

/// Returns what a login would do that a reader of the project should know.
fn auth_lines(auth: &AuthSettings) -> Vec<String> {
    let mut lines = vec![];
    if let Some(id) = &auth.client_id {
        let secret = auth.client_secret.as_ref().map(|secret| format!(" and the secret {}", secret.shown())).unwrap_or_default();
        lines.push(format!("    logging in as the client {}{secret}", quote(id)));
    }
    if !auth.allow_hosts.is_empty() {
        lines.push(format!("    logging in at private addresses of {}", auth.allow_hosts.join(", ")));
    }
    lines
}

/// Returns the SHA-256 in hexadecimal of everything that `specs` would start or contact.
///
/// Covers names, commands, arguments, environment, folders, addresses, headers and sockets as written in the files
/// (variables not expanded), and roots, fixed responses and trust.
/// The order of the servers does not matter.
pub fn launch_hash(specs: &[ServerSpec]) -> String {
    let mut forms: Vec<String> = specs.iter().map(|spec| json!([spec.id.as_str(), launch_form(spec)]).to_string()).collect();
    forms.sort();
    let mut hash = Sha256::new();
    hash.update(b"switchboard launch 1\n");
    for form in forms {
        hash.update(form.len().to_be_bytes());
        hash.update(form);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Like [`launch_hash`], with the files of the project that the approval covers: workflows, test files, scripts. Without
/// any it is the same hash, so that earlier approvals remain valid.
pub(super) fn project_hash(specs: &[ServerSpec], parts: &Parts) -> String {
    let launches = launch_hash(specs);
    if parts.is_empty() {
        return launches;
    }
    let mut hash = Sha256::new();
    hash.update(b"switchboard project 1\n");
    hash.update(&launches);
    for ((kind, path), digest) in parts {
        let name = json!([kind.key(), path]).to_string();
        hash.update(name.len().to_be_bytes());
        hash.update(name);
        hash.update(digest);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns whether two servers of the same name have the same launch form.
pub(super) fn same_launch(one: &ServerSpec, other: &ServerSpec) -> bool {
    launch_form(one) == launch_form(other)
}

/// Describes what `specs` would start or contact: every argument and address in full, as written in the file, without
/// control characters. Only opaque literals under secret-sounding names are masked.
pub fn launch_lines(specs: &[ServerSpec]) -> Vec<String> {
    specs.iter().flat_map(lines_of).map(|line| visible(&line).into_owned()).collect()
}

fn lines_of(spec: &ServerSpec) -> Vec<String> {
    let mut lines = vec![];
    let off = if spec.disabled { " (disabled)" } else { "" };
    match &spec.launch {
        Transport::Stdio { command, args, env, inherit_env, cwd } => {
            let mut line = format!("{}{off}: {}", spec.id, quote(as_written(spec, "command", command)));
            for arg in args {
                line.push(' ');
                line.push_str(&quote(arg.written()));
            }
            lines.push(line);
            if let Some(cwd) = cwd {
                lines.push(format!("    in {}", quote(&cwd.to_string_lossy())));
            }
            let file = env_file::of_server(spec);
            let from_file = |name: &str| file.as_ref().is_some_and(|file| file.names.contains(&name));
            let given = env.iter().filter(|(name, _)| !from_file(name));
            lines.extend(given.map(|(name, value)| format!("    with {name}={}", quote(masked_text(name, value)))));
            if let Some(file) = &file {
                let names = if file.digest.is_some() { file.names.join(", ") } else { "the file is unreadable".into() };
                lines.push(format!("    with the variables of the file {}: {names}", quote(file.file)));
            }
            if *inherit_env {
                lines.push("    with the whole environment of switchboard".into());
            }
        }
        Transport::Http { url, headers, socket } => {
            // Host and path are approved; credentials within the address are the user's or the project's.
            lines.push(format!("{}{off}: {}", spec.id, rule::masked_url(as_written(spec, "url", url), MASK)));
            if let Some(socket) = socket {
                lines.push(format!("    over {}", quote(&socket.to_string_lossy())));
            }
            lines.extend(headers.iter().map(|(name, value)| format!("    with {name}: {}", masked_text(name, value))));
            if let Some(ca) = &spec.tls.ca {
                lines.push(format!("    trusting the certificates in {}", quote(as_written(spec, "ca", &ca.to_string_lossy()))));
            }
            if spec.tls.insecure {
                lines.push("    without checking its certificate (insecure)".into());
            }
            lines.extend(auth_lines(&spec.auth));
        }
    }
    for (index, root) in spec.roots.iter().enumerate() {
        lines.push(format!("    gets the root {}", quote(as_written(spec, &root_field(index), &root.uri))));
    }
    for (what, policy) in [("elicitation", &spec.elicitation), ("sampling", &spec.sampling)] {
        if let AskPolicy::Fixed(answer) = policy {
            lines.push(format!("    answers {what} without asking: {}", answer.text()));
        }
    }
    if !spec.tools.is_empty() {
        let names = |patterns: &[Pattern]| patterns.iter().map(|pattern| pattern.text().to_owned()).collect::<Vec<_>>().join(", ");
        lines.extend(spec.tools.enabled.as_deref().map(|enabled| format!("    only these tools can be called: {}", names(enabled))));
        lines.extend(
            Some(names(&spec.tools.disabled))
                .filter(|names| !names.is_empty())
                .map(|names| format!("    tools that cannot be called: {names}")),
        );
    }
    if spec.trusted {
        lines.push("    its tool annotations are trusted".into());
    }
    lines
}

/// Returns a value as written in the file. A literal under a secret-sounding name is masked, unless it could be a path or a
/// command: those must be visible in the approval.
fn masked_text<'s>(name: &str, value: &'s Secret) -> &'s str {
    let opaque = !value.interpolated() && !value.expose().contains(|c: char| c == '/' || c == '\\' || c.is_whitespace());
    let bearer = !value.interpolated() && name.eq_ignore_ascii_case("authorization");
    if looks_secret(name) && (opaque || bearer) { MASK } else { value.written() }
}

/// All approvals.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Approvals(BTreeMap<String, String>);

impl Approvals {
    /// Returns the path of their file.
    pub fn file(state_dir: &Path) -> PathBuf {
        state_dir.join("approvals.json")
    }

    /// Reads the approvals; empty when there is no file.
    pub fn read(state_dir: &Path) -> Result<Approvals, ConfigError> {
        let file = Self::file(state_dir);
        let hint = "move the file away, then approve again";
        let damaged = || ConfigError::new("is damaged").in_file(&file).hint(hint);
        let text = private::read(&file).map_err(|e| ConfigError::new(format!("cannot be used: {e}")).in_file(&file).hint(hint))?;
        let Some(text) = text else { return Ok(Self::default()) };
        let value: Value = serde_json::from_str(&text).map_err(|_| damaged())?;
        let approved = value.get("approved").cloned().ok_or_else(damaged)?;
        serde_json::from_value(approved).map(Approvals).map_err(|_| damaged())
    }

    /// Returns whether this hash was approved for the project.
    pub fn hold(&self, project: &Path, hash: &str) -> bool {
        self.0.get(&key(project)).is_some_and(|approved| approved == hash)
    }
}

fn key(project: &Path) -> String {
    project.to_str().map_or_else(|| file_uri(project), str::to_owned)
}

/// Renews the approval of a project after Switchboard wrote one of its workflow files for the user, if nothing else has
/// changed. Returns whether it was renewed; otherwise the project needs a new approval.
pub fn approve_written(before: &Loaded, after: &Loaded, path: &Path, text: &str, state_dir: &Path) -> bool {
    let (Some(approved), Some(now)) = (&before.approved, &after.pending) else { return false };
    let mut expected = approved.parts.clone();
    let Ok(relative) = path.strip_prefix(&now.path) else { return false };
    let key = (PartKind::Workflow, relative.to_string_lossy().into_owned());
    expected.insert(key, Sha256::digest(text).into());
    let same = approved.servers == now.launches && expected == now.parts;
    same && approve(now, state_dir).is_ok()
}

/// Stores the approval of `pending`, which is valid until the project changes.
///
/// Written to `approvals.json` (mode 0600) in `state_dir` (mode 0700). Fails when these cannot be written or are symbolic
/// links.
pub fn approve(pending: &PendingApproval, state_dir: &Path) -> Result<(), ConfigError> {
    let fail = |e: std::io::Error| {
        ConfigError::new(format!("the approval cannot be stored: {e}")).in_file(state_dir).hint("check the folder's owner and permissions")
    };
    private::folder(state_dir).map_err(fail)?;
    // Two simultaneous approvals must both be stored.
    let lock = File::open(state_dir).map_err(fail)?;
    lock.lock().map_err(fail)?;
    let mut approvals = Approvals::read(state_dir)?;
    approvals.0.insert(key(&pending.path), pending.hash.clone());
    let text = format!("{:#}\n", json!({"version": 1, "approved": approvals.0}));
    private::write(&Approvals::file(state_dir), &text, Links::Refuse).map_err(fail)
}
