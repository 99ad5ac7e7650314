//! Keys of servers in other clients' files, and what Switchboard does with each.

/// The unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Unit {
    Seconds,
    Milliseconds,
}

/// The meaning of a key in the table of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Means {
    Command,
    Args,
    Env,
    /// Names of variables that are passed on if they are set.
    EnvNames,
    /// Names of variables that must be set.
    RequiredEnv,
    EnvFile,
    Cwd,
    Url,
    Headers,
    /// Headers whose values are names of variables.
    HeadersFromEnv,
    /// A table with `headers`.
    Request,
    BearerToken,
    /// The name of a variable with a bearer token.
    BearerTokenEnv,
    Type,
    Description,
    /// Switches the server off if it is true.
    Disabled,
    /// Switches the server off if it is false.
    Enabled,
    EnabledTools,
    DisabledTools,
    /// Limit of a call.
    CallTimeout(Unit),
    /// Limit of start and handshake.
    ConnectTimeout(Unit),
    /// Runs the program in a sandbox if it is not false.
    Sandbox,
    /// The details of a sandbox, which has no effect without [`Means::Sandbox`].
    SandboxRules,
    /// Not honoured: what it would have done.
    Unused(&'static str),
    /// Names or describes the server for its own client.
    Label,
    /// Read elsewhere, or says nothing that the other keys do not.
    Known,
}

/// Effects of keys that are not honoured.
pub(in crate::config) mod effect {
    pub const APPROVES: &str = "lets these tools run without a question; here the annotations of a tool and `trusted` decide";
    pub const OAUTH: &str = "signs in with OAuth; set a token in `headers` instead";
    pub const RESTARTS: &str = "restarts the server when its files change";
    pub const WHEN: &str = "decides when the client starts the server; here all servers start, or `disabled` ones do not";
    pub const MODEL: &str = "changes what the model sees";
    pub const DISPLAY: &str = "is a label of the client";
    pub const LOGS: &str = "sets what the client logs";
    pub const PARALLEL: &str = "lets the client send calls simultaneously";
    pub const UNIT: &str = "limits a call, in a unit that differs between clients; set `timeouts` in [servers] instead";
    pub const HELPER: &str = "is a command that prints headers; it is not run. Put them into `headers`, with ${VAR} for secrets";
    pub const REMOTE: &str = "starts the server on the remote machine of the project; here it starts on this one";
    pub const PROXY: &str = "sets a proxy or certificates of the connection";
    pub const RETRY: &str = "sets how the client connects again; here the `retry` and `breaker` settings do";
    pub const STORE: &str = "sets where the client stores data of the server";
    pub const REMOVED_VARIABLE: &str = "removes the variable from the environment of the server; here it is passed on";
    pub const RESOURCES: &str = "limits the resources and prompts of the server that are offered";
    pub const UNKNOWN: &str = "has no meaning that Switchboard knows";
}

use Means::{
    Args, BearerToken, BearerTokenEnv, CallTimeout, Command, ConnectTimeout, Cwd, Description, Disabled, DisabledTools, Enabled,
    EnabledTools, Env, EnvFile, Headers, HeadersFromEnv, Label, Request, Sandbox, SandboxRules, Type, Unused, Url,
};
use Unit::{Milliseconds, Seconds};

/// Keys that mean the same wherever they are used. For several keys with one meaning the first counts.
pub(in crate::config) const COMMON: &[(&str, Means)] = &[
    ("command", Command),
    ("cmd", Command),
    ("args", Args),
    ("arguments", Args),
    ("env", Env),
    ("environment", Env),
    ("envs", Env),
    ("envVars", Env),
    ("envFile", EnvFile),
    ("env_file", EnvFile),
    ("cwd", Cwd),
    ("workingDirectory", Cwd),
    ("working_directory", Cwd),
    ("workingDir", Cwd),
    ("workDir", Cwd),
    ("httpUrl", Url),
    ("serverUrl", Url),
    ("url", Url),
    ("baseUrl", Url),
    ("base_url", Url),
    ("uri", Url),
    ("endpoint", Url),
    ("headers", Headers),
    ("http_headers", Headers),
    ("httpHeaders", Headers),
    ("env_http_headers", HeadersFromEnv),
    ("envHttpHeaders", HeadersFromEnv),
    ("envHeaders", HeadersFromEnv),
    ("requestInit", Request),
    ("requestOptions", Request),
    ("bearerToken", BearerToken),
    ("bearer_token", BearerToken),
    ("bearerTokenEnv", BearerTokenEnv),
    ("bearer_token_env", BearerTokenEnv),
    ("bearer_token_env_var", BearerTokenEnv),
    ("bearerTokenEnvVar", BearerTokenEnv),
    ("type", Type),
    ("transport", Type),
    ("transportType", Type),
    ("transport_type", Type),
    ("description", Description),
    ("disabled", Disabled),
    ("disable", Disabled),
    ("isDisabled", Disabled),
    ("is_disabled", Disabled),
    ("enabled", Enabled),
    ("enable", Enabled),
    ("isActive", Enabled),
    ("is_active", Enabled),
    ("active", Enabled),
    ("isEnabled", Enabled),
    ("start_on_launch", Enabled),
    ("autoStart", Enabled),
    ("enabledTools", EnabledTools),
    ("enabled_tools", EnabledTools),
    ("includeTools", EnabledTools),
    ("include_tools", EnabledTools),
    ("allowedTools", EnabledTools),
    ("allowed_tools", EnabledTools),
    ("available_tools", EnabledTools),
    ("toolFilter", EnabledTools),
    ("exposedTools", EnabledTools),
    ("tools", EnabledTools),
    ("disabledTools", DisabledTools),
    ("disabled_tools", DisabledTools),
    ("excludeTools", DisabledTools),
    ("exclude_tools", DisabledTools),
    ("excludedTools", DisabledTools),
    ("blockedTools", DisabledTools),
    ("blocked_tools", DisabledTools),
    ("hiddenTools", DisabledTools),
    ("startup_timeout_sec", ConnectTimeout(Seconds)),
    ("startup_timeout_ms", ConnectTimeout(Milliseconds)),
    ("startup_timeout_seconds", ConnectTimeout(Seconds)),
    ("connectTimeoutMs", ConnectTimeout(Milliseconds)),
    ("tool_timeout_sec", CallTimeout(Seconds)),
    ("tool_timeout_seconds", CallTimeout(Seconds)),
    ("read_timeout_seconds", CallTimeout(Seconds)),
    ("timeoutSeconds", CallTimeout(Seconds)),
    ("timeout_seconds", CallTimeout(Seconds)),
    ("timeoutSec", CallTimeout(Seconds)),
    ("timeout_sec", CallTimeout(Seconds)),
    ("timeoutMs", CallTimeout(Milliseconds)),
    ("timeout_ms", CallTimeout(Milliseconds)),
    ("requestTimeoutMs", CallTimeout(Milliseconds)),
    ("sandboxEnabled", Sandbox),
    ("sandbox", SandboxRules),
    ("autoApprove", Unused(effect::APPROVES)),
    ("alwaysAllow", Unused(effect::APPROVES)),
    ("autoAllow", Unused(effect::APPROVES)),
    ("trust", Unused(effect::APPROVES)),
    ("default_tools_approval_mode", Unused(effect::APPROVES)),
    ("oauth", Unused(effect::OAUTH)),
    ("auth", Unused(effect::OAUTH)),
    ("authProviderType", Unused(effect::OAUTH)),
    ("targetAudience", Unused(effect::OAUTH)),
    ("targetServiceAccount", Unused(effect::OAUTH)),
    ("scopes", Unused(effect::OAUTH)),
    ("oauthScopes", Unused(effect::OAUTH)),
    ("oauth_resource", Unused(effect::OAUTH)),
    ("oauthClientId", Unused(effect::OAUTH)),
    ("oauthPublicClient", Unused(effect::OAUTH)),
    ("oauthRedirectUrl", Unused(effect::OAUTH)),
    ("requiresOAuth", Unused(effect::OAUTH)),
    ("client_id", Unused(effect::OAUTH)),
    ("headersHelper", Unused(effect::HELPER)),
    ("watchPaths", Unused(effect::RESTARTS)),
    ("watch", Unused(effect::RESTARTS)),
    ("dev", Unused(effect::RESTARTS)),
    ("alwaysLoad", Unused(effect::WHEN)),
    ("required", Unused(effect::WHEN)),
    ("lifecycle", Unused(effect::WHEN)),
    ("startup", Unused(effect::WHEN)),
    ("custom_instructions", Unused(effect::MODEL)),
    ("serverInstructions", Unused(effect::MODEL)),
    ("filterMapping", Unused(effect::MODEL)),
    ("chatMenu", Unused(effect::DISPLAY)),
    ("logging", Unused(effect::LOGS)),
    ("log_level", Unused(effect::LOGS)),
    ("supports_parallel_tool_calls", Unused(effect::PARALLEL)),
    ("remote", Unused(effect::REMOTE)),
    ("proxy", Unused(effect::PROXY)),
    ("tokenCacheDir", Unused(effect::STORE)),
    ("reconnect", Unused(effect::RETRY)),
    ("reconnectDelay", Unused(effect::RETRY)),
    ("retry", Unused(effect::RETRY)),
    ("clientName", Label),
    ("name", Label),
    ("title", Label),
    ("displayName", Label),
    ("display_name", Label),
    ("icon", Label),
    ("iconPath", Label),
    ("logoUrl", Label),
    ("id", Label),
    ("version", Label),
    ("gallery", Label),
    ("registry", Label),
    ("registryUrl", Label),
    ("serverId", Label),
    ("source", Label),
    ("provider", Label),
    ("providerUrl", Label),
    ("author", Label),
    ("homepage", Label),
    ("repository", Label),
    ("license", Label),
    ("category", Label),
    ("tags", Label),
    ("bundled", Label),
    ("owner", Label),
    ("isDefaultServer", Label),
    ("$typeName", Label),
];

impl Means {
    /// Returns what the key sets, for the documentation; `None` if it is not honoured.
    #[cfg(test)]
    pub fn sets(self) -> Option<&'static str> {
        Some(match self {
            Means::Command => "command",
            Means::Args => "arguments",
            Means::Env => "environment",
            Means::EnvNames => "variables that are passed on if they are set",
            Means::RequiredEnv => "variables that must be set",
            Means::EnvFile => "file with the environment",
            Means::Cwd => "working directory",
            Means::Url => "address",
            Means::Headers => "headers",
            Means::HeadersFromEnv => "headers from variables",
            Means::Request => "its `headers`",
            Means::BearerToken => "bearer token",
            Means::BearerTokenEnv => "variable with the bearer token",
            Means::Type => "transport",
            Means::Description => "description",
            Means::Disabled => "switched off if true",
            Means::Enabled => "switched off if false",
            Means::EnabledTools => "tools that can be called",
            Means::DisabledTools => "tools that cannot be called",
            Means::CallTimeout(Unit::Seconds) => "limit of a call, in seconds",
            Means::CallTimeout(Unit::Milliseconds) => "limit of a call, in milliseconds",
            Means::ConnectTimeout(Unit::Seconds) => "limit of the start, in seconds",
            Means::ConnectTimeout(Unit::Milliseconds) => "limit of the start, in milliseconds",
            Means::Sandbox => "sandbox: the server is refused without `--allow-unsandboxed`",
            Means::SandboxRules | Means::Unused(_) | Means::Label | Means::Known => return None,
        })
    }

    /// Returns what the key would have done; `None` if it is honoured.
    pub fn unused(self) -> Option<&'static str> {
        match self {
            Means::Unused(effect) => Some(effect),
            Means::Label => Some(effect::DISPLAY),
            Means::SandboxRules => Some("limits a sandbox, which is not used here"),
            _ => None,
        }
    }
}
