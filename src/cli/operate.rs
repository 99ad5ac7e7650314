//! `breaker` and `fault`: operate the circuit breakers and the fault injection of a running engine.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::{
    args::{BreakerArgs, FaultArgs},
    exit, overrides,
    print::Format,
    session::{Session, Signal, Stop, Wake},
};
use crate::{
    control::Command,
    domain::{
        call::{Failure, FailureKind},
        id::ServerId,
        policy::{
            breaker::{BreakerOverride, BreakerView, State},
            fault::Fault,
        },
    },
    state::ConsoleState,
};

/// How long the effect of a command may take to be visible.
const EFFECT: Duration = Duration::from_secs(10);

/// A breaker, JSON document.
#[derive(Serialize)]
struct BreakerDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a ServerId,
    tool: Option<&'a str>,
    state: &'static str,
    held: bool,
    reason: &'a str,
    refused: u64,
}

#[derive(Serialize)]
struct BreakersDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    breakers: Vec<BreakerDocument<'a>>,
}

/// An injected fault, JSON document.
#[derive(Serialize)]
struct FaultDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a ServerId,
    tool: Option<&'a str>,
    fault: String,
}

#[derive(Serialize)]
struct FaultsDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    faults: Vec<FaultDocument<'a>>,
}

/// A server, and one of its tools or all.
type Target = (ServerId, Option<String>);

/// Runs `breaker`.
pub async fn breaker(session: &mut Session<'_>, args: &BreakerArgs) -> Result<u8, Stop> {
    let target = target(session, args.target.as_deref())?;
    if let (Some((server, tool)), Some(action)) = (target.clone(), args.action) {
        let order = BreakerOverride::from(action);
        needs_engine(session)?;
        let command = Command::Breaker { server: server.clone(), tool: tool.clone(), order };
        carry_out(session, command, |state| breaker_of(state, &server, tool.as_deref()).is_some_and(|view| has(view, order))).await?;
    }
    let state = session.read_model.clone();
    let listed: Vec<BreakerDocument<'_>> =
        breakers(&state).filter(|(server, tool, _)| fits(&target, server, *tool)).map(document).collect();
    match session.printer.format() {
        Format::Human => {
            let head = ["SERVER", "TOOL", "STATE", "REFUSED", "REASON"].map(String::from).to_vec();
            let row = |breaker: &BreakerDocument<'_>| {
                let state = if breaker.held { format!("{} (held)", breaker.state) } else { breaker.state.to_owned() };
                let tool = breaker.tool.unwrap_or_default().to_owned();
                vec![breaker.server.to_string(), tool, state, breaker.refused.to_string(), breaker.reason.to_owned()]
            };
            let rows: Vec<Vec<String>> = std::iter::once(head).chain(listed.iter().map(row)).collect();
            session.printer.table("", &rows)?;
        }
        Format::Json => session.printer.document(&BreakersDocument { kind: "breakers", breakers: listed })?,
        Format::Jsonl => session.printer.documents(listed)?,
    }
    Ok(exit::OK)
}

/// Runs `fault`.
pub async fn fault(session: &mut Session<'_>, args: &FaultArgs) -> Result<u8, Stop> {
    let target = target(session, args.target.as_deref())?;
    if let (Some((server, tool)), true) = (target.clone(), args.fault.is_some() || args.off) {
        needs_engine(session)?;
        let command = Command::Inject { server: server.clone(), tool: tool.clone(), fault: args.fault.clone() };
        let wanted = args.fault.clone();
        carry_out(session, command, |state| fault_of(state, &server, tool.as_deref()) == wanted.as_ref()).await?;
    }
    let state = session.read_model.clone();
    let mut listed = vec![];
    for server in &state.servers {
        for (tool, fault) in server.faults.iter().filter(|(tool, _)| fits(&target, server.id(), tool.as_deref())) {
            listed.push(FaultDocument { kind: "fault", server: server.id(), tool: tool.as_deref(), fault: fault.words() });
        }
    }
    match session.printer.format() {
        Format::Human if listed.is_empty() => session.printer.note("no faults are injected"),
        Format::Human => {
            let head = ["SERVER", "TOOL", "FAULT"].map(String::from).to_vec();
            let row =
                |fault: &FaultDocument<'_>| vec![fault.server.to_string(), fault.tool.unwrap_or_default().to_owned(), fault.fault.clone()];
            let rows: Vec<Vec<String>> = std::iter::once(head).chain(listed.iter().map(row)).collect();
            session.printer.table("", &rows)?;
        }
        Format::Json => session.printer.document(&FaultsDocument { kind: "faults", faults: listed })?,
        Format::Jsonl => session.printer.documents(listed)?,
    }
    Ok(exit::OK)
}

fn target(session: &Session<'_>, text: Option<&str>) -> Result<Option<Target>, Stop> {
    let resolved = text.map(|text| overrides::resolve(&session.read_model, text)).transpose();
    resolved.map_err(Stop::from)
}

/// Fails if the engine ends with this command: a change would have no effect.
fn needs_engine(session: &Session<'_>) -> Result<(), Stop> {
    if matches!(session.options.via, Some(Some(_))) {
        return Ok(());
    }
    let failure = Failure::new(FailureKind::InvalidArguments, "the change would end with this command, which has an engine of its own");
    Err(failure.hint("name a running engine with --via NAME; for one call use --breaker or --inject").into())
}

/// Gives a command and waits until its effect is visible.
async fn carry_out(session: &mut Session<'_>, command: Command, visible: impl Fn(&ConsoleState) -> bool) -> Result<(), Stop> {
    let reply = session.control.command(command);
    let answer = session.or_signal(reply).await?;
    answer.map_err(|error| Stop::from(Failure::new(FailureKind::Refused, error.to_string())))?;
    let until = Instant::now() + EFFECT;
    let until = session.deadline.map_or(until, |deadline| deadline.min(until));
    while !visible(&session.read_model) {
        match session.step(Some(until)).await? {
            Wake::Signal(Signal::Interrupt) => return Err(Stop::Quit(exit::INTERRUPTED)),
            Wake::Signal(Signal::Terminate) => return Err(Stop::Quit(exit::TERMINATED)),
            Wake::Late => {
                return Err(Failure::new(FailureKind::Timeout, "the engine accepted the change, but it is not visible yet").into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn breakers(state: &ConsoleState) -> impl Iterator<Item = (&ServerId, Option<&str>, &Arc<BreakerView>)> {
    state.servers.iter().flat_map(|server| {
        let tools = server.tool_breakers.iter().map(move |(tool, view)| (server.id(), Some(&**tool), view));
        std::iter::once((server.id(), None, &server.breaker)).chain(tools)
    })
}

fn document<'a>((server, tool, view): (&'a ServerId, Option<&'a str>, &'a Arc<BreakerView>)) -> BreakerDocument<'a> {
    BreakerDocument {
        kind: "breaker",
        server,
        tool,
        state: view.state.word(),
        held: view.held.is_some(),
        reason: &view.reason,
        refused: view.refused,
    }
}

/// Returns whether a server and tool belong to the target: all do without one, and a server includes its tools.
fn fits(target: &Option<Target>, server: &ServerId, tool: Option<&str>) -> bool {
    target.as_ref().is_none_or(|(wanted, only)| wanted == server && (only.is_none() || only.as_deref() == tool))
}

fn breaker_of<'a>(state: &'a ConsoleState, server: &ServerId, tool: Option<&str>) -> Option<&'a Arc<BreakerView>> {
    breakers(state).find(|(of, its, _)| *of == server && *its == tool).map(|(.., view)| view)
}

fn fault_of<'a>(state: &'a ConsoleState, server: &ServerId, tool: Option<&str>) -> Option<&'a Fault> {
    let server = state.servers.iter().find(|known| known.id() == server)?;
    server.faults.iter().find(|(of, _)| of.as_deref() == tool).map(|(_, fault)| fault)
}

/// Returns whether an override is in force.
fn has(view: &BreakerView, order: BreakerOverride) -> bool {
    match order {
        BreakerOverride::Trip => view.state != State::Closed,
        BreakerOverride::HoldOpen | BreakerOverride::HoldClosed => view.held == Some(order),
        BreakerOverride::Reset => view.held.is_none() && view.state == State::Closed,
    }
}
