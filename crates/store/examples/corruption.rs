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
    println!("{HEAD}");
    let mut cases = 0;
    for ((kind, case), outcomes) in &tally.rows {
        use Outcome::{All, CutOff, KeysMissing, NotShown, Partly, PassedOver, Rebuilt, Refused, Wrong};
        let count = |outcome| outcomes.get(&outcome).copied().unwrap_or(0);
        let counts =
            [All, Rebuilt, PassedOver, CutOff, KeysMissing, NotShown, Partly, Refused, Wrong].map(count);
        cases += counts.iter().sum::<u64>();
        let cells = counts.map(|count| if count == 0 { String::new() } else { count.to_string() });
        println!("| {kind} | {} | {} |", format!("{case:?}").to_lowercase(), cells.join(" | "));
    }
    println!("\n{} positions, {cases} cases, {} wrong.\n", tally.positions, tally.wrong.len());
    println!("## What a refusal says\n");
    for ((kind, case), text) in &tally.texts {
        let line = text.lines().next().unwrap_or_default();
        println!("- {kind}, {}: `{line}`", format!("{case:?}").to_lowercase());
    }
    for wrong in &tally.wrong {
        eprintln!("WRONG {wrong}");
    }
    ExitCode::from(u8::from(!tally.wrong.is_empty()))
}

const HEAD: &str = "\
# What damaged files do

Made by `cargo run --release -p oxmq-store --features memory-disk --example corruption > docs/corruption.md`: every file of \
a small store, cut off, set to zero from, and with one bit changed at every 8th byte; and as a whole missing, empty, a folder, swapped \
with another, unreadable. Then the store is opened, and every message, every unit of every queue and every key is compared \
with what had been stored. Half of the cases begin with a store that was closed, half with one whose process was killed \
after its last checkpoint.

- **All served**: nothing is missing, nothing is different.
- **Rebuilt**: the same, and the file is again what it was, or another one stands for it.
- **Record passed over**: the records that were hit are not served, all others are, in their places.
- **Log ends there**: after a crash only, for zeros behind the checkpoint, which is seconds old. They are what a power loss \
leaves of bytes that nobody was told to be durable, and what follows such must not count.
- **Keys not found**: all messages are served, but a query by key does not find some of them. The index format has no checksum. \
It is checked after a crash; after a clean stop `oxmq store check` tells.
- **Not shown**: a flipped bit in a record where the format has no checksum: the classic one covers the body only. With \
`enabledAppendPropCRC=true` all of a record is covered; then only a bit in the name of the checksum itself does not show, \
and the rest of that record is what was stored. Or zeros in the properties of the last record before the checkpoint.
- **Partly refused**: reading what needs the file gives an error with its name, as long as the disk does not give it.
- **Start refused**: with a text that names the file.
- **Wrong**: intact messages are not served, or something else is served.

| File | Damage | All served | Rebuilt | Record passed over | Log ends there | Keys not found | Not shown | Partly refused | Start refused | Wrong |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|";
