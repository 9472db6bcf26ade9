// SPDX-License-Identifier: Apache-2.0
//! SQL92 expressions over the properties of a message: `region IN ('hz', 'sh') AND price BETWEEN 10 AND 99.5`.
//!
//! Read once into a tree of bounded depth; evaluated over the bytes of the properties, without allocation: the
//! properties that the expression names are found in one pass and put into an array on the stack.
//!
//! The values of properties are texts. Beside a number they are read as one *of that number's class*, so `a = 5`
//! takes `5`, and fails on `5.0` and on `x`; texts on both sides of `<` are read as doubles. An evaluation that fails
//! ends there, and the message is not wanted. What is absent is NULL, with the three-valued logic of SQL, but for `=`:
//! two absent properties are equal, and what is there does not equal what is not.
//!
//! Java: `SelectorParser.jj` and `filter/expression/*`, whose every answer `compat/sql` compares with ours. 4.9.7
//! has neither CONTAINS nor STARTSWITH nor ENDSWITH.

mod lexer;
mod number;
mod parser;

use number::Number;
use oxmq_record::properties;
use std::fmt;
use thiserror::Error;

/// Most properties that an expression names.
const PROPERTIES_MAX: usize = 64;

/// A compiled expression. Its text is that of an equal one, with all parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Sql {
    root: Node,
    /// The properties it names. Nodes have their index.
    names: Vec<Box<str>>,
}

/// An expression that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}, at character {at} of the expression")]
pub struct SqlError {
    /// The character, from 1 on, where that was found.
    pub at: usize,
    /// What is wrong there.
    pub reason: String,
}

/// An evaluation that failed: what was to be compared is not comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the values of the message cannot be compared")]
pub struct Incomparable;

impl SqlError {
    fn new(text: &str, byte: usize, reason: impl Into<String>) -> Self {
        Self { at: text[..byte].chars().count() + 1, reason: reason.into() }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    /// `None` is NULL.
    Boolean(Option<bool>),
    Number(Number),
    Text(Box<str>),
    Property(u8),
    Negative(Box<Node>),
    /// A property where a condition is expected. No value of a property is a boolean, so it is false or NULL.
    Condition(u8),
    Not(Box<Node>),
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Equal(Box<[Node; 2]>),
    Order(Order, Box<[Node; 2]>),
    Between {
        not: bool,
        /// The value, the lower and the upper end.
        operands: Box<[Node; 3]>,
    },
    In {
        not: bool,
        property: u8,
        /// Sorted.
        texts: Box<[Box<str>]>,
    },
    Affix {
        affix: Affix,
        not: bool,
        value: Box<Node>,
        text: Box<str>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where a text is to be found in another.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Affix {
    Anywhere,
    Start,
    End,
}

/// What a node is for a message.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Null,
    Boolean(bool),
    Number(Number),
    Text(&'a [u8]),
}

/// A node that cannot stand for a condition.
struct NotBoolean;

impl Sql {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`SqlError`] if it breaks the grammar, compares what never is comparable, nests deeper than 100 levels, is longer
    /// than 64 KiB or names more than 64 properties.
    pub fn parse(text: &str) -> Result<Self, SqlError> {
        parser::parse(text)
    }

    /// True if a message with these properties is wanted.
    #[must_use]
    pub fn wants(&self, properties: &[u8]) -> bool {
        self.evaluate(properties) == Ok(Some(true))
    }

    /// What the expression is for a message with these properties; `None` is NULL.
    ///
    /// # Errors
    /// [`Incomparable`] if it compares what is not comparable in this message.
    pub fn evaluate(&self, properties: &[u8]) -> Result<Option<bool>, Incomparable> {
        let mut values = [None; PROPERTIES_MAX];
        for (name, value) in properties::iter(properties) {
            if let Some(slot) = self.names.iter().position(|known| known.as_bytes() == name) {
                values[slot] = Some(value);
            }
        }
        self.root.condition(&values)
    }
}

type Values<'a> = [Option<&'a [u8]>; PROPERTIES_MAX];

impl Node {
    /// True if it is true, false or NULL for every message. Java: `BooleanExpression`.
    fn is_boolean(&self) -> bool {
        !matches!(self, Self::Number(_) | Self::Text(_) | Self::Property(_) | Self::Negative(_))
    }

    fn into_boolean(self) -> Result<Self, NotBoolean> {
        match self {
            Self::Property(property) => Ok(Self::Condition(property)),
            node if node.is_boolean() => Ok(node),
            _ => Err(NotBoolean),
        }
    }

    fn value<'a>(&'a self, values: &Values<'a>) -> Result<Value<'a>, Incomparable> {
        Ok(match self {
            Self::Number(number) => Value::Number(*number),
            Self::Text(text) => Value::Text(text.as_bytes()),
            Self::Property(property) => values[usize::from(*property)].map_or(Value::Null, Value::Text),
            Self::Negative(node) => match node.value(values)? {
                Value::Number(number) => Value::Number(number.negated()),
                _ => Value::Null,
            },
            condition => condition.condition(values)?.map_or(Value::Null, Value::Boolean),
        })
    }

    fn condition(&self, values: &Values<'_>) -> Result<Option<bool>, Incomparable> {
        Ok(match self {
            Self::Boolean(value) => *value,
            Self::Condition(property) => values[usize::from(*property)].map(|_| false),
            Self::Not(node) => node.condition(values)?.map(|is| !is),
            Self::All(nodes) => joined(nodes, values, false)?,
            Self::Any(nodes) => joined(nodes, values, true)?,
            Self::Equal(operands) => {
                let [left, right] = operands.each_ref().map(|node| node.value(values));
                equal(left?, right?)?
            }
            Self::Order(order, operands) => match operands[0].value(values)? {
                Value::Null => None,
                left => order.holds(left, operands[1].value(values)?)?,
            },
            Self::Between { not, operands } => between(*not, operands, values)?,
            Self::In { not, property, texts } => values[usize::from(*property)]
                .map(|value| texts.binary_search_by(|text| text.as_bytes().cmp(value)).is_ok() != *not),
            Self::Affix { text, .. } if text.is_empty() => Some(false),
            Self::Affix { affix, not, value, text } => match value.value(values)? {
                Value::Text(value) => Some(affix.is_in(value, text.as_bytes()) != *not),
                _ => Some(false),
            },
            // The parser has no condition there.
            Self::Number(_) | Self::Text(_) | Self::Property(_) | Self::Negative(_) => None,
        })
    }
}

/// AND of `nodes`, or OR if `decisive` is true: the first node that is `decisive` decides.
fn joined(nodes: &[Node], values: &Values<'_>, decisive: bool) -> Result<Option<bool>, Incomparable> {
    let mut result = Some(!decisive);
    for node in nodes {
        match node.condition(values)? {
            Some(value) if value == decisive => return Ok(Some(decisive)),
            None => result = None,
            Some(_) => {}
        }
    }
    Ok(result)
}

fn equal(left: Value<'_>, right: Value<'_>) -> Result<Option<bool>, Incomparable> {
    let equal = match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) => return Ok(None),
        (Value::Boolean(left), Value::Boolean(right)) => left == right,
        (Value::Text(left), Value::Text(right)) => left == right,
        (Value::Text(left), Value::Boolean(right)) => left.eq_ignore_ascii_case(b"true") == right,
        // Java casts the wrong side.
        (Value::Boolean(_), Value::Text(_)) => return Err(Incomparable),
        (_, Value::Null) | (Value::Boolean(_), _) | (_, Value::Boolean(_)) => false,
        (left, right) => {
            let (left, right) = numbers(left, right)?;
            left.compare(right).is_eq()
        }
    };
    Ok(Some(equal))
}

/// `value >= low AND value <= high`, or `value < low OR value > high`.
fn between(
    not: bool,
    [value, low, high]: &[Node; 3],
    values: &Values<'_>,
) -> Result<Option<bool>, Incomparable> {
    let value = value.value(values)?;
    if let Value::Null = value {
        return Ok(None);
    }
    let orders =
        if not { [Order::Less, Order::Greater] } else { [Order::GreaterOrEqual, Order::LessOrEqual] };
    let mut result = Some(!not);
    for (order, end) in orders.into_iter().zip([low, high]) {
        match order.holds(value, end.value(values)?)? {
            Some(holds) if holds == not => return Ok(Some(not)),
            None => result = None,
            Some(_) => {}
        }
    }
    Ok(result)
}

impl Order {
    fn holds(self, left: Value<'_>, right: Value<'_>) -> Result<Option<bool>, Incomparable> {
        if let (Value::Null, _) | (_, Value::Null) = (left, right) {
            return Ok(None);
        }
        let (left, right) = numbers(left, right)?;
        let ordering = left.compare(right);
        Ok(Some(match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }))
    }
}

impl Affix {
    fn is_in(self, text: &[u8], wanted: &[u8]) -> bool {
        match self {
            Self::Anywhere => memchr::memmem::find(text, wanted).is_some(),
            Self::Start => text.starts_with(wanted),
            Self::End => text.ends_with(wanted),
        }
    }
}

/// Both as numbers: a text beside a number has the number's class, two texts are doubles.
fn numbers(left: Value<'_>, right: Value<'_>) -> Result<(Number, Number), Incomparable> {
    let of_class =
        |class: Number, text| std::str::from_utf8(text).ok().and_then(|text| class.of_same_class(text));
    let pair = match (left, right) {
        (Value::Number(left), Value::Number(right)) => Some((left, right)),
        (Value::Number(left), Value::Text(right)) => of_class(left, right).map(|right| (left, right)),
        (Value::Text(left), Value::Number(right)) => of_class(right, left).map(|left| (left, right)),
        (Value::Text(left), Value::Text(right)) => {
            let double = |text| of_class(Number::Double(0.0), text);
            double(left).zip(double(right))
        }
        _ => None,
    };
    pair.ok_or(Incomparable)
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Shown { node: &self.root, names: &self.names })
    }
}

/// A node as text.
struct Shown<'a> {
    node: &'a Node,
    names: &'a [Box<str>],
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |property: &u8| &*self.names[usize::from(*property)];
        let operand = |node| Operand(Shown { node, names: self.names });
        let unless = |not: &bool| if *not { "NOT " } else { "" };
        match self.node {
            Node::Boolean(None) => f.write_str("NULL"),
            Node::Boolean(Some(value)) => f.write_str(if *value { "TRUE" } else { "FALSE" }),
            Node::Number(number) => number.fmt(f),
            Node::Text(text) => Quoted(text).fmt(f),
            Node::Property(property) | Node::Condition(property) => f.write_str(name(property)),
            Node::Negative(inner) | Node::Not(inner) => {
                f.write_str(if let Node::Not(_) = self.node { "NOT " } else { "- " })?;
                match **inner {
                    Node::Negative(_) | Node::Not(_) => Shown { node: inner, names: self.names }.fmt(f),
                    _ => operand(inner).fmt(f),
                }
            }
            Node::All(nodes) | Node::Any(nodes) => {
                let word = if let Node::All(_) = self.node { " AND " } else { " OR " };
                for (index, node) in nodes.iter().enumerate() {
                    write!(f, "{}{}", if index > 0 { word } else { "" }, operand(node))?;
                }
                Ok(())
            }
            Node::Equal(operands) => match &**operands {
                [left, Node::Boolean(None)] => write!(f, "{} IS NULL", operand(left)),
                [left, right] => write!(f, "{} = {}", operand(left), operand(right)),
            },
            Node::Order(order, operands) => {
                let sign = match order {
                    Order::Less => "<",
                    Order::LessOrEqual => "<=",
                    Order::Greater => ">",
                    Order::GreaterOrEqual => ">=",
                };
                write!(f, "{} {sign} {}", operand(&operands[0]), operand(&operands[1]))
            }
            Node::Between { not, operands } => {
                let [value, low, high] = operands.each_ref().map(operand);
                write!(f, "{value} {}BETWEEN {low} AND {high}", unless(not))
            }
            Node::In { not, property, texts } => {
                write!(f, "{} {}IN (", name(property), unless(not))?;
                for (index, text) in texts.iter().enumerate() {
                    write!(f, "{}{}", if index > 0 { ", " } else { "" }, Quoted(text))?;
                }
                f.write_str(")")
            }
            Node::Affix { affix, not, value, text } => {
                let word = match affix {
                    Affix::Anywhere => "CONTAINS",
                    Affix::Start => "STARTSWITH",
                    Affix::End => "ENDSWITH",
                };
                write!(f, "{} {}{word} {}", operand(value), unless(not), Quoted(text))
            }
        }
    }
}

/// A node within another: in parentheses, unless it is one word.
struct Operand<'a>(Shown<'a>);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.node {
            Node::Boolean(_) | Node::Number(_) | Node::Text(_) | Node::Property(_) | Node::Condition(_) => {
                self.0.fmt(f)
            }
            _ => write!(f, "({})", self.0),
        }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests;
