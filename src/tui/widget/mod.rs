//! Widgets that do not depend on the read model.
//!
//! Each is a plain struct that owns its cursor and scroll, handles keys and returns their outcome, and draws itself into a
//! buffer. Used by panes and overlays.

pub mod arguments;
pub mod content;
pub mod editor;
pub mod field;
pub mod form;
pub mod graph;
pub mod grid;
pub mod json;
pub mod markdown;
pub mod paint;
pub mod picture;
pub mod rich_text;
pub mod spark;
pub mod status_dots;
pub mod tabs;
pub mod window;

#[cfg(test)]
pub(in crate::tui) mod test_screen;
