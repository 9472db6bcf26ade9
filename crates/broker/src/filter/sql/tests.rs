// SPDX-License-Identifier: Apache-2.0
//! Cases that show the rules. `compat/sql` compares thousands of others with the Java classes.

use super::*;
use proptest::prelude::*;

/// Properties from `name=value` with blanks between them.
fn message(text: &str) -> Vec<u8> {
    let mut properties = Vec::new();
    for (name, value) in text.split(' ').filter_map(|pair| pair.split_once('=')) {
        properties::append(&mut properties, name, value.as_bytes());
    }
    properties
}

const TRUE: Result<Option<bool>, Incomparable> = Ok(Some(true));
const FALSE: Result<Option<bool>, Incomparable> = Ok(Some(false));
const NULL: Result<Option<bool>, Incomparable> = Ok(None);
const FAILS: Result<Option<bool>, Incomparable> = Err(Incomparable);

#[track_caller]
fn check(expression: &str, properties: &str, expected: Result<Option<bool>, Incomparable>) {
    let sql = Sql::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    assert_eq!(sql.evaluate(&message(properties)), expected, "{expression} of {properties}");
    assert_eq!(sql.wants(&message(properties)), expected == TRUE);
    assert_eq!(Sql::parse(&sql.to_string()).as_ref(), Ok(&sql), "{expression} as {sql}");
}

#[track_caller]
fn refused(expression: &str) -> SqlError {
    Sql::parse(expression).expect_err(expression)
}

#[test]
fn numbers() {
    for (expression, properties, expected) in [
        ("a = 5", "a=5", TRUE),
        ("a = 5", "a=+05", TRUE),
        ("a = 5", "a=6", FALSE),
        ("5 = a", "a=5", TRUE),
        ("a = 5", "a=５", TRUE),
        ("a = 5", "a=5.0", FAILS),
        ("a = 5", "a=five", FAILS),
        ("a = 5", "a=3000000000", FAILS),
        ("a = 5.5", "a=5.50", TRUE),
        ("a > 5.5", "a=3000000000", TRUE),
        ("a > 3000000000", "a=3000000001", TRUE),
        ("a > 3000000000", "a=9223372036854775808", FAILS),
        ("a < 5", "a=-2147483648", TRUE),
        ("a > -9223372036854775807", "a=-9223372036854775808", FALSE),
        ("a >= .5", "a=5e-1f", TRUE),
        ("a < 1.5", "a=\tNaN", FALSE),
        ("a > 1e300", "a=1e999", TRUE),
        ("a > 1e300", "a=-Infinity", FALSE),
        ("a > 1e300", "a=inf", FAILS),
        ("a > 1e300", "a=1_0", FAILS),
        ("a > 1e300", "a=e", FAILS),
        ("a > b", "a=10 b=9", TRUE),
        ("a > b", "a=10 b=x", FAILS),
        ("5 = 5.0", "", TRUE),
        ("5L < 5000000000", "", TRUE),
        ("- a > 1", "a=-5", NULL),
        ("- - 5 = 5", "", TRUE),
        ("a BETWEEN 1 AND 5", "a=5", TRUE),
        ("a BETWEEN 1 AND 5", "a=6", FALSE),
        ("a BETWEEN b AND 5", "a=6", FALSE),
        ("a BETWEEN b AND 5", "a=4", NULL),
        ("a NOT BETWEEN 5 AND 1", "a=3", TRUE),
        ("a BETWEEN 1.5 AND 9", "a=2", TRUE),
        ("a BETWEEN 1.5 AND 9", "a=2.5", FAILS),
    ] {
        check(expression, properties, expected);
    }
}

#[test]
fn texts() {
    for (expression, properties, expected) in [
        ("a = 'x'", "a=x", TRUE),
        ("a = 'X'", "a=x", FALSE),
        ("a = '5'", "a=5.0", FALSE),
        ("a = 'it''s'", "a=it's", TRUE),
        ("a = '中文'", "a=中文", TRUE),
        ("a = b", "a=x b=x", TRUE),
        ("a <> 'x'", "a=y", TRUE),
        ("a <> 'x'", "", NULL),
        ("'x' <> a", "", TRUE),
        ("a IN ('x', 'y')", "a=y", TRUE),
        ("a IN ('x', 'y')", "a=z", FALSE),
        ("a IN ('x', 'y')", "", NULL),
        ("a NOT IN ('x', 'y', 'x')", "a=z", TRUE),
        ("a CONTAINS 'bc'", "a=abcd", TRUE),
        ("a NOT CONTAINS 'bc'", "a=abcd", FALSE),
        ("a NOT CONTAINS 'bc'", "", FALSE),
        ("a NOT CONTAINS ''", "a=b", FALSE),
        ("a STARTSWITH 'ab'", "a=abcd", TRUE),
        ("a ENDSWITH 'ab'", "a=abcd", FALSE),
        ("a NOT ENDSWITH 'ab'", "a=abcd", TRUE),
        ("'abc' CONTAINS 'b' AND 5 CONTAINS '5'", "", FALSE),
        ("Abc = '1'", "abc=1", NULL),
        ("$a_1 = '1'", "$a_1=1", TRUE),
    ] {
        check(expression, properties, expected);
    }
}

#[test]
fn conditions() {
    for (expression, properties, expected) in [
        ("a IS NULL", "", TRUE),
        ("a IS NULL", "a=1", FALSE),
        ("a is Not nuLL", "a=1", TRUE),
        ("NULL", "", NULL),
        ("TRUE AND NULL", "", NULL),
        ("NULL AND FALSE", "", FALSE),
        ("FALSE OR NULL", "", NULL),
        ("NULL OR TRUE", "", TRUE),
        ("NOT NULL", "", NULL),
        ("TRUE OR FALSE AND FALSE", "", TRUE),
        // The first that decides ends it, so what fails behind it does not count.
        ("a = 'x' OR a > 5", "a=x", TRUE),
        ("a > 5 OR a = 'x'", "a=x", FAILS),
        ("a = b", "", TRUE),
        ("a = b", "a=1", FALSE),
        ("a = b", "b=1", NULL),
        ("a = TRUE", "a=True", TRUE),
        ("a = FALSE", "a=no", TRUE),
        ("TRUE = a", "a=true", FAILS),
        ("5 = TRUE", "", FALSE),
        ("a", "a=true", FALSE),
        ("NOT a", "a=true", TRUE),
        ("NOT a", "", NULL),
        // NOT binds closer than anything.
        ("NOT a = FALSE", "a=x", FALSE),
        ("NOT (a = 'x')", "a=y", TRUE),
        ("(a = 'x') = TRUE", "a=x", TRUE),
        ("a = 'x' = (b = 'y')", "a=x b=z", FALSE),
        ("a = 1 IS NULL", "", TRUE),
        ("a = 1 -- as before\n AND b = 2 /* and ** */", "a=1 b=2", TRUE),
        // What stands behind a whole expression, Java does not look at.
        ("a = 1 -- without an end", "a=1", TRUE),
        ("a = 1) OR TRUE", "a=2", FALSE),
        ("a = 1 b = 2", "a=1", TRUE),
        ("a = 007", "a=0", TRUE),
        ("a = 1 'it''", "a=1", TRUE),
    ] {
        check(expression, properties, expected);
    }
}

#[test]
fn the_last_of_a_repeated_property_counts() {
    assert!(Sql::parse("a = 1").unwrap().wants(b"a\x012\x02a\x011\x02"));
    assert!(Sql::parse("a = 1").unwrap().wants(b"\x02\x02a\x02b\x01\x02a\x011"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let written = r#"
        () | a = | = a | a = 1 AND | a = 1 OR OR b = 2 | (a = 1 | a = 'x | a = 'x'' | a = "x" | a # 1 | a == 1
        a != 1 | a = 1 NOT | a NOT = 1 | a > 'x' | a > TRUE | a > NULL | a = NULL | NULL = a | TRUE = 5
        TRUE = 'x' | (a = 1) > 5 | NOT a > 5 | NOT a IN ('x') | NOT 5 | 5 | 'x' | - a | a = 1 OR 5
        a IN () | a IN (1) | a IN ('x' | 'a' IN ('x') | (a = 1) IN ('x') | a BETWEEN 1
        a BETWEEN 1 OR 5 | a BETWEEN 5 AND 1 | a BETWEEN 'a' AND 'b' | a BETWEEN NULL AND 5
        a NOT BETWEEN 'a' AND 5 | a CONTAINS b | a CONTAINS 5 | a IS 5 | a IS NOT 5
        a = 9223372036854775808 | a = 0.0 | a = 1e999 | a = 1 /* without an end | a = ?"#;
    for expression in written.split(['|', '\n']).chain(["a = 1 AND \u{a0}b = 2"]) {
        refused(expression);
    }
    let error = refused("名 = 1");
    assert_eq!(
        (error.at, error.to_string().as_str()),
        (1, "'名' has no meaning here, at character 1 of the expression")
    );
    assert_eq!(refused("a = '名' AND )").at, 13);
}

/// Java knows neither LIKE nor sums: the name before them is the whole expression.
#[test]
fn an_unknown_operator_ends_the_expression() {
    check("a LIKE 'x'", "a=x", FALSE);
    check("a + 1 = 2", "a=1", FALSE);
}

#[test]
fn what_is_too_large_is_refused_at_once() {
    let deep =
        |depth: usize, open: &str, close: &str| format!("{}a = 1{}", open.repeat(depth), close.repeat(depth));
    for (open, close) in
        [("(", ")"), ("NOT (", ")"), ("NOT ", ""), ("+", ""), ("(b = ", ")"), ("-(", ") IS NULL")]
    {
        assert!(Sql::parse(&deep(40, open, close)).is_ok(), "{open}");
        for depth in [1_000, 5_000] {
            assert!(refused(&deep(depth, open, close)).reason.contains("deeper than 100"), "{open}");
        }
    }
    for chain in [" IS NULL", " = TRUE", " CONTAINS 'x'"] {
        assert!(refused(&format!("a{}", chain.repeat(1_000))).reason.contains("deeper than 100"), "{chain}");
    }
    let long = |count| format!("a = 1{}", " OR a = 1".repeat(count));
    assert!(Sql::parse(&long(7_000)).unwrap().wants(&message("a=1")));
    for length in [65_537, 1 << 20] {
        assert!(refused(&"x".repeat(length)).reason.contains("65536 are allowed"));
    }
    let names = |count| (0..count).map(|name| format!("p{name}")).collect::<Vec<_>>().join(" OR ");
    assert!(Sql::parse(&names(64)).is_ok());
    assert!(refused(&names(65)).reason.contains("more than 64 properties"));
}

/// Any words and what resembles them.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "a",
            "b",
            "名",
            "NOT",
            "and",
            "OR",
            "BETWEEN",
            "IN",
            "TRUE",
            "false",
            "NULL",
            "IS",
            "CONTAINS",
            "STARTSWITH",
            "ENDSWITH",
            "=",
            "<>",
            "<",
            "<=",
            ">",
            ">=",
            "(",
            ")",
            ",",
            "+",
            "-",
            "--",
            "/*",
            "*/",
            "\n",
            "'x'",
            "''",
            "'",
            "0",
            "7",
            "5000000000",
            "1.5",
            ".5e3",
            "1e400",
            "9L",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

/// Expressions that can be read.
fn expression() -> impl Strategy<Value = String> {
    let value = prop_oneof![Just("a"), Just("b"), Just("c_$1")].prop_map(str::to_owned);
    let number = prop_oneof![
        any::<u32>().prop_map(|number| number.to_string()),
        (1u64..i64::MAX as u64).prop_map(|number| number.to_string()),
        (f64::MIN_POSITIVE..f64::MAX).prop_map(|number| format!("{number:?}")),
    ];
    let text = "[a-z' 名]{0,5}".prop_map(|text| Quoted(&text).to_string());
    let leaf = prop_oneof![
        (value.clone(), number.clone(), "=|<>|<|<=|>|>=").prop_map(|(a, b, op)| format!("{a} {op} {b}")),
        (value.clone(), text.clone(), "=|<>|CONTAINS|NOT STARTSWITH|ENDSWITH")
            .prop_map(|(a, b, op)| format!("{a} {op} {b}")),
        (value.clone(), prop::collection::vec(text, 1..4), "IN|NOT IN")
            .prop_map(|(a, list, op)| format!("{a} {op} ({})", list.join(", "))),
        (value.clone(), number.clone(), number).prop_map(|(a, b, c)| format!("{a} NOT BETWEEN {b} AND {c}")),
        (value, "IS NULL|IS NOT NULL|= TRUE|").prop_map(|(a, op)| format!("{a} {op}")),
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), "AND|OR").prop_map(|(a, b, op)| format!("{a} {op} {b}")),
            (inner.clone(), inner.clone(), "AND|OR|=").prop_map(|(a, b, op)| format!("({a}) {op} ({b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in words(), properties in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(sql) = Sql::parse(&text) {
            let _ = sql.evaluate(&properties);
            prop_assert_eq!(Sql::parse(&sql.to_string()), Ok(sql));
        }
    }

    #[test]
    fn the_text_of_an_expression_is_that_expression(text in expression()) {
        let sql = Sql::parse(&text).unwrap();
        prop_assert_eq!(Sql::parse(&sql.to_string()), Ok(sql));
    }
}
