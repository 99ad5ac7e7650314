//! The `analytics` server: events, activity, and a report that takes its time.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::plural::counted;

use super::{
    handler::{Backend, Call, Done, Fault, no_user},
    store::{Store, find_user},
};

/// Pause between two reports of progress.
const TICK: Duration = Duration::from_millis(250);
/// Ticks in a second.
const TICKS: u64 = 4;

/// The server.
pub(super) struct Analytics {
    pub store: Store,
}

#[async_trait]
impl Backend for Analytics {
    async fn call(&self, tool: &str, arguments: Value, call: &Call<'_>) -> Result<Done, Fault> {
        match tool {
            "track_event" => {
                let event: Event = serde_json::from_value(arguments)?;
                call.log("debug", "events", json!({"message": "event", "event": event.event})).await;
                self.store.with(|db| track_event(db, &event)).map(Done::Data)
            }
            "get_user_activity" => {
                let ask: Activity = serde_json::from_value(arguments)?;
                self.store.with(|db| get_user_activity(db, &ask)).map(Done::Data)
            }
            "report" => self.report(serde_json::from_value(arguments)?, call).await,
            _ => Err(Fault::Refused(format!("{tool} is listed but not built"))),
        }
    }
}

impl Analytics {
    async fn report(&self, Report { seconds }: Report, call: &Call<'_>) -> Result<Done, Fault> {
        call.log("info", "report", json!({"message": "started", "seconds": seconds})).await;
        let ticks = seconds * TICKS;
        for tick in 0..ticks {
            let message = format!("{} of {seconds} s", tick / TICKS);
            call.progress(tick as f64, ticks as f64, message).await;
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = call.cancelled() => return Err(Fault::Refused(format!("Cancelled after {tick} of {}.", counted(ticks, "step")))),
            }
        }
        let summary = self.store.with(|db| summary(db, seconds))?;
        call.progress(ticks as f64, ticks as f64, "done").await;
        call.log("info", "report", json!({"message": "finished", "events": summary["events"]})).await;
        Ok(Done::Data(summary))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event: String,
    user_id: String,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Activity {
    user_id: String,
    #[serde(default = "week")]
    days: i64,
}

fn week() -> i64 {
    7
}

#[derive(Deserialize)]
struct Report {
    #[serde(default = "five")]
    seconds: u64,
}

fn five() -> u64 {
    5
}

fn track_event(db: &Connection, event: &Event) -> Result<Value, Fault> {
    let (user, _) = find_user(db, &event.user_id)?.ok_or_else(|| no_user(&event.user_id))?;
    let at: String = db.query_row(
        "INSERT INTO events (event, user_id, properties) VALUES (?1, ?2, ?3) RETURNING at",
        params![event.event, user, serde_json::to_string(&event.properties)?],
        |row| row.get(0),
    )?;
    let id = db.last_insert_rowid();
    let total: i64 = db.query_row("SELECT count(*) FROM events WHERE user_id = ?1", [user], |row| row.get(0))?;
    Ok(json!({"eventId": id, "at": at, "total": total}))
}

fn get_user_activity(db: &Connection, ask: &Activity) -> Result<Value, Fault> {
    const SINCE: &str = "user_id = ?1 AND at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?2)";
    let (user, _) = find_user(db, &ask.user_id)?.ok_or_else(|| no_user(&ask.user_id))?;
    let range = params![user, format!("-{} days", ask.days)];
    let counts = counts(db, &format!("SELECT event, count(*) FROM events WHERE {SINCE} GROUP BY event ORDER BY 2 DESC, 1"), range)?;
    let mut rows = db.prepare(&format!("SELECT event, at, properties FROM events WHERE {SINCE} ORDER BY id DESC LIMIT 10"))?;
    let recent = rows
        .query_map(range, |row| {
            let properties: Value = serde_json::from_str(&row.get::<_, String>(2)?).unwrap_or_default();
            Ok(json!({"event": row.get::<_, String>(0)?, "at": row.get::<_, String>(1)?, "properties": properties}))
        })?
        .collect::<rusqlite::Result<Vec<Value>>>()?;
    let total: i64 = counts.values().filter_map(Value::as_i64).sum();
    Ok(json!({"userId": ask.user_id, "days": ask.days, "total": total, "counts": counts, "recent": recent}))
}

fn summary(db: &Connection, seconds: u64) -> Result<Value, Fault> {
    let counts = counts(db, "SELECT event, count(*) FROM events GROUP BY event ORDER BY 2 DESC, 1", params![])?;
    let users: i64 = db.query_row("SELECT count(DISTINCT user_id) FROM events", [], |row| row.get(0))?;
    let events: i64 = counts.values().filter_map(Value::as_i64).sum();
    Ok(json!({"events": events, "users": users, "counts": counts, "seconds": seconds}))
}

fn counts(db: &Connection, sql: &str, params: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Map<String, Value>> {
    db.prepare(sql)?.query_map(params, |row| Ok((row.get::<_, String>(0)?, Value::from(row.get::<_, i64>(1)?))))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_for_their_user_and_range() {
        let dir = tempfile::tempdir().unwrap();
        let track = |db: &Connection, event: &str, user: &str| {
            track_event(db, &serde_json::from_value(json!({"event": event, "userId": user, "properties": {"n": 1}})).unwrap())
        };
        Store::new(dir.path())
            .with(|db| {
                assert_eq!(track(db, "login", "u_1003")?["total"], 1);
                assert_eq!(track(db, "login", "u_1003")?["total"], 2);
                track(db, "purchase", "u_1003")?;
                db.execute(
                    "INSERT INTO events (event, user_id, properties, at) VALUES ('old', 1003, '{}', '2001-01-01T00:00:00.000Z')",
                    [],
                )?;
                let activity = get_user_activity(db, &Activity { user_id: "u_1003".into(), days: 7 })?;
                assert_eq!(activity["total"], 3);
                assert_eq!(activity["counts"], json!({"login": 2, "purchase": 1}));
                assert_eq!(activity["recent"][0], json!({"event": "purchase", "at": activity["recent"][0]["at"], "properties": {"n": 1}}));
                assert_eq!(summary(db, 1)?["users"], 3);
                assert!(matches!(track(db, "login", "u_9"), Err(Fault::Refused(_))));
                assert!(matches!(get_user_activity(db, &Activity { user_id: "u_9".into(), days: 7 }), Err(Fault::Refused(_))));
                Ok::<_, Fault>(())
            })
            .unwrap();
    }
}
