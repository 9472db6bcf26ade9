// SPDX-License-Identifier: Apache-2.0
//! The usage text of a command. Java: commons-cli's `HelpFormatter` at a width of 110.

use super::option::Opt;

const WIDTH: usize = 110;
/// Blanks before an option, and between the names and the description.
const LEFT: usize = 1;
const GAP: usize = 3;

/// What `help COMMAND` prints. `options`: with those that every command has.
pub(crate) fn usage(command: &str, options: &[Opt]) -> String {
    let mut sorted = options.to_vec();
    sorted.sort_by_key(|option| option.key().to_lowercase());

    let mut line = format!("usage: {command} ");
    let mut groups_shown = Vec::new();
    for (at, option) in sorted.iter().enumerate() {
        let mark = option.one_of;
        if mark == 0 {
            push_option(&mut line, option, option.required);
        } else if !groups_shown.contains(&mark) {
            groups_shown.push(mark);
            for (at, option) in sorted.iter().filter(|other| other.one_of == mark).enumerate() {
                line.push_str(if at == 0 { "" } else { " | " });
                push_option(&mut line, option, true);
            }
        }
        // COMPAT(java): a blank stands also behind an option that was shown with its group before.
        if at + 1 < sorted.len() {
            line.push(' ');
        }
    }
    let mut text = String::new();
    push_wrapped(&mut text, "usage: ".len(), &line);
    text.push('\n');

    let names: Vec<String> = sorted.iter().map(names).collect();
    let widest = names.iter().map(String::len).max().unwrap_or(0);
    for (name, option) in names.iter().zip(&sorted) {
        let line = format!("{name:widest$}{:GAP$}{}", "", option.description);
        push_wrapped(&mut text, widest + GAP, &line);
        text.push('\n');
    }
    text
}

fn push_option(line: &mut String, option: &Opt, required: bool) {
    let dashes = if option.short.is_empty() { "--" } else { "-" };
    let value = if option.takes_value { " <arg>" } else { "" };
    let text = format!("{dashes}{}{value}", option.key());
    line.push_str(&if required { text } else { format!("[{text}]") });
}

fn names(option: &Opt) -> String {
    let value = if option.takes_value { " <arg>" } else { "" };
    let short = if option.short.is_empty() { "   ".to_owned() } else { format!("-{},", option.short) };
    format!("{:LEFT$}{short}--{}{value}", "", option.long)
}

/// Adds `text` in lines of at most [`WIDTH`] characters, all but the first indented by `indent`.
fn push_wrapped(out: &mut String, indent: usize, text: &str) {
    let indent = if indent >= WIDTH { 1 } else { indent };
    let mut text = text.to_owned();
    let mut first = true;
    loop {
        let Some(mut end) = wrap_at(&text) else {
            return out.push_str(if first { text.trim_end() } else { &text });
        };
        // Nothing but the indent would fit: what follows is cut.
        if !first && text.len() > WIDTH && end + 1 == indent {
            end = WIDTH;
        }
        out.push_str(text[..end].trim_end());
        out.push('\n');
        text = format!("{:indent$}{}", "", text[end..].trim());
        first = false;
    }
}

/// Where a line ends: at a newline, else at the last blank that fits; `None` if all fits.
fn wrap_at(text: &str) -> Option<usize> {
    for end in [text.find('\n'), text.find('\t')].into_iter().flatten() {
        if end <= WIDTH {
            return Some(end + 1);
        }
    }
    if WIDTH >= text.len() {
        return None;
    }
    // All texts are ASCII, so that bytes are characters; the boundary is looked at for the day when one is not.
    let blank =
        text.as_bytes()[..=WIDTH].iter().rposition(|byte| matches!(byte, b' ' | b'\r')).filter(|at| *at > 0);
    blank.or_else(|| (1..=WIDTH).rev().find(|at| text.is_char_boundary(*at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::option::with_common;

    #[test]
    fn a_usage_text_is_wrapped_as_java_wraps_it() {
        let options = [
            Opt::value("b", "brokerAddr", "create topic to which broker").one_of(1),
            Opt::value("c", "clusterName", "create topic to which cluster").one_of(1),
            Opt::value("a", "attributes", "attribute(+a=b,+c=d,-e)"),
            Opt::value("t", "topic", "topic name").required(),
            Opt::value("r", "readQueueNums", "set read queue nums"),
            Opt::value("w", "writeQueueNums", "set write queue nums"),
            Opt::value("p", "perm", "set topic's permission(2|4|6), intro[2:W 4:R; 6:RW]"),
            Opt::value("o", "order", "set topic's order(true|false)"),
            Opt::value("u", "unit", "is unit topic (true|false)"),
            Opt::value("s", "hasUnitSub", "has unit sub (true|false)"),
        ];
        // Written by the Java tool.
        let expected = "\
usage: mqadmin updateTopic [-a <arg>] -b <arg> | -c <arg>  [-h] [-n <arg>] [-o <arg>] [-p <arg>] [-r <arg>]
       [-s <arg>] -t <arg> [-u <arg>] [-w <arg>]
 -a,--attributes <arg>       attribute(+a=b,+c=d,-e)
 -b,--brokerAddr <arg>       create topic to which broker
 -c,--clusterName <arg>      create topic to which cluster
 -h,--help                   Print help
 -n,--namesrvAddr <arg>      Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'
 -o,--order <arg>            set topic's order(true|false)
 -p,--perm <arg>             set topic's permission(2|4|6), intro[2:W 4:R; 6:RW]
 -r,--readQueueNums <arg>    set read queue nums
 -s,--hasUnitSub <arg>       has unit sub (true|false)
 -t,--topic <arg>            topic name
 -u,--unit <arg>             is unit topic (true|false)
 -w,--writeQueueNums <arg>   set write queue nums
";
        assert_eq!(usage("mqadmin updateTopic", &with_common(&options)), expected);
    }
}
