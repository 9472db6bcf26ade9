// SPDX-License-Identifier: Apache-2.0
//! JSON as Java's library lays it out in files for people: a tab for each level, no blank after a colon.

use serde_json::Value;

/// Java: `JSON.toJSONString(value, true)`. Members without a value are left out.
pub(crate) fn pretty(value: &Value) -> String {
    let mut out = String::new();
    push(&mut out, value, 0);
    out
}

fn push(out: &mut String, value: &Value, level: usize) {
    let Value::Object(members) = value else {
        // Sets, of which Java's texts have nothing but these, stand in one line.
        return out.push_str(&value.to_string());
    };
    out.push('{');
    let mut empty = true;
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        if !std::mem::take(&mut empty) {
            out.push(',');
        }
        line(out, level + 1);
        out.push_str(&Value::from(name.as_str()).to_string());
        out.push(':');
        push(out, value, level + 1);
    }
    if !empty {
        line(out, level);
    }
    out.push('}');
}

fn line(out: &mut String, level: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n('\t', level));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_indented_by_tabs() {
        let value =
            serde_json::json!({"a": 1, "n": null, "b": {"c": "x\"", "d": {}}, "e": [1, "y"], "g": []});
        let text = "{\n\t\"a\":1,\n\t\"b\":{\n\t\t\"c\":\"x\\\"\",\n\t\t\"d\":{}\n\t},\n\t\"e\":[1,\"y\"],\n\t\"g\":[]\n}";
        assert_eq!(pretty(&value), text);
    }
}
