// SPDX-License-Identifier: Apache-2.0
//! What a consumer wants of a topic.
//!
//! Java: `FilterAPI`, `MessageSelector`, `SubscriptionData`.

use oxmq_remoting::bodies::SubscriptionData;
use oxmq_types::java_string_hash;
use std::collections::BTreeSet;
use thiserror::Error;

/// Longest expression, in bytes; brokers refuse longer ones.
const EXPRESSION_MAX: usize = 64 << 10;

/// Which messages of a topic are wanted. Java: `MessageSelector`.
///
/// ```
/// use oxmq_client::consumer::Filter;
///
/// let all = Filter::all();
/// let some = Filter::tags("paid || refunded");
/// let large = Filter::sql("amount > 1000 AND currency = 'EUR'");
/// assert_eq!(Filter::from("paid"), Filter::tags("paid"));
/// # let _ = (all, some, large);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    expression: String,
    sql: bool,
}

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FilterError {
    /// `||` and nothing else.
    #[error("the filter {0:?} of topic {1} names no tag; write * for all messages")]
    NoTag(String, String),
    /// An SQL92 expression without a character.
    #[error("the SQL92 filter of topic {0} is empty")]
    Empty(String),
    /// Longer than brokers take.
    #[error("the filter of topic {topic} has {bytes} bytes, at most {EXPRESSION_MAX} are possible")]
    TooLong {
        /// The topic.
        topic: String,
        /// Bytes of the expression.
        bytes: usize,
    },
}

impl Filter {
    /// Every message.
    #[must_use]
    pub fn all() -> Self {
        Self::tags("*")
    }

    /// Messages with one of these tags, separated by `||`; `*` or nothing for all, also those without a tag.
    ///
    /// The broker filters by the hash of the tag, the client then by the tag itself.
    #[must_use]
    pub fn tags(expression: impl Into<String>) -> Self {
        Self { expression: expression.into(), sql: false }
    }

    /// Messages whose properties fulfil an SQL92 expression, of at most 64 KiB. The broker, which alone looks at it, must have
    /// `enablePropertyFilter=true`; what is wrong with the expression it tells when the consumer starts.
    #[must_use]
    pub fn sql(expression: impl Into<String>) -> Self {
        Self { expression: expression.into(), sql: true }
    }

    /// The expression.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// `TAG` or `SQL92`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.sql { "SQL92" } else { "TAG" }
    }
}

impl From<&str> for Filter {
    /// Tags.
    fn from(tags: &str) -> Self {
        Self::tags(tags)
    }
}

impl From<String> for Filter {
    /// Tags.
    fn from(tags: String) -> Self {
        Self::tags(tags)
    }
}

/// A topic with its filter, ready to be told to brokers and to filter with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// As heartbeats have it.
    pub(crate) data: SubscriptionData,
    /// Tags to compare with; none if all messages are wanted, or SQL92 decides.
    tags: BTreeSet<String>,
}

impl Subscription {
    /// `version`: ms since 1970; the broker takes the greater for the newer.
    pub(crate) fn new(topic: &str, filter: &Filter, version: i64) -> Result<Self, FilterError> {
        let Filter { expression, sql } = filter;
        if expression.len() > EXPRESSION_MAX {
            return Err(FilterError::TooLong { topic: topic.to_owned(), bytes: expression.len() });
        }
        let mut tags = BTreeSet::new();
        let mut sub_string = expression.clone();
        if *sql {
            if expression.trim().is_empty() {
                return Err(FilterError::Empty(topic.to_owned()));
            }
        } else if expression.trim().is_empty() || expression.trim() == "*" {
            sub_string = "*".to_owned();
        } else {
            tags = expression
                .split("||")
                .map(str::trim)
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect();
            if tags.is_empty() {
                return Err(FilterError::NoTag(expression.clone(), topic.to_owned()));
            }
        }
        let data = SubscriptionData {
            topic: topic.to_owned(),
            sub_string,
            tags_set: tags.iter().cloned().collect(),
            code_set: tags.iter().map(|tag| java_string_hash(tag)).collect(),
            sub_version: version,
            expression_type: filter.kind().to_owned(),
            ..SubscriptionData::default()
        };
        Ok(Self { data, tags })
    }

    /// True if a message with this tag, which is only looked for if it matters, is wanted. Brokers compare hashes, which
    /// different tags may share.
    pub(crate) fn wants<T: AsRef<str>>(&self, tag: impl FnOnce() -> Option<T>) -> bool {
        self.tags.is_empty() || tag().is_some_and(|tag| self.tags.contains(tag.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_what_java_tells_brokers() {
        let of = |tags: &str| Subscription::new("T", &Filter::tags(tags), 7).unwrap().data;
        let data = of(" TagA||中文标签 || ||TagA");
        assert_eq!(data.tags_set, ["TagA", "中文标签"]);
        assert_eq!(data.code_set, [2_598_919, 622_041_809]);
        assert_eq!(
            (data.sub_string.as_str(), data.expression_type.as_str()),
            (" TagA||中文标签 || ||TagA", "TAG")
        );
        for all in ["*", "", " * "] {
            assert_eq!((of(all).sub_string.as_str(), of(all).code_set.len()), ("*", 0));
        }
    }

    #[test]
    fn a_tag_with_the_same_hash_is_not_wanted() {
        // "Aa" and "BB" have the same Java hash.
        let subscription = Subscription::new("T", &Filter::tags("Aa"), 0).unwrap();
        assert!(subscription.wants(|| Some("Aa")));
        assert!(!subscription.wants(|| Some("BB")));
        assert!(!subscription.wants(|| None::<&str>));
        let sql = Subscription::new("T", &Filter::sql("a = 1"), 0).unwrap();
        assert!(sql.wants(|| None::<&str>) && sql.wants(|| Some("BB")));
    }

    #[test]
    fn a_filter_that_says_nothing_is_refused() {
        let error = |filter: Filter| Subscription::new("T", &filter, 0).unwrap_err();
        assert_eq!(error(Filter::tags("|| ||")), FilterError::NoTag("|| ||".into(), "T".into()));
        assert_eq!(error(Filter::sql(" ")), FilterError::Empty("T".into()));
        assert!(matches!(
            error(Filter::tags("x".repeat(65_537))),
            FilterError::TooLong { bytes: 65_537, .. }
        ));
    }
}
