//! Answers: the values that the user gave for inputs of configuration files, in this session and in earlier ones.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::private::{self, Links};

/// Name of the file in the state folder.
const FILE: &str = "inputs.json";

/// Values by file and id. A file has its own: an id says nothing of whose value it is, so the file of a project does not get
/// the value that was given for another file.
type Values = BTreeMap<String, BTreeMap<String, String>>;

/// The values that the user gave. Clones share them. Not printed.
#[derive(Clone, Default)]
pub struct InputAnswers(Arc<Mutex<Values>>);

impl std::fmt::Debug for InputAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InputAnswers({} files)", self.0.lock().len())
    }
}

impl InputAnswers {
    /// Returns the values that earlier sessions stored. A file that cannot be used counts as none.
    pub fn stored(state_dir: &Path) -> InputAnswers {
        InputAnswers(Arc::new(Mutex::new(read(state_dir).unwrap_or_default())))
    }

    /// Returns the values for the inputs of a file.
    pub(super) fn of(&self, file: &Path) -> Vec<(String, String)> {
        let values = self.0.lock();
        values.get(&key(file)).into_iter().flatten().map(|(id, value)| (id.clone(), value.clone())).collect()
    }

    /// Sets the value of an input until the program ends.
    pub fn set(&self, file: &Path, id: &str, value: &str) {
        self.0.lock().entry(key(file)).or_default().insert(id.to_owned(), value.to_owned());
    }

    /// Stores the value of an input for later sessions, in a file that only the user can read.
    pub fn store(state_dir: &Path, file: &Path, id: &str, value: &str) -> io::Result<()> {
        private::folder(state_dir)?;
        let mut stored = read(state_dir)?;
        stored.entry(key(file)).or_default().insert(id.to_owned(), value.to_owned());
        let text = serde_json::to_string_pretty(&stored).map_err(io::Error::other)?;
        private::write(&state_dir.join(FILE), &text, Links::Refuse)
    }
}

fn read(state_dir: &Path) -> io::Result<Values> {
    match private::read(&state_dir.join(FILE))? {
        Some(text) => serde_json::from_str(&text).map_err(io::Error::other),
        None => Ok(Values::default()),
    }
}

/// Returns the name of a file, whichever way leads to it.
fn key(file: &Path) -> String {
    let path: PathBuf = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_belong_to_their_file_and_only_stored_ones_remain() {
        let dir = tempfile::tempdir().unwrap();
        let (state, mine, theirs) = (dir.path().join("state"), dir.path().join("mcp.json"), dir.path().join("other.json"));
        std::fs::write(&mine, "{}").unwrap();
        let answers = InputAnswers::stored(&state);
        answers.set(&mine, "key", "s3cret-session");
        InputAnswers::store(&state, &mine, "region", "eu").unwrap();
        let value = |value: &str| vec![("key".to_owned(), value.to_owned())];
        assert_eq!((answers.clone().of(&dir.path().join("./mcp.json")), answers.of(&theirs)), (value("s3cret-session"), vec![]));
        let later = InputAnswers::stored(&state);
        assert_eq!(later.of(&mine), [("region".to_owned(), "eu".to_owned())]);
        assert!(!format!("{answers:?} {later:?}").contains("s3cret"));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(state.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(state.join(FILE), "{").unwrap();
        assert_eq!(InputAnswers::stored(&state).of(&mine), []);
        assert!(InputAnswers::store(&state, &mine, "key", "x").is_err(), "a damaged file is not overwritten");
    }
}
