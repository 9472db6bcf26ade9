// SPDX-License-Identifier: Apache-2.0
//! The inside of a consumer as Java prints it, and what is wrong with it. Java: `ConsumerRunningInfo`.

use crate::{
    format::fixed,
    java_text::{SLOTS, Table, by_queue, digits, in_table_order, queue_text},
};
use oxmq_remoting::bodies::{
    ConsumeMessageDirectlyResult, ConsumerRunningInfo, MessageQueue, ProcessQueueInfo, QueueTable,
    SubscriptionData, property,
};
use oxmq_types::java_string_hash;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write};

/// A consumer younger than this may not have told all yet, in ms.
const YOUNG_MS: i64 = 2 * 60 * 1000;
/// A queue whose listener was not called for so long, with messages waiting, is blocked, in ms.
const BLOCKED_MS: i64 = 60 * 1000;

/// Java: `formatString`.
pub(crate) fn to_text(info: &ConsumerRunningInfo) -> String {
    let mut out = String::from("#Consumer Properties#\n");
    let names: Vec<_> = info.properties.keys().cloned().collect();
    for name in in_table_order(Table::Concurrent, SLOTS, names, |name| java_string_hash(name)) {
        let _ = writeln!(out, "{name:<40}: {}", info.property(&name).unwrap_or_default());
    }

    out.push_str("\n\n#Consumer Subscription#\n");
    for (at, subscription) in subscriptions(info).into_iter().enumerate() {
        let SubscriptionData { topic, class_filter_mode, sub_string, .. } = subscription;
        let _ = writeln!(
            out,
            "{:03} Topic: {topic:<40} ClassFilter: {class_filter_mode:<8} SubExpression: {sub_string}",
            at + 1
        );
    }

    let titles = |out: &mut String, width: usize, last: &str| {
        let _ = writeln!(out, "{:<width$}  {:<32}  {:<4}  {last:<20}", "#Topic", "#Broker Name", "#QID");
    };
    out.push_str("\n\n#Consumer Offset#\n");
    titles(&mut out, 64, "#Consumer Offset");
    for (queue, inside) in sorted(&info.mq_table) {
        let MessageQueue { topic, broker_name, queue_id } = queue;
        let _ = writeln!(out, "{topic:<32}  {broker_name:<32}  {queue_id:<4}  {:<20}", inside.commit_offset);
    }

    out.push_str("\n\n#Consumer MQ Detail#\n");
    titles(&mut out, 64, "#ProcessQueueInfo");
    for (queue, inside) in sorted(&info.mq_table) {
        let MessageQueue { topic, broker_name, queue_id } = queue;
        let _ = writeln!(out, "{topic:<64}  {broker_name:<32}  {queue_id:<4}  {}", process_queue(inside));
    }

    out.push_str("\n\n#Consumer Pop Detail#\n");
    titles(&mut out, 32, "#ProcessQueueInfo");
    for (queue, inside) in sorted(&info.mq_pop_table) {
        let MessageQueue { topic, broker_name, queue_id } = queue;
        let _ = writeln!(
            out,
            "{topic:<32}  {broker_name:<32}  {queue_id:<4}  PopProcessQueueInfo [waitAckCount:{}, droped:{}, \
             lastPopTimestamp:{}]",
            inside.wait_ack_count, inside.droped, inside.last_pop_timestamp
        );
    }

    out.push_str("\n\n#Consumer RT&TPS#\n");
    let _ = writeln!(
        out,
        "{:<64}  {:>14} {:>14} {:>14} {:>14} {:>18} {:>25}",
        "#Topic",
        "#Pull RT",
        "#Pull TPS",
        "#Consume RT",
        "#ConsumeOK TPS",
        "#ConsumeFailed TPS",
        "#ConsumeFailedMsgsInHour"
    );
    for (topic, status) in &info.status_table {
        let _ = writeln!(
            out,
            "{topic:<32}  {:>14} {:>14} {:>14} {:>14} {:>18} {:>25}",
            fixed(status.pull_rt, 2),
            fixed(status.pull_tps, 2),
            fixed(status.consume_rt, 2),
            fixed(status.consume_ok_tps, 2),
            fixed(status.consume_failed_tps, 2),
            status.consume_failed_msgs
        );
    }

    out.push_str("\n\n#User Consume Info#\n");
    for (name, value) in &info.user_consumer_info {
        let _ = writeln!(out, "{name:<40}: {value}");
    }

    if let Some(stacks) = &info.jstack {
        out.push_str("\n\n#Consumer jstack#\n");
        out.push_str(stacks);
    }
    out
}

/// The same for programs.
pub(crate) fn to_json(client_id: &str, info: &ConsumerRunningInfo) -> Value {
    let queue = |(queue, inside): (&MessageQueue, Value)| {
        let mut value = super::progress_text::queue_json(queue);
        if let (Some(all), Value::Object(inside)) = (value.as_object_mut(), inside) {
            all.extend(inside);
        }
        value
    };
    let of = |inside: Result<Value, serde_json::Error>| inside.unwrap_or(Value::Null);
    let pulled =
        sorted(&info.mq_table).into_iter().map(|(at, inside)| queue((at, of(serde_json::to_value(inside)))));
    let popped = sorted(&info.mq_pop_table)
        .into_iter()
        .map(|(at, inside)| queue((at, of(serde_json::to_value(inside)))));
    let (pulled, popped): (Vec<_>, Vec<_>) = (pulled.collect(), popped.collect());
    json!({
        "clientId": client_id,
        "properties": info.properties,
        "subscriptions": info.subscription_set,
        "queues": pulled,
        "popQueues": popped,
        "status": info.status_table,
        "userConsumerInfo": info.user_consumer_info,
        "jstack": info.jstack,
    })
}

/// Java keeps them in the order of topic and expression.
fn subscriptions(info: &ConsumerRunningInfo) -> Vec<&SubscriptionData> {
    let mut all: Vec<_> = info.subscription_set.iter().collect();
    all.sort_by_key(|data| format!("{}@{}", data.topic, data.sub_string));
    all
}

fn sorted<V>(table: &QueueTable<V>) -> Vec<(&MessageQueue, &V)> {
    let mut all: Vec<_> = table.0.iter().map(|(queue, value)| (queue, value)).collect();
    all.sort_by(|(one, _), (other, _)| by_queue(one, other));
    all
}

fn process_queue(inside: &ProcessQueueInfo) -> String {
    format!(
        "ProcessQueueInfo [commitOffset={}, cachedMsgMinOffset={}, cachedMsgMaxOffset={}, cachedMsgCount={}, \
         cachedMsgSizeInMiB={}, transactionMsgMinOffset={}, transactionMsgMaxOffset={}, transactionMsgCount={}, \
         locked={}, tryUnlockTimes={}, lastLockTimestamp={}, droped={}, lastPullTimestamp={}, \
         lastConsumeTimestamp={}]",
        inside.commit_offset,
        inside.cached_msg_min_offset,
        inside.cached_msg_max_offset,
        inside.cached_msg_count,
        inside.cached_msg_size_in_mi_b,
        inside.transaction_msg_min_offset,
        inside.transaction_msg_max_offset,
        inside.transaction_msg_count,
        inside.locked,
        inside.try_unlock_times,
        digits(inside.last_lock_timestamp),
        inside.droped,
        digits(inside.last_pull_timestamp),
        digits(inside.last_consume_timestamp)
    )
}

/// Whether all members of a group subscribe to the same. Push consumers that are young, and others, are taken to do so.
/// Java: `analyzeSubscription`.
pub(crate) fn same_subscriptions(members: &BTreeMap<String, ConsumerRunningInfo>, now_ms: i64) -> bool {
    let Some(first) = members.values().next() else { return true };
    let started = first.property(property::CONSUMER_START_TIMESTAMP).and_then(|text| text.parse().ok());
    if !first.is_push() || now_ms.saturating_sub(started.unwrap_or(now_ms)) <= YOUNG_MS {
        return true;
    }
    let told = |info: &ConsumerRunningInfo| -> Vec<(String, String, String, bool)> {
        let all = subscriptions(info).into_iter();
        let kind = |data: &SubscriptionData| match data.expression_type.as_str() {
            "" => "TAG".to_owned(),
            kind => kind.to_owned(),
        };
        all.map(|data| (data.topic.clone(), data.sub_string.clone(), kind(data), data.class_filter_mode))
            .collect()
    };
    let mut all = members.values().map(told);
    let first = all.next();
    all.all(|told| Some(told) == first)
}

/// Queues of a member that do not go on, a line each. Java: `analyzeProcessQueue`.
pub(crate) fn stuck_queues(client_id: &str, info: &ConsumerRunningInfo, now_ms: i64) -> String {
    let mut out = String::new();
    if !info.is_push() {
        return out;
    }
    let ordered =
        info.property(property::CONSUME_ORDERLY).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    for (queue, inside) in sorted(&info.mq_table) {
        let queue = queue_text(queue);
        let since = |ms: i64| now_ms.saturating_sub(ms);
        if !ordered {
            let still = since(inside.last_consume_timestamp);
            if still > BLOCKED_MS && inside.cached_msg_count > 0 {
                let _ =
                    writeln!(out, "{client_id} {queue} can't consume for a while, maybe blocked, {still}ms");
            }
        } else if !inside.locked {
            let still = since(inside.last_lock_timestamp);
            let _ = writeln!(out, "{client_id} {queue} can't lock for a while, {still}ms");
        } else if inside.droped && inside.try_unlock_times > 0 {
            let times = inside.try_unlock_times;
            let _ = writeln!(out, "{client_id} {queue} unlock {times} times, still failed");
        }
    }
    out
}

/// Java: `ConsumeMessageDirectlyResult#toString`.
pub(crate) fn direct_result(result: &ConsumeMessageDirectlyResult) -> String {
    let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
    format!(
        "ConsumeMessageDirectlyResult [order={}, autoCommit={}, consumeResult={}, remark={}, spentTimeMills={}]",
        result.order,
        result.auto_commit,
        or_null(&result.consume_result),
        or_null(&result.remark),
        result.spent_time_mills
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_remoting::bodies::{ConsumeStatus, PopProcessQueueInfo};

    const NOW: i64 = 1_795_881_600_123;

    fn member(
        expression: &str,
        started: i64,
        ordered: bool,
        inside: ProcessQueueInfo,
    ) -> ConsumerRunningInfo {
        let queue = MessageQueue { topic: "T".into(), broker_name: "b".into(), queue_id: 1 };
        let properties = json!({
            "PROP_CONSUME_TYPE": "CONSUME_PASSIVELY",
            "PROP_CONSUMER_START_TIMESTAMP": started.to_string(),
            "PROP_CONSUMEORDERLY": ordered.to_string(),
        });
        let told = SubscriptionData {
            topic: "T".into(),
            sub_string: expression.into(),
            ..SubscriptionData::default()
        };
        ConsumerRunningInfo {
            mq_table: QueueTable(vec![(queue.clone(), inside)]),
            mq_pop_table: QueueTable(vec![(queue, PopProcessQueueInfo::default())]),
            properties: properties.as_object().cloned().unwrap(),
            status_table: [("T".to_owned(), ConsumeStatus { pull_rt: 1.5, ..ConsumeStatus::default() })]
                .into(),
            subscription_set: vec![told],
            ..ConsumerRunningInfo::default()
        }
    }

    #[test]
    fn the_inside_is_printed_in_sections() {
        let text = to_text(&member("*", NOW, false, ProcessQueueInfo::default()));
        let sections: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with('#') && line.ends_with('#') && line.len() > 1)
            .collect();
        assert_eq!(
            sections,
            [
                "#Consumer Properties#",
                "#Consumer Subscription#",
                "#Consumer Offset#",
                "#Consumer MQ Detail#",
                "#Consumer Pop Detail#",
                "#Consumer RT&TPS#",
                "#User Consume Info#"
            ]
        );
        let topic = format!("001 Topic: {:<40} ClassFilter: false    SubExpression: *", "T");
        assert!(text.contains(&topic), "{text}");
        let rates = format!(
            "{:<32}  {:>14} {:>14} {:>14} {:>14} {:>18} {:>25}",
            "T", "1.50", "0.00", "0.00", "0.00", "0.00", 0
        );
        assert!(text.contains(&rates), "{text}");
        let value = to_json("c", &member("*", NOW, false, ProcessQueueInfo::default()));
        assert_eq!(
            (&value["queues"][0]["queueId"], &value["queues"][0]["locked"]),
            (&1.into(), &false.into())
        );
    }

    #[test]
    fn different_subscriptions_in_a_group_are_found() {
        let group = |started, expressions: [&str; 2]| {
            let member = |expression| member(expression, started, false, ProcessQueueInfo::default());
            BTreeMap::from([
                ("a".to_owned(), member(expressions[0])),
                ("b".to_owned(), member(expressions[1])),
            ])
        };
        let old = NOW - YOUNG_MS - 1;
        for (started, expressions, same) in
            [(old, ["*", "*"], true), (old, ["*", "A"], false), (NOW - YOUNG_MS, ["*", "A"], true)]
        {
            assert_eq!(same_subscriptions(&group(started, expressions), NOW), same);
        }
        assert!(same_subscriptions(&BTreeMap::new(), NOW));
    }

    #[test]
    fn queues_that_do_not_go_on_are_found() {
        let queue = "MessageQueue [topic=T, brokerName=b, queueId=1]";
        let inside = ProcessQueueInfo { cached_msg_count: 1, ..ProcessQueueInfo::default() };
        let waiting = |ago| ProcessQueueInfo { last_consume_timestamp: NOW - ago, ..inside };
        let unlocked = ProcessQueueInfo { last_lock_timestamp: NOW - 7, ..inside };
        let kept = ProcessQueueInfo { locked: true, droped: true, try_unlock_times: 3, ..inside };
        for (ordered, inside, expected) in [
            (false, waiting(BLOCKED_MS), String::new()),
            (
                false,
                waiting(60_001),
                format!("c {queue} can't consume for a while, maybe blocked, 60001ms\n"),
            ),
            (true, unlocked, format!("c {queue} can't lock for a while, 7ms\n")),
            (true, kept, format!("c {queue} unlock 3 times, still failed\n")),
        ] {
            assert_eq!(stuck_queues("c", &member("*", NOW, ordered, inside), NOW), expected);
        }
        // A hostile client may tell any time.
        let nonsense = ProcessQueueInfo { last_consume_timestamp: i64::MIN, ..inside };
        assert!(!stuck_queues("c", &member("*", NOW, false, nonsense), NOW).is_empty());
    }
}
