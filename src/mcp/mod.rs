//! Connections to servers over MCP.
