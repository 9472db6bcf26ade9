// SPDX-License-Identifier: Apache-2.0
//! Which messages of a queue a subscription wants, decided by the tags code of a consume queue unit.
//!
//! Hashes collide, so a client compares the tags themselves once more. The hashes are made here from the expression
//! and not taken from the client: the Go client 2.1 hashes bytes, and its Chinese tags would never match.
//! Java: `FilterAPI`, `ExpressionMessageFilter`.

use crate::refusal::Refusal;
use oxmq_types::{TagsCode, tags_code};

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Everything.
    All,
    /// Messages with one of these tags codes.
    Tags(Vec<TagsCode>),
}

/// Longest expression of tags, in bytes; more than a header may hold is no expression.
const EXPRESSION_MAX_BYTES: usize = 64 * 1024;

impl Filter {
    /// Compiles an expression of `expression_type`, `TAG` if empty. `property_filter`: `enablePropertyFilter`.
    pub(crate) fn compile(
        expression: &str,
        expression_type: &str,
        property_filter: bool,
    ) -> Result<Self, Refusal> {
        match expression_type {
            "" | "TAG" => Self::tags(expression),
            other if property_filter => Err(Refusal::System(format!(
                "filtering by {other} is not supported by this version of the broker"
            ))),
            other => Err(Refusal::NoPropertyFilter(other.to_owned())),
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
        let codes: Vec<_> = tags.map(|tag| tags_code(Some(tag))).collect();
        if codes.is_empty() { Err(Refusal::SubscriptionMalformed) } else { Ok(Self::Tags(codes)) }
    }

    pub(crate) fn wants(&self, code: TagsCode) -> bool {
        match self {
            Self::All => true,
            Self::Tags(codes) => codes.contains(&code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tags_are_compiled() {
        assert_eq!(Filter::compile("*", "", false), Ok(Filter::All));
        assert_eq!(Filter::compile("*", "TAG", true), Ok(Filter::All));
        let refused = |property_filter| Filter::compile("a > 1", "SQL92", property_filter).unwrap_err();
        assert_eq!(refused(false), Refusal::NoPropertyFilter("SQL92".into()));
        assert!(matches!(refused(true), Refusal::System(_)));
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
