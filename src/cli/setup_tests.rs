//! Commands that start no server: `import`, `approve`, completions and the manual.

use std::{path::PathBuf, sync::Arc};

use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    Options,
    args::{ImportArgs, SecretPlace},
    exit, import,
    print::{Format, Io},
    test_support::{buffers, parsed},
};
use crate::{
    control::{PendingWorkspaceReply, Workspace, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState},
    domain::{
        secret::Secret,
        server::{ServerSpec, Transport},
        workspace::{ApprovalPrompt, ImportPlan, ImportProblem, ImportSource, ImportVariable, ImportedConfig, SecretTarget},
    },
};

/// A workspace with fixed replies.
struct Scripted {
    state: WorkspaceState,
    plan: ImportPlan,
    written: Result<PathBuf, WorkspaceError>,
    approved: Result<(), WorkspaceError>,
    requests: Mutex<Vec<WorkspaceRequest>>,
}

impl Scripted {
    fn new(plan: ImportPlan) -> Scripted {
        let written = Ok("/home/u/config.toml".into());
        Scripted { state: WorkspaceState::default(), plan, written, approved: Ok(()), requests: Mutex::default() }
    }

    /// Returns the number of requests that change files.
    fn changes(&self) -> usize {
        let changes = |request: &&WorkspaceRequest| !matches!(request, WorkspaceRequest::Import { .. });
        self.requests.lock().iter().filter(changes).count()
    }
}

impl Workspace for Scripted {
    fn state(&self) -> watch::Receiver<WorkspaceState> {
        watch::Sender::new(self.state.clone()).subscribe()
    }

    fn request(&self, request: WorkspaceRequest) -> PendingWorkspaceReply {
        let reply = match &request {
            WorkspaceRequest::Import { project, .. } => {
                Ok(WorkspaceReply::Import(Box::new(ImportPlan { project: *project, ..self.plan.clone() })))
            }
            WorkspaceRequest::WriteImport { .. } => self.written.clone().map(WorkspaceReply::Written),
            WorkspaceRequest::Approve(_) => self.approved.clone().map(|()| WorkspaceReply::Done),
            _ => Err(WorkspaceError::Unavailable),
        };
        self.requests.lock().push(request);
        std::future::ready(reply).boxed()
    }
}

/// Returns the result of a command whose workspace never waits.
fn now<T>(command: impl Future<Output = T>) -> T {
    command.now_or_never().unwrap()
}

fn found(problems: &[&str]) -> ImportPlan {
    let launch = Transport::Http { url: "https://user:pw@host/mcp?key=1".into(), headers: vec![], socket: None };
    ImportPlan {
        sources: vec![ImportSource {
            client: "Some Editor".into(),
            path: "/home/u/mcp.json".into(),
            project: false,
            lines: vec!["web: https://user:pw@host/mcp?key=1".into()],
            servers: vec![Arc::new(ServerSpec::new("web", launch))],
            problems: problems.iter().map(|p| problem(p)).collect(),
            unreadable: false,
        }],
        toml: ImportedConfig {
            with_values: Secret::literal("[servers.web]\nurl = \"https://host/mcp\"\n"),
            with_variables: "[servers.web]\nurl = \"https://${WEB}/mcp\"\n".into(),
            with_keyring: None,
            variables: vec![],
            added: 1,
        },
        ..ImportPlan::default()
    }
}

fn problem(message: &str) -> ImportProblem {
    let (server, hint) = (Some("old".into()), Some("use another".into()));
    ImportProblem { server, line: Some(3), message: message.into(), hint, unusable: true }
}

fn run_import(workspace: &Scripted, args: &ImportArgs, options: &Options, io: Io) -> u8 {
    now(import::run(workspace, args, options, io))
}

fn writing() -> ImportArgs {
    ImportArgs { write: true, ..ImportArgs::default() }
}

#[test]
fn servers_of_a_project_are_shown_in_full_and_imported_on_request() {
    let mut both = found(&[]);
    let own = both.sources[0].clone();
    let long = format!("theirs: sh -c '{}'", "x".repeat(200));
    both.sources.push(ImportSource { project: true, path: "/p/.mcp.json".into(), lines: vec![long.clone()], ..own });
    let write = |added: usize, project: bool| {
        let (mut io, _, err) = buffers(None);
        io.stdout_tty = true;
        let workspace = Scripted::new(ImportPlan { toml: ImportedConfig { added, ..both.toml.clone() }, ..both.clone() });
        assert_eq!(run_import(&workspace, &ImportArgs { project, ..writing() }, &Options::default(), io), exit::OK);
        err.text()
    };
    let left = write(1, false);
    assert!(left.contains(&long) && left.contains("(from the project)"), "{left}");
    assert!(left.contains("1 server written to") && left.contains("1 server of this project's files skipped; import"), "{left}");
    let taken = write(2, true);
    assert!(taken.find(&long) < taken.find("2 servers written to") && !taken.contains("skipped"), "{taken}");
    let again = write(0, false);
    assert!(again.contains("nothing was written, 1 already configured") && !again.contains("written to"), "{again}");
    let some = write(1, true);
    assert!(some.contains("1 server written to /home/u/config.toml, 1 already configured"), "{some}");
}

#[test]
fn imports_are_shown_printed_and_written() {
    let (human, printing) = (Options::default(), ImportArgs::default());
    let (io, out, err) = buffers(None);
    assert_eq!(run_import(&Scripted::new(found(&[])), &printing, &human, io), exit::OK);
    assert_eq!(out.text(), "[servers.web]\nurl = \"https://host/mcp\"\n");
    assert_eq!(err.text(), "Some Editor  /home/u/mcp.json\n  web  http  https://host/mcp\n");

    let (io, out, err) = buffers(None);
    let workspace = Scripted::new(found(&["bad \u{1b}entry"]));
    assert_eq!(run_import(&workspace, &writing(), &human, io), exit::OK);
    assert_eq!((workspace.changes(), out.text().as_str()), (1, ""));
    let said = err.text();
    assert!(said.contains("  problem: server `old`: bad \\x1bentry (line 3)\n    try: use another\n"), "{said}");
    assert!(said.contains("1 entry cannot be imported") && said.contains("written to /home/u/config.toml"));

    let (io, _, err) = buffers(None);
    let unwritten = Err(WorkspaceError::NotWritten { why: "read-only".into() });
    assert_eq!(run_import(&Scripted { written: unwritten, ..Scripted::new(found(&[])) }, &writing(), &human, io), exit::USAGE);
    assert!(err.text().contains("nothing was written: read-only"));

    let (io, out, _) = buffers(None);
    let json = Options { format: Format::Json, ..Default::default() };
    assert_eq!(run_import(&Scripted::new(found(&[])), &printing, &json, io), exit::OK);
    assert_eq!(serde_json::from_str::<Value>(&out.text()).unwrap()["sources"][0]["servers"][0]["target"], "https://host/mcp");
}

#[test]
fn secret_values_stay_out_of_the_file_if_the_user_says_so() {
    let variable =
        |value: &str| ImportVariable { name: "WEB".into(), server: "web".into(), key: "headers.Authorization".into(), value: value.into() };
    let mut with = ImportPlan { masked: true, ..found(&[]) };
    with.toml.variables = vec![variable("•••")];
    let options = Options::default();
    let (file, env) = (SecretTarget::File, SecretTarget::Variables);
    for (secrets, typed, target, asks) in [
        (None, Some("y\n"), env, true),
        (None, Some("k\n"), file, true),
        (None, Some("\n"), file, true),
        (None, None, file, false),
        (Some(SecretPlace::Env), None, env, false),
        (Some(SecretPlace::File), Some("y\n"), file, false),
    ] {
        let (mut io, _, err) = buffers(typed);
        (io.stdin_tty, io.stderr_tty) = (typed.is_some(), typed.is_some());
        let workspace = Scripted::new(with.clone());
        assert_eq!(run_import(&workspace, &ImportArgs { secrets, ..writing() }, &options, io), exit::OK);
        let written = WorkspaceRequest::WriteImport { files: vec![], project: false, secrets: target };
        assert!(workspace.requests.lock().contains(&written), "{secrets:?} {typed:?}");
        let said = err.text();
        assert_eq!(said.contains("[y/N]"), asks, "{secrets:?} {typed:?}: {said}");
        assert_eq!(said.contains("export WEB='•••'  # headers.Authorization of web"), target == env, "{said}");
    }
    with.toml.variables = vec![variable("it's")];
    let (io, _, err) = buffers(None);
    let shown = Scripted::new(ImportPlan { masked: false, ..with });
    run_import(&shown, &ImportArgs { secrets: Some(SecretPlace::Env), ..writing() }, &options, io);
    assert!(err.text().contains(r"export WEB='it'\''s'"), "{}", err.text());
}

#[test]
fn secret_values_are_offered_to_the_keyring_where_there_is_one() {
    let variable =
        ImportVariable { name: "WEB".into(), server: "web".into(), key: "headers.Authorization".into(), value: "•••".into() };
    let without = ImportPlan { masked: true, toml: ImportedConfig { variables: vec![variable], ..found(&[]).toml }, ..found(&[]) };
    let mut with = without.clone();
    with.toml.with_keyring = Some("url = \"https://${keyring:WEB}/mcp\"\n".into());
    for (secrets, typed, target) in [
        (None, "k\n", SecretTarget::Keyring),
        (None, "v\n", SecretTarget::Variables),
        (None, "y\n", SecretTarget::File),
        (Some(SecretPlace::Keyring), "", SecretTarget::Keyring),
    ] {
        let (mut io, _, err) = buffers(Some(typed));
        (io.stdin_tty, io.stderr_tty) = (true, true);
        let workspace = Scripted::new(with.clone());
        assert_eq!(run_import(&workspace, &ImportArgs { secrets, ..writing() }, &Options::default(), io), exit::OK);
        let written = WorkspaceRequest::WriteImport { files: vec![], project: false, secrets: target };
        assert!(workspace.requests.lock().contains(&written), "{secrets:?} {typed:?}");
        let said = err.text();
        assert_eq!(said.contains("Store 1 secret value in the keyring [k]"), secrets.is_none(), "{said}");
        assert_eq!(said.contains("stored in the keyring: WEB"), target == SecretTarget::Keyring, "{said}");
    }
    let args = ImportArgs { secrets: Some(SecretPlace::Keyring), ..ImportArgs::default() };
    let (io, out, _) = buffers(None);
    assert_eq!(run_import(&Scripted::new(with), &args, &Options::default(), io), exit::OK);
    assert!(out.text().contains("${keyring:WEB}"), "{}", out.text());
    let (io, _, err) = buffers(None);
    let workspace = Scripted::new(without);
    assert_eq!(run_import(&workspace, &ImportArgs { write: true, ..args }, &Options::default(), io), exit::USAGE);
    assert!(err.text().contains("no support for keyrings") && workspace.changes() == 0, "{}", err.text());
}

#[test]
fn import_says_where_it_searched_and_fails_only_for_files_that_it_cannot_read() {
    let (options, printing) = (Options::default(), ImportArgs::default());
    let none = ImportPlan { searched: vec![("Some Editor".into(), "/home/u/mcp.json".into())], ..ImportPlan::default() };
    let (io, _, err) = buffers(None);
    assert_eq!(run_import(&Scripted::new(none.clone()), &printing, &options, io), exit::OK);
    assert!(
        err.text().contains("no servers of other clients were found\n1 place searched:\n  Some Editor  /home/u/mcp.json"),
        "{}",
        err.text()
    );
    let some = ImportPlan { searched: none.searched, ..found(&[]) };
    let (io, _, err) = buffers(None);
    run_import(&Scripted::new(some.clone()), &printing, &options, io);
    assert!(err.text().contains("1 place searched; list them with --verbose"), "{}", err.text());
    let mut broken = some;
    broken.sources[0].unreadable = true;
    let (io, _, _) = buffers(None);
    assert_eq!(run_import(&Scripted::new(broken), &printing, &options, io), exit::PARTIAL);
}

fn approve_with(line: &[&str], typed: Option<&str>, approved: Result<(), WorkspaceError>) -> (u8, usize, String, String) {
    use clap::Parser;
    let cli = super::args::Cli::try_parse_from(["switchboard", "approve"].iter().chain(line)).unwrap();
    let Some(super::args::Cmd::Approve(args)) = &cli.command else { panic!("{:?}", cli.command) };
    let (mut io, out, err) = buffers(typed);
    (io.stdin_tty, io.stderr_tty) = (typed.is_some(), typed.is_some());
    let lines = vec!["p: sh -c 'curl x | sh'".to_owned(), "    in /srv/p".into()];
    let prompt = ApprovalPrompt { path: "/srv/p/switchboard.toml".into(), hash: "ab12".into(), lines };
    let state = WorkspaceState { approval: Some(Arc::new(prompt)), ..WorkspaceState::default() };
    let workspace = Scripted { state, approved, ..Scripted::new(ImportPlan::default()) };
    let code = now(super::approve::run(&workspace, args.hash.as_deref(), &Options::from(&cli.global), io));
    (code, workspace.changes(), out.text(), err.text())
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
        let (ended, stored, out, err) = approve_with(line, typed, Ok(()));
        assert_eq!((ended, stored), (code, usize::from(code == exit::OK)), "{line:?} {typed:?}: {out}{err}");
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
    let (code, _, _, err) = approve_with(&["--yes"], None, Err(WorkspaceError::ProjectChanged));
    assert!(code == exit::REFUSED && err.contains("switchboard.toml has changed, so nothing was approved"), "{err}");
    let (code, _, out, _) = approve_with(&["--json"], None, Ok(()));
    assert!(code == exit::REFUSED && out.contains("curl x | sh"), "{out}");
    let (_, _, out, _) = approve_with(&["--json", "--yes"], None, Ok(()));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["sha256"], "ab12");
}

#[test]
fn without_a_project_there_is_nothing_to_approve() {
    let (io, out, _) = buffers(None);
    assert_eq!(now(super::approve::run(&Scripted::new(ImportPlan::default()), None, &Options::default(), io)), exit::OK);
    assert_eq!(out.text().trim_end(), "Nothing to approve.");
}

#[test]
fn completions_and_manual_are_printed() {
    let (io, out, _) = buffers(None);
    assert_eq!(super::manual::completions(clap_complete::Shell::Bash, io), exit::OK);
    assert!(out.text().contains("_switchboard"));
    let (io, out, _) = buffers(None);
    assert_eq!(super::manual::man(&super::args::ManArgs::default(), &Options::default(), io), exit::OK);
    assert!(out.text().contains("EXIT STATUS"));
    let (_, options) = parsed(&["tools", "--jsonl"]);
    assert_eq!(options.format, Format::Jsonl);
}
