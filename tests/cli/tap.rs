//! The tap as a program: bytes, exit codes, signals, and the console's view of it.

use std::{
    io::{BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt,
};

use super::*;

/// Longer than any wait needs; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

impl Home {
    /// Runs a shell command behind the tap, with this input.
    fn tapped(&self, script: &str, input: &[u8]) -> Output {
        let mut child = self
            .command(&["tap", "--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        // A command may end before it has read everything.
        let writing = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap();
        output
    }
}

#[test]
fn bytes_pass_unchanged_in_both_directions_and_to_stderr() {
    let home = Home::new();
    let input: Vec<u8> = (0..3_000_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let output = home.tapped("cat", &input);
    assert!(output.stdout == input, "{} of {} bytes", output.stdout.len(), input.len());
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    // Without a line end, and what follows the end of the input.
    let output = home.tapped("printf 'a\\0b'; cat >/dev/null; printf 'c\\r' ; printf 'err' >&2", b"x");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"a\0bc\r"[..], &b"err"[..]));
}

#[test]
fn the_end_of_the_process_is_that_of_the_tap() {
    let home = Home::new();
    for code in [0, 1, 3, 127, 255] {
        assert_eq!(home.tapped(&format!("exit {code}"), b"").status.code(), Some(code));
    }
    for (name, number) in [("TERM", 15), ("KILL", 9), ("INT", 2), ("HUP", 1), ("USR1", 10)] {
        let status = home.tapped(&format!("kill -{name} $$"), b"").status;
        assert_eq!(status.signal(), Some(number), "{name}: {status:?}");
    }
    let missing = home.run(&["tap", "--", "/missing/program"]).ends(127);
    assert!(missing.err.contains("/missing/program cannot be started"), "{}", missing.err);
    home.run(&["tap"]).ends(2).says("give the command of a server");
    home.run(&["tap", "--url", "http://127.0.0.1:1/mcp", "--listen", "0.0.0.0:0"]).ends(2).says("loopback");
}

#[test]
fn signals_reach_the_process() {
    let home = Home::new();
    for (name, signal) in [
        ("TERM", rustix::process::Signal::TERM),
        ("HUP", rustix::process::Signal::HUP),
        ("INT", rustix::process::Signal::INT),
        ("USR1", rustix::process::Signal::USR1),
    ] {
        // The shell runs a trap between two commands.
        let script = format!("trap 'echo {name}; exit 7' {name}; echo ready; while :; do sleep 0.05; done");
        let mut child = home.command(&["tap", "--", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        line.clear();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{name}\n"));
        assert_eq!(wait_for(child, PATIENCE).and_then(|status| status.code()), Some(7), "{name}");
    }
}

#[test]
fn a_tap_is_an_instance_and_records_its_messages() {
    let home = Home::new();
    let record = home.path().join("session.jsonl");
    let line = ["tap", "--name", "one", "--record", record.to_str().unwrap(), "--", "cat"];
    let mut child = home.command(&line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    writeln!(stdin, r#"{{"jsonrpc":"2.0","id":1,"method":"ping"}}"#).unwrap();
    let mut echoed = String::new();
    output.read_line(&mut echoed).unwrap();
    let listed = home.run(&["ps", "--json"]).ends(0).json();
    let instance = &listed["instances"][0];
    assert_eq!((&instance["name"], &instance["servers"], &instance["read_only"]), (&json!("one"), &json!(1), &json!(true)), "{listed}");
    drop(stdin);
    assert_eq!(wait_for(child, PATIENCE).and_then(|status| status.code()), Some(0));
    let text = std::fs::read_to_string(&record).unwrap();
    let frames: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = frames.iter().map(|frame| (frame["to"].as_str().unwrap(), frame["method"].as_str())).collect();
    // `cat` sends back what it gets.
    assert_eq!(seen.len(), 2, "{text}");
    assert!(seen.contains(&("server", Some("ping"))) && seen.contains(&("client", Some("ping"))), "{text}");
    assert_eq!(home.run(&["ps", "--json"]).ends(0).json()["instances"], json!([]));
}

#[test]
fn requests_over_http_pass_with_the_host_of_the_server() {
    let home = Home::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", server.local_addr().unwrap());
    let record = home.path().join("http.jsonl");
    let mut child = home.command(&["tap", "--url", &url, "--record", record.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let (tapping, address) = said.trim().split_once(" at http://").unwrap();
    assert_eq!(tapping, format!("tapping {url}"));
    let address = address.strip_suffix("/mcp").unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut received = vec![];
        let mut buffer = [0; 1024];
        while !received.ends_with(b"\"ping\"}") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{received:?}");
            received.extend_from_slice(&buffer[..count]);
        }
        let body = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8(received).unwrap()
    });
    let mut client = TcpStream::connect(address).unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let head = format!("POST /mcp HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer canary\r\nContent-Length: {}\r\n\r\n", body.len());
    client.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("{}}"), "{response}");
    let received = serving.join().unwrap();
    assert_eq!(received, format!("{head}{body}").replace(address, url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap()));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(wait_for(child, PATIENCE).and_then(|status| status.code()), Some(143));
    let text = std::fs::read_to_string(&record).unwrap();
    assert!(text.contains("\"method\":\"ping\"") && !text.contains("canary"), "{text}");
}
