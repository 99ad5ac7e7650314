//! What the addresses in the configuration mean: one Redis, the master that sentinels name, or a cluster.
//!
//! Addresses hold passwords; no error and no text from here repeats one.

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsMode,
    cluster::{ClusterClient, ClusterClientBuilder},
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};

use super::CONNECT_MOST;
use crate::domain::secret::{Redactor, Secret};

/// Where sentinels listen when the address does not say.
const SENTINEL_PORT: u16 = 26379;

/// What is connected to.
pub enum Target {
    /// One Redis.
    One(Box<Client>),
    /// The master that one of these sentinels names.
    Sentinel(Box<SentinelClient>),
    /// A cluster, found by any of its nodes.
    Cluster(Box<ClusterClient>),
}

/// Addresses as understood.
pub struct Place {
    /// What is connected to.
    pub target: Target,
    /// The same for people, without what is secret.
    pub shown: String,
    /// What hides the secrets in texts of others.
    pub mask: Mask,
}

/// Hides the passwords of addresses.
pub struct Mask {
    passwords: Vec<Secret>,
    redactor: Redactor,
}

impl Mask {
    fn new(mut secrets: Vec<Secret>) -> Mask {
        let redactor = Redactor::new(&secrets);
        secrets.retain(|secret| !secret.expose().is_empty());
        Mask { passwords: secrets, redactor }
    }

    /// Returns the text, or nothing if it contains a secret that is too short to be masked.
    pub fn hide(&self, text: &str) -> String {
        let text = self.redactor.redact(text);
        if self.passwords.iter().any(|secret| text.contains(secret.expose())) { "an error that repeats the password".into() } else { text }
    }
}

/// Understands the addresses: several are nodes of one cluster, or sentinels of one service.
pub fn read(addresses: &[Secret]) -> Result<Place, String> {
    let sentinels = |address: &Secret| scheme(address.expose()).1.is_some();
    if addresses.iter().any(sentinels) {
        return sentinel(addresses);
    }
    let mut nodes = vec![];
    for (at, address) in addresses.iter().enumerate() {
        nodes.push(info(address.expose()).ok_or_else(|| nonsense(at, "redis://[USER:PASSWORD@]HOST[:PORT][/DB]"))?);
    }
    let passwords = nodes.iter().filter_map(|node| node.redis_settings().password().map(Secret::literal));
    let mask = Mask::new(passwords.chain(addresses.iter().cloned()).collect());
    let shown: Vec<String> = nodes.iter().map(|node| node.addr().to_string()).collect();
    let [one] = nodes.as_slice() else {
        let cluster = ClusterClientBuilder::new(nodes).connection_timeout(CONNECT_MOST).response_timeout(CONNECT_MOST).retries(2).build();
        let cluster = cluster.map_err(|e| format!("the addresses are not of one cluster: {}", mask.hide(&e.to_string())))?;
        return Ok(Place { target: Target::Cluster(Box::new(cluster)), shown: format!("the cluster {}", shown.join(", ")), mask });
    };
    let client = Client::open(one.clone()).map_err(|e| mask.hide(&e.to_string()))?;
    Ok(Place { target: Target::One(Box::new(client)), shown: shown.concat(), mask })
}

fn nonsense(at: usize, form: &str) -> String {
    format!("address {} of `redis.url` cannot be read; it looks like {form}", at + 1)
}

fn info(url: &str) -> Option<ConnectionInfo> {
    url.into_connection_info().ok()
}

/// The scheme of an address of sentinels as one of Redis, and what comes after it.
fn scheme(address: &str) -> (&'static str, Option<&str>) {
    match (address.strip_prefix("redis+sentinel://"), address.strip_prefix("rediss+sentinel://")) {
        (Some(rest), _) => ("redis", Some(rest)),
        (_, Some(rest)) => ("rediss", Some(rest)),
        _ => ("", None),
    }
}

/// What one address of sentinels says.
struct Sentinels {
    /// The sentinels; with the credentials and the database of the master.
    nodes: Vec<ConnectionInfo>,
    /// The service whose master is wanted.
    service: String,
    /// Credentials for the sentinels themselves.
    user: Option<String>,
    password: Option<String>,
}

fn sentinel(addresses: &[Secret]) -> Result<Place, String> {
    const FORM: &str = "redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST…]/SERVICE[/DB][?sentinel_password=…]";
    let mut all: Option<Sentinels> = None;
    for (at, address) in addresses.iter().enumerate() {
        let one = sentinels(address.expose()).ok_or_else(|| nonsense(at, FORM))?;
        match &mut all {
            None => all = Some(one),
            Some(all) if all.service == one.service => all.nodes.extend(one.nodes),
            Some(_) => return Err("the addresses of `redis.url` name sentinels of different services; give those of one".into()),
        }
    }
    let Some(Sentinels { nodes, service, user, password }) = all else { return Err(nonsense(0, FORM)) };
    let passwords = nodes.iter().filter_map(|node| node.redis_settings().password()).chain(password.as_deref()).map(Secret::literal);
    let mask = Mask::new(passwords.chain(addresses.iter().cloned()).collect());
    let shown: Vec<String> = nodes.iter().map(|node| node.addr().to_string()).collect();
    let shown = format!("{service} of the sentinels {}", shown.join(", "));
    let addrs: Vec<ConnectionAddr> = nodes.iter().map(|node| node.addr().clone()).collect();
    let tls = addrs.iter().any(|addr| matches!(addr, ConnectionAddr::TcpTls { .. }));
    let settings = nodes[0].redis_settings();
    let build = || {
        let mut builder = SentinelClientBuilder::new(addrs, &service, SentinelServerType::Master)?.set_client_to_redis_db(settings.db());
        if tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if let Some(user) = settings.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = settings.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(user) = user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let Some(password) = password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        builder.build()
    };
    let client = build().map_err(|e| mask.hide(&e.to_string()))?;
    Ok(Place { target: Target::Sentinel(Box::new(client)), shown, mask })
}

/// Reads an address of sentinels; the crate has no form of its own for it. Each host is read as an address of Redis,
/// so that credentials mean the same as there.
fn sentinels(address: &str) -> Option<Sentinels> {
    let (scheme, Some(rest)) = scheme(address) else { return None };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/')?;
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
        None => (String::new(), authority),
    };
    let (service, db) = path.split_once('/').unwrap_or((path, ""));
    if service.is_empty() {
        return None;
    }
    let mut nodes = vec![];
    for host in hosts.split(',') {
        let with_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let port = if with_port { String::new() } else { format!(":{SENTINEL_PORT}") };
        nodes.push(info(&format!("{scheme}://{credentials}{host}{port}/{db}"))?);
    }
    let asked = |key: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?;
        Some(info(&format!("redis://:{value}@host"))?.redis_settings().password()?.to_owned())
    };
    Some(Sentinels { nodes, service: service.to_owned(), user: asked("sentinel_username"), password: asked("sentinel_password") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(addresses: &[&str]) -> Result<Place, String> {
        read(&addresses.iter().map(|a| Secret::literal(*a)).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_are_understood_and_shown_without_their_secrets() {
        for (addresses, shown) in [
            (&["redis://:hunter2@cache.example:7000/3"][..], "cache.example:7000"),
            (&["rediss://me:hunter2@cache.example"], "cache.example:6379"),
            (&["unix:///run/redis.sock?pass=hunter2"], "/run/redis.sock"),
            (&["redis://:hunter2@a:1", "redis://:hunter2@b:2"], "the cluster a:1, b:2"),
            (
                &["redis+sentinel://me:hunter2@a,b:7,[::1]/main/2?sentinel_password=hunter2"],
                "main of the sentinels a:26379, b:7, ::1:26379",
            ),
            (&["rediss+sentinel://:hunter2@a/main", "rediss+sentinel://:hunter2@b/main"], "main of the sentinels a:26379, b:26379"),
        ] {
            let place = place(addresses).unwrap_or_else(|why| panic!("{addresses:?}: {why}"));
            assert_eq!(place.shown, shown);
            assert!(!place.mask.hide("AUTH hunter2 failed").contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for addresses in [
            &["redis://:hunter2@"][..],
            &["http://:hunter2@x"],
            &["redis://:hunter2@x/db"],
            &["redis://a", "unix:///hunter2"],
            &["redis+sentinel://:hunter2@a"],
            &["redis+sentinel://:hunter2@a/x/y"],
            &["redis+sentinel://:hunter2@a/x", "redis+sentinel://:hunter2@a/y"],
            &["redis+sentinel://:hunter2@a/x", "redis://:hunter2@a"],
        ] {
            let why = place(addresses).err().unwrap_or_else(|| panic!("{addresses:?} was taken"));
            assert!(!why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn short_passwords_are_hidden_too() {
        let place = place(&["redis://:pw@x"]).unwrap();
        assert_eq!(place.mask.hide("ERR unknown command AUTH, with args beginning with: pw"), "an error that repeats the password");
        assert_eq!(place.mask.hide("connection refused"), "connection refused");
    }
}
