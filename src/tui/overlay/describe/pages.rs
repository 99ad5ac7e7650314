//! Builds the pages of a description from the read model. Values of secrets never appear.

use std::sync::Arc;

use crate::{
    domain::{
        body::Body,
        catalog::{Change, Hints, Prompt, Resource, Tool},
        directory::Directory,
        frame::{Direction, Frame},
        id::{ServerId, ToolId},
        plural::counted,
        server::{Era, ServerSpec, Transport},
        text::visible,
        time::{Stamp, short, size},
        uri_template,
        workflow::library::WorkflowEntry,
    },
    state::{ClientView, ConsoleState, ServerView},
    tui::{
        pane::state_words,
        tree::Node,
        widget::{
            markdown,
            rich_text::{Line, Role},
        },
    },
};

use super::{Describe, Page, text, tree};

/// The cells of labels.
const LABEL: u16 = 14;
/// The most frames of a handshake.
const FRAMES: usize = 60;

impl Describe {
    /// Creates the description of a row of the tree; `None` if there is nothing to describe.
    pub fn node(node: &Node, read_model: &ConsoleState, now: Stamp) -> Option<Describe> {
        match node {
            Node::Tool(id) | Node::Saved(id, _) => Some(tool(id, read_model.tool(id)?, read_model)),
            Node::Resource(server, uri) => {
                let catalog = &read_model.server(server)?.catalog;
                Some(resource(server, catalog.resources.iter().find(|r| r.uri == **uri)?, "resource"))
            }
            Node::Template(server, uri) => {
                let catalog = &read_model.server(server)?.catalog;
                Some(resource(server, catalog.templates.iter().find(|r| r.uri == **uri)?, "template"))
            }
            Node::Prompt(server, name) => {
                let catalog = &read_model.server(server)?.catalog;
                Some(prompt(server, catalog.prompts.iter().find(|p| p.name == *name)?))
            }
            Node::Server(id) | Node::Member(_, id) | Node::Section(id, _) => Some(server(read_model.server(id)?, read_model, now)),
            Node::Group(_) | Node::Replicas(_) => None,
        }
    }

    /// Creates the description of a workflow.
    pub fn workflow(entry: &WorkflowEntry) -> Describe {
        let mut out = About::default();
        out.field("file", &entry.file, Role::Muted);
        match &entry.plan {
            Err(problems) => {
                out.heading("Errors");
                for problem in problems {
                    out.lines.push(Line::new(problem.to_string(), Role::Fail));
                }
                Describe::new(&*entry.name, "workflow", vec![("about", text(out.lines))])
            }
            Ok(plan) => {
                out.optional("title", plan.title.as_deref());
                out.optional("version", plan.version.as_deref());
                out.field("steps", &plan.steps.len().to_string(), Role::Text);
                match plan.timeout.as_ref().map(|timeout| (timeout.fixed(), timeout.template())) {
                    Some((Some(fixed), _)) => out.field("timeout", &short(fixed), Role::Text),
                    Some((None, Some(template))) => out.field("timeout", &template.written(), Role::Text),
                    _ => {}
                }
                if !plan.env.is_empty() {
                    out.field("environment", &plan.env.join(", "), Role::Text);
                }
                out.markdown(plan.description.as_deref());
                out.heading("Steps");
                for step in &plan.steps {
                    out.field(&step.id, step.title.as_deref().unwrap_or_default(), Role::Text);
                }
                let source = plan.text.lines().map(|line| Line::new(line, Role::Text).hanging(4)).collect();
                let pages = vec![("about", text(out.lines)), ("input", tree(plan.input.clone())), ("file", text(source))];
                Describe::new(&*entry.name, "workflow", pages)
            }
        }
    }
}

/// The lines of a page.
#[derive(Default)]
struct About {
    lines: Vec<Line>,
}

impl About {
    fn field(&mut self, label: &str, value: &str, role: Role) {
        let mut lines = value.lines();
        self.lines.push(Line::field(label, LABEL, lines.next().unwrap_or_default(), role));
        self.lines.extend(lines.map(|line| Line::field("", LABEL, line, role)));
    }

    fn optional(&mut self, label: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.field(label, value, Role::Text);
        }
    }

    fn gap(&mut self) {
        if self.lines.last().is_some_and(|line| *line != Line::default()) {
            self.lines.push(Line::default());
        }
    }

    fn heading(&mut self, title: &str) {
        self.gap();
        self.lines.push(Line::new(title, Role::Heading));
    }

    /// Adds a text of the server, below a gap.
    fn markdown(&mut self, source: Option<&str>) {
        if let Some(source) = source.filter(|source| !source.trim().is_empty()) {
            self.gap();
            self.lines.extend(markdown::lines(source.trim_end()));
        }
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::Same => {}
            Change::Added => self.field("changed", "added since the previous list", Role::Ok),
            Change::Changed => self.field("changed", "changed since the previous list", Role::Warn),
        }
    }
}

fn tool(id: &ToolId, tool: &Arc<Tool>, read_model: &ConsoleState) -> Describe {
    let mut out = About::default();
    let exposed = read_model.names.exposed(id).map_or_else(|| tool.name.to_string(), |name| name.to_string());
    out.optional("title", tool.title.as_deref());
    out.field("server", id.server.as_str(), Role::Accent);
    if exposed != *tool.name {
        out.field("own name", &visible(&tool.name), Role::Text);
    }
    annotations(&mut out, tool.hints, read_model.server(&id.server));
    if tool.task_only {
        out.field("task", "it must be called as a task", Role::Warn);
    }
    if read_model.server(&id.server).is_some_and(|server| !server.spec.tools.allows(&tool.name)) {
        out.field("filtered", "calls are refused: see enabled_tools and disabled_tools of the server", Role::Warn);
    }
    out.changed(tool.change);
    out.markdown(tool.description.as_deref());
    let mut pages: Vec<Page> = vec![("about", text(out.lines)), ("input", tree(tool.input_schema.clone()))];
    pages.extend(tool.output_schema.clone().map(|schema| ("output", tree(schema))));
    pages.push(("definition", tree(tool.raw.clone())));
    Describe::new(exposed, "tool", pages)
}

fn annotations(out: &mut About, hints: Hints, server: Option<&ServerView>) {
    let trusted = server.is_some_and(|server| server.spec.trusted);
    let trust = if trusted { "" } else { " (declared by a server that is not trusted)" };
    out.field("effect", &format!("{}{trust}", hints.words()), Role::Text);
    let all = [
        ("readOnlyHint", hints.read_only),
        ("destructiveHint", hints.destructive),
        ("idempotentHint", hints.idempotent),
        ("openWorldHint", hints.open_world),
    ];
    let set: Vec<String> = all.iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}"))).collect();
    match set.is_empty() {
        true => out.field("annotations", "none", Role::Muted),
        false => out.field("annotations", &set.join(" · "), Role::Text),
    }
}

fn resource(server: &ServerId, resource: &Resource, kind: &'static str) -> Describe {
    let mut out = About::default();
    out.field("name", &visible(&resource.name), Role::Text);
    out.optional("title", resource.title.as_deref());
    out.field("server", server.as_str(), Role::Accent);
    out.field("type", resource.mime_type.as_deref().unwrap_or("unknown"), Role::Text);
    if let Some(bytes) = resource.size {
        out.field("size", &size(bytes), Role::Text);
    }
    if kind == "template" {
        out.field("variables", &uri_template::variables(&resource.uri).join(", "), Role::Text);
    }
    out.changed(resource.change);
    out.markdown(resource.description.as_deref());
    Describe::new(&*resource.uri, kind, vec![("about", text(out.lines)), ("definition", tree(resource.raw.clone()))])
}

fn prompt(server: &ServerId, prompt: &Prompt) -> Describe {
    let mut out = About::default();
    out.optional("title", prompt.title.as_deref());
    out.field("server", server.as_str(), Role::Accent);
    out.changed(prompt.change);
    out.markdown(prompt.description.as_deref());
    if !prompt.arguments.is_empty() {
        out.heading("Arguments");
    }
    for argument in &prompt.arguments {
        let mark = if argument.required { " *" } else { "" };
        out.field(&format!("{}{mark}", argument.name), argument.description.as_deref().unwrap_or_default(), Role::Text);
    }
    Describe::new(&*prompt.name, "prompt", vec![("about", text(out.lines)), ("definition", tree(prompt.raw.clone()))])
}

fn server(server: &ServerView, read_model: &ConsoleState, now: Stamp) -> Describe {
    let mut out = About::default();
    let spec = &server.spec;
    let role = match server.phase.failure() {
        Some(_) => Role::Fail,
        None if server.phase.usable() => Role::Ok,
        None => Role::Warn,
    };
    out.field("state", &state_words(server, now), role);
    out.optional("about", spec.description.as_deref());
    out.optional("owner", spec.owner.as_deref());
    launch(&mut out, spec);
    configuration(&mut out, spec);
    if let Some(failure) = server.phase.failure() {
        out.heading("Failure");
        for (label, line) in failure.report() {
            out.field(label.word(), &line, Role::Text);
        }
    }
    session(&mut out, server);
    client_sessions(&mut out, server, read_model);
    if let Some(instructions) = server.info.as_ref().and_then(|info| info.instructions.as_deref()) {
        out.heading("Instructions");
        out.lines.extend(markdown::lines(instructions));
    }
    let mut pages: Vec<Page> = vec![("about", text(out.lines))];
    if let Some(info) = server.info.as_ref().filter(|info| !info.capabilities.is_empty()) {
        pages.push(("capabilities", tree(info.capabilities.clone())));
    }
    if let Some(handshake) = handshake(server.id(), read_model) {
        pages.push(("handshake", tree(handshake)));
    }
    Describe::new(server.id().as_str(), "server", pages)
}

fn launch(out: &mut About, spec: &ServerSpec) {
    match &spec.launch {
        Transport::Stdio { command, args, env, inherit_env, cwd } => {
            out.field("command", &visible(command), Role::Text);
            for (at, arg) in args.iter().enumerate() {
                out.field(if at == 0 { "arguments" } else { "" }, &visible(arg.written()), Role::Text);
            }
            if let Some(cwd) = cwd {
                out.field("directory", &cwd.display().to_string(), Role::Text);
            }
            let names: Vec<&str> = env.iter().map(|(name, _)| name.as_str()).collect();
            let inherited = if *inherit_env { "the whole environment of Switchboard" } else { "PATH, HOME and a few more variables" };
            out.field("environment", &if names.is_empty() { "no variables added".to_owned() } else { names.join(", ") }, Role::Text);
            out.field("inherited", inherited, Role::Muted);
        }
        Transport::Http { headers, socket, .. } => {
            out.field("url", &spec.launch.summary(), Role::Text);
            if let Some(socket) = socket {
                out.field("socket", &socket.display().to_string(), Role::Text);
            }
            for (at, (name, value)) in headers.iter().enumerate() {
                let shown = if value.written().contains("${") { value.written() } else { "(hidden)" };
                out.field(if at == 0 { "headers" } else { "" }, &format!("{}: {}", visible(name), visible(shown)), Role::Text);
            }
        }
    }
}

fn configuration(out: &mut About, spec: &ServerSpec) {
    if let Some(file) = &spec.origin.file {
        let line = spec.origin.line.map(|line| format!(":{line}")).unwrap_or_default();
        out.field("from", &format!("{}{line}", file.display()), Role::Text);
    }
    out.optional("namespace", spec.namespace.as_deref());
    out.optional("folder", spec.group.as_deref());
    out.field("trust", if spec.trusted { "trusted: its annotations are used" } else { "not trusted" }, Role::Text);
    if spec.tls.insecure {
        out.field("insecure", "its certificate is not checked", Role::Fail);
    }
    let timeouts = &spec.timeouts;
    let times = format!("connect {} · call {} (at most {})", short(timeouts.connect), short(timeouts.call), short(timeouts.call_max));
    out.field("timeouts", &times, Role::Text);
    for fault in &spec.config_faults {
        out.field("error", &fault.message, Role::Fail);
    }
}

fn session(out: &mut About, server: &ServerView) {
    let Some(info) = &server.info else { return };
    out.heading("Session");
    let name = info.title.as_deref().or(info.name.as_deref()).unwrap_or("unnamed");
    out.field("server", &visible(name), Role::Text);
    out.optional("version", info.version.as_deref());
    let era = match info.era {
        Era::Legacy => "with sessions",
        Era::Modern => "stateless",
    };
    out.field("protocol", &format!("{} · {era}", visible(&info.protocol)), Role::Text);
    out.field("ready after", &short(info.took), Role::Text);
    if let Some(waited) = info.probe_unanswered {
        out.field("probe", &format!("not answered within {}", short(waited)), Role::Warn);
    }
    if let Some(pid) = info.pid {
        out.field("pid", &pid.to_string(), Role::Text);
    }
    let catalog = &server.catalog;
    let counts = [
        (catalog.tools.len(), "tool"),
        (catalog.resources.len(), "resource"),
        (catalog.templates.len(), "template"),
        (catalog.prompts.len(), "prompt"),
    ];
    let counts: Vec<String> = counts.iter().map(|(count, noun)| counted(*count, noun)).collect();
    out.field("provides", &counts.join(" · "), Role::Text);
}

/// Adds the sessions of the server: one that clients share, and those of clients that a server may ask something.
fn client_sessions(out: &mut About, server: &ServerView, read_model: &ConsoleState) {
    if server.client_sessions.is_empty() {
        return;
    }
    out.heading("Sessions");
    out.field("shared", "one, of this process and of clients that a server cannot ask", Role::Muted);
    for (at, session) in server.client_sessions.iter().enumerate() {
        let owner = read_model.clients.get(session.client).map_or_else(|| "client".into(), ClientView::label);
        let words =
            format!("{} · client {} · since {}", visible(&owner), session.client, &read_model.epoch.time_of_day(session.since)[..8]);
        out.field(if at == 0 { "own" } else { "" }, &words, Role::Text);
    }
}

/// Returns the frames of the last handshake that are still in memory, as a JSON array.
fn handshake(server: &ServerId, read_model: &ConsoleState) -> Option<Body> {
    let mine = || read_model.frames.iter().filter(|frame| frame.server == *server && frame.call.is_none());
    let opens = |frame: &Frame| matches!(frame.method.as_deref(), Some("initialize" | "server/discover"));
    // The probe for the era comes right before the handshake.
    let starts: Vec<u64> = mine().filter(|frame| opens(frame)).map(|frame| frame.seq).collect();
    let first = starts.iter().rev().take(4).next_back().copied()?;
    let parts: Vec<String> = mine()
        .filter(|frame| frame.seq >= first)
        .take(FRAMES)
        .map(|frame| {
            let direction = if frame.direction == Direction::Out { "sent" } else { "received" };
            let text = frame.body.text();
            let valid = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            let body = if valid { text.into_owned() } else { serde_json::Value::from(text.as_ref()).to_string() };
            let label = frame.method.as_deref().map_or_else(|| direction.to_owned(), |method| format!("{direction} {method}"));
            format!("{{{}:{body}}}", serde_json::Value::from(label))
        })
        .collect();
    Some(Body::from(format!("[{}]", parts.join(","))))
}
