//! Files of every kind: the samples in `tests/data/clients`, a home with one file at every place, and hostile files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Base, Form, KindId, placed, table::KINDS};
use crate::{
    config::{Env, LoadOptions, Loaded, find_imports, load, load_tests::Place},
    domain::server::{ServerSpec, Transport},
};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clients")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

/// The folder of a kind, copied below a home.
fn copied(place: &Place, kind: &str) -> Vec<PathBuf> {
    let from = samples().join(kind);
    files_below(&from)
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(&from).unwrap().to_owned();
            let text = fs::read_to_string(&path).unwrap().replace("\"PROJECT\"", &format!("\"{}\"", place.path("w").display()));
            place.write(&format!("w/{}", relative.display()), &text);
            relative
        })
        .collect()
}

pub(super) fn options(place: &Place, file: &Path) -> LoadOptions {
    let env = Env::from_iter([("TEAM_TOKEN", "s3cret-token"), ("TEAM_HOST", "h.example"), ("HOME", &place.path("").display().to_string())]);
    LoadOptions { config_files: vec![place.path("w").join(file)], cwd: place.path("w"), env, ..place.options() }
}

/// Everything that was read of a server.
fn described(spec: &ServerSpec) -> String {
    let mut line = String::new();
    let (what, with) = match &spec.launch {
        Transport::Stdio { command, args, env, inherit_env, cwd } => {
            let words = std::iter::once(command.as_str()).chain(args.iter().map(|arg| arg.expose()));
            let mut what =
                words.map(|word| if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }).collect::<Vec<_>>().join(" ");
            if let Some(cwd) = cwd {
                what += &format!(" | in {}", cwd.display());
            }
            (what + if *inherit_env { " | all variables" } else { "" }, env)
        }
        Transport::Http { url, headers, .. } => (url.clone(), headers),
    };
    line += &format!("{}: {what}", spec.id);
    for (name, value) in with {
        line += &format!(" | {name}={}", value.expose());
    }
    let defaults = ServerSpec::new("x", spec.launch.clone()).timeouts;
    if spec.timeouts.call != defaults.call {
        line += &format!(" | call {:?}", spec.timeouts.call);
    }
    if spec.timeouts.connect != defaults.connect {
        line += &format!(" | connect {:?}", spec.timeouts.connect);
    }
    let names =
        |patterns: &[crate::domain::policy::pattern::Pattern]| patterns.iter().map(|p| p.text().to_owned()).collect::<Vec<_>>().join(",");
    if let Some(enabled) = &spec.tools.enabled {
        line += &format!(" | only {}", names(enabled));
    }
    if !spec.tools.disabled.is_empty() {
        line += &format!(" | without {}", names(&spec.tools.disabled));
    }
    if let Some(description) = &spec.description {
        line += &format!(" | about {description:?}");
    }
    line + if spec.disabled { " | OFF" } else { "" }
}

pub(super) fn shown(place: &Place, result: Result<Loaded, Vec<crate::config::ConfigError>>) -> String {
    let mut lines = vec![];
    match result {
        Ok(loaded) => {
            lines.extend(loaded.servers.iter().filter(|spec| spec.config_faults.is_empty()).map(described));
            lines.extend(loaded.problems.iter().map(|problem| format!("! {problem}")));
        }
        Err(errors) => lines.extend(errors.iter().map(|error| format!("REFUSED {error}"))),
    }
    lines.join("\n").replace(&place.path("").display().to_string(), "~/").replace("~//", "~/")
}

#[test]
fn every_sample_is_read_as_its_client_reads_it() {
    let mut kinds: Vec<PathBuf> = fs::read_dir(samples()).unwrap().map(|entry| entry.unwrap().path()).collect();
    kinds.sort();
    let mut out = String::new();
    for kind in kinds {
        let name = kind.file_name().unwrap().to_str().unwrap();
        let place = Place::new();
        place.write(".team-key", "f1le-key\n");
        let helper = |file: &Path| file.file_name().is_some_and(|name| name == ".env" || name == "token.txt");
        for file in copied(&place, name).into_iter().filter(|file| !helper(file)) {
            out += &format!("## {name}/{}\n{}\n\n", file.display(), shown(&place, load(&options(&place, &file))));
        }
    }
    insta::assert_snapshot!("samples", out);
}

#[test]
fn inputs_and_permissions_of_the_command_line_are_used() {
    let place = Place::new();
    let files = copied(&place, "vscode");
    let file = files.iter().find(|file| file.ends_with("mcp.json")).unwrap();
    let mut options = options(&place, file);
    options.env = options.env.with_inputs([("key".to_owned(), "typed-s3cret".to_owned()), ("region".into(), "us".into())]);
    options.unsandboxed = true;
    let loaded = load(&options).unwrap();
    let asks = loaded.servers.iter().find(|spec| spec.id.as_str() == "asks").unwrap();
    assert!(described(asks).contains("serve.js ann us") && described(asks).contains("API_KEY=typed-s3cret"), "{}", described(asks));
    assert!(asks.secrets().iter().any(|secret| secret.expose() == "typed-s3cret"), "an input is a secret");
    assert!(!format!("{asks:?} {}", serde_json::to_string(asks).unwrap()).contains("typed-s3cret"));
    assert!(loaded.servers.iter().any(|spec| spec.id.as_str() == "boxed" && spec.config_faults.is_empty()));
}

#[test]
fn servers_that_are_switched_off_for_a_project_stay_off() {
    let place = Place::new();
    place.write("w/.mcp.json", r#"{"mcpServers": {"on": {"command": "a"}, "off": {"command": "b"}, "local-off": {"command": "c"}}}"#);
    let root = place.path("w").display().to_string();
    place.write(
        ".claude.json",
        &format!(r#"{{"projects": {{"{root}": {{"disabledMcpjsonServers": ["off"]}}, "/other": {{"disabledMcpjsonServers": ["on"]}}}}}}"#),
    );
    place.write("w/.claude/settings.local.json", r#"{"disabledMcpjsonServers": ["local-off"]}"#);
    let loaded = load(&options(&place, Path::new(".mcp.json"))).unwrap();
    let off: Vec<&str> = loaded.servers.iter().filter(|spec| spec.disabled).map(|spec| spec.id.as_str()).collect();
    assert_eq!(off, ["off", "local-off"]);
    assert!(loaded.files.iter().any(|file| file.ends_with(".claude.json")), "a change there is noticed");
}

/// A file with one server, in the form of a kind.
fn one_server(kind: &super::ClientKind, path: &str, name: &str, cwd: &str) -> String {
    let root = &kind.roots[0];
    let entry = if kind.id == KindId::OpenCode { r#"{"type": "local", "command": ["run"]}"# } else { r#"{"command": "run"}"# };
    if path.ends_with(".toml") {
        return format!("[{}.{name}]\ncommand = \"run\"\n", root.path.join("."));
    }
    let inner = match root.form {
        Form::List => format!(r#"[{{"name": "{name}", "command": "run"}}]"#),
        Form::Projects => format!(r#"{{"{cwd}": {{"mcpServers": {{"{name}": {entry}}}}}}}"#),
        _ => format!(r#"{{"{name}": {entry}}}"#),
    };
    if path.ends_with(".yaml") {
        let inner = if kind.id == KindId::Goose { inner.replace("command", "cmd") } else { inner };
        let nested = root.path[1..].iter().rev().fold(inner, |inner, key| format!(r#"{{"{key}": {inner}}}"#));
        return format!("{}: {nested}\n", root.path[0]);
    }
    root.path.iter().rev().fold(inner, |inner, key| format!(r#"{{"{key}": {inner}}}"#))
}

#[test]
fn a_file_at_every_place_is_found_with_its_server_only() {
    for in_project in [false, true] {
        let place = Place::new();
        let cwd = place.path("project").display().to_string();
        let mut wanted = vec![];
        for (index, kind) in KINDS.iter().enumerate() {
            for (number, at) in kind.places.iter().enumerate() {
                let name = format!("server-{index}-{number}");
                let (path, text) = (at.path, one_server(kind, at.path, &name, &cwd));
                let path = match (at.base, in_project) {
                    (Base::Project, true) => format!("project/{path}"),
                    (Base::Home | Base::HomeOr(_), false) => path.to_owned(),
                    (Base::Config, false) => format!(".config/{path}"),
                    _ => continue,
                };
                // Two kinds share this file.
                if kind.id != KindId::ClaudeProjects {
                    place.write(&path, &text);
                    wanted.push((at.label.unwrap_or(kind.client), name));
                }
            }
        }
        let found = find_imports(&place.path(""), &place.path("project/sub"), &Env::default());
        let mut servers: Vec<(&str, String)> = vec![];
        for import in &found {
            assert_eq!(import.problems, [], "{}", import.client);
            assert_eq!(import.project, in_project);
            servers.extend(import.servers.iter().map(|spec| (import.client, spec.id.to_string())));
        }
        servers.sort();
        wanted.sort();
        assert_eq!(servers, wanted);
    }
}

#[test]
fn every_place_names_its_kind() {
    for kind in KINDS {
        for at in kind.places {
            let path = Path::new("/home/me/x").join(at.path);
            let found = placed(&path, Some(Path::new("/home/me")));
            let found = found.kind.unwrap_or_else(|| panic!("{} is not recognised", at.path));
            let shared = kind.id == KindId::ClaudeProjects && found.id == KindId::ClaudeCode;
            assert!(found.id == kind.id || shared, "{} is {:?}", at.path, found.id);
        }
    }
    let of = |path: &str| placed(Path::new(path), Some(Path::new("/home/me")));
    assert_eq!(of("/home/me/.cursor/mcp.json").project, None, "in the home folder it is the user's");
    assert!(of("/home/me/.cursor/mcp.json").user);
    assert_eq!(of("/home/me/w/.junie/mcp/mcp.json").project.as_deref(), Some(Path::new("/home/me/w")));
    assert!(of("/x/y.json").kind.is_none());
}

#[test]
fn large_and_hostile_files_get_an_answer() {
    let place = Place::new();
    let read = |name: &str, text: &str| {
        place.write(&format!("w/{name}"), text);
        load(&options(&place, Path::new(name)))
    };
    let pad = "x".repeat(900);
    let entries: Vec<String> =
        (0..10_000).map(|n| format!(r#""server-{n}": {{"command": "run", "args": ["{pad}"], "autoApprove": ["a"]}}"#)).collect();
    let json = format!("\u{feff}{{\"mcpServers\": {{{}}}}}", entries.join(", "));
    assert!(json.len() > 9_000_000);
    let loaded = read("mcp.json", &json).unwrap();
    assert_eq!((loaded.servers.len(), loaded.problems.len()), (10_000, 1));
    let lines: Vec<String> = (0..10_000).map(|n| format!("  server-{n}: {{command: run, args: [\"{pad}\"]}}")).collect();
    assert_eq!(read("librechat.yaml", &format!("\u{feff}mcpServers:\n{}\n", lines.join("\n"))).unwrap().servers.len(), 10_000);

    let twice =
        r#"{"mcpServers": {"a": {"command": "x"}}, "mcpServers": {"a": {"command": "y", "command": "z"}, "a": {"command": "last"}}}"#;
    let loaded = read("mcp.json", twice).unwrap();
    assert_eq!(loaded.servers.iter().map(described).collect::<Vec<_>>(), ["a: last"], "the last of equal keys counts");
    for (name, text) in [
        ("deep.json", format!("{{\"mcpServers\": {}", "{\"a\":".repeat(100_000))),
        ("deep.yaml", format!("mcpServers: {}", "{a: ".repeat(100_000))),
        ("deep-block.yaml", (0..2000).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>()),
        ("list.json", "[1, 2]".into()),
        ("empty.json", String::new()),
        ("empty.yaml", String::new()),
        ("nothing.yaml", "a: 1\n".into()),
        ("text.json", "\"mcpServers\"".into()),
        ("odd.json", r#"{"mcpServers": 5, "servers": [], "mcp": "x", "extensions": null, "projects": 7}"#.into()),
    ] {
        let errors = read(name, &text).unwrap_err();
        assert!(!errors.is_empty() && errors.iter().all(|error| !error.to_string().contains("TOML")), "{name}: {errors:?}");
    }
}
