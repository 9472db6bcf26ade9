// SPDX-License-Identifier: Apache-2.0
//! What must hold for any bytes, one function for each fuzz target. `tests/seeds.rs` of the crates concerned
//! runs the same functions over `seeds/`, so that every `cargo test` does.
//!
//! `cargo +nightly fuzz run frame_and_header fuzz/corpus/frame_and_header fuzz/seeds/frame_and_header`

pub mod record;
pub mod remoting;
/// A part of the broker that needs nothing else of it; the whole broker takes minutes to build for the fuzzer.
#[path = "../../crates/broker/src/filter/sql/mod.rs"]
mod sql;
pub mod sql_filter;
