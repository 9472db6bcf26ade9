// SPDX-License-Identifier: Apache-2.0
//! Damages every file of a small store at every place and in every way, and prints what became of it as a table in
//! Markdown: `docs/corruption.md`.
//!
//! `cargo run --release -p oxmq-store --features memory-disk --example corruption [STRIDE]`

use std::process::ExitCode;

use oxmq_store::simulation::{self, Outcome};

fn main() -> ExitCode {
    let stride = std::env::args().nth(1).map_or(Ok(8), |argument| argument.parse());
    let Some(stride) = stride.ok().filter(|stride| *stride > 0) else {
        eprintln!("usage: corruption [STRIDE]");
        return ExitCode::from(2);
    };
    std::panic::set_hook(Box::new(|_| {}));
    let tally = simulation::sweep(stride, |_| true);
    println!(
        "| File | Damage | All served | Rebuilt | Damaged record passed over | Log ends there | Some keys not found | Change not shown | Partly refused | Start refused |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut cases = 0;
    for ((kind, case), outcomes) in &tally.rows {
        use Outcome::{All, CutOff, KeysMissing, NotShown, Partly, PassedOver, Rebuilt, Refused};
        let count = |outcome| outcomes.get(&outcome).copied().unwrap_or(0);
        let counts = [All, Rebuilt, PassedOver, CutOff, KeysMissing, NotShown, Partly, Refused].map(count);
        cases += counts.iter().sum::<u64>();
        let cells: Vec<_> =
            counts.iter().map(|count| if *count == 0 { String::new() } else { count.to_string() }).collect();
        println!("| {kind} | {} | {} |", format!("{case:?}").to_lowercase(), cells.join(" | "));
    }
    println!("\n{} positions, {cases} cases; wrong: {}\n", tally.positions, tally.wrong.len());
    for ((kind, case), text) in &tally.texts {
        println!("- {kind}, {}: `{text}`", format!("{case:?}").to_lowercase());
    }
    for wrong in &tally.wrong {
        eprintln!("WRONG {wrong}");
    }
    ExitCode::from(u8::from(!tally.wrong.is_empty()))
}
