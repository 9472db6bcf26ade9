// SPDX-License-Identifier: Apache-2.0
//! Payments that happen once: a consumer whose handler runs once for a key, in the database of the payments.
//! `compat/idempotent/run.sh` kills it again and again.
//!
//! ```sh
//! oxmq dev &
//! run="cargo run -p oxmq-client --features sqlite --example idempotent --"
//! $run prepare 'sqlite:shop.db?mode=rwc'
//! $run send 127.0.0.1:9876 Payments 1000
//! $run consume 127.0.0.1:9876 Payments sqlite:shop.db
//! $run count sqlite:shop.db
//! ```
//!
//! The consumer prints every second how many messages it handled, how many had been handled before, and how many have to come
//! again. Built with `mysql` and `postgres` it takes URLs of those, too.
#![forbid(unsafe_code)]

mod database;
mod leased;

use database::Database;
use futures_util::{StreamExt, stream};
use leased::Leased;
use oxmq_client::{
    Client, ClientOptions, Message, ReceivedMessage,
    consumer::{Batch, ConsumeFrom, ConsumerOptions, Handler, Outcome, PushConsumer},
    idempotent::{Cleanup, HandleError, Handled, HandlerError, InTransaction, SqlStore, TransactionHandler},
};
use sqlx::Transaction;
use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ACCOUNTS: u64 = 100;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Fallible<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["send", name_server, topic, count] => send(name_server, topic, count.parse()?).await,
        ["prepare" | "consume" | "lease" | "count", .., url] => match url.split(':').next().unwrap_or_default() {
            "sqlite" => with::<sqlx::Sqlite>(&args, url).await,
            #[cfg(feature = "mysql")]
            "mysql" => with::<sqlx::MySql>(&args, url).await,
            #[cfg(feature = "postgres")]
            "postgres" => with::<sqlx::Postgres>(&args, url).await,
            other => Err(format!("built without a database \"{other}\"").into()),
        },
        _ => {
            Err("send NAME_SERVER TOPIC COUNT | prepare URL | consume NAME_SERVER TOPIC URL | lease NAME_SERVER TOPIC EFFECTS URL | count URL"
                .into())
        }
    }
}

/// Sends COUNT messages with the keys `order-0` and so on, and every tenth of them twice, as a shop does that got no answer.
async fn send(name_server: &str, topic: &str, count: u64) -> Fallible<()> {
    let client = Client::new(ClientOptions::new(name_server))?;
    let producer = client.producer("shop").start()?;
    let orders = (0..count).flat_map(|order| std::iter::repeat_n(order, if order % 10 == 0 { 2 } else { 1 }));
    let sends = stream::iter(orders).map(|order| {
        let producer = &producer;
        async move {
            let message = Message::new(topic, format!("pay {order}")).key(&format!("order-{order}"));
            // What may not be stored is sent again; whether it was is told apart by its key.
            while let Err(error) = producer.send(message.clone()).await {
                eprintln!("{error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
    sends.buffer_unordered(64).collect::<()>().await;
    producer.shutdown().await;
    println!("sent {count} orders with {} messages", count + count.div_ceil(10));
    Ok(())
}

/// Pays an order: a row for it, and one more on an account.
struct Payments;

impl<DB: Database> TransactionHandler<DB> for Payments {
    async fn handle(
        &self,
        message: &ReceivedMessage,
        transaction: &mut Transaction<'static, DB>,
    ) -> Result<(), HandlerError> {
        let key = message.keys().unwrap_or_default();
        let order =
            key.strip_prefix("order-").and_then(|order| order.parse::<u64>().ok()).ok_or("no order")?;
        // A number cannot break out of its statement; use binds for anything else.
        let row = format!("INSERT INTO payment (order_number) VALUES ({order})");
        DB::run(transaction, &row).await?;
        let account = format!("UPDATE account SET paid = paid + 1 WHERE id = {}", order % ACCOUNTS);
        match DB::run(transaction, &account).await? {
            1 => Ok(()),
            _ => Err("no account".into()),
        }
    }
}

/// The handler, with numbers. Without them, it would be handed to the consumer as it is.
struct Counted<DB: Database> {
    inner: InTransaction<DB, Payments>,
    numbers: Arc<Numbers>,
}

impl<DB: Database> Handler for Counted<DB> {
    async fn handle(&self, batch: Batch) -> Outcome {
        for message in &batch {
            if !self.numbers.count(message, self.inner.handle_message(message).await) {
                return Outcome::Retry;
            }
        }
        Outcome::Success
    }
}

#[derive(Default)]
struct Numbers {
    now: AtomicU64,
    before: AtomicU64,
    again: AtomicU64,
}

impl Numbers {
    /// False if the message has to come again.
    fn count(&self, message: &ReceivedMessage, result: Result<Handled, HandleError>) -> bool {
        let number = match &result {
            Ok(Handled::Now) => &self.now,
            Ok(Handled::Before) => &self.before,
            Err(error) => {
                eprintln!("{}: {error}", message.msg_id());
                &self.again
            }
        };
        number.fetch_add(1, Relaxed);
        result.is_ok()
    }
}

async fn with<DB: Database>(args: &[&str], url: &str) -> Fallible<()> {
    let pool = DB::connect(url).await?;
    let store = SqlStore::new(pool.clone());
    match args {
        ["prepare", _] => {
            store.create_table().await?;
            let mut connection = pool.acquire().await?;
            // Without a unique key: what happens twice shall show.
            DB::run(&mut connection, "CREATE TABLE payment (order_number BIGINT NOT NULL)").await?;
            DB::run(&mut connection, "CREATE TABLE account (id BIGINT PRIMARY KEY, paid BIGINT NOT NULL)")
                .await?;
            for account in 0..ACCOUNTS {
                DB::run(&mut connection, &format!("INSERT INTO account VALUES ({account}, 0)")).await?;
            }
            Ok(())
        }
        ["count", _] => {
            let mut connection = pool.acquire().await?;
            for (name, query) in [
                ("payments", "SELECT COUNT(*) FROM payment"),
                ("orders", "SELECT COUNT(DISTINCT order_number) FROM payment"),
                ("on_accounts", DB::ON_ACCOUNTS),
                ("keys", "SELECT COUNT(*) FROM oxmq_handled WHERE state = 2"),
            ] {
                print!("{name}={} ", DB::number(&mut connection, query).await?);
            }
            println!();
            Ok(())
        }
        ["consume", name_server, topic, _] => {
            let numbers = Arc::new(Numbers::default());
            let inner = InTransaction::new("payments", store.clone(), Payments)?;
            let handler = Counted { inner, numbers: numbers.clone() };
            consume(name_server, topic, store, handler, numbers).await
        }
        ["lease", name_server, topic, effects, _] => {
            let numbers = Arc::new(Numbers::default());
            let handler = Leased::new(store.clone(), effects, numbers.clone())?;
            consume(name_server, topic, store, handler, numbers).await
        }
        _ => Err("wrong arguments".into()),
    }
}

async fn consume<DB: Database>(
    name_server: &str,
    topic: &str,
    store: SqlStore<DB>,
    handler: impl Handler,
    numbers: Arc<Numbers>,
) -> Fallible<()> {
    let _cleanup = Cleanup::start(store, Duration::from_secs(3600));
    let client = Client::new(ClientOptions::new(name_server))?;
    let options =
        ConsumerOptions::new("payments").subscribe(topic, "*").consume_from(ConsumeFrom::FirstOffset);
    let consumer = PushConsumer::start(&client, options, handler).await?;
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = seconds.tick() => println!(
                "now={} before={} again={} queues={}",
                numbers.now.load(Relaxed), numbers.before.load(Relaxed), numbers.again.load(Relaxed), consumer.queues().len()
            ),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    consumer.shutdown().await;
    Ok(())
}
