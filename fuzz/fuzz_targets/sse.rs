//! The reader of event streams: never a panic or a hang.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| switchboard::protocol::fuzzing::event_stream(input));
