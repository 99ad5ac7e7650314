//! The schema compiler, checks and forms: never a panic or a hang.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| switchboard::domain::fuzzing::schema(input));
