//! Address filter of OAuth requests: metadata of a server must not lead this program into the network that it runs in (MCP
//! 2026-07-28, security best practices, "Server-Side Request Forgery"). Pure, but for the look-up of names.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use super::http::{Host, Name, Resolve, Resolving, Url};

/// Which addresses may be connected to.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// Whether private addresses are allowed, because the MCP server itself has one.
    private: bool,
    /// Hosts that may have any address.
    hosts: Vec<String>,
}

impl Addresses {
    /// Returns the rules for a server at `url`. `peer` is the address of a connection to it, if it is known: the server answered
    /// from there.
    pub(super) fn of(url: &Url, peer: Option<IpAddr>, hosts: &[String]) -> Addresses {
        let named = match url.host() {
            Some(Host::Domain(name)) => is_loopback_name(name),
            Some(Host::Ipv4(address)) => !is_public(address.into()),
            Some(Host::Ipv6(address)) => !is_public(address.into()),
            None => false,
        };
        Addresses { private: named || peer.is_some_and(|peer| !is_public(peer)), hosts: hosts.to_vec() }
    }

    /// Returns whether the host may have any address.
    fn exempt(&self, host: &str) -> bool {
        self.private || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// Checks a literal address, which is never looked up.
    pub(super) fn check(&self, url: &Url) -> Result<(), String> {
        let address: IpAddr = match url.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err("the address has no host".into()),
        };
        let host = url.host_str().unwrap_or_default();
        if is_public(address) || self.exempt(host) { Ok(()) } else { Err(refusal(host)) }
    }
}

/// Looks names up. The addresses that it returns are those that are connected to, so a name cannot change between check and use.
pub(super) struct Resolver(pub(super) Arc<Addresses>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let allowed: Vec<SocketAddr> = match rules.exempt(host) {
                true => found,
                false => found.into_iter().filter(|address| is_public(address.ip())).collect(),
            };
            if allowed.is_empty() {
                return Err(Box::new(io::Error::new(io::ErrorKind::PermissionDenied, refusal(host))) as _);
            }
            Ok(Box::new(allowed.into_iter()) as _)
        })
    }
}

fn refusal(host: &str) -> String {
    format!("{host} has an address of a private network; to allow it, set auth = {{ allow_hosts = [\"{host}\"] }} of the server")
}

/// Returns whether a name is one of this machine (RFC 6761, section 6.3).
pub(super) fn is_loopback_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Returns whether a URL names this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_loopback_name(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Returns whether an address is reachable from anywhere (the special-purpose registries of IANA).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => embedded_v4(address).map_or_else(|| is_public_v6(address), is_public_v4),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocol = a == 192 && b == 0 && c == 0;
    let benchmark = a == 198 && (18..20).contains(&b);
    let special = address.is_private() || address.is_loopback() || address.is_link_local() || address.is_multicast();
    !(special || address.is_documentation() || shared || protocol || benchmark || a == 0 || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Global unicast only; without documentation and Teredo.
    let [first, second, ..] = address.segments();
    (first & 0xe000) == 0x2000 && !(first == 0x2001 && (second == 0xdb8 || second < 0x200))
}

/// Returns the IPv4 address that an IPv6 address leads to: mapped, compatible, NAT64 and 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(join(g, h)),
        [0, 0, 0, 0, 0, 0] if h > 1 || g > 0 => Some(join(g, h)),
        [0x2002, ..] => Some(join(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn private_addresses_are_refused_unless_the_server_has_one() {
        let public = Addresses::of(&url("https://mcp.example.com/mcp"), Some("93.184.216.34".parse().unwrap()), &[]);
        for bad in [
            "https://127.0.0.1/",
            "https://169.254.169.254/latest",
            "https://[::ffff:10.0.0.1]/",
            "https://10.0.0.1/",
            "https://100.64.0.1/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
            "https://[::1]/",
            "https://0.0.0.0/",
            "https://[64:ff9b::a00:1]/",
            "https://[2002:a00:1::]/",
            "https://2130706433/",
            "https://0x7f.1/",
        ] {
            assert!(public.check(&url(bad)).is_err(), "{bad}");
        }
        for good in ["https://93.184.216.34/", "https://[2606:4700::1111]/", "https://login.example.com/"] {
            assert_eq!(public.check(&url(good)), Ok(()), "{good}");
        }
        let local = Addresses::of(&url("http://localhost:1/mcp"), None, &[]);
        assert_eq!(local.check(&url("http://127.0.0.1:2/")), Ok(()));
        let intranet = Addresses::of(&url("https://mcp.example.com/mcp"), Some("10.1.2.3".parse().unwrap()), &[]);
        assert_eq!(intranet.check(&url("https://10.0.0.1/")), Ok(()));
        let named = Addresses::of(&url("https://mcp.example.com/mcp"), None, &["10.0.0.1".into()]);
        assert!(named.check(&url("https://10.0.0.1/")).is_ok() && named.check(&url("https://10.0.0.2/")).is_err());
    }

    #[tokio::test]
    async fn a_name_with_a_private_address_is_refused_when_it_is_looked_up() {
        let rules = Arc::new(Addresses::of(&url("https://mcp.example.com/mcp"), None, &[]));
        let name = || "localhost".parse::<Name>().unwrap();
        let error = Resolver(rules).resolve(name()).await.err().unwrap();
        assert!(error.to_string().contains("allow_hosts"), "{error}");
        let local = Arc::new(Addresses::of(&url("http://localhost/mcp"), None, &[]));
        assert!(Resolver(local).resolve(name()).await.unwrap().next().is_some());
    }
}
