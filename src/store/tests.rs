use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::domain::{
    body::Body,
    call::{CallSpec, Origin},
    id::{CallId, ToolId},
    journal::StepOutcome,
    run::{Purpose, RunOutcome, RunReport},
    test_entries::{self, end_with, item_ended, report, sending},
    time::Stamp,
};

fn store(keep: usize) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), keep).unwrap();
    (dir, store)
}

fn began(workflow: &str) -> RunEntry {
    let text = "name = \"w\"";
    let spec = test_entries::spec(workflow, text, r#"{"n":1.50}"#);
    RunEntry::Began { spec: Arc::new(spec), unix_ms: 1_700_000_000_000, deadline_ms: None }
}

fn ended() -> RunEntry {
    let report = RunReport { output: Some(Body::from("{}")), ended: Stamp(1_500_000_000), ..report(RunOutcome::Ok) };
    RunEntry::Ended { report: Arc::new(report) }
}

fn call(number: u64) -> CallRecord {
    let spec = CallSpec::tool(ToolId::new("db".into(), "query"), r#"{"n": 1.50}"#, Origin::Console);
    test_entries::call_record(CallId(u64::MAX - 10_000 + number), number, spec, "db_query")
}

/// Appends entries after those that the journal has.
async fn append(store: &Store, run: RunId, entries: impl Into<Arc<[RunEntry]>>) -> Result<Seq, JournalError> {
    let after = store.load(run).await?.map_or(Seq::default(), |record| record.last());
    store.append(run, after, entries.into()).await
}

#[tokio::test]
async fn a_run_is_read_back_as_written_even_by_another_program() {
    let (dir, store) = store(10);
    let run = RunId::new(1, 1);
    let end = end_with(StepOutcome::Ok, r#"{"x":1.0}"#, "1");
    let entries = vec![began("w"), sending("a", Some(3), Purpose::Step, "t"), item_ended("a", 3, end), ended()];
    for entry in &entries {
        append(&store, run, [entry.clone()]).await.unwrap();
    }
    // A connection of its own, as another process would have.
    let other = Store::open(&dir.path().join("store.db"), 10).unwrap();
    let record = other.load(run).await.unwrap().unwrap();
    assert_eq!(record.entries, entries);
    let header = &other.runs(10, Some("w".into())).await.unwrap()[0];
    assert_eq!((header.run, header.took_ms, header.outcome.as_deref()), (run, Some(1500), Some("ok")));
    assert_eq!(other.find_run(&run.to_string()[..20]).await.unwrap(), Some(run));
    assert_eq!(other.find_run("").await.unwrap(), None);
    assert!(other.load(RunId::new(2, 2)).await.unwrap().is_none());
}

#[tokio::test]
async fn an_entry_of_an_unknown_run_is_refused_and_takes_no_other_with_it() {
    let (_dir, store) = store(10);
    let (good, bad) = (RunId::new(1, 1), RunId::new(9, 9));
    let writes = futures_util::future::join3(
        store.append(good, Seq(0), Arc::new([began("w")])),
        store.append(bad, Seq(0), Arc::new([ended()])),
        store.append(good, Seq(1), Arc::new([ended()])),
    )
    .await;
    assert!(writes.0.is_ok() && writes.2.is_ok());
    assert!(writes.1.unwrap_err().to_string().contains("nothing is known of the run"));
    assert_eq!(store.load(good).await.unwrap().unwrap().entries.len(), 2);
}

#[tokio::test]
async fn entries_that_are_written_together_are_written_all_or_none() {
    let (_dir, store) = store(10);
    let (one, two, other) = (RunId::new(1, 1), RunId::new(2, 2), RunId::new(3, 3));
    // A run begins once.
    let twice = || [began("w"), ended(), began("w")];
    assert!(append(&store, one, twice()).await.unwrap_err().to_string().contains("UNIQUE"));
    // The same among others, whose writes are not touched by it.
    let writes = futures_util::future::join3(
        store.append(other, Seq(0), Arc::new([began("w")])),
        store.append(two, Seq(0), Arc::new(twice())),
        store.append(other, Seq(1), Arc::new([ended()])),
    );
    let writes = writes.await;
    assert!(writes.0.is_ok() && writes.1.is_err() && writes.2.is_ok());
    for run in [one, two] {
        assert!(store.load(run).await.unwrap().is_none());
    }
    assert_eq!(store.load(other).await.unwrap().unwrap().entries, [began("w"), ended()]);
    append(&store, one, [began("w"), ended()]).await.unwrap();
    assert_eq!(store.load(one).await.unwrap().unwrap().entries, [began("w"), ended()]);
}

#[tokio::test]
async fn a_process_that_lost_its_run_is_fenced() {
    let (dir, store) = store(10);
    let run = RunId::new(1, 1);
    let sent = || sending("a", None, Purpose::Step, "t");
    assert_eq!(store.append(run, Seq(0), Arc::new([began("w"), sent()])).await, Ok(Seq(2)));
    // Another process takes the run over.
    let other = Store::open(&dir.path().join("store.db"), 10).unwrap();
    let resumed = || RunEntry::Resumed { unix_ms: 5, deadline_ms: None };
    assert_eq!(other.append(run, Seq(2), Arc::new([resumed()])).await, Ok(Seq(3)));
    for _ in 0..2 {
        assert_eq!(store.append(run, Seq(2), Arc::new([ended(), sent()])).await, Err(JournalError::Fenced));
    }
    let behind = other.append(run, Seq(9), Arc::new([ended()])).await;
    assert!(matches!(&behind, Err(JournalError::Failed(why)) if why.contains("missing")), "{behind:?}");
    assert_eq!(other.append(run, Seq(3), Arc::new([ended()])).await, Ok(Seq(4)));
    assert_eq!(store.load(run).await.unwrap().unwrap().entries, [began("w"), sent(), resumed(), ended()]);
}

#[tokio::test]
async fn old_runs_and_calls_are_thrown_away() {
    let (_dir, store) = store(10);
    let writes = (0..1_003u64).map(|n| append(&store, RunId::new(n, 0), [began("w")]));
    for written in futures_util::future::join_all(writes).await {
        written.unwrap();
    }
    assert_eq!(store.runs(5_000, None).await.unwrap().len(), 1_000);
    assert!(store.load(RunId::new(2, 0)).await.unwrap().is_none());
    let entries = store.read(|connection| Ok(connection.query_row("SELECT count(*) FROM run_entries", [], |row| row.get::<_, i64>(0))?));
    assert_eq!(entries.await.unwrap(), 1_000, "entries go with their runs");
    for n in 0..450 {
        while !store.note_call(call(n), SecretRegistry::default()) {
            store.flush().await.unwrap();
        }
    }
    store.flush().await.unwrap();
    let kept = store.calls(5_000, vec![]).await.unwrap();
    assert!((10..=210).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last(), Some(&call(449)));
    let chosen = store.calls(0, vec![call(449).summary.call.0, 1, call(448).summary.call.0]).await.unwrap();
    assert_eq!(chosen, [call(449), call(448)]);
}

#[tokio::test]
async fn whoever_keeps_no_calls_leaves_the_history_alone() {
    let (dir, store) = store(10);
    for n in 0..3 {
        assert!(store.note_call(call(n), SecretRegistry::default()));
    }
    store.flush().await.unwrap();
    let other = Store::open_with(&dir.path().join("store.db"), StoreOptions { history: None, flush: true }).unwrap();
    other.note_call(call(7), SecretRegistry::default());
    let run = RunId::new(1, 1);
    append(&other, run, [began("w")]).await.unwrap();
    other.flush().await.unwrap();
    assert_eq!(store.calls(100, vec![]).await.unwrap(), [call(0), call(1), call(2)]);
    assert!(store.load(run).await.unwrap().is_some(), "runs are written nevertheless");
}

#[tokio::test]
async fn calls_that_cannot_be_stored_are_reported_until_they_can() {
    const REFUSE: &str = "CREATE TRIGGER refuse BEFORE INSERT ON calls BEGIN SELECT RAISE(ABORT, 'not now'); END";
    let (dir, store) = store(10);
    let (other, mut trouble) = (Connection::open(dir.path().join("store.db")).unwrap(), store.trouble());
    for (n, change, failed) in [(0, "", false), (1, REFUSE, true), (2, "", true), (3, "DROP TRIGGER refuse", false)] {
        other.execute_batch(change).unwrap();
        let before = trouble.borrow_and_update().is_some();
        assert!(store.note_call(call(n), SecretRegistry::default()));
        store.flush().await.unwrap();
        assert_eq!((trouble.borrow().is_some(), trouble.has_changed().unwrap()), (failed, before != failed), "{n}");
    }
    assert_eq!(store.calls(100, vec![]).await.unwrap(), [call(0), call(1), call(2), call(3)]);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Store::open(&path, 1), Err(StoreError::Newer { found: 99, .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().filter(|entry| named(entry, ".damaged-")).count(), 0, "it stays where it is");
}

fn named(entry: &std::io::Result<std::fs::DirEntry>, part: &str) -> bool {
    entry.as_ref().unwrap().file_name().to_string_lossy().contains(part)
}

/// Makes a database unusable in one way.
type Damage = fn(&std::path::Path);

const DAMAGES: &[(&str, Damage)] = &[
    ("garbage", |path| std::fs::write(path, "this is not a database ".repeat(500)).unwrap()),
    ("short garbage", |path| std::fs::write(path, "x".repeat(600)).unwrap()),
    ("cut short", |path| std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(5_000).unwrap()),
    ("header overwritten", |path| overwrite(path, 0, &[0xff; 100])),
    ("schema overwritten", |path| overwrite(path, 100, &[0xff; 3_000])),
    ("pages overwritten", |path| overwrite(path, 4_096, &vec![0xff; 1 << 20])),
    ("tables missing", |path| Connection::open(path).unwrap().execute_batch("DROP TABLE run_entries").unwrap()),
    ("other tables", |path| {
        Connection::open(path).unwrap().execute_batch("DROP TABLE calls; CREATE TABLE calls (x)").unwrap();
    }),
    ("version lost", |path| Connection::open(path).unwrap().pragma_update(None, "user_version", 0).unwrap()),
    ("folder", |path| {
        std::fs::remove_file(path).unwrap();
        std::fs::create_dir(path).unwrap();
    }),
    ("link", |path| {
        std::fs::rename(path, path.with_extension("elsewhere")).unwrap();
        std::os::unix::fs::symlink(path.with_extension("elsewhere"), path).unwrap();
    }),
    ("dangling link", |path| {
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("/nonexistent/x", path).unwrap();
    }),
    ("open to others", |path| mode(path, 0o666)),
    ("log is a folder", |path| std::fs::create_dir(with_suffix(path, "-wal")).unwrap()),
];

fn overwrite(path: &std::path::Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let most = file.metadata().unwrap().len().saturating_sub(at).min(bytes.len() as u64) as usize;
    file.write_all_at(&bytes[..most], at).unwrap();
}

fn mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

fn with_suffix(path: &std::path::Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", path.display()))
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_moved_away_and_new_runs_are_recorded() {
    for (what, damage) in DAMAGES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let before = Store::open(&path, 10).unwrap();
        for n in 0..20 {
            append(&before, RunId::new(n, 0), [began("w")]).await.unwrap();
        }
        before.flush().await.unwrap();
        drop(before);
        // The thread of the history closes the file, which moves the log into it.
        let connection = Connection::open(&path).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(connection);
        damage(&path);
        let store = Store::open(&path, 10).unwrap_or_else(|error| panic!("{what}: {error}"));
        let moved = store.take_set_aside();
        assert_eq!(moved.len(), 1, "{what}");
        assert!(std::fs::symlink_metadata(&moved[0].to).is_ok(), "{what}: {moved:?}");
        let said = moved[0].to_string();
        assert!(said.contains(&path.display().to_string()) && said.contains(".damaged-"), "{what}: {said}");
        let run = RunId::new(100, 1);
        append(&store, run, [began("w")]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(store.load(run).await.unwrap().is_some(), "{what}");
        assert!(store.lease(run).await.unwrap().is_some(), "{what}");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{what}");
        drop(store);
        assert!(Store::open(&path, 10).unwrap().take_set_aside().is_empty(), "{what}: once");
    }
}

#[tokio::test]
async fn what_is_not_damage_stays_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let intact = || !std::fs::read_dir(dir.path()).unwrap().any(|entry| named(&entry, ".damaged-"));
    std::fs::write(&path, "").unwrap();
    for bits in [0o644, 0o400, 0o000] {
        mode(&path, bits);
        drop(Store::open(&path, 10).unwrap());
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(Store::open(&path, 10).unwrap_err().to_string().contains("locked"));
    other.execute_batch("ROLLBACK").unwrap();
    assert!(Store::open(&path, 10).is_ok() && intact());
    // The folder of the locks is private, and something else of its name does not prevent that.
    let (store, locks) = (Store::open(&path, 10).unwrap(), path.with_extension("runs"));
    std::fs::write(&locks, "a file").unwrap();
    let held = store.lease(RunId::new(1, 1)).await.unwrap();
    use std::os::unix::fs::PermissionsExt;
    assert_eq!((held.is_some(), std::fs::metadata(&locks).unwrap().permissions().mode() & 0o777), (true, 0o700));
    mode(&locks, 0o777);
    drop(store.lease(RunId::new(2, 2)).await.unwrap());
    assert_eq!(std::fs::metadata(&locks).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn damage_that_shows_at_the_first_entry_of_a_run_does_not_prevent_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = Store::open(&path, 10).unwrap();
    let one = RunId::new(1, 1);
    append(&store, one, [began("w")]).await.unwrap();
    // Damage that the check at the start cannot have seen.
    Connection::open(&path).unwrap().execute_batch("DROP TABLE run_entries").unwrap();
    let two = RunId::new(2, 2);
    store.append(two, Seq(0), Arc::new([began("w")])).await.unwrap();
    assert!(store.load(two).await.unwrap().is_some() && store.load(one).await.unwrap().is_none());
    assert_eq!(store.take_set_aside().len(), 1);
    // A run under way is not continued in a database that does not know its beginning.
    Connection::open(&path).unwrap().execute_batch("DROP TABLE run_entries").unwrap();
    assert!(store.append(two, Seq(1), Arc::new([ended()])).await.is_err());
    assert!(store.take_set_aside().is_empty());
    assert!(store.note_call(call(1), SecretRegistry::default()));
}

#[tokio::test]
async fn runs_of_an_older_version_are_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let (one, two) = (RunId::new(1, 1), RunId::new(2, 2));
    let old = Connection::open(&path).unwrap();
    schema::as_of(&old, 1).unwrap();
    // Written by turns, the later run first.
    for (run, seq, entry) in
        [(two, 1, began("b")), (one, 1, began("a")), (two, 2, ended()), (one, 2, RunEntry::Resumed { unix_ms: 5, deadline_ms: None })]
    {
        let id = run.to_string();
        if seq == 1 {
            old.execute("INSERT INTO runs (run, workflow, started_ms) VALUES (?1, 'w', 3)", [&id]).unwrap();
        }
        let text = serde_json::to_string(&entry).unwrap();
        old.execute("INSERT INTO run_entries (run, seq, entry) VALUES (?1, ?2, ?3)", rusqlite::params![id, seq, text]).unwrap();
    }
    drop(old);
    let store = Store::open(&path, 0).unwrap();
    append(&store, one, [ended()]).await.unwrap();
    let three = RunId::new(3, 3);
    append(&store, three, [began("c")]).await.unwrap();
    let of = async |run| store.load(run).await.unwrap().unwrap().entries;
    assert_eq!(of(one).await, [began("a"), RunEntry::Resumed { unix_ms: 5, deadline_ms: None }, ended()]);
    assert_eq!(of(two).await, [began("b"), ended()]);
    assert_eq!(of(three).await, [began("c")]);
    let version = store.read(|connection| Ok(connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))?));
    assert_eq!(version.await.unwrap(), schema::VERSION);
}

#[tokio::test]
async fn runs_of_one_plan_share_its_texts_and_the_last_one_takes_them_along() {
    let (dir, store) = store(10);
    let count = |what: &'static str| store.read(move |connection| Ok(connection.query_row(what, [], |row| row.get::<_, i64>(0))?));
    for number in 0..3 {
        append(&store, RunId::new(number, 0), [began("w")]).await.unwrap();
        assert_eq!(store.load(RunId::new(number, 0)).await.unwrap().unwrap().entries, [began("w")]);
    }
    assert_eq!(count("SELECT count(*) FROM plans").await.unwrap(), 1);
    assert_eq!(count("SELECT count(*) FROM run_entries WHERE entry LIKE '%name = %'").await.unwrap(), 0, "no entry repeats the text");
    let other = Connection::open(dir.path().join("store.db")).unwrap();
    for left in [1, 1, 0] {
        other.execute("DELETE FROM runs WHERE run = (SELECT min(run) FROM runs)", []).unwrap();
        assert_eq!(count("SELECT count(*) FROM plans").await.unwrap(), left);
    }
}

#[tokio::test]
async fn a_run_or_body_of_a_newer_version_is_refused_by_its_number() {
    let (dir, store) = store(10);
    let run = RunId::new(1, 1);
    append(&store, run, [began("w"), ended()]).await.unwrap();
    let change = Connection::open(dir.path().join("store.db")).unwrap();
    for (newer, back, what) in [
        ("UPDATE runs SET format = 3", "UPDATE runs SET format = 2", "format 3"),
        ("UPDATE run_entries SET codec = 2 WHERE id % 2 = 0", "UPDATE run_entries SET codec = 0", "codec 2"),
        ("UPDATE plans SET codec = 1", "UPDATE plans SET codec = 0", "codec 1"),
    ] {
        change.execute(newer, []).unwrap();
        let error = store.load(run).await.unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("newer version"), "{error}");
        change.execute(back, []).unwrap();
        assert_eq!(store.load(run).await.unwrap().unwrap().entries.len(), 2);
    }
    assert!(store.note_call(call(1), SecretRegistry::default()));
    store.flush().await.unwrap();
    change.execute("UPDATE calls SET codec = 1", []).unwrap();
    assert!(store.calls(10, vec![]).await.unwrap_err().to_string().contains("codec 1"));
}

/// A run as format 1 has it in the file, the texts of its workflow in the first entry.
const GOLDEN: [&str; 2] = [
    r#"{"entry":"began","spec":{"workflow":"w","sources":[{"name":"w","file":"w.toml","text":"name = \"w\""}],"input":"{\"n\":1.50}","origin":"cli"},"unix_ms":1700000000000}"#,
    r#"{"entry":"resumed","unix_ms":5}"#,
];

#[tokio::test]
async fn a_run_of_format_1_is_read_and_continued() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let run = RunId::new(1, 1);
    let old = Connection::open(&path).unwrap();
    schema::as_of(&old, 5).unwrap();
    old.execute("INSERT INTO runs (number, run, workflow, started_ms) VALUES (1, ?1, 'w', 3)", [run.to_string()]).unwrap();
    for (seq, entry) in GOLDEN.iter().enumerate() {
        old.execute("INSERT INTO run_entries (id, entry) VALUES (?1, ?2)", rusqlite::params![16_777_217 + seq as i64, entry]).unwrap();
    }
    drop(old);
    let store = Store::open(&path, 0).unwrap();
    store.append(run, Seq(2), Arc::new([ended()])).await.unwrap();
    let record = store.load(run).await.unwrap().unwrap();
    assert_eq!(record.entries[1..], [RunEntry::Resumed { unix_ms: 5, deadline_ms: None }, ended()]);
    assert_eq!((record.spec().unwrap().sources[0].text.as_str(), record.deadline_ms()), ("name = \"w\"", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_waits_for_another_program_that_writes() {
    let (dir, store) = store(10);
    let (run, other) = (RunId::new(1, 1), Connection::open(dir.path().join("store.db")).unwrap());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writing = {
        let store = store.clone();
        tokio::spawn(async move { append(&store, run, [began("w")]).await })
    };
    // It cannot be there before the other is done, however long that takes.
    tokio::task::yield_now().await;
    assert!(store.load(run).await.unwrap().is_none());
    other.execute_batch("COMMIT").unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(store.load(run).await.unwrap().unwrap().entries, [began("w")]);
}

#[test]
fn many_programs_create_the_database_simultaneously() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Store::open(&path, 0).map(drop))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    }
}
