//! `request`: sends a JSON-RPC request as written and prints the bytes of its result.

use serde_json::value::RawValue;

use super::{
    args::RequestArgs,
    call::{Checks, run},
    input::{ask_yes, read_json, read_meta},
    session::{Problem, Session, Stop, unknown_server},
};
use crate::domain::{
    body::Body,
    call::{Failure, FailureKind, Operation},
    id::ServerId,
    json::indent,
    request_meta,
};

/// Sends a request of any method.
pub async fn request(session: &mut Session<'_>, args: &RequestArgs) -> Result<u8, Stop> {
    let (server, method) = match args.target.as_slice() {
        [server, method] => (Some(ServerId::from(server.as_str())), method.as_str()),
        [method] => (None, method.as_str()),
        _ => return Err(wrong("request takes [SERVER] METHOD".into()).into()),
    };
    check_method(method)?;
    let params = match args.params.as_deref() {
        Some(text) => params(&read_json(session, "--params", text).await?)?,
        None => Body::default(),
    };
    read_meta(session, args.meta.as_deref()).await?;
    let server = match server {
        Some(server) => server,
        None => only_server(session)?,
    };
    session.settle(|_, view| *view.id() == server).await?;
    if let Some(problem) = session.unusable(&server) {
        return Err(problem.into());
    }
    confirm(session, &server, method, &params).await?;
    run(session, Operation::Raw { server, method: method.to_owned(), params }, method, Checks::default()).await
}

fn wrong(message: String) -> Failure {
    Failure::new(FailureKind::InvalidArguments, message)
}

/// Refuses methods that belong to the connection, and notifications, which have no result.
fn check_method(method: &str) -> Result<(), Failure> {
    if method.is_empty() {
        return Err(wrong("the method is empty".into()).hint("name one, such as tools/list"));
    }
    if method == "initialize" {
        let hint = "see its result with `switchboard doctor --json`";
        return Err(wrong("initialize opens a connection and cannot be sent in one".into()).hint(hint));
    }
    if method.starts_with("notifications/") {
        return Err(wrong(format!("{method} is a notification, which has no result")).hint("name the method of a request"));
    }
    Ok(())
}

/// Reads `params`: a JSON object or array (JSON-RPC 2.0, section 4.2), without members of `_meta` that are ours.
fn params(text: &str) -> Result<Body, Failure> {
    let text = text.trim();
    let raw = RawValue::from_string(text.to_owned()).map_err(|error| wrong(format!("--params is not JSON: {error}")))?;
    if !raw.get().starts_with(['{', '[']) {
        return Err(wrong("--params is neither a JSON object nor an array".into()).hint("JSON-RPC allows no other params"));
    }
    let params = Body::from(text);
    request_meta::check_params(&params).map_err(|error| wrong(format!("_meta of --params {error}")))?;
    Ok(params)
}

/// Returns the only server that the request can mean.
fn only_server(session: &Session<'_>) -> Result<ServerId, Stop> {
    let wanted = &session.options.servers;
    let selected =
        session.read_model.servers.iter().map(|view| view.id()).filter(|id| wanted.is_empty() || wanted.iter().any(|w| w == id.as_str()));
    match selected.collect::<Vec<_>>().as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(unknown_server(&session.read_model, wanted.first().map_or("", String::as_str)).into()),
        several => {
            let names: Vec<&str> = several.iter().map(|id| id.as_str()).collect();
            Err(wrong(format!("the request needs a server: {}", names.join(", "))).hint("write it before the method").into())
        }
    }
}

/// Asks for a confirmation: nothing is known of what the method changes.
async fn confirm(session: &mut Session<'_>, server: &ServerId, method: &str, params: &Body) -> Result<(), Stop> {
    if session.options.yes {
        return Ok(());
    }
    let refused = |how: &str| {
        let failure = Failure::new(FailureKind::Refused, format!("{method} {how}: a raw request is not checked and may change anything"));
        Stop::from(Problem::new(failure.hint("confirm with --yes")).about(Some(server), method))
    };
    let notes = |session: &mut Session<'_>| {
        session.printer.note(&format!("{method} would be sent to {server} with"));
        let shown = if params.is_empty() { "no params".to_owned() } else { super::json::escape_hidden(&indent(&params.text())) };
        session.printer.note_text(&shown);
    };
    match ask_yes(session, "Send it? [y/N]", notes).await? {
        Some(true) => Ok(()),
        Some(false) => Err(refused("was not confirmed")),
        None => Err(refused("was not sent, because no terminal is attached to confirm it")),
    }
}
