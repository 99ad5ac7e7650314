//! What other commands see and may do of a run in each of its states.

use super::*;

/// A step that succeeds and has a compensation, and one that hangs.
const HANGS: &str = r#"
    name = "hangs"
    [[step]]
    id = "create"
    tool = "database_create_user"
    arguments = { email = "kim@example.com", name = "Kim" }
    compensate = { tool = "database_delete_user", arguments = { userId = "{{ result.userId }}" } }
    [[step]]
    id = "hang"
    needs = ["create"]
    tool = "flaky_configure"
    arguments = { mode = "hang" }
    [[step]]
    id = "charge"
    needs = ["hang"]
    idempotent = true
    tool = "flaky_charge"
    # A new server fails one call in ten.
    retry = { attempts = 12, backoff = "1ms" }
    arguments = { amount = 5, currency = "EUR", reference = "x" }
"#;

#[test]
fn a_run_of_a_living_process_is_active_and_belongs_to_it() {
    let home = Home::new();
    home.configured();
    home.workflow("hangs.toml", HANGS);
    let Started { mut child, lines: _lines, run } = Started::by(&mut home.at_home(&["run", "hangs", "--yes"]));
    home.wait_for_sending(&run, "charge");
    let shown = home.own(&["runs", "show", &run, "--json"]).ends(0).json();
    assert_eq!((&shown["state"], &shown["in_doubt"]), (&json!("active"), &json!([])), "{shown}");
    let text = home.own(&["runs", "show", &run]).ends(0);
    assert!(text.out.contains("active") && !text.out.contains("resume"), "{}", text.out);
    assert!(home.own(&["runs"]).ends(0).out.contains("active"));
    for command in ["resume", "undo"] {
        home.own(&["runs", command, &run]).ends(2).says("is active in another process");
    }
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let shown = home.own(&["runs", "show", &run, "--json"]).ends(0).json();
    assert_eq!((&shown["state"], &shown["in_doubt"][0]["step"]), (&json!("interrupted"), &json!("charge")), "{shown}");
    // Of two processes that resume the run, one gets it; the other one is refused, or finds that it has ended.
    let mut pair: Vec<_> = (0..2)
        .map(|_| Doomed(home.at_home(&["runs", "resume", &run]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()))
        .collect();
    let ends: Vec<(Option<i32>, String)> = pair
        .iter_mut()
        .map(|child| {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut child.0.stderr.take().unwrap(), &mut text).unwrap();
            (child.0.wait().unwrap().code(), text)
        })
        .collect();
    let won = ends.iter().filter(|(code, text)| *code == Some(0) && !text.contains("already ended")).count();
    let refused = |(code, text): &&(Option<i32>, String)| {
        (*code == Some(2) && text.contains("active in another process")) || (*code == Some(0) && text.contains("already ended"))
    };
    assert_eq!((won, ends.iter().filter(refused).count()), (1, 1), "{ends:#?}");
    // A run that succeeded can be undone.
    home.own(&["runs", "undo", &run]).ends(8).says("create");
}

#[test]
fn a_run_is_undone_in_every_state() {
    let home = Home::new();
    home.configured();
    home.own(&["runs", "undo", "0123456789abcdef0123456789abcdef"]).ends(2).says("no run");
    home.own(&["runs", "undo", "ffff"]).ends(2).says("no run");
    home.own(&["runs", "undo", "not-an-id"]).ends(2).says("no run");
    // A run that waits for an approval.
    let waits = HANGS.split("[[step]]").take(2).collect::<Vec<_>>().join("[[step]]").replace("hangs", "waits")
        + "\n[[step]]\nid = \"sure\"\nneeds = [\"create\"]\napprove = \"Really?\"\n";
    home.workflow("waits.toml", &waits);
    let waiting = home.own(&["run", "waits", "--yes"]).ends(11);
    let run = waiting.err.strip_prefix("run ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    home.own(&["runs", "undo", &run]).ends(8);
    // What is undone is not undone again.
    home.own(&["runs", "undo", &run]).ends(8);
    let calls = home.own(&["calls", "--json"]).ends(0).json();
    let undone = calls["calls"].as_array().unwrap().iter().filter(|call| call["name"] == "database_delete_user").count();
    assert_eq!(undone, 1, "{calls}");
    let shown = home.own(&["runs", "show", &run, "--json"]).ends(0).json();
    assert_eq!((&shown["state"], &shown["outcome"], &shown["compensated"]), (&json!("ended"), &json!("compensated"), &json!(["create"])));
    // It is not resumed after that.
    home.own(&["runs", "resume", &run, "--approve", "sure"]).says("already ended");
}
