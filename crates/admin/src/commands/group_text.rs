// SPDX-License-Identifier: Apache-2.0
//! Settings of a consumer group as Java prints them. Java: `SubscriptionGroupConfig`, `GroupRetryPolicy`.

use super::message_text::in_usual_order;
use oxmq_remoting::bodies::SubscriptionGroupConfig;
use serde_json::Value;

/// All settings in the order in which Java declares them. `None`: Java has null.
pub(crate) fn fields(config: &SubscriptionGroupConfig) -> Vec<(&'static str, Option<String>)> {
    let other = |name: &str| config.other.get(name).filter(|value| !value.is_null());
    let or = |name: &str, default: &str| Some(other(name).map_or_else(|| default.to_owned(), plain));
    let subscriptions = other("subscriptionDataSet").and_then(Value::as_array).map(|set| {
        let each = |data: &Value| {
            structure("SimpleSubscriptionData", data, &["topic", "expressionType", "expression", "version"])
        };
        format!("[{}]", set.iter().map(each).collect::<Vec<_>>().join(", "))
    });
    vec![
        ("groupName", Some(config.group_name.clone())),
        ("consumeEnable", Some(config.consume_enable.to_string())),
        ("consumeFromMinEnable", or("consumeFromMinEnable", "true")),
        ("consumeBroadcastEnable", Some(config.consume_broadcast_enable.to_string())),
        ("consumeMessageOrderly", or("consumeMessageOrderly", "false")),
        ("retryQueueNums", Some(config.retry_queue_nums.to_string())),
        ("retryMaxTimes", Some(config.retry_max_times.to_string())),
        ("groupRetryPolicy", Some(retry_policy(other("groupRetryPolicy")))),
        ("brokerId", Some(config.broker_id.to_string())),
        ("whichBrokerWhenConsumeSlowly", Some(config.which_broker_when_consume_slowly.to_string())),
        ("notifyConsumerIdsChangedEnable", Some(config.notify_consumer_ids_changed_enable.to_string())),
        ("groupSysFlag", Some(config.group_sys_flag.to_string())),
        ("consumeTimeoutMinute", or("consumeTimeoutMinute", "15")),
        ("subscriptionDataSet", subscriptions),
        ("attributes", Some(attributes(other("attributes")))),
    ]
}

/// Java: `SubscriptionGroupConfig#toString`.
pub(crate) fn to_text(config: &SubscriptionGroupConfig) -> String {
    let pairs = fields(config).into_iter().map(|(name, value)| match value {
        Some(value) => format!("{name}={value}"),
        None => format!("{name}=null"),
    });
    format!("SubscriptionGroupConfig{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

fn retry_policy(policy: Option<&Value>) -> String {
    let empty = Value::Object(serde_json::Map::new());
    let policy = policy.unwrap_or(&empty);
    let part = |name: &str| policy.get(name).filter(|value| !value.is_null());
    let kind = part("type").map_or_else(|| "CUSTOMIZED".to_owned(), plain);
    let exponential = part("exponentialRetryPolicy").map_or_else(
        || "null".to_owned(),
        |policy| {
            let number =
                |name: &str, default: i64| policy.get(name).and_then(Value::as_i64).unwrap_or(default);
            format!(
                "ExponentialRetryPolicy{{initial={}, max={}, multiplier={}}}",
                number("initial", 5_000),
                number("max", 7_200_000),
                number("multiplier", 2)
            )
        },
    );
    let customized = part("customizedRetryPolicy").map_or_else(
        || "null".to_owned(),
        |policy| {
            let next: Vec<i64> = match policy.get("next").and_then(Value::as_array) {
                Some(next) => next.iter().filter_map(Value::as_i64).collect(),
                None => DELAYS_MS.to_vec(),
            };
            let next: Vec<_> = next.iter().map(ToString::to_string).collect();
            format!("CustomizedRetryPolicy{{next=[{}]}}", next.join(", "))
        },
    );
    format!(
        "GroupRetryPolicy{{type={kind}, exponentialRetryPolicy={exponential}, customizedRetryPolicy={customized}}}"
    )
}

/// The delays of a customized policy that names none: from 1 s to 2 h.
const DELAYS_MS: [i64; 18] = [
    1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 180_000, 240_000, 300_000, 360_000, 420_000, 480_000,
    540_000, 600_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000,
];

fn structure(name: &str, value: &Value, fields: &[&str]) -> String {
    let pair =
        |field: &&str| format!("{field}={}", value.get(*field).map_or_else(|| "null".to_owned(), plain));
    format!("{name}{{{}}}", fields.iter().map(pair).collect::<Vec<_>>().join(", "))
}

fn attributes(attributes: Option<&Value>) -> String {
    let pairs: Vec<_> = attributes
        .and_then(Value::as_object)
        .map(|map| map.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        .unwrap_or_default();
    let pairs = in_usual_order(pairs).into_iter().map(|(name, value)| format!("{name}={value}"));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

/// A value without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads changes of attributes: `+a=b,-c`. Java: `AttributeParser#parseToMap`.
///
/// # Errors
/// Java's text for what is no such list.
pub(crate) fn parse_attributes(text: &str) -> Result<serde_json::Map<String, Value>, String> {
    let mut attributes = serde_json::Map::new();
    for pair in text.split(',').filter(|_| !text.is_empty()) {
        let (key, value) = match pair.split_once('=') {
            Some((key, _)) if !key.contains('+') => {
                return Err(format!("add/alter attribute format is wrong: {key}"));
            }
            Some((key, value)) => (key, value.split('=').next().unwrap_or_default()),
            None if !pair.contains('-') => return Err(format!("delete attribute format is wrong: {pair}")),
            None => (pair, ""),
        };
        if attributes.insert(key.to_owned(), value.into()).is_some() {
            return Err(format!("key duplication: {key}"));
        }
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_printed_as_java_does() {
        let mut config =
            SubscriptionGroupConfig { group_name: "g".into(), ..SubscriptionGroupConfig::default() };
        assert_eq!(
            to_text(&config),
            "SubscriptionGroupConfig{groupName=g, consumeEnable=true, consumeFromMinEnable=true, \
             consumeBroadcastEnable=true, consumeMessageOrderly=false, retryQueueNums=1, retryMaxTimes=16, \
             groupRetryPolicy=GroupRetryPolicy{type=CUSTOMIZED, exponentialRetryPolicy=null, \
             customizedRetryPolicy=null}, brokerId=0, whichBrokerWhenConsumeSlowly=1, \
             notifyConsumerIdsChangedEnable=true, groupSysFlag=0, consumeTimeoutMinute=15, \
             subscriptionDataSet=null, attributes={}}"
        );
        let other = serde_json::json!({
            "groupRetryPolicy": {"type": "EXPONENTIAL", "exponentialRetryPolicy": {"initial": 1}},
            "subscriptionDataSet": [{"topic": "T", "expressionType": "TAG", "expression": "*", "version": 3}],
            "attributes": {"a": "b"},
        });
        config.other = other.as_object().cloned().unwrap();
        let text = to_text(&config);
        for part in [
            "exponentialRetryPolicy=ExponentialRetryPolicy{initial=1, max=7200000, multiplier=2}",
            "subscriptionDataSet=[SimpleSubscriptionData{topic=T, expressionType=TAG, expression=*, version=3}]",
            "attributes={a=b}}",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn attributes_are_read_as_java_does() {
        let read = parse_attributes("+a=b,-c").unwrap();
        assert_eq!((read["+a"].as_str(), read["-c"].as_str()), (Some("b"), Some("")));
        assert!(parse_attributes("").unwrap().is_empty());
        for (bad, why) in [
            ("a=b", "add/alter attribute format is wrong: a"),
            ("a", "delete attribute format is wrong: a"),
            ("+a=b,+a=c", "key duplication: +a"),
        ] {
            assert_eq!(parse_attributes(bad).unwrap_err(), why);
        }
    }
}
