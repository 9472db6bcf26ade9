// SPDX-License-Identifier: Apache-2.0
//! Which of our crates may need which: a crate is a rule that the compiler holds, as long as the arrows between the
//! crates point downward.

use crate::{Findings, graph::Graph};

/// Each crate with those that it may need, without the prefix of their names. A new arrow is a decision: its reason
/// goes into `docs/adr/`.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("types", &[]),
    ("remoting", &[]),
    ("config", &["types"]),
    ("record", &["types"]),
    ("store", &["types", "record"]),
    ("net", &["types", "remoting"]),
    ("namesrv", &["types", "remoting", "net"]),
    ("client", &["types", "remoting", "record", "net"]),
    ("broker", &["types", "remoting", "record", "store", "net"]),
    ("admin", &["types", "remoting", "record", "net", "client"]),
    // The load generator of `bench/`: a client of its own, so that it can measure any broker.
    ("load", &["types", "remoting", "record"]),
    ("testkit", &["types", "remoting", "config", "record", "store", "net", "client", "namesrv", "broker"]),
];
/// It wires everything together, and nobody needs it.
const BINARY: &str = "oxmq";
/// It is for tests only, and for those of every crate.
const FOR_TESTS: &str = "testkit";
const PREFIX: &str = "oxmq-";

pub(crate) fn check(graph: &Graph) -> Findings {
    let mut findings = Findings::new();
    for package in graph.values().filter(|package| package.ours) {
        let Some(name) = package.name.strip_prefix(PREFIX) else { continue };
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
            findings.push(format!("crate {} has no line in the table of xtask/src/arrows.rs", package.name));
            continue;
        };
        for need in package.needs.iter().filter(|need| graph.get(&need.id).is_some_and(|other| other.ours)) {
            let other = &graph[&need.id].name;
            let short = other.strip_prefix(PREFIX).unwrap_or(other);
            // A crate needs itself to give its own tests a feature.
            let fine =
                if short == FOR_TESTS || short == name { need.only_dev } else { allowed.contains(&short) };
            if !fine {
                findings.push(format!("{} must not need {other}", package.name));
            }
        }
    }
    let binary = graph.values().find(|package| package.ours && package.name == BINARY);
    for need in binary.into_iter().flat_map(|binary| &binary.needs) {
        if graph[&need.id].name == format!("{PREFIX}{FOR_TESTS}") && !need.only_dev {
            findings.push(format!("{BINARY} must not need {PREFIX}{FOR_TESTS} but for its tests"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Need, Package};

    fn findings(from: &str, to: &str, only_dev: bool) -> usize {
        let package = |name: &str, needs| {
            (name.to_owned(), Package { name: name.into(), ours: true, needs, ..Package::default() })
        };
        let needs = vec![Need { id: to.into(), only_dev }];
        check(&Graph::from([package(to, vec![]), package(from, needs)])).len()
    }

    #[test]
    fn arrows_point_downward() {
        for (from, to, only_dev, expected) in [
            ("oxmq-broker", "oxmq-store", false, 0),
            ("oxmq-store", "oxmq-broker", false, 1),
            ("oxmq-namesrv", "oxmq-store", false, 1),
            ("oxmq-store", "oxmq-remoting", true, 1),
            ("oxmq-store", "oxmq-testkit", true, 0),
            ("oxmq-store", "oxmq-testkit", false, 1),
            ("oxmq", "oxmq-broker", false, 0),
            ("oxmq", "oxmq-testkit", false, 1),
            ("oxmq-types", "oxmq", false, 1),
            ("oxmq-new", "oxmq-types", false, 1),
        ] {
            assert_eq!(findings(from, to, only_dev), expected, "{from} -> {to}");
        }
    }
}
