// SPDX-License-Identifier: Apache-2.0
//! Simulates crashes of a store on a disk in memory, one run for each seed, and prints how many of each kind there were.
//!
//! `cargo run --release -p oxmq-store --features memory-disk --example crashes -- RUNS [FIRST_SEED]`

use std::{collections::BTreeMap, process::ExitCode, time::Instant};

use oxmq_store::simulation;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Some(Ok(runs)), Ok(first)) = (numbers.next(), numbers.next().unwrap_or(Ok(0))) else {
        eprintln!("usage: crashes RUNS [FIRST_SEED]");
        return ExitCode::from(2);
    };
    // Panics are reported with their seed below.
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let mut crashes: BTreeMap<_, u64> = BTreeMap::new();
    let (mut appended, mut kept, mut lost, mut operations, mut failed) = (0, 0, 0, 0, 0);
    for seed in first..first + runs {
        match simulation::run(seed) {
            Ok(counts) => {
                counts
                    .crashes
                    .into_iter()
                    .for_each(|(crash, count)| *crashes.entry(crash).or_default() += count);
                appended += counts.appended;
                kept += counts.kept;
                lost += counts.lost;
                operations += counts.operations;
            }
            Err(why) => {
                failed += 1;
                println!("FAILED {why}\n");
            }
        }
    }
    for (crash, count) in &crashes {
        println!("{:<20} {count:>9}", format!("{crash:?}"));
    }
    println!(
        "{runs} runs from seed {first} in {:.1} s: {appended} messages appended, {operations} operations on the disk",
        began.elapsed().as_secs_f64()
    );
    println!("{kept} messages compared after crashes, {lost} lost that nobody was told to be durable");
    println!("{failed} runs failed");
    ExitCode::from(u8::from(failed > 0))
}
