// SPDX-License-Identifier: Apache-2.0
//! Every crate that is built may be passed on with ours, and none needs a C compiler but a few that are named here.

use crate::{Findings, graph::Graph};
use std::collections::BTreeSet;

const ALLOWED: [&str; 11] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
/// Crates that compile or read C.
const C_TOOLS: [&str; 3] = ["cc", "cmake", "bindgen"];
/// Those that may all the same: each brings C or assembler of its own, which the C compiler that links Rust programs
/// compiles without further tools.
const MAY_COMPILE_C: [&str; 3] = ["libsqlite3-sys", "ring", "zstd-sys"];

pub(crate) fn check(graph: &Graph) -> Findings {
    let mut findings = Findings::new();
    for package in graph.values().filter(|package| !allowed(&package.licence)) {
        findings.push(format!("{} {}: licence \"{}\"", package.name, package.version, package.licence));
    }
    let built = built(graph);
    for package in built.iter().map(|id| &graph[*id]) {
        for need in package.needs.iter().filter(|need| package.ours || !need.only_dev) {
            let tool = &graph[&need.id].name;
            if C_TOOLS.contains(&tool.as_str()) && !MAY_COMPILE_C.contains(&package.name.as_str()) {
                findings.push(format!("{} {} is built with {tool}", package.name, package.version));
            }
        }
    }
    findings
}

/// What our crates, their tests and their benchmarks compile.
fn built(graph: &Graph) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<_> =
        graph.iter().filter(|(_, package)| package.ours).map(|(id, _)| id.as_str()).collect();
    while let Some(id) = next.pop() {
        if found.insert(id) {
            let package = &graph[id];
            let needs = package.needs.iter().filter(|need| package.ours || !need.only_dev);
            next.extend(needs.map(|need| need.id.as_str()));
        }
    }
    found
}

/// True if the SPDX expression can be met with licences of the list. `MIT/Apache-2.0` is the old form of `OR`.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<_> = spaced.split_whitespace().rev().collect();
    any_of(&mut words) == Some(true) && words.is_empty()
}

fn any_of(words: &mut Vec<&str>) -> Option<bool> {
    let mut met = all_of(words)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        met |= all_of(words)?;
    }
    Some(met)
}

fn all_of(words: &mut Vec<&str>) -> Option<bool> {
    let mut met = one(words)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        met &= one(words)?;
    }
    Some(met)
}

fn one(words: &mut Vec<&str>) -> Option<bool> {
    let mut licence = words.pop()?.to_owned();
    if licence == "(" {
        let met = any_of(words)?;
        return words.pop_if(|word| *word == ")").map(|_| met);
    }
    if words.pop_if(|word| *word == "WITH").is_some() {
        licence = format!("{licence} WITH {}", words.pop()?);
    }
    Some(ALLOWED.contains(&licence.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Need, Package};

    #[test]
    fn understands_spdx() {
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("MIT/Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("GPL-2.0 OR (MIT AND GPL-3.0)", false),
            ("GPL-2.0 OR MIT AND ISC", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
            ("GPL-2.0 WITH Classpath-exception-2.0", false),
            ("", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT ISC", false),
        ] {
            assert_eq!(allowed(expression), expected, "{expression}");
        }
    }

    #[test]
    fn nothing_that_is_compiled_needs_a_c_compiler() {
        let package = |name: &str, ours, needs: &[(&str, bool)]| {
            let needs = needs.iter().map(|(id, only_dev)| Need { id: (*id).into(), only_dev: *only_dev });
            let (licence, needs) = ("MIT".into(), needs.collect());
            (name.to_owned(), Package { name: name.into(), licence, ours, needs, ..Package::default() })
        };
        let graph = |ours_only_dev, native_only_dev| {
            let ours = package("ours", true, &[("native", ours_only_dev)]);
            let native = package("native", false, &[("cc", native_only_dev)]);
            Graph::from([ours, native, package("cc", false, &[])])
        };
        for ours_only_dev in [false, true] {
            assert_eq!(check(&graph(ours_only_dev, false)), ["native  is built with cc"]);
            assert!(check(&graph(ours_only_dev, true)).is_empty(), "the tests of others are not compiled");
        }
    }
}
