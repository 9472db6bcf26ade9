// SPDX-License-Identifier: Apache-2.0
//! Words of an SQL expression. Java: the tokens of `SelectorParser.jj`; of several readings the longest counts.

use super::SqlError;

/// A word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Name of a property.
    Name(&'a str),
    /// Digits, with `l` or `L` behind them or without.
    Whole(&'a str),
    /// Digits with a point, an exponent or both.
    Fraction(&'a str),
    /// What stands between the quotes; two quotes in it are one.
    Text(&'a str),
    Keyword(Keyword),
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Open,
    Comma,
    Close,
    Plus,
    Minus,
    End,
}

/// A word that is no name of a property, however it is capitalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
}

const KEYWORDS: [(&str, Keyword); 12] = [
    ("NOT", Keyword::Not),
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("BETWEEN", Keyword::Between),
    ("IN", Keyword::In),
    ("TRUE", Keyword::True),
    ("FALSE", Keyword::False),
    ("NULL", Keyword::Null),
    ("IS", Keyword::Is),
    ("CONTAINS", Keyword::Contains),
    ("STARTSWITH", Keyword::StartsWith),
    ("ENDSWITH", Keyword::EndsWith),
];

/// Reads one word after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next word with the byte where it begins, [`Token::End`] again and again at the end.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>), SqlError> {
        self.skip_blanks_and_comments();
        let (start, rest) = (self.at, &self.text[self.at..]);
        let (length, token) = word(rest).map_err(|reason| SqlError::new(self.text, start, reason))?;
        self.at += length;
        Ok((start, token))
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
            self.at = self.text.len() - rest.len();
            let Some(length) = comment(rest) else { return };
            self.at += length;
        }
    }
}

/// Length of the comment that `rest` begins with. One from `--` on needs its end of line, as in Java.
fn comment(rest: &str) -> Option<usize> {
    if let Some(line) = rest.strip_prefix("--") {
        return Some(2 + line.find(['\n', '\r'])? + 1);
    }
    Some(2 + rest.strip_prefix("/*")?.find("*/")? + 2)
}

/// The word that `rest` begins with, and its length in bytes.
fn word(rest: &str) -> Result<(usize, Token<'_>), String> {
    let bytes = rest.as_bytes();
    let Some(first) = bytes.first() else { return Ok((0, Token::End)) };
    let second = bytes.get(1);
    Ok(match (first, second) {
        (b'=', _) => (1, Token::Equal),
        (b'<', Some(b'>')) => (2, Token::NotEqual),
        (b'<', Some(b'=')) => (2, Token::LessOrEqual),
        (b'<', _) => (1, Token::Less),
        (b'>', Some(b'=')) => (2, Token::GreaterOrEqual),
        (b'>', _) => (1, Token::Greater),
        (b'(', _) => (1, Token::Open),
        (b',', _) => (1, Token::Comma),
        (b')', _) => (1, Token::Close),
        (b'+', _) => (1, Token::Plus),
        (b'-', _) => (1, Token::Minus),
        (b'\'', _) => {
            let length = quoted(bytes).ok_or("a text has no closing quote")?;
            (length, Token::Text(&rest[1..length - 1]))
        }
        (b'0'..=b'9', _) | (b'.', Some(b'0'..=b'9')) => number(rest),
        (b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$', _) => {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
            let name = &rest[..bytes.iter().take_while(|byte| is_name(byte)).count()];
            let keyword = KEYWORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
            (name.len(), keyword.map_or(Token::Name(name), |(_, keyword)| Token::Keyword(*keyword)))
        }
        _ => {
            let unknown = rest.chars().next().unwrap_or_default();
            return Err(format!("{unknown:?} has no meaning here"));
        }
    })
}

/// Length of the text in quotes that `bytes` begins with; `None` if it does not end. If nothing else ends it, the last
/// quote that has one behind it does.
fn quoted(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut end) = (1, None);
    while let Some(quote) = bytes[at..].iter().position(|&byte| byte == b'\'') {
        at += quote + 1;
        end = Some(at);
        if bytes.get(at) != Some(&b'\'') {
            break;
        }
        at += 1;
    }
    end
}

/// The number that `rest` begins with. `007` is the number 0 and what follows it: no whole number but 0 begins with 0.
fn number(rest: &str) -> (usize, Token<'_>) {
    let bytes = rest.as_bytes();
    let digits_from = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits_from(0);
    let mut length = whole;
    if bytes.get(whole) == Some(&b'.') {
        length = whole + 1 + digits_from(whole + 1);
    }
    if let Some(b'e' | b'E') = bytes.get(length) {
        let digits = length + 1 + usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        if digits < bytes.len() && digits_from(digits) > 0 {
            length = digits + digits_from(digits);
        }
    }
    if length > whole {
        return (length, Token::Fraction(&rest[..length]));
    }
    if bytes[0] == b'0' {
        return (1, Token::Whole(&rest[..1]));
    }
    let length = whole + usize::from(matches!(bytes.get(whole), Some(b'l' | b'L')));
    (length, Token::Whole(&rest[..length]))
}
