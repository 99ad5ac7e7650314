//! Background jobs on large results, so that no frame waits for them. Panes create a [`Job`], the loop runs it on a
//! separate thread, and the result comes back as a message. Small jobs run immediately. Pure.

use std::{ops::Range, sync::Arc};

use serde_json::Value;
use serde_json_path::JsonPath;

use crate::domain::{
    body::Body,
    schema::{
        Checker,
        output::{NotChecked, violations},
    },
};

use super::{
    copying::{Copied, CopyKind, prepared},
    graphics::{
        encode::{Encoded, Target, encode},
        picture::{self, Picture},
    },
    msg::Content,
    result_view::{self, Part, Presented, parts, present},
    widget::{grid::Grid, json::JsonView, markdown, rich_text::RichText},
};

/// Jobs that read more bytes than this run in the background.
const AT_ONCE: usize = 128 << 10;

/// The owner of a job. The job is unwanted when the other handle is dropped.
#[derive(Clone, Debug, Default)]
pub struct JobHandle(Arc<()>);

impl PartialEq for JobHandle {
    fn eq(&self, other: &JobHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl JobHandle {
    /// Returns whether the owner still waits for the job.
    pub fn wanted(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// A background job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its owner.
    pub ticket: JobHandle,
    /// What it does.
    pub job: JobKind,
}

/// What a job does.
#[derive(Clone, Debug, PartialEq)]
pub enum JobKind {
    /// Find the best presentation of a result, and the parts in it.
    Present(Body),
    /// Build a tree of JSON.
    Json(Body),
    /// Build a tree of a frame, or lines if the frame is not JSON.
    Frame(Body),
    /// Build lines of the text of a result.
    Text(Body),
    /// Render the Markdown text of a result.
    Markdown(Body),
    /// Build a table of JSON.
    Grid(Body),
    /// Build lines of bytes.
    Raw(Body),
    /// Evaluate a JSONPath.
    Path {
        /// The document.
        tree: Body,
        /// The path, already validated.
        path: String,
    },
    /// Check the structured content of a result against the output schema of its tool.
    Judge {
        /// The result.
        result: Body,
        /// The schema.
        schema: Body,
    },
    /// Decode an image file for its preview.
    Picture(Content),
    /// Scale and encode a decoded image for an area.
    Encode {
        /// The image.
        picture: Arc<Picture>,
        /// The area, and how it is drawn there.
        target: Target,
        /// A number that differs between the images on the screen.
        number: u32,
    },
    /// Prepare a text for the clipboard.
    Copy(CopyKind, Material),
    /// Free the memory of a view that is closed.
    Discard(Old),
}

/// A view that is closed. Two are equal only if they are the same view.
#[derive(Clone, Debug)]
pub struct Old {
    view: Box<JsonView>,
    /// A second handle to the owner, so that the job does not count as unwanted while it is queued.
    wanted: JobHandle,
}

impl PartialEq for Old {
    fn eq(&self, other: &Old) -> bool {
        self.wanted == other.wanted
    }
}

/// Material to copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Material {
    /// The pieces, one per line.
    pub pieces: Vec<Body>,
    /// Whether a JSON string is copied without quotes and escapes.
    pub decode: bool,
}

/// The result of a job.
#[derive(Clone, Debug)]
pub enum Done {
    /// The presentation of the result, and the images, sounds and links in it.
    Presented(Presented, Vec<(usize, Range<usize>, Part)>),
    /// The view to show.
    View(Box<JsonView>),
    /// The source and the rendered text.
    Rich(Body, Box<RichText>),
    /// The table; `None` if the document has no array of objects.
    Grid(Option<Box<Grid>>),
    /// The number of nodes that the path selects, and the nodes; or the error.
    Found(Result<(usize, Body, Box<JsonView>), String>),
    /// The violations in the structured content, or why it was not checked.
    Judged(Result<Vec<String>, String>),
    /// The image, or why it has no preview.
    Picture(Result<Arc<Picture>, String>),
    /// The image for an area.
    Encoded(Arc<Encoded>),
    /// Text for the clipboard.
    Copied(CopyKind, Copied),
    /// No result.
    Gone,
}

/// A finished job. Two are equal if they are the same job.
#[derive(Clone, Debug)]
pub struct Worked {
    /// The owner of the job.
    pub ticket: JobHandle,
    /// Its result.
    pub done: Done,
}

impl PartialEq for Worked {
    fn eq(&self, other: &Worked) -> bool {
        self.ticket == other.ticket
    }
}

impl Job {
    /// Runs the job, unless its owner has stopped waiting.
    pub fn run(self) -> Option<Worked> {
        let Job { ticket, job } = self;
        let done = ticket.wanted().then(|| job.run())?;
        tidy();
        (!matches!(done, Done::Gone)).then_some(Worked { ticket, done })
    }
}

/// Drops a view: in the background if it is large, because for the tree of 20 MB of JSON the allocator returns
/// hundreds of megabytes to the system, which takes longer than a frame may.
pub fn discard(view: Option<JsonView>, tasks: &mut Vec<Job>) {
    if let Some(view) = view.filter(|view| view.body().len() > AT_ONCE) {
        let ticket = JobHandle::default();
        let old = Old { view: Box::new(view), wanted: ticket.clone() };
        tasks.push(Job { ticket, job: JobKind::Discard(old) });
    }
}

/// Makes the allocator consolidate small freed chunks now and not within a frame: glibc does so on the next
/// `free` of more than 64 KiB, in any thread. After a document of 20 MB was a
/// `Value`, that takes 50 ms.
fn tidy() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(100 << 10)));
}

impl JobKind {
    /// Runs a small job immediately; otherwise pushes it to `tasks`.
    pub fn ask(self, tasks: &mut Vec<Job>) -> Result<Done, JobHandle> {
        // A small file can be a large image.
        let image = matches!(self, JobKind::Picture(_) | JobKind::Encode { .. });
        if self.size() <= AT_ONCE && !image {
            match &self {
                // A schema can make a small result expensive to check.
                JobKind::Judge { result, schema } => match violations(result, &Checker::quick(schema), Checker::glance) {
                    Err(NotChecked::TooDear(_)) => {}
                    judged => return Ok(Done::Judged(judged.map_err(|why| why.to_string()))),
                },
                _ => return Ok(self.run()),
            }
        }
        let ticket = JobHandle::default();
        tasks.push(Job { ticket: ticket.clone(), job: self });
        Err(ticket)
    }

    /// Returns the number of bytes that the job reads.
    pub fn size(&self) -> usize {
        match self {
            JobKind::Present(body)
            | JobKind::Json(body)
            | JobKind::Frame(body)
            | JobKind::Text(body)
            | JobKind::Markdown(body)
            | JobKind::Grid(body)
            | JobKind::Raw(body) => body.len(),
            JobKind::Path { tree, .. } => tree.len(),
            JobKind::Judge { result, schema } => result.len() + schema.len(),
            JobKind::Picture(file) => file.len(),
            JobKind::Encode { picture, .. } => picture.bytes,
            JobKind::Copy(_, material) => material.pieces.iter().map(Body::len).sum(),
            JobKind::Discard(old) => old.view.body().len(),
        }
    }

    fn run(self) -> Done {
        match self {
            JobKind::Present(result) => Done::Presented(present(&result), parts(&result)),
            JobKind::Json(body) => view(JsonView::json(body)),
            JobKind::Frame(body) if body.parse::<serde::de::IgnoredAny>().is_ok() => view(JsonView::json(body)),
            JobKind::Frame(body) | JobKind::Raw(body) => view(JsonView::text(body)),
            JobKind::Text(result) => view(JsonView::text(result_view::text(&result))),
            JobKind::Markdown(result) => {
                let source = result_view::text(&result);
                let text = RichText::new(markdown::lines(&source.text()));
                Done::Rich(source, Box::new(text))
            }
            JobKind::Grid(body) => Done::Grid(Grid::new(body).map(Box::new)),
            JobKind::Path { tree, path } => Done::Found(select(&tree, &path)),
            JobKind::Judge { result, schema } => {
                Done::Judged(violations(&result, &Checker::new(&schema), Checker::judge).map_err(|why| why.to_string()))
            }
            JobKind::Picture(file) => Done::Picture(picture::decode(&file).map(Arc::new)),
            JobKind::Encode { picture, target, number } => Done::Encoded(Arc::new(encode(&picture, target, number))),
            JobKind::Copy(kind, material) => Done::Copied(kind, prepared(kind, &material)),
            JobKind::Discard(old) => {
                drop(old);
                Done::Gone
            }
        }
    }
}

fn view(view: JsonView) -> Done {
    Done::View(Box::new(view))
}

/// Returns what a JSONPath (RFC 9535) selects, re-serialized: numbers may lose digits.
fn select(tree: &Body, path: &str) -> Result<(usize, Body, Box<JsonView>), String> {
    let query = JsonPath::parse(path).map_err(|e| e.to_string())?;
    let value = tree.value().ok_or("The result is not valid JSON.")?;
    let mut found = query.query(&value).all();
    // JSON in strings is searched only if the path selects nothing else.
    let unpacked = if found.is_empty() { unpacked(&value) } else { None };
    if let Some(unpacked) = &unpacked {
        found = query.query(unpacked).all();
    }
    let (count, found) = (found.len(), Body::json(&found));
    Ok((count, found.clone(), Box::new(JsonView::json(found))))
}

/// Returns a document with the objects and arrays that are written in its strings; `None` if there are none.
fn unpacked(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => {
            let inner: Value = text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(text).ok())??;
            Some(unpacked(&inner).unwrap_or(inner))
        }
        Value::Array(items) => {
            let inner: Vec<Option<Value>> = items.iter().map(unpacked).collect();
            let any = inner.iter().any(Option::is_some);
            any.then(|| inner.into_iter().zip(items).map(|(inner, item)| inner.unwrap_or_else(|| item.clone())).collect())
        }
        Value::Object(members) => {
            let inner: Vec<Option<Value>> = members.values().map(unpacked).collect();
            let any = inner.iter().any(Option::is_some);
            let members = inner.into_iter().zip(members).map(|(inner, (key, item))| (key.clone(), inner.unwrap_or_else(|| item.clone())));
            any.then(|| Value::Object(members.collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schema::output;

    #[test]
    fn a_path_reaches_json_in_strings_if_it_selects_nothing_else() {
        let tree = Body::from(r#"{"result":"{\"users\":[{\"name\":\"Ann\"}]}","n":1}"#);
        let found = |path: &str| select(&tree, path).map(|(count, found, _)| (count, found.text().into_owned()));
        assert_eq!(found("$.result.users[0].name"), Ok((1, r#"["Ann"]"#.to_owned())));
        assert_eq!(found("$.n"), Ok((1, "[1]".to_owned())));
        assert_eq!(found("$.none"), Ok((0, "[]".to_owned())));
    }

    #[test]
    fn small_jobs_run_immediately_and_large_jobs_run_while_they_are_wanted() {
        let mut tasks = vec![];
        assert!(matches!(JobKind::Json(Body::from("[1]")).ask(&mut tasks), Ok(Done::View(_))));
        assert!(tasks.is_empty());
        let large = Body::from(format!("[{}1]", "1,".repeat(AT_ONCE)));
        let ticket = JobKind::Path { tree: large.clone(), path: "$[0]".into() }.ask(&mut tasks).unwrap_err();
        let worked = tasks.pop().unwrap().run().unwrap();
        assert!(worked.ticket == ticket && matches!(worked.done, Done::Found(Ok((1, ..)))));
        drop((worked, ticket));
        drop(JobKind::Json(large).ask(&mut tasks));
        assert_eq!(tasks.pop().unwrap().run(), None, "its owner is gone");
    }

    #[test]
    fn large_views_are_dropped_in_the_background_without_an_owner() {
        let mut tasks = vec![];
        discard(None, &mut tasks);
        discard(Some(JsonView::json(Body::from("[1]"))), &mut tasks);
        assert!(tasks.is_empty());
        let body = Body::from("1".repeat(AT_ONCE + 1));
        discard(Some(JsonView::text(body)), &mut tasks);
        let task = tasks.pop().unwrap();
        assert!(task.ticket.wanted() && task.clone() == task && tasks.is_empty());
        assert_eq!(task.run(), None, "it has no result");
    }

    #[test]
    fn a_result_too_long_to_check_is_reported() {
        let schema = Body::from(r#"{"type":"object","required":["a"]}"#);
        let judged = |result: &str| violations(&Body::from(result), &Checker::new(&schema), Checker::judge).map_err(|why| why.to_string());
        assert!(judged(r#"{"structuredContent":{"a":1}}"#).unwrap().is_empty());
        assert_eq!(judged(r#"{"structuredContent":{}}"#).unwrap().len(), 1);
        assert!(judged(r#"{"content":[]}"#).unwrap()[0].contains("structuredContent is missing"));
        assert!(judged(&" ".repeat(output::CHECKED + 1)).unwrap_err().contains("longer"));
        let broken = violations(&Body::from(r#"{"structuredContent":{}}"#), &Checker::new(&Body::from("{")), Checker::judge);
        assert!(broken.unwrap_err().to_string().contains("schema"));
    }

    #[test]
    fn a_small_result_with_an_expensive_schema_is_checked_in_the_background() {
        let twice = r##"{"$defs":{"t":{"allOf":[{"properties":{"c":{"$ref":"#/$defs/t"}}},{"properties":{"c":{"$ref":"#/$defs/t"}}}]}},"$ref":"#/$defs/t"}"##;
        let result = format!(r#"{{"structuredContent":{}1{}}}"#, r#"{"c":"#.repeat(100), "}".repeat(100));
        let mut tasks = vec![];
        let ticket = JobKind::Judge { result: Body::from(result), schema: Body::from(twice) }.ask(&mut tasks).unwrap_err();
        let worked = tasks.pop().unwrap().run().unwrap();
        assert!(matches!(&worked.done, Done::Judged(Err(why)) if why.contains("too long")), "{:?}", worked.done);
        drop(ticket);
    }
}
