//! The line reader with salvage: never a panic or a hang.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchboard::protocol::fuzzing::line_reader(input));
