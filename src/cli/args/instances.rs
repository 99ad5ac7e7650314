//! Arguments of commands about running engines.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{OnLine, values::parse_duration};

/// `up`.
#[derive(Clone, Debug, Default, Args)]
pub struct UpArgs {
    /// The name of the engine.
    #[arg(default_value = "default")]
    pub name: String,
    /// Run in the background: return when the engine accepts connections.
    #[arg(short, long)]
    pub detach: bool,
    /// End after this time without connections, calls and runs: 30m, 2h.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub idle: Option<Duration>,
    /// What clients of the control socket may do.
    #[arg(long, value_name = "ACCESS", default_value = "full")]
    pub control: UpAccess,
}

/// What clients of the control socket of `up` may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum UpAccess {
    /// Everything.
    #[default]
    Full,
    /// Observe.
    ReadOnly,
}

/// What consoles and commands may do with the engine of a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ServeAccess {
    /// They cannot connect.
    Off,
    /// Observe.
    ReadOnly,
    /// Everything.
    #[default]
    Full,
}

/// `down`.
#[derive(Clone, Debug, Default, Args)]
pub struct DownArgs {
    /// The name of the engine; it can be left out if only one runs.
    pub name: Option<String>,
}

/// `tap`.
#[derive(Clone, Debug, Default, Args)]
pub struct TapArgs {
    /// Tap the HTTP server at this URL in place of a command.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Listen on this loopback address for the client of --url [default: 127.0.0.1 and a free port].
    #[arg(long, value_name = "ADDRESS", requires = "url")]
    pub listen: Option<SocketAddr>,
    /// Write the messages into this new file, one JSON document a line, at most 256 MiB.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// The name of the tap for `attach` [default: tap-PID].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Whether `attach` may show the tap.
    #[arg(long, value_name = "ACCESS", default_value = "read-only")]
    pub control: ServeAccess,
    /// The command of the server.
    #[command(flatten)]
    pub server: OnLine,
}

/// `attach`.
#[derive(Clone, Debug, Default, Args)]
pub struct AttachArgs {
    /// The name of the engine; it can be left out if only one runs.
    pub name: Option<String>,
    /// Only observe: no key changes anything.
    #[arg(long)]
    pub read_only: bool,
}
