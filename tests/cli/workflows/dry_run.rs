//! Dry runs from the command line.

use super::*;

#[test]
fn a_dry_run_knows_the_servers_and_the_environment() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "wrong.toml",
        "name = \"wrong\"\n[[step]]\nid = \"a\"\ntool = \"database_create_usr\"\narguments = { email = \"a@b.c\" }\n",
    );
    home.own(&["run", "--dry-run", "wrong"]).ends(2).says("database_create_usr");
    home.workflow(
        "right.toml",
        "name = \"right\"\nenv = [\"PATH\"]\n[[step]]\nid = \"a\"\ntool = \"database_create_user\"\narguments = { email = \"a@b.c\", name = \"{{ env.PATH }}\" }\n",
    );
    let ran = home.own(&["run", "--dry-run", "right", "--json"]).ends(0).json();
    assert_eq!(ran["steps"][0]["known"], true, "{ran}");
}

#[test]
fn a_dry_run_shows_every_call_and_makes_none() {
    let home = Home::new();
    let ran = home.run(&["--demo", "run", "--dry-run", "onboard_new_user", "email=a@example.com", "name=Ann", "--json"]).ends(0).json();
    let first = &ran["steps"][0];
    assert_eq!((&first["step"], &first["server"], &first["known"]), (&json!("create_user"), &json!("database"), &json!(true)));
    assert_eq!(first["arguments"], json!({"email": "a@example.com", "name": "Ann", "role": "viewer"}));
    assert_eq!(ran["steps"][1]["known"], false);
    home.run(&["--demo", "run", "--dry-run", "onboard_new_user", "email=a@example.com", "name=Ann"])
        .ends(0)
        .says("dry run: no call was made");
}

#[test]
fn a_dry_run_follows_items_conditions_and_workflows_within() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "inner.toml",
        r#"
        name = "inner"
        [input]
        email = "string"
        [[step]]
        id = "make"
        tool = "database_create_user"
        arguments = { email = "{{ input.email }}", name = "New" }
        compensate = { tool = "database_delete_user", arguments = { userId = "{{ result.userId }}" } }
        "#,
    );
    home.workflow(
        "outer.toml",
        r#"
        name = "outer"
        [input]
        to = "string[]"
        pay = { type = "boolean", default = false }
        [[step]]
        id = "sure"
        approve = "Make {{ input.to | length }} users?"
        [[step]]
        id = "users"
        needs = ["sure"]
        workflow = "inner"
        for_each = "{{ input.to }}"
        arguments = { email = "{{ item }}" }
        [[step]]
        id = "quote"
        when = "input.pay"
        tool = "flaky_quote"
        arguments = { amount = 1, currency = "USD", to = "EUR" }
        [[step]]
        id = "charge"
        needs = ["quote"]
        tool = "flaky_charge"
        arguments = { amount = 5, currency = "EUR", reference = "{{ run.id }}" }
        [[step.fallback]]
        tool = "database_insert_record"
        arguments = { table = "later", record = { to = "{{ input.to }}" } }
        [[step.fallback]]
        value = { chargeId = "none" }
        "#,
    );
    let line = ["run", "--dry-run", "outer", "to:=[\"a@b.c\",\"d@e.f\"]"];
    let dry = home.own(&[&line[..], &["--json"]].concat()).ends(0).json();
    let steps = &dry["steps"];
    assert_eq!((&steps[0]["asks"], &steps[0]["known"]), (&json!("Make 2 users?"), &json!(true)), "{dry}");
    let made = &steps[1]["items"][1]["steps"][0];
    assert_eq!((&steps[1]["total"], &steps[1]["items"][1]["item"]), (&json!(2), &json!("d@e.f")), "{dry}");
    assert_eq!(
        (&made["step"], &made["arguments"]["email"], &made["server"]),
        (&json!("users[1]/make"), &json!("d@e.f"), &json!("database"))
    );
    let undo =
        json!({"tool": "database_delete_user", "server": "database", "arguments": {"userId": "{{ result.userId }}"}, "known": false});
    assert_eq!(made["compensation"], undo, "{dry}");
    assert_eq!((&steps[2]["runs"], &steps[2]["skipped"]), (&json!(false), &json!("when: input.pay")), "{dry}");
    assert_eq!((&steps[3]["runs"], &steps[3]["skipped"]), (&json!(false), &json!("`quote` is skipped")), "{dry}");
    assert!(steps[3].get("arguments").is_none(), "what is skipped sends nothing: {dry}");
    let dry = home.own(&[&line[..], &["pay=true", "--json"]].concat()).ends(0).json();
    let charge = &dry["steps"][3];
    assert_eq!((&charge["runs"], &charge["known"]), (&json!(true), &json!(false)), "{dry}");
    assert_eq!(charge["fallback"][0]["arguments"]["record"]["to"], json!(["a@b.c", "d@e.f"]), "{dry}");
    assert_eq!(charge["fallback"][1], json!({"value": {"chargeId": "none"}, "known": true}), "{dry}");
    let text = home.own(&line).ends(0).says("dry run: no call was made").out;
    for words in [
        "sure  approve",
        "    asks: Make 2 users?",
        "users  workflow inner  for each of 2 items",
        "  users[1]\n      {\"email\":\"d@e.f\"}\n      users[1]/make  tool database_create_user  of database",
        "compensation: database_delete_user of database  {\"userId\":\"{{ result.userId }}\"}",
        "quote  tool flaky_quote  of flaky  skipped: when: input.pay",
    ] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    let text = home.own(&[&line[..], &["pay=true"]].concat()).ends(0).out;
    assert!(text.contains("fallback: database_insert_record of database  {\"table\":\"later\""), "{text}");
    assert!(text.contains("fallback value: {\"chargeId\":\"none\"}"), "{text}");
}
