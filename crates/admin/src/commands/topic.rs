// SPDX-License-Identifier: Apache-2.0
//! Topics are made, changed and deleted: `updateTopic`, `updateTopicList`, `updateTopicPerm`, `deleteTopic`.

use super::{Command, run};
use crate::{
    admin::parse_topics,
    cli::{CommandError, Context, Given, Opt, shorten},
    java_text::{SLOTS, Table, in_table_order, map_text},
};
use oxmq_remoting::bodies::TopicConfig;
use oxmq_types::java_string_hash;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

pub(super) static UPDATE_TOPIC: Command = Command {
    name: "updateTopic",
    alias: None,
    description: "Update or create topic.",
    options: &[
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
    ],
    run: run!(update),
};

pub(super) static UPDATE_TOPIC_LIST: Command = Command {
    name: "updateTopicList",
    alias: None,
    description: "create or update topic in batch",
    options: &[
        Opt::value("b", "brokerAddr", "create topic to which broker").one_of(1),
        Opt::value("c", "clusterName", "create topic to which cluster").one_of(1),
        Opt::value(
            "f",
            "filename",
            "Path to a file with list of org.apache.rocketmq.common.TopicConfig in json format",
        )
        .required(),
    ],
    run: run!(update_list),
};

pub(super) static UPDATE_TOPIC_PERM: Command = Command {
    name: "updateTopicPerm",
    alias: None,
    description: "Update topic perm.",
    options: &[
        Opt::value("b", "brokerAddr", "create topic to which broker"),
        Opt::value("c", "clusterName", "create topic to which cluster"),
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("p", "perm", "set topic's permission(2|4|6), intro[2:W; 4:R; 6:RW]").required(),
    ],
    run: run!(update_perm),
};

pub(super) static DELETE_TOPIC: Command = Command {
    name: "deleteTopic",
    alias: None,
    description: "Delete topic from broker and NameServer.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("c", "clusterName", "delete topic from which cluster").required(),
    ],
    run: run!(delete),
};

/// What was changed where, for `-o json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed<'a> {
    brokers: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a TopicConfig>,
}

async fn update(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let attributes = attributes(given.value("a").unwrap_or_default())?;
    let flag = u32::from(given.is_true("u")) | u32::from(given.is_true("s")) << 1;
    let topic = TopicConfig {
        topic_name: given.required("t").to_owned(),
        read_queue_nums: given.number("r")?.unwrap_or(8),
        write_queue_nums: given.number("w")?.unwrap_or(8),
        perm: perm(given)?.unwrap_or(6),
        topic_sys_flag: flag,
        order: given.is_true("o"),
        attributes: attributes.iter().cloned().collect(),
        ..TopicConfig::default()
    };
    let changes: Vec<_> = attributes.iter().map(|(key, value)| change(key, value)).collect();
    let changes = changes.join(",");
    let name = &topic.topic_name;
    let addrs: Vec<String>;
    if let Some(addr) = given.value("b") {
        addrs = vec![addr.to_owned()];
        context.admin.create_topic(addr, &topic, &changes).await?;
        if topic.order {
            let broker = context.admin.name_of(addr).await?;
            let conf = format!("{broker}:{}", topic.write_queue_nums);
            let old = context.admin.kv(crate::admin::ORDER_NAMESPACE, name).await;
            let all = with_broker(old.as_deref().unwrap_or_default(), &broker, &conf);
            context.admin.put_kv(crate::admin::ORDER_NAMESPACE, name, &all).await?;
            context.say(&format!("set broker orderConf. isOrder=true, orderConf=[{conf}]"))?;
        }
        context.say(&format!("create topic to {addr} success."))?;
    } else {
        let cluster = given.value("c").unwrap_or_default();
        let brokers = context.admin.brokers_of(cluster).await?;
        let masters: BTreeSet<_> =
            brokers.iter().filter_map(|broker| broker.broker_addrs.get(&0)).cloned().collect();
        if masters.is_empty() {
            return Err(CommandError::failed(format!("cluster {} has no master now", shorten(cluster))));
        }
        addrs = in_set_order(masters);
        for addr in &addrs {
            context.admin.create_topic(addr, &topic, &changes).await?;
            context.say(&format!("create topic to {addr} success."))?;
        }
        if topic.order {
            let names = in_set_order(brokers.iter().map(|broker| broker.broker_name.clone()).collect());
            let each: Vec<_> =
                names.iter().map(|broker| format!("{broker}:{}", topic.write_queue_nums)).collect();
            let conf = each.join(";");
            context.admin.put_kv(crate::admin::ORDER_NAMESPACE, name, &conf).await?;
            context.say(&format!("set cluster orderConf. isOrder=true, orderConf=[{conf}]"))?;
        }
    }
    context.show(&Changed { brokers: &addrs, topic: Some(&topic) }, |_| text(&topic) + "\n")
}

/// Texts in the order in which Java's sets give them out, which is the order of the lines.
pub(super) fn in_set_order(texts: BTreeSet<String>) -> Vec<String> {
    in_table_order(Table::Hash, SLOTS, texts.into_iter().collect(), |text| java_string_hash(text))
}

/// The permission that was asked for. Java: `Validators#checkTopicConfig`, which brokers do not repeat.
fn perm(given: &Given) -> Result<Option<u32>, CommandError> {
    match given.number::<u32>("p")? {
        Some(perm) if !matches!(perm, 0..=7) => Err(CommandError::usage(format!(
            "topicPermission value: {perm} is invalid: 2 is to write, 4 to read, 6 both"
        ))),
        perm => Ok(perm),
    }
}

/// Changes of attributes with their signs. Java: `AttributeParser#parseToMap`.
fn attributes(text: &str) -> Result<Vec<(String, String)>, CommandError> {
    let mut changes: Vec<(String, String)> = Vec::new();
    for change in text.split(',').filter(|change| !change.is_empty()) {
        let (key, value) = change.split_once('=').unwrap_or((change, ""));
        let (sign, kind) = if change.contains('=') { ('+', "add/alter") } else { ('-', "delete") };
        if !key.starts_with(sign) || key.len() < 2 {
            return Err(CommandError::usage(format!(
                "{kind} attribute format is wrong: {}; write +name=value or -name, with commas between",
                shorten(key)
            )));
        }
        if changes.iter().any(|(known, _)| known == key) {
            return Err(CommandError::usage(format!("key duplication: {}", shorten(key))));
        }
        changes.push((key.to_owned(), value.to_owned()));
    }
    Ok(in_table_order(Table::Hash, SLOTS, changes, |(key, _)| java_string_hash(key)))
}

fn change(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_owned() } else { format!("{key}={value}") }
}

/// The order configuration `old` with that of one broker replaced.
fn with_broker(old: &str, broker: &str, conf: &str) -> String {
    let mut all: BTreeMap<&str, &str> = old
        .split(';')
        .filter(|part| !part.is_empty())
        .map(|part| (part.split(':').next().unwrap_or(part), part))
        .collect();
    all.insert(broker, conf);
    all.into_values().collect::<Vec<_>>().join(";")
}

/// A topic as Java prints it. Java: `TopicConfig#toString`, `PermName#perm2String`.
fn text(topic: &TopicConfig) -> String {
    let bit = |mask, letter| if topic.perm & mask != 0 { letter } else { '-' };
    let perm: String = [bit(4, 'R'), bit(2, 'W'), bit(1, 'X')].into_iter().collect();
    let attributes = in_table_order(Table::Hash, SLOTS, topic.attributes.iter().collect(), |(key, _)| {
        java_string_hash(key)
    });
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={perm}, topicFilterType={}, \
         topicSysFlag={}, order={}, attributes={}]",
        topic.topic_name,
        topic.read_queue_nums,
        topic.write_queue_nums,
        topic.topic_filter_type.name(),
        topic.topic_sys_flag,
        topic.order,
        map_text(attributes.into_iter().map(|(key, value)| (key.as_str(), value.as_str()))),
    )
}

async fn update_list(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    /// More topics no broker takes, and a file may be anything.
    const FILE_MAX_BYTES: u64 = 16 << 20;
    let file = given.required("f");
    let size = match std::fs::metadata(file) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            context.print(&format!("the file path {} does not exists\n", shorten(file)))?;
            return Err(CommandError::Exit(1));
        }
        Err(error) => return Err(CommandError::failed(format!("cannot read {}: {error}", shorten(file)))),
    };
    if size > FILE_MAX_BYTES {
        return Err(CommandError::failed(format!("{} has {size} bytes: more than 16 MiB", shorten(file))));
    }
    let text = std::fs::read(file)
        .map_err(|error| CommandError::failed(format!("cannot read {}: {error}", shorten(file))))?;
    let topics = parse_topics(&text)
        .map_err(|error| CommandError::failed(format!("{}: {}", shorten(file), shorten(&error))))?;
    if topics.is_empty() {
        context.note("the list is empty: nothing to do");
        return Ok(());
    }
    let addrs = match given.value("b") {
        Some(addr) => vec![addr.to_owned()],
        None => in_set_order(context.admin.masters_of(given.value("c").unwrap_or_default()).await?),
    };
    for addr in &addrs {
        context.admin.create_topics(addr, &topics).await?;
        context.say(&format!(
            "submit batch of topic config to {addr} success, please check the result later."
        ))?;
    }
    if context.is_json() { context.json(&Changed { brokers: &addrs, topic: None }) } else { Ok(()) }
}

async fn update_perm(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let name = given.required("t");
    let perm = perm(given)?.unwrap_or_default();
    let route = context.admin.route(name).await?;
    let perm_of = |broker: &str| {
        route.queue_datas.iter().find(|data| data.broker_name == broker).map_or(0, |data| data.perm)
    };
    let masters: Vec<(&str, &str)> = route
        .broker_datas
        .iter()
        .filter_map(|broker| Some((broker.broker_name.as_str(), broker.broker_addrs.get(&0)?.as_str())))
        .collect();
    if let Some(addr) = given.value("b") {
        let Some((broker, _)) = masters.iter().find(|(_, known)| *known == addr) else {
            context.print("updateTopicPerm error broker not exit or broker is not master!.\n")?;
            return Err(CommandError::Exit(1));
        };
        let old = perm_of(broker);
        if old == perm {
            return context.print("new perm equals to the old one!\n");
        }
        let topic = set_perm(context, addr, name, perm).await?;
        context.say(&format!("update topic perm from {old} to {perm} in {addr} success."))?;
        return context
            .show(&Changed { brokers: &[addr.to_owned()], topic: Some(&topic) }, |_| text(&topic) + ".\n");
    }
    let Some(cluster) = given.value("c") else {
        return Err(CommandError::usage("give -b BROKER_ADDR or -c CLUSTER"));
    };
    let mut changed = Vec::new();
    for addr in in_set_order(context.admin.masters_of(cluster).await?) {
        // COMPAT(java): Java's tool makes the topic on brokers of the cluster that do not have it.
        let Some((broker, _)) = masters.iter().find(|(_, known)| *known == addr) else {
            context.note(&format!("{addr} does not have the topic: nothing changed there"));
            continue;
        };
        let old = perm_of(broker);
        set_perm(context, &addr, name, perm).await?;
        context.say(&format!("update topic perm from {old} to {perm} in {addr} success."))?;
        changed.push(addr);
    }
    if context.is_json() { context.json(&Changed { brokers: &changed, topic: None }) } else { Ok(()) }
}

/// Changes nothing but the permission. Java's tool takes the queues of the first broker for all, and forgets that a topic
/// is ordered.
async fn set_perm(
    context: &Context<'_>,
    addr: &str,
    name: &str,
    perm: u32,
) -> Result<TopicConfig, CommandError> {
    let topic = context.admin.topic_config(addr, name).await?;
    let topic = TopicConfig { perm, topic_name: name.to_owned(), ..topic };
    context.admin.create_topic(addr, &topic, "").await?;
    Ok(TopicConfig { attributes: BTreeMap::new(), ..topic })
}

async fn delete(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let (topic, cluster) = (given.required("t"), given.required("c"));
    let masters = in_set_order(context.admin.masters_of(cluster).await?);
    for addr in &masters {
        context.admin.delete_topic_in_broker(addr, topic).await?;
    }
    context.say(&format!("delete topic [{topic}] from cluster [{cluster}] success."))?;
    for addr in context.admin.name_servers()? {
        context.admin.delete_topic_in_name_server(addr, cluster, topic).await?;
    }
    context.say(&format!("delete topic [{topic}] from NameServer success."))?;
    if context.is_json() { context.json(&Changed { brokers: &masters, topic: None }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_printed_as_java_prints_it() {
        let topic = TopicConfig {
            topic_name: "flagged".into(),
            read_queue_nums: 3,
            write_queue_nums: 5,
            perm: 4,
            topic_sys_flag: 3,
            attributes: [("+message.type".to_owned(), "FIFO".to_owned())].into(),
            ..TopicConfig::default()
        };
        assert_eq!(
            text(&topic),
            "TopicConfig [topicName=flagged, readQueueNums=3, writeQueueNums=5, perm=R--, \
             topicFilterType=SINGLE_TAG, topicSysFlag=3, order=false, attributes={+message.type=FIFO}]"
        );
    }

    #[test]
    fn attributes_are_changes_with_a_sign() {
        let changes = attributes("+a=b,-e").unwrap();
        assert_eq!(changes.len(), 2);
        assert!(
            changes.contains(&("+a".into(), "b".into())) && changes.contains(&("-e".into(), String::new()))
        );
        assert_eq!(attributes("").unwrap(), []);
        for bad in ["a=b", "e", "+a", "-a=b", "+=b", "+a=b,+a=c", "-"] {
            assert!(attributes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_order_of_one_broker_is_replaced_among_others() {
        assert_eq!(with_broker("", "a", "a:4"), "a:4");
        assert_eq!(with_broker("b:2;a:8;", "a", "a:4"), "a:4;b:2");
    }

    #[test]
    fn a_list_of_topics_is_looked_at_before_it_is_sent() {
        assert_eq!(parse_topics(br#"[{"topicName":"a","x":1}]"#).unwrap().len(), 1);
        for bad in ["", "{}", "[{}]", r#"[{"topicName":5}]"#, r#"[{"topicName":"a","perm":"x"}]"#, "[[]]"] {
            assert!(parse_topics(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
