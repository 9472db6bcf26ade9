// SPDX-License-Identifier: Apache-2.0
//! Properties of SQL92 filters.

use crate::sql::Sql;

/// `data` is an expression, and after a byte 0 the properties of a message.
pub fn sql_filter(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (expression, properties) = data.split_at(end);
    let Ok(expression) = std::str::from_utf8(expression) else { return };
    let Ok(sql) = Sql::parse(expression) else { return };
    let properties = properties.get(1..).unwrap_or_default();
    let text = sql.to_string();
    // Parentheses make it longer, which has a limit.
    if let Ok(again) = Sql::parse(&text) {
        assert_eq!(again, sql);
        assert_eq!(again.to_string(), text);
        assert_eq!(again.evaluate(properties), sql.evaluate(properties));
    } else {
        assert!(text.len() > 1 << 16, "{expression:?} as {text:?}");
    }
}
