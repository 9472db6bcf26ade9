// SPDX-License-Identifier: Apache-2.0
//! Cases of brokers with access control or TLS: that all other cases pass there shows that the right keys are taken; these
//! show that nothing else is.

use crate::{
    Case, certificates,
    env::{Env, Need, wait_for},
};
use anyhow::{Context, Result, ensure};
use oxmq_client::{Client, ClientOptions, Credentials, Encoding, Message, SendError};
use std::time::Duration;

pub(crate) const CASES: &[Case] = &[
    ("keys_sign_every_header", Need::Keys, |env| Box::pin(keys_sign_every_header(env))),
    ("keys_that_are_wrong", Need::Keys, |env| Box::pin(keys_that_are_wrong(env))),
    ("tls_with_strangers", Need::Tls, |env| Box::pin(tls_with_strangers(env))),
];

/// Who comes without TLS.
const PLAIN: &str = "plain";

/// Sends one message with these options.
async fn send(env: &Env, options: ClientOptions, body: &str) -> Result<(), SendError> {
    let Ok(client) = Client::new(options) else { return Err(SendError::ShutDown) };
    let Ok(producer) = client.producer(format!("{}_{}", env.group(), body.replace(' ', "_"))).start() else {
        return Err(SendError::ShutDown);
    };
    let message = Message::new(&*env.topic, body.to_owned()).tag("中文").property("a", "\"ü\\").key(body);
    let result = producer.send(message).await.map(drop);
    client.shutdown().await;
    result
}

/// Only what was sent with the right options is there.
async fn stored(env: &Env, client: &Client, expected: &[&str]) -> Result<()> {
    let mut bodies = wait_for("what was sent with the right options", Duration::from_secs(60), || async {
        let all = env.pull_all(client, &env.topic).await?;
        let bodies = all.iter().filter_map(|message| message.text());
        // A Java server that demands TLS hangs up on who comes without, but does before that what it was asked (seen with
        // 4.9.7 and 5.3.3): the sender is told of a failure, and the message is there.
        let bodies: Vec<_> = bodies.filter(|body| *body != PLAIN).map(str::to_owned).collect();
        Ok((bodies.len() >= expected.len()).then_some(bodies))
    })
    .await?;
    bodies.sort_unstable();
    ensure!(bodies == expected, "{bodies:?}");
    Ok(())
}

async fn keys_sign_every_header(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    for (encoding, body) in [(Encoding::Json, "json"), (Encoding::RocketMq, "rocketmq")] {
        send(&env, env.options().encoding(encoding), body).await?;
    }
    stored(&env, &client, &["json", "rocketmq"]).await
}

async fn keys_that_are_wrong(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let access_key = env.servers.access_key.clone().context("no keys")?;
    for (what, credentials) in [
        ("wrong secret", Some(Credentials::new(&access_key, "not the secret"))),
        ("unknown account", Some(Credentials::new("nobody", "12345678"))),
        ("no keys", None),
    ] {
        let mut options = env.options();
        options.credentials = credentials;
        let error = send(&env, options, what).await.err().with_context(|| format!("{what}: it was sent"))?;
        ensure!(error.code().is_some(), "{what}: the broker did not refuse it: {error}");
        println!("  {what}: {error}");
    }
    send(&env, env.options(), "right").await?;
    stored(&env, &client, &["right"]).await
}

async fn tls_with_strangers(env: Env) -> Result<()> {
    let client = env.client()?;
    env.create_topic(&client, 1).await?;
    let folder = env.servers.certificates.clone().context("no certificates")?;
    for (what, tls) in [
        ("impostor", Some(certificates::mutual(&folder, "other", "client")?)),
        ("other name", Some(certificates::client(&folder)?.expecting("another.test")?)),
        ("stranger", Some(certificates::mutual(&folder, "ca", "stranger")?)),
        ("nobody", Some(certificates::unnamed(&folder)?)),
        (PLAIN, None),
    ] {
        let mut options = env.options();
        options.tls = tls;
        let error = send(&env, options, what).await.err().with_context(|| format!("{what}: it was sent"))?;
        println!("  {what}: {error}");
    }
    send(&env, env.options(), "right").await?;
    stored(&env, &client, &["right"]).await
}
