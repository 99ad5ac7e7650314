//! `complete`: asks a server to complete an argument of a prompt or a variable of a resource template.

use serde_json::{Map, Value, json};

use super::{
    args::CompleteArgs,
    arguments,
    call::{Checks, run},
    input::read_meta,
    lookup::{Subject, choose_settled, own_name},
    names::similar,
    session::{Problem, Session, Stop},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind, Operation},
        uri_template,
    },
    state::ServerView,
};

/// Completes an argument (MCP 2025-11-25, server/utilities/completion).
pub async fn complete(session: &mut Session<'_>, args: &CompleteArgs) -> Result<u8, Stop> {
    let subject = args.subject.as_str();
    read_meta(session, args.meta.as_deref()).await?;
    let (argument, prefix) = args.argument.split_once('=').unwrap_or((&args.argument, ""));
    let given = arguments::strings(&args.others).map_err(|causes| Problem::new(Failure { causes, ..invalid(subject) }))?;
    let template = |server: &ServerView| server.catalog.templates.iter().any(|template| template.uri == subject);
    let prompt = |server: &ServerView| {
        let own = own_name(server.id(), subject);
        server.catalog.prompts.iter().any(|prompt| *prompt.name == *subject || *prompt.name == *own)
    };
    let server = choose_settled(session, subject, Subject::Completion, &[&template, &prompt]).await?;
    let read_model = session.read_model.clone();
    let Some(view) = read_model.server(&server) else {
        return Err(Problem::new(super::session::unknown_server(&read_model, server.as_str())).about(Some(&server), subject).into());
    };
    let (reference, known) = match reference(view, subject) {
        Some(found) => found,
        None => {
            let failure = Failure::new(FailureKind::InvalidArguments, format!("{server} has no prompt or template {subject:?}"));
            let names = view.catalog.prompts.iter().map(|prompt| &*prompt.name);
            let close = similar(subject, names.chain(view.catalog.templates.iter().map(|template| template.uri.as_str())), 3).join(", ");
            let failure = if close.is_empty() { failure } else { failure.hint(format!("did you mean {close}?")) };
            return Err(Problem::new(failure).about(Some(&server), subject).into());
        }
    };
    // A prompt that lists no arguments may still complete some.
    let unknown = std::iter::once(argument)
        .chain(given.iter().map(|(key, _)| key.as_str()))
        .filter(|key| !known.is_empty() && !known.iter().any(|name| name == key));
    let causes: Vec<String> = unknown.map(|key| format!("{key}: unknown argument; it has {}", known.join(", "))).collect();
    if !causes.is_empty() {
        return Err(Problem::new(Failure { causes, ..invalid(subject) }).about(Some(&server), subject).into());
    }
    if view.info.as_ref().is_some_and(|info| !info.declares(&["completions"])) {
        session.printer.note(&format!("warning: {server} does not declare completions"));
    }
    let mut params = json!({"ref": reference, "argument": {"name": argument, "value": prefix}});
    if !given.is_empty() {
        let others: Map<String, Value> = given.into_iter().map(|(key, value)| (key, value.into())).collect();
        params["context"] = json!({"arguments": others});
    }
    run(session, Operation::Complete { server, params: Body::json(&params) }, subject, Checks::default()).await
}

fn invalid(subject: &str) -> Failure {
    Failure::new(FailureKind::InvalidArguments, format!("{subject} cannot be completed like this; nothing was sent"))
}

/// Returns the reference to a template or prompt of a server, and the names of its arguments.
fn reference(server: &ServerView, subject: &str) -> Option<(Value, Vec<String>)> {
    if server.catalog.templates.iter().any(|template| template.uri == subject) {
        return Some((json!({"type": "ref/resource", "uri": subject}), uri_template::variables(subject)));
    }
    let own = own_name(server.id(), subject);
    let prompt = server.catalog.prompts.iter().find(|prompt| *prompt.name == *subject || *prompt.name == *own)?;
    let names = prompt.arguments.iter().map(|argument| argument.name.clone()).collect();
    Some((json!({"type": "ref/prompt", "name": &*prompt.name}), names))
}
