//! Secret variables: writes the secret values of imported servers as `${NAME}` or `${keyring:NAME}`, so that our file holds none of them.

use std::collections::{HashMap, HashSet};

use super::{
    error::ConfigError,
    export::{add_to_toml, known_launches, launch_text},
    import::FoundImport,
    text,
};
use crate::domain::{
    secret::{Secret, rule},
    server::{ServerSpec, Transport},
};

/// A variable in place of a secret value.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretVariable {
    /// Its name.
    pub name: String,
    /// The value that it has to have.
    pub value: Secret,
    /// The server.
    pub server: String,
    /// Where the value is in the server's entry: `env.TOKEN`, `headers.Authorization`, `args`, `url`.
    pub key: String,
}

/// Imported servers as text of our own file, with and without their secret values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportTexts {
    /// With the values, or with masks in their place.
    pub with_values: String,
    /// With variables in their place.
    pub with_variables: String,
    /// With entries of the keyring in their place, under the names of the variables.
    pub with_keyring: String,
    /// These variables.
    pub variables: Vec<SecretVariable>,
    /// Number of servers that were added.
    pub added: usize,
}

/// How a text refers to a secret value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reference {
    /// `${NAME}`.
    #[default]
    Variable,
    /// `${keyring:NAME}`.
    Keyring,
}

/// Adds servers to the text of our own file. A server that it has already, with its values or in either form without, is not added.
/// `masked` masks the values, for a text that is only printed. Fails if `existing` is not valid TOML.
pub fn import_texts(imports: &[FoundImport], existing: Option<&str>, masked: bool) -> Result<ImportTexts, ConfigError> {
    let known = existing.map(known_launches).unwrap_or_default();
    let mut with_variables = imports.to_vec();
    let mut variables = secrets_replaced(&mut with_variables, Reference::Variable);
    let mut with_keyring = imports.to_vec();
    secrets_replaced(&mut with_keyring, Reference::Keyring);
    let mut with_values = imports.to_vec();
    for ((values, replaced), entries) in with_values.iter_mut().zip(&mut with_variables).zip(&mut with_keyring) {
        let is_new = |at: usize| {
            let forms = [values.servers.get(at), replaced.servers.get(at), entries.servers.get(at)];
            known.is_empty() || !forms.into_iter().flatten().any(|spec| known.contains(&launch_text(spec)))
        };
        let new: Vec<bool> = (0..values.servers.len()).map(is_new).collect();
        for found in [values, replaced, entries] {
            let mut new = new.iter();
            found.servers.retain(|_| new.next().is_some_and(|new| *new));
        }
    }
    if !variables.is_empty() {
        let texts: Vec<String> = with_variables.iter().flat_map(|found| &found.servers).map(launch_text).collect();
        let used: HashSet<&str> = texts.iter().flat_map(|text| references(text)).collect();
        variables.retain(|variable| used.contains(variable.name.as_str()));
    }
    if masked {
        with_values = with_values.iter().map(FoundImport::masked).collect();
    }
    let same = with_values == with_variables;
    let (with_values, added) = add_to_toml(&with_values, existing)?;
    let text = |servers: &[FoundImport]| if same { Ok(with_values.clone()) } else { add_to_toml(servers, existing).map(|(text, _)| text) };
    let (with_variables, with_keyring) = (text(&with_variables)?, text(&with_keyring)?);
    Ok(ImportTexts { with_values, with_variables, with_keyring, variables, added })
}

/// Returns the names in `${NAME}` in a text.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// Replaces every literal secret of these servers by a variable or an entry of the keyring. Returns them in order; equal values of the
/// same name share one.
fn secrets_replaced(imports: &mut [FoundImport], reference: Reference) -> Vec<SecretVariable> {
    let mut found = Variables { reference, ..Variables::default() };
    for spec in imports.iter_mut().flat_map(|import| &mut import.servers) {
        found.replace_in(spec);
    }
    found.all
}

#[derive(Default)]
struct Variables {
    reference: Reference,
    all: Vec<SecretVariable>,
    /// The value of each variable.
    values: HashMap<String, Secret>,
    /// How many variables were derived from a name.
    derived: HashMap<String, u64>,
    /// The variable of a value, by the name that it is derived from.
    of_value: HashMap<(String, String), String>,
}

impl Variables {
    fn replace_in(&mut self, spec: &mut ServerSpec) {
        let server = spec.id.to_string();
        match &mut spec.launch {
            Transport::Stdio { args, env, .. } => {
                for (name, value) in env {
                    let secrets = of_pair(name, value);
                    // A program reads the variable under this name, so it is the obvious one to set.
                    let whole = value.expose().to_owned();
                    self.replace(value, &secrets, &server, &format!("env.{name}"), |secret| {
                        if secret == whole { variable_name(&[name]) } else { variable_name(&[&server, name]) }
                    });
                }
                let secrets = rule::of_arguments(args);
                let mut flag = String::new();
                for arg in args {
                    let text = arg.expose().to_owned();
                    let word = text.split_once(['=', ':']).map_or(flag.as_str(), |(name, _)| name).to_owned();
                    self.replace(arg, &secrets, &server, "args", |_| variable_name(&[&server, &word]));
                    flag = if text.starts_with('-') { text } else { String::new() };
                }
            }
            Transport::Http { url, headers, .. } => {
                for (name, value) in headers {
                    let secrets = of_pair(name, value);
                    self.replace(value, &secrets, &server, &format!("headers.{name}"), |_| variable_name(&[&server, name]));
                }
                let known = spec.origin.written.iter().any(|(field, text)| field == "url" && text.contains("${"));
                let mut address = Secret::literal(url.as_str());
                let secrets = if known { vec![] } else { rule::of_url(url, false) };
                self.replace(&mut address, &secrets, &server, "url", |_| variable_name(&[&server, "url secret"]));
                if address.interpolated() {
                    spec.origin.written.retain(|(field, _)| field != "url");
                    spec.origin.written.push(("url".to_owned(), address.written().to_owned()));
                }
            }
        }
    }

    /// Replaces the secrets in a value that is written out.
    fn replace(&mut self, value: &mut Secret, secrets: &[Secret], server: &str, key: &str, name: impl Fn(&str) -> String) {
        if value.interpolated() {
            return;
        }
        let mut parts = vec![Part::Text(value.expose().to_owned())];
        let mut longest: Vec<&str> = secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty()).collect();
        longest.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in longest {
            if !parts.iter().any(|part| matches!(part, Part::Text(text) if text.contains(secret))) {
                continue;
            }
            let variable = self.variable(name(secret), secret, server, key);
            parts = parts.into_iter().flat_map(|part| part.split(secret, &variable)).collect();
        }
        if parts.iter().any(|part| matches!(part, Part::Variable(_))) {
            *value = Secret::new(value.expose(), parts.iter().map(|part| part.written(self.reference)).collect::<String>());
        }
    }

    /// Returns the name of the variable for a value: `name`, with a number if that has another value.
    fn variable(&mut self, name: String, secret: &str, server: &str, key: &str) -> String {
        let of_value = (name.clone(), secret.to_owned());
        if let Some(known) = self.of_value.get(&of_value) {
            return known.clone();
        }
        let derived = self.derived.entry(name.clone()).or_default();
        let candidate = loop {
            *derived += 1;
            let candidate = if *derived == 1 { name.clone() } else { format!("{name}_{derived}") };
            // Another name may have led to the same variable.
            if self.values.get(&candidate).is_none_or(|value| value.expose() == secret) {
                break candidate;
            }
        };
        if !self.values.contains_key(&candidate) {
            let value = Secret::literal(secret);
            self.values.insert(candidate.clone(), value.clone());
            self.all.push(SecretVariable { name: candidate.clone(), value, server: server.to_owned(), key: key.to_owned() });
        }
        self.of_value.insert(of_value, candidate.clone());
        candidate
    }
}

/// A part of a value.
enum Part {
    Text(String),
    Variable(String),
}

impl Part {
    fn split(self, secret: &str, variable: &str) -> Vec<Part> {
        let Part::Text(text) = self else { return vec![self] };
        let mut parts = vec![];
        for (index, piece) in text.split(secret).enumerate() {
            if index > 0 {
                parts.push(Part::Variable(variable.to_owned()));
            }
            if !piece.is_empty() {
                parts.push(Part::Text(piece.to_owned()));
            }
        }
        parts
    }

    fn written(&self, reference: Reference) -> String {
        match (self, reference) {
            (Part::Text(text), _) => text::escape(text),
            (Part::Variable(name), Reference::Variable) => format!("${{{name}}}"),
            (Part::Variable(name), Reference::Keyring) => format!("${{keyring:{name}}}"),
        }
    }
}

/// Returns the secrets of a variable or header.
fn of_pair(name: &str, value: &Secret) -> Vec<Secret> {
    let found = rule::of_value(name, value.expose());
    // `Bearer TOKEN`: only the token is secret.
    if let Some((_, token)) = value.expose().split_once(' ')
        && let Some(token) = found.iter().find(|secret| secret.expose() == token)
    {
        return vec![token.clone()];
    }
    // A value that is masked as a whole where it is shown is replaced as a whole.
    if found.is_empty() && rule::masks(name, value.expose()) { vec![Secret::literal(value.expose())] } else { found }
}

/// Joins words to the name of a variable.
fn variable_name(words: &[&str]) -> String {
    let mut name = String::new();
    for c in words.join("_").chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_uppercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    match name.as_bytes().first() {
        None => "SECRET".to_owned(),
        Some(digit) if digit.is_ascii_digit() => format!("_{name}"),
        Some(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Env, LoadOptions, load, load_tests::Place, to_toml},
        *,
    };

    #[test]
    fn secrets_become_variables_and_the_file_reads_back_the_same() {
        let place = Place::new();
        let text = r#"{"mcpServers": {
            "github": {"command": "npx", "args": ["-y", "x", "--api-key", "k3y-abcdef-012345", "--token=t0ken-9876543"],
                       "env": {"GITHUB_TOKEN": "ghp_0123456789abcdef", "PLAIN": "1", "KNOWN": "${HOST}"}},
            "other": {"command": "y", "env": {"GITHUB_TOKEN": "ghp_other56789abcdef"}},
            "third": {"command": "z", "env": {"GITHUB_TOKEN": "ghp_0123456789abcdef"}},
            "my web": {"url": "https://h.example/mcp?api_key=url-s3cret-0123", "headers": {"Authorization": "Bearer hdr-s3cret-$4567"}}
        }}"#;
        place.write("mcp.json", text);
        let options = LoadOptions { config_files: vec![place.path("mcp.json")], ..place.options() };
        let before = load(&options).unwrap().servers;
        let mut imports = [FoundImport { client: "X", path: "/x".into(), project: false, servers: before.clone(), problems: vec![] }];
        let variables = secrets_replaced(&mut imports, Reference::Variable);
        let names: Vec<(&str, &str, &str)> = variables.iter().map(|v| (v.name.as_str(), v.server.as_str(), v.key.as_str())).collect();
        let wanted = [
            ("GITHUB_TOKEN", "github", "env.GITHUB_TOKEN"),
            ("GITHUB_API_KEY", "github", "args"),
            ("GITHUB_TOKEN_2", "github", "args"),
            ("GITHUB_TOKEN_3", "other", "env.GITHUB_TOKEN"),
            ("MY_WEB_AUTHORIZATION", "my web", "headers.Authorization"),
            ("MY_WEB_URL_SECRET", "my web", "url"),
        ];
        assert_eq!(names, wanted);
        let toml = to_toml(&imports, None).unwrap();
        for secret in ["ghp_", "k3y-", "t0ken-", "s3cret"] {
            assert!(!toml.contains(secret), "{secret}: {toml}");
        }
        assert!(toml.contains("PLAIN = \"1\"") && toml.contains("${HOST}") && toml.contains("Bearer ${MY_WEB_AUTHORIZATION}"), "{toml}");
        // With the variables set, the same is started.
        place.write("ours.toml", &toml);
        let env = variables.iter().map(|v| (v.name.clone(), v.value.expose().to_owned())).chain([("HOST".into(), "h.example".into())]);
        let options = LoadOptions { config_files: vec![place.path("ours.toml")], env: Env::from_iter(env), ..place.options() };
        let exposed = |servers: &[ServerSpec]| -> Vec<String> {
            let launch = |spec: &ServerSpec| match &spec.launch {
                Transport::Stdio { command, args, env, .. } => {
                    let args: Vec<&str> = args.iter().map(Secret::expose).collect();
                    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
                    format!("{command} {args:?} {env:?}")
                }
                Transport::Http { url, headers, .. } => format!("{url} {}", headers[0].1.expose()),
            };
            servers.iter().map(launch).collect()
        };
        let loaded = load(&options).unwrap();
        assert_eq!(exposed(&loaded.servers), exposed(&before), "{:?}", loaded.problems);
    }

    #[test]
    fn a_server_is_known_with_its_values_and_with_their_variables() {
        let spec = |id: &str, token: &str| {
            let env = vec![("TOKEN_X".to_owned(), Secret::literal(token))];
            let launch = Transport::Stdio { command: "x".into(), args: vec![], env, inherit_env: false, cwd: None };
            ServerSpec::new(id, launch)
        };
        let found = |servers| [FoundImport { client: "X", path: "/x".into(), project: false, servers, problems: vec![] }];
        let one = found(vec![spec("a", "s3cret-0123456789")]);
        let first = import_texts(&one, None, false).unwrap();
        assert_eq!((first.added, first.variables.len()), (1, 1));
        let two = found(vec![spec("a", "s3cret-0123456789"), spec("b", "other-9876543210")]);
        assert!(first.with_keyring.contains("TOKEN_X = \"${keyring:TOKEN_X}\""), "{}", first.with_keyring);
        for text in [&first.with_values, &first.with_variables, &first.with_keyring] {
            assert_eq!(import_texts(&one, Some(text), false).unwrap().added, 0, "{text}");
            let second = import_texts(&two, Some(text), false).unwrap();
            assert_eq!(second.added, 1);
            let names: Vec<&str> = second.variables.iter().map(|variable| variable.name.as_str()).collect();
            assert_eq!(names, ["TOKEN_X_2"], "the name of the known server's variable is taken");
        }
        let masked = import_texts(&one, None, true).unwrap();
        assert!(!masked.with_values.contains("s3cret") && !masked.with_variables.contains("s3cret"), "{masked:?}");
    }

    #[test]
    fn names_of_variables_are_valid() {
        for (words, name) in [(&["my server", "api-key"][..], "MY_SERVER_API_KEY"), (&["7", "x"], "_7_X"), (&["寸止", ""], "SECRET")] {
            assert_eq!(variable_name(words), name);
        }
    }
}
