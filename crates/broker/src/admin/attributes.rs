// SPDX-License-Identifier: Apache-2.0
//! Attributes of topics, and commands that change them: `+message.type=FIFO,-reserve.time`.
//! Java: `TopicAttributes`, `AttributeParser`, `AttributeUtil`.

use crate::refusal::Refusal;
use std::collections::BTreeMap;

/// Changes by name, each with its sign in front.
pub(super) type Changes = BTreeMap<String, String>;

/// What Java knows of an attribute.
struct Attribute {
    name: &'static str,
    changeable: bool,
    /// Values that it may have; none: a number of at least -1.
    values: &'static [&'static str],
    /// Those that this version does not act on, where going on would be wrong.
    unsupported: &'static [&'static str],
}

const ATTRIBUTES: [Attribute; 4] = [
    Attribute {
        name: "message.type",
        changeable: true,
        values: &["UNSPECIFIED", "TRANSACTION", "FIFO", "MIXED", "DELAY", "NORMAL"],
        unsupported: &[],
    },
    Attribute {
        name: "queue.type",
        changeable: false,
        values: &["BatchCQ", "SimpleCQ"],
        unsupported: &["BatchCQ"],
    },
    Attribute {
        name: "cleanup.policy",
        changeable: false,
        values: &["DELETE", "COMPACTION"],
        unsupported: &["COMPACTION"],
    },
    Attribute { name: "reserve.time", changeable: true, values: &[], unsupported: &[] },
];

/// Reads a command.
pub(super) fn parse(text: &str) -> Result<Changes, Refusal> {
    let mut changes = Changes::new();
    for change in text.split(',').filter(|change| !change.is_empty()) {
        let (key, value) = match change.split_once('=') {
            Some((key, _)) if !key.starts_with('+') => {
                return Err(Refusal::System(format!("add/alter attribute format is wrong: {key}")));
            }
            Some(pair) => pair,
            None if change.starts_with('-') => (change, ""),
            None => return Err(Refusal::System(format!("delete attribute format is wrong: {change}"))),
        };
        if changes.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(Refusal::System(format!("key duplication: {key}")));
        }
    }
    Ok(changes)
}

/// `current` with `changes` made; `None` for a topic that is new.
pub(super) fn alter(
    current: Option<&BTreeMap<String, String>>,
    changes: &Changes,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut all = current.cloned().unwrap_or_default();
    for (key, value) in changes {
        let (name, add) = match (key.strip_prefix('+'), key.strip_prefix('-')) {
            (Some(name), _) => (name, true),
            (None, Some(name)) => (name, false),
            (None, None) => return Err(Refusal::System(format!("wrong format key: {key}"))),
        };
        if add && changes.contains_key(&format!("-{name}")) {
            return Err(Refusal::System(format!("alter duplication key. key: {name}")));
        }
        match (current, add) {
            (None, false) => {
                let remark = format!("only add attribute is supported while creating topic. key: {name}");
                return Err(Refusal::System(remark));
            }
            (Some(current), false) if !current.contains_key(name) => {
                return Err(Refusal::System(format!("attempt to delete a nonexistent key: {name}")));
            }
            _ => {}
        }
        let unknown = || Refusal::System(format!("unsupported key: {name}"));
        let known = ATTRIBUTES.iter().find(|known| known.name == name).ok_or_else(unknown)?;
        if current.is_some() && !known.changeable {
            return Err(Refusal::System(format!("attempt to update an unchangeable attribute. key: {name}")));
        }
        if add {
            known.check(value)?;
            all.insert(name.to_owned(), value.clone());
        } else {
            all.remove(name);
        }
    }
    Ok(all)
}

impl Attribute {
    fn check(&self, value: &str) -> Result<(), Refusal> {
        let name = self.name;
        if self.values.is_empty() {
            let possible = value.parse().is_ok_and(|number: i64| number >= -1);
            let remark =
                || Refusal::System(format!("value of {name} is not a number of at least -1: {value}"));
            return if possible { Ok(()) } else { Err(remark()) };
        }
        if !self.values.contains(&value) {
            return Err(Refusal::System(format!("value is not in set: [{}]", self.values.join(", "))));
        }
        if name == "message.type" && value == "MIXED" {
            return Err(Refusal::Parameter("MIXED message type is not supported.".into()));
        }
        if self.unsupported.contains(&value) {
            return Err(Refusal::Parameter(format!(
                "{name}={value} is not supported by this version of the broker"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(current: Option<&str>, command: &str, expected: Result<&str, &str>) {
        let table = |text: &str| -> BTreeMap<String, String> {
            let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        let current = current.map(table);
        let found = parse(command).and_then(|changes| alter(current.as_ref(), &changes));
        assert_eq!(
            found.map_err(|refusal| refusal.to_string()),
            expected.map(table).map_err(str::to_owned),
            "{command}"
        );
    }

    #[test]
    fn remarks_are_those_of_java() {
        // Seen on Java 5.3.3.
        check(None, "", Ok(""));
        check(None, "+message.type=FIFO,+reserve.time=5", Ok("message.type=FIFO,reserve.time=5"));
        check(None, "+foo=1", Err("unsupported key: foo"));
        check(None, "message.type=FIFO", Err("add/alter attribute format is wrong: message.type"));
        check(
            None,
            "+message.type=QQ",
            Err("value is not in set: [UNSPECIFIED, TRANSACTION, FIFO, MIXED, DELAY, NORMAL]"),
        );
        check(None, "+message.type=MIXED", Err("MIXED message type is not supported."));
        check(
            None,
            "-message.type",
            Err("only add attribute is supported while creating topic. key: message.type"),
        );
        check(None, "+message.type=FIFO,+message.type=FIFO", Err("key duplication: +message.type"));
        let fifo = Some("message.type=FIFO");
        check(fifo, "+message.type=NORMAL", Ok("message.type=NORMAL"));
        check(fifo, "-message.type", Ok(""));
        check(fifo, "-reserve.time", Err("attempt to delete a nonexistent key: reserve.time"));
        check(
            fifo,
            "+cleanup.policy=DELETE",
            Err("attempt to update an unchangeable attribute. key: cleanup.policy"),
        );
    }

    #[test]
    fn what_would_be_wrong_to_pass_over_is_refused() {
        check(
            None,
            "+queue.type=BatchCQ",
            Err("queue.type=BatchCQ is not supported by this version of the broker"),
        );
        check(None, "+queue.type=SimpleCQ", Ok("queue.type=SimpleCQ"));
        check(None, "+reserve.time=-2", Err("value of reserve.time is not a number of at least -1: -2"));
        check(None, "-", Err("only add attribute is supported while creating topic. key: "));
        check(None, "+=", Err("unsupported key: "));
    }
}
