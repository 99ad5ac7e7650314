//! Tests of the installation into the files of clients.

use super::*;

struct Home(tempfile::TempDir, Env);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap(), Env::default())
    }

    fn places(&self) -> InstallPlaces<'_> {
        InstallPlaces { home: self.0.path(), env: &self.1, project: None, state: self.0.path() }
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let file = self.0.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        file
    }
}

fn line() -> Vec<String> {
    ["/bin/switchboard", "serve"].map(str::to_owned).to_vec()
}

#[test]
fn every_client_gets_an_entry_and_undoing_restores_its_file_byte_by_byte() {
    for name in install_targets() {
        let home = Home::new();
        let place = plan_install(name, home.places(), &line(), None).unwrap().file;
        let toml = name == "codex";
        let old = match toml {
            true => "# mine\nmodel = \"x\"   # here\n\n[mcp_servers.other]\ncommand = \"y\"\n",
            false => "{\n  // mine\n  \"x\": 1.0, /* here */\n\t\"mcpServers\" : { \"other\":{\"command\":\"y\"} }\n}\n",
        };
        for before in [Some(old), Some(if toml { "" } else { "{}" }), None] {
            match before {
                Some(text) => drop(home.write(place.strip_prefix(home.0.path()).unwrap().to_str().unwrap(), text)),
                None => drop(fs::remove_file(&place)),
            }
            let plan = plan_install(name, home.places(), &line(), None).unwrap();
            assert_eq!(plan.effect, InstallEffect::Added, "{name}");
            plan.apply().unwrap();
            let text = fs::read_to_string(&place).unwrap();
            if before == Some(old) {
                assert!(text.contains("mine") && text.contains("here") && text.contains("other"), "{name}: {text}");
            }
            assert!(text.contains("/bin/switchboard") && text.contains("serve"), "{name}: {text}");
            assert_eq!(plan_install(name, home.places(), &line(), None).unwrap().effect, InstallEffect::Unchanged, "{name}: {text}");
            let undo = plan_undo(name, home.places()).unwrap();
            assert_eq!(undo.effect, InstallEffect::Restored, "{name}");
            undo.apply().unwrap();
            assert_eq!(fs::read_to_string(&place).ok().as_deref(), before, "{name}");
            assert_eq!(plan_undo(name, home.places()).unwrap().effect, InstallEffect::Unchanged, "{name}");
        }
    }
}

#[test]
fn what_a_client_reads_is_the_entry() {
    let home = Home::new();
    for (name, key, entry) in [
        ("cursor", "mcpServers", serde_json::json!({"command": "/bin/switchboard", "args": ["serve"]})),
        ("vscode", "servers", serde_json::json!({"type": "stdio", "command": "/bin/switchboard", "args": ["serve"]})),
        ("opencode", "mcp", serde_json::json!({"type": "local", "command": ["/bin/switchboard", "serve"], "enabled": true})),
    ] {
        let plan = plan_install(name, home.places(), &line(), None).unwrap();
        let written: serde_json::Value = serde_json::from_str(plan.text().unwrap()).unwrap();
        assert_eq!(written[key][ENTRY], entry, "{name}");
    }
    let plan = plan_install("codex", home.places(), &line(), None).unwrap();
    assert!(plan.text().unwrap().contains("[mcp_servers.switchboard]\ncommand = \"/bin/switchboard\"\nargs = [\"serve\"]"), "{plan:?}");
}

#[test]
fn an_edited_file_loses_only_the_entry_and_a_second_installation_remembers_the_first_file() {
    let home = Home::new();
    let old = "{\"mcpServers\": {}}";
    let file = home.write(".cursor/mcp.json", old);
    plan_install("cursor", home.places(), &line(), None).unwrap().apply().unwrap();
    let other = [line(), vec!["--profile".into(), "x".into()]].concat();
    let second = plan_install("cursor", home.places(), &other, None).unwrap();
    assert_eq!(second.effect, InstallEffect::Replaced);
    second.apply().unwrap();
    plan_undo("cursor", home.places()).unwrap().apply().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), old);
    plan_install("cursor", home.places(), &line(), None).unwrap().apply().unwrap();
    let edited = fs::read_to_string(&file).unwrap().replacen('{', "{ // edited\n", 1);
    fs::write(&file, edited).unwrap();
    let undo = plan_undo("cursor", home.places()).unwrap();
    assert_eq!(undo.effect, InstallEffect::Removed);
    undo.apply().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("// edited") && !text.contains("switchboard"), "{text}");
}

#[test]
fn what_cannot_be_edited_stays_as_it_is() {
    let home = Home::new();
    for text in ["{\"mcpServers\": [", "{\"mcpServers\": 3}", "[]"] {
        let file = home.write(".cursor/mcp.json", text);
        let error = plan_install("cursor", home.places(), &line(), None).unwrap_err().to_string();
        assert!(error.contains("mcp.json") && error.contains("--print"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let unknown = plan_install("emacs", home.places(), &line(), None).unwrap_err().to_string();
    assert!(unknown.contains("cursor") && unknown.contains("emacs"), "{unknown}");
    let file = home.write(".cursor/mcp.json", "{}");
    let plan = plan_install("cursor", home.places(), &line(), None).unwrap();
    fs::write(&file, "{ }").unwrap();
    assert!(plan.apply().unwrap_err().to_string().contains("has changed"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "{ }");
}
