//! Servers of other clients' files get the working folder, the arguments, the environment and the headers that their own client
//! gives them. The servers report what they got.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use super::{secrets::badserver, *};

/// The heads of the requests that a server received.
type Heads = Arc<Mutex<Vec<String>>>;

/// Starts an MCP server over HTTP that records the head of each request. Returns its port.
fn recording_server() -> (u16, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, heads) = (listener.local_addr().unwrap().port(), Heads::default());
    let recorded = heads.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let heads = recorded.clone();
            std::thread::spawn(move || while stream.as_ref().is_ok_and(|stream| answer(stream, &heads)) {});
        }
    });
    (port, heads)
}

/// Answers one request; returns whether there may be another.
fn answer(mut stream: &TcpStream, heads: &Heads) -> bool {
    let Some((head, message)) = read_request(stream) else { return false };
    heads.lock().unwrap().push(head.to_ascii_lowercase());
    let (status, body) = match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let info = json!({"name": "recorder", "version": "1"});
            ("200 OK", json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}))
        }
        "tools/list" => ("200 OK", json!({"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})),
        "server/discover" | "" => ("404 Not Found", Value::Null),
        _ if message["id"].is_null() => ("202 Accepted", Value::Null),
        _ => ("200 OK", json!({})),
    };
    let body = if body.is_null() { String::new() } else { json!({"jsonrpc": "2.0", "id": message["id"], "result": body}).to_string() };
    let text = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).is_ok()
}

/// The file of a client with a program and an address, and what the two get.
struct Case {
    /// Where the file is, below the home.
    file: &'static str,
    /// Its text. `PROGRAM`, `REPORT`, `URL` and `PROJECT` are replaced.
    text: &'static str,
    /// The working folder, below the home.
    folder: &'static str,
    /// Lines of the report that must be there. `PROJECT` is replaced.
    given: &'static [&'static str],
    /// Whether the program gets all variables of the environment.
    all: bool,
    /// Headers of the requests.
    headers: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        file: "w/.vscode/mcp.json",
        text: r#"{"inputs": [{"id": "region", "type": "promptString", "default": "eu"}], "servers": {
            "p": {"type": "stdio", "command": "PROGRAM", "args": ["surroundings", "REPORT", "${input:region}", "${workspaceFolder}/x", "~/y"],
                  "env": {"TOKEN": "${env:TEAM_TOKEN}"}},
            "u": {"type": "http", "url": "URL", "headers": {"Authorization": "Bearer ${env:TEAM_TOKEN}"}}}}"#,
        folder: "w",
        given: &["argument eu", "argument PROJECT/x", "argument HOME/y", "TOKEN=team-s3cret"],
        all: true,
        headers: &["authorization: bearer team-s3cret"],
    },
    Case {
        file: "w/.cursor/mcp.json",
        text: r#"{"mcpServers": {
            "p": {"command": "PROGRAM", "args": ["surroundings", "REPORT", "${workspaceFolder}/x", "${TEAM_TOKEN}"], "env": {"TOKEN": "${env:TEAM_TOKEN}"}},
            "u": {"url": "URL", "headers": {"X-Key": "${env:TEAM_TOKEN}"}}}}"#,
        folder: "w",
        // Cursor replaces `${env:NAME}` only, and leaves the rest to the program.
        given: &["argument ${TEAM_TOKEN}", "TOKEN=team-s3cret"],
        all: false,
        headers: &["x-key: team-s3cret"],
    },
    Case {
        file: "w/.gemini/settings.json",
        text: r#"{"mcpServers": {
            "p": {"command": "PROGRAM", "args": ["surroundings", "REPORT", "$TEAM_TOKEN"], "cwd": "./sub", "env": {"TOKEN": "${TEAM_TOKEN}"}},
            "u": {"httpUrl": "URL", "headers": {"Authorization": "Bearer $TEAM_TOKEN"}}}}"#,
        folder: "w/sub",
        given: &["argument team-s3cret", "TOKEN=team-s3cret"],
        all: true,
        headers: &["authorization: bearer team-s3cret"],
    },
    Case {
        file: "w/.zed/settings.json",
        text: r#"{"context_servers": {
            "p": {"source": "custom", "command": {"path": "PROGRAM", "args": ["surroundings", "REPORT", "${TEAM_TOKEN}"], "env": {"TOKEN": "$TEAM_TOKEN"}}},
            "u": {"url": "URL", "headers": {"Authorization": "Bearer plain-s3cret"}}}}"#,
        folder: "w",
        given: &["argument ${TEAM_TOKEN}", "TOKEN=$TEAM_TOKEN"],
        all: false,
        headers: &["authorization: bearer plain-s3cret"],
    },
    Case {
        file: "w/.codex/config.toml",
        text: "[mcp_servers.p]\ncommand = \"PROGRAM\"\nargs = [\"surroundings\", \"REPORT\", \"$TEAM_TOKEN\"]\ncwd = \"sub\"\nenv_vars = [\"ONLY_BY_NAME\"]\n\
               env = { TOKEN = \"x\" }\n[mcp_servers.u]\nurl = \"URL\"\nbearer_token_env_var = \"TEAM_TOKEN\"\nhttp_headers = { X-A = \"a-s3cret\" }\n\
               env_http_headers = { X-B = \"ONLY_BY_NAME\" }\n",
        folder: "w/sub",
        given: &["argument $TEAM_TOKEN", "ONLY_BY_NAME=named", "TOKEN=x"],
        all: false,
        headers: &["authorization: bearer team-s3cret", "x-a: a-s3cret", "x-b: named"],
    },
    Case {
        file: "w/.mcp.json",
        text: r#"{"mcpServers": {
            "p": {"command": "PROGRAM", "args": ["surroundings", "REPORT", "${UNSET_HERE:-fallback}"], "env": {"TOKEN": "${TEAM_TOKEN}"}},
            "u": {"type": "http", "url": "URL", "headers": {"Authorization": "Bearer ${TEAM_TOKEN}"}}}}"#,
        folder: "w",
        given: &["argument fallback", "TOKEN=team-s3cret", "CLAUDE_PROJECT_DIR=PROJECT"],
        all: true,
        headers: &["authorization: bearer team-s3cret"],
    },
    Case {
        file: "Library/Application Support/Claude/claude_desktop_config.json",
        text: r#"{"mcpServers": {"p": {"command": "PROGRAM", "args": ["surroundings", "REPORT", "${TEAM_TOKEN}"], "env": {"TOKEN": "${TEAM_TOKEN}"}}}}"#,
        folder: "w/here",
        // Claude Desktop replaces nothing.
        given: &["argument ${TEAM_TOKEN}", "TOKEN=${TEAM_TOKEN}"],
        all: false,
        headers: &[],
    },
    Case {
        file: "w/opencode.json",
        text: r#"{"mcp": {
            "p": {"type": "local", "command": ["PROGRAM", "surroundings", "REPORT", "{env:TEAM_TOKEN}"], "environment": {"TOKEN": "{file:./key.txt}"}},
            "u": {"type": "remote", "url": "URL", "headers": {"Authorization": "Bearer {env:TEAM_TOKEN}"}}}}"#,
        folder: "w",
        given: &["argument team-s3cret", "TOKEN=file-s3cret"],
        all: true,
        headers: &["authorization: bearer team-s3cret"],
    },
    Case {
        file: ".config/goose/config.yaml",
        text: "extensions:\n  p:\n    type: stdio\n    enabled: true\n    cmd: PROGRAM\n    args: [surroundings, REPORT]\n    envs:\n      TOKEN: x\n    env_keys: [ONLY_BY_NAME]\n\
               \x20 u:\n    type: streamable_http\n    enabled: true\n    uri: URL\n    headers:\n      Authorization: Bearer ${TEAM_TOKEN}\n",
        folder: "w/here",
        given: &["TOKEN=x", "ONLY_BY_NAME=named"],
        all: true,
        headers: &["authorization: bearer team-s3cret"],
    },
    Case {
        file: "w/.junie/mcp/mcp.json",
        text: r#"{"mcpServers": {"p": {"command": "PROGRAM", "args": ["surroundings", "REPORT"], "workingDirectory": "sub", "env": {"TOKEN": "${TEAM_TOKEN}"}},
            "u": {"url": "URL", "headers": {"X-Key": "${TEAM_TOKEN}"}}}}"#,
        folder: "w/sub",
        given: &["TOKEN=team-s3cret"],
        all: false,
        headers: &["x-key: team-s3cret"],
    },
    Case {
        file: ".warp/.mcp.json",
        text: r#"{"mcpServers": {"p": {"command": "PROGRAM", "args": ["surroundings", "REPORT"], "working_directory": "HOME/w/sub"}}}"#,
        folder: "w/sub",
        given: &[],
        all: false,
        headers: &[],
    },
    Case {
        file: "w/config/mcporter.json",
        text: r#"{"mcpServers": {"p": {"command": "PROGRAM surroundings REPORT 'two words'", "env": {"TOKEN": "$env:TEAM_TOKEN"}},
            "u": {"baseUrl": "URL", "bearerTokenEnv": "TEAM_TOKEN"}}}"#,
        folder: "w",
        given: &["argument two words", "TOKEN=team-s3cret"],
        all: true,
        headers: &["authorization: bearer team-s3cret"],
    },
    Case {
        file: ".continue/config.yaml",
        text: "name: mine\nmcpServers:\n  - name: p\n    command: PROGRAM\n    args: [surroundings, REPORT]\n    env:\n      TOKEN: ${{ secrets.TEAM_TOKEN }}\n\
               \x20 - name: u\n    type: streamable-http\n    url: URL\n    requestOptions:\n      headers:\n        Authorization: Bearer ${{ secrets.TEAM_TOKEN }}\n",
        folder: "w/here",
        given: &["TOKEN=team-s3cret"],
        all: false,
        headers: &["authorization: bearer team-s3cret"],
    },
    Case {
        file: "w/mcp_settings.json",
        text: r#"{"mcpServers": {"u": {"type": "STREAMABLE_HTTP", "url": "URL", "bearerToken": "${TEAM_TOKEN}"}}}"#,
        folder: "",
        given: &[],
        all: false,
        headers: &["authorization: bearer team-s3cret"],
    },
];

#[test]
fn servers_of_each_client_get_what_their_client_gives_them() {
    for case in CASES {
        let home = Home::new();
        // Links in the path of the temporary folder would appear in the report.
        let root = home.path().canonicalize().unwrap();
        let (port, heads) = recording_server();
        let report = root.join("report");
        let project = root.join("w");
        let replaced = |text: &str| {
            let program = badserver();
            let pairs = [
                ("PROGRAM", program.display().to_string()),
                ("REPORT", report.display().to_string()),
                ("URL", format!("http://127.0.0.1:{port}/mcp")),
                ("PROJECT", project.display().to_string()),
                ("HOME", root.display().to_string()),
            ];
            // `CLAUDE_PROJECT_DIR` is a name of its own.
            let text = text.replace("CLAUDE_PROJECT_DIR", "\u{1}");
            pairs.iter().fold(text, |text, (from, to)| text.replace(from, to)).replace('\u{1}', "CLAUDE_PROJECT_DIR")
        };
        let file = root.join(case.file);
        for folder in [file.parent().unwrap(), &project.join("sub"), &project.join("here")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(&file, replaced(case.text)).unwrap();
        std::fs::write(project.join("key.txt"), "file-s3cret\n").unwrap();
        let mut command = home.command(&["--config", file.to_str().unwrap(), "servers", "--timeout", "60s"]);
        command.env("HOME", &root).current_dir(project.join("here"));
        command.env("TEAM_TOKEN", "team-s3cret").env("ONLY_BY_NAME", "named").env("NOT_NAMED", "anywhere");
        let ran = Ran::of(&[case.file], command.output().unwrap()).ends(0);
        assert!(!ran.out.contains("s3cret") && !ran.err.contains("s3cret"), "{}: {}{}", case.file, ran.out, ran.err);

        let lines = std::fs::read_to_string(&report).unwrap_or_default();
        let reports = |line: &str| lines.lines().any(|other| other == line);
        if !case.folder.is_empty() {
            let folder = format!("folder {}", root.join(case.folder).display());
            assert!(reports(&folder), "{}: {folder}\n{lines}", case.file);
            assert_eq!(reports("NOT_NAMED=anywhere"), case.all, "{}\n{lines}", case.file);
        }
        for line in case.given {
            assert!(reports(&replaced(line)), "{}: {line}\n{lines}", case.file);
        }
        let heads = heads.lock().unwrap();
        assert_eq!(heads.is_empty(), case.headers.is_empty(), "{}", case.file);
        for header in case.headers {
            assert!(heads.iter().all(|head| head.contains(header)), "{}: {header}\n{heads:?}", case.file);
        }
    }
}
