// SPDX-License-Identifier: Apache-2.0
//! Crashes from a seed: random work on a store in memory, whose disk fails and whose process dies; then the store is
//! opened again and compared with what was promised.
//!
//! No threads: what they would do is done between two operations, when the seed says so. So a seed reproduces a run
//! to the byte, and thousands of runs take seconds.
//!
//! What is compared
//! - Nothing that somebody was told is durable is missing; after the death of the process alone, nothing is.
//! - What is served is what was appended, byte by byte, at its place.
//! - Every message that the log kept is in its queue; a place without one is filler, or behind the end.
//! - Of messages that were appended together, none is there without those before it.
//! - A query by key finds the messages that have the key, and no others.
//! - The store opens, unless the disk refuses; and then once it does not any more.

mod corruption;
mod crashes;
mod model;

pub use corruption::{Case, Outcome, Tally, sweep};
pub use crashes::{Counts, Crash, run};

#[cfg(test)]
mod tests {
    use super::run;

    /// `cargo run --release -p oxmq-store --features memory-disk --example crashes -- 10000` does more of it.
    #[test]
    fn no_crash_takes_what_was_promised() {
        for seed in 0..200 {
            if let Err(why) = run(seed) {
                panic!("{why}");
            }
        }
    }

    #[test]
    fn the_same_seed_does_the_same() {
        for seed in 0..5 {
            let [first, second] = [run(seed).unwrap(), run(seed).unwrap()];
            assert_eq!((first.trace, first.operations), (second.trace, second.operations));
            assert_ne!(first.trace, run(seed + 100).unwrap().trace);
        }
    }
}
