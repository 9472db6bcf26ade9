// SPDX-License-Identifier: Apache-2.0
//! Which messages of a queue a subscription wants.
//!
//! Tags are decided by the tags code of a consume queue unit. Hashes collide, so a client compares the tags
//! themselves once more. The hashes are made here from the expression and not taken from the client: the Go client
//! 2.1 hashes bytes, and its Chinese tags would never match. [`sql`] is decided by the properties in the record, which
//! has to be read for it.
//!
//! An expression is compiled when a member subscribes with it (`clients`), and [`consumer_filter`] keeps it in
//! `consumerFilter.json` for the Java broker that may run on these files next. Retries come whatever the expression
//! is: consumers subscribe to `%RETRY%group` with `*`.
//!
//! Java: `FilterAPI`, `ExpressionMessageFilter`, `ConsumerFilterManager`.

pub(crate) mod consumer_filter;
pub(crate) mod sql;

use crate::refusal::Refusal;
use oxmq_record::RecordView;
use oxmq_types::{TagsCode, tags_code};
use sql::Sql;
use std::sync::Arc;

/// A compiled filter. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    /// Everything.
    All,
    /// Messages with one of these tags codes. Sorted: there may be thousands, and each message is looked up.
    Tags(Arc<[TagsCode]>),
    /// Messages whose properties are wanted.
    Sql(Arc<Sql>),
}

/// Longest expression of tags, in bytes; more than a header may hold is no expression.
const EXPRESSION_MAX_BYTES: usize = 64 * 1024;

/// True if expressions of this type are tags. Java: `ExpressionType#isTagType`.
pub(crate) fn is_tag_type(expression_type: &str) -> bool {
    matches!(expression_type, "" | "TAG")
}

impl Filter {
    /// Compiles an expression of `expression_type`: `TAG`, which nothing stands for as well, or `SQL92`.
    pub(crate) fn compile(expression: &str, expression_type: &str) -> Result<Self, Refusal> {
        match expression_type {
            _ if is_tag_type(expression_type) => Self::tags(expression),
            "SQL92" => match Sql::parse(expression) {
                Ok(sql) => Ok(Self::Sql(Arc::new(sql))),
                Err(error) => Err(Refusal::ExpressionMalformed(error.to_string())),
            },
            other => Err(Refusal::ExpressionMalformed(format!("no filter is called {other}"))),
        }
    }

    /// Compiles `A || B || C`, or `*`, which stands for all as nothing does.
    fn tags(expression: &str) -> Result<Self, Refusal> {
        let expression = expression.trim();
        if expression.is_empty() || expression == "*" {
            return Ok(Self::All);
        }
        if expression.len() > EXPRESSION_MAX_BYTES {
            return Err(Refusal::SubscriptionMalformed);
        }
        let tags = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty());
        let mut codes: Vec<_> = tags.map(|tag| tags_code(Some(tag))).collect();
        codes.sort_unstable();
        codes.dedup();
        if codes.is_empty() { Err(Refusal::SubscriptionMalformed) } else { Ok(Self::Tags(codes.into())) }
    }

    /// False if a message with this tags code is not wanted, whatever its properties are.
    pub(crate) fn wants(&self, code: TagsCode) -> bool {
        match self {
            Self::All | Self::Sql(_) => true,
            Self::Tags(codes) => codes.binary_search(&code).is_ok(),
        }
    }

    /// False if a message whose tags code is wanted is not wanted after all.
    pub(crate) fn wants_record(&self, record: &[u8]) -> bool {
        let Self::Sql(sql) = self else { return true };
        let Ok(record) = RecordView::parse(record) else { return false };
        let result = sql.evaluate(record.properties());
        if let Err(error) = result {
            tracing::debug!(topic = record.topic(), offset = %record.physical_offset(), expression = %sql, %error, "not wanted");
        }
        result == Ok(Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_decides_what_an_expression_is() {
        for all in ["", "TAG"] {
            assert_eq!(Filter::compile("*", all), Ok(Filter::All));
        }
        assert!(matches!(Filter::compile("a > 1", "SQL92"), Ok(Filter::Sql(_))));
        for (expression, expression_type) in
            [("a > 'x'", "SQL92"), ("", "SQL92"), ("a > 1", "sql92"), ("*", " ")]
        {
            let refused = Filter::compile(expression, expression_type).unwrap_err();
            assert!(matches!(refused, Refusal::ExpressionMalformed(_)), "{expression_type}: {expression}");
        }
    }

    #[test]
    fn compiles_tags() {
        let code = |tag| tags_code(Some(tag));
        for all in ["", " ", "*", " * "] {
            assert_eq!(Filter::tags(all).unwrap(), Filter::All, "{all:?}");
        }
        let filter = Filter::tags("TagA || 中文||").unwrap();
        assert!(filter.wants(code("TagA")) && filter.wants(code("中文")));
        assert!(!filter.wants(code("TagB")) && !filter.wants(TagsCode(0)));
        assert_eq!(Filter::tags("||").unwrap_err(), Refusal::SubscriptionMalformed);
        assert_eq!(Filter::tags(&"x".repeat(100_000)).unwrap_err(), Refusal::SubscriptionMalformed);
    }
}
