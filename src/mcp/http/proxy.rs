//! The proxy that the connections of a server go through, by the rules of the HTTP client.

use std::fmt;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use crate::domain::{secret::MASK, secret::rule};

/// A proxy in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Its address, without credentials.
    address: String,
    /// The environment variable that names it; the settings of the system if absent.
    variable: Option<&'static str>,
}

impl Proxy {
    /// Returns the proxy for connections to `url`, if there is one.
    pub(super) fn of(url: &Url) -> Option<Proxy> {
        Proxy::by(&Matcher::from_system(), url, |name| std::env::var(name).is_ok_and(|value| !value.is_empty()))
    }

    fn by(matcher: &Matcher, url: &Url, is_set: impl Fn(&str) -> bool) -> Option<Proxy> {
        let found = matcher.intercept(&url.as_str().parse().ok()?)?;
        let names: &[&'static str] = match url.scheme() {
            "https" => &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
            _ => &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
        };
        let address = rule::masked_url(found.uri().to_string().trim_end_matches('/'), MASK);
        Some(Proxy { address, variable: names.iter().copied().find(|name| is_set(name)) })
    }

    /// Returns what the user can try if the proxy is the problem.
    pub(super) fn hint(&self) -> String {
        let source = self.variable.map_or_else(|| "the proxy settings of the system".to_owned(), str::to_owned);
        format!("check {source}; NO_PROXY exempts hosts from the proxy")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Proxy { address, variable } = self;
        write!(f, "the proxy {address} ({})", variable.unwrap_or("settings of the system"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_named_with_its_variable_and_without_credentials() {
        let matcher = Matcher::builder().https("http://ann:hunter22@proxy.example:3128").no("internal.example").build();
        let of = |url: &str| Proxy::by(&matcher, &Url::parse(url).unwrap(), |name| name == "https_proxy");
        let proxy = of("https://mcp.example/mcp").unwrap();
        assert_eq!(proxy.to_string(), "the proxy http://proxy.example:3128 (https_proxy)");
        assert_eq!(proxy.hint(), "check https_proxy; NO_PROXY exempts hosts from the proxy");
        assert_eq!(of("http://mcp.example/mcp"), None);
        assert_eq!(of("https://internal.example/mcp"), None);
    }
}
