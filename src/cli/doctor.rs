//! `doctor`: checks every server and suggests fixes.

use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    args::DoctorArgs,
    findings::{self, Finding, Severity},
    hints,
    print::{Format, ms},
    report,
    servers::{self, UnavailableServer},
    session::{Session, Stop, raw},
};
use crate::{
    domain::{
        bounds,
        id::ToolId,
        name_table::{self, NAME_LIMIT},
        pins::PinMode,
        plural::counted,
        schema::Checker,
        server::{ConnectFailure, Era, Phase, SessionInfo},
        text::visible,
        time,
    },
    state::{ConsoleState, ServerView},
};

/// Most bytes of schemas compiled for one server.
const SCHEMAS: usize = 8 << 20;
/// What to do about a schema that is not checked.
const SCHEMA_ADVICE: &str = "report it to the maintainer; calls are sent without this check";

/// Checks the servers. `log` is the log file of the program, which a bug report needs.
pub async fn run(session: &mut Session<'_>, args: &DoctorArgs, log: Option<&Path>) -> Result<u8, Stop> {
    match servers::wait_for_all(session).await {
        // A report is useful without servers too.
        Err(Stop::Problem(_)) if args.report.is_some() => {}
        waited => waited?,
    }
    let read_model = session.read_model.clone();
    let checks: Vec<Check<'_>> = read_model.servers.iter().map(|server| Check::new(&read_model, server)).collect();
    if let Some(file) = &args.report {
        let servers = serde_json::to_string_pretty(&checks).map_err(std::io::Error::from)?;
        let context = session.options.report.clone();
        report::write(&mut session.printer, file, &context, &servers, log)?;
        return Ok(servers::code(&read_model.servers));
    }
    let found = findings(&read_model.servers, &checks);
    let rows: Vec<[String; 3]> = read_model.servers.iter().zip(&checks).map(|(server, check)| summary_row(server, check)).collect();
    findings::append_summary(&mut session.printer, args.check.step_summary.as_deref(), "Servers", &rows, &found)?;
    match session.printer.format() {
        Format::Human if findings::print(&mut session.printer, args.check.format, &found)? => {}
        Format::Human => {
            for (server, check) in read_model.servers.iter().zip(&checks) {
                print(session, server, check)?;
            }
            let ready = read_model.servers.iter().filter(|s| s.phase.usable() && !servers::failed(s)).count();
            let failed = servers::unavailable(&read_model.servers).len();
            let disabled = read_model.servers.len() - ready - failed;
            let disabled = if disabled > 0 { format!(", {disabled} disabled") } else { String::new() };
            session.printer.line(&format!("{}: {ready} ready, {failed} failed{disabled}", counted(read_model.servers.len(), "server")))?;
            if let Some(log) = log {
                session.printer.line(&format!("log: {}", log.display()))?;
            }
        }
        Format::Json => {
            #[derive(Serialize)]
            struct Checks<'a> {
                servers: &'a [Check<'a>],
                #[serde(skip_serializing_if = "Option::is_none")]
                log: Option<String>,
            }
            let log = log.map(|log| log.display().to_string());
            session.printer.document(&Checks { servers: &checks, log })?;
        }
        Format::Jsonl => session.printer.documents(&checks)?,
    }
    Ok(servers::code(&read_model.servers))
}

/// Returns the findings: an error for each unavailable server, and the warnings. Their place is that of the server's table.
fn findings(servers: &[ServerView], checks: &[Check<'_>]) -> Vec<Finding> {
    let of = |(server, check): (&ServerView, &Check<'_>)| {
        let finding = |severity: Severity, message: String, hint: Option<String>| Finding {
            severity,
            rule: "server",
            file: server.spec.origin.file.clone(),
            line: server.spec.origin.line,
            column: None,
            message: format!("server `{}`: {message}", server.id()),
            hint,
        };
        let failed = !server.phase.usable() && *server.phase != Phase::Disabled;
        let failure = check.failure.as_ref().filter(|_| failed);
        let error = failed.then(|| {
            let message = failure.map_or_else(|| check.state.to_owned(), |failure| failure.summary.clone());
            finding(Severity::Error, message, failure.and_then(|failure| failure.hints.first().cloned()))
        });
        let warnings = check.degraded.iter().chain(&check.warnings).map(|warning| finding(Severity::Warning, warning.clone(), None));
        error.into_iter().chain(warnings).collect::<Vec<_>>()
    };
    servers.iter().zip(checks).flat_map(of).collect()
}

/// Returns the row of a server in the summary.
fn summary_row(server: &ServerView, check: &Check<'_>) -> [String; 3] {
    let mark = match (&*server.phase, server.phase.usable()) {
        (Phase::Disabled, _) => "–",
        (_, true) => "✓",
        (_, false) => "✗",
    };
    let state = if server.phase.usable() { format!("{}, {}", check.state, offers(check)) } else { check.state.to_owned() };
    [mark.to_owned(), server.id().to_string(), state]
}

#[derive(Serialize)]
struct Check<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    state: &'static str,
    /// Who is responsible for the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    degraded: Option<String>,
    transport: &'static str,
    target: String,
    trusted: bool,
    /// Whether the certificate is not checked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    insecure: bool,
    era: Option<Era>,
    protocol: Option<&'a str>,
    name: Option<&'a str>,
    title: Option<&'a str>,
    version: Option<&'a str>,
    pid: Option<u32>,
    ready_ms: Option<f64>,
    capabilities: Option<Box<RawValue>>,
    tools: usize,
    resources: usize,
    templates: usize,
    prompts: usize,
    warnings: Vec<String>,
    failure: Option<ConnectFailure>,
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl<'a> Check<'a> {
    fn new(read_model: &ConsoleState, server: &'a ServerView) -> Check<'a> {
        let info = server.info.as_deref();
        Check {
            kind: "server",
            server: server.id().as_str(),
            state: server.phase.word(),
            owner: server.spec.owner.as_deref(),
            degraded: match &*server.phase {
                Phase::Degraded { reason } => Some(reason.to_string()),
                Phase::Starting { step } if servers::last_failure(server).is_none() => {
                    Some(format!("not ready in time, still {}", step.doing()))
                }
                _ => None,
            },
            transport: server.spec.launch.transport(),
            target: server.spec.summary(),
            trusted: server.spec.trusted,
            insecure: server.spec.tls.insecure,
            era: info.map(|i| i.era),
            protocol: info.map(|i| i.protocol.as_str()),
            name: info.and_then(|i| i.name.as_deref()),
            title: info.and_then(|i| i.title.as_deref()),
            version: info.and_then(|i| i.version.as_deref()),
            pid: info.and_then(|i| i.pid),
            ready_ms: info.map(|i| ms(i.took)),
            capabilities: info.and_then(|i| raw(&i.capabilities)),
            tools: server.catalog.tools.len(),
            resources: server.catalog.resources.len(),
            templates: server.catalog.templates.len(),
            prompts: server.catalog.prompts.len(),
            warnings: warnings(read_model, server),
            failure: hints::failure(server),
            hint: hints::in_use(server),
        }
    }
}

/// Returns the warnings about a usable server.
fn warnings(read_model: &ConsoleState, server: &ServerView) -> Vec<String> {
    let mut warnings = server.catalog.warnings.clone();
    let changed = &server.catalog.pin_changes;
    if !changed.is_empty() {
        let names: Vec<_> = changed.iter().map(|name| visible(name).into_owned()).collect();
        let (names, id) = (bounds::cut(&names.join(", "), bounds::LINE).into_owned(), server.id());
        let held = if server.spec.pins == PinMode::Hold { "changed and cannot be called" } else { "changed" };
        warnings.push(format!("{held} since you accepted them: {names}; see switchboard drift --server {id}, then pins accept {id}"));
    }
    if server.spec.tls.insecure {
        warnings
            .push("insecure = true: the certificate is not checked, so another computer can pose as the server; use ca = \"FILE\"".into());
    }
    for (name, tools) in read_model.names.collisions.iter().filter(|(_, tools)| tools.iter().any(|id| id.server == *server.id())) {
        let whose: Vec<String> = tools.iter().map(|id| format!("{}/{}", id.server, id.name)).collect();
        warnings.push(format!("several servers expose {name}: {}; each gets a suffix", whose.join(" and ")));
    }
    let namespace = server.spec.namespace();
    let prefix = name_table::prefix(namespace);
    if prefix != namespace {
        let what = if server.spec.namespace.is_some() { "namespace" } else { "server name" };
        warnings.push(format!("the {what} {namespace:?} is {prefix} in the exposed names of its tools; set `namespace` to choose another"));
    }
    let mut compiled = SCHEMAS;
    for tool in &server.catalog.tools {
        let id = ToolId::new(server.id().clone(), tool.name.clone());
        let collides = read_model.names.collisions.iter().any(|(_, tools)| tools.contains(&id));
        match read_model.names.exposed(&id) {
            Some(exposed) if !collides && !exposed.ends_with(&*tool.name) => {
                warnings.push(format!(
                    "the tool {:?} is exposed as {exposed}: its own name is longer than {NAME_LIMIT} characters or has characters other than \
                     A-Z a-z 0-9 _ . -",
                    tool.name
                ));
            }
            _ => {}
        }
        let schemas = [("arguments", Some(&tool.input_schema)), ("result", tool.output_schema.as_ref())];
        for (what, schema) in schemas.into_iter().filter_map(|(what, schema)| Some((what, schema?))) {
            let Some(left) = compiled.checked_sub(schema.len()) else {
                let limit = time::size(SCHEMAS as u64);
                warnings.push(format!("the schema of the {what} of {} was not checked: the schemas before it exceed {limit}", tool.name));
                continue;
            };
            compiled = left;
            let checker = Checker::new(schema);
            warnings.extend(
                checker.problem.map(|problem| format!("the {what} of {} cannot be validated: {problem} · {SCHEMA_ADVICE}", tool.name)),
            );
            warnings.extend(
                checker.defects.iter().map(|defect| format!("the schema of the {what} of {}: {defect} · {SCHEMA_ADVICE}", tool.name)),
            );
        }
    }
    for refused in &server.catalog.refused {
        warnings.push(format!("the tool {:?} is refused: {}", refused.name, refused.why));
    }
    for (kind, times) in &server.anomaly_counts {
        let last = server.anomalies.iter().rev().find(|(_, a)| a.kind == *kind).map(|(_, a)| format!(", last: {}", a.detail));
        warnings.push(format!("{} ×{times}{} · {}", kind.words(), last.unwrap_or_default(), hints::of_anomaly(*kind)));
    }
    if let Some(waited) = server.info.as_ref().and_then(|info| info.probe_unanswered) {
        let waited = time::short(waited);
        warnings.push(format!(
            "server/discover was not answered within {waited} · set era = \"legacy\" in its configuration to save that time at each start"
        ));
    }
    if server.info.as_ref().is_some_and(|info| info.http_sse) {
        warnings.push(
            "the server speaks only the HTTP+SSE transport of 2024-11-05, which is deprecated · ask its maintainer for Streamable HTTP"
                .into(),
        );
    }
    warnings
}

fn print(session: &mut Session<'_>, server: &ServerView, check: &Check<'_>) -> Result<(), Stop> {
    let printer = &mut session.printer;
    printer.heading(server.id().as_str(), server.phase.word(), servers::tone(server))?;
    let mut lines: Vec<(&'static str, String)> = Vec::new();
    match &*server.phase {
        phase if phase.usable() || *phase == Phase::Disabled => {
            lines.push(("target", server.spec.summary()));
            lines.extend(server.spec.owner.clone().map(|owner| ("owner", owner)));
        }
        _ => lines.extend(UnavailableServer::new(server).report()),
    }
    // The warnings already name the incomplete lists, and the report of an unavailable server has its reason and hint.
    let usable = server.phase.usable();
    let degraded = check.degraded.as_ref().filter(|_| usable && server.catalog.warnings.is_empty());
    lines.extend(degraded.map(|reason| ("degraded", reason.clone())));
    if let Some(info) = &server.info {
        lines.push(("protocol", format!("{} ({})", info.protocol, era_word(info.era))));
        lines.push(("says", says(info)));
        lines.push(("declares", declared(info)));
        lines.push(("offers", offers(check)));
        lines.push(("ready in", time::short(info.took)));
    }
    lines.extend(check.warnings.iter().map(|warning| ("warning", warning.clone())));
    lines.extend(check.hint.clone().filter(|_| usable).map(|hint| ("try", hint)));
    printer.report_out(&lines)?;
    Ok(printer.line("")?)
}

fn era_word(era: Era) -> &'static str {
    match era {
        Era::Legacy => "initialize",
        Era::Modern => "stateless",
    }
}

fn says(info: &SessionInfo) -> String {
    let words = [info.title.as_deref(), info.name.as_deref(), info.version.as_deref()];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    if words.is_empty() { "no capabilities".into() } else { words.join(" ") }
}

fn declared(info: &SessionInfo) -> String {
    let names: Vec<String> = match info.capabilities.value() {
        Some(serde_json::Value::Object(fields)) => fields.keys().cloned().collect(),
        _ => vec![],
    };
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}

fn offers(check: &Check<'_>) -> String {
    let lists = [(check.tools, "tool"), (check.resources, "resource"), (check.templates, "template"), (check.prompts, "prompt")];
    let some: Vec<String> = lists.iter().filter(|(n, _)| *n > 0).map(|(n, what)| counted(*n, what)).collect();
    if some.is_empty() { "nothing".into() } else { some.join(", ") }
}
