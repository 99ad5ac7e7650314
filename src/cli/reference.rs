//! Texts that the help, the manual pages and the reference pages share: examples of commands, environment variables, files.

/// Examples of commands, by their path. They run as printed, on the demo servers (a test runs them).
const EXAMPLES: &[(&str, &[&str])] = &[
    ("tools", &["switchboard tools --demo 'database_*'", "switchboard tools --demo --schema -o yaml"]),
    ("resources", &["switchboard resources --demo", "switchboard resources --demo users --json"]),
    ("templates", &["switchboard templates --demo"]),
    ("prompts", &["switchboard prompts --demo"]),
    (
        "call",
        &[
            "switchboard call --demo database_query_users role=admin limit:=3",
            "switchboard call --demo database/query_users --args '{\"role\": \"admin\"}' --json",
            "switchboard call --demo database_delete_user userId=u_1001 --yes",
        ],
    ),
    ("read", &["switchboard read --demo demo://users --server database"]),
    ("prompt", &["switchboard prompt --demo welcome_email name=Ann"]),
    ("request", &["switchboard request --demo email tools/list --yes"]),
    ("route", &["switchboard route --demo flaky_charge"]),
    ("cache", &["switchboard cache --demo purge 'database_*'", "switchboard cache --demo stats"]),
    ("servers", &["switchboard servers --demo", "switchboard servers --demo -o json"]),
    ("doctor", &["switchboard doctor --demo", "switchboard doctor --demo --format sarif", "switchboard doctor --demo --report report.txt"]),
    (
        "run",
        &[
            "switchboard run --demo onboard_new_user email=ann@example.com name=Ann --dry-run",
            "switchboard run --demo onboard_new_user email=ann@example.com name=Ann --yes",
        ],
    ),
    ("runs", &["switchboard runs --demo", "switchboard runs --demo list --last 100"]),
    ("calls", &["switchboard calls --demo"]),
    (
        "workflow",
        &[
            "switchboard workflow --demo list",
            "switchboard workflow --demo check --format gcc",
            "switchboard workflow --demo graph notify_all --format mermaid",
        ],
    ),
    (
        "add",
        &[
            "switchboard add everything -- npx -y @modelcontextprotocol/server-everything",
            "switchboard add search https://mcp.example.com/mcp --header 'X-Token: ${SEARCH_TOKEN}'",
            "switchboard add shop --env DATABASE_URL --dry-run -- uvx shop-server",
        ],
    ),
    ("list", &["switchboard list", "switchboard list --json"]),
    ("config", &["switchboard config path", "switchboard config check", "switchboard config schema > config.schema.json"]),
    ("import", &["switchboard import", "switchboard import --write"]),
    ("serve", &["switchboard serve --demo"]),
    ("completions", &["switchboard completions bash > switchboard.bash", "switchboard completions zsh > _switchboard"]),
    ("man", &["switchboard man > switchboard.1", "switchboard man call", "switchboard man --dir man1"]),
];

/// Returns the examples of a command; empty if it has none.
pub fn examples(command: &str) -> &'static [&'static str] {
    EXAMPLES.iter().find(|(name, _)| *name == command).map(|(_, lines)| *lines).unwrap_or_default()
}

/// Returns the examples as the last part of the long help.
pub fn examples_help(command: &str) -> String {
    let mut text = String::new();
    for line in examples(command) {
        text.push_str(if text.is_empty() { "Examples:\n  " } else { "\n  " });
        text.push_str(line);
    }
    text
}

/// Variables of the environment that the program reads, with what they do.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("SWITCHBOARD_CONFIG_DIR", "Folder of config.toml and of workflows, in place of the platform's."),
    ("SWITCHBOARD_STATE_DIR", "Folder of history, journal, approvals and logs, in place of the platform's."),
    ("SWITCHBOARD_LOG", "Level or filter of the log: off, error, warn, info, debug, trace, or info,switchboard::call=debug."),
    ("SWITCHBOARD_ENVIRONMENT", "The environment of the configuration, as with --environment."),
    ("SWITCHBOARD_VIA", "The running engine that commands use, as with --via."),
    ("SWITCHBOARD_REGISTRY", "The registry that `add` reads, as with --registry."),
    ("SWITCHBOARD_PAGER, PAGER", "The program that shows long output on a terminal; less by default, none if empty or cat."),
    ("NO_COLOR", "If set and not empty, no colours, in the console too (--color has precedence)."),
    ("FORCE_COLOR, CLICOLOR_FORCE", "If set and not 0, colours although the output is not a terminal."),
    ("CLICOLOR", "If 0, no colours."),
    ("VISUAL, EDITOR", "The editor of the console and of `config edit`; vi by default."),
    (
        "GITHUB_STEP_SUMMARY",
        "The file to which `doctor`, `config check`, `workflow check` and `workflow test` append a summary; GitHub Actions sets it.",
    ),
    ("HTTP_PROXY, HTTPS_PROXY, NO_PROXY", "Proxies of servers that are reached over HTTP, and hosts without one."),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "Certificates to trust in place of the system's."),
    ("NODE_EXTRA_CA_CERTS", "Certificates to trust in addition."),
];

/// Files that the program reads and writes.
pub const FILES: &[(&str, &str)] = &[
    (
        "config.toml",
        "Your configuration: in ~/.config/switchboard on Linux and in ~/Library/Application Support/switchboard on macOS, where \
         ~/.config/switchboard is used if only that exists. `switchboard config path` prints it.",
    ),
    ("workflows/", "Your workflows, next to config.toml."),
    ("switchboard.toml, .switchboard.toml, .switchboard/config.toml", "The configuration of a project. It is used after you approved it."),
    ("~/.local/state/switchboard", "History, journal, approvals and logs; next to the configuration on macOS."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn examples_are_of_commands_and_variables_are_all_there() {
        let command = crate::cli::args::Cli::command();
        for (name, lines) in EXAMPLES {
            let sub = command.get_subcommands().find(|sub| sub.get_name() == *name).unwrap_or_else(|| panic!("{name}"));
            assert!(sub.get_after_long_help().is_some_and(|help| help.to_string().contains(lines[0])), "the help of {name} lacks them");
            assert!(lines.iter().all(|line| line.starts_with("switchboard ")), "{name}");
        }
        for sub in command.get_subcommands() {
            for arg in sub.get_arguments().chain(command.get_arguments()) {
                let Some(variable) = arg.get_env().and_then(|name| name.to_str()) else { continue };
                assert!(ENVIRONMENT.iter().any(|(names, _)| names.split(", ").any(|name| name == variable)), "{variable}");
            }
        }
    }
}
