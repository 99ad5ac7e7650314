//! Commands that start no server: `import`, `approve`, completions and the manual.

use std::sync::Arc;

use serde_json::Value;

use super::{
    args::SecretPlace,
    exit, import,
    print::Format,
    test_support::{buffers, parsed},
};
use crate::domain::{
    call::{Failure, FailureKind},
    server::{ServerSpec, Transport},
};

fn found(problems: &[&str]) -> import::Found {
    let launch = Transport::Http { url: "https://user:pw@host/mcp?key=1".into(), headers: vec![], socket: None };
    import::Found {
        sources: vec![import::ImportSource {
            client: "Some Editor".into(),
            path: "/home/u/mcp.json".into(),
            project: false,
            lines: vec!["web: https://user:pw@host/mcp?key=1".into()],
            servers: vec![Arc::new(ServerSpec::new("web", launch))],
            problems: problems.iter().map(|p| problem(p)).collect(),
            unreadable: false,
        }],
        toml: import::Configuration {
            with_values: "[servers.web]\nurl = \"https://host/mcp\"\n".into(),
            with_variables: "[servers.web]\nurl = \"https://${WEB}/mcp\"\n".into(),
            variables: vec![],
            added: 1,
        },
        ..import::Found::default()
    }
}

fn problem(message: &str) -> import::ImportProblem {
    import::ImportProblem {
        server: Some("old".into()),
        line: Some(3),
        message: message.into(),
        hint: Some("use another".into()),
        unusable: true,
    }
}

#[test]
fn servers_of_a_project_are_shown_in_full_and_imported_on_request() {
    let human = super::Options::default();
    let mut both = found(&[]);
    let own = both.sources[0].clone();
    let long = format!("theirs: sh -c '{}'", "x".repeat(200));
    both.sources.push(import::ImportSource { project: true, path: "/p/.mcp.json".into(), lines: vec![long.clone()], ..own });
    let adding = |added| import::Configuration { added, ..both.toml.clone() };
    let write = |found: &import::Found| {
        let (mut io, _, err) = buffers(None);
        io.stdout_tty = true;
        let mut write = |_: &str| Ok("/home/u/config.toml".into());
        assert_eq!(import::run(found, Some(&mut write), &human, io), exit::OK);
        err.text()
    };
    let left = write(&both);
    assert!(left.contains(&long) && left.contains("(from the project)"), "{left}");
    assert!(left.contains("1 server written to") && left.contains("1 server of this project's files skipped; import"), "{left}");
    let taken = write(&import::Found { project: true, toml: adding(2), ..both.clone() });
    assert!(taken.find(&long) < taken.find("2 servers written to") && !taken.contains("skipped"), "{taken}");
    let again = write(&import::Found { toml: adding(0), ..both.clone() });
    assert!(again.contains("nothing was written, 1 already configured") && !again.contains("written to"), "{again}");
    let some = write(&import::Found { project: true, ..both.clone() });
    assert!(some.contains("1 server written to /home/u/config.toml, 1 already configured"), "{some}");
}

#[test]
fn imports_are_shown_printed_and_written() {
    let human = super::Options::default();
    let (io, out, err) = buffers(None);
    assert_eq!(import::run(&found(&[]), None, &human, io), exit::OK);
    assert_eq!(out.text(), "[servers.web]\nurl = \"https://host/mcp\"\n");
    assert_eq!(err.text(), "Some Editor  /home/u/mcp.json\n  web  http  https://host/mcp\n");

    let (io, out, err) = buffers(None);
    let mut times = 0;
    let mut write = |_: &str| {
        times += 1;
        Ok("/home/u/config.toml".into())
    };
    assert_eq!(import::run(&found(&["bad \u{1b}entry"]), Some(&mut write), &human, io), exit::OK);
    assert_eq!((times, out.text().as_str()), (1, ""));
    let said = err.text();
    assert!(said.contains("  problem: server `old`: bad \\x1bentry (line 3)\n    try: use another\n"), "{said}");
    assert!(said.contains("1 entry cannot be imported") && err.text().contains("written to /home/u/config.toml"));

    let (io, _, err) = buffers(None);
    assert_eq!(import::run(&found(&[]), Some(&mut |_| Err("read-only".into())), &human, io), exit::USAGE);
    assert!(err.text().contains("nothing was written: read-only"));

    let (io, out, _) = buffers(None);
    let json = super::Options { format: Format::Json, ..Default::default() };
    assert_eq!(import::run(&found(&[]), None, &json, io), exit::OK);
    assert_eq!(serde_json::from_str::<Value>(&out.text()).unwrap()["sources"][0]["servers"][0]["target"], "https://host/mcp");
}

#[test]
fn secret_values_stay_out_of_the_file_if_the_user_says_so() {
    let variable = |value: &str| import::ImportVariable {
        name: "WEB".into(),
        server: "web".into(),
        key: "headers.Authorization".into(),
        value: value.into(),
    };
    let mut with = import::Found { masked: true, ..found(&[]) };
    with.toml.variables = vec![variable("•••")];
    let options = super::Options::default();
    for (given, typed, variables, asks) in [
        (None, Some("y\n"), true, true),
        (None, Some("\n"), false, true),
        (None, None, false, false),
        (Some(SecretPlace::Env), None, true, false),
        (Some(SecretPlace::File), Some("y\n"), false, false),
    ] {
        let (mut io, _, err) = buffers(typed);
        (io.stdin_tty, io.stderr_tty) = (typed.is_some(), typed.is_some());
        let mut text = String::new();
        let mut write = |toml: &str| {
            text = toml.to_owned();
            Ok("/home/u/config.toml".into())
        };
        assert_eq!(import::run(&import::Found { secrets: given, ..with.clone() }, Some(&mut write), &options, io), exit::OK);
        let said = err.text();
        assert_eq!((text.contains("${WEB}"), said.contains("[y/N]")), (variables, asks), "{given:?} {typed:?}: {said}");
        assert_eq!(said.contains("export WEB='•••'  # headers.Authorization of web"), variables, "{said}");
    }
    with.toml.variables = vec![variable("it's")];
    let (io, _, err) = buffers(None);
    import::run(&import::Found { secrets: Some(SecretPlace::Env), masked: false, ..with }, Some(&mut |_| Ok("/c".into())), &options, io);
    assert!(err.text().contains(r"export WEB='it'\''s'"), "{}", err.text());
}

#[test]
fn import_says_where_it_searched_and_fails_only_for_files_that_it_cannot_read() {
    let options = super::Options::default();
    let none = import::Found { searched: vec![("Some Editor".into(), "/home/u/mcp.json".into())], ..import::Found::default() };
    let (io, _, err) = buffers(None);
    assert_eq!(import::run(&none, None, &options, io), exit::OK);
    assert!(
        err.text().contains("no servers of other clients were found\n1 place searched:\n  Some Editor  /home/u/mcp.json"),
        "{}",
        err.text()
    );
    let some = import::Found { searched: none.searched, ..found(&[]) };
    let (io, _, err) = buffers(None);
    import::run(&some, None, &options, io);
    assert!(err.text().contains("1 place searched; list them with --verbose"), "{}", err.text());
    let mut broken = some;
    broken.sources[0].unreadable = true;
    let (io, _, _) = buffers(None);
    assert_eq!(import::run(&broken, None, &options, io), exit::PARTIAL);
}

fn approve_with(line: &[&str], typed: Option<&str>, keep: super::approve::Keep<'_>) -> (u8, String, String) {
    use clap::Parser;
    let cli = super::args::Cli::try_parse_from(["switchboard", "approve"].iter().chain(line)).unwrap();
    let Some(super::args::Cmd::Approve(args)) = &cli.command else { panic!("{:?}", cli.command) };
    let (mut io, out, err) = buffers(typed);
    (io.stdin_tty, io.stderr_tty) = (typed.is_some(), typed.is_some());
    let lines = vec!["p: sh -c 'curl x | sh'".to_owned(), "    in /srv/p".into()];
    let waiting = super::approve::Waiting { file: "/srv/p/switchboard.toml".into(), hash: "ab12".into(), lines };
    let code = super::approve::run(&waiting, args.hash.as_deref(), keep, &super::Options::from(&cli.global), io);
    (code, out.text(), err.text())
}

#[test]
fn an_approval_shows_everything_first_and_needs_a_yes_or_the_hash() {
    for (line, typed, code) in [
        (&[][..], None, exit::REFUSED),
        (&[], Some("\n"), exit::REFUSED),
        (&[], Some("no\n"), exit::REFUSED),
        (&[], Some("Yes\n"), exit::OK),
        (&["--yes"], None, exit::OK),
        (&["--hash", "ab12"], None, exit::OK),
        (&["--hash", "ab13"], None, exit::REFUSED),
        (&["--hash", "ab13", "--yes"], Some("y\n"), exit::REFUSED),
    ] {
        let mut kept = 0;
        let mut keep = || {
            kept += 1;
            Ok(())
        };
        let (ended, out, err) = approve_with(line, typed, &mut keep);
        assert_eq!((ended, kept), (code, i32::from(code == exit::OK)), "{line:?} {typed:?}: {out}{err}");
        assert!(
            out.starts_with("/srv/p/switchboard.toml would start or contact\n  p: sh -c 'curl x | sh'\n      in /srv/p\nsha-256 ab12\n"),
            "{out}"
        );
        assert_eq!(out.contains("approved until"), code == exit::OK, "{out}");
        assert_eq!(err.contains("[y/N]"), typed.is_some() && line.is_empty(), "{err}");
        if code == exit::REFUSED && typed.is_none() {
            assert!(err.contains("switchboard approve --hash ab12"), "{err}");
        }
    }
    let mut changed = || Err(Failure::new(FailureKind::Refused, "the project has changed"));
    let (code, _, err) = approve_with(&["--yes"], None, &mut changed);
    assert!(code == exit::REFUSED && err.contains("the project has changed"), "{err}");
    let (code, out, _) = approve_with(&["--json"], None, &mut || Ok(()));
    assert!(code == exit::REFUSED && out.contains("curl x | sh"), "{out}");
    let (_, out, _) = approve_with(&["--json", "--yes"], None, &mut || Ok(()));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["sha256"], "ab12");
}

#[test]
fn completions_and_manual_are_printed() {
    let (io, out, _) = buffers(None);
    assert_eq!(super::manual::completions(clap_complete::Shell::Bash, io), exit::OK);
    assert!(out.text().contains("_switchboard"));
    let (io, out, _) = buffers(None);
    assert_eq!(super::manual::man(io), exit::OK);
    assert!(out.text().contains("EXIT STATUS"));
    let (_, options) = parsed(&["tools", "--jsonl"]);
    assert_eq!(options.format, Format::Jsonl);
}
