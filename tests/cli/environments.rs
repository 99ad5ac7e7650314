//! Environments: `--environment` and SWITCHBOARD_ENVIRONMENT choose variables and servers.

use super::*;

#[test]
fn an_environment_gives_variables_and_chooses_servers() {
    let home = Home::new();
    let program = assert_cmd::cargo::cargo_bin!("switchboard").display().to_string();
    let config = format!(
        "[environments.staging]\nvariables = {{ SERVER = \"database\", STATE = {state:?} }}\ndisabled_servers = [\"lo*\"]\n\
         [servers.db]\ncommand = {program:?}\nargs = [\"demo-server\", \"--dir\", \"${{STATE}}\", \"${{SERVER}}\"]\n\
         [servers.local]\ncommand = \"${{NO_SUCH_PROGRAM:-no-such-program}}\"\n",
        state = home.path().join("tmp")
    );
    std::fs::write(home.path().join("x.toml"), config).unwrap();
    let line = ["--config", "x.toml", "servers", "--json"];
    let states = |ran: Ran| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        ran.json()["servers"].as_array().unwrap().iter().map(|server| (text(&server["server"]), text(&server["state"]))).collect()
    };
    let expected = [("db".to_owned(), "ready".to_owned()), ("local".to_owned(), "disabled".to_owned())];
    let by_flag = home.run(&[&line[..], &["--environment", "staging"]].concat()).ends(0);
    assert_eq!(states(by_flag), expected);
    let by_variable = home.command(&line).env("SWITCHBOARD_ENVIRONMENT", "staging").output().unwrap();
    assert_eq!(states(Ran::of(&line, by_variable).ends(0)), expected);
    std::fs::read_dir(home.path().join("tmp")).unwrap().flatten().for_each(|entry| match entry.path() {
        folder if folder.is_dir() => std::fs::remove_dir_all(folder).unwrap(),
        file => std::fs::remove_file(file).unwrap(),
    });
    // Without an environment the variables are unset, and an empty name is none.
    let without = home.command(&line).env("SWITCHBOARD_ENVIRONMENT", "").output().unwrap();
    assert_eq!(
        states(Ran::of(&line, without).ends(3)),
        [("db".to_owned(), "failed".to_owned()), ("local".to_owned(), "failed".to_owned())]
    );
    home.run(&["--config", "x.toml", "servers", "--environment", "stagin"])
        .ends(2)
        .says("the environment `stagin` is not configured")
        .says("did you mean `staging`?");
}
