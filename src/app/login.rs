//! `login`, `logout`, `auth` and `--login`: logs in to the servers of the configuration.

use std::sync::Arc;

use super::{
    engine::wall_clock,
    preparation::{Prepared, warn},
};
use crate::{
    auth::{Auth, AuthFailure, ClientKind, LoggedIn, LoginNote, Redirect, browser},
    cli::{
        self, Options,
        args::{LoginArgs, LogoutArgs},
        login::{ListedLogin, LoginPrinter, LoginResult},
        print::Io,
    },
    domain::{
        call::{Failure, FailureKind},
        client::Principal,
        login::{AuthMode, Grant},
        secret::SecretRegistry,
        server::{ServerSpec, Transport},
    },
    workspace::{Selection, WorkspaceService},
};

/// Returns the credentials of the state folder; `None` without one. Their secrets are added to `secrets`.
pub fn credentials(workspace: &WorkspaceService, secrets: &SecretRegistry) -> Option<Auth> {
    let state = workspace.selection().load.state_dir.as_deref()?;
    let place = workspace.loaded().settings.login_secrets;
    let keyring = workspace.selection().load.env.keyring().clone();
    Some(Auth::new(state, Arc::new(wall_clock), secrets.clone()).with_keyring(keyring, place))
}

fn now() -> u64 {
    wall_clock() / 1000
}

/// Returns the failure of a command.
fn failure(server: &str, failure: &AuthFailure) -> Failure {
    let kind = match failure {
        AuthFailure::TimedOut => FailureKind::Timeout,
        AuthFailure::Refused(_) | AuthFailure::ClientUnknown(_) => FailureKind::Unauthorized,
        AuthFailure::Transient(_) | AuthFailure::Unsupported(_) | AuthFailure::Local(_) | AuthFailure::Cancelled => FailureKind::NotReady,
    };
    Failure::new(kind, format!("login at {server}: {failure}"))
}

fn result(done: LoggedIn) -> LoginResult {
    let LoggedIn { issuer, granted, not_granted, expires, refreshable } = done;
    LoginResult { issuer, granted, not_granted, expires, refreshable }
}

/// Returns the principal that a command names.
fn principal(name: Option<&str>) -> Principal {
    name.map_or_else(Principal::local, Principal::new)
}

/// The server of a command and the credentials.
struct Chosen {
    spec: ServerSpec,
    url: String,
    auth: Auth,
}

/// Returns the server that a command names, or the only one with a URL. Fails with the exit code, after the error was printed.
fn choose(selection: Selection, name: Option<&str>, options: &Options) -> Result<Chosen, u8> {
    let fail = |why: String, hint: &str| {
        let failure = Failure::new(FailureKind::InvalidArguments, why).hint(hint);
        cli::fail(failure, options, Io::real())
    };
    let only = name.map_or_else(|| selection.only.clone(), |name| vec![name.to_owned()]);
    let Prepared { workspace, demo, .. } = Prepared::new(Selection { only, ..selection }, options, false)?;
    let mut servers: Vec<(ServerSpec, String)> = workspace
        .selection()
        .servers(&workspace.loaded(), demo.as_ref())
        .into_iter()
        .filter_map(|spec| match &spec.launch {
            Transport::Http { url, .. } => Some((spec.clone(), url.clone())),
            Transport::Stdio { .. } => None,
        })
        .collect();
    let Some(auth) = credentials(&workspace, &options.secrets) else {
        return Err(fail("the state folder is unknown".into(), "set HOME"));
    };
    match (servers.len(), servers.pop()) {
        (1, Some((spec, url))) => Ok(Chosen { spec, url, auth }),
        (0, _) => Err(fail("no server with a url is selected".into(), "only servers with a url have logins")),
        _ => Err(fail("several servers have a url".into(), "name one: switchboard login NAME")),
    }
}

/// Runs `login`; returns the exit code.
pub async fn login(selection: Selection, args: LoginArgs, options: Options) -> u8 {
    let Chosen { spec, url, auth } = match choose(selection, args.name.as_deref(), &options) {
        Ok(chosen) => chosen,
        Err(code) => return code,
    };
    let name = spec.id.as_str();
    let printer = LoginPrinter::new(name, &url, &options, Io::real());
    match log_in(&auth, &spec, &args, printer).await {
        Ok(code) => code,
        Err((printer, why)) => printer.failed(failure(name, &why)),
    }
}

async fn log_in(auth: &Auth, spec: &ServerSpec, args: &LoginArgs, mut printer: LoginPrinter) -> Result<u8, (LoginPrinter, AuthFailure)> {
    let who = principal(args.principal.as_deref());
    if let Some(address) = &args.finish {
        return match auth.finish(spec, &who, address.expose()).await {
            Ok(done) => Ok(printer.finished(&result(done), now())),
            Err(why) => Err((printer, why)),
        };
    }
    if spec.auth.grant == Grant::ClientCredentials {
        return match auth.login_as_client(spec, &who, &args.scopes).await {
            Ok(done) => Ok(printer.finished(&result(done), now())),
            Err(why) => Err((printer, why)),
        };
    }
    let redirect = if args.start { Redirect::Later } else { Redirect::Listen };
    let login = match auth.login(spec, &who, &args.scopes, redirect).await {
        Ok(login) => login,
        Err(why) => return Err((printer, why)),
    };
    if args.start {
        let finish = match &spec.origin.file {
            Some(_) => format!("switchboard login {} --finish", spec.id),
            None => "switchboard login --finish (with the same server)".to_owned(),
        };
        return match login.store() {
            Ok(address) => Ok(printer.started(&address, &finish)),
            Err(why) => Err((printer, why)),
        };
    }
    let opened = !args.no_browser && browser::is_available() && browser::open(login.address());
    printer.waiting(login.address(), opened);
    let mut pasted = printer.pasted();
    let done = login.finish(&mut pasted, &mut |LoginNote::NotThisLogin(why)| printer.not_this_login(why)).await;
    match done {
        Ok(done) => Ok(printer.finished(&result(done), now())),
        Err(why) => Err((printer, why)),
    }
}

/// Runs `logout`; returns the exit code.
pub async fn logout(selection: Selection, args: LogoutArgs, options: Options) -> u8 {
    let Chosen { spec, auth, .. } = match choose(selection, args.name.as_deref(), &options) {
        Ok(chosen) => chosen,
        Err(code) => return code,
    };
    match auth.logout(&spec, &principal(args.principal.as_deref()), args.revoke).await {
        Ok(done) => {
            let revoked = args.revoke.then_some(done.revoked);
            cli::login::logged_out(spec.id.as_str(), done.deleted, revoked, &options, Io::real())
        }
        Err(why) => {
            let name = spec.id.as_str();
            let failure = Failure { message: format!("logout of {name}: {why}"), ..failure(name, &why) };
            cli::fail(failure.hint("nothing was deleted; without --revoke the tokens are only deleted here"), &options, Io::real())
        }
    }
}

/// Runs `auth`; returns the exit code.
pub fn list(workspace: &WorkspaceService, options: &Options) -> u8 {
    let configured = workspace.selection().servers(&workspace.loaded(), None);
    let stored = credentials(workspace, &options.secrets).map(|auth| auth.stored()).unwrap_or_default();
    let logins = stored.into_iter().map(|stored| ListedLogin {
        servers: configured
            .iter()
            .filter(|spec| matches!(&spec.launch, Transport::Http { url, .. } if *url == stored.url))
            .map(|spec| spec.id.to_string())
            .collect(),
        client: match stored.client {
            ClientKind::PreRegistered => "pre-registered",
            ClientKind::MetadataDocument => "metadata document",
            ClientKind::Dynamic => "dynamic",
        },
        url: stored.url,
        principal: stored.principal,
        issuer: stored.issuer,
        scopes: stored.scopes,
        expires: stored.expires,
        refreshable: stored.refreshable,
        rejected: stored.rejected,
    });
    cli::login::list(&logins.collect::<Vec<_>>(), now(), options, Io::real())
}

/// Shows the address of a login that a request waits for, and opens it.
fn show(spec: &ServerSpec, address: &str) {
    let opened = browser::is_available() && browser::open(address);
    let what = if opened { "opened in the browser" } else { "open this address in a browser" };
    let mut io = Io::real();
    // A closed stderr does not stop the command.
    let _ = writeln!(io.stderr, "login at {}: {what}:\n{address}", spec.id);
}

/// Returns credentials whose requests wait for logins, after the logins that the selected servers want now.
pub async fn with_logins(auth: Auth, servers: &[ServerSpec], io: &mut Io) -> Auth {
    let auth = auth.prompting(Arc::new(show));
    for spec in servers.iter().filter(|spec| !spec.disabled && spec.auth.mode == AuthMode::Auto) {
        if let Err(why) = auth.ensure(spec, &Principal::local()).await {
            warn(io, &format!("login at {}: {why}", spec.id));
        }
    }
    auth
}
