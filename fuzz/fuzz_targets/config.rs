//! Configuration files of other clients: never a panic or a hang.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| switchboard::config::fuzzing::client_file(input));
