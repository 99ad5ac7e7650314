//! The console.

pub mod theme;
pub mod widget;
