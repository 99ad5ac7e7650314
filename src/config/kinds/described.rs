//! Files that describe one server instead of starting it: the registry's `server.json` and the `manifest.json` of a bundle
//! (`.mcpb`), both translated into an entry; and formats that are known and refused.

use super::KindId;
use crate::domain::document::{Field, Kind, Node};

/// Returns whether the file is a `server.json` of the MCP registry.
pub(super) fn is_registry(tree: &Node) -> bool {
    tree.get("name").and_then(Node::text).is_some()
        && ["packages", "remotes"].iter().any(|key| tree.get(key).is_some_and(|list| list.items().is_some()))
}

/// Returns whether the file is the manifest of a bundle.
pub(super) fn is_bundle(tree: &Node) -> bool {
    let versioned = ["manifest_version", "dxt_version", "mcpb_version"].iter().any(|key| tree.get(key).is_some());
    versioned && tree.get("server").is_some_and(|server| server.get("mcp_config").is_some())
}

/// Returns why a known format is refused: message and hint.
pub(super) fn refused(tree: &Node) -> Option<(&'static str, &'static str)> {
    let has = |key: &str| tree.get(key).is_some();
    let inner = |key: &str, inner: &str| tree.get(key).is_some_and(|node| node.get(inner).is_some());
    let images = || {
        let entries = tree.get("registry").and_then(Node::fields).unwrap_or_default();
        entries.iter().any(|entry| entry.value.get("image").is_some())
    };
    let container = "start the server with `docker run -i --rm IMAGE` in [servers]";
    if inner("mcp", "targets") || has("binds") {
        Some(("is the configuration of agentgateway, which is not read", "add the address of the gateway as `url` in [servers]"))
    } else if has("startCommand") {
        Some(("is a smithery.yaml, whose command is JavaScript that is not run", "put the command that it returns into [servers]"))
    } else if images() {
        Some(("is a catalog of Docker images, which is not read", container))
    } else if has("image") && has("transport") {
        Some(("is a run configuration of ToolHive, which is not read", container))
    } else {
        None
    }
}

/// Returns the server that a file describes, as an entry with `command` and `args`, or `url`.
pub(super) fn entry(tree: &Node, kind: KindId) -> Option<Field> {
    match kind {
        KindId::Bundle => bundle(tree),
        _ => registry(tree),
    }
}

fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::text)
}

/// A node at the place of another.
fn node(kind: Kind, place: &Node) -> Node {
    Node { kind, at: place.at, end: place.end }
}

fn field(key: &str, value: Node) -> Field {
    Field { key: key.to_owned(), at: value.at, end: value.end, value }
}

fn string(text: impl Into<String>, place: &Node) -> Node {
    node(Kind::Text(text.into()), place)
}

fn bundle(tree: &Node) -> Option<Field> {
    let name = tree.field("name")?;
    let config = tree.get("server")?.get("mcp_config")?;
    let mut fields: Vec<Field> = config.fields()?.to_vec();
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let overrides = config.get("platform_overrides").and_then(|all| all.get(system)).and_then(Node::fields).unwrap_or_default();
    for over in overrides {
        fields.retain(|field| field.key != over.key);
        fields.push(over.clone());
    }
    fields.retain(|field| field.key != "platform_overrides");
    fields.extend(tree.field("description").cloned());
    Some(Field { key: name.value.text()?.to_owned(), at: name.at, end: name.end, value: node(Kind::Table(fields), config) })
}

/// The first package that can be started, else the first address.
fn registry(tree: &Node) -> Option<Field> {
    let name = tree.field("name")?;
    let list = |key: &str| tree.get(key).and_then(Node::items).unwrap_or_default();
    let mut fields = list("packages").iter().find_map(package).or_else(|| list("remotes").iter().find_map(remote)).unwrap_or_default();
    fields.extend(tree.field("description").cloned());
    let short = name.value.text()?.rsplit('/').next().unwrap_or_default();
    Some(Field { key: short.to_owned(), at: name.at, end: name.end, value: node(Kind::Table(fields), &name.value) })
}

/// The command line of a package: the hint of its runtime, the arguments of the runtime, the package, its own arguments.
fn package(package: &Node) -> Option<Vec<Field>> {
    if package.get("transport").is_some_and(|transport| text(transport, "type").is_some_and(|kind| kind != "stdio")) {
        return None;
    }
    let identifier = text(package, "identifier")?;
    let version = text(package, "version").filter(|version| *version != "latest");
    let versioned = |separator: &str| version.map_or_else(|| identifier.to_owned(), |version| format!("{identifier}{separator}{version}"));
    let given = package.get("runtimeArguments").and_then(Node::items).is_some_and(|items| !items.is_empty());
    let (runtime, before, what): (&str, &[&str], String) = match text(package, "registryType").or_else(|| text(package, "registry_type"))? {
        "npm" => ("npx", &["-y"], versioned("@")),
        "pypi" => ("uvx", &[], versioned("==")),
        "oci" => ("docker", &["run", "-i", "--rm"], if identifier.contains(':') { identifier.to_owned() } else { versioned(":") }),
        "nuget" => ("dnx", &["-y"], versioned("@")),
        _ => return None,
    };
    let runtime = text(package, "runtimeHint").unwrap_or(runtime);
    let mut args = vec![];
    if !given {
        args.extend(before.iter().map(|word| string(*word, package)));
    }
    args.extend(arguments(package, "runtimeArguments"));
    args.push(string(what, package));
    args.extend(arguments(package, "packageArguments"));
    let env = named_values(package, "environmentVariables");
    Some(vec![
        field("command", string(runtime, package)),
        field("args", node(Kind::Array(args), package)),
        field("env", node(Kind::Table(env), package)),
    ])
}

/// The arguments of a package. One without a value is asked for, unless it is optional.
fn arguments(package: &Node, key: &str) -> Vec<Node> {
    let mut words = vec![];
    for argument in package.get(key).and_then(Node::items).unwrap_or_default() {
        let name = text(argument, "name").or_else(|| text(argument, "valueHint")).unwrap_or("value");
        let Some(value) = value(argument, name.trim_start_matches('-')) else { continue };
        if text(argument, "type") == Some("named") {
            words.push(string(name, argument));
        }
        if !value.is_empty() {
            words.push(string(value, argument));
        }
    }
    words
}

/// Variables or headers with a name.
fn named_values(owner: &Node, key: &str) -> Vec<Field> {
    let items = owner.get(key).and_then(Node::items).unwrap_or_default();
    let of = |item: &Node| {
        let name = text(item, "name")?;
        Some(field(name, string(value(item, name)?, item)))
    };
    items.iter().filter_map(of).collect()
}

/// The value of an argument, variable or header: its own, its default, or an input if it is required.
fn value(item: &Node, id: &str) -> Option<String> {
    let own = text(item, "value").map(|text| text.replace('{', "${input:"));
    let required = item.get("isRequired").or_else(|| item.get("is_required")).is_some_and(|node| matches!(node.kind, Kind::Bool(true)));
    own.or_else(|| text(item, "default").map(str::to_owned)).or_else(|| required.then(|| format!("${{input:{id}}}")))
}

fn remote(remote: &Node) -> Option<Vec<Field>> {
    let kind = remote.field("type").or_else(|| remote.field("transport_type"))?;
    let url = remote.field("url")?;
    let address = url.value.text()?.replace('{', "${input:");
    let headers = named_values(remote, "headers");
    let kind = Field { key: "type".into(), ..kind.clone() };
    let url = Field { value: string(address, &url.value), ..url.clone() };
    Some(vec![kind, url, field("headers", node(Kind::Table(headers), remote))])
}
