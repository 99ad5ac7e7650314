//! Workflow files: never a panic or a hang.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| switchboard::domain::fuzzing::workflow(input));
