//! Requests about the history of calls and about versions of definitions.

use std::time::Duration;

use super::home::Home;
use crate::{
    domain::{
        drift::{self, Baseline, Change, DefinitionVersion},
        filter::Filter,
        history::{HistoryPage, HistoryQuery, HistoryStats, Period, StatsBy},
        program_session::SessionSummary,
        workspace::WorkspaceError,
    },
    store::{Store, StoreError},
};

/// Returns the wall-clock time in milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "periods of the history end now")]
pub fn now_ms() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or_default()
}

/// Returns a duration in milliseconds.
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn unreadable(why: &str) -> WorkspaceError {
    WorkspaceError::invalid(format!("the history cannot be read: {why}"))
}

fn opened(home: &Home) -> Result<Store, WorkspaceError> {
    home.store().map_err(|why| unreadable(&why))
}

fn failed(error: StoreError) -> WorkspaceError {
    unreadable(&error.to_string())
}

/// Returns a page of the history. Values that became secret later are masked here.
pub async fn page(home: &Home, query: HistoryQuery) -> Result<HistoryPage, WorkspaceError> {
    let (filter, mistakes) = Filter::parse(&query.filter);
    if let Some(mistake) = mistakes.first() {
        return Err(WorkspaceError::invalid(format!("the filter has an error: {mistake}")));
    }
    let mut page = opened(home)?.history(filter, query).await.map_err(failed)?;
    let redactor = home.secrets.redactor();
    page.calls.iter_mut().for_each(|call| call.redact(&redactor));
    Ok(page)
}

/// Returns the last sessions, newest first.
pub async fn sessions(home: &Home, last: usize) -> Result<Vec<SessionSummary>, WorkspaceError> {
    opened(home)?.sessions(last).await.map_err(failed)
}

/// Returns the statistics of the last `last`.
pub async fn stats(home: &Home, last: Duration, by: StatsBy, compare: bool) -> Result<HistoryStats, WorkspaceError> {
    opened(home)?.stats(Period::last(last, now_ms()), by, compare).await.map_err(failed)
}

/// Deletes old calls; returns their number.
pub async fn prune(home: &Home, older_than: Duration) -> Result<u64, WorkspaceError> {
    let deleted = opened(home)?.prune(now_ms().saturating_sub(ms(older_than))).await;
    let not_written = |error: StoreError| WorkspaceError::NotWritten { why: format!("no calls were deleted: {error}") };
    deleted.map(|calls| calls as u64).map_err(not_written)
}

/// Returns what servers changed in their definitions.
pub async fn drift(home: &Home, server: Option<String>, baseline: Baseline) -> Result<Vec<Change>, WorkspaceError> {
    Ok(drift::changes(&opened(home)?.definitions(server).await.map_err(failed)?, baseline))
}

/// Returns the current definitions of servers, in the order in which they were seen first.
pub async fn current(home: &Home, server: Option<String>) -> Result<Vec<DefinitionVersion>, WorkspaceError> {
    let versions = opened(home)?.definitions(server).await.map_err(failed)?;
    let mut current: Vec<DefinitionVersion> = vec![];
    for version in versions {
        let same =
            |other: &&mut DefinitionVersion| other.server == version.server && other.kind == version.kind && other.name == version.name;
        match current.iter_mut().find(same) {
            Some(older) => *older = version,
            None => current.push(version),
        }
    }
    Ok(current)
}

/// Accepts the current definitions of a server; returns how many changed.
pub async fn accept(home: &Home, server: &str, name: Option<&str>) -> Result<u64, WorkspaceError> {
    let accepted = opened(home)?.accept_definitions(server, name).await;
    let not_written = |error: StoreError| WorkspaceError::NotWritten { why: format!("nothing was accepted: {error}") };
    accepted.map(|definitions| definitions as u64).map_err(not_written)
}
