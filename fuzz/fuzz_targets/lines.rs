//! The line reader with salvage: never a panic or a hang.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchboard::mcp::fuzzing::line_reader(input));
