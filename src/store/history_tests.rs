use std::sync::{Arc, atomic::AtomicU64};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::watch;

use super::{
    writer::{Added, Incoming, Job, Writer},
    *,
};
use crate::domain::{
    body::Body,
    call::{CallSpec, Failure, FailureKind, Operation, Outcome, Timings},
    drift::{Baseline, DefinitionKind, changes},
    event::Settled,
    id::{CallId, ClientId, InstanceId, ServerId, ToolId},
    program_session::{SessionKind, SessionStart},
    secret::Secret,
    server::Transport,
    stored_catalog::{CatalogKey, StoredCatalog, StoredServer},
    time::Stamp,
};
use crate::engine::ports::CatalogStore;

const LIMITS: HistoryLimits = HistoryLimits { calls: 1_000_000, age_ms: 0, bytes: 0 };
const HOUR: u64 = 3_600_000;

fn opened(limits: HistoryLimits) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(&dir.path().join("store.db"), StoreOptions { history: Some(limits), flush: false }).unwrap();
    (dir, store)
}

/// A call of `server/tool` at this time, with this result or failure.
fn settled(number: u64, server: &str, tool: &str, arguments: &str, end: Result<&str, FailureKind>) -> SettledCall {
    let unix_ms = 1_700_000_000_000 + number * 1_000;
    let spec = CallSpec::tool(ToolId::new(server.into(), tool), arguments, Origin::Console);
    let outcome = match end {
        Ok(result) => Outcome::Ok { result: Body::from(result) },
        Err(kind) => Outcome::Failed { failure: Failure::new(kind, format!("the mailbox of {tool} is full")).into() },
    };
    let took = number * 1_000_000;
    let settled = Settled {
        outcome,
        timings: Timings { settled: Stamp(took), ..Timings::default() },
        rounds: 1,
        sent_bytes: 10,
        received_bytes: number * 1_000,
        attempts: 1,
        by: None,
        cached: None,
    };
    SettledCall {
        instance: InstanceId(1),
        call: CallId::from_parts(unix_ms, number),
        unix_ms,
        name: format!("{server}_{tool}"),
        spec: spec.into(),
        settled: settled.into(),
        secrets: SecretRegistry::default(),
    }
}

async fn found(store: &Store, filter: &str) -> Vec<u64> {
    let (filter, mistakes) = Filter::parse(filter);
    assert_eq!(mistakes, []);
    let page = store.history(filter, HistoryQuery { limit: 100, ..HistoryQuery::default() }).await.unwrap();
    page.calls.iter().map(|call| (call.unix_ms - 1_700_000_000_000) / 1_000).collect()
}

#[tokio::test]
async fn a_filter_finds_the_same_calls_as_in_the_console() {
    let (_dir, store) = opened(LIMITS);
    let long = format!(r#"{{"text":"{} Überweisung"}}"#, "x".repeat(300));
    let calls = [
        settled(1, "db", "query", r#"{"user":"Ann"}"#, Ok("{}")),
        settled(2, "db", "create_user", r#"{"user":"Bob"}"#, Ok(&long)),
        settled(3, "mail", "send", "{}", Err(FailureKind::Timeout)),
        settled(4, "mail", "send", "{}", Err(FailureKind::Transport)),
    ];
    let clients = [None, Some((7, None)), Some((8, Some("Claude-Code"))), Some((9, Some("agent x")))];
    for (mut call, client) in calls.into_iter().zip(clients) {
        if let Some((number, name)) = client {
            let client_name = name.map(Into::into);
            call.spec = CallSpec { client: ClientId(number), client_name, ..CallSpec::clone(&call.spec) }.into();
        }
        store.record(call);
    }
    store.flush().await.unwrap();
    for (filter, expected) in [
        ("client:claude*", vec![3]),
        ("client:7|agent", vec![4, 2]),
        ("client:*", vec![4, 3, 2]),
        ("!client:*", vec![1]),
        ("", vec![4, 3, 2, 1]),
        ("server:db", vec![2, 1]),
        ("server:d|ma*", vec![4, 3, 2, 1]),
        ("tool:create*", vec![2]),
        ("!tool:create*", vec![4, 3, 1]),
        ("outcome:failed", vec![4, 3]),
        ("outcome:timeout|ok", vec![3, 2, 1]),
        ("outcome:pending", vec![]),
        ("origin:console", vec![4, 3, 2, 1]),
        ("origin:client", vec![]),
        ("kind:log", vec![]),
        ("run:x", vec![]),
        ("!run:x", vec![4, 3, 2, 1]),
        (">2ms", vec![4, 3]),
        ("<2ms", vec![1]),
        (">3kB", vec![4]),
        ("mailbox", vec![4, 3]),
        ("MAILBOX timeout", vec![3]),
        ("ann", vec![1]),
        ("!ann server:db", vec![2]),
        ("überweisung", vec![2]),
        ("db", vec![2, 1]),
        ("db_query", vec![1]),
        ("\"mailbox of\"", vec![4, 3]),
        ("nothing", vec![]),
    ] {
        assert_eq!(found(&store, filter).await, expected, "{filter}");
    }
}

#[tokio::test]
async fn a_session_is_stored_with_its_first_call_and_found_by_id_date_and_kind() {
    let (_dir, store) = opened(LIMITS);
    let start = |session, kind, at: u64| SessionStart { session: InstanceId(session), kind, started_ms: 1_700_000_000_000 + at };
    let (console, silent, gateway) = (
        start(0xc0, SessionKind::Console, 500),
        start(0x51, SessionKind::Headless, 1_000),
        // The next day.
        start(0x9a7e, SessionKind::Gateway, 86_400_000),
    );
    [console, silent, gateway].into_iter().for_each(|session| store.begin_session(session));
    let of = |session: SessionStart, call| SettledCall { instance: session.session, ..call };
    store.record(of(console, settled(1, "db", "query", "{}", Ok("{}"))));
    store.record(of(console, settled(2, "db", "query", "{}", Err(FailureKind::Timeout))));
    store.record(of(gateway, settled(90_000, "db", "query", "{}", Ok("{}"))));
    store.end_session(console.session, 1_700_000_009_000);
    store.end_session(silent.session, 1_700_000_009_000);
    store.record(of(console, settled(3, "db", "query", "{}", Ok("{}"))));
    store.record(SettledCall { instance: InstanceId(7), ..settled(4, "db", "query", "{}", Ok("{}")) });
    store.flush().await.unwrap();
    let sessions = store.sessions(10).await.unwrap();
    assert_eq!(sessions.iter().map(|session| session.start.session.0).collect::<Vec<_>>(), [0x9a7e, 7, 0xc0], "one had no calls");
    assert_eq!(sessions[0].start, gateway);
    assert_eq!((sessions[0].ended_ms, sessions[0].calls, sessions[0].failures), (None, 1, 0));
    assert_eq!((sessions[1].start.kind, sessions[1].start.started_ms), (SessionKind::Unknown, 1_700_000_004_000));
    let expected = (console, 1_700_000_003_000, Some(1_700_000_009_000), 3, 1);
    let found_session = sessions[2];
    assert_eq!((found_session.start, found_session.last_ms, found_session.ended_ms, found_session.calls, found_session.failures), expected);
    assert_eq!(store.sessions(1).await.unwrap().len(), 1);
    for (filter, expected) in [
        ("session:last", vec![90_000]),
        ("session:000000c0", vec![3, 2, 1]),
        ("session:c0", vec![3, 2, 1]),
        ("session:*c0 outcome:failed", vec![2]),
        ("session:gateway", vec![90_000]),
        ("session:console|gateway", vec![90_000, 3, 2, 1]),
        ("session:2023-11-14", vec![4, 3, 2, 1]),
        ("session:2023-11-15", vec![90_000]),
        ("!session:last", vec![4, 3, 2, 1]),
        ("session:51", vec![]),
    ] {
        assert_eq!(found(&store, filter).await, expected, "{filter}");
    }
    let page = store.history(Filter::default(), HistoryQuery { limit: 1, ..HistoryQuery::default() }).await.unwrap();
    assert_eq!(page.sessions, [gateway], "a page has the sessions of its calls");
}

/// A request of a connection itself.
fn lifecycle(number: u64, method: &str, end: Result<&str, FailureKind>) -> SettledCall {
    let call = settled(number, "db", method, "{}", end);
    let operation = Operation::Raw { server: "db".into(), method: method.into(), params: Body::from(r#"{"unusual":1}"#) };
    SettledCall { name: method.into(), spec: CallSpec::new(operation, Origin::Console).into(), ..call }
}

#[tokio::test]
async fn lifecycle_rows_are_found_by_their_kind_and_are_no_calls() {
    let (_dir, store) = opened(LIMITS);
    let large = format!(r#"{{"tools":["{}"]}}"#, "x".repeat(70 << 10));
    store.record_lifecycle(lifecycle(1, "initialize", Ok(r#"{"serverInfo":{"name":"everything"}}"#)));
    store.record_lifecycle(lifecycle(2, "tools/list", Ok(&large)));
    store.record(settled(3, "db", "query", "{}", Ok("{}")));
    store.record_lifecycle(lifecycle(4, "prompts/list", Err(FailureKind::Protocol)));
    store.flush().await.unwrap();
    for (filter, expected) in [
        ("", vec![4, 3, 2, 1]),
        ("kind:lifecycle", vec![4, 2, 1]),
        ("kind:call", vec![3]),
        ("!kind:lifecycle", vec![3]),
        ("kind:lifecycle|call outcome:ok", vec![3, 2, 1]),
        ("kind:log", vec![]),
        ("tool:*/list", vec![4, 2]),
        ("kind:lifecycle outcome:failed", vec![4]),
        ("origin:console", vec![3]),
        ("initialize", vec![1]),
        ("everything", vec![]),
        ("unusual", vec![]),
    ] {
        assert_eq!(found(&store, filter).await, expected, "{filter}");
    }
    assert_eq!(store.calls(10, vec![]).await.unwrap().len(), 1, "workflows are made of calls");
    let (filter, _) = Filter::parse("kind:lifecycle");
    let page = store.history(filter, HistoryQuery { limit: 10, ..HistoryQuery::default() }).await.unwrap();
    assert!(page.calls.iter().all(|row| row.lifecycle && row.trace.is_none() && row.requester() == "engine"));
    let records = store.calls(0, page.calls.iter().map(|row| row.call.0).collect()).await.unwrap();
    let results: Vec<bool> = records.iter().map(|record| record.result.is_some()).collect();
    assert_eq!(results, [false, false, true], "a failure and a large list have none");
    let session = store.sessions(10).await.unwrap()[0];
    assert_eq!((session.calls, session.failures, session.last_ms), (1, 0, 1_700_000_004_000));
    let hour = 1_700_000_000_000 / HOUR * HOUR;
    let stats = store.stats(Period { since_ms: hour, until_ms: hour + HOUR }, StatsBy::Tool, false).await.unwrap();
    assert_eq!(stats.total.calls, 1);
}

#[tokio::test]
async fn lifecycle_rows_are_bounded_and_take_no_room_of_calls() {
    let (dir, store) = opened(LIMITS);
    for n in 0..2_100 {
        store.record_lifecycle(lifecycle(n, "tools/list", Ok(r#"{"tools":[]}"#)));
        if n % 70 == 0 {
            store.record(settled(n, "db", "query", "{}", Ok("{}")));
            store.flush().await.unwrap();
        }
    }
    store.flush().await.unwrap();
    let connection = connect(&dir.path().join("store.db"), false).unwrap();
    let limits = HistoryLimits { calls: 30, ..LIMITS };
    assert_eq!(history::apply_limits(&connection, limits, 1_700_000_000_000).unwrap(), 0, "30 calls are stored");
    let count = |kind: u32| connection.query_row("SELECT count(*) FROM calls WHERE kind = ?1", [kind], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count(0), count(1)), (30, 2_000));
}

#[tokio::test]
async fn sums_of_sessions_outlive_their_calls_for_400_days() {
    let (dir, store) = opened(LIMITS);
    (1..=4).for_each(|n| store.record(settled(n, "db", "query", "{}", Ok("{}"))));
    store.flush().await.unwrap();
    let connection = connect(&dir.path().join("store.db"), false).unwrap();
    let later = |days: u64| 1_700_000_000_000 + days * 24 * HOUR;
    let limits = HistoryLimits { age_ms: 1, ..LIMITS };
    assert_eq!(history::apply_limits(&connection, limits, later(399)).unwrap(), 4);
    assert_eq!(store.sessions(10).await.unwrap()[0].calls, 4);
    history::apply_limits(&connection, limits, later(401)).unwrap();
    assert_eq!(store.sessions(10).await.unwrap(), []);
}

#[tokio::test]
async fn calls_of_an_older_version_get_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let old = Connection::open(&path).unwrap();
    schema::as_of(&old, 7).unwrap();
    for (call, instance, outcome) in
        [(1, 9, "ok"), (2, 9, "timeout"), (3, 9, "cancelled"), (4, 0, "ok"), (5, 4_000_000_000u32, "tool error")]
    {
        old.execute(
            "INSERT INTO calls (call, unix_ms, origin, server, name, spec, outcome, took_us, instance) VALUES (?1, ?1, '', '', '', '', ?3, 0, ?2)",
            rusqlite::params![call, instance, outcome],
        )
        .unwrap();
    }
    drop(old);
    let store = Store::open(&path, 10).unwrap();
    let found = store.sessions(10).await.unwrap();
    let sums: Vec<_> =
        found.iter().map(|session| (session.start.session.0, session.start.started_ms, session.calls, session.failures)).collect();
    assert_eq!(sums, [(4_000_000_000, 5, 1, 1), (9, 1, 3, 1)]);
    assert!(found.iter().all(|session| session.start.kind == SessionKind::Unknown && session.ended_ms.is_none()));
}

#[tokio::test]
async fn pages_follow_one_another_without_gaps_while_calls_are_added() {
    let (_dir, store) = opened(LIMITS);
    (1..=25).for_each(|n| store.record(settled(n, "db", "query", "{}", Ok("{}"))));
    store.flush().await.unwrap();
    for text in ["", "query"] {
        let (filter, _) = Filter::parse(text);
        let mut query = HistoryQuery { limit: 10, ..HistoryQuery::default() };
        let mut seen = vec![];
        loop {
            let page = store.history(filter.clone(), query.clone()).await.unwrap();
            seen.extend(page.calls.iter().map(|call| call.call));
            let Some(next) = page.next else { break };
            query.before = Some(next);
            store.record(settled(100 + seen.len() as u64, "db", "other", "{}", Ok("{}")));
            store.flush().await.unwrap();
        }
        let known: Vec<CallId> = (1..=25).rev().map(|n| settled(n, "db", "query", "{}", Ok("{}")).call).collect();
        assert!(seen.ends_with(&known), "{text}: {seen:?}");
    }
    let (first, last) = (1_700_000_005_000, 1_700_000_007_000);
    let query = HistoryQuery { since_ms: Some(first), until_ms: Some(last), limit: 10, ..HistoryQuery::default() };
    let page = store.history(Filter::default(), query).await.unwrap();
    assert_eq!(page.calls.iter().map(|call| call.unix_ms).collect::<Vec<_>>(), [1_700_000_006_000, first]);
}

#[tokio::test]
async fn equal_bodies_are_stored_once_and_go_with_their_last_call() {
    let (dir, store) = opened(LIMITS);
    let (large, secret) = (format!(r#"{{"text":"{}"}}"#, "many words ".repeat(2_000)), "s3cret-value-of-a-token");
    for n in 1..=3 {
        let call = settled(n, "db", "query", &format!(r#"{{"key":"{secret}","pad":"{}"}}"#, "y".repeat(200)), Ok(&large));
        call.secrets.learn([Secret::literal(secret)]);
        store.record(call);
    }
    store.flush().await.unwrap();
    let connection = Connection::open(dir.path().join("store.db")).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count("SELECT count(*) FROM bodies"), count("SELECT min(uses) FROM bodies")), (2, 3));
    assert!(count("SELECT sum(length(body)) FROM bodies") < 2_000, "compressed");
    let records = store.calls(10, vec![]).await.unwrap();
    assert_eq!(records[0].result.as_ref().unwrap().text(), large);
    let Operation::Tool { arguments, .. } = &records[0].spec.operation else { panic!() };
    assert!(arguments.text().contains("yyy") && !arguments.text().contains("s3cret"), "{}", arguments.text());
    for file in std::fs::read_dir(dir.path()).unwrap().flatten().filter(|file| file.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "{}", file.path().display());
    }
    assert_eq!(store.prune(1_700_000_003_000).await.unwrap(), 2);
    assert_eq!((count("SELECT count(*) FROM bodies"), count("SELECT min(uses) FROM bodies")), (2, 1));
    assert_eq!(store.prune(u64::MAX >> 23).await.unwrap(), 1);
    assert_eq!((count("SELECT count(*) FROM bodies"), count("SELECT count(*) FROM calls_text WHERE calls_text MATCH 'words'")), (0, 0));
}

#[tokio::test]
async fn calls_of_two_processes_with_one_id_are_both_stored() {
    let (_dir, store) = opened(LIMITS);
    let one = settled(1, "db", "query", "{}", Ok("{}"));
    store.record(SettledCall { instance: InstanceId(2), name: "other".into(), ..one.clone() });
    store.record(one);
    store.flush().await.unwrap();
    let names: Vec<String> = store.calls(10, vec![]).await.unwrap().into_iter().map(|record| record.summary.name).collect();
    assert_eq!(names, ["other", "db_query"]);
}

#[tokio::test]
async fn statistics_outlive_the_calls() {
    let (_dir, store) = opened(LIMITS);
    (1..=4).for_each(|n| store.record(settled(n, "db", "query", "{}", Ok("{}"))));
    store.record(settled(5, "db", "query", "{}", Err(FailureKind::Timeout)));
    store.flush().await.unwrap();
    store.prune(u64::MAX >> 23).await.unwrap();
    let hour = 1_700_000_000_000 / HOUR * HOUR;
    let period = Period { since_ms: hour, until_ms: hour + HOUR };
    let stats = store.stats(period, StatsBy::Tool, true).await.unwrap();
    assert_eq!((stats.total.calls, stats.total.errors, stats.rows.len(), stats.before.len()), (5, 1, 1, 0));
    assert_eq!(stats.rows[0].tool.as_deref(), Some("query"));
    let later = Period { since_ms: hour + HOUR, until_ms: hour + 2 * HOUR };
    let stats = store.stats(later, StatsBy::Server, true).await.unwrap();
    assert_eq!((stats.total.calls, stats.before[0].calls, stats.before[0].server.as_ref()), (0, 5, Some(&"db".into())));
}

#[tokio::test]
async fn old_calls_and_those_above_a_size_are_deleted() {
    let (dir, store) = opened(LIMITS);
    let random = |n: u64| {
        format!("{{\"a\":\"{}\"}}", (0..40_000).map(|i| char::from(b'a' + (n * 31 + i * i * 7 + i / 26) as u8 % 26)).collect::<String>())
    };
    (1..=60).for_each(|n| store.record(settled(n, "db", "query", "{}", Ok(&random(n)))));
    store.flush().await.unwrap();
    let connection = connect(&dir.path().join("store.db"), false).unwrap();
    let now = 1_700_000_061_000;
    let deleted = history::apply_limits(&connection, HistoryLimits { age_ms: 31_000, ..LIMITS }, now).unwrap();
    assert_eq!((deleted, store.calls(100, vec![]).await.unwrap().len()), (29, 31));
    assert_eq!(history::apply_limits(&connection, HistoryLimits { calls: 20, ..LIMITS }, now).unwrap(), 11);
    assert_eq!(history::apply_limits(&connection, HistoryLimits { bytes: 100_000, ..LIMITS }, now).unwrap(), 20);
    assert_eq!(history::apply_limits(&connection, HistoryLimits { bytes: 1, ..LIMITS }, now).unwrap(), 0, "nothing is left");
}

#[tokio::test]
async fn the_lock_of_another_process_delays_the_history_and_loses_nothing() {
    let (dir, store) = opened(LIMITS);
    let mut trouble = store.trouble();
    let other = connect(&dir.path().join("store.db"), false).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    (1..=50).for_each(|n| store.record(settled(n, "db", "query", "{}", Ok("{}"))));
    trouble.wait_for(Option::is_some).await.unwrap();
    other.execute_batch("COMMIT").unwrap();
    trouble.wait_for(Option::is_none).await.unwrap();
    assert_eq!((store.calls(100, vec![]).await.unwrap().len(), store.lost_calls()), (50, 0));
}

#[tokio::test]
async fn a_file_that_is_damaged_while_it_is_open_is_set_aside() {
    let (dir, store) = opened(LIMITS);
    (1..=50).for_each(|n| store.record(settled(n, "db", "query", "{}", Ok("{}"))));
    store.flush().await.unwrap();
    let path = dir.path().join("store.db");
    // A change of another process, so that the writer reads the file again; everything is in the database and nothing in its log.
    let other = connect(&path, false).unwrap();
    other.execute_batch("CREATE TABLE other (a)").unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(other);
    let size = std::fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xa5; usize::try_from(size).unwrap() - 4096], 4096).unwrap();
    (51..=60).for_each(|n| store.record(settled(n, "db", "query", &format!("{{\"a\":\"{}\"}}", "z".repeat(500)), Ok("{}"))));
    store.flush().await.unwrap();
    let moved = store.take_set_aside();
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_eq!((store.calls(100, vec![]).await.unwrap().len(), store.lost_calls()), (10, 0));
    assert!(store.trouble().borrow().is_none());
}

#[test]
fn a_full_disk_counts_lost_calls_and_the_rest_is_stored_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let connection = recovered(&path, false).unwrap().0.history;
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    connection.pragma_update(None, "max_page_count", pages + 20).unwrap();
    let (jobs, waiting) = mpsc::sync_channel(10_000);
    let (failed, trouble) = watch::channel(None);
    let incoming = Arc::new(Incoming::default());
    // Reopened, the database has no limit: the disk has room again.
    let reopen = {
        let path = path.clone();
        move |_: Option<&str>| connect(&path, false).ok()
    };
    let writer =
        Writer { connection, limits: Some(LIMITS), reopen, trouble: failed, incoming: incoming.clone(), sessions: vec![], now_ms: || 0 };
    let thread = std::thread::spawn(move || writer.run(&waiting));
    let call = |n: u64| {
        let SettledCall { instance, call, unix_ms, name, spec, settled, .. } =
            settled(n, "db", "query", "{}", Ok(&format!("{{\"a\":\"{n}{}\"}}", "z".repeat(150))));
        let summary = CallSummary::new((instance, call), (unix_ms, name), &spec, &settled);
        let record = CallRecord { summary, spec, result: settled.outcome.result().cloned() };
        if incoming.add(record, SecretRegistry::default()) == Added::Wake {
            jobs.send(Job::Calls).unwrap();
        }
    };
    let total = 6_000;
    (0..total).for_each(call);
    let flush = || {
        let (done, wait) = oneshot::channel();
        jobs.send(Job::Flush(done)).unwrap();
        wait.blocking_recv().unwrap();
    };
    flush();
    assert!(trouble.borrow().is_some());
    jobs.send(Job::Reopen).unwrap();
    flush();
    assert!(trouble.borrow().is_none());
    drop(jobs);
    thread.join().unwrap();
    let stored: u64 =
        Connection::open(&path).unwrap().query_row("SELECT count(*) FROM calls", [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let lost = incoming.lost.load(Ordering::Relaxed);
    assert_eq!(stored + lost, total);
    assert!(lost > 0 && stored >= 4_000, "{stored} {lost}");
    assert_eq!(incoming.take().len(), 0);
}

#[tokio::test]
async fn versions_of_definitions_are_stored_and_accepted() {
    let (_dir, store) = opened(LIMITS);
    let launch = Transport::Http { url: "http://a".into(), headers: vec![], socket: None };
    let key = CatalogKey { launch: crate::domain::stored_catalog::launch_fingerprint(&launch), capabilities: [0; 32] };
    let listed = async |at: u64, tools: &[&str]| {
        let server = StoredServer { version: Some("1".into()), ..StoredServer::default() };
        let tools = tools.iter().map(|tool| Body::from(*tool)).collect();
        let catalog = StoredCatalog { read_ms: at, tools, server, ..StoredCatalog::default() };
        store.catalogs().save_definitions(&ServerId::new("db"), &key, &catalog).await;
        store.flush().await.unwrap();
    };
    let names = async || {
        let found = changes(&store.definitions(None).await.unwrap(), Baseline::Accepted);
        found.iter().map(|change| format!("{} {}", change.name, change.impact().word())).collect::<Vec<_>>()
    };
    listed(1, &[r#"{"name":"a"}"#, r#"{"name":"b"}"#]).await;
    listed(2, &[r#"{"name":"b"}"#, r#"{ "name" : "a" }"#]).await;
    assert_eq!((names().await.len(), store.definitions(None).await.unwrap().len()), (0, 3), "the same, whatever the order");
    listed(3, &[r#"{"name":"a","inputSchema":{"required":["x"]}}"#, r#"{"name":"c"}"#]).await;
    assert_eq!(names().await, ["b breaking", "a breaking", "c compatible"]);
    assert_eq!(store.accept_definitions("db", Some("a")).await.unwrap(), 1);
    assert_eq!(names().await, ["b breaking", "c compatible"]);
    assert_eq!(store.accept_definitions("db", None).await.unwrap(), 2);
    assert_eq!(names().await, Vec::<String>::new());
    let versions = store.definitions(Some("db".into())).await.unwrap();
    assert!(
        versions.iter().any(|version| version.kind == DefinitionKind::Server)
            && store.definitions(Some("x".into())).await.unwrap().is_empty()
    );
}

/// The child of the test below: writes calls and prints the id of each batch that it flushed.
#[tokio::test]
#[ignore = "the test below runs it in a process of its own"]
async fn writes_until_it_is_killed() {
    let Ok(path) = std::env::var("SWITCHBOARD_TEST_STORE") else { return };
    let store = Store::open_with(Path::new(&path), StoreOptions { history: Some(LIMITS), flush: false }).unwrap();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let base = u64::from(std::process::id()) * 100_000;
    for _ in 0..1_000 {
        let batch: Vec<u64> = (0..5).map(|_| base + NEXT.fetch_add(1, Ordering::Relaxed)).collect();
        batch.iter().for_each(|n| store.record(settled(*n, "db", "query", "{}", Ok("{}"))));
        store.flush().await.unwrap();
        batch.iter().for_each(|n| println!("ack {}", settled(*n, "db", "query", "{}", Ok("{}")).call.0));
    }
}

/// Kills of a writer: as many as `SWITCHBOARD_TEST_KILLS` says, by default a few.
#[tokio::test]
async fn a_killed_writer_loses_no_acknowledged_call() {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };
    let kills: usize = std::env::var("SWITCHBOARD_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut acknowledged: Vec<u64> = vec![];
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "store::history_tests::writes_until_it_is_killed"])
            .env("SWITCHBOARD_TEST_STORE", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after another number of calls each time, in the middle of the next batch.
        let wanted = kill % 23 + 1;
        let mut seen = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(id) = line.rsplit_once("ack ").and_then(|(_, id)| id.parse().ok()) {
                acknowledged.push(id);
                seen += 1;
                if seen == wanted {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
    }
    assert!(acknowledged.len() >= kills, "{}", acknowledged.len());
    let store = Store::open_with(&path, StoreOptions { history: Some(LIMITS), flush: false }).unwrap();
    assert_eq!(store.take_set_aside().len(), 0);
    let found = store.calls(0, acknowledged.clone()).await.unwrap();
    assert_eq!(found.len(), acknowledged.len(), "lost");
    let whole: String = Connection::open(&path).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
}
