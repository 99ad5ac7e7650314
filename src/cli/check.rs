//! `check`: makes the calls of a session file again, and compares the results with those that were recorded.

use serde::Serialize;
use serde_json::json;

use super::{
    args::ResultCheckArgs,
    call, exit, junit,
    lookup::definition,
    print::{Format, ms},
    readiness::Needs,
    run_files,
    session::{Session, Stop},
};
use crate::{
    domain::{
        bounds,
        call::{CallSpec, Failure, FailureKind, Operation, Origin, Outcome},
        journal::{CallOutcome, CallRecord},
        json::Json,
        plural::counted,
        result_diff::{ValueDifference, differences},
        session_file::SessionFile,
        text::visible,
        workspace::CaseEnd,
    },
    files::{self, Allowed},
};

/// Largest session file, in bytes.
const FILE: u64 = 1 << 30;
/// Longest shown part of a value, in bytes.
const VALUE: usize = 120;

/// JSON document of a checked call.
#[derive(Serialize)]
struct CheckedCall<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    call: String,
    name: &'a str,
    passed: bool,
    failures: &'a [String],
    duration_ms: f64,
}

/// Runs `check`; returns the exit code.
pub async fn check(session: &mut Session<'_>, args: &ResultCheckArgs) -> Result<u8, Stop> {
    let invalid = |why: String| Stop::from(Failure::new(FailureKind::InvalidArguments, why));
    let shown = args.file.display().to_string();
    let text = files::read_text(&args.file, Allowed { bytes: FILE, within: None }).map_err(|why| invalid(format!("{shown} {why}")))?;
    let file = SessionFile::parse(&text).map_err(|why| invalid(format!("{shown} cannot be read: {why}")))?;
    if let Some(path) = &args.junit {
        run_files::check_target(path)?;
    }
    let calls: Vec<&CallRecord> = file.calls.iter().filter(|call| is_checked(call)).collect();
    let mut cases = vec![];
    for expected in &calls {
        cases.push(again(session, &shown, expected, &args.ignore).await?);
    }
    if let Some(path) = &args.junit {
        run_files::write(path, &junit::of_cases(&cases))?;
    }
    let failed = cases.iter().filter(|case| !case.failures.is_empty()).count();
    let documents: Vec<CheckedCall<'_>> = calls
        .iter()
        .zip(&cases)
        .map(|(call, case)| CheckedCall {
            kind: "checked_call",
            call: call.summary.call.to_string(),
            name: &call.summary.name,
            passed: case.failures.is_empty(),
            failures: &case.failures,
            duration_ms: case.duration_ms,
        })
        .collect();
    match session.printer.format() {
        Format::Human => {
            for case in cases.iter().filter(|case| !case.failures.is_empty()) {
                session.printer.line(&format!("{}: differs from the recorded result", case.name))?;
                for failure in &case.failures {
                    session.printer.line(&format!("    {failure}"))?;
                }
            }
            let total = counted(u32::try_from(cases.len()).unwrap_or(u32::MAX), "call");
            session.printer.line(&format!("{total} checked, {failed} with another result"))?;
        }
        Format::Json => session.printer.document(&json!({"type": "check_results", "passed": failed == 0, "calls": documents}))?,
        Format::Jsonl => {
            for document in &documents {
                session.printer.document(document)?;
            }
        }
    }
    Ok(if failed == 0 { exit::OK } else { exit::TOOL_ERROR })
}

/// Returns whether a call has a result to compare: it called a tool, which answered.
fn is_checked(call: &CallRecord) -> bool {
    let answered = matches!(call.summary.outcome, CallOutcome::Ok | CallOutcome::ToolError);
    answered && call.result.is_some() && matches!(call.spec.operation, Operation::Tool { .. })
}

/// Makes a call again and compares its result.
async fn again(session: &mut Session<'_>, file: &str, expected: &CallRecord, ignored: &[String]) -> Result<CaseEnd, Stop> {
    let name = expected.summary.name.clone();
    let Operation::Tool { tool, arguments } = &expected.spec.operation else {
        // Such calls were left out above.
        return Err(Failure::new(FailureKind::InvalidArguments, format!("{name} is not a tool")).into());
    };
    session.settle_needs(&Needs::tool(&format!("{}/{}", tool.server, tool.name))).await?;
    if let Some(listed) = definition(&session.read_model, tool) {
        call::confirm(session, &name, tool, &listed, arguments).await?;
    }
    let (_, settled) = session.follow(CallSpec::tool(tool.clone(), arguments.clone(), Origin::Cli)).await?;
    let failures = match &settled.outcome {
        Outcome::Ok { result } | Outcome::ToolError { result } => {
            let before = expected.result.as_ref().map(|result| result.text().into_owned()).unwrap_or_default();
            match (Json::parse(&before), Json::parse(&result.text())) {
                (Ok(before), Ok(after)) => differences(&before, &after, ignored).iter().map(words).collect(),
                _ => vec!["a result is not JSON".to_owned()],
            }
        }
        Outcome::Failed { failure } => vec![failure.message.clone()],
        Outcome::Cancelled { reason } => vec![format!("cancelled: {reason}")],
        Outcome::Interim { .. } => vec!["the server asked for input".to_owned()],
    };
    let (workflow, name) = (tool.server.to_string(), format!("{name} {}", expected.summary.call));
    Ok(CaseEnd { file: file.to_owned(), workflow, name, failures, duration_ms: ms(settled.timings.total()) })
}

/// Describes a difference in one line.
fn words(difference: &ValueDifference) -> String {
    let value = |text: &Option<String>| text.as_ref().map_or("nothing".into(), |text| bounds::cut(&visible(text), VALUE).into_owned());
    let path = if difference.path.is_empty() { "the result" } else { difference.path.as_str() };
    format!("{}: expected {}, found {}", visible(path), value(&difference.expected), value(&difference.found))
}
