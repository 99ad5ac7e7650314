//! The layout of the console: stores it in a private file of the state folder.

use std::{io, path::Path};

use super::private::{self, Links};
use crate::domain::console_layout::ConsoleLayout;

/// The file's name.
const FILE: &str = "layout.json";

/// Reads the layout of the last session; the default one when the file is missing or unreadable.
pub fn load_layout(state_dir: &Path) -> ConsoleLayout {
    private::read(&state_dir.join(FILE)).ok().flatten().map(|text| ConsoleLayout::from_json(&text)).unwrap_or_default()
}

/// Writes the layout, readable by its owner only (0600, in a folder of 0700).
pub fn save_layout(state_dir: &Path, layout: &ConsoleLayout) -> io::Result<()> {
    private::folder(state_dir)?;
    private::write(&state_dir.join(FILE), &layout.to_json(), Links::Refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_can_be_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert_eq!(load_layout(&state), ConsoleLayout::default());
        let layout = ConsoleLayout { view: 3, activity_hidden: true, ..ConsoleLayout::default() };
        save_layout(&state, &layout).unwrap();
        assert_eq!(load_layout(&state), layout);
    }
}
