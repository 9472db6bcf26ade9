// SPDX-License-Identifier: Apache-2.0
//! `oxmq store dump`: records as JSON, one a line.

use std::{
    io::{self, BufWriter, Read as _, Write as _},
    ops::ControlFlow,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use oxmq_record::{RecordView, properties, sys_flag};
use oxmq_store::inspect::{self, Finding, Found, Wanted, Watch};
use serde_json::{Map, Value, json};

use super::{EXIT_PROBLEMS, Opened, Target, not_examined, open, table::count, time::iso};
use crate::terminal::{Failure, complain};

/// Longest body that is unpacked.
const UNPACKED_MAX: u64 = 64 << 20;

/// What of a body is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    /// As text; what is none, in base64.
    Text,
    Base64,
}

#[derive(Default)]
struct Problems(u64);

impl Watch for Problems {
    fn finding(&mut self, finding: Finding) {
        self.0 += u64::from(finding.severity() > inspect::Severity::Note);
        complain(&finding.to_string());
    }
    // A line each is progress enough.
    fn progress(&mut self, _done: u64, _total: u64) {}
}

pub(super) fn run(target: &Target, wanted: &Wanted, limit: u64, body: Body) -> Result<(), Failure> {
    let Opened { folder, .. } = open(target)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut problems = Problems::default();
    let mut left = limit;
    let mut damaged = 0;
    let result = inspect::dump(&folder, wanted, &mut problems, &mut |found| {
        damaged += u64::from(found.fault.is_some());
        left -= 1;
        // Who reads only the first lines is no failure.
        let written = writeln!(out, "{}", line(&found, body));
        if left == 0 || written.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let _ = out.flush();
    result.map_err(not_examined)?;
    match problems.0 + damaged {
        0 => Ok(()),
        problems => {
            let text = format!("{}: {}", target.root.display(), count(problems, "problem"));
            Err(Failure::new(EXIT_PROBLEMS, text))
        }
    }
}

fn line(found: &Found<'_>, body: Body) -> Value {
    let record = &found.record;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let property = |name| record.property(name).map(text);
    let all: Map<String, Value> =
        properties::iter(record.properties()).map(|(name, value)| (text(name), text(value).into())).collect();
    let mut line = json!({
        "physicalOffset": record.physical_offset().0,
        "size": record.size(),
        "topic": record.topic(),
        "queueId": record.queue_id().0,
        "queueOffset": record.queue_offset().0,
        "storeTime": iso(record.store_timestamp_ms()),
        "storeTimestamp": record.store_timestamp_ms(),
        "bornTime": iso(record.born_timestamp_ms()),
        "bornTimestamp": record.born_timestamp_ms(),
        "bornHost": record.born_host().to_string(),
        "storeHost": record.store_host().to_string(),
        "sysFlag": record.sys_flag(),
        "flag": record.flag(),
        "reconsumeTimes": record.reconsume_times(),
        "preparedTransactionOffset": record.prepared_transaction_offset(),
        "msgId": record.message_id().to_string(),
        "uniqKey": property(properties::UNIQ_KEY),
        "tags": property(properties::TAGS),
        "keys": property(properties::KEYS),
        "properties": all,
        "bodySize": record.body().len(),
    });
    if let Some(fault) = &found.fault {
        line["damaged"] = fault.to_string().into();
    }
    if body != Body::None {
        let (bytes, note) = unpacked(record);
        match std::str::from_utf8(&bytes) {
            Ok(text) if body == Body::Text && note.is_none() => line["body"] = text.into(),
            _ => line["bodyBase64"] = STANDARD.encode(&bytes).into(),
        }
        if let Some(note) = note {
            line["bodyNote"] = note.into();
        }
    }
    line
}

/// The body as the producer gave it, and why not if it is not.
fn unpacked(record: &RecordView<'_>) -> (Vec<u8>, Option<&'static str>) {
    let stored = record.body();
    if record.sys_flag() & sys_flag::COMPRESSED == 0 {
        return (stored.to_vec(), None);
    }
    match (record.sys_flag() & sys_flag::COMPRESSION_TYPE) >> 8 {
        0 | 3 => {
            let mut out = Vec::new();
            let read = flate2::read::ZlibDecoder::new(stored).take(UNPACKED_MAX + 1).read_to_end(&mut out);
            match read {
                Ok(_) if out.len() as u64 <= UNPACKED_MAX => (out, None),
                Ok(_) => (stored.to_vec(), Some("as stored, zlib: longer than 64 MiB")),
                Err(_) => (stored.to_vec(), Some("as stored: it should be zlib, but is not")),
            }
        }
        1 => (stored.to_vec(), Some("as stored: an LZ4 frame")),
        2 => (stored.to_vec(), Some("as stored: Zstandard")),
        _ => (stored.to_vec(), Some("as stored: compressed by a method that this does not know")),
    }
}
