// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::consumer::testing::message;
use std::collections::BTreeMap;

const BOUNDS: Bounds = Bounds { count: 4, bytes: 100, span: Some(10) };

fn messages(offsets: impl IntoIterator<Item = i64>) -> Vec<Arc<ReceivedMessage>> {
    offsets.into_iter().map(|offset| Arc::new(message("t", offset, b"0123456789"))).collect()
}

fn offsets(messages: &[Arc<ReceivedMessage>]) -> Vec<i64> {
    messages.iter().map(|message| message.queue_offset()).collect()
}

fn ticket(queue: &ProcessQueue, offset: i64) -> Ticket {
    Ticket { epoch: queue.epoch(), offset }
}

fn filled(most: i64) -> ProcessQueue {
    let mut queue = ProcessQueue::new(0, 0);
    assert_eq!(queue.put(0, messages(0..most), most), most as usize);
    queue
}

#[test]
fn commits_what_is_finished_without_a_gap() {
    let mut queue = filled(4);
    queue.take(4, 1);
    for (offset, commit) in [(2, 0), (0, 1), (1, 3), (3, 4)] {
        assert!(queue.finish(ticket(&queue, offset), 2));
        assert!(!queue.finish(ticket(&queue, offset), 2), "once");
        assert_eq!(queue.commit_offset(), commit, "after {offset}");
    }
    // What the filter left out counts as done.
    queue.put(0, [], 9);
    assert_eq!((queue.commit_offset(), queue.pulled_to()), (9, 9));
    queue.put(0, messages([11]), 15);
    assert_eq!((queue.commit_offset(), queue.pulled_to()), (11, 15));
}

#[test]
fn a_wrong_answer_changes_nothing_but_is_passed_over() {
    let mut queue = ProcessQueue::new(10, 0);
    assert_eq!(queue.put(0, messages([3, 9, 12, 11, 12, 13]), 5), 2, "only 12 and 13 are new and in order");
    assert_eq!((queue.commit_offset(), queue.pulled_to(), queue.count()), (12, 14, 2));
    assert_eq!(queue.put(7, messages([20]), 21), 0, "of another epoch");
}

#[test]
fn is_full_by_count_bytes_and_span() {
    assert!(!filled(4).is_full(BOUNDS));
    assert!(filled(5).is_full(BOUNDS));
    assert!(filled(4).is_full(Bounds { bytes: 39, ..BOUNDS }));
    let mut queue = filled(1);
    queue.put(0, messages([10]), 11);
    assert!(!queue.is_full(BOUNDS));
    queue.put(0, messages([11]), 12);
    assert!(queue.is_full(BOUNDS), "the first and the last are 11 apart");
    assert!(!queue.is_full(Bounds { span: None, ..BOUNDS }));
    queue.take(1, 0);
    queue.finish(ticket(&queue, 0), 0);
    assert!(!queue.is_full(BOUNDS));
}

#[test]
fn what_failed_is_given_again_before_the_rest() {
    let mut queue = filled(4);
    let taken = queue.take(2, 5);
    queue.again(0, taken.into_iter());
    assert_eq!(offsets(&queue.take(3, 6)), [0, 1, 2]);
    assert_eq!((queue.count(), queue.waiting(), queue.commit_offset()), (4, 1, 0));
}

#[test]
fn overdue_messages_are_held_until_they_are_finished_or_given_again() {
    let mut queue = filled(3);
    queue.take(2, 100);
    assert_eq!(queue.overdue(100, 16), []);
    assert_eq!(offsets(&queue.overdue(101, 1)), [0]);
    let second = queue.overdue(101, 16);
    assert_eq!(offsets(&second), [1], "the first one is held already");
    assert!(queue.finish(ticket(&queue, 0), 102));
    assert!(!queue.holds(ticket(&queue, 0)), "the handler's late result does not count");
    queue.again(0, second.into_iter());
    assert_eq!(offsets(&queue.take(9, 103)), [1, 2]);
    assert!(queue.hold(ticket(&queue, 1)));
    assert_eq!(offsets(&queue.overdue(200, 16)), [2], "1 is in other hands");
}

#[test]
fn results_of_before_a_reset_do_not_count() {
    let mut queue = filled(3);
    let taken = queue.take(1, 1);
    let old = ticket(&queue, 0);
    queue.reset(1);
    assert_eq!((queue.count(), queue.bytes(), queue.commit_offset()), (0, 0, 1));
    queue.put(1, messages(1..3), 3);
    assert!(!queue.finish(old, 2));
    queue.again(old.epoch, taken.into_iter());
    assert_eq!(offsets(&queue.take(9, 3)), [1, 2]);
}

#[test]
fn tells_its_figures() {
    let mut queue = filled(5);
    queue.take(2, 1);
    let expected = Snapshot {
        commit_offset: 0,
        bytes: 50,
        waiting: Span { count: 3, min: 2, max: 4 },
        given: Span { count: 2, min: 0, max: 1 },
    };
    assert_eq!(queue.snapshot(), expected);
}

/// Random steps against a plain map of what is unfinished.
#[test]
fn agrees_with_a_plain_model() {
    for seed in 0..200_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut queue = ProcessQueue::new(100, 0);
        // Offset: with a handler or not.
        let mut model = BTreeMap::<i64, bool>::new();
        let mut pulled_to = 100;
        for step in 0..300 {
            match next(5) {
                0 => {
                    let found: Vec<i64> =
                        (0..next(6) as i64).map(|at| pulled_to + at * (1 + next(3) as i64)).collect();
                    let sorted: Vec<i64> = {
                        let mut sorted = found.clone();
                        sorted.sort_unstable();
                        sorted.dedup();
                        sorted
                    };
                    let end = sorted.last().map_or(pulled_to, |last| last + 1) + next(4) as i64;
                    queue.put(0, messages(sorted.clone()), end);
                    model.extend(sorted.into_iter().map(|offset| (offset, false)));
                    pulled_to = end;
                }
                1 | 2 => {
                    let most = 1 + next(4) as usize;
                    let expected: Vec<i64> = model
                        .iter()
                        .filter(|(_, given)| !**given)
                        .map(|(offset, _)| *offset)
                        .take(most)
                        .collect();
                    assert_eq!(offsets(&queue.take(most, step)), expected);
                    expected.iter().for_each(|offset| *model.get_mut(offset).unwrap() = true);
                }
                3 => {
                    let given: Vec<i64> =
                        model.iter().filter(|(_, given)| **given).map(|(offset, _)| *offset).collect();
                    if !given.is_empty() {
                        let offset = given[next(given.len() as u64) as usize];
                        assert!(queue.finish(ticket(&queue, offset), step));
                        model.remove(&offset);
                    }
                }
                _ => {
                    let given: Vec<i64> =
                        model.iter().filter(|(_, given)| **given).map(|(offset, _)| *offset).collect();
                    // Those that were given first come again: nothing before them waits.
                    let first_waiting =
                        model.iter().find(|(_, given)| !**given).map_or(i64::MAX, |(offset, _)| *offset);
                    let again: Vec<i64> =
                        given.into_iter().filter(|offset| *offset < first_waiting).collect();
                    queue.again(0, messages(again.clone()).into_iter());
                    again.iter().for_each(|offset| *model.get_mut(offset).unwrap() = false);
                }
            }
            assert_eq!(queue.count(), model.len(), "seed {seed}");
            assert_eq!(queue.bytes(), model.len() * 10);
            let commit = model.first_key_value().map_or(pulled_to, |(offset, _)| *offset);
            assert_eq!((queue.commit_offset(), queue.pulled_to()), (commit, pulled_to), "seed {seed}");
        }
    }
}
