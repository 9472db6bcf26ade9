// SPDX-License-Identifier: Apache-2.0
//! The table of delay levels: `messageDelayLevel`, read once.

/// The delays that producers can name by a number, from 1 on.
///
/// Java: `ScheduleMessageService#parseDelayLevel`, `#computeDeliverTimestamp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    delays_ms: Vec<i64>,
}

/// Java's default.
const DEFAULT: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
/// A queue each, so they are bounded as queues are.
const LEVELS_MAX: usize = 65_536;
/// What a message waits whose level has no delay any more. Java's, too.
const UNKNOWN_MS: i64 = 1_000;

impl Levels {
    /// Reads delays separated by blanks, each a number and one of `s m h d`. `None` if that is not what `text` holds.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let delays_ms: Option<Vec<_>> = text.split_whitespace().map(delay_ms).collect();
        delays_ms
            .filter(|delays| (1..=LEVELS_MAX).contains(&delays.len()))
            .map(|delays_ms| Self { delays_ms })
    }

    /// The highest level.
    #[must_use]
    pub(crate) fn max(&self) -> u32 {
        self.delays_ms.len() as u32
    }

    /// How long messages of `level`, from 1 on, wait, in ms. `None` for a level that is not configured.
    #[must_use]
    pub(crate) fn delay_ms(&self, level: u32) -> Option<i64> {
        self.delays_ms.get(level.checked_sub(1)? as usize).copied()
    }

    /// When a message of `level` is to be delivered that is stored at `stored_ms`.
    #[must_use]
    pub(crate) fn due_ms(&self, level: u32, stored_ms: i64) -> i64 {
        stored_ms.saturating_add(self.delay_ms(level).unwrap_or(UNKNOWN_MS))
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self { delays_ms: DEFAULT.split(' ').filter_map(delay_ms).collect() }
    }
}

fn delay_ms(text: &str) -> Option<i64> {
    let unit_ms = match text.chars().next_back()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let count: u32 = text[..text.len() - 1].parse().ok()?;
    Some(i64::from(count) * unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_javas_syntax() {
        let check = |text, expected: Option<&[i64]>| {
            let levels = Levels::parse(text);
            assert_eq!(levels.as_ref().map(|levels| &levels.delays_ms[..]), expected, "{text:?}");
        };
        check("1s 2m  3h 4d", Some(&[1_000, 120_000, 10_800_000, 345_600_000]));
        for wrong in ["", "5", "s", "-1s", "1w", "1s,2s", "1秒", "99999999999s"] {
            check(wrong, None);
        }
        assert_eq!(Levels::parse(DEFAULT), Some(Levels::default()));
    }

    #[test]
    fn says_when_a_level_is_due() {
        let levels = Levels::default();
        assert_eq!(levels.max(), 18);
        assert_eq!(levels.due_ms(1, 5), 1_005);
        assert_eq!(levels.due_ms(18, 0), 7_200_000);
        for unknown in [0, 19, u32::MAX] {
            assert_eq!((levels.delay_ms(unknown), levels.due_ms(unknown, 5)), (None, 1_005));
        }
    }
}
