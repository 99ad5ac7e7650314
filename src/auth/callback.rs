//! The end of a login: the redirect to this machine (RFC 8252, section 7.3), or its address as pasted by the user.

use std::{collections::HashMap, io, net::Ipv4Addr, net::Ipv6Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};

use super::{failure::AuthFailure, http::Url};
use crate::domain::login::CallbackHost;

/// The path of the redirect URI.
const PATH: &str = "/callback";
/// Most bytes of a request.
const REQUEST: usize = 16 << 10;
/// Limit of one request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most connections at a time.
const CONNECTIONS: usize = 32;

/// The response of the authorization server, from its redirect.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Callback {
    pub(super) state: String,
    pub(super) issuer: Option<String>,
    /// The code, or the error.
    pub(super) result: Result<String, String>,
}

impl Callback {
    /// Reads an address, or only its query. Fails with what is missing in it.
    pub(super) fn read(text: &str) -> Result<Callback, &'static str> {
        let text = text.trim();
        let query = match text.split_once('?') {
            Some((_, query)) => query,
            None => text,
        };
        let query = query.split('#').next().unwrap_or_default();
        let found: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let Some(state) = found.get("state") else { return Err("it has no state") };
        let result = match (found.get("code"), found.get("error")) {
            (Some(code), _) => Ok(code.clone()),
            (None, Some(error)) => Err(match found.get("error_description") {
                Some(description) => format!("{error}: {description}"),
                None => error.clone(),
            }),
            (None, None) => return Err("it has no code"),
        };
        Ok(Callback { state: state.clone(), issuer: found.get("iss").cloned(), result })
    }
}

/// A listener for one redirect.
pub(super) struct Listener {
    sockets: Vec<TcpListener>,
    redirect: String,
}

impl Listener {
    /// Binds loopback addresses only; port 0 selects a free one.
    pub(super) async fn bind(host: CallbackHost, port: u16) -> io::Result<Listener> {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = first.local_addr()?.port();
        let mut sockets = vec![first];
        // `localhost` may be either; a machine without IPv6 has one of them.
        if host == CallbackHost::Name {
            sockets.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok());
        }
        Ok(Listener { sockets, redirect: redirect(host, port) })
    }

    /// Returns the redirect URI.
    pub(super) fn redirect(&self) -> &str {
        &self.redirect
    }

    /// Answers requests until one has this `state`.
    pub(super) async fn wait(self, state: &str) -> Callback {
        let (found, mut callbacks) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        for socket in self.sockets {
            let (found, state) = (found.clone(), state.to_owned());
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                loop {
                    let Ok((stream, _)) = socket.accept().await else { continue };
                    while connections.len() >= CONNECTIONS {
                        connections.join_next().await;
                    }
                    let (found, state) = (found.clone(), state.clone());
                    connections.spawn(async move {
                        if let Ok(Ok(Some(callback))) = tokio::time::timeout(TIMEOUT, answer(stream, &state)).await {
                            let _ = found.send(callback).await;
                        }
                    });
                }
            });
        }
        match callbacks.recv().await {
            Some(callback) => callback,
            // The tasks hold senders.
            None => std::future::pending().await,
        }
    }
}

/// Returns the redirect URI of a port.
pub(super) fn redirect(host: CallbackHost, port: u16) -> String {
    format!("http://{}:{port}{PATH}", host.as_str())
}

/// Returns the port of a loopback redirect URI.
pub(super) fn port_of(redirect: &str) -> Option<u16> {
    Url::parse(redirect).ok()?.port()
}

/// Answers one request; returns the callback if it is the expected one.
async fn answer(mut stream: TcpStream, state: &str) -> io::Result<Option<Callback>> {
    let mut head = Vec::new();
    let mut chunk = [0; 2048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await?;
        if read == 0 || head.len() + read > REQUEST {
            return Ok(None);
        }
        head.extend_from_slice(&chunk[..read]);
    }
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let (status, text, callback) = match Callback::read(target) {
        _ if method != "GET" || path != PATH => ("404 Not Found", "There is nothing here.", None),
        // Any page can send requests to this port, but only the authorization server knows the state.
        Ok(callback) if callback.state == state => match &callback.result {
            Ok(_) => ("200 OK", "You are logged in. You can close this page and return to Switchboard.", Some(callback)),
            Err(_) => ("200 OK", "The login was refused. You can close this page and return to Switchboard.", Some(callback)),
        },
        _ => ("400 Bad Request", "This is not the login that Switchboard waits for.", None),
    };
    let page = format!("<!doctype html><meta charset=utf-8><title>Switchboard</title><p>{text}</p>");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n",
        page.len()
    );
    stream.write_all(format!("{head}{page}").as_bytes()).await?;
    stream.shutdown().await?;
    Ok(callback)
}

/// Checks a pasted address against the login that waits for it.
pub(super) fn pasted(text: &str, state: &str) -> Result<Callback, &'static str> {
    let callback = Callback::read(text)?;
    if callback.state == state { Ok(callback) } else { Err("it belongs to another login") }
}

/// Returns the code of a callback.
pub(super) fn code(callback: &Callback) -> Result<&str, AuthFailure> {
    callback.result.as_deref().map_err(|why| AuthFailure::Refused(why.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_queries() {
        let whole = Callback::read(" http://127.0.0.1:7/callback?code=a%2Fb&state=s&iss=https%3A%2F%2Fas#x\n").ok().unwrap();
        assert!(whole.result == Ok("a/b".into()) && whole.state == "s" && whole.issuer.as_deref() == Some("https://as"));
        assert!(Callback::read("code=c&state=s").ok().unwrap().result == Ok("c".into()));
        let refused = Callback::read("?error=access_denied&error_description=no+way&state=s").ok().unwrap();
        assert!(refused.result == Err("access_denied: no way".into()));
        assert_eq!([Callback::read("code=c").err(), Callback::read("state=s").err()], [Some("it has no state"), Some("it has no code")]);
        assert_eq!(pasted("code=c&state=t", "s").err(), Some("it belongs to another login"));
    }
}
