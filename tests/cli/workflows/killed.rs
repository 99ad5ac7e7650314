//! Runs of a program that is killed, and their resumption from the journal.

use std::os::unix::process::ExitStatusExt;

use super::*;

#[test]
fn a_killed_run_resumes_with_resolutions_of_its_in_doubt_steps() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "pay.toml",
        r#"
        name = "pay"
        [[step]]
        id = "create"
        tool = "database_create_user"
        arguments = { email = "kim@example.com", name = "Kim" }
        [[step]]
        id = "hang"
        needs = ["create"]
        tool = "flaky_configure"
        arguments = { mode = "hang" }
        [[step]]
        id = "charge"
        needs = ["hang"]
        tool = "flaky_charge"
        arguments = { amount = 5, currency = "EUR", reference = "x" }
        [[step]]
        id = "found"
        tool = "database_query_users"
        needs = ["charge"]
        arguments = { limit = 100 }
        [output]
        user = "{{ steps.create.result.userId }}"
        kims = "{{ steps.found.result.users | selectattr('name', 'eq', 'Kim') | list | length }}"
        charge = "{{ steps.charge.result.chargeId }}"
        "#,
    );
    let Started { mut child, mut lines, run } = Started::by(&mut home.at_home(&["run", "pay"]));
    assert!(lines.any(|line| line.contains("running") && line.contains("charge")), "the third step begins");
    home.wait_for_sending(&run, "charge");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child.0), rustix::process::Signal::KILL).unwrap();
    child.0.wait().unwrap();
    home.own(&["run", "--resume", &run]).ends(10).says("--repeat charge").says("in doubt");
    // A test can also be created from a run that has not ended.
    let made = home.own(&["workflow", "test-from-run", &run]).ends(0);
    assert!(!made.err.contains("the result differs") && made.out.contains("# The run was interrupted"), "{}\n{}", made.err, made.out);
    assert!(made.out.contains("charge = { cancel = \"program\" }") && made.out.contains("outcome = \"in_doubt\""), "{}", made.out);
    home.workflow("pay.test.toml", &made.out);
    home.own(&["workflow", "test"]).ends(0);
    let resume = ["run", "--resume", &run];
    home.own(&[&resume[..], &["--repeat", "chrage"]].concat())
        .ends(2)
        .says("no step that calls a tool `chrage`")
        .says("did you mean `charge`?");
    home.own(&[&resume[..], &["--skip", "x={}"]].concat()).ends(2).says("available: create, hang, charge, found");
    home.own(&[&resume[..], &["--repeat", "charge[0]"]].concat()).ends(2).says("neither for_each nor repeat");
    home.own(&[&resume[..], &["--approve", "charge"]].concat()).ends(2).says("no step that asks for approval");
    // A resolution of a step that is not in doubt is refused.
    home.own(&[&resume[..], &["--repeat", "create"]].concat())
        .ends(2)
        .says("--repeat: `create` is not in doubt")
        .says("it has ended (ok)")
        .says("in doubt: charge; remove the others");
    home.own(&[&resume[..], &["--repeat", "charge", "--skip", "found={}"]].concat())
        .ends(2)
        .says("--skip: `found` is not in doubt")
        .says("nothing was sent for it yet");
    home.own(&[&resume[..], &["--repeat", "charge", "--skip", "charge={}"]].concat()).ends(2).says("two different resolutions");
    let ended = home.own(&["run", "--resume", &run, "--skip", "charge={\"chargeId\":\"c_1\"}"]).ends(0).json();
    assert_eq!((&ended["kims"], &ended["charge"]), (&json!(1), &json!("c_1")), "no step is repeated: {ended}");
    // By the end of its id, and that it has ended is said.
    home.own(&["run", "--resume", &run[20..]]).ends(0).says("the run has already ended");
    home.own(&[&resume[..], &["--repeat", "charge"]].concat()).ends(2).says("it has ended (ok)").says("the run has ended");
}

/// Six steps, each of which uses the result of the previous one and writes a record. Those with odd numbers are idempotent.
const SIX: &str = r#"
    name = "six"
    [input]
    key = "string"
    [[step]]
    id = "s1"
    idempotent = true
    tool = "database_insert_record"
    arguments = { table = "{{ input.key }}_1", record = { by = "six" } }
    [[step]]
    id = "s2"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s1.result.table }}2", record = { by = "six" } }
    [[step]]
    id = "s3"
    idempotent = true
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s2.result.table }}3", record = { by = "six" } }
    [[step]]
    id = "s4"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s3.result.table }}4", record = { by = "six" } }
    [[step]]
    id = "s5"
    idempotent = true
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s4.result.table }}5", record = { by = "six" } }
    [[step]]
    id = "s6"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s5.result.table }}6", record = { by = "six" } }
    [output]
    last = "{{ steps.s6.result.table }}"
"#;

/// Entries in the journal of a run of [`SIX`]: the start, two for each step, the end.
const ENTRIES: usize = 14;

/// Returns the number of entries when the program is killed at this one: the end of a step (odd) and the next entry (even),
/// a request or the end of the run, are written atomically.
fn entries_before(write: usize) -> usize {
    if write <= 2 { write - 1 } else { (write - 1) / 2 * 2 }
}

impl Home {
    /// Returns the number of entries of a run in the journal.
    fn entries(&self, run: &str) -> usize {
        self.in_journal(run, |record| Some(record.map_or(0, |record| record.entries.len())))
    }

    /// Returns how often each of `steps` wrote a record, according to the server's file.
    fn made(&self, key: &str, steps: usize, end: &str) -> Vec<i64> {
        let records: HashMap<String, i64> = demo::records(&self.path().join("state")).unwrap();
        let count = |step: usize| records.get(&format!("{key}_{}{end}", &"123456"[..step])).copied().unwrap_or(0);
        (1..=steps).map(count).collect()
    }

    /// Runs a workflow in a program that dies while it writes an entry of the journal; returns the run's id.
    fn killed_at(&self, workflow: &str, key: &str, write: usize) -> String {
        let mut command = self.at_home(&["run", workflow, &format!("key={key}")]);
        command.env("SWITCHBOARD_KILL_AT_ENTRY", write.to_string());
        let Started { mut child, lines, run } = Started::by(&mut command);
        let rest: Vec<String> = lines.collect();
        let status = child.0.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "not killed at write {write}: {status}\n{}", rest.join("\n"));
        assert_eq!(self.entries(&run), entries_before(write), "what was being written is not there");
        run
    }
}

fn states(ran: &Value) -> Vec<Value> {
    ran["steps"].as_array().unwrap().iter().map(|step| step["state"].clone()).collect()
}

#[test]
fn a_program_killed_at_any_write_of_its_journal_ends_the_run_equally() {
    let home = Home::new();
    home.configured();
    home.workflow("six.toml", SIX);
    let whole = home.own(&["run", "six", "key=k0", "--json"]).ends(0).json();
    assert_eq!(home.entries(whole["run"].as_str().unwrap()), ENTRIES);
    let made = |key: &str| home.made(key, 6, "");
    assert_eq!(made("k0"), [1; 6]);
    for write in 1..=ENTRIES {
        let key = format!("k{write}");
        let run = home.killed_at("six", &key, write);
        if write == 1 {
            home.own(&["run", "--resume", &run]).ends(2).says("no run");
            assert_eq!(made(&key), [0; 6]);
            continue;
        }
        // The last request had an effect that was not recorded.
        let done = (write - 1) / 2;
        let doubt = (write > 2).then_some(done);
        assert_eq!(made(&key), (1..=6).map(|step| i64::from(step <= done)).collect::<Vec<_>>(), "killed at write {write}");
        let mut expected = vec![1; 6];
        let mut line = vec!["run".to_owned(), "--resume".into(), run.clone(), "--json".into()];
        match doubt {
            // The author declares it idempotent.
            Some(step) if step % 2 == 1 => expected[step - 1] = 2,
            Some(step) => {
                let words: Vec<&str> = line.iter().map(String::as_str).collect();
                home.own(&words).ends(10);
                if step == 2 {
                    expected[step - 1] = 2;
                    line.extend(["--repeat".to_owned(), format!("s{step}")]);
                } else {
                    line.extend(["--skip".to_owned(), format!("s{step}={{\"table\":\"{key}_{}\"}}", &"123456"[..step])]);
                }
            }
            None => {}
        }
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        let ended = home.own(&words).ends(0).json();
        assert_eq!((&ended["outcome"], states(&ended)), (&whole["outcome"], states(&whole)), "killed at write {write}: {ended}");
        assert_eq!(ended["output"]["last"], json!(format!("{key}_123456")), "killed at write {write}");
        assert_eq!(made(&key), expected, "a settled step was repeated: killed at write {write}");
    }
}

/// Five steps that write a record, each with a compensation, and one that fails.
const UNDONE: &str = r#"
    name = "undone"
    on_error = "compensate"
    [input]
    key = "string"
    [[step]]
    id = "s1"
    tool = "database_insert_record"
    arguments = { table = "{{ input.key }}_1", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s2"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s1.result.table }}2", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s3"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s2.result.table }}3", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s4"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s3.result.table }}4", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s5"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s4.result.table }}5", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s6"
    needs = ["s5"]
    tool = "database_get_user_profile"
    arguments = { userId = "u_999999" }
"#;

#[test]
fn a_program_killed_at_any_write_of_a_compensation_compensates_the_rest_once() {
    let home = Home::new();
    home.configured();
    home.workflow("undone.toml", UNDONE);
    let whole = home.own(&["run", "undone", "key=k0", "--json"]).ends(8).json();
    assert_eq!(whole["compensated"], json!(["s5", "s4", "s3", "s2", "s1"]), "{whole}");
    // The start, two entries for each step and each compensation, the end.
    let entries = 24;
    assert_eq!(home.entries(whole["run"].as_str().unwrap()), entries);
    // From the failure of the last step.
    for write in 13..=entries {
        let key = format!("k{write}");
        let run = home.killed_at("undone", &key, write);
        let line = ["run", "--resume", &run, "--json"];
        // The failure of the sixth step, then the compensations of the fifth, the fourth, …
        let step = 6 - (write - 13) / 2;
        // A request had an effect that was not recorded.
        home.own(&line).ends(10);
        let ended = home.own(&[&line[..], &["--repeat", &format!("s{step}")]].concat()).ends(8).json();
        assert_eq!((&ended["outcome"], states(&ended)), (&whole["outcome"], states(&whole)), "killed at write {write}: {ended}");
        assert_eq!((&ended["compensated"], &ended["not_compensated"]), (&whole["compensated"], &json!([])), "killed at write {write}");
        assert_eq!(home.made(&key, 5, ""), [1; 5], "killed at write {write}");
        let mut expected = vec![1; 5];
        if step < 6 {
            expected[step - 1] = 2;
        }
        assert_eq!(home.made(&key, 5, "u"), expected, "killed at write {write}");
    }
}
