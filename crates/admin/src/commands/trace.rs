// SPDX-License-Identifier: Apache-2.0
//! Traces that clients sent: `queryMsgTraceById`.
//!
//! A trace is text: contexts end with byte 2, their fields with byte 1. Which fields there are depends on the first one,
//! and on the age of the client. Java: `TraceDataEncoder`, `TraceView`.

use super::{Command, message_text::in_usual_order, run};
use crate::{
    admin::KeyQuery,
    cli::{CommandError, Context, Given, Opt},
    format::time_in,
};
use serde::Serialize;
use std::fmt::Write;

pub(super) static QUERY_MSG_TRACE_BY_ID: Command = Command {
    name: "queryMsgTraceById",
    alias: Some("QueryMsgTraceById"),
    description: "Query a message trace.",
    options: &[
        Opt::value("i", "msgId", "Message Id").required(),
        Opt::value("t", "traceTopic", "The name value of message trace topic"),
        Opt::value("b", "beginTimestamp", "Begin timestamp(ms). default:0, eg:1676730526212"),
        Opt::value("e", "endTimestamp", "End timestamp(ms). default:Long.MAX_VALUE, eg:1676730526212"),
        Opt::value("c", "maxNum", "The maximum number of messages returned by the query, default:64"),
    ],
    run: run!(query_trace),
};

/// Where clients send traces, unless told otherwise.
const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";

/// One thing that happened to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct TraceView {
    /// `Pub`, `SubBefore`, `SubAfter`, `EndTransaction`, `Recall`.
    kind: String,
    group_name: String,
    client_host: String,
    time_stamp: i64,
    cost_time_ms: i64,
    success: bool,
}

async fn query_trace(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let id = given.required("i");
    let query = KeyQuery {
        topic: given.value("t").unwrap_or(TRACE_TOPIC),
        key: id,
        unique: false,
        cluster: None,
        max: given.number("c")?.unwrap_or(64),
        begin_ms: given.number("b")?.unwrap_or(0),
        end_ms: given.number("e")?.unwrap_or(i64::MAX),
    };
    if query.max <= 0 || query.begin_ms > query.end_ms {
        return Err(CommandError::usage("-c wants a number above 0, and -b must not lie after -e"));
    }
    let mut views = Vec::new();
    for message in context.admin.query_message(query).await? {
        let host = message.born_host().ip().to_canonical().to_string();
        let text = String::from_utf8_lossy(message.body());
        views.extend(text.split('\u{2}').filter_map(|context| view(context, id, &host)));
    }
    context.show(&views, |views| render(views))
}

/// What one context says of the message `id`. `None` if it is of another, or cannot be read. `sent_from`: the client's
/// address, as the broker saw it; what newer contexts say of it, Java does not show.
fn view(context: &str, id: &str, sent_from: &str) -> Option<TraceView> {
    let fields: Vec<&str> = context.split('\u{1}').collect();
    let field = |at: usize| fields.get(at).copied();
    let number = |at: usize| field(at)?.parse::<i64>().ok();
    let truth = |at: usize| field(at).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let kind = field(0)?;
    let base = TraceView {
        kind: kind.to_owned(),
        group_name: String::new(),
        client_host: sent_from.to_owned(),
        time_stamp: 0,
        cost_time_ms: 0,
        success: false,
    };
    let group = |at: usize| field(at).unwrap_or_default().to_owned();
    let (of, view) = match kind {
        "Pub" => {
            // The fourteenth field came with 4.5.
            let success = if fields.len() == 13 { truth(12) } else { truth(13) };
            let (time_stamp, cost_time_ms) = (number(1)?, number(10)?);
            (field(5)?, TraceView { group_name: group(3), time_stamp, cost_time_ms, success, ..base })
        }
        "SubBefore" => (field(5)?, TraceView { group_name: group(3), time_stamp: number(1)?, ..base }),
        "SubAfter" => {
            // The last two came with 4.7, and not from clients of the cloud.
            let (time_stamp, group_name) =
                if fields.len() >= 9 { (number(7)?, group(8)) } else { (0, String::new()) };
            let view =
                TraceView { group_name, time_stamp, cost_time_ms: number(3)?, success: truth(4), ..base };
            (field(2)?, view)
        }
        "EndTransaction" => (field(5)?, TraceView { group_name: group(3), time_stamp: number(1)?, ..base }),
        "Recall" => {
            let view = TraceView { group_name: group(3), time_stamp: number(1)?, success: truth(6), ..base };
            (field(5)?, view)
        }
        _ => return None,
    };
    (of == id).then_some(view)
}

fn render(views: &[TraceView]) -> String {
    let mut out = String::new();
    let row = |out: &mut String, cells: [&str; 6]| {
        let [kind, group, host, time, cost, status] = cells;
        let _ = writeln!(out, "{kind:<10} {group:<20} {host:<20} {time:<20} {cost:<10} {status:<10}");
    };
    let shown = |out: &mut String, kind: &str, view: &TraceView| {
        let time = time_in(view.time_stamp, "%Y-%m-%d %H:%M:%S");
        let (cost, status) =
            (format!("{}ms", view.cost_time_ms), if view.success { "success" } else { "failed" });
        row(out, [kind, &view.group_name, &view.client_host, &time, &cost, status]);
    };
    for view in views.iter().filter(|view| view.kind == "Pub") {
        row(&mut out, ["#Type", "#ProducerGroup", "#ClientHost", "#SendTime", "#CostTimes", "#Status"]);
        shown(&mut out, "Pub", view);
        out.push('\n');
    }
    let mut groups: Vec<(String, Vec<&TraceView>)> = Vec::new();
    for view in views.iter().filter(|view| view.kind == "SubAfter") {
        match groups.iter_mut().find(|(group, _)| *group == view.group_name) {
            Some((_, views)) => views.push(view),
            None => groups.push((view.group_name.clone(), vec![view])),
        }
    }
    for (_, views) in in_usual_order(groups) {
        row(&mut out, ["#Type", "#ConsumerGroup", "#ClientHost", "#ConsumerTime", "#CostTimes", "#Status"]);
        for view in views {
            shown(&mut out, "Sub", view);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(fields: &[&str]) -> String {
        fields.join("\u{1}")
    }

    #[test]
    fn contexts_of_all_ages_are_read() {
        let old = ["Pub", "1000", "R", "p", "T", "ID", "tag", "key", "h:1", "5", "7", "0", "true"];
        let mut new = old.to_vec();
        new.splice(12.., ["OFFSET", "true"]);
        let mut newer = new.clone();
        newer.push("10.0.0.9");
        for fields in [&old[..], &new, &newer] {
            let view = view(&context(fields), "ID", "10.0.0.1").unwrap();
            assert_eq!((view.group_name.as_str(), view.cost_time_ms, view.success), ("p", 7, true));
            assert_eq!(view.client_host, "10.0.0.1");
        }
        let consumed = context(&["SubAfter", "REQ", "ID", "3", "false", "key", "0", "2000", "g"]);
        let consumed = view(&consumed, "ID", "10.0.0.2").unwrap();
        assert_eq!((consumed.group_name.as_str(), consumed.time_stamp, consumed.success), ("g", 2000, false));
        for bad in ["", "Pub", "Pub\u{1}x", "SubAfter\u{1}a\u{1}ID\u{1}x", "Nothing\u{1}ID"] {
            assert_eq!(view(bad, "ID", ""), None, "{bad}");
        }
        assert_eq!(view(&context(&old), "OTHER", ""), None);
    }

    #[test]
    fn what_was_sent_comes_before_what_was_consumed() {
        let view = |kind: &str, group: &str| TraceView {
            kind: kind.into(),
            group_name: group.into(),
            client_host: "10.0.0.1".into(),
            time_stamp: 1_700_000_000_000,
            cost_time_ms: 3,
            success: true,
        };
        let text =
            render(&[view("SubAfter", "g"), view("Pub", "p"), view("SubBefore", "g"), view("SubAfter", "g")]);
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap_or("")).collect();
        assert_eq!(lines, ["#Type", "Pub", "", "#Type", "Sub", "Sub", ""]);
        assert!(text.starts_with(&format!(
            "{:<10} {:<20} {:<20} {:<20} {:<10} {:<10}\n",
            "#Type", "#ProducerGroup", "#ClientHost", "#SendTime", "#CostTimes", "#Status"
        )));
    }
}
