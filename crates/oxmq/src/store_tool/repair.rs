// SPDX-License-Identifier: Apache-2.0
//! `oxmq store repair`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use oxmq_broker::{Levels, dispatch_rule};
use oxmq_store::inspect::{self, Checked, Finding, Folder, Plan, RepairError, Step, Use, Watch};

use super::{
    EXIT_NOT_EXAMINED, EXIT_PROBLEMS, Opened, Target,
    check::{Report, examine},
    not_examined, open,
    progress::Progress,
    table::count,
};
use crate::terminal::{Failure, complain, say};

pub(super) fn run(target: &Target, dry_run: bool, yes: bool) -> Result<(), Failure> {
    let Opened { folder, settings } = open(target)?;
    if folder.state() == Use::Running {
        return Err(failed(RepairError::Running { root: target.root.clone() }));
    }
    let (plan, problems) = look(&folder)?;
    let steps = plan.steps();
    plan.left().for_each(|queue| {
        say(&format!("cannot be repaired: {queue}, as other messages had its numbers before"));
    });
    if steps.is_empty() {
        say("nothing to repair");
        return outcome(&target.root, problems);
    }
    say("to be done, with what is replaced kept in the folder:");
    for step in &steps {
        match step {
            Step::CutTail { at, bytes } => {
                say(&format!("- cut {bytes} bytes behind the end of the commit log, {at}"))
            }
            Step::BuildQueue(queue) => say(&format!("- build {queue} from the commit log")),
            Step::BuildIndex => say("- build the index from the commit log"),
        }
    }
    if dry_run {
        return outcome(&target.root, problems);
    }
    if !yes && !confirmed() {
        return Err(Failure::new(EXIT_PROBLEMS, format!("{}: nothing was changed", target.root.display())));
    }
    let levels = settings.as_ref().and_then(|settings| Levels::parse(&settings.delays().levels));
    let mut work = Work(Progress::new("building"));
    let rule: oxmq_store::TagsRule = Box::new(dispatch_rule(levels.unwrap_or_default()));
    let aside = inspect::repair(&folder, &plan, &rule, &mut work);
    work.0.end();
    say(&format!("done; what was replaced is in {}", aside.map_err(failed)?.display()));
    drop(folder);
    let Opened { folder, .. } = open(target)?;
    let (_, problems) = look(&folder)?;
    outcome(&target.root, problems)
}

fn failed(error: RepairError) -> Failure {
    Failure::new(EXIT_NOT_EXAMINED, error.to_string())
}

fn outcome(root: &Path, problems: u64) -> Result<(), Failure> {
    match problems {
        0 => Ok(()),
        problems => {
            let text = format!("{}: {}", root.display(), count(problems, "problem"));
            Err(Failure::new(EXIT_PROBLEMS, text))
        }
    }
}

/// Examines the folder and prints what is found; gives what is to be done and the number of problems.
fn look(folder: &Folder) -> Result<(Plan, u64), Failure> {
    struct Planning<'a> {
        folder: &'a Folder,
        report: Report<'a>,
        plan: Plan,
    }
    impl Watch for Planning<'_> {
        fn finding(&mut self, finding: Finding) {
            self.plan.add(self.folder, &finding);
            self.report.finding(finding);
        }
        fn progress(&mut self, done: u64, total: u64) {
            self.report.progress(done, total);
        }
    }
    let mut planning = Planning { folder, report: Report::new(folder, false), plan: Plan::default() };
    let checked: Checked = examine(folder, &mut planning).map_err(not_examined)?;
    planning.report.end(folder, &checked);
    Ok((planning.plan, planning.report.damage + planning.report.derived))
}

/// Asks; no is the answer of who cannot be asked.
fn confirmed() -> bool {
    if !io::stdin().is_terminal() {
        complain("standard input is no terminal: give --yes to have it done");
        return false;
    }
    let _ = write!(io::stderr(), "go on? [y/N] ");
    let mut answer = String::new();
    let _ = io::stdin().read_line(&mut answer);
    matches!(answer.trim(), "y" | "Y" | "yes")
}

struct Work(Progress);

impl Watch for Work {
    fn finding(&mut self, _: Finding) {}
    fn progress(&mut self, done: u64, total: u64) {
        self.0.set(done, total);
    }
}
