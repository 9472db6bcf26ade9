// SPDX-License-Identifier: Apache-2.0
//! Units of a consume queue: `queryCq`.

use super::{
    Command,
    fastjson_text::{in_order, pretty},
    run,
};
use crate::cli::{CommandError, Context, Given, Opt};
use oxmq_remoting::bodies::{ConsumeQueueData, MessageQueue, QueryConsumeQueueResponseBody};
use serde_json::json;
use std::fmt::Write;

pub(super) static QUERY_CQ: Command = Command {
    name: "queryCq",
    alias: None,
    description: "Query cq command.",
    options: &[
        Opt::value("t", "topic", "topic name").required(),
        Opt::value("q", "queue", "queue num, ie. 1").required(),
        Opt::value("i", "index", "start queue index.").required(),
        Opt::value("c", "count", "how many."),
        Opt::value("b", "broker", "broker addr."),
        Opt::value("g", "consumer", "consumer group."),
    ],
    run: run!(query_cq),
};

async fn query_cq(context: &mut Context<'_>, given: &Given) -> Result<(), CommandError> {
    let queue = MessageQueue {
        topic: given.required("t").to_owned(),
        broker_name: String::new(),
        queue_id: given.number("q")?.unwrap_or_default(),
    };
    let index: i64 = given.number("i")?.unwrap_or_default();
    let count: i32 = given.number("c")?.unwrap_or(10);
    if count <= 0 || index < 0 || queue.queue_id < 0 {
        return Err(CommandError::usage("-q and -i want numbers from 0 on, -c one above 0"));
    }
    let addr = match given.value("b").filter(|addr| !addr.is_empty()) {
        Some(addr) => addr.to_owned(),
        None => {
            let brokers = context.admin.addresses_of_topic(&queue.topic).await?;
            let first = brokers.into_iter().next();
            first.ok_or_else(|| CommandError::failed("No topic route data!"))?.1
        }
    };
    let body = context.admin.consume_queue(&addr, &queue, index, count, given.value("g")).await?;
    if context.is_json() {
        let units = body.queue_data.iter().flatten().zip(index..).map(|(unit, index)| {
            json!({"index": index, "physicOffset": unit.physic_offset, "physicSize": unit.physic_size,
                   "tagsCode": unit.tags_code, "eval": unit.eval, "msg": unit.msg})
        });
        return context.json(&json!({
            "subscriptionData": body.subscription_data,
            "filterData": body.filter_data,
            "maxQueueIndex": body.max_queue_index,
            "minQueueIndex": body.min_queue_index,
            "queueData": units.collect::<Vec<_>>(),
        }));
    }
    context.print(&render(&body, index))
}

fn render(body: &QueryConsumeQueueResponseBody, index: i64) -> String {
    const LINE: &str = "======================================\n";
    let mut out = String::new();
    if let Some(subscription) = &body.subscription_data {
        let text = pretty(&in_order(subscription));
        let _ = write!(out, "Subscription data: \n{text}\n{LINE}");
    }
    if let Some(filter) = &body.filter_data {
        let _ = write!(out, "Filter data: \n{filter}\n{LINE}");
    }
    let _ = write!(out, "Queue data: \nmax: {}, min: {}\n{LINE}", body.max_queue_index, body.min_queue_index);
    for (unit, index) in body.queue_data.iter().flatten().zip(index..) {
        let _ = write!(out, "idx: {index}\n{}\n{LINE}", unit_text(unit));
    }
    out
}

/// Java: `ConsumeQueueData#toString`.
fn unit_text(unit: &ConsumeQueueData) -> String {
    let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
    format!(
        "ConsumeQueueData{{physicOffset={}, physicSize={}, tagsCode={}, extendDataJson='{}', bitMap='{}', eval={}, \
         msg='{}'}}",
        unit.physic_offset,
        unit.physic_size,
        unit.tags_code,
        or_null(&unit.extend_data_json),
        or_null(&unit.bit_map),
        unit.eval,
        or_null(&unit.msg)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxmq_remoting::bodies::SubscriptionData;

    #[test]
    fn units_are_printed_between_lines() {
        let unit = ConsumeQueueData { physic_offset: 7, physic_size: 200, ..ConsumeQueueData::default() };
        let body = QueryConsumeQueueResponseBody {
            max_queue_index: 5,
            queue_data: Some(vec![unit.clone(), unit]),
            filter_data: Some("g@T is not online!".into()),
            subscription_data: Some(SubscriptionData { topic: "T".into(), ..SubscriptionData::default() }),
            ..QueryConsumeQueueResponseBody::default()
        };
        let text = render(&body, 3);
        assert!(text.starts_with("Subscription data: \n{\n\t\"classFilterMode\":false,"), "{text}");
        assert!(text.contains(",\n\t\"tagsSet\":[],\n\t\"topic\":\"T\"\n}\n"), "{text}");
        assert!(text.contains("Filter data: \ng@T is not online!\n====="), "{text}");
        assert!(text.contains("Queue data: \nmax: 5, min: 0\n====="), "{text}");
        assert!(text.contains("idx: 4\nConsumeQueueData{physicOffset=7, physicSize=200, tagsCode=0, extendDataJson='null', bitMap='null', eval=false, msg='null'}\n"), "{text}");
    }
}
