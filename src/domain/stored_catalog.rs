//! Last known catalogs: the lists of a server as they were read, to be stored for the time in which it does not answer.
//!
//! A [`CatalogKey`] says which server a [`StoredCatalog`] belongs to. Both are values; [`CatalogStore`] stores them.
//!
//! [`CatalogStore`]: crate::engine::ports::CatalogStore

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{
    body::Body,
    catalog::RawLists,
    secret::{Redactor, Secret},
    server::{Era, ServerSpec, SessionInfo, Transport},
};

/// Largest size of a stored catalog, in bytes of its JSON.
pub const BYTES: usize = 4 << 20;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// What a stored catalog belongs to. Contains hashes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CatalogKey {
    /// The launch fingerprint of the server.
    pub launch: Hash,
    /// The hash of the capabilities that the client declares: servers list other tools to other clients.
    pub capabilities: Hash,
}

impl CatalogKey {
    /// Returns the key of a server, for a client that declares these capabilities (a JSON object).
    pub fn new(spec: &ServerSpec, capabilities: &Body) -> CatalogKey {
        CatalogKey {
            launch: launch_fingerprint(&spec.launch),
            capabilities: hash(b"switchboard capabilities 1", [&**capabilities.bytes()]),
        }
    }
}

/// Returns the SHA-256 of everything that starts or addresses a server: command, arguments, working directory and environment
/// with their values; or address, socket and the names of headers. Values of headers are left out, because tokens change.
///
/// Names and policies of the server are not part of it. A guess of all values can be compared with the hash, but none can be
/// computed from it.
pub fn launch_fingerprint(launch: &Transport) -> Hash {
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.as_os_str().as_encoded_bytes().to_vec());
    let optional = |value: Option<Vec<u8>>| value.map_or_else(|| vec![0], |value| [&[1], &*value].concat());
    let count = |length: usize| length.to_string().into_bytes();
    let value = |secret: &Secret| secret.expose().as_bytes().to_vec();
    let mut parts: Vec<Vec<u8>> = vec![launch.transport().into()];
    match launch {
        Transport::Stdio { command, args, env, inherit_env, cwd } => {
            parts.extend([command.clone().into_bytes(), optional(path(cwd)), vec![u8::from(*inherit_env)], count(args.len())]);
            parts.extend(args.iter().map(value));
            parts.extend(env.iter().flat_map(|(name, secret)| [name.clone().into_bytes(), value(secret)]));
        }
        Transport::Http { url, headers, socket } => {
            parts.extend([url.clone().into_bytes(), optional(path(socket))]);
            // HTTP does not distinguish their case (RFC 9110, section 5.1).
            parts.extend(headers.iter().map(|(name, _)| name.to_ascii_lowercase().into_bytes()));
        }
    }
    hash(b"switchboard launch fingerprint 1", parts.iter().map(|part| &**part))
}

/// Returns the hash of parts, each with its length, so that no two lists of parts are hashed alike.
fn hash<'p>(domain: &[u8], parts: impl IntoIterator<Item = &'p [u8]>) -> Hash {
    let mut hash = Sha256::new();
    hash.update(domain);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The lists of a server, with its self-description, as they were read at some time. Known secrets are masked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredCatalog {
    /// When the lists were read, in milliseconds since the Unix epoch.
    pub read_ms: u64,
    /// The server that listed them.
    pub server: StoredServer,
    /// Items of `tools/list`, JSON as received.
    pub tools: Vec<Body>,
    /// Items of `resources/list`.
    pub resources: Vec<Body>,
    /// Items of `resources/templates/list`.
    pub templates: Vec<Body>,
    /// Items of `prompts/list`.
    pub prompts: Vec<Body>,
    /// The lists that were cut by a limit, by key.
    pub cut: Vec<String>,
}

/// The self-description of a server that listed a stored catalog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredServer {
    /// The era of the connection.
    pub era: Option<Era>,
    /// The negotiated protocol version.
    pub protocol: String,
    /// `serverInfo.name`.
    pub name: Option<String>,
    /// `serverInfo.title`.
    pub title: Option<String>,
    /// `serverInfo.version`.
    pub version: Option<String>,
    /// `instructions`.
    pub instructions: Option<String>,
    /// The capabilities object of the server.
    pub capabilities: Body,
}

impl StoredServer {
    /// Returns the self-description of a connected server, with secrets.
    pub fn new(info: &SessionInfo) -> StoredServer {
        StoredServer {
            era: Some(info.era),
            protocol: info.protocol.clone(),
            name: info.name.clone(),
            title: info.title.clone(),
            version: info.version.clone(),
            instructions: info.instructions.clone(),
            capabilities: info.capabilities.clone(),
        }
    }
}

/// The keys of lists.
const LISTS: [&str; 4] = ["tools", "resources", "resourceTemplates", "prompts"];

impl StoredCatalog {
    /// Returns the catalog to be stored. `None` if a list was not read completely because of an error: an earlier catalog says
    /// more.
    pub fn new(lists: &RawLists, info: &SessionInfo, read_ms: u64, redactor: &Redactor) -> Option<StoredCatalog> {
        if lists.timed_out || !lists.broken.is_empty() {
            return None;
        }
        let masked = |list: &[Body]| list.iter().map(|item| item.redacted(redactor)).collect();
        let text = |text: &Option<String>| text.as_ref().map(|text| redactor.redact(text));
        let server = StoredServer {
            era: Some(info.era),
            protocol: redactor.redact(&info.protocol),
            name: text(&info.name),
            title: text(&info.title),
            version: text(&info.version),
            instructions: text(&info.instructions),
            capabilities: info.capabilities.redacted(redactor),
        };
        Some(StoredCatalog {
            read_ms,
            server,
            tools: masked(&lists.tools),
            resources: masked(&lists.resources),
            templates: masked(&lists.templates),
            prompts: masked(&lists.prompts),
            cut: lists.cut.iter().map(|key| (*key).to_owned()).collect(),
        })
    }

    /// Returns the lists in the form in which a server provides them.
    pub fn lists(&self) -> RawLists {
        let lists = [&self.tools, &self.resources, &self.templates, &self.prompts];
        RawLists {
            tools: self.tools.clone(),
            resources: self.resources.clone(),
            templates: self.templates.clone(),
            prompts: self.prompts.clone(),
            cut: LISTS.into_iter().filter(|key| self.cut.iter().any(|cut| cut == key)).collect(),
            bytes: lists.into_iter().flatten().map(Body::len).sum(),
            ..RawLists::default()
        }
    }

    /// Returns the catalog as JSON, without its time; `None` if it is larger than [`BYTES`], or an item is not JSON.
    pub fn to_json(&self) -> Option<Vec<u8>> {
        let raw = |list: &'_ [Body]| list.iter().map(|item| item.parse::<Box<RawValue>>().ok()).collect::<Option<Vec<_>>>();
        if self.lists().bytes > BYTES {
            return None;
        }
        let document = Document {
            server: self.server.clone(),
            tools: raw(&self.tools)?,
            resources: raw(&self.resources)?,
            templates: raw(&self.templates)?,
            prompts: raw(&self.prompts)?,
            cut: self.cut.clone(),
        };
        serde_json::to_vec(&document).ok().filter(|json| json.len() <= BYTES)
    }

    /// Reads [`StoredCatalog::to_json`].
    pub fn from_json(json: &[u8], read_ms: u64) -> Result<StoredCatalog, serde_json::Error> {
        let document: Document = serde_json::from_slice(json)?;
        let bodies = |list: Vec<Box<RawValue>>| list.into_iter().map(|item| Body::from(item.get())).collect();
        Ok(StoredCatalog {
            read_ms,
            server: document.server,
            tools: bodies(document.tools),
            resources: bodies(document.resources),
            templates: bodies(document.templates),
            prompts: bodies(document.prompts),
            cut: document.cut,
        })
    }
}

/// The stored form. Items stay as received.
#[derive(Serialize, Deserialize)]
struct Document {
    server: StoredServer,
    tools: Vec<Box<RawValue>>,
    resources: Vec<Box<RawValue>>,
    templates: Vec<Box<RawValue>>,
    prompts: Vec<Box<RawValue>>,
    #[serde(default)]
    cut: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{catalog::BrokenList, secret::MASK, time::Stamp};

    fn stdio(args: &[&str], env: &[(&str, &str)], cwd: Option<&str>) -> Transport {
        Transport::Stdio {
            command: "server".into(),
            args: args.iter().map(|arg| Secret::literal(*arg)).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), Secret::literal(*value))).collect(),
            inherit_env: false,
            cwd: cwd.map(Into::into),
        }
    }

    fn http(url: &str, headers: &[(&str, &str)], socket: Option<&str>) -> Transport {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Secret::literal(*value))).collect();
        Transport::Http { url: url.into(), headers, socket: socket.map(Into::into) }
    }

    #[test]
    fn everything_that_starts_a_server_changes_its_fingerprint() {
        let launches = [
            stdio(&[], &[], None),
            stdio(&["a", "b"], &[], None),
            stdio(&["ab"], &[], None),
            stdio(&["b", "a"], &[], None),
            stdio(&[], &[("a", "b")], None),
            stdio(&[], &[("a", "c")], None),
            stdio(&[], &[("b", "b")], None),
            stdio(&[], &[], Some("/")),
            stdio(&[], &[], Some("")),
            http("server", &[], None),
            http("server", &[("a", "")], None),
            http("server?a", &[], None),
            http("server", &[], Some("/a")),
        ];
        let mut hashes: Vec<Hash> = launches.iter().map(launch_fingerprint).collect();
        hashes.sort();
        hashes.dedup();
        assert_eq!(hashes.len(), launches.len());
        assert_eq!(
            launch_fingerprint(&http("u", &[("Authorization", "one")], None)),
            launch_fingerprint(&http("u", &[("authorization", "two")], None)),
            "a new token, the same server"
        );
        let spec = ServerSpec::new("a", stdio(&["x"], &[], None));
        let other = ServerSpec { description: Some("d".into()), trusted: true, ..ServerSpec::new("b", spec.launch.clone()) };
        let (some, none) = (Body::from(r#"{"roots":{}}"#), Body::from("{}"));
        assert_eq!(CatalogKey::new(&spec, &some), CatalogKey::new(&other, &some));
        assert_ne!(CatalogKey::new(&spec, &some), CatalogKey::new(&spec, &none));
    }

    #[test]
    fn items_stay_as_received_but_for_secrets() {
        let tool = r#"{"name":"a",  "inputSchema":{"x-vendor":1.50,"z":1,"a":2}}"#;
        let lists = RawLists {
            tools: vec![Body::from(tool), Body::from(r#"{"name":"b","description":"key s3cret-value"}"#)],
            prompts: vec![Body::from(r#"{"name":"p"}"#)],
            cut: vec!["prompts"],
            ..RawLists::default()
        };
        let info = SessionInfo { instructions: Some("use s3cret-value".into()), ..SessionInfo::bare(Stamp(0)) };
        let redactor = Redactor::new([&Secret::literal("s3cret-value")]);
        let catalog = StoredCatalog::new(&lists, &info, 7, &redactor).unwrap();
        let json = catalog.to_json().unwrap();
        let text = String::from_utf8(json.clone()).unwrap();
        assert!(!text.contains("s3cret") && text.contains(MASK) && text.contains(tool), "{text}");
        let read = StoredCatalog::from_json(&json, 7).unwrap();
        assert_eq!(read, catalog);
        assert_eq!((read.server.era, read.lists().cut, read.lists().bytes), (Some(Era::Legacy), vec!["prompts"], catalog.lists().bytes));
        assert!(StoredCatalog::from_json(&json[1..], 7).is_err());
    }

    #[test]
    fn incomplete_and_large_catalogs_are_not_stored() {
        let info = SessionInfo::bare(Stamp(0));
        let of = |lists: RawLists| StoredCatalog::new(&lists, &info, 0, &Redactor::default());
        assert_eq!(of(RawLists { timed_out: true, ..RawLists::default() }), None);
        assert_eq!(of(RawLists { broken: vec![BrokenList::new("tools", "reset")], ..RawLists::default() }), None);
        let item = |length: usize| Body::from(format!("\"{}\"", "x".repeat(length)));
        let sized = |length| of(RawLists { tools: vec![item(length)], ..RawLists::default() }).unwrap().to_json();
        assert!(sized(BYTES - 1000).is_some() && sized(BYTES - 2).is_none() && sized(BYTES).is_none());
        assert_eq!(of(RawLists { tools: vec![Body::from("{")], ..RawLists::default() }).unwrap().to_json(), None);
    }
}
