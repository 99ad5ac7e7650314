//! Argument history: stores the last arguments of every tool in a private file of the state folder.

use std::{io, path::Path};

use super::private::{self, Links};
use crate::domain::argument_history::Recall;

/// The file's name.
const FILE: &str = "arguments.json";

/// Reads the argument history of earlier sessions; empty when the file is missing or unreadable.
pub fn load_recall(state_dir: &Path) -> Recall {
    private::read(&state_dir.join(FILE)).ok().flatten().map(|text| Recall::from_json(&text)).unwrap_or_default()
}

/// Writes the argument history, readable by its owner only (0600, in a folder of 0700).
pub fn save_recall(state_dir: &Path, recall: &Recall) -> io::Result<()> {
    private::folder(state_dir)?;
    private::write(&state_dir.join(FILE), &recall.to_json(), Links::Refuse)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::domain::{
        argument_history::{RecallKind, Recalled},
        body::Body,
    };

    #[test]
    fn the_file_is_private_and_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert_eq!(load_recall(&state), Recall::default());
        let mut recall = Recall::default();
        recall.note(Recalled {
            server: "db".into(),
            kind: RecallKind::Tool,
            name: "a".into(),
            arguments: Body::from(r#"{"n":1.50}"#),
            favourite: None,
        });
        save_recall(&state, &recall).unwrap();
        assert_eq!(load_recall(&state), recall);
        assert_eq!(std::fs::metadata(state.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
