//! The owners of resources, and the URIs under which they are exposed. Pure.
//!
//! A URI is exposed as its server wrote it, unless several servers list it. Then each gets its own form, which is a valid URI again:
//! `db+file:///x` for `file:///x` of the server `db`, and `ui://db/x` for `ui://x`, because hosts recognise that scheme.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{
    era::Kind,
    table::{Entry, renamed},
};
use crate::{
    domain::{
        body::{self, Body},
        catalog::{Resource, template_fits},
        directory::ServerSnapshot,
        id::ServerId,
    },
    protocol::splice,
};

/// The scheme of interactive resources (MCP Apps), which hosts recognise.
const UI: &str = "ui://";

/// The owner of a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The server.
    pub server: ServerId,
    /// The URI by which the server knows the resource.
    pub uri: Arc<str>,
}

/// The owners of all listed resources and templates.
#[derive(Clone, Debug, Default)]
pub struct Uris {
    /// The listed resources by exposed URI.
    exposed: HashMap<Arc<str>, Owner>,
    /// The templates with their servers, in the order of the configuration.
    templates: Vec<(Arc<str>, ServerId)>,
    /// The slugs of servers, for colliding URIs.
    slugs: BTreeMap<String, ServerId>,
    /// The URIs and templates that several servers list.
    collisions: HashSet<Arc<str>>,
    /// The servers with resources or templates.
    servers: Vec<ServerId>,
}

impl Uris {
    /// Finds the owners of the resources and templates of these servers.
    pub fn build(servers: &[&ServerSnapshot]) -> Uris {
        let mut uris = Uris::default();
        let mut owners: HashMap<&str, usize> = HashMap::new();
        for server in servers {
            let catalog = &server.catalog;
            for resource in catalog.resources.iter().chain(&catalog.templates) {
                *owners.entry(&resource.uri).or_default() += 1;
            }
            uris.slugs.insert(unique_slug(&server.spec.id, &uris.slugs), server.spec.id.clone());
            let declares = server.info.as_ref().is_some_and(|info| info.declares(&["resources"]));
            if declares || !(catalog.resources.is_empty() && catalog.templates.is_empty()) {
                uris.servers.push(server.spec.id.clone());
            }
        }
        uris.collisions = owners.into_iter().filter(|(_, count)| *count > 1).map(|(uri, _)| uri.into()).collect();
        for server in servers {
            let id = &server.spec.id;
            for resource in &server.catalog.resources {
                let owner = Owner { server: id.clone(), uri: resource.uri.as_str().into() };
                uris.exposed.insert(uris.expose(id, &resource.uri), owner);
            }
            uris.templates.extend(server.catalog.templates.iter().map(|template| (template.uri.as_str().into(), id.clone())));
        }
        uris
    }

    /// Returns the exposed URI of a resource or template.
    pub fn expose(&self, server: &ServerId, uri: &str) -> Arc<str> {
        if !self.collisions.contains(uri) {
            return uri.into();
        }
        let slug = self.slugs.iter().find(|(_, id)| *id == server).map_or("", |(slug, _)| slug);
        match uri.strip_prefix(UI) {
            Some(rest) => format!("{UI}{slug}/{rest}").into(),
            None => format!("{slug}+{uri}").into(),
        }
    }

    /// Returns whether no URI collides, so that results stay as they are.
    pub fn are_verbatim(&self) -> bool {
        self.collisions.is_empty()
    }

    /// Returns a list of resources or templates.
    pub fn entries(&self, servers: &[&ServerSnapshot], kind: Kind) -> Vec<Entry> {
        let list = |server: &ServerSnapshot| match kind {
            Kind::Templates => server.catalog.templates.clone(),
            _ => server.catalog.resources.clone(),
        };
        let entry = |server: &ServerSnapshot, resource: Arc<Resource>| {
            let key = self.expose(&server.spec.id, &resource.uri);
            let body = renamed(&resource.raw, kind, &key, &resource.uri);
            Entry { key, body, server: server.spec.id.clone(), own: resource.uri.as_str().into(), edit: None, workflow: None }
        };
        servers.iter().flat_map(|server| list(server).into_iter().map(move |resource| entry(server, resource))).collect()
    }

    /// Returns the owner of an exposed URI: of the listed resource, of a template that it fits, of the server whose slug it begins
    /// with, or the only server with resources.
    pub fn owner(&self, uri: &str) -> Option<Owner> {
        if let Some(owner) = self.exposed.get(uri) {
            return Some(owner.clone());
        }
        let verbatim = |server: &ServerId| Owner { server: server.clone(), uri: uri.into() };
        let fits = |(template, _): &&(Arc<str>, ServerId)| !self.collisions.contains(template) && template_fits(template, uri);
        if let Some((_, server)) = self.templates.iter().find(fits) {
            return Some(verbatim(server));
        }
        if let Some(owner) = self.prefixed(uri) {
            return Some(owner);
        }
        match &self.servers[..] {
            [only] => Some(verbatim(only)),
            _ => None,
        }
    }

    /// Returns the owner of the template with this exposed text.
    pub fn template_owner(&self, template: &str) -> Option<Owner> {
        let exposed = self.templates.iter().find(|(own, server)| &*self.expose(server, own) == template);
        exposed.map(|(own, server)| Owner { server: server.clone(), uri: own.clone() })
    }

    /// Reads a URI in the form for collisions.
    fn prefixed(&self, uri: &str) -> Option<Owner> {
        let (slug, own) = match uri.strip_prefix(UI) {
            Some(rest) => rest.split_once('/').map(|(slug, rest)| (slug, format!("{UI}{rest}")))?,
            None => uri.split_once('+').map(|(slug, rest)| (slug, rest.to_owned()))?,
        };
        let server = self.slugs.get(slug)?;
        Some(Owner { server: server.clone(), uri: own.into() })
    }

    /// Returns the servers with resources.
    pub fn servers(&self) -> &[ServerId] {
        &self.servers
    }

    /// Returns a result of a server with its colliding URIs exposed: `uri` of the objects in the list `member`.
    pub fn exposed_in(&self, server: &ServerId, result: &Body, member: &str) -> Body {
        if self.are_verbatim() {
            return result.clone();
        }
        let Some([Some(list)]) = result.fields([member]) else { return result.clone() };
        let Ok((items, _)) = body::members(list.get().as_bytes(), usize::MAX) else { return result.clone() };
        let items: Vec<Body> = items.iter().map(|item| self.exposed_item(server, &Body::from(item.get()))).collect();
        let mut text = b"[".to_vec();
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(item.bytes());
        }
        text.push(b']');
        splice::set(result, member, &text)
    }

    /// Returns a tool, or the result of its call, with the URI of its interactive resource exposed: `_meta.ui.resourceUri` (MCP Apps).
    pub fn exposed_ui(&self, server: &ServerId, entry: &Body) -> Body {
        if self.are_verbatim() {
            return entry.clone();
        }
        let inner = |body: &Body, name: &str| Some(Body::from(body.fields([name])?[0]?.get()));
        let exposed = || {
            let meta = inner(entry, "_meta")?;
            let ui = inner(&meta, "ui")?;
            let own: String = serde_json::from_slice(inner(&ui, "resourceUri")?.bytes()).ok()?;
            let uri = self.expose(server, &own);
            let ui = splice::set(&ui, "resourceUri", Body::json(&*uri).bytes());
            Some(splice::set(entry, "_meta", splice::set(&meta, "ui", ui.bytes()).bytes()))
        };
        exposed().unwrap_or_else(|| entry.clone())
    }

    fn exposed_item(&self, server: &ServerId, item: &Body) -> Body {
        let item = match item.fields(["resource"]) {
            // An embedded resource.
            Some([Some(inner)]) => {
                let inner = self.exposed_item(server, &Body::from(inner.get()));
                splice::set(item, "resource", inner.bytes())
            }
            _ => item.clone(),
        };
        let Some([Some(uri)]) = item.fields(["uri"]) else { return item };
        let Ok(own) = serde_json::from_str::<String>(uri.get()) else { return item };
        renamed(&item, Kind::Resources, &self.expose(server, &own), &own)
    }
}

/// Returns a name for a server that can begin a scheme (RFC 3986, section 3.1) and that no other server has.
fn unique_slug(server: &ServerId, taken: &BTreeMap<String, ServerId>) -> String {
    let valid = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let mut slug: String = server.as_str().chars().map(valid).collect();
    if !slug.starts_with(|c: char| c.is_ascii_alphabetic()) {
        slug.insert(0, 's');
    }
    let numbered = (2..).map(|number| format!("{slug}-{number}"));
    std::iter::once(slug.clone()).chain(numbered).find(|slug| !taken.contains_key(slug)).unwrap_or(slug)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            catalog::{RawLists, ServerCatalog},
            server::{Phase, ServerSpec, Transport},
        },
        gateway::test_support::snapshot,
    };

    fn server(id: &str, resources: &[&str], templates: &[&str]) -> ServerSnapshot {
        let raw = |key: &str, uri: &&str| Body::from(format!("{{\"{key}\":\"{uri}\",\"name\":\"n\",\"n\":1.0}}"));
        let lists = RawLists {
            resources: resources.iter().map(|uri| raw("uri", uri)).collect(),
            templates: templates.iter().map(|uri| raw("uriTemplate", uri)).collect(),
            ..RawLists::default()
        };
        snapshot(ServerSpec::new(id, Transport::unknown()), Phase::Ready, ServerCatalog::read(lists, None))
    }

    #[test]
    fn only_colliding_uris_change_and_every_exposed_one_has_its_owner() {
        let (a, b) =
            (server("a b", &["file:///x", "ui://w", "a:1"], &[]), server("a-b", &["file:///x", "ui://w", "urn:x:y"], &["db://{t}"]));
        let servers = [&a, &b];
        let uris = Uris::build(&servers);
        let listed: Vec<String> = uris.entries(&servers, Kind::Resources).iter().map(|entry| entry.key.to_string()).collect();
        assert_eq!(listed, ["a-b+file:///x", "ui://a-b/w", "a:1", "a-b-2+file:///x", "ui://a-b-2/w", "urn:x:y"]);
        for (uri, server, own) in [
            ("a-b+file:///x", "a b", "file:///x"),
            ("a-b-2+file:///x", "a-b", "file:///x"),
            ("ui://a-b-2/w", "a-b", "ui://w"),
            ("urn:x:y", "a-b", "urn:x:y"),
            ("db://users", "a-b", "db://users"),
            ("a-b+other:1", "a b", "other:1"),
        ] {
            let owner = uris.owner(uri).unwrap_or_else(|| panic!("{uri} has no owner"));
            assert_eq!((owner.server.as_str(), &*owner.uri), (server, own), "{uri}");
        }
        // Two servers have resources, so that nothing says whose this is.
        assert_eq!(uris.owner("file:///y"), None);
        assert_eq!(Uris::build(&[&a]).owner("file:///y").unwrap().server.as_str(), "a b");
    }

    #[test]
    fn trap_6_every_uri_has_a_scheme_and_that_of_an_interactive_resource_follows() {
        let (a, b) = (server("a b", &["ui://w", "urn:x:y", "a:1"], &[]), server("9b", &["ui://w", "urn:x:y"], &[]));
        let servers = [&a, &b];
        let uris = Uris::build(&servers);
        for entry in uris.entries(&servers, Kind::Resources) {
            let (scheme, rest) = entry.key.split_once(':').unwrap();
            let first = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
            assert!(first && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) && !rest.is_empty(), "{}", entry.key);
            assert_eq!(entry.own.starts_with("ui://"), entry.key.starts_with("ui://"), "{}", entry.key);
            let owner = uris.owner(&entry.key).unwrap();
            assert_eq!((&owner.server, &owner.uri), (&entry.server, &entry.own));
        }
        let tool = |uri: &str| Body::from(format!(r#"{{"name":"t","_meta":{{"x":1.0,"ui":{{"resourceUri":"{uri}","y":2.0}}}},"z":1}}"#));
        assert_eq!(uris.exposed_ui(&b.spec.id, &tool("ui://w")), tool("ui://s9b/w"));
        assert_eq!(uris.exposed_ui(&b.spec.id, &tool("ui://other")), tool("ui://other"));
        let plain = Body::from(r#"{"name":"t"}"#);
        assert_eq!(uris.exposed_ui(&b.spec.id, &plain), plain);
    }

    #[test]
    fn results_name_colliding_uris_as_the_list_does_and_stay_otherwise() {
        let (a, b) = (server("a", &["file:///x"], &[]), server("b", &["file:///x", "b:1"], &[]));
        let uris = Uris::build(&[&a, &b]);
        let result = Body::from(r#"{"contents":[{"uri":"file:///x","n":1.0},{"uri":"b:1"}],"z":1e400}"#);
        let expected = r#"{"contents":[{"uri":"b+file:///x","n":1.0},{"uri":"b:1"}],"z":1e400}"#;
        assert_eq!(uris.exposed_in(&b.spec.id, &result, "contents").text(), expected);
        let embedded = Body::from(r#"{"content":[{"type":"resource","resource":{"uri":"file:///x"}}]}"#);
        let expected = r#"{"content":[{"type":"resource","resource":{"uri":"a+file:///x"}}]}"#;
        assert_eq!(uris.exposed_in(&a.spec.id, &embedded, "content").text(), expected);
    }
}
