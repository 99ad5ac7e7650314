//! Other clients' files as they really look, found and written into ours.

use std::{fs, time::Duration};

use super::{load_tests::Place, *};
use crate::domain::server::{ServerSpec, Transport};

const CLAUDE_DESKTOP: &str = r#"{
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {
    "filesystem": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "/Users/me/Desktop"]
    },
    "github": {
      "command": "docker",
      "args": ["run", "-i", "--rm", "-e", "GITHUB_PERSONAL_ACCESS_TOKEN", "ghcr.io/github/github-mcp-server"],
      "env": { "GITHUB_PERSONAL_ACCESS_TOKEN": "ghp_pa$$word" }
    }
  }
}"#;

const CLAUDE_CODE: &str = r#"{
  "numStartups": 42,
  "mcpServers": { "sentry": { "type": "http", "url": "https://mcp.sentry.dev/mcp" } },
  "projects": {
    "PROJECT": { "allowedTools": [], "mcpServers": { "db": { "type": "stdio", "command": "npx", "args": ["db"], "env": {} } } },
    "/elsewhere": { "mcpServers": { "other": { "command": "other" } } }
  }
}"#;

const MCP_JSON: &str = r#"{
  "mcpServers": {
    "api": { "type": "http", "url": "${API_URL:-https://api.example.com}/mcp", "headers": { "Authorization": "Bearer ${TOKEN}" } },
    "old": { "type": "sse", "url": "https://mcp.example.com/sse" },
    "socket": { "type": "ws", "url": "wss://mcp.example.com/ws" },
    "off": { "command": "off", "disabled": true }
  }
}"#;

const CURSOR: &str = r#"{ "mcpServers": {
  "local": { "command": "${workspaceFolder}/run", "args": ["${userHome}"], "env": { "KEY": "${env:TOKEN}", "PORT": 3000 }, "envFile": ".env" },
  "remote": { "url": "https://x.example/sse" }
} }"#;

const WINDSURF: &str =
    r#"{ "mcpServers": { "remote": { "serverUrl": "https://x.example/mcp", "headers": { "API_KEY": "v" }, "disabledTools": [] } } }"#;

const VSCODE: &str = r#"{
  // asked for once
  "inputs": [{ "type": "promptString", "id": "key", "description": "API key", "password": true }],
  "servers": {
    "asks": { "type": "stdio", "command": "npx", "args": ["-y", "x"], "env": { "API_KEY": "${input:key}" } },
    "sock": { "type": "http", "url": "unix:///run/server.sock#/mcp/sub" },
    "plain": { "command": "uvx", "args": ["mcp-server-git"], "env": { "A": null, }, },
  },
}"#;

const ZED: &str = r#"// Zed settings
{
  "theme": "One Dark", /* dark */
  "context_servers": {
    "flat": { "source": "custom", "command": "some-command", "args": ["arg-1"], "env": { "K": "${LITERAL}" } },
    "object": { "command": { "path": "node", "args": ["/x/index.js"], "env": { "A": "1" } }, "settings": {} },
    "web": { "url": "https://x.example/mcp", "headers": { "Authorization": "Bearer t" } },
    "ext": { "source": "extension", "settings": { "a": 1 } },
    "off": { "enabled": false, "command": "x" },
  },
}"#;

const CODEX: &str = r#"
model = "gpt-5"
[mcp_servers.docs]
command = "npx"
args = ["-y", "docs"]
env = { "A" = "b$c" }
env_vars = ["TOKEN", "NOT_SET"]
startup_timeout_sec = 20.5
tool_timeout_sec = 45
cwd = "/work"
[mcp_servers.figma]
url = "https://mcp.figma.com/mcp"
bearer_token_env_var = "TOKEN"
http_headers = { "X-Region" = "us" }
env_http_headers = { "X-Host" = "HOST" }
enabled = false
[mcp_servers.broken]
args = []
"#;

const GEMINI: &str = r#"{ "selectedAuthType": "oauth", "mcpServers": { "g": { "httpUrl": "https://g.example/mcp", "headers": { "X-Key": "$TOKEN" }, "timeout": 5000, "trust": true } } }"#;

fn servers_of(name: &str, text: &str) -> Loaded {
    servers_at(&Place::new(), name, text)
}

fn servers_at(place: &Place, name: &str, text: &str) -> Loaded {
    place.write(name, text);
    let mut options = place.options();
    options.config_files = vec![place.path(name)];
    load(&options).unwrap()
}

/// `id: command line or address`, then what is sent or added.
fn printed(server: &ServerSpec) -> String {
    let (what, with) = match &server.launch {
        Transport::Stdio { command, args, env, .. } => {
            let words: Vec<&str> = std::iter::once(command.as_str()).chain(args.iter().map(|a| a.expose())).collect();
            (words.join(" "), env)
        }
        Transport::Http { url, headers, .. } => (url.clone(), headers),
    };
    let with: Vec<String> = with.iter().map(|(n, v)| format!(" {n}={}", v.expose())).collect();
    format!("{}: {what}{}{}", server.id, with.concat(), if server.disabled { " (off)" } else { "" })
}

#[test]
fn every_clients_file_is_read_as_it_is() {
    for (name, text, wanted, troubled) in [
        (
            "claude_desktop_config.json",
            CLAUDE_DESKTOP,
            vec![
                "filesystem: npx -y @modelcontextprotocol/server-filesystem /Users/me/Desktop",
                "github: docker run -i --rm -e GITHUB_PERSONAL_ACCESS_TOKEN ghcr.io/github/github-mcp-server GITHUB_PERSONAL_ACCESS_TOKEN=ghp_pa$$word",
            ],
            vec![],
        ),
        ("claude.json", CLAUDE_CODE, vec!["sentry: https://mcp.sentry.dev/mcp"], vec![]),
        (
            ".mcp.json",
            MCP_JSON,
            vec![
                "api: https://api.example.com/mcp Authorization=Bearer s3cret-token",
                "old: https://mcp.example.com/sse",
                "off: off (off)",
            ],
            vec!["socket"],
        ),
        ("windsurf.json", WINDSURF, vec!["remote: https://x.example/mcp API_KEY=v"], vec![]),
        ("mcp.json", VSCODE, vec!["sock: http://localhost/mcp/sub", "plain: uvx mcp-server-git"], vec!["asks"]),
        (
            "user_settings.json",
            &format!("{{\"mcp\": {VSCODE}}}"),
            vec!["sock: http://localhost/mcp/sub", "plain: uvx mcp-server-git"],
            vec!["asks"],
        ),
        (
            "settings.json",
            ZED,
            vec![
                "flat: some-command arg-1 K=${LITERAL}",
                "object: node /x/index.js A=1",
                "web: https://x.example/mcp Authorization=Bearer t",
                "off: x (off)",
            ],
            vec!["ext"],
        ),
        (
            "codex.toml",
            CODEX,
            vec![
                "docs: npx -y docs A=b$c TOKEN=s3cret-token",
                "figma: https://mcp.figma.com/mcp X-Region=us X-Host=h.example Authorization=Bearer s3cret-token (off)",
            ],
            vec!["broken"],
        ),
        ("anything.conf", GEMINI, vec!["g: https://g.example/mcp X-Key=s3cret-token"], vec![]),
    ] {
        let loaded = servers_of(name, text);
        let (broken, usable): (Vec<&ServerSpec>, _) = loaded.servers.iter().partition(|spec| !spec.config_faults.is_empty());
        assert_eq!(usable.into_iter().map(printed).collect::<Vec<_>>(), wanted, "{name}");
        assert_eq!(broken.iter().map(|spec| spec.id.as_str()).collect::<Vec<_>>(), troubled, "{name}");
        let named: Vec<&str> = loaded.problems.iter().filter_map(|p| p.server.as_deref()).collect();
        assert_eq!(named, troubled, "{name}: {:?}", loaded.problems);
        assert!(loaded.problems.iter().all(|p| p.line.is_some() && (p.hint.is_some() || p.server.is_none())), "{:?}", loaded.problems);
    }
    let codex = servers_of("c.toml", CODEX);
    assert_eq!(
        (codex.servers[0].timeouts.connect, codex.servers[0].timeouts.call),
        (Duration::from_millis(20_500), Duration::from_secs(45))
    );
    let sock = servers_of("mcp.json", VSCODE);
    assert!(matches!(&sock.servers[1].launch, Transport::Http { socket: Some(path), .. } if path.ends_with("server.sock")));
    let place = Place::new();
    place.write("w/.cursor/.env", "PORT=1\n");
    let cursor = servers_at(&place, "w/.cursor/mcp.json", CURSOR);
    assert!(printed(&cursor.servers[0]).contains("/w/run "), "{}", printed(&cursor.servers[0]));
    assert!(printed(&cursor.servers[0]).ends_with("KEY=s3cret-token PORT=3000"));
    assert!(cursor.problems.is_empty(), "the transport is found out when the server is connected to: {:?}", cursor.problems);
}

#[test]
fn variables_of_an_env_file_are_passed_and_masked() {
    let text = r#"{ "servers": { "s": { "command": "run", "env": { "A": "own" }, "envFile": "FILE" }, "t": { "command": "t" } } }"#;
    let place = Place::new();
    place.write("w/.vscode/near.env", "# k\nA=s3cret-1\nexport B='s3cret 2'\n");
    place.write("w/.env", "C=s3cret-3");
    place.write("far.env", "D=\"s3cret-4\"\n");
    for (file, wanted) in [
        ("near.env", "s: run A=own B=s3cret 2"),
        ("../.env", "s: run A=own C=s3cret-3"),
        ("${workspaceFolder}/.env", "s: run A=own C=s3cret-3"),
        ("~/far.env", "s: run A=own D=s3cret-4"),
    ] {
        let loaded = servers_at(&place, "w/.vscode/mcp.json", &text.replace("FILE", file));
        let spec = &loaded.servers[0];
        assert_eq!((printed(spec).as_str(), &loaded.problems), (wanted, &vec![]), "{file}");
        let shown = format!("{spec:?} {} {:?}", serde_json::to_string(spec).unwrap(), launch_lines(&loaded.servers));
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(spec.secrets().iter().any(|secret| secret.expose().starts_with("s3cret")), "{file}");
        assert!(loaded.files.iter().any(|file| file.ends_with(".env") || file.ends_with("near.env") || file.ends_with("far.env")));
        let import = FoundImport { client: "X", path: "/x".into(), project: false, servers: loaded.servers, problems: vec![] };
        assert!(!to_toml(&[import], None).unwrap().contains("s3cret"), "{file}");
    }
    place.write("w/.vscode/bad.env", "A=1\ns3cret\n");
    for (file, path, line) in [("none.env", "w/.vscode/none.env", None), ("bad.env", "w/.vscode/bad.env", Some(2))] {
        let loaded = servers_at(&place, "w/.vscode/mcp.json", &text.replace("FILE", file));
        let usable = loaded.servers.iter().filter(|spec| spec.config_faults.is_empty());
        assert_eq!(usable.map(printed).collect::<Vec<_>>(), ["t: t"], "{file} costs its server only");
        let [problem] = &loaded.problems[..] else { panic!("{:?}", loaded.problems) };
        assert_eq!((problem.file.clone(), problem.line, problem.server.as_deref()), (Some(place.path(path)), line, Some("s")));
        assert!(problem.hint.is_some() && !problem.to_string().contains("s3cret"), "{problem}");
    }
}

#[test]
fn an_approval_covers_the_content_of_the_env_file() {
    let place = Place::new();
    place.write("project/switchboard.toml", "include = [\".cursor/mcp.json\"]");
    place.write("project/.cursor/mcp.json", r#"{ "mcpServers": { "p": { "command": "p", "envFile": ".env" } } }"#);
    let pending = || load(&place.options()).unwrap().pending;
    let absent = pending().unwrap();
    place.write("project/.cursor/.env", "TOKEN=s3cret");
    let there = pending().unwrap();
    assert_ne!(absent.hash, there.hash);
    assert!(there.lines.contains(&"    with the variables of the file .env: TOKEN".to_owned()), "{:?}", there.lines);
    approve(&there, &place.path("state")).unwrap();
    assert_eq!(pending(), None);
    place.write("project/.cursor/.env", "TOKEN=s3cret\nNODE_OPTIONS=--require ./x");
    assert!(pending().is_some());
}

#[test]
fn a_named_file_without_servers_is_an_error() {
    let place = Place::new();
    place.write("x.json", "{\"a\": 1}");
    let mut options = place.options();
    options.config_files = vec![place.path("x.json")];
    assert!(load(&options).unwrap_err()[0].message.contains("no MCP servers"));
}

fn machine() -> Place {
    let place = Place::new();
    let project = place.path("project").display().to_string();
    for (path, text) in [
        (".config/Claude/claude_desktop_config.json", CLAUDE_DESKTOP),
        (".claude.json", &CLAUDE_CODE.replace("PROJECT", &project)),
        (".cursor/mcp.json", CURSOR),
        (".codeium/windsurf/mcp_config.json", WINDSURF),
        ("Library/Application Support/Code/User/mcp.json", VSCODE),
        (".config/zed/settings.json", ZED),
        (".codex/config.toml", CODEX),
        (".gemini/settings.json", GEMINI),
        ("project/.mcp.json", MCP_JSON),
        ("project/.vscode/mcp.json", VSCODE),
        ("project/.zed/settings.json", "{}"),
        ("project/.cursor/mcp.json", "{broken"),
    ] {
        place.write(path, text);
    }
    place
}

fn found(place: &Place) -> Vec<FoundImport> {
    find_imports(&place.path(""), &place.path("project/sub"), &Env::default())
}

#[test]
fn the_files_of_all_clients_are_found() {
    let place = machine();
    let all = found(&place);
    let names: Vec<(&str, usize, bool)> = all.iter().map(|f| (f.client, f.servers.len(), f.project)).collect();
    let wanted = [
        ("Claude Desktop", 2, false),
        ("Claude Code", 1, false),
        ("Claude Code (this project)", 1, false),
        // `${workspaceFolder}` has no value in a file of the user.
        ("Cursor", 1, false),
        ("Windsurf", 1, false),
        ("VS Code", 3, false),
        ("Zed", 4, false),
        ("Codex", 2, false),
        ("Gemini CLI", 1, false),
        ("Claude Code (project)", 3, true),
        ("Cursor (project)", 0, true),
        ("VS Code (workspace)", 3, true),
    ];
    assert_eq!(names, wanted);
    assert_eq!(all[10].problems[0].line, Some(1), "a broken file is reported, the others are used");
    let Transport::Stdio { cwd, .. } = &all[11].servers[0].launch else { panic!("stdio") };
    assert_eq!(cwd.as_deref(), Some(place.path("project").as_path()));
}

#[test]
fn imports_are_written_with_variables_and_read_back() {
    let place = machine();
    let existing = "# mine\nseparator = \"-\" # dash\n\n[servers.filesystem] # keep me\ncommand = \"own\"\n\n\
                    [servers.same]\ncommand = \"npx\"\nargs = [\"-y\", \"@modelcontextprotocol/server-filesystem\", \"/Users/me/Desktop\"]\n";
    let text = to_toml(&found(&place), Some(existing)).unwrap();
    assert!(text.starts_with(existing), "{text}");
    for part in [
        "# from Claude Desktop: ",
        "[servers.github]",
        "ghp_pa$$$$word",
        "Bearer ${TOKEN}",
        "${API_URL:-https://api.example.com}/mcp",
        "${input:key}",
        "K = \"$${LITERAL}\"",
        "X-Key = \"${TOKEN}\"",
        "[servers.off-2]",
        "disabled = true",
        "timeouts = { connect = \"20500ms\", call = \"45s\" }",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert_eq!(text.matches("/Users/me/Desktop").count(), 1, "a server that is there already is not added again");
    assert_eq!(add_to_toml(&found(&place), Some(&text)).unwrap(), (text.clone(), 0), "nothing is added twice");
    assert_eq!(
        add_to_toml(&found(&place), Some(existing)).unwrap().1,
        text.matches("command = ").count() + text.matches("url = ").count() - 2
    );

    let home = Place::new();
    write_config(&home.path("new/conf/config.toml"), &text).unwrap();
    let mut options = home.options();
    options.config_files = vec![home.path("new/conf/config.toml")];
    let loaded = load(&options).unwrap();
    let github = loaded.servers.iter().find(|s| s.id.as_str() == "github").unwrap();
    assert!(printed(github).ends_with("=ghp_pa$$word"));
    let g = loaded.servers.iter().find(|s| s.id.as_str() == "g").unwrap();
    assert_eq!(printed(g), "g: https://g.example/mcp X-Key=s3cret-token");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(home.path("new/conf/config.toml")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_broken_or_odd_file_of_ours_is_not_overwritten() {
    let import = FoundImport {
        client: "X",
        path: "/x".into(),
        project: false,
        servers: vec![server_from_command(&["git".into(), "$x".into()])],
        problems: vec![],
    };
    let imports = [import];
    let broken = to_toml(&imports, Some("a = 1\nb = \n")).unwrap_err();
    assert_eq!(broken.line, Some(2));
    assert!(to_toml(&imports, Some("servers = 1")).is_err());
    let fresh = "# from X: /x\n[servers.git]\ncommand = \"git\"\nargs = [\"$$x\"]\n";
    assert_eq!(to_toml(&imports, None).unwrap(), fresh);
    let inline = to_toml(&imports, Some("servers = { a = { command = \"a\" } } # one line\n")).unwrap();
    assert!(inline.ends_with("# one line\n") && inline.lines().count() == 1, "{inline}");
    assert_eq!(servers_of("i.toml", &inline).servers.iter().map(printed).collect::<Vec<_>>(), ["a: a", "git: git $x"]);
}

#[test]
fn every_field_survives_being_written() {
    let text = r#"[servers.all]
command = "run"
args = ["a", "${TOKEN}"]
inherit_env = true
cwd = "/work"
env = { A = "1" }
namespace = ""
owner = "me"
description = "d"
group = "g"
era = "legacy"
disabled = true
trusted = true
elicitation = { name = "x" }
sampling = "decline"
roots = ["/r", { uri = "file:///s", name = "s" }]
timeouts = { connect = "1s", probe = "2s", call = "3s", call_max = "4s", list = "5s", health = "0s", stop = "6s" }
limits = { message_bytes = 1, pages = 2, items = 3, stderr_bytes = 4 }
sessions = { max = 0, idle = "90s" }
[servers.web]
url = "https://${HOST}/mcp"
socket = "/run/x"
headers = { A = "${TOKEN}" }
roots = "decline"
"#;
    let first = servers_of("a.toml", text);
    let import = FoundImport { client: "X", path: "/x".into(), project: false, servers: first.servers.clone(), problems: vec![] };
    let second = servers_of("a.toml", &to_toml(&[import], None).unwrap());
    let plain = |loaded: &Loaded| -> Vec<ServerSpec> {
        loaded.servers.iter().map(|s| ServerSpec { origin: Default::default(), ..s.clone() }).collect()
    };
    assert_eq!(plain(&first), plain(&second));
    assert_eq!(launch_hash(&first.servers), launch_hash(&second.servers));
}
