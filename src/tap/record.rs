//! The record of a tapped session: one JSON document for each frame, in a file of bounded size.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use serde_json::json;

use crate::domain::frame::{Direction, Frame};

/// The record.
pub struct Record {
    file: BufWriter<File>,
    /// How many bytes may still be written.
    left: u64,
    full: bool,
}

impl Record {
    /// Writes to `file` until it has `limit` bytes.
    pub fn new(file: File, limit: u64) -> Record {
        Record { file: BufWriter::new(file), left: limit, full: false }
    }

    /// Adds a frame, `unix_ms` after the Unix epoch. After the limit the last document says so.
    pub fn add(&mut self, frame: &Frame, unix_ms: u64) -> io::Result<()> {
        if self.full {
            return Ok(());
        }
        let to = match frame.direction {
            Direction::Out => "server",
            Direction::In => "client",
        };
        // Bytes that are not UTF-8 are repaired here; they were passed on as they are.
        let document = json!({
            "type": "frame",
            "unix_ms": unix_ms,
            "to": to,
            "size": frame.size,
            "cut": frame.cut.is_some(),
            "method": frame.method,
            "http": frame.http.as_ref().map(|http| &http.line),
            "text": frame.body.text(),
        });
        self.line(&document.to_string())
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        let size = text.len() as u64 + 1;
        if size > self.left {
            self.full = true;
            self.file.write_all(b"{\"type\":\"full\"}\n")?;
            return self.file.flush();
        }
        self.left -= size;
        self.file.write_all(text.as_bytes())?;
        self.file.write_all(b"\n")
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{body::Body, frame::FrameKind, time::Stamp};

    #[test]
    fn a_record_ends_at_its_limit_and_says_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("record.jsonl");
        let frame = Frame {
            seq: 1,
            at: Stamp(0),
            server: "s".into(),
            direction: Direction::Out,
            kind: FrameKind::Request,
            body: Body::from(r#"{"id":1,"method":"ping"}"#),
            cut: None,
            size: 25,
            call: None,
            method: Some("ping".into()),
            rpc_id: None,
            http: None,
        };
        let mut record = Record::new(File::create(&path).expect("a file"), 400);
        for _ in 0..10 {
            record.add(&frame, 7).expect("written");
        }
        record.flush().expect("written");
        let text = std::fs::read_to_string(&path).expect("the record");
        let documents: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!((&documents[0]["to"], &documents[0]["method"]), (&json!("server"), &json!("ping")));
        assert_eq!(documents.last(), Some(&json!({"type": "full"})));
        assert!(documents.len() < 6 && text.len() < 420, "{text}");
    }
}
