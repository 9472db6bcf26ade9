// SPDX-License-Identifier: Apache-2.0
//! Options of a command as a table, and the command line that fits them. Java: commons-cli 1.5, `DefaultParser`.
//!
//! All spellings of commons-cli work: `-t T`, `-tT`, `-t=T`, `--topic T`, `--topic=T`, `-topic T`, `-topic=T`, and any
//! prefix of a long name that is clear. So do its messages: "Missing required option: t", "Missing argument for
//! option: t", "Unrecognized option: --x", "Ambiguous option: '--b'  (could be: ...)".
//!
//! Two options are ours and work with every command: `--output json` (`-o json` where Java has no `-o`) and
//! `--watch SECONDS`. They stand outside of the tables, so that the usage texts and the prefixes are Java's.

use std::time::Duration;

/// An option that a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opt {
    /// What stands behind one dash; empty if there is only a long name.
    pub(crate) short: &'static str,
    /// What stands behind two.
    pub(crate) long: &'static str,
    /// True if a value follows.
    pub(crate) takes_value: bool,
    /// True if the command cannot do without.
    pub(crate) required: bool,
    /// Of all options with the same mark, which is not 0, exactly one has to be given.
    pub(crate) one_of: u8,
    /// For people.
    pub(crate) description: &'static str,
}

impl Opt {
    /// An option without a value.
    pub(crate) const fn flag(short: &'static str, long: &'static str, description: &'static str) -> Self {
        Self { short, long, takes_value: false, required: false, one_of: 0, description }
    }

    /// An option with a value.
    pub(crate) const fn value(short: &'static str, long: &'static str, description: &'static str) -> Self {
        Self { takes_value: true, ..Self::flag(short, long, description) }
    }

    /// The same option, which now has to be given.
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The same option, of which and of all others with the same mark exactly one has to be given.
    pub(crate) const fn one_of(self, mark: u8) -> Self {
        Self { one_of: mark, ..self }
    }

    /// The name by which commons-cli sorts and names it.
    pub(crate) fn key(&self) -> &'static str {
        if self.short.is_empty() { self.long } else { self.short }
    }
}

const HELP: Opt = Opt::flag("h", "help", "Print help");
const NAMESRV: Opt =
    Opt::value("n", "namesrvAddr", "Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'");

/// `options` with those that every command has, in the order in which Java adds them.
pub(crate) fn with_common(options: &[Opt]) -> Vec<Opt> {
    let mut all = vec![HELP, NAMESRV];
    for option in options {
        match all.iter_mut().find(|known| known.key() == option.key()) {
            Some(known) => *known = *option,
            None => all.push(*option),
        }
    }
    all
}

/// In what form a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Output {
    /// Java's lines and columns.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// What was given on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Given {
    values: Vec<(&'static str, String)>,
    /// What is no option. Java ignores it, and so do we.
    pub(crate) strays: Vec<String>,
    /// `-o json`.
    pub(crate) output: Output,
    /// `--watch`: how long to wait before the command runs again.
    pub(crate) watch: Option<Duration>,
}

impl Given {
    /// True if the option was given. `key`: its short name, or its long one if it has no other.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.values.iter().any(|(known, _)| *known == key)
    }

    /// The value of an option without the blanks around it, of which Java takes the first if there are several.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| *known == key).map(|(_, value)| value.trim())
    }

    /// The value of an option that the table says is required.
    pub(crate) fn required(&self, key: &str) -> &str {
        self.value(key).unwrap_or_default()
    }

    /// The value of an option as a number; `None` if it was not given.
    ///
    /// # Errors
    /// [`UsageError::NotANumber`] if it is none, or does not fit.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, UsageError> {
        let Some(text) = self.value(key) else { return Ok(None) };
        let wrong = || UsageError::NotANumber { option: key.to_owned(), value: shorten(text) };
        text.parse().map(Some).map_err(|_| wrong())
    }

    /// True if the option was given as `true`, in any case. Java: `Boolean#parseBoolean`.
    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// A command line that a command cannot be run with. Where commons-cli has a message, it is this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UsageError {
    /// Something behind a dash that is no option.
    #[error("Unrecognized option: {0}")]
    Unrecognized(String),
    /// A prefix of several long names.
    #[error("Ambiguous option: '{0}'  (could be: {1})")]
    Ambiguous(String, String),
    /// An option at the end, or before another one, that wants a value.
    #[error("Missing argument for option: {0}")]
    MissingValue(String),
    /// Options that have to be given.
    #[error("Missing required option{}: {}", if .0.len() == 1 { "" } else { "s" }, .0.join(", "))]
    Missing(Vec<String>),
    /// Options of which only one may be given.
    #[error("The option '{0}' was specified but an option from this group has already been selected: '{1}'")]
    Contradiction(String, String),
    /// A value that is no number.
    #[error("-{option} wants a number, not \"{value}\"")]
    NotANumber {
        /// Key of the option.
        option: String,
        /// What was given.
        value: String,
    },
    /// A value that an option does not take.
    #[error("{0}")]
    Wrong(String),
}

/// A value as it may stand in a message: an argument may have 4 MB.
pub(crate) fn shorten(text: &str) -> String {
    const MAX: usize = 80;
    match text.char_indices().nth(MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
    }
}

/// Reads the arguments of a command.
///
/// # Errors
/// [`UsageError`] as commons-cli would complain, also about what is missing; with `-h` nothing is missing.
pub(crate) fn parse(options: &[Opt], args: &[String]) -> Result<Given, UsageError> {
    let mut parser =
        Parser { options, given: Given::default(), open: None, selected: Vec::new(), rest: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let is_value = parser.open.is_some_and(|open| parser.is_value(open, arg));
        if !is_value
            && !parser.rest
            && let Some((name, inline)) = parser.ours(arg)
        {
            parser.end_open()?;
            parser.take_ours(name, inline.or_else(|| args.next().map(String::as_str)))?;
            continue;
        }
        parser.token(arg)?;
    }
    parser.end_open()?;
    let Parser { given, options, .. } = parser;
    if !given.has("h") {
        require(options, &given)?;
    }
    Ok(given)
}

fn require(options: &[Opt], given: &Given) -> Result<(), UsageError> {
    let mut missing = Vec::new();
    let mut groups_seen = Vec::new();
    for option in options {
        let mark = option.one_of;
        if mark != 0 && !groups_seen.contains(&mark) {
            groups_seen.push(mark);
            let group = || options.iter().filter(|other| other.one_of == mark);
            if !group().any(|other| given.has(other.key())) {
                let names: Vec<_> =
                    group().map(|other| format!("-{} {}", other.key(), other.description)).collect();
                missing.push(format!("[{}]", names.join(", ")));
            }
        } else if option.required && !given.has(option.key()) {
            missing.push(option.key().to_owned());
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(UsageError::Missing(missing)) }
}

struct Parser<'a> {
    options: &'a [Opt],
    given: Given,
    /// The option that waits for its value.
    open: Option<Opt>,
    /// The options of groups that were given.
    selected: Vec<Opt>,
    /// True behind `--`.
    rest: bool,
}

impl Parser<'_> {
    fn short(&self, name: &str) -> Option<Opt> {
        self.options.iter().find(|option| !option.short.is_empty() && option.short == name).copied()
    }

    fn long(&self, name: &str) -> Option<Opt> {
        self.options.iter().find(|option| option.long == name).copied()
    }

    /// What `name` may mean: the option with that long name, or all whose names begin so.
    fn matching(&self, name: &str) -> Vec<Opt> {
        match self.long(name) {
            Some(option) => vec![option],
            None => self.options.iter().filter(|option| option.long.starts_with(name)).copied().collect(),
        }
    }

    /// The longest long name with which `text` begins, if a value follows right behind it.
    fn long_prefix(&self, text: &str) -> Option<Opt> {
        (2..text.len().saturating_sub(1))
            .rev()
            .filter(|end| text.is_char_boundary(*end))
            .find_map(|end| self.long(&text[..end]))
    }

    fn is_value(&self, _open: Opt, token: &str) -> bool {
        !self.is_option(token) || token.parse::<f64>().is_ok()
    }

    fn is_option(&self, token: &str) -> bool {
        let Some(text) = token.strip_prefix('-').filter(|text| !text.is_empty()) else { return false };
        let name = text.split('=').next().unwrap_or_default();
        let long = name.strip_prefix('-').unwrap_or(name);
        let first = name.chars().next().map(String::from).unwrap_or_default();
        !self.matching(long).is_empty()
            || (!token.starts_with("--") && self.long_prefix(text).is_some())
            || self.short(name).is_some()
            || self.short(&first).is_some()
    }

    /// The name of an option of ours that `token` is, and the value that stands behind `=`.
    fn ours<'t>(&self, token: &'t str) -> Option<(&'static str, Option<&'t str>)> {
        for name in ["output", "watch"] {
            let Some(rest) = token.strip_prefix("--").and_then(|text| text.strip_prefix(name)) else {
                continue;
            };
            if self.long(name).is_none() && (rest.is_empty() || rest.starts_with('=')) {
                return Some((name, rest.strip_prefix('=')));
            }
        }
        match token {
            "-o" if self.short("o").is_none() => Some(("output", None)),
            "-ojson" | "-o=json" if self.short("o").is_none() => Some(("output", Some("json"))),
            _ => None,
        }
    }

    fn take_ours(&mut self, name: &'static str, value: Option<&str>) -> Result<(), UsageError> {
        let value = value.ok_or_else(|| UsageError::MissingValue(name.to_owned()))?;
        if name == "output" {
            self.given.output = match value {
                "json" => Output::Json,
                "text" => Output::Text,
                other => {
                    let other = shorten(other);
                    return Err(UsageError::Wrong(format!("--output is json or text, not \"{other}\"")));
                }
            };
            return Ok(());
        }
        // A tenth of a second is often enough for eyes; more often is load on the brokers.
        let seconds = value.parse::<f64>().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
        let Some(seconds) = seconds else {
            let value = shorten(value);
            return Err(UsageError::Wrong(format!(
                "--watch wants seconds, from 0.1 to 86400, not \"{value}\""
            )));
        };
        self.given.watch = Some(Duration::from_secs_f64(seconds));
        Ok(())
    }

    fn token(&mut self, token: &str) -> Result<(), UsageError> {
        if self.rest {
            self.given.strays.push(token.to_owned());
            return Ok(());
        }
        if token == "--" {
            self.rest = true;
            return Ok(());
        }
        if let Some(open) = self.open
            && self.is_value(open, token)
        {
            self.set(open, unquote(token));
            return Ok(());
        }
        if let Some(text) = token.strip_prefix("--") {
            return self.long_option(token, text);
        }
        match token.strip_prefix('-') {
            Some(text) if !text.is_empty() => self.short_or_long_option(token, text),
            _ => self.unknown(token),
        }
    }

    fn unknown(&mut self, token: &str) -> Result<(), UsageError> {
        if token.starts_with('-') && token.len() > 1 {
            return Err(UsageError::Unrecognized(shorten(token)));
        }
        self.given.strays.push(token.to_owned());
        Ok(())
    }

    /// `text`: the token without its dashes.
    fn long_option(&mut self, token: &str, text: &str) -> Result<(), UsageError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let matching = self.matching(name);
        let option = match matching.as_slice() {
            [] => return self.unknown(token),
            [only] => *only,
            several => {
                let names: Vec<_> = several.iter().map(|option| format!("'{}'", option.long)).collect();
                let shown = token.split('=').next().unwrap_or(token);
                return Err(UsageError::Ambiguous(shorten(shown), names.join(", ")));
            }
        };
        match value {
            None => self.open(option),
            Some(value) if option.takes_value => {
                self.open(option)?;
                self.set(option, value);
                Ok(())
            }
            Some(_) => self.unknown(token),
        }
    }

    fn short_or_long_option(&mut self, token: &str, text: &str) -> Result<(), UsageError> {
        if let Some((name, value)) = text.split_once('=') {
            if name.chars().count() != 1 {
                return self.long_option(token, text);
            }
            return match self.short(name).filter(|option| option.takes_value) {
                Some(option) => {
                    self.open(option)?;
                    self.set(option, value);
                    Ok(())
                }
                None => self.unknown(token),
            };
        }
        if let Some(option) = self.short(text) {
            return self.open(option);
        }
        if text.chars().count() == 1 {
            return self.unknown(token);
        }
        if !self.matching(text).is_empty() {
            return self.long_option(token, text);
        }
        if let Some(option) = self.long_prefix(text).filter(|option| option.takes_value) {
            self.open(option)?;
            self.set(option, &text[option.long.len()..]);
            return Ok(());
        }
        self.joined_options(token, text)
    }

    /// `-cm` for `-c -m`, and `-tT` for `-t T`.
    fn joined_options(&mut self, token: &str, text: &str) -> Result<(), UsageError> {
        for (at, letter) in text.char_indices() {
            let Some(option) = self.short(letter.encode_utf8(&mut [0; 4])) else {
                return self.unknown(token);
            };
            self.open(option)?;
            let rest = &text[at + letter.len_utf8()..];
            if option.takes_value && !rest.is_empty() {
                self.set(option, rest);
                break;
            }
        }
        Ok(())
    }

    fn open(&mut self, option: Opt) -> Result<(), UsageError> {
        self.end_open()?;
        if option.one_of != 0 {
            match self.selected.iter().find(|other| other.one_of == option.one_of) {
                None => self.selected.push(option),
                Some(other) if other.key() == option.key() => {}
                Some(other) => {
                    return Err(UsageError::Contradiction(option.key().to_owned(), other.key().to_owned()));
                }
            }
        }
        if option.takes_value {
            self.open = Some(option);
        } else {
            self.given.values.push((option.key(), String::new()));
        }
        Ok(())
    }

    fn set(&mut self, option: Opt, value: &str) {
        self.given.values.push((option.key(), value.to_owned()));
        self.open = None;
    }

    fn end_open(&self) -> Result<(), UsageError> {
        match self.open {
            Some(option) => Err(UsageError::MissingValue(option.key().to_owned())),
            None => Ok(()),
        }
    }
}

/// A value without the quotes around it, which some shells of some systems leave there.
fn unquote(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] = &[
        Opt::value("b", "brokerAddr", "create topic to which broker").one_of(1),
        Opt::value("c", "clusterName", "create topic to which cluster").one_of(1),
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("r", "readQueueNums", "set read queue nums"),
        Opt::value("", "retryMax", "long only"),
        Opt::flag("l", "list", "list"),
        Opt::flag("m", "more", "more"),
        Opt::value("ip", "ipList", "two letters"),
    ];

    fn given(line: &str) -> Result<Given, String> {
        let args: Vec<_> = line.split(' ').filter(|arg| !arg.is_empty()).map(str::to_owned).collect();
        parse(&with_common(OPTIONS), &args).map_err(|error| error.to_string())
    }

    #[test]
    fn every_spelling_of_commons_cli_works() {
        for line in [
            "-b a -t T",
            "-ba -tT",
            "-b=a -t=T",
            "--brokerAddr a --topic T",
            "--brokerAddr=a --topic=T",
            "-brokerAddr a -topic T",
            "-brokerAddr=a -topic=T",
            "--bro a --top T",
            "-b \"a\" -t T stray",
            "-t T -b a -- -x",
            "-t T -t U -b a",
        ] {
            let given = given(line).unwrap();
            assert_eq!((given.value("b"), given.value("t")), (Some("a"), Some("T")), "{line}");
        }
        // A value of one letter behind a long name is one of the short name, in Java, too.
        let behind = given("-brokerAddr1.2.3.4:5 -topicT").unwrap();
        assert_eq!((behind.value("b"), behind.value("t")), (Some("1.2.3.4:5"), Some("opicT")));
        let joined = given("-lmba -tT").unwrap();
        assert!(joined.has("l") && joined.has("m") && !joined.has("r"));
        let more = given("-b a -t T -ip 1,2 --retryMax -3 -r -1 -n x:1;y:2").unwrap();
        assert_eq!(
            (more.value("ip"), more.value("retryMax"), more.value("r")),
            (Some("1,2"), Some("-3"), Some("-1"))
        );
        assert_eq!((more.number("r"), more.value("n")), (Ok(Some(-1)), Some("x:1;y:2")));
        // What is no option is a value, dash or not.
        assert_eq!(given("-b a -t -x").unwrap().value("t"), Some("-x"));
    }

    #[test]
    fn complaints_are_those_of_commons_cli() {
        for (line, message) in [
            ("-b a", "Missing required option: t"),
            (
                "-l",
                "Missing required options: [-b create topic to which broker, -c create topic to which cluster], t",
            ),
            ("-b a -t T -x", "Unrecognized option: -x"),
            ("-b a -t T --no-such=1", "Unrecognized option: --no-such=1"),
            ("-b a -t T --list=1", "Unrecognized option: --list=1"),
            ("-b a -t T -l=1", "Unrecognized option: -l=1"),
            ("-b a -t T -lx", "Unrecognized option: -lx"),
            ("-b a -t T -xyz", "Unrecognized option: -xyz"),
            ("-b a -t", "Missing argument for option: t"),
            ("-b -t T", "Missing argument for option: b"),
            ("-b a -t T --re 1", "Ambiguous option: '--re'  (could be: 'readQueueNums', 'retryMax')"),
            (
                "-b a -c d -t T",
                "The option 'c' was specified but an option from this group has already been selected: 'b'",
            ),
        ] {
            assert_eq!(given(line).unwrap_err(), message, "{line}");
        }
        assert!(given("-h").unwrap().has("h"));
        let wrong = given("-b a -t T -r many").unwrap().number::<i32>("r").unwrap_err();
        assert_eq!(wrong.to_string(), "-r wants a number, not \"many\"");
    }

    #[test]
    fn our_own_options_do_not_get_in_the_way_of_javas() {
        let ours = given("-o json -b a --watch 2 -t T").unwrap();
        assert_eq!((ours.output, ours.watch), (Output::Json, Some(Duration::from_secs(2))));
        assert_eq!(given("--output=json -b a -t T").unwrap().output, Output::Json);
        // As the value of another option they are just that.
        assert_eq!(given("-b a -t --watch").unwrap().value("t"), Some("--watch"));
        for (line, message) in [
            ("-b a -t T -o xml", "--output is json or text, not \"xml\""),
            ("-b a -t T --watch 0", "--watch wants seconds, from 0.1 to 86400, not \"0\""),
            ("-b a -t T --watch NaN", "--watch wants seconds, from 0.1 to 86400, not \"NaN\""),
            ("-b a -t T --watch", "Missing argument for option: watch"),
        ] {
            assert_eq!(given(line).unwrap_err(), message);
        }
        let order = [Opt::value("o", "order", "")];
        let args = ["-o", "json", "--output", "json"].map(str::to_owned);
        let given = parse(&with_common(&order), &args).unwrap();
        assert_eq!((given.value("o"), given.output), (Some("json"), Output::Json));
    }

    #[test]
    fn a_huge_argument_is_no_huge_message() {
        let huge = "é".repeat(2 << 20);
        let options = with_common(OPTIONS);
        let args = ["-b", "a", "-t", &huge, "-r", &huge].map(str::to_owned);
        let given = parse(&options, &args).unwrap();
        assert_eq!(given.value("t").unwrap().len(), 4 << 20);
        assert!(given.number::<i32>("r").unwrap_err().to_string().len() < 250);
        let error = parse(&options, &[format!("--{huge}")]).unwrap_err();
        assert!(error.to_string().len() < 250);
    }
}
