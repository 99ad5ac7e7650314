//! Running engines: `up`, `ps`, `down`, `--via`, and what a killed engine leaves.

use super::*;

/// Longer than any wait needs; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine in the background, which is ended with the test.
struct Up<'h> {
    home: &'h Home,
    name: &'static str,
}

impl Home {
    fn up<'h>(&'h self, name: &'static str, more: &[&str]) -> Up<'h> {
        let mut line = vec!["up", name, "-d"];
        line.extend(more);
        self.run(&line).ends(0).says(&format!("engine {name} is running"));
        Up { home: self, name }
    }

    fn instances(&self) -> Vec<Value> {
        self.run(&["ps", "--json"]).ends(0).json()["instances"].as_array().unwrap().clone()
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let ended = self.home.command(&["down", self.name]).output().unwrap();
        assert!(ended.status.success() || std::thread::panicking(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn commands_share_the_state_of_a_running_engine() {
    let home = Home::new();
    let up = home.up("work", &["--demo", "--server", "database"]);
    let listed = home.instances();
    assert_eq!((&listed[0]["name"], &listed[0]["servers"]), (&json!("work"), &json!(1)), "{listed:?}");
    home.run(&["ps"]).ends(0).prints("work");
    // The servers are those of the engine: this home has none.
    let called = home.run(&["call", "--via", "work", "database_query_users", "--json"]).ends(0).json();
    assert_eq!((&called["via"], &called["outcome"]), (&json!("work"), &json!("ok")), "{called}");
    // An override outlives the command that made it.
    home.run(&["call", "--via", "work", "--breaker", "database=trip", "database_query_users"]).ends(3).says("breaker");
    home.run(&["call", "--via", "work", "database_query_users"]).ends(3).says("breaker");
    home.run(&["call", "--via", "work", "--breaker", "database=reset", "database_query_users"]).ends(0);
    home.run(&["servers", "--via", "work"]).ends(0).prints("database");
    home.run(&["call", "--via", "other", "database_query_users"]).ends(3).says("no engine named other is running; running: work");
    drop(up);
    assert_eq!(home.instances(), Vec::<Value>::new());
    home.run(&["call", "--via", "work", "database_query_users"]).ends(3).says("no engine named work is running");
    home.run(&["down"]).ends(3).says("no instance is running");
}

#[test]
fn breakers_and_faults_of_a_running_engine_are_operated_from_the_command_line() {
    let home = Home::new();
    let _up = home.up("work", &["--demo", "--server", "database"]);
    let state = |line: &[&str]| {
        home.run(&[&["breaker", "--via", "work", "--json", "database"], line].concat()).ends(0).json()["breakers"][0].clone()
    };
    assert_eq!(state(&[])["state"], "closed");
    assert_eq!(state(&["open"])["state"], "open");
    home.run(&["call", "--via", "work", "database_query_users"]).ends(3).says("breaker");
    let held = state(&["hold-open"]);
    assert_eq!((&held["state"], &held["held"]), (&json!("open"), &json!(true)));
    assert_eq!(state(&["close"])["state"], "closed");
    home.run(&["call", "--via", "work", "database_query_users"]).ends(0);
    let faults =
        |line: &[&str]| home.run(&[&["fault", "--via", "work", "--json", "database"], line].concat()).ends(0).json()["faults"].clone();
    assert_eq!(faults(&["fail=1"]), json!([{"type": "fault", "server": "database", "tool": null, "fault": "100 % fail"}]));
    home.run(&["call", "--via", "work", "database_query_users"]).ends(4);
    assert_eq!(faults(&["--off"]), json!([]));
    home.run(&["breaker", "--via", "work", "databse", "open"]).ends(2).says("database");
    home.run(&["breaker", "--demo", "--server", "database", "database", "open"]).ends(2).says("--via");
}

#[test]
fn the_engine_of_a_gateway_is_an_instance() {
    let home = Home::new();
    let start = |line: &[&str]| {
        let mut client = serve::Client::of(home.command(&[&["serve", "--demo", "--server", "database"], line].concat()));
        client.initialize(json!({}));
        client
    };
    let closed = start(&["--control", "off"]);
    assert_eq!(home.instances(), Vec::<Value>::new());
    closed.end();
    let client = start(&["--name", "agent"]);
    let listed = home.instances();
    assert_eq!((&listed[0]["name"], &listed[0]["faces"]), (&json!("agent"), &json!(["stdio"])), "{listed:?}");
    home.run(&["call", "--via", "agent", "database_query_users"]).ends(0);
    // The name in the user's configuration has the same effect, but not on servers of the command line.
    let config = home.path().join("via.toml");
    std::fs::write(&config, "[client]\nvia = \"agent\"\n").unwrap();
    let config = config.to_str().unwrap();
    let called = home.run(&["call", "--config", config, "database_query_users", "--json"]).ends(0).json();
    assert_eq!(called["via"], "agent", "{called}");
    let own = home.run(&["call", "--demo", "--server", "database", "database_query_users", "--json"]).ends(0).json();
    assert_eq!(own.get("via"), None, "{own}");
    home.run(&["call", "--via", "agent", "--breaker", "database=trip", "database_query_users"]).ends(3);
    client.end();
    assert_eq!(home.instances(), Vec::<Value>::new());
    let observed = start(&["--control", "read-only"]);
    let name = home.instances()[0]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("serve-"), "{name}");
    home.run(&["call", "--via", &name, "database_query_users"]).says("read-only");
    observed.end();
}

#[test]
fn auto_uses_an_engine_with_the_same_servers_only() {
    let home = Home::new();
    home.configured();
    let line = ["call", "--via", "auto", "database_query_users", "--json"];
    assert_eq!(home.run(&line).ends(0).json()["via"], Value::Null);
    let _up = home.up("work", &[]);
    assert_eq!(home.run(&line).ends(0).json()["via"], "work");
    let config = home.path().join(".config/switchboard/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    // Another file than the engine's: the running engine reads its own again when it changes.
    let other = home.path().join("other.toml");
    std::fs::write(&other, text.replacen("[servers.database]\n", "[servers.database]\ntrusted = true\n", 1)).unwrap();
    let other = other.display().to_string();
    let line = ["--config", &other, "call", "--via", "auto", "database_query_users", "--json"];
    assert_eq!(home.run(&line).ends(0).json()["via"], Value::Null);
}

#[test]
fn a_name_is_taken_once_and_names_are_checked() {
    let home = Home::new();
    let _up = home.up("work", &["--demo", "--server", "database"]);
    home.run(&["up", "work", "--demo"]).ends(3).says("an engine named work is running (pid ");
    home.run(&["up", "work", "-d", "--demo"]).ends(3).says("an engine named work is running (pid ");
    home.run(&["up", "../x", "--demo"]).ends(2).says("is invalid");
    let _other = home.up("other", &["--demo", "--server", "database"]);
    home.run(&["down"]).ends(2).says("several instances are running; running: other, work");
}

#[test]
fn a_read_only_engine_shows_and_changes_nothing() {
    let home = Home::new();
    let _up = home.up("work", &["--demo", "--server", "database", "--control", "read-only"]);
    home.run(&["servers", "--via", "work"]).ends(0).prints("database");
    home.run(&["call", "--via", "work", "database_query_users"]).ends(6).says("read-only");
}

#[test]
fn an_engine_that_was_killed_at_any_moment_of_its_start_is_no_obstacle() {
    let home = Home::new();
    for moment in 0..25_u64 {
        let mut child = home.command(&["up", "work", "--demo", "--server", "database"]).stderr(Stdio::piped()).spawn().unwrap();
        // From before the lock to after the socket is bound.
        let stderr = child.stderr.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let (sender, ready) = mpsc::channel();
        let reader =
            std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let _ = ready.recv_timeout(Duration::from_millis(moment * 8));
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert!(wait_for(child, PATIENCE).is_some());
        let _ = reader.join();
    }
    let _up = home.up("work", &["--demo", "--server", "database"]);
    assert_eq!(home.instances().len(), 1);
    // The folder of the demo's state is left by a killed process.
    for left in std::fs::read_dir(home.path().join("tmp")).unwrap() {
        let _ = std::fs::remove_dir_all(left.unwrap().path());
    }
}

#[test]
fn an_engine_whose_state_folder_is_removed_ends() {
    let home = Home::new();
    let child = home.command(&["up", "work", "--demo", "--server", "database"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = child;
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    while !line.contains("engine work is running") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the engine ended");
    }
    std::fs::remove_dir_all(home.path().join(".local/state/switchboard")).unwrap();
    let ended = wait_for(child, PATIENCE).expect("the engine ends");
    assert!(ended.success(), "{ended}");
}
