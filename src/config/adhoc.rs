//! Servers given on the command line.

use super::{
    error::ConfigError,
    kinds::unix_url,
    server::{check_url, is_header_name},
    text::Env,
};
use crate::domain::{
    secret::{Secret, rule},
    server::{ServerSpec, Transport},
};

/// Returns a server started by a command line, named after the package or program that it runs:
/// `npx -y @modelcontextprotocol/server-everything` is `everything`, `uvx mcp-server-git` is `git`.
///
/// The words are not expanded: the shell has done that already.
pub fn server_from_command(argv: &[String]) -> ServerSpec {
    let (command, args) = argv.split_first().map_or((String::new(), &[][..]), |(c, a)| (c.clone(), a));
    let launch = Transport::Stdio { command, args: args.iter().map(Secret::literal).collect(), env: vec![], inherit_env: false, cwd: None };
    ServerSpec::new(name_of(argv).as_str(), launch)
}

/// Returns a server with an endpoint (`http`, `https`, or `unix:///path/to.sock#/mcp`), named after its host. Fails for
/// any other address.
pub fn server_from_url(url: &str) -> Result<ServerSpec, ConfigError> {
    let (address, socket) = unix_url(url).unwrap_or_else(|| (url.to_owned(), None));
    check_url(&address).map_err(|(message, hint)| ConfigError::new(format!("the address {message}")).hint(hint))?;
    if socket.as_deref() == Some("") {
        return Err(ConfigError::new("the address names no socket").hint("it looks like unix:///path/to.sock#/mcp"));
    }
    let name = match &socket {
        Some(path) => path.rsplit('/').next().unwrap_or_default().trim_end_matches(".sock").to_owned(),
        None => host_name(&address),
    };
    let launch = Transport::Http { url: address, headers: vec![], socket: socket.map(Into::into) };
    Ok(ServerSpec::new(clean(&name).as_str(), launch))
}

/// Who replaces the variables in a value of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variables {
    /// The shell. One that is left is a mistake.
    Expanded,
    /// The configuration file, when it is read.
    Written,
}

/// Adds headers, each written as `NAME: VALUE`. Every value counts as secret, and no error holds a part of it.
pub fn add_headers(spec: &mut ServerSpec, given: &[Secret], variables: Variables) -> Result<(), ConfigError> {
    let wrong = |message: &str, hint: &str| Err(ConfigError::new(format!("--header {message}")).hint(hint));
    let form = "write it as --header 'NAME: VALUE'";
    for header in given {
        let Transport::Http { headers, .. } = &mut spec.launch else {
            return wrong("applies to a server given as a URL", "use --env NAME=VALUE for a command");
        };
        let Some((name, value)) = header.expose().split_once(':') else { return wrong("has no colon", form) };
        let (name, value) = (name.trim(), value.trim());
        if !is_header_name(name) {
            return wrong("has an invalid name before the colon", form);
        }
        if value.chars().any(|c| c != '\t' && c.is_control()) {
            return wrong("has a control character in its value", "remove line breaks from the value");
        }
        if value.contains("${") {
            if variables == Variables::Written {
                headers.push((name.to_owned(), Secret::new("", value)));
                continue;
            }
            return wrong("has a variable that the shell did not expand", "use double quotes: --header \"NAME: $VARIABLE\"");
        }
        headers.push((name.to_owned(), Secret::literal(value)));
        spec.origin.variables.extend(rule::of_value("secret", value));
    }
    Ok(())
}

/// Adds variables, each written as `NAME=VALUE`, or as `NAME` for the variable of `env`. Every value counts as secret, and no
/// error holds a part of it.
pub fn add_variables(spec: &mut ServerSpec, given: &[Secret], env: &Env, written: Variables) -> Result<(), ConfigError> {
    let wrong = |message: String, hint: &str| Err(ConfigError::new(format!("--env {message}")).hint(hint));
    for variable in given {
        let Transport::Stdio { env: variables, .. } = &mut spec.launch else {
            return wrong("applies to a server given as a command".into(), "use --header 'NAME: VALUE' for a URL");
        };
        let (name, value) = match variable.expose().split_once('=') {
            Some((name, value)) if written == Variables::Written && value.contains("${") => (name, Secret::new("", value)),
            Some((name, value)) => (name, Secret::literal(value)),
            None if written == Variables::Written => (variable.expose(), Secret::new("", format!("${{{}}}", variable.expose()))),
            None => {
                let name = variable.expose();
                let Some(value) = env.get(name) else {
                    return wrong("names a variable that is not set".into(), "set it, or write --env NAME=VALUE");
                };
                (name, Secret::new(value, format!("${{{name}}}")))
            }
        };
        if name.is_empty() || name.contains('\0') || value.expose().contains('\0') {
            return wrong("has no valid name before the =".into(), "write it as --env NAME=VALUE");
        }
        spec.origin.variables.extend(rule::of_value("secret", value.expose()));
        variables.push((name.to_owned(), value));
    }
    Ok(())
}

/// `https://mcp.example.com/x` is `example`, `http://localhost:3000` is `localhost-3000`.
fn host_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let numeric = host.chars().all(|c| c.is_ascii_hexdigit() || ".:[]".contains(c)) && host.contains(|c: char| c.is_ascii_digit());
    if numeric || !host.contains('.') {
        return host.replace(['[', ']'], "").replace([':', '.'], "-");
    }
    let name = host.split(':').next().unwrap_or_default();
    let labels: Vec<&str> = name.split('.').collect();
    let useful = labels.iter().take(labels.len().saturating_sub(1)).find(|l| !["mcp", "api", "www", ""].contains(*l));
    useful.or(labels.first()).map(|l| (*l).to_owned()).unwrap_or_default()
}

/// Options of launchers (npx, uvx, docker and others) that take the next word as their value.
const VALUED: [&str; 34] = [
    "-p",
    "--package",
    "--from",
    "--with",
    "--python",
    "--index",
    "--index-url",
    "--directory",
    "--project",
    "--env-file",
    "-e",
    "--env",
    "-v",
    "--volume",
    "--mount",
    "--name",
    "--network",
    "--net",
    "-w",
    "--workdir",
    "-u",
    "--user",
    "--entrypoint",
    "--platform",
    "--pull",
    "-l",
    "--label",
    "-h",
    "--hostname",
    "--spec",
    "--import",
    "--require",
    "-r",
    "--add-host",
];

fn name_of(argv: &[String]) -> String {
    let base = |word: &str| word.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let Some(program) = argv.first() else { return "server".into() };
    let mut words: &[String] = &argv[1..];
    let program_name = base(program);
    let stem = program_name.trim_end_matches(".exe").trim_end_matches(".cmd");
    let skips: &[&str] = match stem {
        "npx" | "bunx" | "pnpx" | "uvx" | "node" | "bun" | "deno" | "tsx" | "java" | "ruby" | "perl" | "sh" | "bash" | "env" => {
            &["run", "x"]
        }
        "npm" | "pnpm" | "yarn" => &["exec", "dlx", "run", "x"],
        "uv" | "pipx" | "poetry" => &["run", "tool"],
        "docker" | "podman" => &["run", "container"],
        "go" | "cargo" | "dotnet" => &["run"],
        s if s.starts_with("python") => &[],
        _ => return clean(stem),
    };
    let package = ["npx", "uvx", "npm", "pnpm"].contains(&stem);
    while let Some((word, rest)) = words.split_first() {
        if package && ["-p", "--package", "--from"].contains(&word.as_str()) {
            return rest.first().map_or_else(|| clean(stem), |name| clean(name));
        }
        words = if VALUED.contains(&word.as_str()) {
            rest.get(1..).unwrap_or_default()
        } else if word.starts_with('-') || skips.contains(&word.as_str()) || (stem == "env" && word.contains('=')) {
            rest
        } else if matches!(base(word).as_str(), "python" | "python3" | "node") {
            return name_of(words);
        } else {
            return clean(&script(word));
        };
    }
    clean(stem)
}

/// Returns the descriptive part of the path of a script: its stem, or the nearest folder with a more specific name than
/// `dist`.
fn script(word: &str) -> String {
    if word.starts_with('@') || !word.contains('/') || word.contains(':') {
        return word.to_owned();
    }
    let generic =
        ["index", "main", "server", "cli", "app", "__main__", "dist", "build", "src", "lib", "bin", "out", "mcp", ".", "..", "~", ""];
    let mut parts = word.rsplit('/');
    let file = parts.next().unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    std::iter::once(stem).chain(parts).find(|part| !generic.contains(part)).unwrap_or(stem).to_owned()
}

/// Returns the descriptive part of a package, image or program name, reduced to lower-case letters, digits, `-` and `_`.
fn clean(name: &str) -> String {
    // `@scope/name@1.2`, `image:tag`, `name==1.2`, `git+https://host/owner/name.git@main`
    let (scope, name) = match name.strip_prefix('@').and_then(|n| n.split_once('/')) {
        Some((scope, name)) => (scope, name),
        None => ("", name),
    };
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.split(['@', ':', '=', '[', '<', '>', '~']).next().unwrap_or(name);
    let name = ["py", "js", "ts", "mjs", "cjs", "git", "jar", "exe", "rb", "sh"]
        .iter()
        .find_map(|end| name.strip_suffix(end)?.strip_suffix('.'))
        .unwrap_or(name);
    let name: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let mut short = name.trim_matches(['-', '_']);
    for prefix in ["mcp-server-", "mcp_server_", "server-", "mcp-", "mcp_"] {
        short = short.strip_prefix(prefix).unwrap_or(short);
    }
    for suffix in ["-mcp-server", "_mcp_server", "-mcp", "_mcp", "-server", "_server"] {
        short = short.strip_suffix(suffix).unwrap_or(short);
    }
    match (short, scope) {
        ("" | "mcp" | "server" | "mcp-server", scope) if !scope.is_empty() => clean(scope),
        ("", _) => "server".into(),
        (short, _) => short.chars().take(64).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn servers_are_named_after_what_they_run() {
        for (line, name) in [
            ("npx -y @modelcontextprotocol/server-everything", "everything"),
            ("npx -y @modelcontextprotocol/server-filesystem@2025.1.1 /tmp", "filesystem"),
            ("npx --package @upstash/context7-mcp context7", "context7"),
            ("npx @playwright/mcp@latest --headless", "playwright"),
            ("npx.cmd -y mcp-remote https://x.example/mcp", "remote"),
            ("uvx mcp-server-git --repository .", "git"),
            ("uvx --from git+https://github.com/o/mcp-server-time.git@main mcp-server-time", "time"),
            ("uvx --python 3.12 mcp-server-fetch==1.0", "fetch"),
            ("uv run --directory /srv/weather weather.py", "weather"),
            ("uv run --directory /srv/weather python weather.py", "weather"),
            ("python -m mcp_server_sqlite --db x", "sqlite"),
            ("python3 /opt/notes/server.py", "notes"),
            ("node /home/me/my-tool/dist/index.js", "my-tool"),
            ("docker run -i --rm -e TOKEN ghcr.io/github/github-mcp-server:latest", "github"),
            ("/usr/local/bin/mcp-server-git", "git"),
            ("./target/debug/My_Server", "my"),
            ("env A=1 node build/index.js", "index"),
            ("npx", "npx"),
            ("mcp", "mcp"),
            ("", "server"),
        ] {
            assert_eq!(server_from_command(&argv(line)).id.as_str(), name, "{line}");
        }
    }

    #[test]
    fn words_are_taken_as_they_are() {
        let spec = server_from_command(&argv("run ${HOME} $$"));
        let Transport::Stdio { command, args, .. } = &spec.launch else { panic!("stdio") };
        assert_eq!((command.as_str(), args[0].expose(), args[1].expose()), ("run", "${HOME}", "$$"));
        assert_eq!(spec.launch.summary(), "run '${HOME}' '$$'");
    }

    #[test]
    fn addresses_are_named_after_their_host() {
        for (url, name) in [
            ("https://mcp.example.com/mcp", "example"),
            ("https://api.githubcopilot.com/mcp/", "githubcopilot"),
            ("http://localhost:3000/mcp", "localhost-3000"),
            ("http://127.0.0.1:80", "127-0-0-1-80"),
            ("http://[::1]:3000/", "1-3000"),
            ("https://user:pw@docs.example.org/x", "docs"),
            ("unix:///run/tools.sock#/mcp", "tools"),
        ] {
            assert_eq!(server_from_url(url).unwrap().id.as_str(), name, "{url}");
        }
        let spec = server_from_url("unix:///run/tools.sock#mcp").unwrap();
        let wanted = Transport::Http { url: "http://localhost/mcp".into(), headers: vec![], socket: Some("/run/tools.sock".into()) };
        assert_eq!(spec.launch, wanted);
        for bad in ["", "ftp://x", "http://", "https:///x", "http://:80/", "http://a b", "example.com", "unix://"] {
            assert!(server_from_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn headers_and_variables_are_added_as_secrets() {
        let given = |texts: &[&str]| texts.iter().map(|text| Secret::literal(*text)).collect::<Vec<_>>();
        let mut web = server_from_url("https://x.example/mcp").unwrap();
        add_headers(&mut web, &given(&["Authorization: Bearer s3cret-1:2", "X-Empty:"]), Variables::Expanded).unwrap();
        let Transport::Http { headers, .. } = &web.launch else { panic!("http") };
        let sent: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(sent, [("Authorization", "Bearer s3cret-1:2"), ("X-Empty", "")]);
        assert!(web.secrets().iter().any(|secret| secret.expose().contains("s3cret-1:2")));
        let env = Env::from_iter([("OURS", "s3cret-ours")]);
        let mut program = server_from_command(&argv("run"));
        add_variables(&mut program, &given(&["A=s3cret-a=b", "OURS", "EMPTY="]), &env, Variables::Expanded).unwrap();
        let Transport::Stdio { env: variables, .. } = &program.launch else { panic!("stdio") };
        let passed: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(passed, [("A", "s3cret-a=b"), ("OURS", "s3cret-ours"), ("EMPTY", "")]);
        assert_eq!(variables[1].1.written(), "${OURS}");
        assert!(!format!("{web:?}{program:?}").contains("s3cret"));
        for bad in ["s3cret", "s3 cret: x", "A: s3cret\nB: c", "A: Bearer ${s3cret}", ": s3cret"] {
            let error = add_headers(&mut web, &given(&[bad]), Variables::Expanded).unwrap_err().to_string();
            assert!(error.contains("--header") && !error.contains("s3cret"), "{error}");
        }
        for bad in ["s3cret", "=s3cret", "A=s3cret\0"] {
            let error = add_variables(&mut program, &given(&[bad]), &env, Variables::Expanded).unwrap_err().to_string();
            assert!(error.contains("--env") && !error.contains("s3cret"), "{error}");
        }
        assert!(
            add_headers(&mut program, &given(&["A: b"]), Variables::Expanded).is_err()
                && add_variables(&mut web, &given(&["A=b"]), &env, Variables::Expanded).is_err()
        );
    }
}
