// SPDX-License-Identifier: Apache-2.0
//! A filter looks at every message of a queue, so it must not ask for memory.
#![allow(unsafe_code)]

use oxmq_broker::Sql;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Counting;

thread_local! {
    /// Of this thread: the one that runs the tests has its own.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does everything. Counting needs no memory: the counter is a constant at first, and
// needs no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn evaluation_asks_for_no_memory() {
    let properties =
        "TAGS\u{1}A\u{2}n\u{1}5000000001\u{2}d\u{1} 2.5e3f \u{2}t\u{1}it's a 中文 text\u{2}n\u{1}42\u{2}"
            .as_bytes();
    for (expression, expected) in [
        (
            "TAGS IN ('A', 'B') AND n BETWEEN 40 AND 50 AND d > 2.4e3 AND NOT (t CONTAINS 'nothing')",
            Ok(Some(true)),
        ),
        ("t STARTSWITH 'it''s' AND t ENDSWITH 'text' AND absent IS NULL", Ok(Some(true))),
        ("t CONTAINS '中' AND d > n AND (n = 42) = TRUE OR t > 5", Ok(Some(true))),
        ("absent > 5 OR NULL", Ok(None)),
        ("t > 5", Err(oxmq_broker::Incomparable)),
    ] {
        let sql = Sql::parse(expression).unwrap();
        let before = COUNT.get();
        let result = sql.evaluate(properties);
        let after = COUNT.get();
        assert_eq!((result, after - before), (expected, 0), "{expression}");
    }
    let before = COUNT.get();
    drop(Box::new(before));
    assert!(COUNT.get() > before, "allocations are counted");
}
