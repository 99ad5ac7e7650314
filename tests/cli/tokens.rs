//! Bearer tokens of the gateway: issued, accepted and revoked while it runs.

use std::os::unix::fs::PermissionsExt;

use super::{
    serve::{Listening, request},
    *,
};

#[test]
fn an_issued_token_is_accepted_until_it_is_revoked() {
    let home = Home::new();
    let created = home.run(&["token", "new", "ci", "--json"]).ends(0).json();
    assert_eq!((&created["type"], &created["name"]), (&json!("token"), &json!("ci")), "{created}");
    let token = created["token"].as_str().unwrap().to_owned();
    let plain = home.run(&["token", "new", "desk"]).ends(0).says("shown once").out;
    assert!(plain.trim().starts_with("sbt_"), "{plain}");
    home.run(&["token", "new", "ci"]).ends(2).says("a token named ci exists");
    home.run(&["token", "new", "local"]).ends(2).says("cannot be the name of a token");
    std::fs::write(home.path().join("token.txt"), "s3cret\n").unwrap();
    let gateway = Listening::start(&home, &["--demo", "--server", "database", "--token-file", "token.txt"]);
    let status = |token: &str| {
        let head = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}", gateway.address);
        request(std::net::TcpStream::connect(&gateway.address).unwrap(), &head, &Value::Null).0
    };
    assert_eq!((status(&token), status(plain.trim()), status("s3cret"), status("sbt_x")), (200, 200, 200, 401));
    home.run(&["token", "revoke", "ci"]).ends(0).prints("is revoked");
    assert_eq!((status(&token), status(plain.trim()), status("s3cret")), (401, 200, 200));
    gateway.end();
    let listed = home.run(&["token", "list", "--json"]).ends(0).json();
    assert_eq!((listed["tokens"].as_array().map(Vec::len), &listed["tokens"][0]["name"]), (Some(1), &json!("desk")), "{listed}");
    home.run(&["token", "revoke", "ci"]).ends(2).says("no token is named");
    // Neither the store nor the log has a token.
    let state = home.path().join(".local/state/switchboard");
    let store = state.join("gateway-tokens.json");
    assert_eq!(std::fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o600);
    for file in [store, state.join("log/switchboard.log")] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        assert!(!text.contains(&token[4..]) && !text.contains(&plain.trim()[4..]), "{text}");
    }
}

#[test]
fn from_the_first_token_on_a_loopback_listener_needs_one() {
    let home = Home::new();
    let gateway = Listening::start(&home, &["--demo", "--server", "database"]);
    let status = |header: &str| {
        let head = format!("GET /healthz HTTP/1.1\r\nhost: {}{header}", gateway.address);
        request(std::net::TcpStream::connect(&gateway.address).unwrap(), &head, &Value::Null).0
    };
    assert_eq!(status(""), 200);
    let token = home.run(&["token", "new", "one"]).ends(0).out;
    let header = format!("\r\nauthorization: Bearer {}", token.trim());
    assert_eq!((status(""), status(&header)), (401, 200));
    home.run(&["token", "revoke", "one"]).ends(0);
    assert_eq!((status(""), status(&header)), (401, 401), "a revocation does not open the listener");
    gateway.end();
}
