// SPDX-License-Identifier: Apache-2.0
//! Retry or dead letter: the rule alone.

use oxmq_remoting::bodies::SubscriptionGroupConfig;

/// The delay level of a message's first retry: 10 s by Java's table.
const LEVEL_OF_FIRST_RETRY: i32 = 3;

/// A message that could not be consumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Attempts that failed, the last one included. Foreign: any number.
    pub(crate) failed: i32,
    /// The delay level that the consumer wants: negative for none, a dead letter at once; 0 leaves it to the broker.
    pub(crate) level: i32,
    /// How many attempts may fail if the consumer has a limit of its own.
    pub(crate) failed_max: Option<i32>,
}

impl Failure {
    /// That of a message which a client sends to the retry topic as an ordinary one: `reconsume_times` of its header,
    /// `level` of its properties.
    ///
    /// Clients do not agree about what they count: those of 4.x that consume in order tell how often the message failed
    /// before this attempt, all others how often with it. The level is 3 + the attempts before, in all of them.
    pub(crate) fn of_resent(reconsume_times: i32, level: Option<i32>, failed_max: Option<i32>) -> Self {
        let before = level == Some(reconsume_times.saturating_add(LEVEL_OF_FIRST_RETRY));
        let failed = reconsume_times.saturating_add(before.into());
        Self { failed, level: level.unwrap_or(0).max(0), failed_max }
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is tried again after the delay of this level, which may be beyond the last one: then that counts.
    Retried { level: i32 },
    /// It becomes a dead letter.
    Dead,
}

/// Decides by the consumer's wishes and the group's settings.
pub(crate) fn decide(failure: Failure, group: &SubscriptionGroupConfig) -> Fate {
    let Failure { failed, level, failed_max } = failure;
    if level < 0 || failed > failed_max.unwrap_or(group.retry_max_times) {
        return Fate::Dead;
    }
    let by_attempts = failed.saturating_sub(1).saturating_add(LEVEL_OF_FIRST_RETRY);
    Fate::Retried { level: if level == 0 { by_attempts } else { level } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(retry_max_times: i32) -> SubscriptionGroupConfig {
        SubscriptionGroupConfig { retry_max_times, ..Default::default() }
    }

    /// The ways in which clients give a message back that failed `before` times before this attempt.
    fn given_back(way: u8, before: i32, failed_max: Option<i32>) -> Failure {
        let level = Some(3 + before);
        match way {
            0 => Failure { failed: before + 1, level: 0, failed_max },
            // The Go client names the level.
            1 => Failure { failed: before + 1, level: 3 + before, failed_max },
            2 => Failure::of_resent(before + 1, level, failed_max),
            // In order, 4.x.
            _ => Failure::of_resent(before, level, failed_max),
        }
    }

    proptest! {
        #[test]
        fn a_message_that_always_fails_is_consumed_once_and_max_times_again(
            ways in prop::collection::vec(0u8..4, 64),
            of_group in 0..40i32,
            own in prop::option::of(0..40i32),
        ) {
            // The model: what a consumer sees is its deliveries, each with how often it failed before.
            let mut deliveries = vec![(0, 0)];
            while let (before, _) = deliveries[deliveries.len() - 1]
                && let Fate::Retried { level } = decide(given_back(ways[before as usize], before, own), &group(of_group))
            {
                deliveries.push((before + 1, level));
            }
            let expected: Vec<_> = (0..=own.unwrap_or(of_group)).map(|n| (n, if n == 0 { 0 } else { n + 2 })).collect();
            prop_assert_eq!(deliveries, expected);
        }

        #[test]
        fn any_number_has_an_answer(
            failed: i32, level: i32, own: Option<i32>, of_group: i32, sent_level: Option<i32>
        ) {
            let fate = decide(Failure { failed, level, failed_max: own }, &group(of_group));
            let limit = i64::from(own.unwrap_or(of_group));
            prop_assert_eq!(fate == Fate::Dead, level < 0 || i64::from(failed) > limit);
            let resent = decide(Failure::of_resent(failed, sent_level, own), &group(of_group));
            // What was sent to the retry topic never counts for less than its header says.
            prop_assert!(i64::from(failed) <= limit || resent == Fate::Dead);
        }
    }

    #[test]
    fn the_level_is_three_more_than_the_attempts_before_unless_the_consumer_names_one() {
        let level = |failed, level| decide(Failure { failed, level, failed_max: None }, &group(16));
        assert_eq!(level(1, 0), Fate::Retried { level: 3 });
        assert_eq!(level(16, 0), Fate::Retried { level: 18 });
        assert_eq!(level(17, 0), Fate::Dead);
        assert_eq!(level(5, 1), Fate::Retried { level: 1 });
        assert_eq!(level(1, 99), Fate::Retried { level: 99 });
        assert_eq!(level(1, -1), Fate::Dead);
        assert_eq!(
            decide(Failure { failed: i32::MAX, level: 0, failed_max: Some(i32::MAX) }, &group(16)),
            Fate::Retried { level: i32::MAX }
        );
    }
}
