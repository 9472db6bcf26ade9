// SPDX-License-Identifier: Apache-2.0
//! The result, for people and for programs. Pure.

use super::{
    args::{Load, Request},
    meter::{Glance, Seen},
};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999)];

/// What a load came to.
pub(super) struct Outcome {
    /// How long anything counted: less than was asked for if it was ended early.
    pub(super) time: Duration,
    pub(super) seen: Seen,
    pub(super) failures: BTreeMap<String, u64>,
    /// Messages that were due at the end and not sent yet.
    pub(super) not_sent: u64,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Batch(_) => "batch",
            Self::Transaction(_) => "transaction",
            Self::Consumer => "consumer",
        }
    }
}

/// One line of progress.
pub(super) fn progress(second: u64, warm: bool, glance: &Glance) -> String {
    format!(
        "{second:>5} s{}  {:>9} messages/s  p50 {:>8} ms  p99 {:>8} ms  max {:>8} ms{}",
        if warm { " (warm-up)" } else { "" },
        glance.messages,
        ms(glance.p50_us),
        ms(glance.p99_us),
        ms(glance.max_us),
        if glance.failed > 0 { format!("  {} FAILED", glance.failed) } else { String::new() }
    )
}

pub(super) fn text(request: &Request, outcome: &Outcome) -> String {
    let Outcome { time, seen, failures, not_sent } = outcome;
    let mut out = format!(
        "{}: topic {}, {} client{}, {} at a time, {}, {:.1} s after {:.0} s of warm-up\n",
        request.load.name(),
        request.topic,
        request.clients,
        if request.clients == 1 { "" } else { "s" },
        request.in_flight,
        request.rate.map_or_else(
            || "as many as the answers allow".into(),
            |rate| format!("{rate} messages/s wanted")
        ),
        time.as_secs_f64(),
        request.warm_up.as_secs_f64(),
    );
    let _ = writeln!(
        out,
        "messages  {}  {:.1}/s  {:.2} MiB/s",
        seen.messages,
        per_second(seen.messages, *time),
        per_second(seen.bytes, *time) / 1_048_576.0
    );
    if seen.failed > 0 {
        let _ = writeln!(out, "failed    {}", seen.failed);
    }
    if *not_sent > 0 {
        let _ = writeln!(
            out,
            "not sent  {not_sent}  that were due: the rate was not reached, and latencies would be longer"
        );
    }
    let (from, also) = match request.load {
        Load::Consumer => ("from when a message was due, or made, to its handler", None),
        _ if request.rate.is_some() => ("from when it was due", Some("from when it was sent")),
        _ => ("from when it was sent", None),
    };
    for (histogram, from) in [(&seen.latency, Some(from)), (&seen.service, also)] {
        let Some(from) = from else { continue };
        let _ = write!(out, "latency   min {}  mean {:.3}", ms(histogram.min()), histogram.mean() / 1000.0);
        for (name, quantile) in QUANTILES {
            let _ = write!(
                out,
                "  {} {}",
                name.replace("p999", "p99.9"),
                ms(histogram.value_at_quantile(quantile))
            );
        }
        let _ = writeln!(out, "  max {}  ms, {from}", ms(histogram.max()));
    }
    for (failure, count) in failures {
        let _ = writeln!(out, "failure   {count} x {failure}");
    }
    out
}

pub(super) fn json(request: &Request, outcome: &Outcome) -> Value {
    let Outcome { time, seen, failures, not_sent } = outcome;
    let mut value = json!({
        "load": request.load.name(),
        "topic": request.topic,
        "clients": request.clients,
        "inFlight": request.in_flight,
        "bodyBytes": request.body_bytes,
        "wantedPerSecond": request.rate,
        "warmUpSeconds": request.warm_up.as_secs_f64(),
        "seconds": time.as_secs_f64(),
        "messages": seen.messages,
        "messagesPerSecond": per_second(seen.messages, *time),
        "bytesPerSecond": per_second(seen.bytes, *time),
        "failed": seen.failed,
        "dueAndNotSent": not_sent,
        "latencyUs": times(&seen.latency),
        "serviceTimeUs": times(&seen.service),
        "failures": failures,
    });
    match request.load {
        Load::Batch(messages) => value["batch"] = messages.into(),
        Load::Transaction(percent) => value["rollbackPercent"] = percent.into(),
        Load::Consumer => {
            // A consumer sends nothing, and measures only how old messages are.
            for name in ["serviceTimeUs", "dueAndNotSent", "wantedPerSecond", "bodyBytes"] {
                value.as_object_mut().map(|object| object.remove(name));
            }
        }
        Load::Producer => {}
    }
    value
}

fn times(histogram: &Histogram<u64>) -> Value {
    let mut value = json!({"count": histogram.len(), "min": histogram.min(), "mean": histogram.mean()});
    for (name, quantile) in QUANTILES {
        value[name] = histogram.value_at_quantile(quantile).into();
    }
    value["max"] = histogram.max().into();
    value
}

fn per_second(count: u64, time: Duration) -> f64 {
    if count == 0 { 0.0 } else { count as f64 / time.as_secs_f64() }
}

fn ms(us: u64) -> String {
    format!("{:.3}", us as f64 / 1000.0)
}
