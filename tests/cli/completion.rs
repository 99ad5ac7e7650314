//! Completion of values in shells: from a running engine, and from the store without starting a server.

use super::*;

/// A shell that runs a completion script: its name, and a script that completes the words of `LINE` and prints what it found.
const SHELLS: [(&str, &str); 3] = [
    (
        "bash",
        r#"source "$SCRIPT"; COMP_WORDS=($LINE); [[ "$LINE" == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
           _switchboard_values switchboard "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf '%s\n' "${COMPREPLY[@]}""#,
    ),
    ("fish", r#"source $SCRIPT; complete -C "$LINE""#),
    // The functions of its completion system work within a line editor only.
    (
        "zsh",
        r#"compdef() { true }; _describe() { print -l ${(P)3} }; compadd() { print -l ${(P)4} }; source "$SCRIPT"
           words=(${(z)LINE}); [[ $LINE == *" " ]] && words+=(""); CURRENT=$#words; _switchboard"#,
    ),
];

impl Home {
    /// Returns the values for the last word of a line, by the hidden command.
    fn values(&self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let index = (words.len() - 1).to_string();
        let ran = self.run(&[&["__complete", &index, "--"], words.as_slice()].concat());
        ran.out.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }
}

#[test]
fn values_come_from_the_running_engine() {
    let home = Home::new();
    home.run(&["up", "work", "-d", "--demo", "--server", "database"]).ends(0);
    home.run(&["tools", "--via", "work"]).ends(0);
    assert!(home.values("switchboard call --via work database_q").contains(&"database_query_users".to_owned()));
    assert_eq!(home.values("switchboard tools --via work --server da"), ["database"]);
    assert_eq!(home.values("switchboard attach w"), ["work"]);
    assert!(home.values("switchboard call --via work database_query_users ").contains(&"role=".to_owned()));
    home.run(&["down", "work"]).ends(0);
    assert_eq!(home.values("switchboard call --via work database_q"), Vec::<String>::new());
}

#[test]
fn values_come_from_the_last_known_lists_without_starting_a_server() {
    let home = Home::new();
    let started = home.path().join("started");
    let program = env!("CARGO_BIN_EXE_switchboard");
    let server = format!("echo x >> {}; exec {program} demo-server database --dir {}", started.display(), home.path().display());
    let config = format!("[servers.db]\ncommand = \"sh\"\nargs = [\"-c\", {}]\n", json!(server));
    std::fs::write(home.path().join("c.toml"), config).unwrap();
    assert_eq!(home.values("switchboard --config c.toml call db_"), Vec::<String>::new());
    home.run(&["--config", "c.toml", "tools"]).ends(0).prints("db_query_users");
    let starts = || std::fs::read_to_string(&started).unwrap().lines().count();
    let before = starts();
    assert!(home.values("switchboard --config c.toml call db_q").contains(&"db_query_users".to_owned()));
    assert_eq!(home.values("switchboard --config c.toml disable "), ["db"]);
    assert!(home.values("switchboard install cur").contains(&"cursor".to_owned()));
    assert_eq!(starts(), before, "no server was started");

    let folder = Path::new(env!("CARGO_BIN_EXE_switchboard")).parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let mut tried = vec![];
    for (shell, script) in SHELLS {
        let file = home.path().join(format!("complete.{shell}"));
        std::fs::write(&file, home.run(&["completions", shell]).ends(0).out).unwrap();
        let mut command = Command::new(shell);
        command.args(["-c", script]).env_clear().env("SCRIPT", &file).env("LINE", "switchboard --config c.toml call db_q");
        command.env("PATH", &path).env("HOME", home.path()).current_dir(home.path()).stdin(Stdio::null());
        let Ok(ran) = command.output() else { continue };
        let out = String::from_utf8_lossy(&ran.stdout);
        assert!(out.contains("db_query_users"), "{shell}: {out} {}", String::from_utf8_lossy(&ran.stderr));
        tried.push(shell);
    }
    assert!(tried.contains(&"bash"), "{tried:?}");
}
