//! The log of the program: what is in it, where it is, and when there is none.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use super::{Home, Ran};

impl Home {
    fn logging(&self, filter: &str, line: &[&str]) -> Ran {
        let mut command = self.command(&[&["--demo", "--server", "database"], line].concat());
        command.env("SWITCHBOARD_STATE_DIR", self.path().join(".state"));
        Ran::of(line, command.env("SWITCHBOARD_LOG", filter).output().unwrap())
    }

    fn log(&self) -> PathBuf {
        self.path().join(".state/log/switchboard.log")
    }
}

#[test]
fn the_log_has_what_a_bug_report_needs_and_no_arguments_or_results() {
    let home = Home::new();
    home.logging("", &["call", "database_query_users", "role=admin"]).ends(0);
    let log = fs::read_to_string(home.log()).unwrap();
    for part in [
        "switchboard::process: started version=",
        "arguments=\"--demo --server database call database_query_users role=…\"",
        "switchboard::server: added server=database transport=stdio launch=",
        "switchboard::server: connected server=database",
        "switchboard::server: lists read server=database tools=",
        "method=tools/call name=query_users outcome=ok duration_ms=",
        "switchboard::process: stopping the servers code=0",
        "switchboard::process: ended code=0",
    ] {
        assert!(log.contains(part), "{part} is not in\n{log}");
    }
    assert!(!log.contains("admin") && !log.contains("@"), "{log}");
    let modes = [home.log(), home.path().join(".state/log")].map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
    assert_eq!(modes, [0o600, 0o700]);
    let doctor = home.logging("warn", &["doctor"]).ends(0);
    assert!(doctor.out.contains(&format!("log: {}", home.log().display())), "{}", doctor.out);
    assert_eq!(fs::read_to_string(home.log()).unwrap(), log, "nothing to warn of");
}

#[test]
fn the_log_can_be_off_elsewhere_or_impossible() {
    let home = Home::new();
    let tools = ["tools"];
    assert_eq!(home.logging("off", &tools).ends(0).err, "");
    assert!(!home.path().join(".state/log").exists());
    home.logging("info", &["tools", "--log-file", "own.log"]).ends(0);
    assert!(fs::read_to_string(home.path().join("own.log")).unwrap().contains("ended code=0") && !home.log().exists());
    let invalid = home.logging("debgu", &tools).ends(0);
    assert!(invalid.err.starts_with("warning: SWITCHBOARD_LOG: \"debgu\" is neither a level nor TARGET=LEVEL"), "{}", invalid.err);
    assert!(fs::read_to_string(home.log()).unwrap().contains("debgu"));
    let refused = home.logging("info", &["tools", "--log-file", "/dev/null"]).ends(0);
    assert!(refused.err.contains("warning: the log cannot be written: /dev/null: is not a file"), "{}", refused.err);
}
