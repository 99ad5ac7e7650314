//! Tests of questions of servers, and of the approval of a project.

use super::*;

#[test]
fn a_question_opens_unrequested_but_never_takes_letters() {
    let mut harness = Harness::busy(120, 40);
    harness.tool("queryu").text("an");
    harness.event(test_support::ask(1)).text("n");
    assert!(harness.model.dialogs.is_empty() && harness.frame().contains("Question from email · F3 to answer"), "{}", harness.frame());
    // The key that is named is the one that works here.
    harness.keys("f3");
    let frame = harness.frame();
    assert!(frame.contains("email, during email_send_email") && frame.contains("Really send it?"), "{frame}");
    harness.text("yes").keys("ctrl-s");
    let [Cmd::Command(Command::Answer { answer: Answer::Accept { content }, .. })] = &harness.take()[..] else { panic!("no answer") };
    assert_eq!(content, &Body::from(r#"{"confirm":"yes"}"#));
    harness.event(EventKind::AskClosed { ask: AskId(1), how: AskEnd::Answered });
    assert!(harness.model.dialogs.is_empty(), "an answered question leaves");

    // The badge is a button.
    let mut typing = Harness::busy(120, 40);
    typing.tool("queryu").text("an").event(test_support::ask(1)).click("1 question");
    assert!(typing.model.dialogs.top_as::<Inbox>().is_some(), "{}", typing.frame());

    let mut idle = Harness::busy(120, 40);
    idle.event(test_support::ask(1));
    assert!(idle.model.dialogs.top_as::<Inbox>().is_some());
    // A key typed for something else declines nothing.
    idle.keys("alt-d");
    assert_eq!(idle.take(), []);
    idle.model.at(test_support::at(9000));
    idle.keys("alt-d");
    assert!(matches!(&idle.take()[..], [Cmd::Command(Command::Answer { answer: Answer::Decline, .. })]));
}

#[test]
fn the_inbox_shows_the_keys_that_do_something_and_always_the_way_out() {
    let row = |harness: &mut Harness| harness.frame().lines().find(|l| l.contains("⏎ answer")).map(str::to_owned).unwrap_or_default();
    let mut harness = Harness::busy(80, 24);
    harness.event(test_support::ask(1));
    let shown = row(&mut harness);
    for word in ["address", "file", "next"] {
        assert!(!shown.contains(word), "{word} in {shown}");
    }
    assert!(shown.contains("Alt-d decline") && shown.contains("Esc back"), "{shown}");
    harness.event(test_support::ask(2));
    assert!(row(&mut harness).contains("Ctrl-t next   Esc back"), "{}", harness.frame());
    // Several questions.
    let params = r#"{"messages":[{"role":"user","content":{"type":"text","text":"Sum up."}}],"maxTokens":200}"#;
    open(&mut harness, Question::Sampling { params: Body::from(params) });
    harness.keys("ctrl-t ctrl-t");
    let shown = row(&mut harness);
    assert!(shown.contains("from a file") && shown.contains("Esc back"), "{}", harness.frame());
}

#[test]
fn an_answer_that_violates_the_requested_schema_is_sent_with_a_key_of_its_own() {
    let mut harness = Harness::new(120, 40);
    let schema = Body::from(r#"{"type":"object","properties":{"n":{"type":"integer","maximum":9}},"required":["n"]}"#);
    let question = Question::Form { message: "How many?".into(), schema };
    open(&mut harness, question);
    harness.keys("1 2 enter");
    assert_eq!(harness.take(), [], "{}", harness.frame());
    harness.keys("alt-s");
    let answer = Answer::Accept { content: Body::from(r#"{"n":12}"#) };
    assert_eq!(harness.take(), [Cmd::Command(Command::Answer { ask: AskId(3), answer })]);
    harness.event(EventKind::AskClosed { ask: AskId(3), how: AskEnd::Answered });
    assert!(harness.frame().contains("Answer sent unchecked: n: "), "{}", harness.frame());
}

/// Opens a question with this schema.
fn question(harness: &mut Harness, schema: &str) {
    open(harness, Question::Form { message: "How should we notify you?".into(), schema: Body::from(schema) });
}

/// Opens a question in the inbox.
fn open(harness: &mut Harness, question: Question) {
    harness.event(test_support::asked(3, None, question));
    harness.model.dialogs.clear();
    harness.keys("i");
}

#[test]
fn a_multi_select_question_is_answered_with_a_check_list() {
    let schema = r#"{"type":"object","properties":{"channels":{"type":"array","title":"Channels","minItems":1,
        "items":{"anyOf":[{"const":"mail","title":"E-mail"},{"const":"sms","title":"Text message"},{"const":"push","title":"Push"}]}}},
        "required":["channels"]}"#;
    let answer = |content: &str| {
        let answer = Answer::Accept { content: Body::from(content) };
        [Cmd::Command(Command::Answer { ask: AskId(3), answer })]
    };
    let mut harness = Harness::new(80, 24);
    question(&mut harness, schema);
    let frame = harness.frame();
    assert!(frame.contains("[ ] E-mail   Space check") && frame.contains("[ ] Push") && frame.contains("any of ≥ 1"), "{frame}");
    harness.keys("enter");
    assert_eq!(harness.take(), [], "one is needed");
    assert!(harness.frame().contains("✕ required"), "{}", harness.frame());
    harness.keys("space down down space enter");
    assert_eq!(harness.take(), answer(r#"{"channels":["mail","push"]}"#), "{}", harness.frame());

    let mut mouse = Harness::new(80, 24);
    question(&mut mouse, schema);
    mouse.click("[ ] Text message").click("[ ] E-mail").click("[x] Text message").keys("ctrl-s");
    assert_eq!(mouse.take(), answer(r#"{"channels":["mail"]}"#), "{}", mouse.frame());
}

#[test]
fn an_answer_in_the_wrong_format_is_not_sent() {
    let cases = [
        ("email", "notanemail", "not an email address, such as name@example.com", "a@b.org"),
        ("uri", "example.com", "not a URI with a scheme, such as https://example.com/page", "https://example.com"),
        ("date", "2026-02-30", "not a date, such as 2026-11-30", "2026-02-28"),
        ("date-time", "2026-11-30 18:00", "not a date and time with a time zone", "2026-11-30T18:00:00Z"),
    ];
    for (format, wrong, message, right) in cases {
        let mut harness = Harness::new(80, 24);
        let schema = format!(r#"{{"type":"object","properties":{{"v":{{"type":"string","format":"{format}"}}}},"required":["v"]}}"#);
        question(&mut harness, &schema);
        harness.text(wrong).keys("enter");
        assert_eq!(harness.take(), [], "{format}");
        assert!(harness.frame().contains(message), "{}", harness.frame());
        harness.keys("ctrl-u").text(right).keys("enter");
        let content = Body::from(format!(r#"{{"v":"{right}"}}"#));
        let answer = Answer::Accept { content };
        assert_eq!(harness.take(), [Cmd::Command(Command::Answer { ask: AskId(3), answer })], "{}", harness.frame());
    }
}

#[test]
fn many_calls_of_one_that_asks_are_answered() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").keys("esc F").keys("enter");
    assert!(harness.model.dialogs.top_as::<Burst>().is_some(), "{}", harness.frame());
    harness.event(test_support::ask(1));
    assert!(harness.model.dialogs.top_as::<Inbox>().is_some(), "{}", harness.frame());
}

#[test]
fn a_url_is_shown_in_full_and_opened_only_by_its_key() {
    let mut harness = Harness::busy(120, 40);
    let url = "https://login.example/oauth?state=abc";
    let question = Question::Url { message: "Sign in".into(), url: url.into() };
    harness.event(test_support::asked(9, None, question));
    assert!(harness.frame().contains(url));
    assert_eq!(harness.take(), []);
    assert_eq!(harness.keys("o").take(), [Cmd::OpenUrl(url.into())]);
}

#[test]
fn a_projects_file_is_approved_by_its_hash() {
    let prompt = ApprovalPrompt { path: ".mcp.json".into(), lines: vec!["npx \u{1b}[2J".into()], hash: "abc123".into() };
    let mut harness = Harness::with(120, 40, test_support::shop_state(), Startup::Approval(prompt));
    let frame = harness.frame();
    assert!(frame.contains("abc123") && frame.contains(r"npx \x1b[2J"), "{frame}");
    harness.keys("enter esc");
    assert_eq!(harness.take(), [], "neither is an answer");
    assert_eq!(harness.keys("a").take(), [Cmd::Request(WorkspaceRequest::Approve("abc123".into()))]);
}

#[test]
fn a_changed_project_file_asks_again_but_not_during_typing() {
    let prompt = |hash: &str| ApprovalPrompt { path: "switchboard.toml".into(), lines: vec![format!("run-{hash}")], hash: hash.into() };
    let changed = |hash: &str| Msg::Update(ConsoleUpdate::Approval(Some(prompt(hash))));
    let mut harness = Harness::new(120, 40);
    harness.keys("/");
    harness.send(changed("one"));
    harness.keys("a");
    assert_eq!(harness.take(), [], "a letter of the filter approves nothing");
    assert!(!harness.frame().contains("run-one"));
    harness.keys("esc esc");
    assert!(harness.frame().contains("run-one"), "{}", harness.frame());
    // It changes again while the dialog is open.
    harness.send(changed("two"));
    let frame = harness.frame();
    assert!(frame.contains("run-two") && !frame.contains("run-one"), "{frame}");
    assert!(!frame.contains("approve"), "a key without an effect is not shown: {frame}");
    assert_eq!(harness.keys("a n a").take(), [], "keys typed ahead answer nothing");
    harness.model.at(test_support::at(8499));
    assert_eq!(harness.keys("a").take(), [], "each of them restarts the wait");
    harness.model.at(test_support::at(9000));
    assert!(harness.frame().contains("approve"), "{}", harness.frame());
    assert_eq!(harness.keys("a").take(), [Cmd::Request(WorkspaceRequest::Approve("two".into()))]);
    // Approved elsewhere, or withdrawn.
    harness.send(changed("three"));
    harness.send(Msg::Update(ConsoleUpdate::Approval(None)));
    assert!(!harness.frame().contains("run-three"), "{}", harness.frame());
}

#[test]
fn a_rejected_project_is_asked_about_again_only_on_request() {
    let prompt = |hash: &str| ApprovalPrompt { path: "switchboard.toml".into(), lines: vec![format!("run-{hash}")], hash: hash.into() };
    let mut harness = Harness::with(120, 40, test_support::shop_state(), Startup::Approval(prompt("one")));
    assert_eq!(harness.keys("n").take(), [Cmd::Request(WorkspaceRequest::Reject)]);
    let frame = harness.frame();
    assert!(
        frame.contains("Project not approved") && frame.contains("A shows the approval again") && !frame.contains("run-one"),
        "{frame}"
    );
    // It changes, perhaps so that the user is asked once more.
    harness.send(Msg::Update(ConsoleUpdate::Approval(Some(prompt("two")))));
    assert!(!harness.frame().contains("run-two"), "{}", harness.frame());
    harness.keys("A");
    assert!(harness.frame().contains("run-two"), "{}", harness.frame());
    // A dialog ignores keys in its first half second.
    harness.model.at(test_support::at(60_000));
    assert_eq!(harness.keys("a").take(), [Cmd::Request(WorkspaceRequest::Approve("two".into()))]);
    harness.keys("A");
    assert!(harness.frame().contains("No project waits"), "{}", harness.frame());
}
