// SPDX-License-Identifier: Apache-2.0
//! `doctor`: looks at the whole cluster as a client would, and says what is wrong and what to do.
//!
//! `facts` asks: every name server, every advertised address, every topic and group. `examine` judges, and is pure. The
//! exit code is that of the worst finding: 0 nothing (notes do not count), 2 warnings, 3 errors; 1 if it could not look.

mod examine;
mod facts;

use super::{Command, run};
use crate::cli::{CommandError, Context, Given, Opt};
use examine::{Finding, Limits, Severity, examine};
use facts::gather;
use serde::Serialize;
use std::fmt::Write as _;

pub(super) static DOCTOR: Command = Command {
    name: "doctor",
    alias: None,
    description: "Examine the whole cluster and say what to do. (OxMQ)",
    options: &[
        Opt::value("l", "lag", "messages behind which a group is late | default 10000"),
        Opt::value("d", "diskRatio", "part of a disk that may be used | default 0.75"),
        Opt::value("k", "clockSkew", "ms by which clocks may differ | default 5000"),
        Opt::flag("q", "quick", "do not ask consumers for their inside"),
    ],
    run: run!(doctor),
};

/// Exit codes of the worst finding.
const EXIT_WARNINGS: u8 = 2;
const EXIT_ERRORS: u8 = 3;

/// What was found, and in how much.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    name_servers: usize,
    brokers: usize,
    topics: usize,
    groups: usize,
    clients: usize,
    findings: Vec<Finding>,
}

async fn doctor(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let limits = Limits {
        lag: given.number("l")?.unwrap_or(10_000),
        disk_ratio: given.number("d")?.unwrap_or(0.75),
        clock_skew_ms: given.number("k")?.unwrap_or(5000),
    };
    let facts = gather(context, !given.has("q")).await?;
    let report = Report {
        name_servers: facts.name_servers.len(),
        brokers: facts.brokers.len(),
        topics: facts.topics.len(),
        groups: facts.groups.len(),
        clients: facts.groups.iter().map(|group| group.clients().len()).sum(),
        findings: examine(&facts, &limits),
    };
    context.show(&report, render)?;
    match report.findings.iter().map(|finding| finding.severity).max() {
        Some(Severity::Error) => Err(CommandError::Exit(EXIT_ERRORS)),
        Some(Severity::Warning) => Err(CommandError::Exit(EXIT_WARNINGS)),
        Some(Severity::Note) | None => Ok(()),
    }
}

fn render(report: &Report) -> String {
    let mut text = String::new();
    let mut findings: Vec<_> = report.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for Finding { severity, subject, what, advice, .. } in &findings {
        let _ = write!(text, "{:<8} {subject}: {what}\n         -> {advice}\n", severity.name());
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let _ = writeln!(
        text,
        "{} name servers, {} brokers, {} topics, {} groups, {} clients: {} errors, {} warnings, {} notes",
        report.name_servers,
        report.brokers,
        report.topics,
        report.groups,
        report.clients,
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Note),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_each_has_an_advice() {
        let finding = |severity, subject: &str| Finding {
            severity,
            check: "x",
            subject: subject.into(),
            what: "is so".into(),
            advice: "do that".into(),
        };
        let report = Report {
            name_servers: 1,
            brokers: 2,
            topics: 3,
            groups: 4,
            clients: 5,
            findings: vec![finding(Severity::Note, "a"), finding(Severity::Error, "b")],
        };
        assert_eq!(
            render(&report),
            "ERROR    b: is so\n         -> do that\nNOTE     a: is so\n         -> do that\n\
             1 name servers, 2 brokers, 3 topics, 4 groups, 5 clients: 1 errors, 0 warnings, 1 notes\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][1]["severity"], "error");
    }
}
