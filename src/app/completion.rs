//! Completion of values: from the running engine that the line selects, else from the configuration, the store and the workflow
//! folders. No server is started.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{instances::instances, via, workspace};
use crate::{
    cli::{
        Options,
        completion::{self, Candidate, ValueKind, Wanted},
        exit,
        print::Io,
    },
    config::install_targets,
    control::{Control, Workspace, WorkspaceReply, WorkspaceRequest, instances::InstanceInfo},
    domain::{
        body::Body,
        capabilities::{Answerable, ClientCapabilities},
        catalog::ServerCatalog,
        directory::{Directory, DirectorySnapshot, ServerSnapshot},
        server::{Era, Phase, ServerSpec},
        stored_catalog::{CatalogKey, StoredCatalog},
        workspace::RunListed,
    },
    engine::ports::CatalogStore,
    workspace::{Selection, WorkspaceService, engine_options},
};

/// How long the user of a shell waits.
const PATIENCE: Duration = Duration::from_secs(2);
/// Recorded runs that are offered.
const RUNS: usize = 50;
/// What the faces declare: each may have stored the lists of a server.
const FACES: [Answerable; 3] = [Answerable::ALL, Answerable { forms: true, ..Answerable::NONE }, Answerable::NONE];

/// Prints the values that the word can be; returns the exit code.
pub async fn run(selection: Selection, wanted: Wanted, options: Options) -> u8 {
    let found = timeout(PATIENCE, candidates(selection, &wanted.kind, &options)).await;
    match found.ok().flatten() {
        Some(found) => completion::print(&found, &wanted.prefix, Io::real()),
        None => exit::FAILED,
    }
}

async fn candidates(selection: Selection, kind: &ValueKind, options: &Options) -> Option<Vec<Candidate>> {
    match kind {
        ValueKind::Client => return Some(install_targets().map(|name| candidate(name, "")).collect()),
        ValueKind::Instance => {
            let running = instances(&selection.load).ok()?.list().ok()?;
            let about = |info: Option<&InstanceInfo>| info.map_or(String::new(), |info| info.faces.join(", "));
            return Some(running.iter().map(|running| candidate(&running.name, &about(running.info.as_ref()))).collect());
        }
        _ => {}
    }
    let workspace = workspace(selection, options).ok()?;
    match kind {
        ValueKind::Workflow => {
            workspace.read_library();
            let state = workspace.state().borrow().clone();
            Some(state.library.entries().iter().map(|entry| candidate(&entry.name, entry.title().unwrap_or_default())).collect())
        }
        ValueKind::Run => {
            let request = WorkspaceRequest::Runs { last: RUNS, workflow: None };
            let Ok(WorkspaceReply::Runs(runs)) = workspace.request(request).await else { return None };
            let about = |run: &RunListed| format!("{} · {}", run.header.workflow, run.state.word());
            Some(runs.iter().map(|run| candidate(&run.header.run.to_string(), &about(run))).collect())
        }
        kind => Some(listed(kind, &directory(&workspace, options).await)),
    }
}

fn candidate(value: &str, about: &str) -> Candidate {
    Candidate { value: value.to_owned(), about: about.to_owned() }
}

/// Returns the servers with their lists: those of the running engine that the options select, else the last known ones.
async fn directory(workspace: &Arc<WorkspaceService>, options: &Options) -> DirectorySnapshot {
    let configured = workspace.loaded().settings.via.clone().filter(|_| options.via.is_none());
    let options = Options { via: options.via.clone().or(configured.map(Some)), ..options.clone() };
    if let Ok(Some(via)) = via::choose(workspace, &options).await {
        let (state, _) = via.control.watch();
        let servers = state.servers.iter().map(|server| ServerSnapshot {
            spec: server.spec.clone(),
            phase: server.phase.clone(),
            info: server.info.clone(),
            catalog: server.catalog.clone(),
        });
        return DirectorySnapshot { servers: servers.collect(), names: state.names.clone(), rules: state.rules.clone() };
    }
    let loaded = workspace.loaded();
    let store = workspace.store().ok().map(|store| store.catalogs());
    let mut servers = vec![];
    for spec in workspace.selection().servers(&loaded, None) {
        let stored = match &store {
            Some(store) => newest(store, &spec).await,
            None => None,
        };
        let catalog = stored.map(|stored| ServerCatalog::stored(stored.lists(), stored.read_ms)).unwrap_or_default();
        let spec = Arc::new(spec);
        servers.push(ServerSnapshot { phase: Arc::new(Phase::initial(&spec)), spec, info: None, catalog: Arc::new(catalog) });
    }
    let unnamed = DirectorySnapshot { servers: servers.into(), rules: Arc::new(loaded.rules.clone()), ..DirectorySnapshot::default() };
    let names = unnamed.build_names(&engine_options(&loaded, false).separator);
    DirectorySnapshot { names: Arc::new(names), ..unnamed }
}

/// Returns the lists of a server that were stored last.
async fn newest(store: &impl CatalogStore, spec: &ServerSpec) -> Option<StoredCatalog> {
    let mut newest: Option<StoredCatalog> = None;
    for answerable in FACES {
        let key = CatalogKey::new(spec, &ClientCapabilities::of(spec, answerable).declared(Era::Modern));
        let Some(found) = store.load(&key).await else { continue };
        if newest.as_ref().is_none_or(|known| known.read_ms < found.read_ms) {
            newest = Some(found);
        }
    }
    newest
}

fn listed(kind: &ValueKind, directory: &DirectorySnapshot) -> Vec<Candidate> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let catalogs = || directory.servers.iter().map(|server| &server.catalog);
    let prompts =
        || catalogs().flat_map(|catalog| catalog.prompts.iter()).map(|prompt| candidate(&prompt.name, &text(&prompt.description)));
    match kind {
        ValueKind::Server => {
            let groups = directory.rules.routing.groups.iter().map(|group| candidate(group.id.as_str(), "group"));
            let servers = directory.servers.iter();
            servers.map(|server| candidate(server.spec.id.as_str(), &text(&server.spec.description))).chain(groups).collect()
        }
        ValueKind::Tool => {
            let about = |id| directory.tool(id).and_then(|tool| tool.description.clone()).unwrap_or_default();
            directory.names.iter().map(|(name, id)| candidate(name, &about(id))).collect()
        }
        ValueKind::Argument(name) => {
            let Some(tool) = directory.names.iter().find(|(known, _)| ***known == **name).and_then(|(_, id)| directory.tool(id)) else {
                return vec![];
            };
            arguments(&tool.input_schema)
        }
        ValueKind::Resource => {
            let resources = catalogs().flat_map(|catalog| catalog.resources.iter());
            resources.map(|resource| candidate(&resource.uri, resource.title.as_deref().unwrap_or(&resource.name))).collect()
        }
        ValueKind::Prompt => prompts().collect(),
        ValueKind::PromptOrTemplate => {
            let templates = catalogs().flat_map(|catalog| catalog.templates.iter());
            prompts().chain(templates.map(|template| candidate(&template.uri, &template.name))).collect()
        }
        ValueKind::Workflow | ValueKind::Run | ValueKind::Instance | ValueKind::Client => vec![],
    }
}

/// Returns `name=` for each property of the schema of a tool.
fn arguments(schema: &Body) -> Vec<Candidate> {
    let schema = schema.value().unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.map(|(name, property)| candidate(&format!("{name}="), property["description"].as_str().unwrap_or_default())).collect()
}
