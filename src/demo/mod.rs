//! The built-in demo servers.
