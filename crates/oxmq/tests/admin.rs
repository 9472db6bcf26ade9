// SPDX-License-Identifier: Apache-2.0
//! `mqadmin` on topics, brokers and name servers: what it prints, how it ends, and what it makes of servers that are
//! away, wrong, hostile, or die in the middle.

mod kit;

use kit::{
    Ground,
    cluster::{Cluster, command},
    free_port, until,
};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output, Stdio},
    thread,
};

fn mqadmin(args: &[&str]) -> Output {
    command(&Ground::new(), args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Checks that a command failed with code 1 and one line that has `part`.
#[track_caller]
fn failed(output: &Output, part: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr.contains(part), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.len() < 4000 && !stderr.contains("panicked"), "{stderr}");
}

#[test]
fn the_list_and_the_usage_texts_are_javas() {
    let list = mqadmin(&[]);
    assert!(
        text(&list.stdout).starts_with("The most commonly used mqadmin commands are:\n   updateTopic    ")
    );
    let help = mqadmin(&["help", "topicstatus"]);
    let expected = "\
usage: mqadmin topicStatus [-c <arg>] [-h] [-n <arg>] -t <arg>
 -c,--cluster <arg>       cluster name or lmq parent topic, lmq is used to find the route.
 -h,--help                Print help
 -n,--namesrvAddr <arg>   Name server address list, eg: '192.168.0.1:9876;192.168.0.2:9876'
 -t,--topic <arg>         topic name
";
    assert_eq!((text(&help.stdout), help.status.code()), (expected, Some(0)));
    // Without options that it needs, too; and as a subcommand.
    assert_eq!(text(&mqadmin(&["topicStatus", "-h"]).stdout), expected);
    let sub =
        Command::new(env!("CARGO_BIN_EXE_oxmq")).args(["admin", "topicStatus", "--help"]).output().unwrap();
    assert_eq!(text(&sub.stdout), expected);
    for shell in ["bash", "zsh", "fish"] {
        let script = mqadmin(&["completion", shell]);
        assert!(text(&script.stdout).contains("clusterList") && script.status.success());
    }
    failed(&mqadmin(&["completion", "csh"]), "bash, zsh or fish");
}

#[test]
fn a_wrong_command_line_is_answered_as_java_does_and_ends_with_1() {
    let unknown = mqadmin(&["topicStats"]);
    assert_eq!(text(&unknown.stdout), "The sub command topicStats not exist.\n");
    failed(&unknown, "did you mean topicStatus?");
    for (args, message) in [
        (&["topicStatus"][..], "Missing required option: t\n"),
        (
            &["updateTopic"],
            "Missing required options: [-b create topic to which broker, -c create topic to which cluster], t\n",
        ),
        (
            &["updateTopic", "-b", "x:1", "-c", "y", "-t", "t"],
            "The option 'c' was specified but an option from this group has already been selected: 'b'\n",
        ),
        (&["topicStatus", "-t"], "Missing argument for option: t\n"),
        (&["topicStatus", "-t", "t", "-z"], "Unrecognized option: -z\n"),
        (&["clusterList", "-o", "xml"], "--output is json or text, not \"xml\"\n"),
        (&["updateBrokerConfig", "-k", "a", "-v", "b"], "give -b BROKER_ADDR or -c CLUSTER\n"),
    ] {
        let output = mqadmin(args);
        failed(&output, message);
        let usage = format!("usage: mqadmin {}", args[0]);
        assert!(text(&output.stdout).starts_with(&usage), "{output:?}");
    }
    // So is a value that cannot be.
    for (args, message) in [
        (&["clusterList", "-n", "x:1", "-i", "often"][..], "-i wants a number, not \"often\""),
        (&["updateTopic", "-c", "c", "-t", "t", "-r", "many"], "-r wants a number, not \"many\""),
        (&["updateTopic", "-c", "c", "-t", "t", "-p", "9"], "topicPermission value: 9 is invalid"),
        (&["setConsumeMode", "-c", "c", "-t", "t", "-g", "g", "-m", "SIDEWAYS"], "-m is PULL or POP"),
    ] {
        let output = mqadmin(args);
        failed(&output, message);
        assert!(text(&output.stdout).starts_with("usage: mqadmin "), "{output:?}");
    }
}

#[test]
fn topics_are_made_shown_changed_and_deleted() {
    let cluster = Cluster::start();
    let broker = cluster.broker();
    let broker = broker.as_str();
    let made = cluster.text(&["updateTopic", "-c", "DefaultCluster", "-t", "orders", "-r", "4", "-w", "4"]);
    assert_eq!(
        made,
        format!(
            "create topic to {broker} success.\nTopicConfig [topicName=orders, readQueueNums=4, writeQueueNums=4, \
             perm=RW-, topicFilterType=SINGLE_TAG, topicSysFlag=0, order=false, attributes={{}}]\n"
        )
    );
    let ordered = cluster.text(&["updateTopic", "-b", broker, "-t", "lined", "-o", "true", "-w", "2"]);
    assert!(ordered.contains("set broker orderConf. isOrder=true, orderConf=["), "{ordered}");
    until("the route is there", || cluster.run(&["topicRoute", "-t", "orders"]).status.success());
    let order = cluster.text(&["updateOrderConf", "-m", "get", "-t", "lined"]);
    assert!(
        order.starts_with("get orderConf success. topic=[lined], orderConf=[") && order.ends_with(":2] ")
    );

    let route = cluster.text(&["topicRoute", "-t", "orders"]);
    assert!(route.contains(&format!("\t\t\t\"brokerAddrs\":{{0:\"{broker}\"\n\t\t\t}},\n")), "{route}");
    assert_eq!(cluster.json(&["topicRoute", "-t", "orders"])["queueDatas"][0]["readQueueNums"], 4);
    assert!(cluster.text(&["topicRoute", "-l", "-t", "orders"]).contains("\nTotal:"));
    let status = cluster.text(&["topicStatus", "-t", "orders"]);
    assert!(status.lines().count() == 7 && status.ends_with("\nTopic Put TPS: 0.0\n"), "{status}");
    assert_eq!(cluster.json(&["topicStatus", "-t", "orders"])["queues"][3]["queueId"], 3);
    assert_eq!(cluster.text(&["topicClusterList", "-t", "orders"]), "DefaultCluster\n");
    assert!(cluster.text(&["topicList"]).lines().any(|line| line == "orders"));
    let allocated = cluster.text(&["allocateMQ", "-t", "orders", "-i", "10.0.0.1,10.0.0.2"]);
    let allocated: Value = serde_json::from_str(&allocated).unwrap();
    assert_eq!(allocated["result"]["10.0.0.2"].as_array().unwrap().len(), 2);

    // The permission changes, and nothing else: an ordered topic stays one.
    let changed = cluster.text(&["updateTopicPerm", "-b", broker, "-t", "lined", "-p", "4"]);
    assert!(
        changed.starts_with(&format!("update topic perm from 6 to 4 in {broker} success.\n")),
        "{changed}"
    );
    assert!(changed.contains("perm=R--") && changed.ends_with("order=true, attributes={}].\n"), "{changed}");
    until("the permission is in the route", || {
        cluster.json(&["topicRoute", "-t", "lined"])["queueDatas"][0]["perm"] == 4
    });
    let same = cluster.text(&["updateTopicPerm", "-b", broker, "-t", "lined", "-p", "4"]);
    assert_eq!(same, "new perm equals to the old one!\n");

    let list = cluster.ground.path("topics.json");
    fs::write(&list, r#"[{"topicName":"a","readQueueNums":1,"writeQueueNums":1,"perm":6}]"#).unwrap();
    let list = list.to_str().unwrap();
    let submitted = cluster.text(&["updateTopicList", "-b", broker, "-f", list]);
    assert_eq!(
        submitted,
        format!("submit batch of topic config to {broker} success, please check the result later.\n")
    );
    until("the listed topic is there", || cluster.run(&["topicStatus", "-t", "a"]).status.success());

    let deleted = cluster.text(&["deleteTopic", "-c", "DefaultCluster", "-t", "orders"]);
    assert_eq!(
        deleted,
        "delete topic [orders] from cluster [DefaultCluster] success.\ndelete topic [orders] from NameServer success.\n"
    );
    failed(
        &cluster.run(&["topicRoute", "-t", "orders"]),
        "No topic route info in name server for the topic: orders",
    );
}

#[test]
fn brokers_and_name_servers_are_looked_at_and_changed() {
    let cluster = Cluster::start();
    let broker = cluster.broker();
    let broker = broker.as_str();
    let list = cluster.text(&["clusterList"]);
    assert!(list.starts_with("#Cluster Name           #Broker Name            #BID  #Addr  "), "{list}");
    assert_eq!(cluster.json(&["clusterList"])[0]["runtime"]["brokerActive"], "true");
    assert!(cluster.text(&["clusterList", "-m", "-c", "DefaultCluster"]).contains("#InTotalYest"));
    let status = cluster.text(&["brokerStatus", "-b", broker]);
    assert!(status.contains(&format!("{:<32}: V5_3_3\n", "brokerVersionDesc")), "{status}");
    let of_cluster = cluster.text(&["brokerStatus", "-c", "DefaultCluster"]);
    assert!(of_cluster.lines().all(|line| line.starts_with(broker)));
    let config = cluster.text(&["getBrokerConfig", "-b", broker]);
    assert!(config.starts_with(&format!("============{broker}============\n")), "{config}");
    assert!(config.contains(&format!("{:<50}=  ", "fileReservedTime")), "{config}");
    assert!(cluster.text(&["getNamesrvConfig"]).contains("listenPort"));

    let kv = ["-s", "space", "-k", "key"];
    let put = [&["updateKvConfig"][..], &kv, &["-v", "value"]].concat();
    assert_eq!(cluster.text(&put), "create or update kv config to namespace success.\n");
    let delete = [&["deleteKvConfig"][..], &kv].concat();
    assert_eq!(cluster.text(&delete), "delete kv config from namespace success.\n");

    let name = cluster.json(&["clusterList"])[0]["brokerName"].as_str().unwrap().to_owned();
    let wiped = cluster.text(&["wipeWritePerm", "-b", &name]);
    assert!(
        wiped.starts_with(&format!(
            "wipe write perm of broker[{name}] in name server[{}] OK, ",
            cluster.namesrv
        ))
    );
    assert!(cluster.text(&["addWritePerm", "-b", &name]).contains(" OK, "));
    for clean in ["cleanExpiredCQ", "deleteExpiredCommitLog", "cleanUnusedTopic"] {
        assert_eq!(cluster.text(&[clean, "-b", broker]), "success");
        assert_eq!(cluster.json(&[clean])["cleaned"][0], broker);
    }
    let sent = cluster.text(&["sendMsgStatus", "-b", &name, "-c", "2"]);
    assert!(
        sent.lines().count() == 2 && sent.contains("ms, SendResult=SendResult [sendStatus=SEND_OK, msgId=")
    );
    let round = cluster.text(&["clusterRT", "-a", "3", "-i", "0"]);
    assert!(round.lines().nth(1).unwrap().split_whitespace().skip(3).eq(["3", "0"]), "{round}");
    assert!(cluster.text(&["statsAll", "-t", &name]).contains("NO_CONSUMER"));
}

#[test]
fn names_that_do_not_exist_are_told() {
    let cluster = Cluster::start();
    let broker = cluster.broker();
    let broker = broker.as_str();
    for (args, part) in [
        (&["topicStatus", "-t", "nowhere"][..], "TOPIC_NOT_EXIST"),
        (
            &["clusterList", "-c", "nowhere"],
            "there is no cluster nowhere; the name server knows DefaultCluster",
        ),
        (&["updateTopic", "-c", "nowhere", "-t", "t"], "there is no cluster nowhere"),
        (&["deleteTopic", "-c", "nowhere", "-t", "t"], "there is no cluster nowhere"),
        (&["updateTopic", "-b", broker, "-t", "../x"], "illegal characters"),
        (&["updateTopic", "-b", broker, "-t", "SCHEDULE_TOPIC_XXXX"], "system topic"),
        (&["updateTopic", "-b", broker, "-t", "t", "-a", "+colour=blue"], "colour"),
        (&["updateOrderConf", "-m", "get", "-t", "nowhere"], "QUERY_NOT_FOUND"),
        (&["updateOrderConf", "-m", "put", "-t", "t"], "please set orderConf with option -v."),
        (&["updateBrokerConfig", "-b", broker, "-k", "noSuchKey", "-v", "1"], "noSuchKey"),
        (&["updateBrokerConfig", "-b", broker, "-k", "a", "-v", "1\nb=2"], "one line"),
        (&["updateNamesrvConfig", "-k", "kvConfigPath", "-v", "/tmp/x"], "kvConfigPath"),
        (&["sendMsgStatus", "-b", "nowhere", "-s", "99999999"], "-s is from 1 to"),
        (&["createUser", "-c", "c", "-u", "u", "-p", "p"], "not supported: "),
        (&["updateStaticTopic", "-c", "c", "-t", "t", "-qn", "1"], "not supported: "),
    ] {
        failed(&cluster.run(args), part);
    }
    let absent = cluster.run(&["updateTopicList", "-b", broker, "-f", "nowhere.json"]);
    assert_eq!(text(&absent.stdout), "the file path nowhere.json does not exists\n");
    assert_eq!(absent.status.code(), Some(1));
    fs::write(cluster.ground.path("broken.json"), "{").unwrap();
    failed(&cluster.run(&["updateTopicList", "-b", broker, "-f", "broken.json"]), "no JSON list of topics");
}

#[test]
fn servers_that_are_away_or_none_are_told() {
    failed(&mqadmin(&["clusterList"]), "no name server address: give -n HOST:PORT, or set NAMESRV_ADDR");
    failed(&mqadmin(&["clusterList", "-n", "127.0.0.1:1"]), "cannot connect to 127.0.0.1:1");
    failed(&mqadmin(&["clusterList", "-n", "127.0.0.1:1;127.0.0.1:2"]), "no name server answered");
    failed(&mqadmin(&["clusterList", "-n", "nowhere"]), "an address is HOST:PORT");
    failed(&mqadmin(&["brokerStatus", "-b", "127.0.0.1:1"]), "nothing listens there");

    let cluster = Cluster::start();
    // The wrong port: a broker where a name server should be, and the other way round.
    failed(&mqadmin(&["clusterList", "-n", &cluster.broker()]), "REQUEST_CODE_NOT_SUPPORTED");
    failed(&mqadmin(&["brokerStatus", "-b", &cluster.namesrv]), "REQUEST_CODE_NOT_SUPPORTED");
    // The first name server is away: the second answers.
    let both = format!("127.0.0.1:1;{}", cluster.namesrv);
    assert!(mqadmin(&["clusterList", "-n", &both]).status.success());
    let from_environment =
        command(&cluster.ground, &["clusterList"]).env("NAMESRV_ADDR", &cluster.namesrv).output().unwrap();
    assert!(from_environment.status.success());
    let doctor = mqadmin(&["doctor", "-n", &both, "-o", "json"]);
    assert_eq!(doctor.status.code(), Some(3), "{doctor:?}");
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(report["findings"][0]["check"], "name server");
    // How full the disk of this machine is, is not known here.
    let report = cluster.json(&["doctor"]);
    let severities = report["findings"].as_array().unwrap().iter().filter(|found| found["check"] != "disk");
    let severities: Vec<_> = severities.map(|found| found["severity"].as_str().unwrap()).collect();
    assert_eq!(severities, ["note"; 3], "{report}");
}

#[test]
fn a_name_server_that_knows_no_broker_is_told() {
    let ground = Ground::new();
    let (port, _server) = (0..10)
        .find_map(|_| {
            let port = free_port();
            fs::write(ground.path("names.conf"), format!("listenPort={port}\nbindAddress=127.0.0.1\n"))
                .unwrap();
            Some((port, ground.start(&["namesrv", "-c", "names.conf"], 2).ok()?))
        })
        .expect("no port was free");
    let addr = format!("127.0.0.1:{port}");
    let output = mqadmin(&["clusterList", "-n", &addr]);
    failed(&output, "the name server knows no broker");
    assert_eq!(text(&output.stdout).lines().count(), 1, "the head of the table alone");
    failed(&mqadmin(&["updateTopic", "-n", &addr, "-c", "DefaultCluster", "-t", "t"]), "knows none yet");
    assert_eq!(mqadmin(&["doctor", "-n", &addr]).status.code(), Some(3));
}

#[test]
fn a_broker_that_is_away_has_a_line_without_figures() {
    let namesrv = server_that_answers(answer(brokers(&["127.0.0.1:1"]).as_bytes()));
    let output = mqadmin(&["clusterList", "-n", &namesrv]);
    assert!(output.status.success() && text(&output.stderr).contains("nothing listens there"), "{output:?}");
    let line = text(&output.stdout).lines().nth(1).unwrap();
    assert!(line.contains(" 127.0.0.1:1 ") && line.ends_with("     false"), "{line}");
    let doctor = mqadmin(&["doctor", "-n", &namesrv, "-o", "json"]);
    assert_eq!(doctor.status.code(), Some(3), "{doctor:?}");
    assert!(text(&doctor.stdout).contains("\"check\": \"reachable\""), "{doctor:?}");
}

/// What a name server says of brokers with these addresses.
fn brokers(addrs: &[&str]) -> String {
    let data = |(at, addr): (usize, &&str)| {
        format!(r#""b{at}":{{"brokerAddrs":{{0:"{addr}"}},"brokerName":"b{at}","cluster":"c"}}"#)
    };
    let table: Vec<_> = addrs.iter().enumerate().map(data).collect();
    let names: Vec<_> = (0..addrs.len()).map(|at| format!("\"b{at}\"")).collect();
    format!(
        r#"{{"brokerAddrTable":{{{}}},"clusterAddrTable":{{"c":[{}]}}}}"#,
        table.join(","),
        names.join(",")
    )
}

/// A server that reads a request and answers it with these bytes, then closes.
fn server_that_answers(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&answer);
        }
    });
    addr
}

/// A frame that answers the first request of a connection.
fn answer(body: &[u8]) -> Vec<u8> {
    let header = br#"{"code":0,"flag":1,"language":"JAVA","opaque":1,"version":475}"#;
    let mut frame = Vec::new();
    frame.extend(u32::try_from(4 + header.len() + body.len()).unwrap().to_be_bytes());
    frame.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
    frame.extend(header);
    frame.extend(body);
    frame
}

#[test]
fn a_hostile_server_gets_one_line() {
    let deep = "[".repeat(1_000_000).into_bytes();
    for (bytes, part) in [
        // It dies in the middle of the command.
        (vec![], "closed the connection before it answered"),
        (vec![0, 0, 1], "closed the connection before it answered"),
        // Giant and impossible lengths.
        (vec![0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1], "closed the connection"),
        (vec![0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "closed the connection"),
        // Wrong types.
        (answer(b"[1,2,3]"), "is not a list of brokers"),
        (answer(b"{\"brokerAddrTable\":7}"), "is not a list of brokers"),
        (
            answer(b"{\"brokerAddrTable\":{\"b\":{\"brokerAddrs\":{\"x\":\"y\"}}}}"),
            "is not a list of brokers",
        ),
        (answer(b"\xff\xfe\0"), "is not a list of brokers"),
        (answer(&deep), "is not a list of brokers"),
        (answer(b""), "is not a list of brokers"),
    ] {
        let addr = server_that_answers(bytes);
        failed(&mqadmin(&["clusterList", "-n", &addr]), part);
    }
    // A broker that says odd things about itself has an odd line, and no more.
    let odd = br#"{"table":{"putTps":"NaN x","commitLogDiskRatio":"1e400","earliestMessageTimeStamp":"-9223372036854775808",
        "timerCongestNum":"99999999999999999999","brokerVersionDesc":"a\u0000b\n\u001b[2J","runtime":5}}"#;
    let broker = server_that_answers(answer(odd));
    let namesrv = server_that_answers(answer(brokers(&[&broker]).as_bytes()));
    let output = mqadmin(&["clusterList", "-n", &namesrv]);
    assert!(output.status.success() && !text(&output.stderr).contains("panicked"), "{output:?}");
}

#[test]
fn a_command_can_be_watched() {
    let cluster = Cluster::start();
    let mut child = command(&cluster.ground, &["clusterList", "--watch", "0.1", "-n", &cluster.namesrv])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let heads = lines.filter(|line| line.starts_with("#Cluster Name")).take(3).count();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(heads, 3);
}
