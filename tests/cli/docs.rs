//! Every command line in the documentation and in `--help` runs as printed, on the demo servers.
//!
//! A block marked `sh` or `console` runs in a home of its own, line by line. A line may end in `# exit code N`. Blocks
//! marked `no-run` need the network, a foreign file or the id of an earlier run. Commands in running text run too, unless
//! they hold a placeholder in capitals. Blocks marked `toml` are read as configuration files.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use clap::CommandFactory;

use super::{Home, wait_for};

/// The longest time for one command line. A whole demo starts for each of them.
const LIMIT: Duration = Duration::from_secs(60);
/// Blocks that may be marked `no-run`.
const NOT_RUN: usize = 8;

/// Lines that run one after another in one home.
#[derive(Clone, Debug)]
struct Script {
    place: String,
    lines: Vec<String>,
}

/// A fenced block of a page.
struct Block {
    place: String,
    info: String,
    text: String,
}

/// The pages: name and text.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = ["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(String::from).to_vec();
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.extend(docs.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")));
    names.sort();
    let read = |name: String| (name.clone(), fs::read_to_string(root.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}")));
    names.into_iter().map(read).collect()
}

/// The fenced blocks of a page, and its text without them.
fn blocks(name: &str, page: &str) -> (Vec<Block>, String) {
    let (mut found, mut text) = (vec![], String::new());
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let inside: Vec<&str> = inside.map(|line| line.get(indent..).unwrap_or_default()).collect();
        found.push(Block { place: format!("{name}:{}", at + 1), info: info.trim().to_owned(), text: inside.join("\n") });
    }
    (found, text)
}

/// The command lines of a block. A backslash at the end of a line continues it; `echo` lines write the files that are used.
fn command_lines(block: &str) -> Vec<String> {
    let text = block.replace("\\\n", " ");
    let lines = text.lines().map(|line| line.trim_start_matches("$ ").trim());
    lines.filter(|line| line.starts_with("switchboard") || line.starts_with("echo ")).map(str::to_owned).collect()
}

/// Whether a command in running text is one to run: without placeholders such as NAME, and without an ellipsis.
fn complete(line: &str) -> bool {
    let placeholder = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase());
    !line.contains('…') && !line.split(|c: char| !c.is_ascii_alphabetic()).any(placeholder)
}

fn inline(name: &str, text: &str) -> Vec<Script> {
    let code = text.split('`').skip(1).step_by(2).map(|code| code.replace('\n', " "));
    let lines = code.filter(|code| code.starts_with("switchboard ") && complete(code));
    lines.map(|line| Script { place: name.to_owned(), lines: vec![line] }).collect()
}

/// The examples of the long help of every command.
fn examples(command: &mut clap::Command, path: &str, found: &mut Vec<Script>) {
    let help = command.render_long_help().to_string();
    if let Some((_, rest)) = help.split_once("Examples:\n") {
        let lines = rest.lines().take_while(|line| !line.trim().is_empty());
        let scripts = lines.map(|line| Script { place: format!("{path} --help"), lines: vec![line.trim().to_owned()] });
        found.extend(scripts);
    }
    for sub in command.get_subcommands_mut() {
        let path = format!("{path} {}", sub.get_name());
        examples(sub, &path, found);
    }
}

/// Runs a script. Returns what went wrong.
fn run(script: &Script) -> Option<String> {
    let home = Home::new();
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("switchboard");
    let wrapper = format!(
        "#!/bin/sh\nfor word; do case $word in --demo|--config|demo) exec {program:?} \"$@\";; --) break;; esac; done\nexec {program:?} --demo \"$@\"\n"
    );
    fs::write(bin.join("switchboard"), wrapper).unwrap();
    fs::set_permissions(bin.join("switchboard"), fs::Permissions::from_mode(0o755)).unwrap();
    for line in &script.lines {
        let expected = line.rsplit_once("# exit code ").map_or(0, |(_, code)| code.trim().parse::<i32>().unwrap());
        let (out, err) = (home.path().join("out.txt"), home.path().join("err.txt"));
        let child = Command::new("sh")
            .args(["-c", line])
            .env_clear()
            .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
            .env("HOME", home.path())
            .env("TMPDIR", home.path().join("tmp"))
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out).unwrap())
            .stderr(fs::File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let Some(status) = wait_for(child, LIMIT) else {
            return Some(format!("{}: {line}\n  not done after {LIMIT:?}", script.place));
        };
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        // A line that opens the console gets as far as the check for a terminal.
        let console = status.code() == Some(2) && text(&err).contains("the console needs a terminal");
        if status.code() != Some(expected) && !console {
            return Some(format!("{}: {line}\n  {status} instead of {expected}\n{}{}", script.place, text(&out), text(&err)));
        }
    }
    None
}

/// Runs scripts on a few threads. Fails with everything that went wrong.
fn run_all(scripts: &[Script]) {
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    problems.lock().unwrap().extend(run(script));
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{} of {} scripts:\n{}", problems.len(), scripts.len(), problems.join("\n"));
}

#[test]
fn the_commands_of_the_documentation_run_as_printed() {
    let (mut scripts, mut not_run) = (vec![], 0);
    let mut seen = BTreeSet::new();
    for (name, page) in pages() {
        let (blocks, text) = blocks(&name, &page);
        for block in blocks {
            let mut info = block.info.split_whitespace();
            let shell = matches!(info.next(), Some("sh" | "console"));
            let lines = command_lines(&block.text);
            if !shell || lines.is_empty() {
                assert!(shell || lines.is_empty(), "{}: commands in a block that is not marked sh", block.place);
            } else if info.next() == Some("no-run") {
                not_run += 1;
            } else {
                seen.extend(lines.iter().cloned());
                scripts.push(Script { place: block.place, lines });
            }
        }
        scripts.extend(inline(&name, &text).into_iter().filter(|script| seen.insert(script.lines[0].clone())));
    }
    assert!(scripts.len() > 10, "{scripts:?}");
    assert!(not_run <= NOT_RUN, "{not_run} blocks are marked no-run; at most {NOT_RUN} may be");
    run_all(&scripts);
}

#[test]
fn the_examples_of_the_help_run_as_printed() {
    let mut scripts = vec![];
    examples(&mut switchboard::cli::args::Cli::command(), "switchboard", &mut scripts);
    assert!(scripts.len() > 5, "{scripts:?}");
    run_all(&scripts);
}

#[test]
fn the_configurations_of_the_documentation_are_read() {
    let mut count = 0;
    for (name, page) in pages().into_iter().filter(|(name, _)| name != "docs/workflows.md") {
        for block in blocks(&name, &page).0.into_iter().filter(|block| block.info == "toml") {
            count += 1;
            let home = Home::new();
            fs::write(home.path().join("config.toml"), &block.text).unwrap();
            let mut command = home.command(&["--config", "config.toml", "workflow", "list"]);
            let output = command.env("SEARCH_TOKEN", "search-token-1").env("REDIS_PASSWORD", "redis-password-1").output().unwrap();
            let err = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{}: {err}", block.place);
        }
    }
    assert!(count > 2);
}

#[test]
fn links_of_the_documentation_lead_to_files_and_every_picture_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut linked = BTreeSet::new();
    for (name, page) in pages() {
        let text = blocks(&name, &page).1;
        let markdown = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let html = ["src=\"", "srcset=\""].into_iter().flat_map(|mark| text.split(mark).skip(1)).filter_map(|rest| rest.split('"').next());
        for target in markdown.chain(html).filter(|target| !target.starts_with("http") && !target.starts_with('#')) {
            let file = root.join(&name).parent().unwrap().join(target.split('#').next().unwrap());
            let file = file.canonicalize().unwrap_or_else(|error| panic!("{name} links to {target}: {error}"));
            linked.insert(file);
        }
    }
    for picture in fs::read_dir(root.join("assets/screens")).unwrap() {
        let picture = picture.unwrap().path().canonicalize().unwrap();
        assert!(linked.contains(&picture), "no page shows {}", picture.display());
    }
}
