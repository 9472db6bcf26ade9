// SPDX-License-Identifier: Apache-2.0
//! Facts in, findings out: by whom they are about.

mod brokers;
mod groups;
#[cfg(test)]
mod tests;
mod topics;

use super::facts::Facts;
use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Good to know.
    Note,
    /// Something will go wrong one day.
    Warning,
    /// Something goes wrong now.
    Error,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Note => "NOTE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// How bad it is.
    pub(super) severity: Severity,
    /// What was looked at, for scripts.
    pub(super) check: &'static str,
    /// Of whom.
    pub(super) subject: String,
    /// What is so.
    pub(super) what: String,
    /// What to do.
    pub(super) advice: String,
}

/// From where on something is a finding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Messages that a group may be behind.
    pub(super) lag: i64,
    /// Part of a disk that may be used, from 0 to 1.
    pub(super) disk_ratio: f64,
    /// How much clocks may differ, in ms.
    pub(super) clock_skew_ms: i64,
}

/// Judges.
pub(super) fn examine(facts: &Facts, limits: &Limits) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    findings.name_servers(facts);
    findings.broker_names(facts);
    for broker in &facts.brokers {
        findings.broker(broker, limits);
    }
    findings.addresses(facts);
    findings.versions(facts);
    let masters = facts.brokers.iter().filter(|broker| broker.id == 0).count();
    for topic in &facts.topics {
        findings.topic(topic, masters);
    }
    for group in &facts.groups {
        findings.group(group, facts, limits);
    }
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(
        &mut self,
        severity: Severity,
        check: &'static str,
        subject: impl Into<String>,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.0.push(Finding {
            severity,
            check,
            subject: crate::admin::one_line(&subject.into()),
            what: crate::admin::one_line(&what.into()),
            advice: crate::admin::one_line(&advice.into()),
        });
    }
}
