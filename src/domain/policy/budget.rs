//! Pauses between attempts, and how many extra attempts a server may be given.
