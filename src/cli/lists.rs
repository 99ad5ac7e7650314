//! `resources`, `templates` and `prompts`: list what servers offer in addition to tools.

use serde::{
    Serialize,
    ser::{SerializeMap, Serializer},
};
use serde_json::value::RawValue;

use super::{
    args::ListArgs,
    names::NamePattern,
    print::Format,
    servers::{self, IncompleteList, ListKind, TruncatedList, UnavailableJson, UnavailableServer},
    session::{Session, Stop, raw},
};
use crate::{
    domain::{
        catalog::{Prompt, PromptArgument, Resource},
        time, uri_template,
    },
    state::ServerView,
};

/// Lists the entries of one kind of list of all servers.
pub async fn run(session: &mut Session<'_>, kind: ListKind, args: &ListArgs) -> Result<u8, Stop> {
    servers::wait_for_all(session).await?;
    let read_model = session.read_model.clone();
    let servers = &read_model.servers;
    let groups: Vec<(&ServerView, Vec<Entry<'_>>)> = servers
        .iter()
        .filter(|server| server.phase.usable())
        .map(|server| (server, entries(server, kind).into_iter().filter(|entry| entry.matches(server, args)).collect()))
        .collect();
    let found = groups.iter().map(|(_, entries)| entries.len()).sum::<usize>();
    let unavailable = servers::unavailable(servers);
    let truncated = || servers::truncated(servers, kind);
    let incomplete = || servers::incomplete(servers, kind);
    match session.printer.format() {
        Format::Human => {
            for (at, (server, entries)) in groups.iter().filter(|(_, entries)| !entries.is_empty()).enumerate() {
                if at > 0 {
                    session.printer.line("")?;
                }
                let about = server.spec.description.as_ref().map(|text| format!("  {text}")).unwrap_or_default();
                session.printer.line(&format!("{}{about}", server.id()))?;
                let rows: Vec<Vec<String>> = entries.iter().map(Entry::cells).collect();
                session.printer.table("  ", &rows)?;
            }
            if found == 0 {
                let what = args.pattern.as_ref().map(|pattern| format!(" matches {pattern:?}")).unwrap_or_else(|| " is offered".into());
                session.printer.note(&format!("no {}{what}", kind.noun()));
            }
        }
        Format::Json => {
            let entries = groups.iter().flat_map(|(server, entries)| entries.iter().map(|entry| entry.json(server)));
            session.printer.document(&ListJson {
                key: kind.plural(),
                entries: entries.collect(),
                truncated: truncated().collect(),
                incomplete: incomplete().collect(),
                failed: unavailable.iter().map(UnavailableServer::json).collect(),
            })?;
        }
        Format::Jsonl => {
            let entries = groups.iter().flat_map(|(server, entries)| entries.iter().map(|entry| entry.json(server)));
            session.printer.documents(entries)?;
            session.printer.documents(truncated())?;
            session.printer.documents(incomplete())?;
            session.printer.documents(unavailable.iter().map(UnavailableServer::json))?;
        }
    }
    servers::print_truncated(session, truncated());
    servers::print_incomplete(session, incomplete());
    servers::print_unavailable(session, &unavailable);
    Ok(servers::code_of_list(servers, kind, found))
}

/// An entry of a list.
enum Entry<'a> {
    Resource(&'a Resource),
    Template(&'a Resource),
    Prompt(&'a Prompt),
}

/// Returns the entries of a list, in the server's order. Tools are listed by the `tools` command.
fn entries(server: &ServerView, kind: ListKind) -> Vec<Entry<'_>> {
    let catalog = &server.catalog;
    match kind {
        ListKind::Tools => vec![],
        ListKind::Resources => catalog.resources.iter().map(|resource| Entry::Resource(resource)).collect(),
        ListKind::Templates => catalog.templates.iter().map(|template| Entry::Template(template)).collect(),
        ListKind::Prompts => catalog.prompts.iter().map(|prompt| Entry::Prompt(prompt)).collect(),
    }
}

impl<'a> Entry<'a> {
    fn matches(&self, server: &ServerView, args: &ListArgs) -> bool {
        let Some(pattern) = args.pattern.as_deref().map(NamePattern::new) else { return true };
        let texts = |title: &Option<String>, description: &Option<String>| {
            title.as_deref().is_some_and(|title| pattern.fits(title)) || description.as_deref().is_some_and(|text| pattern.is_in(text))
        };
        match self {
            Entry::Resource(entry) | Entry::Template(entry) => {
                pattern.fits(&entry.uri) || pattern.fits(&entry.name) || texts(&entry.title, &entry.description)
            }
            Entry::Prompt(prompt) => {
                let qualified = format!("{}/{}", server.id(), prompt.name);
                pattern.fits(&prompt.name) || pattern.fits(&qualified) || texts(&prompt.title, &prompt.description)
            }
        }
    }

    fn cells(&self) -> Vec<String> {
        match self {
            Entry::Resource(entry) | Entry::Template(entry) => {
                let name = Some(entry.name.as_str()).filter(|name| *name != entry.uri);
                vec![
                    entry.uri.clone(),
                    entry.mime_type.clone().unwrap_or_default(),
                    entry.size.map(time::size).unwrap_or_default(),
                    summary(entry.title.as_deref().or(name), entry.description.as_deref()),
                ]
            }
            Entry::Prompt(prompt) => {
                let argument = |argument: &PromptArgument| match argument.required {
                    true => argument.name.clone(),
                    false => format!("[{}]", argument.name),
                };
                let arguments: Vec<String> = prompt.arguments.iter().map(argument).collect();
                vec![prompt.name.to_string(), arguments.join(" "), summary(prompt.title.as_deref(), prompt.description.as_deref())]
            }
        }
    }

    fn json(&self, server: &'a ServerView) -> EntryJson<'a> {
        let server = server.id().as_str();
        match self {
            Entry::Resource(entry) => EntryJson::Resource { server, uri: &entry.uri, size: entry.size, about: ResourceJson::new(entry) },
            Entry::Template(entry) => EntryJson::Template {
                server,
                uri_template: &entry.uri,
                variables: uri_template::variables(&entry.uri),
                about: ResourceJson::new(entry),
            },
            Entry::Prompt(prompt) => EntryJson::Prompt {
                server,
                name: &prompt.name,
                title: prompt.title.as_deref(),
                description: prompt.description.as_deref(),
                arguments: &prompt.arguments,
                definition: raw(&prompt.raw),
            },
        }
    }
}

/// Returns title and first line of the description, whichever exist.
fn summary(title: Option<&str>, description: Option<&str>) -> String {
    let line = |text: &str| text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    let parts: Vec<String> = [title, description].into_iter().flatten().filter_map(line).collect();
    parts.join(" · ")
}

/// An entry as JSON. `definition` is the entry as the server sent it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum EntryJson<'a> {
    Resource {
        server: &'a str,
        uri: &'a str,
        /// In bytes.
        size: Option<u64>,
        #[serde(flatten)]
        about: ResourceJson<'a>,
    },
    Template {
        server: &'a str,
        uri_template: &'a str,
        /// In order of appearance.
        variables: Vec<String>,
        #[serde(flatten)]
        about: ResourceJson<'a>,
    },
    Prompt {
        server: &'a str,
        name: &'a str,
        title: Option<&'a str>,
        description: Option<&'a str>,
        arguments: &'a [PromptArgument],
        definition: Option<Box<RawValue>>,
    },
}

#[derive(Serialize)]
struct ResourceJson<'a> {
    name: &'a str,
    title: Option<&'a str>,
    description: Option<&'a str>,
    mime_type: Option<&'a str>,
    definition: Option<Box<RawValue>>,
}

impl<'a> ResourceJson<'a> {
    fn new(entry: &'a Resource) -> ResourceJson<'a> {
        ResourceJson {
            name: &entry.name,
            title: entry.title.as_deref(),
            description: entry.description.as_deref(),
            mime_type: entry.mime_type.as_deref(),
            definition: raw(&entry.raw),
        }
    }
}

/// The document of `--json`. The key of the entries is the name of the command.
struct ListJson<'a> {
    key: &'static str,
    entries: Vec<EntryJson<'a>>,
    truncated: Vec<TruncatedList<'a>>,
    incomplete: Vec<IncompleteList<'a>>,
    failed: Vec<UnavailableJson<'a>>,
}

impl Serialize for ListJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.key, &self.entries)?;
        if !self.truncated.is_empty() {
            map.serialize_entry("truncated", &self.truncated)?;
        }
        if !self.incomplete.is_empty() {
            map.serialize_entry("incomplete", &self.incomplete)?;
        }
        map.serialize_entry("failed", &self.failed)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        cli::{
            exit,
            test_support::{Fake, Ran, db, ran},
        },
        domain::{
            body::Body,
            catalog::{BrokenList, RawLists},
        },
    };

    fn document(ran: &Ran) -> Value {
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
    }

    fn files() -> RawLists {
        let raw = [
            r#"{"uri":"file:///a b.txt","name":"with blank","mimeType":"text/plain","size":4100,"description":"\nFirst\u001b[2J.\nSecond.","x-vendor":{"n":1.00}}"#,
            r#"{"uri":"x://blob","name":"x://blob","title":"Blob"}"#,
        ];
        RawLists {
            resources: raw.map(Body::from).to_vec(),
            templates: vec![Body::from(r#"{"uriTemplate":"db://{table}/{+path}{?limit}","name":"rows"}"#)],
            prompts: vec![Body::json(&json!({"name": "explain", "title": "Explain", "arguments": []}))],
            ..RawLists::default()
        }
    }

    fn both() -> std::sync::Arc<Fake> {
        let fake = Fake::giving(json!({}));
        fake.starting("db");
        fake.ready("db", db());
        fake.starting("files");
        fake.ready("files", files());
        fake
    }

    #[tokio::test]
    async fn each_list_is_a_table_by_server() {
        let resources = ran(&both(), &["resources"]).await;
        assert_eq!((resources.code, resources.err.as_str()), (exit::OK, ""));
        assert_eq!(
            resources.out,
            "db\n  db://schema      schema\n\nfiles\n  file:///a b.txt  text/plain  4.1 kB  with blank · First\\x1b[2J.\n  x://blob                             Blob\n"
        );
        let templates = ran(&both(), &["templates", "rows"]).await;
        assert_eq!(templates.out, "files\n  db://{table}/{+path}{?limit}      rows\n");
        let prompts = ran(&both(), &["prompts", "db/expl*"]).await;
        assert_eq!(prompts.out, "db\n  explain  sql [style]\n");
        let none = ran(&both(), &["prompts", "nothing"]).await;
        assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (exit::OK, "", "no prompt matches \"nothing\"\n"));
    }

    #[tokio::test]
    async fn json_has_the_definition_as_received() {
        let resources = ran(&both(), &["resources", "--json"]).await;
        assert!(resources.out.contains(r#""x-vendor":{"n":1.00}"#), "{}", resources.out);
        let listed = document(&resources);
        assert_eq!(listed["resources"].as_array().map(Vec::len), Some(3));
        assert_eq!(listed["resources"][1]["size"], 4100);
        assert_eq!((&listed["resources"][1]["server"], &listed["resources"][1]["type"]), (&json!("files"), &json!("resource")));
        let templates = document(&ran(&both(), &["templates", "--json"]).await);
        assert_eq!(templates["templates"][1]["variables"], json!(["table", "path", "limit"]));
        let prompts = document(&ran(&both(), &["prompts", "--json"]).await);
        assert_eq!(
            prompts["prompts"][0]["arguments"],
            json!([{"name": "sql", "description": null, "required": true}, {"name": "style", "description": null, "required": false}])
        );
        let lines = ran(&both(), &["prompts", "--jsonl"]).await;
        let names: Vec<Value> = lines.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone()).collect();
        assert_eq!(names, ["explain", "explain"]);
    }

    #[tokio::test]
    async fn a_list_that_failed_is_reported_and_changes_the_exit_code() {
        let broken = |lists: RawLists, key: &str| RawLists { broken: vec![BrokenList::new(key, "Internal\u{1b}error")], ..lists };
        let fake = Fake::giving(json!({}));
        fake.starting("files");
        fake.ready("files", broken(RawLists::default(), "resources"));
        let alone = ran(&fake, &["resources"]).await;
        assert_eq!(alone.code, exit::FAILED);
        assert!(alone.err.contains("files: resources/list failed: Internal\\x1berror"), "{}", alone.err);
        assert_eq!(ran(&fake, &["prompts"]).await.code, exit::OK, "another list of the server");
        fake.starting("db");
        fake.ready("db", db());
        assert_eq!(ran(&fake, &["resources"]).await.code, exit::PARTIAL);
        let listed = document(&ran(&fake, &["resources", "--json"]).await);
        assert_eq!((&listed["incomplete"][0]["server"], &listed["incomplete"][0]["list"]), (&json!("files"), &json!("resources")));
        fake.failed("bad");
        let fake = Fake::giving(json!({}));
        fake.starting("files");
        fake.ready("files", broken(files(), "resources"));
        assert_eq!(ran(&fake, &["resources"]).await.code, exit::PARTIAL, "a part was read");
    }

    #[tokio::test]
    async fn a_failed_server_is_reported_as_by_tools() {
        let fake = both();
        fake.starting("bad");
        fake.failed("bad");
        let listed = ran(&fake, &["resources", "--json"]).await;
        assert_eq!((listed.code, &document(&listed)["failed"][0]["server"]), (exit::PARTIAL, &json!("bad")));
        let fake = Fake::giving(json!({}));
        fake.starting("bad");
        fake.failed("bad");
        assert_eq!(ran(&fake, &["templates"]).await.code, exit::NOT_READY);
    }
}
