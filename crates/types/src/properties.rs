// SPDX-License-Identifier: Apache-2.0
//! Java's `.properties` text: what `java.util.Properties#load` reads, and what `store` would write of it.
//!
//! `#` and `!` start a comment; `=`, `:` or white space ends a key; a trailing backslash joins lines;
//! `\t \n \r \f \uXXXX` are escapes, any other escaped character stands for itself. Text is UTF-8 here, where
//! Java's default is ISO 8859-1: both agree on ASCII, and people do write Chinese into comments.

use std::{collections::BTreeMap, fmt};

/// Keys and values of a `.properties` file, sorted by key. Of a repeated key the last value counts, as in Java.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

/// What is wrong with a `.properties` text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertiesError {
    /// Line on which the wrong escape stands, from 1.
    pub line: usize,
}

impl fmt::Display for PropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: malformed \\uXXXX escape", self.line)
    }
}

impl std::error::Error for PropertiesError {}

impl Properties {
    /// Reads a whole file's text.
    ///
    /// # Errors
    /// [`PropertiesError`] for a `\u` that four hex digits do not follow; Java refuses the file for it too.
    pub fn parse(text: &str) -> Result<Self, PropertiesError> {
        let mut all = BTreeMap::new();
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let line = line.trim_start_matches([' ', '\t', '\u{c}']);
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let mut logical = line.to_owned();
            while ends_with_open_backslash(&logical) {
                logical.pop();
                let Some((_, next)) = lines.next() else { break };
                logical.push_str(next.trim_start_matches([' ', '\t', '\u{c}']));
            }
            let (key, value) = split(&logical);
            let line = at + 1;
            all.insert(unescape(key, line)?, unescape(value, line)?);
        }
        Ok(Self(all))
    }

    /// The value of `key`, `None` if absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Sets `key`, replacing what it had.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), value.into());
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl fmt::Display for Properties {
    /// One `key=value` line each, as Java's `MixAll#properties2String` answers configuration queries.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(key, value)| writeln!(f, "{key}={value}"))
    }
}

fn ends_with_open_backslash(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\u{c}');
            escaped = !escaped && c == '\\';
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let blank = [' ', '\t', '\u{c}'];
    let value = line[end..].trim_start_matches(blank);
    let value = value.strip_prefix(['=', ':']).unwrap_or(value);
    (&line[..end], value.trim_start_matches(blank))
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    // `\u` escapes are UTF-16 code units: two of them may make one character.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('u')) => {
                let hex: String = chars.by_ref().take(4).collect();
                let digits = hex.len() == 4 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                let unit = u16::from_str_radix(&hex, 16).ok().filter(|_| digits);
                units.push(unit.ok_or(PropertiesError { line })?);
                continue;
            }
            ('\\', Some('t')) => '\t',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('f')) => '\u{c}',
            ('\\', Some(other)) => other,
            ('\\', None) => break,
            (c, _) => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = Properties::parse(text).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{text:?}");
    }

    #[test]
    fn reads_what_java_reads() {
        check("brokerName=broker-a\n", &[("brokerName", "broker-a")]);
        check("# 注释\n! too\n\n  a = 1 \nb:2\nc 3\n", &[("a", "1 "), ("b", "2"), ("c", "3")]);
        check("namesrvAddr=a:9876;b:9876", &[("namesrvAddr", "a:9876;b:9876")]);
        check("messageDelayLevel=1s 5s \\\n   10s", &[("messageDelayLevel", "1s 5s 10s")]);
        check("path=C\\:\\\\x\\u4e2d\\ud83d\\ude00", &[("path", "C:\\x中😀")]);
        check("a=1\r\na=2\r\n", &[("a", "2")]);
        check("key\\ with\\=odd=v", &[("key with=odd", "v")]);
        check("empty=\nbare", &[("bare", ""), ("empty", "")]);
        check("ends=with\\", &[("ends", "with")]);
    }

    #[test]
    fn refuses_a_malformed_escape() {
        assert_eq!(Properties::parse("a=1\nb=\\u12g4").unwrap_err(), PropertiesError { line: 2 });
        assert_eq!(Properties::parse("b=\\u+123").unwrap_err(), PropertiesError { line: 1 });
    }

    #[test]
    fn prints_one_pair_a_line() {
        let all: Properties = [("b", "2"), ("a", "1")].into_iter().collect();
        assert_eq!(all.to_string(), "a=1\nb=2\n");
    }
}
