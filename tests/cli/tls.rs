//! TLS, proxies and redirects of servers on the network, against listeners of this test.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};

use super::{Home, Ran};

/// A certificate with its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

fn authority_params() -> CertificateParams {
    let mut params = params("localhost");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn own(params: &CertificateParams) -> Identity {
    let key = KeyPair::generate().unwrap();
    Identity { certificate: params.self_signed(&key).unwrap(), key }
}

fn issued(params: &CertificateParams, by: &CertifiedIssuer<'static, KeyPair>) -> Identity {
    let key = KeyPair::generate().unwrap();
    Identity { certificate: params.signed_by(&key, by).unwrap(), key }
}

/// Answers one request of an MCP server without tools, or as `respond` says.
fn answer(stream: &mut (impl Read + Write), respond: &dyn Fn(&str) -> Option<String>) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(false);
    }
    let (mut length, mut header) = (0, String::new());
    while reader.read_line(&mut header)? > 2 {
        if let Some((_, value)) = header.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse().unwrap();
        }
        header.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let result = match request["method"].as_str() {
        Some("initialize") => {
            Some(json!({"result": {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}}))
        }
        Some("server/discover") => Some(json!({"error": {"code": -32601, "message": "unknown method"}})),
        _ => None,
    };
    let response = respond(&line).unwrap_or_else(|| match result {
        Some(mut result) => {
            result["jsonrpc"] = json!("2.0");
            result["id"] = request["id"].clone();
            let text = result.to_string();
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}", text.len())
        }
        None if line.starts_with("POST") => "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(),
        None => "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".to_owned(),
    });
    reader.get_mut().write_all(response.as_bytes())?;
    reader.get_mut().flush()?;
    Ok(true)
}

/// Accepts connections until the process ends. Returns the port.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Starts an MCP server over TLS with this certificate.
fn over_tls(identity: &Identity) -> u16 {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    listen(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        while matches!(answer(&mut stream, &|_| None), Ok(true)) {}
    })
}

/// Starts a server that gives one response to every request.
fn responding(response: &str) -> u16 {
    let response = response.to_owned();
    listen(move |mut stream| while matches!(answer(&mut stream, &|_| Some(response.clone())), Ok(true)) {})
}

/// A home with the files of all certificates. `nothing.pem` is an authority that issued none of them.
struct Place {
    home: Home,
    good: Identity,
    wrong: Identity,
    old: Identity,
    own_authority: Identity,
    leaf: Identity,
}

impl Place {
    fn new() -> Place {
        let home = Home::new();
        let write = |name: &str, text: String| fs::write(home.path().join(name), text).unwrap();
        let mut ca = authority_params();
        ca.distinguished_name.push(DnType::CommonName, "Our CA");
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        write("ca.pem", ca.as_ref().pem());
        write("nothing.pem", own(&authority_params()).certificate.pem());
        let (own_authority, leaf) = (own(&authority_params()), own(&params("localhost")));
        write("own.pem", own_authority.certificate.pem());
        write("leaf.pem", leaf.certificate.pem());
        let mut expired = params("localhost");
        (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 2, 1));
        Place {
            good: issued(&params("localhost"), &ca),
            wrong: issued(&params("other.example"), &ca),
            old: issued(&expired, &ca),
            own_authority,
            leaf,
            home,
        }
    }

    /// Runs a command on a server with these settings and variables. Where a case names none, `nothing.pem` replaces the
    /// system's authorities.
    fn run(&self, line: &[&str], settings: &str, variables: &[(&str, &str)]) -> Ran {
        fs::write(self.home.path().join("c.toml"), format!("[servers.s]\n{settings}\n")).unwrap();
        let line = [&["--config", "c.toml"][..], line].concat();
        let mut command = self.home.command(&line);
        command.env("SSL_CERT_FILE", self.home.path().join("nothing.pem"));
        for (name, value) in variables {
            command.env(name, value.replace("HOME", self.home.path().to_str().unwrap()));
        }
        Ran::of(&line, command.output().unwrap())
    }
}

#[test]
fn the_certificate_of_a_server_is_checked_and_every_refusal_is_explained() {
    let place = Place::new();
    let (good, wrong, old) = (over_tls(&place.good), over_tls(&place.wrong), over_tls(&place.old));
    let (own_authority, leaf) = (over_tls(&place.own_authority), over_tls(&place.leaf));
    // Responds to bytes that are not a request, as HTTP servers do, and reads the rest, so that the response arrives.
    let plain = listen(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    // Ends the connection, and reads the rest, so that the end arrives.
    let closing = listen(|mut stream| {
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let ca = "ca = \"ca.pem\"";
    type Case<'c> = (u16, &'c str, &'c [(&'c str, &'c str)], Option<(&'c str, &'c str)>);
    let cases: &[Case<'_>] = &[
        (good, "", &[], Some(("unknown_issuer", "issued by an authority that is not trusted"))),
        (good, ca, &[], None),
        (good, "", &[("SSL_CERT_FILE", "HOME/ca.pem")], None),
        (good, "", &[("NODE_EXTRA_CA_CERTS", "HOME/ca.pem")], None),
        (good, "", &[("NODE_EXTRA_CA_CERTS", "HOME/none.pem")], Some(("unknown_issuer", "NODE_EXTRA_CA_CERTS names"))),
        (good, ca, &[("SSL_CERT_FILE", "HOME/none.pem")], Some(("trust_file", "SSL_CERT_FILE names"))),
        (good, "ca = \"none.pem\"", &[], Some(("trust_file", "ca names"))),
        (own_authority, "", &[], Some(("self_signed", "is self-signed and not trusted"))),
        (own_authority, "ca = \"own.pem\"", &[], None),
        (own_authority, "", &[("SSL_CERT_FILE", "HOME/own.pem")], None),
        (own_authority, "ca = \"leaf.pem\"", &[], Some(("self_signed", "is self-signed and not trusted"))),
        (leaf, "", &[], Some(("self_signed", "is self-signed and not trusted"))),
        (leaf, "ca = \"leaf.pem\"", &[], None),
        (leaf, "", &[("NODE_EXTRA_CA_CERTS", "HOME/leaf.pem")], None),
        (wrong, ca, &[], Some(("wrong_name", "not valid for localhost"))),
        (old, ca, &[], Some(("expired", "expired on 2020-02-01"))),
        (old, "insecure = true", &[], None),
        (plain, ca, &[], Some(("not_tls", "does not speak TLS"))),
        (closing, ca, &[], Some(("handshake", "ended the connection during the TLS handshake"))),
    ];
    for (port, settings, variables, expected) in cases {
        let url = format!("url = \"https://localhost:{port}/mcp\"\n{settings}");
        let ran = place.run(&["servers", "--json"], &url, variables);
        let case = format!("{settings} {variables:?}\n{}{}", ran.out, ran.err);
        let server = &ran.json()["servers"][0];
        match expected {
            None => assert_eq!((ran.code, &server["state"]), (0, &json!("ready")), "{case}"),
            Some((problem, words)) => {
                assert_eq!((ran.code, &server["failure"]["tls"], &server["state"]), (3, &json!(problem), &json!("failed")), "{case}");
                assert!(server["failure"]["summary"].as_str().is_some_and(|text| text.contains(words)), "{case}");
                assert!(!case.contains("InvalidCertificate") && !case.contains("OtherError"), "a library's words: {case}");
            }
        }
    }
}

#[test]
fn a_call_that_meets_a_refused_certificate_names_the_ways_to_trust_it() {
    let place = Place::new();
    let url = format!("url = \"https://localhost:{}/mcp\"", over_tls(&place.own_authority));
    let ran = place.run(&["call", "s/tool"], &url, &[]).ends(3);
    let ran = ran.says("self-signed").says("ca = \"FILE\"").says("SSL_CERT_FILE").says("NODE_EXTRA_CA_CERTS");
    ran.says("insecure = true");
}

#[test]
fn an_unchecked_certificate_is_shown_everywhere() {
    let place = Place::new();
    let settings = format!("url = \"https://localhost:{}/mcp\"\ninsecure = true", over_tls(&place.wrong));
    let table = place.run(&["servers"], &settings, &[]).ends(0);
    assert!(table.out.contains("(insecure: certificate not checked)"), "{}", table.out);
    let listed = place.run(&["servers", "--json"], &settings, &[]).ends(0).json();
    assert_eq!(listed["servers"][0]["insecure"], true);
    let doctor = place.run(&["doctor", "--log-file", "log.txt"], &settings, &[]).ends(0);
    assert!(doctor.out.contains("insecure = true: the certificate is not checked"), "{}", doctor.out);
    let log = fs::read_to_string(place.home.path().join("log.txt")).unwrap();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("certificate of the server is not checked")), "{log}");
}

#[test]
fn settings_that_have_no_effect_are_refused() {
    let place = Place::new();
    for (settings, words) in [
        ("url = \"http://localhost:1/mcp\"\nca = \"ca.pem\"", "`ca` does not apply to an http:// address"),
        ("url = \"http://localhost:1/mcp\"\ninsecure = true", "`insecure` does not apply to an http:// address"),
        ("url = \"https://localhost:1/mcp\"\nca = \"ca.pem\"\ninsecure = true", "`ca` is set together with `insecure`"),
        ("command = \"x\"\ninsecure = true", "`insecure` does not apply to a program"),
    ] {
        let ran = place.run(&["servers"], settings, &[]);
        let text = ran.err.replace("servers.s.", "");
        assert!(
            ran.code != 0 && words.split('`').filter(|part| !part.is_empty()).all(|part| text.contains(part.trim())),
            "{settings}: {text}"
        );
    }
}

#[test]
fn failures_name_the_proxy_without_its_credentials() {
    let place = Place::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let proxy = format!("http://ann:hunter22@127.0.0.1:{closed}");
    let unreachable = place.run(&["doctor", "--timeout", "3s"], "url = \"https://mcp.invalid/mcp\"", &[("HTTPS_PROXY", &proxy)]).ends(3);
    let named = format!("through the proxy http://127.0.0.1:{closed} (HTTPS_PROXY)");
    assert!(unreachable.out.contains(&named), "{}", unreachable.out);
    let refusing = responding("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
    let proxy = format!("http://ann:hunter22@127.0.0.1:{refusing}");
    let refused = place.run(&["doctor"], "url = \"http://mcp.invalid/mcp\"", &[("http_proxy", &proxy)]).ends(3);
    assert!(refused.out.contains(&format!("the proxy http://127.0.0.1:{refusing} (http_proxy)")), "{}", refused.out);
    for ran in [&unreachable, &refused] {
        assert!(!ran.out.contains("hunter22") && !ran.err.contains("hunter22"), "{}{}", ran.out, ran.err);
    }
}

#[test]
fn a_redirect_that_is_not_followed_shows_its_target_without_credentials() {
    let place = Place::new();
    for (status, location, shown) in [
        ("302 Found", "https://ann:hunter22@other.example/mcp?token=hunter22", "https://other.example/mcp?token=•••"),
        ("301 Moved Permanently", "/mcp/", "/mcp/"),
        ("307 Temporary Redirect", "https://other.example/mcp", "https://other.example/mcp"),
    ] {
        let port = responding(&format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
        let shown = if shown.starts_with('/') { format!("http://127.0.0.1:{port}{shown}") } else { shown.to_owned() };
        let settings = format!("url = \"http://127.0.0.1:{port}/mcp\"");
        for line in [&["doctor"][..], &["doctor", "--json"], &["servers", "--jsonl", "--verbose"]] {
            let ran = place.run(line, &settings, &[]).ends(3);
            assert!(ran.out.contains(&format!("redirects to {shown}")), "{}\n{}", ran.out, ran.err);
            assert!(ran.out.contains("set url = ") && !ran.out.contains("hunter22") && !ran.err.contains("hunter22"), "{}", ran.out);
        }
    }
}
