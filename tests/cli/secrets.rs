//! Canary secrets in every key of a configuration leave no trace in printed and stored output.

use std::{
    collections::BTreeSet,
    io::Write,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    time::{Duration, Instant},
};

use aho_corasick::AhoCorasick;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;

/// Unique values by purpose.
#[derive(Default)]
struct Canaries(Vec<(String, String)>);

impl Canaries {
    /// Adds a value. Some have characters that encodings change.
    fn hatch(&mut self, what: &str) -> String {
        let odd = ["", "+/=", "\u{e9}", " \"q\" ", "\\b"][self.0.len() % 5];
        self.with(what, odd)
    }

    /// Adds a value of letters, digits and dashes.
    fn plain(&mut self, what: &str) -> String {
        self.with(what, "")
    }

    fn with(&mut self, what: &str, odd: &str) -> String {
        let value = format!("cnry{:02}{odd}{:016x}", self.0.len(), fastrand::u64(..));
        self.0.push((what.to_owned(), value.clone()));
        value
    }

    /// Returns the canaries in `text`, in any encoding.
    fn traces(&self, place: &str, text: &[u8]) -> Vec<String> {
        let mut spellings = vec![];
        for (_, value) in &self.0 {
            // The random part alone must not remain either.
            let random = &value[value.len() - 16..];
            let hex: String = random.bytes().map(|b| format!("{b:02x}")).collect();
            let inner = |shift: usize| {
                let text = STANDARD.encode(format!("{}{random}", "x".repeat(shift)));
                text[shift * 2..20].to_owned()
            };
            spellings.extend([random.to_owned(), hex, inner(0), inner(1), inner(2)]);
        }
        let search = AhoCorasick::builder().ascii_case_insensitive(true).build(&spellings).unwrap();
        // Spellings may overlap: each canary has five in a row.
        let hits: BTreeSet<usize> = search.find_overlapping_iter(text).map(|hit| hit.pattern().as_usize() / 5).collect();
        hits.into_iter().map(|canary| format!("{} in {place}", self.0[canary].0)).collect()
    }
}

/// Starts an MCP server over HTTP that repeats the head of each request. Returns its port.
fn echoing_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || while stream.as_ref().is_ok_and(answer_http) {});
        }
    });
    port
}

/// Answers one request; returns whether there may be another.
fn answer_http(stream: &TcpStream) -> bool {
    let Some((head, message)) = read_request(stream) else { return false };
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": head, "version": "1"}, "instructions": head,
        }),
        "tools/list" => {
            let tool = |name: &str| json!({"name": name, "description": head, "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}});
            json!({"tools": [tool("echo"), tool("refuse")]})
        }
        "tools/call" if message["params"]["name"] == "refuse" => {
            return page(stream, "403 Forbidden", "text/plain", &format!("no: {head}"));
        }
        "tools/call" => json!({"content": [{"type": "text", "text": head}], "structuredContent": {"head": head}}),
        _ if message["id"].is_null() => return page(stream, "202 Accepted", "text/plain", ""),
        _ => json!({}),
    };
    page(stream, "200 OK", "application/json", &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string())
}

fn page(mut stream: &TcpStream, status: &str, kind: &str, body: &str) -> bool {
    let echoed = body.lines().next().unwrap_or_default();
    let text = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nX-Echo: {echoed}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).is_ok()
}

/// Returns every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Writes a configuration with a canary in every key; returns the variables that it needs.
fn configure(home: &Home, canaries: &mut Canaries) -> Vec<(&'static str, String)> {
    let program = badserver();
    let port = echoing_server();
    let toml = |text: &str| Value::from(text).to_string();
    let mut variables = vec![];
    let mut variable = |name: &'static str, value: String| variables.push((name, value));
    for name in ["QV", "VIA_TOKEN", "ARG_VAR", "KEY_VAR", "HEADER_TOKEN", "HEADER_PLAIN", "WF_PLAIN", "WF_TOKEN", "INHERITED_TOKEN"] {
        variable(name, if name.starts_with("HEADER") { canaries.plain(name) } else { canaries.hatch(name) });
    }
    variable("PATH_VAR", canaries.plain("PATH_VAR"));
    variable("QUERY_VAR", canaries.plain("QUERY_VAR"));
    variable("URL_VAR", format!("http://127.0.0.1:{port}/x?token={}", canaries.plain("URL_VAR")));
    let mut hatch = |what: &str| canaries.hatch(what);
    let env = [
        ("LEAK_LITERAL", hatch("env literal")),
        ("LEAK_MY_TOKEN", hatch("env literal of a secret name")),
        (
            "LEAK_URL",
            format!("postgres://ann:{}@db/x?sslmode=require", hatch("password in env").replace([' ', '"', '\\', '/', '+', '='], "_")),
        ),
        ("LEAK_JSON", json!({"Authorization": format!("Bearer {}", hatch("JSON in env"))}).to_string()),
        ("LEAK_DSN", format!("host=db user=ann password={} sslmode=require", hatch("DSN in env").replace(' ', "_"))),
        ("LEAK_COOKIE", format!("sid={}; theme=dark", hatch("cookie in env").replace([' ', '='], "_"))),
        ("LEAK_SPACES", format!("  {} \n", hatch("env with blanks around"))),
        ("LEAK_PEM", format!("-----BEGIN KEY-----\n{}\n-----END KEY-----", hatch("key in env"))),
    ];
    let mut env: Vec<String> = env.iter().map(|(name, value)| format!("{name} = {}", toml(value))).collect();
    env.push("LEAK_VIA = \"${QV}\"".into());
    env.push("LEAK_VIA_TOKEN = \"x ${VIA_TOKEN} y\"".into());
    env.push(format!("LEAK_DEFAULT = \"${{UNSET_VARIABLE:-{}}}\"", canaries.plain("default of a variable")));
    let env = env.join(", ");
    let mut plain = |what: &str| canaries.plain(what);
    let args = format!(
        "\"--token={}\", \"--api-key\", {}, \"${{ARG_VAR}}\", \"--key=${{KEY_VAR}}\", \"--header\", \"Authorization: Bearer {}\"",
        plain("argument"),
        toml(&plain("argument behind a flag")),
        plain("header in an argument")
    );
    let (user, password, key, segment) = (plain("URL user"), plain("URL password"), plain("URL query"), plain("URL path"));
    let (cookie, basic, redis) = (plain("cookie"), plain("Basic"), plain("Redis"));
    let basic = STANDARD.encode(format!("ann:{basic}"));
    let literal = plain("header literal");
    let text = format!(
        "[redis]\nurl = \"redis://ann:{redis}@127.0.0.1:1/0\"\n\n\
         [servers.leaky]\ncommand = {program:?}\nargs = [\"leaky\", {args}]\nenv = {{ {env} }}\n\n\
         [servers.web]\nurl = \"http://{user}:{password}@127.0.0.1:{port}/{segment}/${{PATH_VAR}}/mcp?api_key={key}&q=${{QUERY_VAR}}\"\n\
         headers = {{ Authorization = \"Bearer ${{HEADER_TOKEN}}\", X-Plain = \"${{HEADER_PLAIN}}\", X-Literal = \"{literal}\", Cookie = \"sid={cookie}; theme=dark\" }}\n\n\
         [servers.basic]\nurl = \"${{URL_VAR}}\"\nheaders = {{ Authorization = \"Basic {basic}\" }}\n"
    );
    let failing = format!(
        "[servers.gone]\ncommand = {program:?}\nargs = [\"leaky_exit\", {args}]\nenv = {{ {env} }}\ninherit_env = true\n\n\
         [servers.nowhere]\nurl = \"http://{user}:{password}@127.0.0.1:1/{segment}?api_key={key}\"\n"
    );
    std::fs::write(home.path().join("failing.toml"), failing).unwrap();
    let config = home.path().join(".config/switchboard");
    std::fs::create_dir_all(config.join("workflows")).unwrap();
    std::fs::write(config.join("config.toml"), text).unwrap();
    let workflow = r#"
        name = "echoes"
        env = ["WF_PLAIN", "WF_TOKEN"]
        [[step]]
        id = "one"
        tool = "leaky_result"
        arguments = { p = "{{ env.WF_PLAIN }} and {{ env.WF_TOKEN }}" }
        [[step]]
        id = "two"
        needs = ["one"]
        tool = "leaky_error"
        arguments = { p = "{{ env.WF_TOKEN }}" }
        on_error = "continue"
        [output]
        all = "{{ steps.one.result }} {{ env.WF_PLAIN }} {{ env.WF_TOKEN }}"
    "#;
    std::fs::write(config.join("workflows/echoes.toml"), workflow).unwrap();
    // Another client's file, with an envFile.
    let cursor = home.path().join(".cursor");
    std::fs::create_dir(&cursor).unwrap();
    std::fs::write(
        cursor.join(".env"),
        format!("LEAK_FILE={}\nexport LEAK_FILE_TOKEN='{}' # x\n", canaries.plain("envFile"), canaries.plain("envFile of a secret name")),
    )
    .unwrap();
    let imported = json!({"mcpServers": {
        "files": {"command": program, "args": ["leaky"], "envFile": ".env", "env": {"API_KEY": canaries.hatch("imported env"), "LEAK_QV": canaries.hatch("imported plain env")}},
        "site": {"url": format!("https://{}@h.example/mcp?key={}", canaries.plain("imported user"), canaries.plain("imported query")), "headers": {"X-Api-Key": canaries.plain("imported header"), "Authorization": format!("Bearer {}", canaries.plain("imported bearer"))}},
    }});
    std::fs::write(cursor.join("mcp.json"), imported.to_string()).unwrap();
    variables
}

/// The program that misbehaves, which is built with the tests.
pub fn badserver() -> PathBuf {
    let program = assert_cmd::cargo::cargo_bin!("switchboard");
    program.parent().unwrap().join("examples/badserver")
}

#[test]
fn no_canary_is_printed_or_stored() {
    let home = Home::new();
    let mut canaries = Canaries::default();
    let variables = configure(&home, &mut canaries);
    assert!(canaries.0.len() >= 40, "{}", canaries.0.len());
    let mut traces = vec![];
    let mut outputs = 0;
    let mut run = |line: &[&str]| {
        let mut command = home.command(line);
        command.env("SWITCHBOARD_CONFIG_DIR", home.path().join(".config/switchboard"));
        command.env("SWITCHBOARD_STATE_DIR", home.path().join(".state")).env("SWITCHBOARD_LOG", "trace");
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        let output = command.output().unwrap();
        for (stream, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            traces.extend(canaries.traces(&format!("{stream} of {}", line.join(" ")), text));
        }
        outputs += 1;
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for tool in ["leaky_result", "leaky_encoded", "leaky_error", "leaky_tool_error", "leaky_log", "leaky_crash", "web_echo", "web_refuse"] {
        for format in [&["-v"][..], &["--json"], &["--jsonl", "-v"], &["--raw"]] {
            run(&[&["call", tool, "--timeout", "20s"], format].concat());
        }
    }
    let typed = &variables.iter().find(|(name, _)| *name == "QV").unwrap().1;
    let argument = format!("p={typed}");
    run(&["call", "leaky_result", &argument, "--json"]);
    let (code, out, err) = run(&["call", "leaky_result", "--json"]);
    let masked = code == 0 && out.contains("•••");
    let first = format!("{out}\n{err}");
    for line in [
        &["servers"][..],
        &["servers", "--json"],
        &["servers", "-v", "--jsonl"],
        &["doctor"],
        &["doctor", "--json"],
        &["doctor", "-v"],
        &["tools"],
        &["tools", "--json"],
        &["tools", "-v", "--jsonl"],
        &["prompt", "leaky", "p"],
        &["prompt", "leaky", "p", "--json"],
        &["read", "leaky", "x://y", "--json"],
        &["cache", "stats"],
        &["cache", "stats", "--json"],
        &["cache", "purge", "*"],
        &["import"],
        &["import", "--json"],
        &["import", "--jsonl"],
        &["route", "leaky_result"],
        &["workflow", "check", "echoes"],
        &["run", "echoes", "--dry-run"],
        &["run", "echoes", "--dry-run", "--json"],
    ] {
        run(line);
    }
    let (_, ran, err) = run(&["run", "echoes", "--json"]);
    let document: Value = serde_json::from_str(&ran).unwrap_or_else(|error| panic!("{error}: {ran} {err}"));
    let output = document["output"]["all"].as_str().unwrap_or_default().to_owned();
    let id = document["run"].as_str().unwrap().to_owned();
    run(&["run", "echoes"]);
    run(&["run", "echoes", "--jsonl", "-v"]);
    run(&["run", "--resume", &id, "--json"]);
    run(&["workflow", "test-from-run", &id]);
    let (code, _, err) = run(&["workflow", "test-from-run", &id, "--write"]);
    assert_eq!(code, 0, "{err}");
    let (code, past, err) = run(&["workflow", "from-history", "--name", "again", "--last", "50"]);
    assert!(code == 0 && past.contains("leaky_result"), "{past} {err}");
    let (code, _, err) = run(&["workflow", "from-history", "--name", "again", "--last", "50", "--write"]);
    assert_eq!(code, 0, "{err}");
    for format in ["jsonl", "har", "markdown", "html"] {
        let file = format!("calls.{format}");
        run(&["history", "export", "--format", format, "--output", &file]);
        run(&["history", "export", "--format", format]);
    }
    for line in
        [&["history", "list", "--json"][..], &["history", "search", "cnry"], &["history", "stats", "--json"], &["drift", "--all", "--json"]]
    {
        run(line);
    }
    run(&["workflow", "check", "again"]);
    run(&["workflow", "test"]);
    let mcp = home.path().join(".cursor/mcp.json");
    let mcp = mcp.to_str().unwrap();
    run(&["--config", mcp, "call", "files_encoded", "--json"]);
    for line in [&["doctor"][..], &["servers", "-v", "--jsonl"], &["call", "gone_x", "--json"], &["call", "gone_x", "-v"]] {
        run(&[&["--config", "failing.toml", "--timeout", "2s"], line].concat());
    }
    run(&["--config", mcp, "--timeout", "2s", "doctor"]);
    let kept = [".config/switchboard/config.toml", "failing.toml", ".cursor/mcp.json", ".cursor/.env"].map(|file| home.path().join(file));
    for file in files(home.path()).into_iter().filter(|file| !kept.contains(file)) {
        traces.extend(canaries.traces(&file.display().to_string(), &std::fs::read(&file).unwrap()));
    }
    assert!(traces.is_empty(), "{} traces:\n{}", traces.len(), traces.join("\n"));
    assert!(masked && output.contains("•••"), "{first}\n{output}");
    assert!(outputs > 60, "{outputs}");
}

/// The command lines of the children of a process.
fn children(pid: u32) -> Vec<Vec<u8>> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<String> = lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    pids.iter().filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok()).collect()
}

#[test]
fn helpers_have_no_secret_on_their_command_line() {
    let home = Home::new();
    let mut canaries = Canaries::default();
    let secret = canaries.plain("env");
    let config = home.path().join("c.toml");
    std::fs::write(&config, format!("[servers.s]\ncommand = {:?}\nargs = [\"plain\"]\nenv = {{ MY_TOKEN = {secret:?} }}\n", badserver()))
        .unwrap();
    let line = ["--config", config.to_str().unwrap(), "call", "s_hang", "--yes"];
    let mut child = home.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let commands = loop {
        let commands = children(child.id());
        if commands.len() >= 2 || Instant::now() > until || !cfg!(target_os = "linux") {
            break commands;
        }
        std::thread::yield_now();
    };
    let traces: Vec<String> = commands.iter().flat_map(|command| canaries.traces("a command line", command)).collect();
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    child.wait().unwrap();
    assert!(traces.is_empty(), "{traces:?}");
    assert!(!commands.is_empty() || !cfg!(target_os = "linux"));
}

#[test]
fn import_shows_what_it_masks_and_writes_it_whole() {
    let home = Home::new();
    let mut canaries = Canaries::default();
    configure(&home, &mut canaries);
    let secret = canaries.0.iter().find(|(what, _)| what == "imported header").unwrap().1.clone();
    let shown = home.run(&["import"]).ends(0).says("--write stores them, --show-secrets prints them");
    assert!(shown.out.contains("X-Api-Key = \"•••\"") && !shown.out.contains(&secret), "{}", shown.out);
    let whole = home.run(&["import", "--show-secrets"]).ends(0);
    assert!(whole.out.contains(&secret), "{}", whole.out);
    let target = home.path().join("new");
    let mut command = home.command(&["import", "--write"]);
    let ran = Ran::of(&["import", "--write"], command.env("SWITCHBOARD_CONFIG_DIR", &target).output().unwrap()).ends(0);
    assert!(std::fs::read_to_string(target.join("config.toml")).unwrap().contains(&secret));
    assert!(!ran.err.contains(&secret), "{}", ran.err);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&target), mode(&target.join("config.toml"))), (0o700, 0o600));
}

#[test]
fn a_server_on_the_command_line_gets_headers_and_variables_that_are_never_printed() {
    let home = Home::new();
    let url = format!("http://127.0.0.1:{}/mcp?api_key=canary-0a1b2c-query", echoing_server());
    let header = "Authorization: Bearer canary-0a1b2c-header";
    let run = |line: &[&str]| {
        let ran = home.run(line);
        for text in [&ran.out, &ran.err] {
            assert!(!text.contains("canary-0a1b2c"), "{line:?}: {text}");
        }
        ran
    };
    for line in [
        &["call", "echo", "--header", header, "--", &url][..],
        &["call", "echo", "--", &url, "--header", header],
        &[&url, "--header", header, "call", "echo", "--json"],
    ] {
        let ran = run(line).ends(0);
        // The server repeats what it received, which is masked.
        assert!(ran.out.to_lowercase().contains("authorization: ") && ran.out.contains("•••"), "{line:?}: {}", ran.out);
    }
    run(&["doctor", "--header", header, "--", &url]).ends(0);
    let program = badserver().display().to_string();
    let script = "test \"$GIVEN\" = canary-0a1b2c-given && test \"$OURS\" = canary-0a1b2c-ours && exec \"$0\" slow; exit 9";
    let line = ["servers", "--json", "--env", "GIVEN=canary-0a1b2c-given", "--env", "OURS", "--", "sh", "-c", script, &program];
    let ran = Ran::of(&line, home.command(&line).env("OURS", "canary-0a1b2c-ours").output().unwrap()).ends(0);
    assert!(ran.out.contains("\"ready\"") && !ran.err.contains("canary-0a1b2c-"), "{} {}", ran.out, ran.err);
    for (line, why) in [
        (&["tools", "--header", "canary-0a1b2c", "--", &url][..], "has no colon"),
        (&["tools", "--env", "A=canary-0a1b2c", "--", &url], "applies to a server given as a command"),
        (&["tools", "--header", header, "--", "cat"], "applies to a server given as a URL"),
        (&["tools", "--header", header], "apply to a server on the command line"),
        (&["tools", "--", &url, "canary-0a1b2c"], "only --header"),
    ] {
        run(line).ends(2).says(why);
    }
    for file in files(home.path()) {
        let text = std::fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("canary-0a1b2c"), "{}", file.display());
    }
}
