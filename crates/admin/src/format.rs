// SPDX-License-Identifier: Apache-2.0
//! Numbers, times and texts as Java prints them.

use jiff::{Timestamp, tz::TimeZone};

/// Now, in ms since 1970.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A number with `decimals` digits behind the point. Java: `%.2f`, which rounds the shortest decimal form half up,
/// where Rust rounds the exact binary value half to even.
pub(crate) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN".to_owned()
        } else if value > 0.0 {
            "Infinity".to_owned()
        } else {
            "-Infinity".to_owned()
        };
    }
    let shortest = format!("{}", value.abs());
    let (whole, fraction) = shortest.split_once('.').unwrap_or((&shortest, ""));
    let mut digits: Vec<u8> =
        whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(decimals)).collect();
    if fraction.as_bytes().get(decimals).is_some_and(|digit| *digit >= b'5') {
        let mut at = digits.len();
        loop {
            if at == 0 {
                digits.insert(0, b'1');
                break;
            }
            at -= 1;
            if digits[at] != b'9' {
                digits[at] += 1;
                break;
            }
            digits[at] = b'0';
        }
    }
    let mut text = String::from_utf8_lossy(&digits).into_owned();
    if decimals > 0 {
        text.insert(text.len() - decimals, '.');
    }
    // Java keeps the sign of what rounds to nothing.
    if value.is_sign_negative() { format!("-{text}") } else { text }
}

/// A number as Java writes a `double`: `0.0`, `12.5`, `1.0E7`.
pub(crate) fn double(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 || (1e-3..1e7).contains(&size) {
        return match value {
            value if value.is_nan() => "NaN".to_owned(),
            value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
            value => format!("{value:?}"),
        };
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, power)) if !digits.contains('.') => format!("{digits}.0E{power}"),
        _ => text,
    }
}

/// A time in ms since 1970, in the zone of this machine: `2024-01-31 23:59:59,001`.
/// Java: `UtilAll#timeMillisToHumanString2`.
pub(crate) fn time(ms: i64) -> String {
    time_in(ms, "%Y-%m-%d %H:%M:%S,%3f")
}

/// A time in ms since 1970, eight hours east of Greenwich: `2024-01-31 23:59:59`. Java: `CLusterSendMsgRTCommand`.
pub(crate) fn time_at_8(ms: i64) -> String {
    let Ok(time) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    time.to_zoned(TimeZone::fixed(jiff::tz::offset(8))).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A time as `format` (of `strftime`) says; the number itself if it is no time.
pub(crate) fn time_in(ms: i64, format: &str) -> String {
    let Ok(time) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    time.to_zoned(TimeZone::system()).strftime(format).to_string()
}

/// The first `most` characters. Java: `UtilAll#frontStringAtLeast`.
pub(crate) fn front(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_as_java_rounds() {
        for (value, decimals, expected) in [
            (0.0, 2, "0.00"),
            (1.005, 2, "1.01"),
            (0.125, 2, "0.13"),
            (2.5, 0, "3"),
            (9.995, 2, "10.00"),
            (99.999, 1, "100.0"),
            (-1.5, 0, "-2"),
            (1e21, 1, "1000000000000000000000.0"),
            (1e-9, 4, "0.0000"),
            (12.3456, 4, "12.3456"),
            (f64::NAN, 2, "NaN"),
        ] {
            assert_eq!(fixed(value, decimals), expected);
        }
        for (value, expected) in [
            (0.0, "0.0"),
            (12.5, "12.5"),
            (100.0, "100.0"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (0.0001, "1.0E-4"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(double(value), expected);
        }
    }

    #[test]
    fn times_and_texts_are_cut_as_java_cuts_them() {
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
        let text = time(1_700_000_000_001);
        assert!(text.starts_with("2023-11-1") && text.ends_with(":20,001") && text.len() == 23, "{text}");
        assert_eq!(time_at_8(1_700_000_000_001), "2023-11-15 06:13:20");
        assert_eq!((front("订单号", 2), front("ab", 5), front("", 0)), ("订单", "ab", ""));
    }
}
