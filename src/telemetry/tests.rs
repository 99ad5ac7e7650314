use std::{fs, os::unix::fs::PermissionsExt};

use tracing::{debug, error, info, subscriber::with_default, warn};

use super::*;
use crate::domain::secret::MASK;

struct Place {
    dir: tempfile::TempDir,
    log: Log,
}

impl Place {
    fn new(bytes: u64) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(&dir.path().join("own.log"), bytes).unwrap();
        Place { dir, log }
    }

    /// Logs as `write` does, and returns the files.
    fn logged(&self, filter: &str, write: impl FnOnce()) -> String {
        with_default(self.log.subscriber(&LogFilter::parse(filter).unwrap()), write);
        // More than enough, so that a slow machine does not fail.
        self.log.0.as_ref().unwrap().flush(Duration::from_secs(30));
        let read = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        read("own.log.1") + &read("own.log")
    }
}

#[test]
fn a_line_has_time_level_process_target_message_and_fields() {
    let place = Place::new(FILE_BYTES);
    let logged = place.logged("info", || {
        info!(target: "switchboard::call", server = "db", number = 7, none = None::<u64>, text = "two \"words\"", "call ended");
        debug!(target: "switchboard::call", "below the level");
        warn!(target: "hyper", "of a library");
        info!(target: "hyper", "below its level");
    });
    let lines: Vec<&str> = logged.lines().collect();
    assert_eq!(lines.len(), 2, "{logged}");
    let rest = format!(" INFO  {} switchboard::call: call ended server=db number=7 text=\"two \\\"words\\\"\"", std::process::id());
    assert!(lines[0].ends_with(&rest) && lines[0].starts_with("20") && lines[0].len() == rest.len() + 24, "{logged}");
    assert!(lines[1].ends_with("hyper: of a library"), "{logged}");
    let mode = fs::metadata(place.log.path().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn secrets_are_masked_also_those_learned_later_and_a_line_stays_one_line() {
    let place = Place::new(FILE_BYTES);
    let (one, two) = (SecretRegistry::default(), SecretRegistry::default());
    one.learn([Secret::literal("first-secret")]);
    place.log.mask(&one);
    place.log.mask(&two);
    let logged = place.logged("info", || {
        info!(target: "switchboard::test", value = "a first-secret b", "in the message: first-secret");
        two.learn([Secret::literal("second\nsecret"), Secret::literal("third-secret")]);
        warn!(target: "switchboard::test", value = ?"x second\nsecret y", other = "second\nsecret", "{}", "third-secret\n\u{1b}[2J\u{202e}x");
        error!(target: "switchboard::test", long = format!("{}third-secret", "x".repeat(2045)), "cut");
    });
    assert_eq!(logged.lines().count(), 3, "{logged}");
    for secret in ["first-secret", "second", "third"] {
        assert!(!logged.contains(secret), "{secret}: {logged}");
    }
    assert!(logged.contains(&format!("value=\"a {MASK} b\"")) && logged.contains(&format!("{MASK}\\n\\x1b[2J\\u{{202e}}x")), "{logged}");
}

#[test]
fn a_flood_is_bounded_in_size_and_counted() {
    let flood = || (0..2000).for_each(|number| info!(target: "switchboard::test", number, text = "x".repeat(500), "flood"));
    let small = Place::new(8 << 10).logged("info", flood);
    assert!(small.len() <= 16 << 10 && small.len() > 4 << 10, "{}", small.len());
    let logged = Place::new(FILE_BYTES).logged("info", flood);
    assert!(logged.contains("switchboard::log: lines were dropped count="), "{}", logged.len());
    let errors = || (0..100).for_each(|_| error!(target: "switchboard::test", text = "x".repeat(100_000), "flood"));
    let logged = Place::new(FILE_BYTES).logged("info", errors);
    assert!(logged.len() <= 2 << 20 && logged.lines().all(|line| line.len() < 4096), "{}", logged.len());
}

#[test]
fn the_log_that_is_off_has_no_file() {
    assert_eq!(Log::default().path(), None);
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/null", dir.path().join("link")).unwrap();
    for wrong in ["link", "", "missing/own.log"] {
        assert!(Log::open(&dir.path().join(wrong), FILE_BYTES).is_err(), "{wrong}");
    }
}
