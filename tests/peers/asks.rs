//! Questions of real servers, answered from the inbox and by policy.

use switchboard::{
    control::Command,
    domain::{
        ask::{Answer, Ask, AskPolicy, Question},
        body::Body,
        id::CallId,
        server::Root,
    },
};

use crate::{
    packages::{self, HttpServer},
    support::{Rig, failure_of, text_of},
};

/// Waits until a tool is listed that the server offers only to some clients, then calls it.
async fn submit(rig: &Rig, server: &str, tool: &str, arguments: &str) -> CallId {
    rig.until(tool, |w| w.server(&server.into()).is_some_and(|s| s.phase.usable() && s.catalog.tool(tool).is_some())).await;
    rig.submit(server, tool, arguments)
}

/// The question that the server asks during `call`. It asks for the roots unprompted.
async fn asked(rig: &Rig, call: CallId) -> Ask {
    let wanted = |a: &Ask| a.call == Some(call) && a.question != Question::Roots;
    let read_model = rig.until("a question", |w| w.asks.iter().any(|a| wanted(a))).await;
    read_model.asks.iter().find(|a| wanted(a)).map(|a| Ask::clone(a)).unwrap()
}

fn whole(settled: &switchboard::domain::event::Settled) -> String {
    settled.outcome.result().map(|r| r.text().into_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_accepted_declined_and_cancelled_over_both_transports() {
    let server = HttpServer::start().await;
    let rig = Rig::start(vec![packages::everything(), packages::remote(&server.url())]);
    let content = Body::from(r#"{"name":"Ada","check":true,"integer":7}"#);
    for id in ["everything", "remote"] {
        for (answer, expected) in [
            (Answer::Accept { content: content.clone() }, "Name: Ada"),
            (Answer::Decline, "User declined to provide"),
            (Answer::Cancel, "User cancelled the elicitation"),
        ] {
            let call = submit(&rig, id, "trigger-elicitation-request", "{}").await;
            let ask = asked(&rig, call).await;
            let Question::Form { message, schema } = &ask.question else { panic!("{:?}", ask.question) };
            assert_eq!(message, "Please provide inputs for the following fields:");
            let schema = schema.value().unwrap();
            assert_eq!((&schema["required"][0], &schema["properties"]["integer"]["maximum"]), (&"name".into(), &100.into()));
            rig.command(Command::Answer { ask: ask.id, answer });
            let settled = rig.settled(call).await;
            assert!(whole(&settled).contains(expected), "{id}: {:?}", settled.outcome);
        }
    }
    assert!(rig.read_model().asks.is_empty());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_to_open_is_shown_and_answered() {
    let rig = Rig::start(vec![packages::everything()]);
    for (answer, expected) in [
        (Answer::Accept { content: Body::default() }, "completed the URL"),
        (Answer::Decline, "declined to open"),
        (Answer::Cancel, "cancelled the URL"),
    ] {
        let arguments = r#"{"url":"https://example.com/login?a=b","message":"Sign in"}"#;
        let call = submit(&rig, "everything", "trigger-url-elicitation", arguments).await;
        let ask = asked(&rig, call).await;
        assert_eq!(ask.question, Question::Url { message: "Sign in".into(), url: "https://example.com/login?a=b".into() });
        rig.command(Command::Answer { ask: ask.id, answer });
        let settled = rig.settled(call).await;
        assert!(whole(&settled).contains(expected), "{:?}", settled.outcome);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_needs_a_page_first_is_sent_again_once_it_was_opened() {
    let rig = Rig::start(vec![packages::everything()]);
    let page = |url: &str| {
        let arguments = format!("{{\"url\":{url:?},\"errorPath\":true}}");
        let rig = &rig;
        async move { submit(rig, "everything", "trigger-url-elicitation", &arguments).await }
    };
    let url = |ask: &Ask| match &ask.question {
        Question::Url { url, .. } => url.clone(),
        other => panic!("{other:?}"),
    };
    let accept = || Answer::Accept { content: Body::default() };
    // Refused with error -32042, which names the page.
    let call = page("https://example.com/one").await;
    let first = asked(&rig, call).await;
    assert_eq!(url(&first), "https://modelcontextprotocol.io");
    rig.command(Command::Answer { ask: first.id, answer: accept() });
    rig.until("the second question", |w| w.asks.iter().any(|a| a.id != first.id && a.call == Some(call))).await;
    let second = asked(&rig, call).await;
    assert_eq!(url(&second), "https://example.com/one");
    rig.command(Command::Answer { ask: second.id, answer: accept() });
    let settled = rig.settled(call).await;
    assert!(whole(&settled).contains("completed the URL") && settled.rounds == 2, "{settled:?}");

    let call = page("https://example.com/two").await;
    let ask = asked(&rig, call).await;
    rig.command(Command::Answer { ask: ask.id, answer: Answer::Decline });
    let settled = rig.settled(call).await;
    let rpc = failure_of(&settled).rpc.clone().unwrap();
    assert_eq!(rpc.code, -32042, "{rpc:?}");
    assert!(rpc.data.unwrap().text().contains("https://modelcontextprotocol.io"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sampling_is_answered_from_the_inbox_and_declined() {
    let rig = Rig::start(vec![packages::everything()]);
    let call = submit(&rig, "everything", "trigger-sampling-request", r#"{"prompt":"write a poem","maxTokens":7}"#).await;
    let ask = asked(&rig, call).await;
    let Question::Sampling { params } = &ask.question else { panic!("{:?}", ask.question) };
    let params = params.value().unwrap();
    assert_eq!((&params["maxTokens"], &params["messages"][0]["role"]), (&7.into(), &"user".into()));
    let content = Body::from(r#"{"role":"assistant","model":"me","content":{"type":"text","text":"Roses are red"}}"#);
    rig.command(Command::Answer { ask: ask.id, answer: Answer::Accept { content } });
    let settled = rig.settled(call).await;
    assert!(text_of(&settled).contains("Roses are red"), "{}", text_of(&settled));

    let call = submit(&rig, "everything", "trigger-sampling-request", r#"{"prompt":"write a poem"}"#).await;
    let ask = asked(&rig, call).await;
    rig.command(Command::Answer { ask: ask.id, answer: Answer::Decline });
    let settled = rig.settled(call).await;
    assert!(text_of(&settled).contains("User rejected sampling request"), "{:?}", settled.outcome);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_given_up_takes_its_question_back() {
    let rig = Rig::start(vec![packages::everything()]);
    let call = submit(&rig, "everything", "trigger-elicitation-request", "{}").await;
    asked(&rig, call).await;
    rig.command(Command::Cancel { call, reason: "not needed any more".into() });
    rig.settled(call).await;
    rig.until("the question withdrawn", |w| w.asks.is_empty()).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_told_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().display().to_string();
    let mut told = packages::everything();
    told.roots = vec![Root { uri: "file:///srv/one".into(), name: Some("one".into()) }, Root { uri: "file:///srv/two".into(), name: None }];
    // Its allowed folders become its roots.
    let mut files = packages::filesystem("/");
    files.roots = vec![Root { uri: format!("file://{root}"), name: None }];
    let mut refused = packages::everything();
    (refused.id, refused.roots_policy) = ("refused".into(), AskPolicy::Decline);
    let rig = Rig::start(vec![told, files, refused]);

    let call = submit(&rig, "everything", "get-roots-list", "{}").await;
    let text = text_of(&*rig.settled(call).await);
    assert!(text.contains("2 total") && text.contains("1. one\n   URI: file:///srv/one") && text.contains("file:///srv/two"), "{text}");

    rig.until("the roots taken over", |w| {
        w.server(&"filesystem".into())
            .is_some_and(|s| s.stderr.iter().any(|(_, l)| l.contains("Updated allowed directories from MCP roots")))
    })
    .await;
    let (_, settled) = rig.call("filesystem", "list_allowed_directories", "{}").await;
    assert_eq!(text_of(&settled), format!("Allowed directories:\n{root}"));

    // Roots that are always refused are not declared, so the tool is not listed.
    let read_model = rig.ready("refused").await;
    let listed = read_model.server(&"refused".into()).unwrap().catalog.tool("get-roots-list").is_some();
    assert!(!listed, "the server sees that it cannot ask");
    rig.stop().await;
}
