//! The architecture test: reads the sources and checks their dependencies, and who may print or write to the
//! terminal.
//!
//! The module map is in `src/lib.rs`. Every rule is also tested on a planted violation, so that none can silently
//! stop working. Test code (`#[cfg(test)]`, and the files of such modules) is exempt.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test ends where it cannot continue")]

#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/wording.rs"]
mod wording;

use std::collections::BTreeSet;

use source::{Code, covers, is_for_tests, named_paths, sources, test_modules, words};

/// Crates confined to certain places: the crate, and prefixes of the paths that may name it.
const CONFINED: &[(&str, &[&str])] = &[
    ("rmcp", &["auth/flow.rs", "auth/http.rs", "demo/"]),
    ("rusqlite", &["demo/", "store/"]),
    ("axum", &["demo/"]),
    ("reqwest", &["auth/http.rs", "mcp/", "telemetry/otlp/"]),
    ("rustls", &["mcp/", "cache/redis/", "tap/http.rs", "telemetry/otlp/"]),
    ("redis", &["cache/redis/"]),
    ("moka", &["cache/memory.rs"]),
    ("http_body", &["mcp/", "gateway/http/", "telemetry/otlp/"]),
    // One listener, whose limits are in one place.
    ("hyper", &["gateway/http/"]),
    ("getrandom", &["gateway/random.rs"]),
    ("ring", &["gateway/sealed.rs"]),
    ("ratatui", &["tui/"]),
    // The drawn screen: code that handles input asks the hit map and reads no cells.
    ("ratatui::buffer", DRAWS),
    ("tui_textarea", &["tui/"]),
    ("crokey", &["tui/"]),
    ("nucleo_matcher", &["tui/"]),
    // Decoders of what servers send, behind one set of limits.
    ("image", &["tui/graphics/"]),
    ("color_quant", &["tui/graphics/"]),
    // The CLI printer asks for the width of the terminal.
    ("crossterm", &["tui/", "cli/print.rs"]),
    ("clap", &["cli/", "main.rs"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("toml", &["domain/document.rs", "tui/keymap.rs", "tui/theme.rs"]),
    ("minijinja", &["domain/workflow/expression/"]),
    ("toml_edit", &["config/"]),
    ("jsonc_parser", &["config/"]),
    ("saphyr_parser", &["config/"]),
    ("notify", &["auth/watch.rs", "config/"]),
    ("miniz_oxide", &["config/bundle.rs"]),
    ("anstyle", &["cli/style.rs"]),
    ("strsim", &["domain/spelling.rs"]),
    (
        "chrono",
        &[
            "app/",
            "gateway/tasks.rs",
            "workspace/",
            "mcp/http/tls.rs",
            "store/",
            "telemetry/",
            "domain/policy/budget.rs",
            "domain/workflow/expression/date.rs",
        ],
    ),
    ("keyring_core", &["keyring/system.rs"]),
    ("zbus_secret_service_keyring_store", &["keyring/system.rs"]),
    ("apple_native_keyring_store", &["keyring/system.rs"]),
    ("tracing_subscriber", &["telemetry/"]),
];

/// Places that draw.
const DRAWS: &[&str] = &[
    "tui/dialog.rs",
    "tui/draw.rs",
    "tui/overlay/",
    "tui/pane/",
    "tui/view",
    "tui/terminal.rs",
    "tui/theme.rs",
    "tui/tour.rs",
    "tui/widget/",
    "tui/pictures",
];

/// Modules confined to certain places: the module, and prefixes of the paths that may name it.
const CONFINED_MODULES: &[(&str, &[&str])] = &[("protocol", &["protocol/", "mcp/", "gateway/", "tap/"]), ("control::wire", &["control/"])];

/// Names that pure code must not use: a runtime, the outside world, a clock.
const IMPURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "futures_util",
    "tracing",
    "rustix",
    // The calendar of chrono is pure; its time zones are the way to the clock.
    "chrono::Utc",
    "chrono::Local",
    "chrono::offset",
    "chrono::prelude",
    "fastrand",
    "directories",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Names that drawing code must not use, besides the engine. It gets the time from the model.
const NOT_FOR_DRAWING: &[&str] = &[
    "tokio",
    "tokio_util",
    "futures_util",
    "tracing",
    "rustix",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Returns what the files of a folder may name of this crate (path prefixes without `crate::`); `None` allows
/// everything.
fn may_name(file: &str) -> Option<&'static [&'static str]> {
    let folder = file.split('/').next().unwrap_or_default();
    Some(match folder {
        "domain" => &["domain"],
        "engine" => &["domain", "engine"],
        "mcp" => &["domain", "engine::ports", "executable", "mcp", "protocol"],
        "auth" => &["domain", "engine::ports", "files", "keyring", "mcp::trusted", "auth"],
        "protocol" => &["domain", "protocol"],
        // Whatever crosses is plain data and raw JSON.
        "gateway" => &["domain", "engine::Engine", "engine::passage", "engine::ports::CallExecutor", "engine::tail", "gateway", "protocol"],
        "store" => &["domain", "engine::ports", "store"],
        "tap" => &["domain", "engine::ports", "protocol", "tap"],
        "cache" => &["domain", "engine::ports", "cache"],
        "telemetry" => &["domain", "control", "engine::ports", "state", "telemetry", "files"],
        "config" => &["domain", "config", "files", "keyring"],
        "keyring" => &["domain", "keyring"],
        "executable.rs" | "files.rs" => &["domain"],
        "demo" => &["domain", "demo"],
        "state" => &["domain", "state"],
        "control" => &["domain", "engine", "state", "control"],
        "rehearsal.rs" => &["domain", "engine", "control"],
        "process" => &["domain", "cli", "process"],
        "workflow_lookup.rs" => &["domain", "files"],
        "workspace" => &[
            "domain",
            "config",
            "control",
            "demo",
            "engine::EngineOptions",
            "engine::ports",
            "files",
            "keyring",
            "rehearsal",
            "state",
            "store",
            "workflow_lookup",
            "workspace",
        ],
        "cli" => &["domain", "control", "state", "cli", "executable", "files", "workflow_lookup"],
        "tui" if is_drawing(file) => &["domain", "state", "tui"],
        "tui" => &["domain", "control", "state", "tui", "files"],
        _ => return None,
    })
}

fn is_drawing(file: &str) -> bool {
    ["tui/pane/", "tui/overlay/", "tui/widget/"].iter().any(|folder| file.starts_with(folder))
}

const PRINTERS: &[&str] = &["cli/print.rs", "main.rs"];
const TERMINAL: &str = "tui/terminal.rs";
/// Encodes images for the terminal.
const TERMINAL_GRAPHICS: &str = "tui/graphics";
/// Reads the terminal's input: escape sequences.
const TERMINAL_INPUT: &str = "tui/input/";
/// Holds the terminal's stdout, or is a separate program whose stdout is a transport.
const STDOUT: &[&str] = &["cli/print.rs", TERMINAL, "demo/process.rs", "app/mock.rs", "app/serve.rs", "tap/stdio.rs"];
const UNSAFE: &[&str] = &["mcp/spawn.rs", "process/allocator.rs"];

/// The transport: classifies texts of servers and of the HTTP client, which have no other form.
const CLASSIFIES_TEXT: &[&str] = &["mcp/http/answer.rs", "mcp/http/loss.rs"];
/// Methods that search or compare a text.
const SEARCHES: &[&str] = &[
    "starts_with",
    "ends_with",
    "contains",
    "find",
    "rfind",
    "split",
    "rsplit",
    "split_once",
    "rsplit_once",
    "strip_prefix",
    "strip_suffix",
    "trim_start_matches",
    "trim_end_matches",
    "eq_ignore_ascii_case",
    "eq",
    "ne",
];

/// Returns the rule violations of `source` in `file` (relative to `src/`).
fn violations(file: &str, source: &str) -> Vec<String> {
    let code = Code::read(source);
    let named = named_paths(file, &code.text);
    let mut found = Vec::new();
    let mut rule = |broken: bool, what: String| {
        if broken {
            found.push(format!("src/{file}: {what}"));
        }
    };
    for path in &named {
        if let Some(inside) = path.strip_prefix("crate::") {
            let mut confined = CONFINED_MODULES.iter().filter(|(module, _)| covers(module, inside));
            let at_home = confined.all(|(_, homes)| homes.iter().any(|home| file.starts_with(home)));
            let allowed = at_home && may_name(file).is_none_or(|allowed| allowed.iter().any(|a| covers(a, inside)));
            rule(!allowed, format!("names crate::{inside}, which is not for this folder"));
            continue;
        }
        for (name, homes) in CONFINED {
            let at_home = homes.iter().any(|home| file.starts_with(home));
            rule(covers(name, path) && !at_home, format!("names {path}; {name} belongs to {}", homes.join(", ")));
        }
        let pure = file.starts_with("domain/") || file.starts_with("state/");
        rule(pure && IMPURE.iter().any(|bad| covers(bad, path)), format!("names {path}; the domain is pure"));
        rule(is_drawing(file) && NOT_FOR_DRAWING.iter().any(|bad| covers(bad, path)), format!("names {path}; drawing is pure"));
    }
    let words = words(&code.text);
    for (word, next) in &words {
        let called = next.starts_with('!');
        rule(called && ["println", "print", "eprintln", "eprint"].contains(word) && !PRINTERS.contains(&file), format!("prints: {word}!"));
        rule(called && *word == "dbg", "leaves a dbg!".into());
        rule(called && ["execute", "queue"].contains(word) && file != TERMINAL, format!("writes to the terminal: {word}!"));
        rule(*word == "unsafe" && !UNSAFE.contains(&file), "holds unsafe code".into());
        let stream = ["stdout", "stderr"].contains(word) && next.starts_with("()");
        rule(stream && code.text.contains("io::") && !STDOUT.contains(&file), format!("takes hold of {word}"));
    }
    let writes = |s: &&String| ["\\x1b", "\\x1B", "\\u{1b}", "\\u{1B}", "\\x9b", "\\u{9b}", "\u{1b}"].iter().any(|esc| s.contains(esc));
    for literal in code.strings.iter().filter(writes) {
        let terminal = file == TERMINAL || [TERMINAL_INPUT, TERMINAL_GRAPHICS].iter().any(|place| file.starts_with(place));
        rule(!terminal, format!("holds an escape sequence: {literal}"));
    }
    for literal in code.decisions() {
        rule(!CLASSIFIES_TEXT.contains(&file), format!("decides by display text: {literal}"));
    }
    found.sort();
    found.dedup();
    found
}

/// Whether a literal holds words for people, two with a space between them, or is what separates a label from its text.
fn is_display_text(literal: &str) -> bool {
    let inside = literal.trim_start_matches(|c: char| c != '"');
    let letters: Vec<char> = inside.chars().collect();
    letters.windows(3).any(|three| {
        let ends = three[0].is_alphabetic() || ",:;.".contains(three[0]);
        ends && three[1] == ' ' && three[2].is_alphabetic()
    }) || inside.trim_end_matches('#') == "\": \""
}

#[test]
fn the_layers_hold() {
    let sources = sources();
    for folder in [
        "domain/",
        "engine/",
        "mcp/",
        "protocol/",
        "store/",
        "cache/",
        "telemetry/",
        "config/",
        "demo/",
        "cli/",
        "tui/",
        "app/",
        "state/",
        "control/",
        "process/",
        "workspace/",
    ] {
        assert!(sources.iter().any(|(file, _)| file.starts_with(folder)), "nothing was read of {folder}");
    }
    let found: Vec<String> = sources.iter().flat_map(|(file, source)| violations(file, source)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn long_files_are_reported() {
    for (file, source) in sources() {
        let lines = source.lines().count();
        if lines > 700 {
            eprintln!("src/{file} has {lines} lines; is it still one thing?");
        }
    }
}

#[test]
fn every_planted_violation_is_found() {
    let planted = [
        ("domain/call.rs", "use crate::engine::ports::ClientHandler;", "crate::engine"),
        ("domain/call.rs", "use super::super::mcp;", "crate::mcp"),
        ("domain/time.rs", "fn now() { let t = std::time::Instant::now(); }", "pure"),
        ("domain/time.rs", "use std::{fmt, time::{Duration, SystemTime}};", "SystemTime"),
        ("domain/policy/budget.rs", "use chrono::{DateTime, Utc};", "pure"),
        ("domain/catalog.rs", "use std::fs;", "std::fs"),
        ("domain/catalog.rs", "use tokio::sync::watch;", "tokio"),
        ("engine/bus.rs", "use crate::{domain::call::CallSpec, mcp::Connections};", "crate::mcp"),
        ("engine/mod.rs", "fn f() { crate::config::load(); }", "crate::config"),
        ("engine/mod.rs", "use crate::tui;", "crate::tui"),
        ("engine/registry.rs", "use crate::state::ConsoleState;", "crate::state"),
        ("engine/mod.rs", "use crate::control::Control;", "crate::control"),
        ("state/mod.rs", "use crate::engine::tail::Tail;", "crate::engine"),
        ("state/projection.rs", "use tokio::sync::watch;", "tokio"),
        ("control/local.rs", "use crate::tui::run;", "crate::tui"),
        ("control/remote.rs", "use crate::mcp::Connections;", "crate::mcp"),
        ("tui/run.rs", "use crate::control::wire::EngineMessage;", "control::wire"),
        ("cli/session.rs", "use crate::{control::{Control, wire}, domain::id::CallId};", "control::wire"),
        ("cli/session.rs", "use crate::engine::tail::Tail;", "crate::engine"),
        ("tui/run.rs", "use crate::engine::EngineOptions;", "crate::engine"),
        ("mcp/http.rs", "use crate::control::Control;", "control"),
        ("mcp/http.rs", "use crate::engine::{ports::ClientHandler, Engine};", "engine::Engine"),
        ("mcp/http.rs", "use crate::config::load;", "crate::config"),
        ("protocol/wire.rs", "use crate::engine::ports::Reply;", "engine::ports"),
        ("protocol/wire.rs", "use super::super::mcp::session;", "crate::mcp"),
        ("gateway/router.rs", "use crate::mcp::Connections;", "crate::mcp"),
        ("gateway/router.rs", "use crate::engine::ports::Session;", "engine::ports"),
        ("gateway/router.rs", "use crate::control::Control;", "crate::control"),
        ("gateway/stdio.rs", "use hyper::StatusCode;", "hyper"),
        ("gateway/stdio.rs", "use std::io; fn f() { io::stdout().write_all(b\"x\"); }", "stdout"),
        ("engine/mod.rs", "use crate::gateway::Gateway;", "crate::gateway"),
        ("protocol/headers.rs", "use reqwest::header::HeaderMap;", "reqwest"),
        ("engine/bus.rs", "use crate::protocol::wire;", "crate::protocol"),
        ("domain/call.rs", "use crate::protocol::wire;", "crate::protocol"),
        ("app/mod.rs", "use crate::{mcp, protocol::wire};", "crate::protocol"),
        ("main.rs", "use switchboard::protocol;", "crate::protocol"),
        ("config/load.rs", "use crate::mcp::Connections;", "crate::mcp"),
        ("config/load.rs", "use crate::engine::ports::ClientHandler;", "engine::ports"),
        ("store/mod.rs", "use crate::control::Control;", "control"),
        ("cache/mod.rs", "use crate::engine::Engine;", "engine::Engine"),
        ("cache/memory.rs", "use crate::tui::theme::Theme;", "crate::tui"),
        ("cache/redis/mod.rs", "use super::super::super::config::load;", "crate::config"),
        ("demo/mod.rs", "use crate::mcp::reaper;", "crate::mcp"),
        ("telemetry/events.rs", "use crate::engine::Engine;", "engine::Engine"),
        ("workspace/live.rs", "use crate::tui::theme::Theme;", "crate::tui"),
        ("workspace/live.rs", "use crate::engine::Engine;", "engine::Engine"),
        ("workspace/home.rs", "use crate::mcp::Connections;", "crate::mcp"),
        ("cli/approve.rs", "use crate::workspace::WorkspaceService;", "crate::workspace"),
        ("tui/run.rs", "use crate::workspace::Selection;", "crate::workspace"),
        ("control/workspace.rs", "use crate::workspace::WorkspaceService;", "crate::workspace"),
        ("process/watchdog.rs", "use crate::tui::terminal;", "crate::tui"),
        ("mcp/http.rs", "use tracing_subscriber::Layer;", "tracing_subscriber"),
        ("domain/call.rs", "fn f() { tracing::info!(\"x\"); }", "pure"),
        ("cli/call.rs", "use crate::tui::theme::Theme;", "crate::tui"),
        ("cli/call.rs", "use crate::engine::Engine;", "engine::Engine"),
        ("cli/call.rs", "use crate::config;", "crate::config"),
        ("tui/run.rs", "use crate::cli::print::Io;", "crate::cli"),
        ("tui/run.rs", "use crate::mcp;", "crate::mcp"),
        ("tui/run.rs", "use crate::demo::Demo;", "crate::demo"),
        ("tui/run.rs", "use crate::engine::ports::ClientHandler;", "engine::ports"),
        ("tui/pane/call.rs", "use crate::{domain::id::CallId, control::Command};", "control"),
        ("tui/overlay/help.rs", "use super::super::super::control::Command;", "control"),
        ("tui/widget/form.rs", "async fn f() { tokio::task::yield_now().await }", "tokio"),
        ("tui/widget/form.rs", "use std::time::{Duration, Instant};", "Instant"),
        ("protocol/wire.rs", "use rmcp::model::Tool;", "rmcp"),
        ("engine/bus.rs", "fn f(db: &rusqlite::Connection) {}", "rusqlite"),
        ("cli/tools.rs", "use ratatui::style::Color;", "ratatui"),
        ("cli/tools.rs", "use crossterm::style::Color;", "crossterm"),
        ("config/load.rs", "use reqwest::Client;", "reqwest"),
        ("tui/run.rs", "use clap::Parser;", "clap"),
        ("engine/mod.rs", "fn f() { println!(\"x\"); }", "println"),
        ("tui/run.rs", "fn f() { eprintln!(\"x\"); }", "eprintln"),
        ("mcp/http.rs", "fn f(x: u8) { dbg!(x); }", "dbg"),
        ("tui/draw.rs", "fn f() { crossterm::execute!(out, Hide); }", "execute"),
        ("tui/draw.rs", "fn f() { queue!(out, Hide); }", "queue"),
        ("tui/model/mouse.rs", "use ratatui::{buffer::Buffer, layout::Rect};", "ratatui::buffer"),
        ("tui/keymap.rs", "fn f(drawn: &ratatui::buffer::Buffer) {}", "ratatui::buffer"),
        ("tui/draw.rs", r#"const CLEAR: &str = "\x1b[2J";"#, "escape sequence"),
        ("cli/print.rs", r##"const CLEAR: &str = r#"a"#; const B: &[u8] = b"\x1b[2J";"##, "escape sequence"),
        ("cli/print.rs", r"const ESC: char = '\u{1b}';", "escape sequence"),
        ("tui/run.rs", "use std::io; fn f() { io::stdout().write_all(b\"x\"); }", "stdout"),
        ("mcp/stdio.rs", "fn f() { unsafe { g() } }", "unsafe"),
        ("domain/catalog.rs", r#"fn f(x: &str) -> bool { x.starts_with("not undone: ") }"#, "display text"),
        ("engine/supervisor.rs", r#"fn f(x: &str) -> bool { x.contains("took longer than") }"#, "display text"),
        ("cli/hints.rs", r#"fn f(x: &str) -> bool { x . strip_prefix(&"the server answered error ").is_some() }"#, "display text"),
        ("tui/rows.rs", r#"fn f(x: &str) -> bool { x.ends_with("resource updated: ") }"#, "display text"),
        ("domain/catalog.rs", r#"fn f(how: &str) -> Option<(&str, &str)> { how.split_once(": ") }"#, "display text"),
        ("app/mod.rs", r#"fn f(x: &str) -> bool { x == "tool error" }"#, "display text"),
        ("app/mod.rs", r#"fn f(x: &str) -> bool { "tool error" != x }"#, "display text"),
        ("store/calls.rs", r#"fn f(x: &str) -> u8 { match x { "tool error" => 1, _ => 2 } }"#, "display text"),
        ("cache/memory.rs", r#"fn f(x: Option<&str>) -> u8 { match x { Some("ok" | "tool error") => 1, _ => 2 } }"#, "display text"),
        ("mcp/session.rs", r#"fn f(x: &str) -> bool { x.contains("unknown session id") }"#, "display text"),
        ("mcp/stdio.rs", "#[cfg(test)]\nmod tests { const X: &str = \"}\"; }\nuse crate::cli;", "crate::cli"),
    ];
    for (file, source, word) in planted {
        let found = violations(file, source);
        assert_eq!(found.len(), 1, "{file}: {source}: {found:?}");
        assert!(found[0].contains(word) && found[0].contains(file), "{file}: {source}: {found:?}");
    }
}

#[test]
fn allowed_code_is_not_reported() {
    let innocent = [
        (
            "domain/call.rs",
            "//! Not for tokio: crate::engine::Engine.\nuse super::{body::Body, id::{ServerId, ToolId}};\nuse std::time::Duration;",
        ),
        ("domain/policy/budget.rs", "use chrono::{DateTime, NaiveDateTime};"),
        ("domain/call.rs", "/* crate::mcp */ const X: &str = \"crate::mcp::Connections unsafe println!\";"),
        ("domain/text.rs", "#[cfg(test)]\nmod tests {\n    use tokio::sync::watch;\n    fn f() { println!(\"{}\", '}'); }\n}"),
        ("engine/mod.rs", "use self::{bus::Bus, ports::Connector};\nuse crate::domain::call::{self, CallSpec as Spec};"),
        ("mcp/http.rs", "use reqwest::Client;\nuse crate::engine::ports::{ClientHandler, RequestObserver};\nuse super::session;"),
        ("mcp/spawn.rs", "fn f() { unsafe { g() } }"),
        ("mcp/stdio.rs", "use crate::protocol::{lines::Lines, wire};"),
        ("protocol/wire.rs", "use crate::domain::body::Body;\nuse super::lines;\nuse tokio::sync::oneshot;"),
        ("cli/print.rs", "fn f() { println!(\"x\"); std::io::stdout(); crossterm::terminal::size(); }"),
        ("cli/call.rs", "use crate::control::{Command, Control, run};\nuse super::print::Io;"),
        ("tui/run.rs", "use crate::control::{Command, Control};\nuse tokio::sync::mpsc;"),
        (
            "tui/pane/call.rs",
            "use crate::{domain::time::short, tui::widget::paint};\nuse ratatui::buffer::Buffer;\nfn f<'a>(x: &'a str) {}",
        ),
        ("tui/terminal.rs", r#"const X: &str = "\x1b[22;0t"; fn f() { queue!(io::stdout(), Hide); }"#),
        ("tui/input/parse.rs", r#"const END: &[u8] = b"\x1b[201~";"#),
        ("app/mod.rs", "use crate::{cli, config, demo, engine::Engine, mcp, tui};"),
        ("main.rs", "fn main() { switchboard::app::run(switchboard::cli::args::Cli::parse()) }"),
        ("demo/mod.rs", "use crate::domain::server::ServerSpec;\nuse rusqlite::Connection;"),
        ("mcp/http/answer.rs", r#"fn f(x: &str) -> bool { x.contains("corrupt message") }"#),
        (
            "cli/call.rs",
            r#"fn f(x: &str) -> u8 { match x.split_once(" #") { Some(("a", b)) if b == "tool" => say("the tool is called"), _ => 2 } }"#,
        ),
        ("cli/call.rs", r#"fn f(x: u8) -> &'static str { if x == 1 { "one thing" } else { "many things" } }"#),
        ("tui/rows.rs", "#[cfg(test)]\nmod tests { fn f(x: &str) -> bool { x.contains(\"tool error\") } }"),
        ("cache/mod.rs", "use crate::{domain::policy::cache::CacheSettings, engine::ports::ResponseCache};"),
    ];
    for (file, source) in innocent {
        assert_eq!(violations(file, source), Vec::<String>::new(), "{file}: {source}");
    }
    assert_eq!(test_modules("tui/widget/mod.rs", "#[cfg(test)]\nmod test;\nmod field;\n"), ["tui/widget/test.rs"]);
    assert_eq!(test_modules("tui/widget/form.rs", "#[cfg(test)]\npub mod tests;\n"), ["tui/widget/form/tests.rs"]);
    assert_eq!(test_modules("domain/form.rs", "#[cfg(test)]\npub(crate) mod tests;\n"), ["domain/form/tests.rs"]);
    let tests = BTreeSet::from(["tui/model/tests.rs".to_owned()]);
    for (file, so) in
        [("tui/model/tests.rs", true), ("tui/model/tests/calls.rs", true), ("tui/model/calls.rs", false), ("tui/model.rs", false)]
    {
        assert_eq!(is_for_tests(file, &tests), so, "{file}");
    }
}
