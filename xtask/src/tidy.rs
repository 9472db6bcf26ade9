// SPDX-License-Identifier: Apache-2.0
//! What no compiler looks at.

use crate::Findings;
use std::{fs, path::Path, process::Command};

const LICENCE_LINE: &str = "// SPDX-License-Identifier: Apache-2.0\n";
const LINES_MAX: usize = 1000;
/// Written in two parts, so that this file does not find itself.
const UNFINISHED: [&str; 3] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
/// Folders of a machine on which somebody works, not of those on which this runs.
const MACHINE_FOLDERS: [&str; 2] = [concat!("/ro", "ot"), concat!("/wo", "rk")];
/// The crates with a module for system calls or mapped memory.
const MAY_BE_UNSAFE: [&str; 2] = ["crates/net/", "crates/store/"];

pub(crate) fn check(root: &Path) -> Findings {
    // What is tracked and what is about to be; what is ignored is nobody's business.
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    let listed = match listed {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => return vec![format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr))],
        Err(error) => return vec![format!("git ls-files: {error}")],
    };
    let mut findings = Findings::new();
    for name in String::from_utf8_lossy(&listed).split_terminator('\0') {
        // What is no text is a golden file; what is gone is about to be removed.
        if let Ok(text) = fs::read_to_string(root.join(name)) {
            check_file(name, &text, &mut findings);
        }
    }
    let readmes = ["README.md", "README.zh-CN.md"].map(|name| fs::read_to_string(root.join(name)));
    if let [Ok(english), Ok(chinese)] = readmes {
        check_translation(&english, &chinese, &mut findings);
    }
    findings
}

fn check_file(name: &str, text: &str, findings: &mut Findings) {
    for (number, line) in (1..).zip(text.lines()) {
        for folder in MACHINE_FOLDERS {
            if names_folder(line, folder) {
                findings.push(format!("{name}:{number}: names {folder}, a folder of one machine"));
            }
        }
        for unfinished in UNFINISHED.iter().filter(|_| name.ends_with(".rs")) {
            if line.contains(unfinished) {
                findings.push(format!("{name}:{number}: {unfinished}"));
            }
        }
    }
    if !name.ends_with(".rs") {
        return;
    }
    if !text.starts_with(LICENCE_LINE) {
        findings.push(format!("{name}: does not begin with {LICENCE_LINE:?}"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(format!("{name}: {lines} lines, at most {LINES_MAX} can be read"));
    }
    let of_a_crate = ["bench/", "crates/", "xtask/"].iter().any(|folder| name.starts_with(folder));
    let head = of_a_crate && (name.ends_with("/src/lib.rs") || name.ends_with("/src/main.rs"));
    let may_be_unsafe = MAY_BE_UNSAFE.iter().any(|folder| name.starts_with(folder));
    if head && !may_be_unsafe && !text.contains("\n#![forbid(unsafe_code)]\n") {
        findings.push(format!("{name}: does not forbid unsafe code"));
    }
}

/// True if `line` has the absolute path `folder` or one below it, rather than a longer path with such a part.
fn names_folder(line: &str, folder: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || "._-/*}~".contains(c);
    line.match_indices(folder).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + folder.len()..].chars().next());
        !before.is_some_and(part_of_name) && !after.is_some_and(|c| c != '/' && part_of_name(c))
    })
}

/// A translation has the same headings and shows the same code.
fn check_translation(english: &str, chinese: &str, findings: &mut Findings) {
    let (english, chinese) = (outline(english), outline(chinese));
    if english.0 != chinese.0 {
        findings.push(format!("README.md has {} headings, README.zh-CN.md {}", english.0, chinese.0));
    }
    if english.1 != chinese.1 {
        let differs = english.1.iter().zip(&chinese.1).find(|(one, other)| one != other);
        let differs = differs.map_or("one has more", |(one, _)| one);
        findings.push(format!("README.md and README.zh-CN.md show different code: {differs}"));
    }
}

/// The number of headings, and the code blocks.
fn outline(text: &str) -> (usize, Vec<String>) {
    let (mut headings, mut blocks, mut inside) = (0, Vec::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            if inside {
                blocks.push(String::new());
            }
        }
        match blocks.last_mut().filter(|_| inside) {
            Some(block) => *block += &format!("{line}\n"),
            None => headings += usize::from(line.starts_with('#')),
        }
    }
    (headings, blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, text: &str) -> Findings {
        let mut findings = Findings::new();
        check_file(name, text, &mut findings);
        findings
    }

    #[test]
    fn looks_at_sources() {
        let good = format!("{LICENCE_LINE}#![forbid(unsafe_code)]\n");
        assert!(findings("crates/types/src/lib.rs", &good).is_empty());
        assert_eq!(findings("crates/types/src/lib.rs", LICENCE_LINE).len(), 1, "unsafe is not forbidden");
        assert!(findings("crates/store/src/lib.rs", LICENCE_LINE).is_empty());
        assert!(findings("crates/types/src/names.rs", LICENCE_LINE).is_empty());
        assert_eq!(findings("a.rs", "fn a() {}\n").len(), 1, "no licence");
        assert_eq!(findings("a.rs", &format!("{LICENCE_LINE}{}", "\n".repeat(LINES_MAX))).len(), 1);
        for unfinished in UNFINISHED {
            assert_eq!(findings("a.rs", &format!("{LICENCE_LINE}{unfinished});")).len(), 1, "{unfinished}");
        }
    }

    #[test]
    fn finds_folders_of_one_machine() {
        for folder in MACHINE_FOLDERS {
            for line in [format!("cd {folder}"), format!("\"{folder}/x\""), format!("={folder}:")] {
                assert_eq!(findings("a.md", &line).len(), 1, "{line}");
            }
            for line in [format!("docs{folder}"), format!("{folder}ers"), format!("https://a.b{folder}/x")] {
                assert!(findings("a.md", &line).is_empty(), "{line}");
            }
        }
    }

    #[test]
    fn compares_the_readmes() {
        let compare = |english: &str, chinese: &str| {
            let mut findings = Findings::new();
            check_translation(english, chinese, &mut findings);
            findings.len()
        };
        let english = "# OxMQ\ntext\n```sh\n# run it\ncargo run\n```\n## More\n";
        assert_eq!(compare(english, "# OxMQ\n文\n```sh\n# run it\ncargo run\n```\n## 更多\n"), 0);
        assert_eq!(compare(english, "# OxMQ\n```sh\n# run it\ncargo run\n```\n"), 1);
        assert_eq!(compare(english, "# OxMQ\n```sh\ncargo run\n```\n## 更多\n"), 1);
        assert_eq!(compare(english, "# OxMQ\n## 更多\n"), 1);
    }
}
