//! What `doctor` advises for servers that do not start.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn executable(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_command_that_cannot_be_started_gets_the_advice_that_fits() {
    let home = Home::new();
    let at = |path: &str| home.path().join(path);
    executable(&at(".nvm/versions/node/v22.1.0/bin/npx-only-here"), "#!/bin/sh\n");
    executable(&at("script"), "#!/no/such/interpreter\n");
    std::fs::write(at("plain.txt"), "hello").unwrap();
    let file = json!({"mcpServers": {
        "nvm": {"command": "npx-only-here", "args": ["-y", "pkg"]},
        "whole": {"command": "npx-none -y @scope/pkg --flag"},
        "tilde": {"command": "~/bin/nothing"},
        "dir": {"command": home.path()},
        "noexec": {"command": at("plain.txt")},
        "script": {"command": at("script")},
        "win": {"command": "cmd", "args": ["/c", "npx", "-y", "x"]},
        "winpath": {"command": "C:\\Program Files\\nodejs\\node.exe", "args": ["C:\\x.js"]},
        "scheme": {"url": "h.example/mcp"},
    }});
    std::fs::write(at("mcp.json"), file.to_string()).unwrap();
    let ran = home.run(&["--config", "mcp.json", "--timeout", "60s", "doctor", "--json"]).ends(3);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let hints = |name: &str| -> Vec<String> {
        let server = document["servers"].as_array().unwrap().iter().find(|server| server["server"] == name).unwrap();
        server["failure"]["hints"].as_array().unwrap().iter().map(|hint| hint.as_str().unwrap().to_owned()).collect()
    };
    for (name, words) in [
        ("nvm", ".nvm/versions/node/v22.1.0/bin (nvm)"),
        ("whole", r#""args": ["-y", "@scope/pkg", "--flag"]"#),
        ("tilde", "does not exist"),
        ("dir", "is a folder"),
        ("noexec", "chmod +x"),
        ("script", "install /no/such/interpreter"),
        ("win", "leave out `cmd /c`"),
        ("winpath", "one of Windows"),
        ("scheme", "put https:// in front of it"),
    ] {
        assert!(hints(name).iter().any(|hint| hint.contains(words)), "{name}: {:?}", hints(name));
    }
    assert_eq!(hints("whole")[1], "\"command\": \"npx-none\",");
}

#[test]
fn a_variable_that_is_held_back_is_named_and_its_value_is_not() {
    let home = Home::new();
    let script = "echo 'Error: MY_API_KEY environment variable is required' >&2; exit 1";
    std::fs::write(home.path().join("f.toml"), format!("[servers.s]\ncommand = \"sh\"\nargs = [\"-c\", {script:?}]\n")).unwrap();
    let run = |with: bool| {
        let line = ["--config", "f.toml", "--timeout", "60s", "doctor"];
        let mut command = home.command(&line);
        if with {
            command.env("MY_API_KEY", "k3y-of-mine");
        }
        Ran::of(&line, command.output().unwrap()).ends(3)
    };
    let advice = "MY_API_KEY is set here, but not passed on to this server: add env = { MY_API_KEY = \"${MY_API_KEY}\" }";
    let ran = run(true);
    assert!(ran.out.contains(advice) && !format!("{}{}", ran.out, ran.err).contains("k3y-of-mine"), "{}", ran.out);
    assert!(!run(false).out.contains("not passed on"));
}
