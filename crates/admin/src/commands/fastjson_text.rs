// SPDX-License-Identifier: Apache-2.0
//! JSON as Java's library lays it out in files for people: a tab for each level, no blank after a colon.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Java: `JSON.toJSONString(value, true)`. Members without a value are left out.
pub(crate) fn pretty(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value, 0);
    out
}

fn push(out: &mut String, value: &Value, level: usize) {
    let (open, close) = match value {
        // Numbers and texts stand in one line, and a list with anything else in it has a line for each.
        Value::Array(values) if !values.iter().any(|value| value.is_object() || value.is_array()) => {
            let texts: Vec<_> = values.iter().map(Value::to_string).collect();
            return out.push_str(&format!("[{}]", texts.join(",")));
        }
        Value::Object(_) => ('{', '}'),
        Value::Array(_) => ('[', ']'),
        other => return out.push_str(&other.to_string()),
    };
    out.push(open);
    let mut empty = true;
    let mut begin = |out: &mut String| {
        if !std::mem::take(&mut empty) {
            out.push(',');
        }
        line(out, level + 1);
    };
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                begin(out);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                push(out, value, level + 1);
            }
        }
        Value::Array(values) => {
            for value in values {
                begin(out);
                push(out, value, level + 1);
            }
        }
        _ => {}
    }
    if !empty {
        line(out, level);
    }
    out.push(close);
}

fn line(out: &mut String, level: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n('\t', level));
}

/// A structure with its members in the order of their names, as Java's library writes them.
pub(crate) fn in_order<T: Serialize>(value: &T) -> Value {
    fn sort(value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let sorted: BTreeMap<_, _> =
                    members.into_iter().map(|(name, value)| (name, sort(value))).collect();
                Value::Object(sorted.into_iter().collect())
            }
            other => other,
        }
    }
    sort(serde_json::to_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_indented_by_tabs() {
        let value = serde_json::json!({
            "a": 1, "n": null, "b": {"c": "x\"", "d": {}}, "e": [1, {"f": 2}], "g": [], "h": [1, 2], "i": ["x", "y"]
        });
        let text = "{\n\t\"a\":1,\n\t\"b\":{\n\t\t\"c\":\"x\\\"\",\n\t\t\"d\":{}\n\t},\n\t\"e\":[\n\t\t1,\n\t\t{\n\t\t\t\"f\":2\n\t\t}\n\t],\n\t\"g\":[],\n\t\"h\":[1,2],\n\t\"i\":[\"x\",\"y\"]\n}";
        assert_eq!(pretty(&value), text);
    }
}
