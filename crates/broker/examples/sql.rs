// SPDX-License-Identifier: Apache-2.0
//! Evaluates SQL92 expressions, for `compat/sql`: a line of the input is a JSON array of an expression and of the
//! properties of messages; its line of the output is `refused`, or `true`, `false`, `null` or `fails` for each message.

use oxmq_broker::Sql;
use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let case: Vec<String> = serde_json::from_str(&line?)?;
        let [expression, messages @ ..] = &case[..] else { return Err(io::ErrorKind::InvalidData.into()) };
        let results: Vec<_> = match Sql::parse(expression) {
            Err(_) => vec!["refused"],
            Ok(sql) => messages.iter().map(|properties| result(&sql, properties)).collect(),
        };
        writeln!(out, "{}", results.join(" "))?;
    }
    out.flush()
}

fn result(sql: &Sql, properties: &str) -> &'static str {
    match sql.evaluate(properties.as_bytes()) {
        Ok(Some(true)) => "true",
        Ok(Some(false)) => "false",
        Ok(None) => "null",
        Err(_) => "fails",
    }
}
