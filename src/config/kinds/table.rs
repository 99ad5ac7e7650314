//! The table of kinds. A new client is one entry.
//!
//! Order matters for a file whose place says nothing: the first kind whose `content` fits is chosen, and the kinds at the end
//! fit everything that has their roots.

use super::{
    Base, ClientKind, Environment, Form, KindId, Place, Root,
    keys::{
        Means::{self, CallTimeout, ConnectTimeout, EnvNames, Known, Label, RequiredEnv, Unused},
        Unit::{Milliseconds, Seconds},
        effect,
    },
};
use crate::{
    config::{dialect::Syntax, source::Language},
    domain::document::Node,
};

const fn home(path: &'static str) -> Place {
    Place { base: Base::Home, path, label: None }
}

const fn config(path: &'static str) -> Place {
    Place { base: Base::Config, path, label: None }
}

const fn project(path: &'static str, label: &'static str) -> Place {
    Place { base: Base::Project, path, label: Some(label) }
}

const fn named(place: Place, label: &'static str) -> Place {
    Place { label: Some(label), ..place }
}

const fn root(path: &'static [&'static str], form: Form) -> Root {
    Root { path, form, language: None }
}

const fn only(language: Language, root: Root) -> Root {
    Root { language: Some(language), ..root }
}

const MCP_SERVERS: &[Root] = &[root(&["mcpServers"], Form::Table)];

/// What most clients have in common.
const fn client(id: KindId, name: &'static str) -> ClientKind {
    ClientKind {
        id,
        client: name,
        places: &[],
        names: &[],
        roots: MCP_SERVERS,
        content: never,
        syntax: Syntax::BRACES,
        environment: Environment::Short,
        timeout: None,
        keys: &[],
        file_keys: &[],
    }
}

const CALL_MS: Option<Means> = Some(CallTimeout(Milliseconds));
const CALL_S: Option<Means> = Some(CallTimeout(Seconds));

fn never(_: &Node) -> bool {
    false
}

fn always(_: &Node) -> bool {
    true
}

/// Returns whether the file has one of the keys.
fn has(tree: &Node, keys: &[&str]) -> bool {
    keys.iter().any(|key| tree.get(key).is_some())
}

/// Returns whether an entry of `mcpServers` has one of the keys.
fn entry_has(tree: &Node, keys: &[&str]) -> bool {
    let entries = tree.get("mcpServers").and_then(Node::fields).unwrap_or_default();
    entries.iter().any(|entry| has(&entry.value, keys))
}

/// Returns whether an entry of `mcpServers` has this text under a key.
fn entry_says(tree: &Node, key: &str, words: &[&str]) -> bool {
    let entries = tree.get("mcpServers").and_then(Node::fields).unwrap_or_default();
    entries.iter().any(|entry| entry.value.get(key).and_then(Node::text).is_some_and(|text| words.contains(&text)))
}

fn gemini(tree: &Node) -> bool {
    let mcp = |mcp: &Node| has(mcp, &["allowed", "excluded", "serverCommand"]);
    has(tree, &["selectedAuthType"])
        || tree.get("mcp").is_some_and(mcp)
        || entry_has(tree, &["httpUrl", "trust", "includeTools", "excludeTools", "targetAudience"])
}

const TOOL_RULES: &str = "sets rules for the tools of an agent or a profile; use `enabled_tools` and `disabled_tools` in [servers]";

pub(super) const KINDS: &[ClientKind] = &[
    ClientKind {
        places: &[config("Claude/claude_desktop_config.json")],
        names: &["claude_desktop_config.json"],
        content: |tree| has(tree, &["globalShortcut", "isUsingBuiltInNodeForMcp"]),
        syntax: Syntax::NONE,
        keys: &[("timeout", Unused("is not a setting of Claude Desktop")), ("extensionId", Label)],
        ..client(KindId::ClaudeDesktop, "Claude Desktop")
    },
    ClientKind {
        places: &[
            Place { base: Base::HomeOr("CLAUDE_CONFIG_DIR"), path: ".claude.json", label: None },
            home(".claude/mcp.json"),
            home(".claude/settings.json"),
        ],
        content: |tree| has(tree, &["numStartups", "projects"]),
        environment: Environment::All,
        timeout: CALL_MS,
        ..client(KindId::ClaudeCode, "Claude Code")
    },
    ClientKind {
        places: &[Place { base: Base::HomeOr("CLAUDE_CONFIG_DIR"), path: ".claude.json", label: Some("Claude Code (this project)") }],
        roots: &[root(&["projects"], Form::Projects)],
        content: |tree| has(tree, &["projects"]),
        environment: Environment::All,
        timeout: CALL_MS,
        ..client(KindId::ClaudeProjects, "Claude Code")
    },
    ClientKind {
        places: &[project(".mcp.json", "Claude Code (project)"), project(".github/mcp.json", "Copilot CLI (project)")],
        environment: Environment::All,
        timeout: CALL_MS,
        ..client(KindId::ClaudeProject, "Claude Code")
    },
    ClientKind {
        places: &[home(".cursor/mcp.json"), project(".cursor/mcp.json", "Cursor (project)")],
        // `${VAR}` without `env:` is left to the program.
        syntax: Syntax { env: true, ..Syntax::NONE },
        ..client(KindId::Cursor, "Cursor")
    },
    ClientKind {
        places: &[home(".codeium/windsurf/mcp_config.json"), home(".codeium/mcp_config.json")],
        syntax: Syntax { file: true, ..Syntax::BRACES },
        content: |tree| entry_has(tree, &["serverUrl"]) && !entry_has(tree, &["authProviderType", "$typeName"]),
        ..client(KindId::Windsurf, "Windsurf")
    },
    ClientKind {
        places: &[project("fastagent.config.yaml", "fast-agent (project)"), project("mcp_agent.config.yaml", "mcp-agent (project)")],
        roots: &[only(Language::Yaml, root(&["mcp", "servers"], Form::Table))],
        content: |tree| tree.get("mcp").is_some_and(|mcp| mcp.get("servers").is_some()),
        keys: &[
            ("http_timeout_seconds", ConnectTimeout(Seconds)),
            ("load_on_start", Unused(effect::WHEN)),
            ("include_instructions", Unused(effect::MODEL)),
            ("roots", Unused("declares folders to the server; set `roots` in [servers]")),
        ],
        ..client(KindId::McpAgent, "fast-agent or mcp-agent")
    },
    ClientKind {
        places: &[
            named(config("Code/User/mcp.json"), "VS Code"),
            named(config("Code/User/settings.json"), "VS Code"),
            named(config("Code - Insiders/User/mcp.json"), "VS Code Insiders"),
            named(config("Code - Insiders/User/settings.json"), "VS Code Insiders"),
            named(config("VSCodium/User/mcp.json"), "VSCodium"),
            named(config("VSCodium/User/settings.json"), "VSCodium"),
            named(config("github-copilot/intellij/mcp.json"), "Copilot for JetBrains"),
            project(".vscode/mcp.json", "VS Code (workspace)"),
            project(".vscode/settings.json", "VS Code (workspace)"),
            project(".devcontainer/devcontainer.json", "VS Code (development container)"),
            project("devcontainer.json", "VS Code (development container)"),
        ],
        roots: &[
            root(&["servers"], Form::Table),
            root(&["mcp", "servers"], Form::Table),
            root(&["mcp.servers"], Form::Table),
            root(&["settings", "mcp", "servers"], Form::Table),
            root(&["settings", "mcp.servers"], Form::Table),
            root(&["customizations", "vscode", "mcp", "servers"], Form::Table),
            root(&["customizations", "vscode", "settings", "mcp.servers"], Form::Table),
            root(&["customizations", "vscode", "settings", "mcp", "servers"], Form::Table),
        ],
        content: always,
        syntax: Syntax { inputs: true, local_env: true, ..Syntax::BRACES },
        environment: Environment::All,
        file_keys: &[
            (&["chat.mcp.access"], "restricts which servers the editor runs"),
            (&["chat.mcp.enabled"], "switches all servers of the editor on or off"),
            (&["chat.mcp.autostart"], effect::WHEN),
        ],
        ..client(KindId::VsCode, "VS Code")
    },
    ClientKind {
        places: &[config("zed/settings.json"), project(".zed/settings.json", "Zed (project)")],
        roots: &[root(&["context_servers"], Form::Table)],
        content: always,
        syntax: Syntax::NONE,
        timeout: CALL_MS,
        keys: &[("settings", Unused("configures an extension of Zed")), ("source", Known)],
        file_keys: &[(&["agent", "profiles"], TOOL_RULES)],
        ..client(KindId::Zed, "Zed")
    },
    ClientKind {
        places: &[
            Place { base: Base::HomeOr("CODEX_HOME"), path: ".codex/config.toml", label: None },
            project(".codex/config.toml", "Codex (project)"),
        ],
        roots: &[only(Language::Toml, root(&["mcp_servers"], Form::Table)), only(Language::Toml, root(&["mcp_servers"], Form::List))],
        content: always,
        syntax: Syntax::NONE,
        keys: &[
            ("name", Known),
            ("env_vars", EnvNames),
            ("tools", Unused("sets which tools run without a question; here the annotations of a tool and `trusted` decide")),
        ],
        file_keys: &[(&["mcp", "servers"], "is not read by Codex either; write [mcp_servers.NAME]")],
        ..client(KindId::Codex, "Codex")
    },
    ClientKind {
        places: &[home(".gemini/settings.json"), project(".gemini/settings.json", "Gemini CLI (project)")],
        content: gemini,
        syntax: Syntax { bare: true, ..Syntax::BRACES },
        environment: Environment::All,
        timeout: CALL_MS,
        file_keys: &[(&["mcp", "serverCommand"], "starts one more server from a command line"), (&["tools", "exclude"], TOOL_RULES)],
        ..client(KindId::Gemini, "Gemini CLI")
    },
    ClientKind {
        places: &[home(".qwen/settings.json"), project(".qwen/settings.json", "Qwen Code (project)")],
        syntax: Syntax { bare: true, ..Syntax::BRACES },
        environment: Environment::All,
        timeout: CALL_MS,
        file_keys: &[(&["mcp", "serverCommand"], "starts one more server from a command line"), (&["tools", "exclude"], TOOL_RULES)],
        ..client(KindId::Qwen, "Qwen Code")
    },
    ClientKind {
        names: &["gemini-extension.json"],
        content: |tree| has(tree, &["contextFileName"]),
        syntax: Syntax { bare: true, ..Syntax::BRACES },
        environment: Environment::All,
        timeout: CALL_MS,
        file_keys: &[(&["excludeTools"], "forbids tools of the client itself")],
        ..client(KindId::GeminiExtension, "Gemini CLI extension")
    },
    ClientKind {
        places: &[
            config("opencode/opencode.json"),
            config("opencode/opencode.jsonc"),
            project("opencode.json", "opencode (project)"),
            project("opencode.jsonc", "opencode (project)"),
            project(".opencode/opencode.json", "opencode (project)"),
        ],
        roots: &[root(&["mcp"], Form::Table)],
        content: |tree| {
            let of_type = |word: &str| {
                let entries = tree.get("mcp").and_then(Node::fields).unwrap_or_default();
                entries.iter().any(|entry| entry.value.get("type").and_then(Node::text) == Some(word))
            };
            of_type("local")
                || of_type("remote")
                || tree.get("$schema").and_then(Node::text).is_some_and(|schema| schema.contains("opencode"))
        },
        syntax: Syntax { curly: true, plain: false, env: false, ..Syntax::BRACES },
        environment: Environment::All,
        timeout: Some(ConnectTimeout(Milliseconds)),
        file_keys: &[(&["permission"], effect::APPROVES), (&["agent"], TOOL_RULES)],
        ..client(KindId::OpenCode, "opencode")
    },
    ClientKind {
        places: &[config("crush/crush.json"), project("crush.json", "Crush (project)"), project(".crush.json", "Crush (project)")],
        roots: &[root(&["mcp"], Form::Table)],
        content: |tree| {
            let entries = tree.get("mcp").and_then(Node::fields).unwrap_or_default();
            let launches = |entry: &Node| has(entry, &["command", "url"]);
            !entries.is_empty() && entries.iter().all(|entry| launches(&entry.value))
        },
        syntax: Syntax { bare: true, commands: true, ..Syntax::BRACES },
        environment: Environment::All,
        timeout: Some(ConnectTimeout(Seconds)),
        file_keys: &[(&["permissions"], effect::APPROVES)],
        ..client(KindId::Crush, "Crush")
    },
    ClientKind {
        places: &[config("goose/config.yaml")],
        roots: &[root(&["extensions"], Form::Table)],
        content: |tree| {
            let entries = tree.get("extensions").and_then(Node::fields).unwrap_or_default();
            entries
                .iter()
                .any(|entry| has(&entry.value, &["cmd", "uri"]) || entry.value.get("type").and_then(Node::text) == Some("builtin"))
        },
        environment: Environment::All,
        timeout: CALL_S,
        keys: &[("env_keys", RequiredEnv), ("name", Known)],
        ..client(KindId::Goose, "Goose")
    },
    ClientKind {
        places: &[home(".continue/config.yaml"), home(".continue/config.json"), project(".continue/config.yaml", "Continue (project)")],
        roots: &[root(&["mcpServers"], Form::List), root(&["experimental", "modelContextProtocolServers"], Form::List)],
        content: |tree| tree.get("mcpServers").is_some_and(|list| list.items().is_some()) || has(tree, &["experimental"]),
        syntax: Syntax { secrets: true, ..Syntax::BRACES },
        keys: &[
            ("name", Known),
            ("apiKey", Means::BearerToken),
            ("connectionTimeout", ConnectTimeout(Milliseconds)),
            ("faviconUrl", Label),
        ],
        ..client(KindId::Continue, "Continue")
    },
    ClientKind {
        places: &[project("librechat.yaml", "LibreChat (project)")],
        content: never,
        roots: &[only(Language::Yaml, root(&["mcpServers"], Form::Table))],
        timeout: CALL_MS,
        keys: &[("initTimeout", ConnectTimeout(Milliseconds)), ("customUserVars", Unused("asks every user for values"))],
        file_keys: &[(&["mcpSettings"], "restricts the addresses of servers")],
        ..client(KindId::LibreChat, "LibreChat")
    },
    ClientKind {
        places: &[home(".hermes/config.yaml")],
        roots: &[only(Language::Yaml, root(&["mcp_servers"], Form::Table))],
        content: always,
        timeout: CALL_S,
        keys: &[("connect_timeout", ConnectTimeout(Seconds)), ("sampling", Unused("answers requests of the server with a model"))],
        ..client(KindId::Hermes, "Hermes Agent")
    },
    ClientKind {
        places: &[
            config("Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"),
            home("Documents/Cline/MCP/cline_mcp_settings.json"),
            home(".cline/data/settings/cline_mcp_settings.json"),
        ],
        names: &["cline_mcp_settings.json"],
        timeout: CALL_S,
        ..client(KindId::Cline, "Cline")
    },
    ClientKind {
        places: &[
            config("Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json"),
            project(".roo/mcp.json", "Roo Code (project)"),
        ],
        timeout: CALL_S,
        ..client(KindId::Roo, "Roo Code")
    },
    ClientKind {
        places: &[
            config("Code/User/globalStorage/kilocode.kilo-code/settings/mcp_settings.json"),
            project(".kilocode/mcp.json", "Kilo Code (project)"),
        ],
        timeout: CALL_S,
        ..client(KindId::Kilo, "Kilo Code")
    },
    ClientKind {
        places: &[home(".kiro/settings/mcp.json"), project(".kiro/settings/mcp.json", "Kiro (project)")],
        roots: &[root(&["mcpServers"], Form::Table), root(&["powers", "mcpServers"], Form::Table)],
        content: |tree| has(tree, &["powers"]),
        timeout: CALL_MS,
        ..client(KindId::Kiro, "Kiro")
    },
    ClientKind {
        places: &[
            home(".aws/amazonq/mcp.json"),
            home(".aws/amazonq/default.json"),
            project(".amazonq/mcp.json", "Amazon Q (project)"),
            project(".amazonq/default.json", "Amazon Q (project)"),
        ],
        content: |tree| has(tree, &["useLegacyMcpJson", "toolsSettings", "allowedTools"]),
        timeout: CALL_MS,
        file_keys: &[(&["allowedTools"], effect::APPROVES), (&["toolsSettings"], TOOL_RULES)],
        ..client(KindId::AmazonQ, "Amazon Q")
    },
    ClientKind {
        places: &[home(".gemini/antigravity/mcp_config.json"), home(".gemini/config/mcp_config.json")],
        content: |tree| entry_has(tree, &["$typeName"]) || entry_has(tree, &["serverUrl"]) && entry_has(tree, &["authProviderType"]),
        ..client(KindId::Antigravity, "Antigravity")
    },
    ClientKind {
        places: &[home(".lmstudio/mcp.json"), home(".cache/lm-studio/mcp.json")],
        timeout: CALL_MS,
        ..client(KindId::LmStudio, "LM Studio")
    },
    ClientKind {
        places: &[home(".augment/settings.json"), project(".augment/settings.json", "Augment (project)")],
        roots: &[
            root(&["mcpServers"], Form::Table),
            root(&["augment.advanced", "mcpServers"], Form::List),
            root(&["augment.advanced", "mcpServers"], Form::Table),
            root(&["augment.mcpServers"], Form::Table),
        ],
        keys: &[("name", Known)],
        content: |tree| has(tree, &["augment.advanced", "augment.mcpServers"]),
        timeout: CALL_MS,
        ..client(KindId::Augment, "Augment")
    },
    ClientKind {
        places: &[home(".trae/mcp.json"), config("Trae/User/mcp.json"), project(".trae/mcp.json", "Trae (project)")],
        ..client(KindId::Trae, "Trae")
    },
    ClientKind {
        places: &[home(".factory/mcp.json"), project(".factory/mcp.json", "Factory (project)")],
        ..client(KindId::Factory, "Factory")
    },
    ClientKind {
        places: &[home(".junie/mcp/mcp.json"), project(".junie/mcp/mcp.json", "Junie (project)")],
        content: |tree| entry_has(tree, &["workingDirectory"]),
        ..client(KindId::Junie, "Junie")
    },
    ClientKind {
        places: &[home(".warp/.mcp.json"), project(".warp/.mcp.json", "Warp (project)")],
        content: |tree| entry_has(tree, &["working_directory", "start_on_launch"]),
        ..client(KindId::Warp, "Warp")
    },
    ClientKind {
        places: &[
            home(".copilot/mcp-config.json"),
            config("copilot/mcp-config.json"),
            project(".copilot/mcp-config.json", "Copilot CLI (project)"),
        ],
        content: |tree| {
            entry_has(tree, &["isDefaultServer", "filterMapping"]) || entry_says(tree, "type", &["local"]) && entry_has(tree, &["tools"])
        },
        syntax: Syntax { bare: true, ..Syntax::BRACES },
        timeout: CALL_MS,
        ..client(KindId::CopilotCli, "Copilot CLI")
    },
    ClientKind {
        places: &[config("amp/settings.json"), project(".amp/settings.json", "Amp (project)")],
        roots: &[root(&["amp.mcpServers"], Form::Table), root(&["amp", "mcpServers"], Form::Table)],
        content: always,
        file_keys: &[(&["amp.mcpPermissions"], TOOL_RULES), (&["amp.tools.disable"], TOOL_RULES)],
        ..client(KindId::Amp, "Amp")
    },
    ClientKind {
        content: |tree| entry_has(tree, &["isActive"]),
        timeout: CALL_S,
        keys: &[
            ("longRunning", Unused("restarts the limit of a call on progress; this is always so here")),
            ("maxTotalTimeout", Unused("limits a call regardless of progress")),
        ],
        ..client(KindId::CherryStudio, "Cherry Studio")
    },
    ClientKind {
        places: &[home(".mcporter/mcporter.json"), config("mcporter/mcporter.json"), project("config/mcporter.json", "mcporter (project)")],
        names: &["mcporter.json", "mcporter.jsonc"],
        content: |tree| has(tree, &["imports"]) || entry_has(tree, &["baseUrl", "bearerTokenEnv", "lifecycle", "blockedTools"]),
        syntax: Syntax { dollar_env: true, ..Syntax::BRACES },
        environment: Environment::All,
        keys: &[("oauthCallbackPort", Unused(effect::OAUTH))],
        file_keys: &[(&["imports"], "adds the servers of other clients; use `include` or `switchboard import`")],
        ..client(KindId::McPorter, "mcporter")
    },
    ClientKind {
        places: &[config("mcphub/servers.json"), project(".mcphub/servers.json", "mcphub.nvim (project)")],
        content: |tree| has(tree, &["nativeMCPServers"]) || entry_has(tree, &["custom_instructions"]),
        syntax: Syntax { commands: true, inputs: true, ..Syntax::BRACES },
        file_keys: &[(&["nativeMCPServers"], "lists servers inside of Neovim")],
        ..client(KindId::McpHubNvim, "mcphub.nvim")
    },
    ClientKind {
        names: &["mcp_settings.json"],
        content: |tree| {
            entry_says(tree, "type", &["STREAMABLE_HTTP", "STDIO", "SSE", "openapi"]) || entry_has(tree, &["bearerToken", "openapi"])
        },
        keys: &[
            ("openapi", Unused("makes tools from an OpenAPI document, which is not supported")),
            ("options", Unused("sets time limits of calls")),
            ("keepAliveInterval", Unused(effect::RETRY)),
        ],
        ..client(KindId::McpHub, "MCPHub or MetaMCP")
    },
    ClientKind {
        roots: &[root(&["servers"], Form::List)],
        content: |tree| tree.get("servers").and_then(Node::items).is_some_and(|servers| !servers.is_empty()),
        syntax: Syntax { inputs: true, ..Syntax::NONE },
        keys: &[("name", Known), ("tool_prefix", Label), ("resources", Unused(effect::RESOURCES))],
        ..client(KindId::ServerList, "tiny-agents or mistral.rs")
    },
    ClientKind {
        names: &[],
        roots: &[root(&[], Form::Described)],
        content: super::described::is_registry,
        syntax: Syntax { inputs: true, ..Syntax::NONE },
        ..client(KindId::Registry, "MCP registry")
    },
    ClientKind {
        roots: &[root(&[], Form::Described)],
        content: super::described::is_bundle,
        syntax: Syntax { user_config: true, ..Syntax::BRACES },
        ..client(KindId::Bundle, "MCP bundle")
    },
    ClientKind { content: always, keys: &[("timeout", Unused(effect::UNIT))], ..client(KindId::Generic, "its client") },
    ClientKind {
        roots: &[root(&[], Form::File)],
        content: super::recognise::is_flat,
        keys: &[("timeout", Unused(effect::UNIT))],
        environment: Environment::Short,
        ..client(KindId::Flat, "its client")
    },
];
