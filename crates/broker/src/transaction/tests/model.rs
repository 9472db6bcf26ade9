// SPDX-License-Identifier: Apache-2.0
//! Random transactions, restarts, crashes and full disks against a plain model.

use super::*;
use proptest::prelude::*;

const GROUPS: [&str; 2] = ["G0", "G1"];
const CHECKS_MAX: u32 = 3;

#[derive(Debug, Clone, Copy)]
enum Event {
    /// A half message of this group.
    Half(usize),
    /// A producer ends one of the transactions so far; from a check, if it was asked.
    End { of: usize, outcome: i32 },
    /// A round, so much later.
    Round { later_ms: i64 },
    /// A producer of the group comes or goes.
    Online(usize, bool),
    /// `consumerOffset.json` is written.
    Save,
    /// The disk is full, or is not.
    Full(bool),
    /// Stopped and started.
    Restart,
    /// Killed and started.
    Kill,
    /// The power went, and what was not acknowledged.
    PowerLoss(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![3 => Just(COMMIT), 2 => Just(ROLLBACK), 1 => Just(0)];
    let later = prop_oneof![
        4 => Just(TIMEOUT_MS + 1),
        1 => Just(0),
        1 => Just(20 * HOUR_MS),
    ];
    prop_oneof![
        8 => (0..2usize).prop_map(Event::Half),
        8 => (any::<usize>(), outcome).prop_map(|(of, outcome)| Event::End { of, outcome }),
        6 => later.prop_map(|later_ms| Event::Round { later_ms }),
        3 => (0..2usize, any::<bool>()).prop_map(|(group, on)| Event::Online(group, on)),
        1 => Just(Event::Save),
        1 => any::<bool>().prop_map(Event::Full),
        1 => Just(Event::Restart),
        1 => Just(Event::Kill),
        1 => any::<u64>().prop_map(Event::PowerLoss),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Committed,
    RolledBack,
    Discarded,
}

struct Transaction {
    group: usize,
    told: Told,
    state: State,
    /// Checks that were sent, over all restarts.
    checks: u32,
}

struct Model {
    world: World,
    transactions: Vec<Transaction>,
    online: [Option<Arc<Peer>>; 2],
    /// How far the clock of the rounds is ahead.
    ahead_ms: i64,
    lost_power: bool,
}

impl Model {
    fn new() -> Self {
        let world = World::new(|rules| {
            rules.checks_max = CHECKS_MAX;
            rules.renew_behind = 6;
        });
        Self { world, transactions: Vec::new(), online: [None, None], ahead_ms: 0, lost_power: false }
    }

    fn now_ms(&self) -> i64 {
        now_ms() + self.ahead_ms
    }

    /// The half of a transaction in the table. By its body: its place may have been forgotten.
    fn half(&self, at: usize) -> Option<Half> {
        let transaction = &self.transactions[at];
        let group = GROUPS[transaction.group];
        let pending = self.world.shared().pending();
        let halves: Vec<_> = (0..self.world.shared().halves.max_offset().0)
            .filter_map(|offset| pending.find(group, offset).filter(|half| half.offset == offset))
            .collect();
        drop(pending);
        halves.into_iter().find(|half| {
            let record = self.world.parts().store.record_at(PhysicalOffset(half.physical)).unwrap();
            RecordView::parse(&record).unwrap().body() == at.to_string().as_bytes()
        })
    }

    /// What was acknowledged is on the disk, as with SYNC_FLUSH.
    fn acknowledge(&self) {
        self.world.parts().store.flush().unwrap();
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Half(group) => {
                let body = self.transactions.len().to_string();
                if let Ok(told) = self.world.half(GROUPS[group], &body) {
                    self.acknowledge();
                    let state = State::Waits;
                    self.transactions.push(Transaction { group, told, state, checks: 0 });
                }
            }
            Event::End { of, outcome } if !self.transactions.is_empty() => {
                self.end(of % self.transactions.len(), outcome);
            }
            Event::End { .. } => {}
            Event::Round { later_ms } => self.round(later_ms),
            Event::Online(group, true) if self.online[group].is_none() => {
                self.online[group] = Some(self.world.join(GROUPS[group]));
            }
            Event::Online(group, false) => {
                if let Some(peer) = self.online[group].take() {
                    self.world.parts().clients.leaves_production(peer.id(), GROUPS[group]);
                }
            }
            Event::Online(..) => {}
            Event::Save => {
                self.world.shared().note_progress();
                self.world.parts().offsets.save().unwrap();
            }
            Event::Full(full) => {
                let space = if full { 0 } else { u64::MAX };
                self.world.disk.faults().space.store(space, Ordering::Relaxed);
            }
            Event::Restart => {
                self.apply(Event::Full(false));
                self.world.close();
                self.reopen();
            }
            Event::Kill => {
                self.apply(Event::Full(false));
                self.reopen();
            }
            Event::PowerLoss(seed) => {
                self.apply(Event::Full(false));
                self.lost_power = true;
                self.world.parts = None;
                self.world.disk.lose_power(seed);
                self.reopen();
                // What a round did may be lost, which nobody was told.
                for at in 0..self.transactions.len() {
                    if self.transactions[at].state == State::Discarded && self.half(at).is_some() {
                        self.transactions[at].state = State::Waits;
                    }
                }
            }
        }
    }

    fn reopen(&mut self) {
        self.world.open();
        self.online = [None, None];
    }

    fn end(&mut self, at: usize, outcome: i32) {
        let half = self.half(at);
        let transaction = &mut self.transactions[at];
        // A producer that was asked answers with the place that it was told then.
        let asked = half.filter(|half| half.checks > 0);
        let told =
            asked.map_or(transaction.told, |half| Told { offset: half.offset, physical: half.physical });
        let known = half.is_some_and(|half| half.first == told.offset || half.offset == told.offset);
        let ended = self.world.end(GROUPS[transaction.group], told, outcome, asked.is_some());
        let changed = matches!(&ended, Ok(Answer::Now(answer)) if answer.remark.is_none());
        if outcome != 0 && changed {
            assert!(transaction.state == State::Waits && known, "{at} ended twice");
            transaction.state = if outcome == COMMIT { State::Committed } else { State::RolledBack };
            self.acknowledge();
        } else if outcome != 0 && ended.is_ok() {
            assert!(transaction.state != State::Waits || !known, "{at} did not end");
        }
    }

    fn round(&mut self, later_ms: i64) {
        self.ahead_ms += later_ms;
        let before: Vec<_> = (0..self.transactions.len()).map(|at| self.half(at)).collect();
        self.world.shared().begin_round();
        let now = self.now_ms();
        while self.world.shared().step(now) == Step::Worked {}
        for (at, before) in before.into_iter().enumerate() {
            let Some(before) = before else { continue };
            let online = self.online[self.transactions[at].group].is_some();
            let due = online && before.due_ms <= now;
            match self.half(at) {
                Some(after) => {
                    let sent = after.checks - before.checks;
                    assert!(
                        sent == u32::from(due && before.checks < CHECKS_MAX),
                        "{at}: {before:?} {after:?}"
                    );
                    self.transactions[at].checks += sent;
                }
                None => {
                    let transaction = &mut self.transactions[at];
                    assert!(
                        due && transaction.checks >= CHECKS_MAX,
                        "{at} was discarded after {}",
                        transaction.checks
                    );
                    transaction.state = State::Discarded;
                }
            }
        }
    }

    fn check(&self) {
        for (at, transaction) in self.transactions.iter().enumerate() {
            let waits = self.half(at).is_some();
            assert_eq!(waits, transaction.state == State::Waits, "{at} {:?}", transaction.state);
        }
    }

    fn check_messages(&self) {
        let [messages, discarded] =
            [("T", 3), (CHECK_MAX_TIME_TOPIC, 0)].map(|(topic, queue)| self.world.bodies(topic, queue));
        for (at, transaction) in self.transactions.iter().enumerate() {
            let count = |bodies: &[String]| bodies.iter().filter(|body| **body == at.to_string()).count();
            assert_eq!(count(&messages), usize::from(transaction.state == State::Committed), "{at}");
            let found = count(&discarded);
            match transaction.state {
                State::Discarded => assert!(found == 1 || (self.lost_power && found > 1), "{at}"),
                _ => assert!(found == 0 || self.lost_power, "{at}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_committed_messages_arrive(events in proptest::collection::vec(event(), 1..60)) {
        let mut model = Model::new();
        for event in events {
            model.apply(event);
            model.check();
        }
        model.apply(Event::Restart);
        model.check();
        model.check_messages();
        // Whoever still waits is found out about.
        for (group, online) in [(0, true), (1, true)] {
            model.apply(Event::Online(group, online));
        }
        for at in 0..model.transactions.len() {
            model.round(TIMEOUT_MS + 1);
            if model.transactions[at].state == State::Waits {
                model.end(at, COMMIT);
                model.check();
            }
        }
        model.check_messages();
    }
}
