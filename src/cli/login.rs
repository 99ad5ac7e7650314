//! `login`, `logout` and `auth`: what they print, and the address that the user pastes. The composition root logs in.

use std::io::{BufRead, BufReader, Read};

use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    Options, conclude, exit,
    print::{Format, Io, Printer},
    session::Stop,
};
use crate::domain::{call::Failure, login::LOGIN_LIMIT};

/// Longest pasted address.
const ADDRESS: u64 = 64 << 10;

/// The output of a login that is under way.
pub struct LoginPrinter {
    printer: Printer,
    server: String,
    url: String,
}

/// A finished login, for output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoginResult {
    /// The issuer of the authorization server.
    pub issuer: Option<String>,
    /// The granted scopes.
    pub granted: Vec<String>,
    /// The scopes that were asked for and not granted.
    pub not_granted: Vec<String>,
    /// When the token expires, in seconds since the Unix epoch.
    pub expires: Option<u64>,
    /// Whether it is refreshed then without a login.
    pub refreshable: bool,
}

#[derive(Serialize)]
struct LoginDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    url: &'a str,
    #[serde(flatten)]
    result: &'a LoginResult,
}

#[derive(Serialize)]
struct StartedDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    url: &'a str,
    address: &'a str,
    finish: String,
}

impl LoginPrinter {
    /// Creates the output for the server `server` at `url`.
    pub fn new(server: &str, url: &str, options: &Options, io: Io) -> LoginPrinter {
        let printer = Printer::new(io, options.format, options.raw).masking(&options.secrets);
        LoginPrinter { printer, server: server.to_owned(), url: url.to_owned() }
    }

    /// Shows the address to open, whole and on a line of its own.
    pub fn waiting(&mut self, address: &str, opened: bool) {
        let what = if opened { "opened in the browser; waiting for its redirect" } else { "open this address in a browser" };
        self.printer.note(&format!("login at {}: {what}:", self.server));
        self.printer.note_text(address);
        let minutes = LOGIN_LIMIT.as_secs() / 60;
        let text = "if the browser is on another machine, paste the address that it was sent to";
        self.printer.note(&format!("{text}; the login waits {minutes} minutes:"));
    }

    /// Says why a pasted text is not used.
    pub fn not_this_login(&mut self, why: &str) {
        self.printer.note(&format!("this is not the address of the login: {why}; paste the whole address"));
    }

    /// Returns the lines of stdin as they are typed. A thread reads them, which may be abandoned.
    pub fn pasted(&mut self) -> mpsc::Receiver<String> {
        let (lines, pasted) = mpsc::channel(1);
        if let Some(stdin) = self.printer.take_stdin() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stdin);
                loop {
                    let mut line = String::new();
                    match reader.by_ref().take(ADDRESS).read_line(&mut line) {
                        Ok(read) if read > 0 && lines.blocking_send(line).is_ok() => {}
                        _ => return,
                    }
                }
            });
        }
        pasted
    }

    /// Prints the address of a login that another command finishes; returns the exit code.
    pub fn started(mut self, address: &str, finish: &str) -> u8 {
        let outcome = self.print_started(address, finish);
        conclude(&mut self.printer, outcome)
    }

    fn print_started(&mut self, address: &str, finish: &str) -> Result<u8, Stop> {
        if self.printer.format() == Format::Human {
            self.printer.text(address)?;
            self.printer.note(&format!("open the address, then run: {finish} 'ADDRESS'"));
            self.printer.note("ADDRESS is where the browser is sent to, which does not load; it can be finished for ten minutes");
        } else {
            let (server, url, finish) = (self.server.as_str(), self.url.as_str(), finish.to_owned());
            self.printer.document(&StartedDocument { kind: "login_started", server, url, address, finish })?;
        }
        Ok(exit::OK)
    }

    /// Prints the end of a login; returns the exit code.
    pub fn finished(mut self, result: &LoginResult, now: u64) -> u8 {
        let outcome = self.print_finished(result, now);
        conclude(&mut self.printer, outcome)
    }

    fn print_finished(&mut self, result: &LoginResult, now: u64) -> Result<u8, Stop> {
        if self.printer.format() != Format::Human {
            let (server, url) = (self.server.as_str(), self.url.as_str());
            self.printer.document(&LoginDocument { kind: "login", server, url, result })?;
            return Ok(exit::OK);
        }
        self.printer.line(&format!("logged in to {}", self.server))?;
        let mut lines = vec![];
        lines.extend(result.issuer.clone().map(|issuer| ("issuer", issuer)));
        if !result.granted.is_empty() {
            lines.push(("scopes", result.granted.join(" ")));
        }
        if !result.not_granted.is_empty() {
            lines.push(("not granted", result.not_granted.join(" ")));
        }
        lines.push(("token", validity(result.expires, result.refreshable, now)));
        self.printer.report_out(&lines)?;
        Ok(exit::OK)
    }

    /// Prints a failure; returns the exit code.
    pub fn failed(mut self, failure: Failure) -> u8 {
        conclude(&mut self.printer, Err(failure.into()))
    }
}

/// Returns how long a token is valid, for users.
fn validity(expires: Option<u64>, refreshable: bool, now: u64) -> String {
    let after = if refreshable { "refreshed after that" } else { "then a login is needed" };
    match expires {
        None => "does not expire".to_owned(),
        Some(at) if at > now => format!("valid for {}, {after}", duration(at - now)),
        Some(_) if refreshable => "expired, refreshed with the next request".to_owned(),
        Some(_) => "expired, a login is needed".to_owned(),
    }
}

/// Returns a duration in its largest unit.
fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Prints the end of a logout; returns the exit code.
pub fn logged_out(server: &str, deleted: usize, revoked: Option<usize>, options: &Options, io: Io) -> u8 {
    #[derive(Serialize)]
    struct LoggedOut<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        server: &'a str,
        deleted: usize,
        revoked: usize,
    }
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        if printer.format() != Format::Human {
            printer.document(&LoggedOut { kind: "logout", server, deleted, revoked: revoked.unwrap_or_default() })?;
            return Ok(exit::OK);
        }
        printer.line(&match (deleted, revoked) {
            (0, _) => format!("no login is stored for {server}"),
            (_, None) => format!("logged out of {server}; the tokens remain valid until they expire: --revoke ends them"),
            (_, Some(0)) => format!("logged out of {server}; its authorization server cannot revoke tokens"),
            (_, Some(_)) => format!("logged out of {server}; the tokens are revoked"),
        })?;
        Ok(exit::OK)
    })
}

/// A stored login, for output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedLogin {
    /// The configured servers that use it.
    pub servers: Vec<String>,
    /// The URL of the server.
    pub url: String,
    /// On whose behalf it is used.
    pub principal: String,
    /// The issuer of the authorization server.
    pub issuer: Option<String>,
    /// How the client was registered.
    pub client: &'static str,
    /// The granted scopes.
    pub scopes: Vec<String>,
    /// When the token expires, in seconds since the Unix epoch.
    pub expires: Option<u64>,
    /// Whether it is refreshed then without a login.
    pub refreshable: bool,
    /// Why it cannot be used any more.
    pub rejected: Option<String>,
}

/// Prints the stored logins; returns the exit code.
pub fn list(logins: &[ListedLogin], now: u64, options: &Options, io: Io) -> u8 {
    #[derive(Serialize)]
    struct Logins<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        logins: &'a [ListedLogin],
    }
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        if printer.format() != Format::Human {
            printer.document(&Logins { kind: "logins", logins })?;
            return Ok(exit::OK);
        }
        if logins.is_empty() {
            printer.note("no logins are stored");
        }
        for login in logins {
            let names = if login.servers.is_empty() { "not configured".to_owned() } else { login.servers.join(", ") };
            printer.line(&format!("{names}  {}", login.url))?;
            let mut lines = vec![];
            lines.extend(login.issuer.clone().map(|issuer| ("issuer", issuer)));
            lines.push(("client", login.client.to_owned()));
            if login.principal != "local" {
                lines.push(("principal", login.principal.clone()));
            }
            if !login.scopes.is_empty() {
                lines.push(("scopes", login.scopes.join(" ")));
            }
            lines.push(match &login.rejected {
                Some(why) => ("needs login", why.clone()),
                None => ("token", validity(login.expires, login.refreshable, now)),
            });
            printer.report_out(&lines)?;
        }
        Ok(exit::OK)
    })
}
