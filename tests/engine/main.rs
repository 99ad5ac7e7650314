//! The engine on servers that behave, and on servers that do not.

mod stdio_faults;
mod support;
