// SPDX-License-Identifier: Apache-2.0
//! Times as people read and write them, in UTC.

use jiff::Timestamp;

/// Reads a time of RFC 3339, a day, or a number of ms since 1970; gives ms since 1970.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let time: Result<Timestamp, _> = text.parse().or_else(|_| [text, "T00:00:00Z"].concat().parse());
    let time = time.map_err(|_| "expected 2026-11-21T08:00:00Z, 2026-11-21, or ms since 1970".to_owned())?;
    Ok(time.as_millisecond())
}

/// `ms` since 1970 as RFC 3339; the number for years that it cannot have.
pub(super) fn iso(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

/// How long `ms` are, in the two largest units.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m{s:02}s"),
        (0, h, m, _) => format!("{h}h{m:02}m"),
        (d, h, _, _) => format!("{d}d{h:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(parse("1795240486115"), Ok(1_795_240_486_115));
        assert_eq!(parse("2026-11-21T05:54:46.115Z"), Ok(1_795_240_486_115));
        assert_eq!(parse("2026-11-21T13:54:46.115+08:00"), Ok(1_795_240_486_115));
        assert_eq!(parse("2026-11-21"), Ok(1_795_219_200_000));
        assert!(parse("yesterday").is_err());
        assert_eq!(iso(1_795_240_486_115), "2026-11-21T05:54:46.115Z");
        assert_eq!(iso(i64::MIN), i64::MIN.to_string());
        assert_eq!(
            (span(59_999), span(3_661_000), span(90_000_000)),
            ("59s".into(), "1h01m".into(), "1d01h".into())
        );
    }
}
