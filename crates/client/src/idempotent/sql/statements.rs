// SPDX-License-Identifier: Apache-2.0
//! The table and the statements, in the words of each database. Pure.
//!
//! ```text
//! consumer_group, topic, message_key   the primary key; compared byte by byte, whatever the collation of the database
//! state                                1 claimed, 2 done
//! token                                who claimed it: 16 random bytes
//! expires_at                           ms since 1970, by the clock of the database: the end of the lease, or when it is forgotten
//! ```
//!
//! Invariants
//! - A row past `expires_at` counts as absent: a claim takes it over in the statement that looks at it.
//! - Only who has the token changes a claimed row, and nobody changes a row that is done before it is past its end.

use super::super::StoreError;

/// Table that is used if nothing else is said.
pub const DEFAULT_TABLE: &str = "oxmq_handled";

/// Which database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each is there with its feature")]
pub(super) enum Dialect {
    Sqlite,
    /// And MariaDB.
    MySql,
    Postgres,
}

/// Texts for one table. Binds come in the order in which they stand in the comments.
#[derive(Debug)]
pub(super) struct Statements {
    /// What makes table and index, one statement each.
    pub(super) create: Vec<String>,
    /// Group, topic, key, token, lease in ms. Rows affected tell nothing on MySQL.
    pub(super) claim: String,
    /// Group, topic, key. Gives state, token, ms to the end.
    pub(super) read: String,
    /// Lease in ms, group, topic, key, token.
    pub(super) renew: String,
    /// Retention in ms, group, topic, key, token.
    pub(super) complete: String,
    /// Group, topic, key, token.
    pub(super) release: String,
    /// Most rows.
    pub(super) forget: String,
}

impl Statements {
    pub(super) fn new(dialect: Dialect, table: &str) -> Result<Self, StoreError> {
        let part = |part: &str| {
            let mut bytes = part.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
                && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if table.len() > 63 || table.split('.').count() > 2 || !table.split('.').all(part) {
            return Err(StoreError::Table(table.to_owned()));
        }
        // Without the schema, which an index gets from its table.
        let index = format!("{}_expires", table.rsplit('.').next().unwrap_or(table));
        let now = match dialect {
            // unixepoch('subsec') is only in newer ones.
            Dialect::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)",
            // Of UNIX_TIMESTAMP(NOW(3)) an hour comes twice where clocks go back in autumn.
            Dialect::MySql => {
                "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000)"
            }
            // now() would be the start of the transaction.
            Dialect::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
        };
        let create = match dialect {
            Dialect::Sqlite => vec![
                format!(
                    "CREATE TABLE IF NOT EXISTS {table} (\n  consumer_group TEXT NOT NULL,\n  topic TEXT NOT NULL,\n  \
                     message_key TEXT NOT NULL,\n  state INTEGER NOT NULL,\n  token BLOB NOT NULL,\n  \
                     expires_at INTEGER NOT NULL,\n  PRIMARY KEY (consumer_group, topic, message_key)\n)"
                ),
                match table.split_once('.') {
                    Some((schema, name)) => {
                        format!("CREATE INDEX IF NOT EXISTS {schema}.{index} ON {name} (expires_at)")
                    }
                    None => format!("CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at)"),
                },
            ],
            Dialect::MySql => vec![format!(
                "CREATE TABLE IF NOT EXISTS {table} (\n  consumer_group VARBINARY(255) NOT NULL,\n  \
                 topic VARBINARY(255) NOT NULL,\n  message_key VARBINARY(512) NOT NULL,\n  state TINYINT NOT NULL,\n  \
                 token BINARY(16) NOT NULL,\n  expires_at BIGINT NOT NULL,\n  \
                 PRIMARY KEY (consumer_group, topic, message_key),\n  KEY {index} (expires_at)\n) ENGINE=InnoDB"
            )],
            Dialect::Postgres => vec![
                format!(
                    "CREATE TABLE IF NOT EXISTS {table} (\n  consumer_group text COLLATE \"C\" NOT NULL,\n  \
                     topic text COLLATE \"C\" NOT NULL,\n  message_key text COLLATE \"C\" NOT NULL,\n  \
                     state smallint NOT NULL,\n  token bytea NOT NULL,\n  expires_at bigint NOT NULL,\n  \
                     PRIMARY KEY (consumer_group, topic, message_key)\n)"
                ),
                format!("CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at)"),
            ],
        };
        let of_key = "consumer_group = ? AND topic = ? AND message_key = ?";
        let insert = format!(
            "INSERT INTO {table} (consumer_group, topic, message_key, state, token, expires_at) \
             VALUES (?, ?, ?, 1, ?, {now} + ?)"
        );
        let claim = match dialect {
            // The assignments are made from left to right, so the end comes last. ON DUPLICATE KEY takes the exclusive lock at once;
            // an INSERT that fails takes a shared one, with which two who wait for a third end in a deadlock.
            Dialect::MySql => format!(
                "{insert} ON DUPLICATE KEY UPDATE state = IF(expires_at <= {now}, 1, state), \
                 token = IF(expires_at <= {now}, VALUES(token), token), \
                 expires_at = IF(expires_at <= {now}, VALUES(expires_at), expires_at)"
            ),
            _ => {
                let name = table.rsplit('.').next().unwrap_or(table);
                format!(
                    "{insert} ON CONFLICT (consumer_group, topic, message_key) DO UPDATE SET state = 1, \
                     token = excluded.token, expires_at = excluded.expires_at WHERE {name}.expires_at <= {now}"
                )
            }
        };
        let forget = match dialect {
            Dialect::Sqlite => format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE expires_at <= {now} LIMIT ?)"
            ),
            Dialect::MySql => {
                format!("DELETE FROM {table} WHERE expires_at <= {now} ORDER BY expires_at LIMIT ?")
            }
            // Who is taking a row over has it locked.
            Dialect::Postgres => format!(
                "DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} WHERE expires_at <= {now} \
                 LIMIT ? FOR UPDATE SKIP LOCKED)"
            ),
        };
        let numbered = |text: String| if dialect == Dialect::Postgres { numbered(&text) } else { text };
        Ok(Self {
            create,
            claim: numbered(claim),
            read: numbered(format!(
                "SELECT CAST(state AS {int}), token, expires_at - {now} FROM {table} WHERE {of_key}",
                int = match dialect {
                    Dialect::Sqlite => "INTEGER",
                    Dialect::MySql => "SIGNED",
                    Dialect::Postgres => "bigint",
                }
            )),
            renew: numbered(format!(
                "UPDATE {table} SET expires_at = {now} + ? WHERE {of_key} AND token = ? AND state = 1"
            )),
            complete: numbered(format!(
                "UPDATE {table} SET state = 2, expires_at = {now} + ? WHERE {of_key} AND token = ? AND state = 1"
            )),
            release: numbered(format!("DELETE FROM {table} WHERE {of_key} AND token = ? AND state = 1")),
            forget: numbered(forget),
        })
    }
}

/// `?` becomes `$1`, `$2` and so on.
fn numbered(text: &str) -> String {
    let mut parts = text.split('?');
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for (at, part) in parts.enumerate() {
        numbered.push_str(&format!("${}{part}", at + 1));
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_a_name_and_nothing_else() {
        for good in ["oxmq_handled", "shop.handled", "_t1"] {
            assert!(Statements::new(Dialect::MySql, good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a;b", "1a", "a.b.c", "a.", ".a", "t\"", "t`", "表", &"a".repeat(64)] {
            assert!(matches!(Statements::new(Dialect::Sqlite, bad), Err(StoreError::Table(_))), "{bad}");
        }
    }

    #[test]
    fn binds_are_numbered_where_the_database_wants_it() {
        assert_eq!(numbered("a = ? AND b = ?"), "a = $1 AND b = $2");
        let statements = Statements::new(Dialect::Postgres, "t").unwrap();
        assert!(statements.complete.ends_with(
            "consumer_group = $2 AND topic = $3 AND message_key = $4 AND token = $5 AND state = 1"
        ));
        assert!(!statements.claim.contains('?'));
    }
}
