// SPDX-License-Identifier: Apache-2.0
//! Numbers as Java has them: which class a literal is of decides which texts of properties are numbers beside it.

use std::{cmp::Ordering, fmt};

/// A number. Java: `Integer`, `Long`, `Double`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i32),
    Long(i64),
    Double(f64),
}

impl Number {
    /// A literal without a point or an exponent; `None` beyond 64 bits.
    pub(super) fn whole(literal: &str) -> Option<Self> {
        let long: i64 = literal.trim_end_matches(['l', 'L']).parse().ok()?;
        Some(i32::try_from(long).map_or(Self::Long(long), Self::Integer))
    }

    /// A literal with a point or an exponent; `None` if it is 0 or beyond what a double can hold. Java: its check for
    /// values that are too small refuses 0.0 as well.
    pub(super) fn fraction(literal: &str) -> Option<Self> {
        literal.parse().ok().filter(|double: &f64| *double > 0.0 && double.is_finite()).map(Self::Double)
    }

    /// The number of this class that `text` is; `None` if it is none.
    pub(super) fn of_same_class(self, text: &str) -> Option<Self> {
        match self {
            Self::Integer(_) => i32::try_from(long(text)?).ok().map(Self::Integer),
            Self::Long(_) => long(text).map(Self::Long),
            Self::Double(_) => double(text).map(Self::Double),
        }
    }

    pub(super) fn negated(self) -> Self {
        // No literal is negative, so no absolute value has no negative.
        match self {
            Self::Integer(value) => Self::Integer(-value),
            Self::Long(value) => Self::Long(-value),
            Self::Double(value) => Self::Double(-value),
        }
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(other)) => one.cmp(&other),
            (Self::Integer(one), Self::Long(other)) => i64::from(one).cmp(&other),
            (Self::Long(one), Self::Integer(other)) => one.cmp(&i64::from(other)),
            (Self::Long(one), Self::Long(other)) => one.cmp(&other),
            // Java: `Double#compareTo`.
            _ => self.as_double().total_cmp(&other.as_double()),
        }
    }

    fn as_double(self) -> f64 {
        match self {
            Self::Integer(value) => value.into(),
            Self::Long(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Long(value) => value.fmt(f),
            Self::Double(value) => fmt::Debug::fmt(value, f),
        }
    }
}

/// Java: `Long#valueOf`, which takes the digits of all scripts, and no blanks.
fn long(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let mut value: i64 = 0;
    for digit in digits.chars() {
        let digit = i64::from(digit_value(digit)?);
        // Downwards, since there is one more number below 0 than above.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    if digits.is_empty() {
        None
    } else if negative {
        Some(value)
    } else {
        value.checked_neg()
    }
}

/// Digits zero of the scripts of the Basic Multilingual Plane, each followed by its nine others. Java:
/// `Character#digit(char, int)`.
const ZEROS: [char; 36] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}',
    '\u{c66}', '\u{ce6}', '\u{d66}', '\u{de6}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}', '\u{1090}',
    '\u{17e0}', '\u{1810}', '\u{1946}', '\u{19d0}', '\u{1a80}', '\u{1a90}', '\u{1b50}', '\u{1bb0}',
    '\u{1c40}', '\u{1c50}', '\u{a620}', '\u{a8d0}', '\u{a900}', '\u{a9d0}', '\u{a9f0}', '\u{aa50}',
    '\u{abf0}', '\u{ff10}',
];

fn digit_value(digit: char) -> Option<u32> {
    if digit.is_ascii() {
        return digit.to_digit(10);
    }
    ZEROS.iter().map(|&zero| u32::from(digit).wrapping_sub(zero.into())).find(|&value| value < 10)
}

/// Java: `Double#valueOf`, without hexadecimal numbers.
pub(super) fn double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c <= ' ');
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "NaN" => return Some(f64::NAN),
        "Infinity" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        "Infinity" => return Some(f64::INFINITY),
        _ => {}
    }
    let text = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    // Rust takes what Java takes, and words.
    let known = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    text.bytes().all(known).then(|| text.parse().ok())?
}
