//! The engine on servers that behave, and on servers that do not.

mod http_faults;
mod scripted;
mod stdio_faults;
mod support;
