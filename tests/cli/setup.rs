//! `add`, `remove`, `enable`, `disable`, `list` and `config`.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

use super::{Home, Ran};

const FILE: &str = "# Mine.\nseparator = \"_\"\n\n# The files.\n[servers.files]\ncommand = \"npx\" # fast\n";

impl Home {
    fn config(&self) -> std::path::PathBuf {
        self.path().join("cfg/config.toml")
    }

    fn write_config(&self, text: &str) {
        std::fs::create_dir_all(self.path().join("cfg")).unwrap();
        std::fs::write(self.config(), text).unwrap();
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.config()).unwrap_or_default()
    }

    fn set_up(&self, line: &[&str]) -> Ran {
        let mut command = self.command(line);
        command.env("SWITCHBOARD_CONFIG_DIR", self.path().join("cfg")).env("SWITCHBOARD_STATE_DIR", self.path().join("state"));
        Ran::of(line, command.output().unwrap())
    }
}

#[test]
fn a_command_is_added_and_the_rest_of_the_file_stays() {
    let home = Home::new();
    home.write_config(FILE);
    let line = ["add", "db", "--env", "DB_URL", "--env", "MODE=s3cret-mode", "--description", "The shop", "--", "npx", "-y", "db-server"];
    let ran = home.set_up(&[&["add", "--dry-run"][..], &line[1..]].concat()).ends(0);
    assert!(ran.out.contains("+[servers.db]") && ran.out.contains("+args = [\"-y\", \"db-server\"]"), "{}", ran.out);
    assert!(!ran.out.contains("s3cret"), "{}", ran.out);
    assert_eq!(home.text(), FILE, "a dry run writes nothing");
    let ran = home.set_up(&line).ends(0);
    assert!(ran.out.starts_with("added db in ") && !ran.out.contains("s3cret"), "{}", ran.out);
    let added = "\n[servers.db]\ndescription = \"The shop\"\ncommand = \"npx\"\nargs = [\"-y\", \"db-server\"]\n\
                 env = { DB_URL = \"${DB_URL}\", MODE = \"s3cret-mode\" }\n";
    assert_eq!(home.text(), format!("{FILE}{added}"));
    // A taken name.
    let ran = home.set_up(&["add", "db", "https://x.example/mcp"]).ends(2);
    assert!(ran.err.contains("--replace"), "{}", ran.err);
    home.set_up(&["add", "db", "https://x.example/mcp", "--replace", "--header", "Authorization: Bearer ${TOKEN}"]).ends(0);
    assert!(home.text().contains("[servers.db]\nurl = \"https://x.example/mcp\"\nheaders = { Authorization = \"Bearer ${TOKEN}\" }\n"));
    // Disabled, enabled and removed, with the file as before.
    home.set_up(&["disable", "files", "db"]).ends(0);
    assert_eq!(home.text().matches("disabled = true").count(), 2);
    let listed = home.set_up(&["list", "--json"]).ends(7).json();
    let states: Vec<&str> = listed["servers"].as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["disabled", "invalid"], "{listed}");
    home.set_up(&["enable", "files"]).ends(0);
    home.set_up(&["remove", "db"]).ends(0);
    assert_eq!(home.text(), FILE);
    let ran = home.set_up(&["remove", "fils"]).ends(2);
    assert!(ran.err.contains("did you mean files"), "{}", ran.err);
}

#[test]
fn a_file_and_a_name_without_a_configuration_create_one() {
    let home = Home::new();
    let manifest = r#"{"manifest_version": "0.3", "name": "clock", "server": {"mcp_config": {"command": "uvx", "args": ["clock"]}}}"#;
    std::fs::write(home.path().join("manifest.json"), manifest).unwrap();
    home.set_up(&["add", "manifest.json"]).ends(0);
    assert_eq!(home.text(), "[servers.clock]\ncommand = \"uvx\"\nargs = [\"clock\"]\n");
    home.set_up(&["add", "time", "./manifest.json", "--group", "local", "--disabled"]).ends(0);
    assert!(home.text().contains("\n[servers.time]\ngroup = \"local\"\ndisabled = true\ncommand = \"uvx\"\n"), "{}", home.text());
    let ran = home.set_up(&["add", "nothing"]).ends(2);
    assert!(ran.err.contains("switchboard add nothing -- COMMAND"), "{}", ran.err);
    assert!(home.set_up(&["add", "none.json"]).ends(2).err.contains("none.json"));
}

/// Answers one request; returns the address, and the thread, which ends with the request line.
fn registry(status: &'static str, body: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        reader.read_line(&mut request).unwrap();
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        request
    });
    (address, serving)
}

#[test]
fn a_server_of_the_registry_is_added_with_its_inputs() {
    let home = Home::new();
    let (address, serving) = registry(
        "200 OK",
        r#"{"server": {"name": "io.github.ann/weather", "description": "Weather", "version": "1.2.0", "packages": [
            {"registryType": "npm", "identifier": "@ann/weather", "version": "1.2.0", "transport": {"type": "stdio"},
             "environmentVariables": [{"name": "API_KEY", "isRequired": true, "isSecret": true}]}]}, "_meta": {}}"#,
    );
    let ran = home.set_up(&["add", "io.github.ann/weather", "--registry", &address]).ends(0);
    assert_eq!(serving.join().unwrap(), "GET /v0.1/servers/io.github.ann%2Fweather/versions/latest HTTP/1.1\r\n");
    assert!(ran.err.contains("needs an input: API_KEY") && ran.err.contains("--input API_KEY=VALUE"), "{}", ran.err);
    let expected = "[servers.weather]\ndescription = \"Weather\"\ncommand = \"npx\"\nargs = [\"-y\", \"@ann/weather@1.2.0\"]\n\
                    env = { API_KEY = \"${input:API_KEY}\" }\n";
    assert_eq!(home.text(), expected);

    let (address, serving) = registry("404 Not Found", "{}");
    let ran = home.set_up(&["add", "io.github.ann/none", "--registry", &address]).ends(2);
    serving.join().unwrap();
    assert!(ran.err.contains("has no server \"io.github.ann/none\""), "{}", ran.err);
    let (address, serving) = registry("200 OK", "<html>");
    let ran = home.set_up(&["add", "io.github.ann/x", "--registry", &address]).ends(4);
    serving.join().unwrap();
    assert!(ran.err.contains("no member `server`"), "{}", ran.err);
    let closed = home.set_up(&["add", "io.github.ann/x", "--registry", &address]).ends(4);
    assert!(closed.err.contains("cannot be used") && closed.err.contains("connection"), "{}", closed.err);
}

#[test]
fn the_configuration_is_shown_without_secrets_and_checked_with_places() {
    let home = Home::new();
    home.write_config("[servers.a]\nurl = \"https://x.example/mcp\"\nheaders = { Authorization = \"s3cret-token\" } # mine\n");
    let ran = home.set_up(&["config", "show"]).ends(0);
    assert!(ran.out.contains("Authorization = \"•••\" } # mine") && !ran.out.contains("s3cret"), "{}", ran.out);
    assert_eq!(home.set_up(&["config", "path"]).ends(0).out.trim(), home.config().to_str().unwrap());
    assert!(home.set_up(&["config", "check"]).ends(0).out.starts_with("ok: 1 file, 1 server"));

    home.write_config("#:schema ./config.schema.json\nsepparator = \"_\"\n[servers.a]\ncommand = \"true\"\n");
    let summary = home.path().join("summary.md");
    let line = ["config", "check", "--format", "gcc", "--step-summary", summary.to_str().unwrap()];
    let ran = home.set_up(&line).ends(7);
    let expected = format!("{}:2:1: error: `sepparator` unknown key (did you mean `separator`?)\n", home.config().display());
    assert_eq!(ran.out, expected);
    assert!(std::fs::read_to_string(&summary).unwrap().contains("**error**"));
    let sarif = home.set_up(&["config", "check", "--format", "sarif"]).ends(7).json();
    assert_eq!(sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"], 2);
    home.write_config("a = [");
    home.set_up(&["config", "check"]).ends(2);
    let schema = home.set_up(&["config", "schema"]).ends(0).json();
    assert_eq!(schema["properties"]["separator"]["default"], "_");
}

#[test]
fn an_edited_configuration_is_checked() {
    let home = Home::new();
    let editor = "printf 'separator = 1\\n' >";
    let mut command = home.command(&["config", "edit"]);
    command.env("SWITCHBOARD_CONFIG_DIR", home.path().join("cfg")).env("VISUAL", editor);
    let ran = Ran::of(&["config", "edit"], command.output().unwrap()).ends(7);
    assert!(ran.out.contains("config.toml:1:") && ran.out.contains("should be a string"), "{}", ran.out);
    assert_eq!(home.text(), "separator = 1\n");
    let mut command = home.command(&["config", "edit"]);
    command.env("SWITCHBOARD_CONFIG_DIR", home.path().join("cfg")).env("VISUAL", "false");
    Ran::of(&["config", "edit"], command.output().unwrap()).ends(6);
}

#[test]
fn a_bundle_is_unpacked_and_its_server_is_added() {
    let home = Home::new();
    let manifest = r#"{"manifest_version": "0.3", "name": "clock", "server": {"type": "node", "entry_point": "server/index.js",
        "mcp_config": {"command": "node", "args": ["${__dirname}/server/index.js"]}}}"#;
    std::fs::create_dir(home.path().join("server")).unwrap();
    std::fs::write(home.path().join("server/index.js"), "// server").unwrap();
    std::fs::write(home.path().join("manifest.json"), manifest).unwrap();
    let zipped = std::process::Command::new("python3")
        .args(["-m", "zipfile", "-c", "clock.mcpb", "manifest.json", "server/"])
        .current_dir(home.path())
        .status()
        .unwrap();
    assert!(zipped.success());
    let ran = home.set_up(&["add", "clock.mcpb", "--dry-run"]).ends(2);
    assert!(ran.err.contains("unpack it") && !home.path().join("state/bundles").exists(), "{}", ran.err);
    home.set_up(&["add", "clock.mcpb"]).ends(0);
    let script = home.path().join("state/bundles/clock/server/index.js");
    assert_eq!(std::fs::read_to_string(&script).unwrap(), "// server");
    assert_eq!(home.text(), format!("[servers.clock]\ncommand = \"node\"\nargs = [\"{}\"]\n", script.display()));
    std::fs::write(home.path().join("bad.mcpb"), "no archive").unwrap();
    assert!(home.set_up(&["add", "bad.mcpb"]).ends(2).err.contains("not a ZIP archive"));
}
