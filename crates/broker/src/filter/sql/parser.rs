// SPDX-License-Identifier: Apache-2.0
//! From words to a tree, by descent through the levels of precedence. From the loosest: `OR`, `AND`; `=`, `<>`, `IS`;
//! `<`, `CONTAINS`, `BETWEEN`, `IN` and their like; `NOT` and signs. So `NOT a = 1` is `(NOT a) = 1`.
//!
//! What makes no sense whatever the message is refused here, with Java's rules: text beside `<`, a list behind
//! anything but a property. What stands behind a whole expression is not looked at, as in Java.

use super::{
    Affix, Node, NotBoolean, Order, PROPERTIES_MAX, Sql, SqlError,
    lexer::{Keyword, Lexer, Token},
    number::Number,
};

/// Longest expression, in bytes.
const LENGTH_MAX_BYTES: usize = 64 * 1024;
/// Most parentheses and signs within each other, and most levels of the tree: both are walked by recursion.
const NESTING_MAX: usize = 100;

pub(super) fn parse(text: &str) -> Result<Sql, SqlError> {
    if text.len() > LENGTH_MAX_BYTES {
        let reason = format!("it has {} bytes, {LENGTH_MAX_BYTES} are allowed", text.len());
        return Err(SqlError::new(text, 0, reason));
    }
    let mut lexer = Lexer::new(text);
    let (at, token) = lexer.next()?;
    let mut parser = Parser { text, lexer, at, token, names: Vec::new(), open: 0 };
    let whole = parser.disjunction()?;
    let root = parser.boolean(whole)?.node;
    Ok(Sql { root, names: parser.names })
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// Where `token` begins.
    at: usize,
    /// The next word.
    token: Token<'a>,
    names: Vec<Box<str>>,
    /// Parentheses and signs that are open.
    open: usize,
}

/// A part of the tree with its levels.
struct Part {
    node: Node,
    levels: usize,
}

impl Part {
    fn leaf(node: Node) -> Self {
        Self { node, levels: 1 }
    }
}

type Parsed = Result<Part, SqlError>;

impl Parser<'_> {
    fn disjunction(&mut self) -> Parsed {
        self.joined(Keyword::Or, Self::conjunction, Node::Any)
    }

    fn conjunction(&mut self) -> Parsed {
        self.joined(Keyword::And, Self::equality, Node::All)
    }

    /// One or more of what `each` reads, with `keyword` between them.
    fn joined(
        &mut self,
        keyword: Keyword,
        each: fn(&mut Self) -> Parsed,
        join: fn(Box<[Node]>) -> Node,
    ) -> Parsed {
        let first = each(self)?;
        if self.token != Token::Keyword(keyword) {
            return Ok(first);
        }
        let mut part = self.boolean(first)?;
        let mut nodes = vec![part.node];
        while self.take(Token::Keyword(keyword))? {
            let next = each(self)?;
            let next = self.boolean(next)?;
            part.levels = part.levels.max(next.levels);
            nodes.push(next.node);
        }
        self.above(part.levels, join(nodes.into()))
    }

    fn equality(&mut self) -> Parsed {
        let mut left = self.comparison()?;
        loop {
            left = if self.take(Token::Equal)? {
                self.equal(left)?
            } else if self.take(Token::NotEqual)? {
                let equal = self.equal(left)?;
                self.above(equal.levels, Node::Not(equal.node.into()))?
            } else if self.take(Token::Keyword(Keyword::Is))? {
                let not = self.take(Token::Keyword(Keyword::Not))?;
                self.expect(Token::Keyword(Keyword::Null), "NULL")?;
                let equal = self.above(left.levels, Node::Equal([left.node, Node::Boolean(None)].into()))?;
                if not { self.above(equal.levels, Node::Not(equal.node.into()))? } else { equal }
            } else {
                return Ok(left);
            }
        }
    }

    fn equal(&mut self, left: Part) -> Parsed {
        let right = self.comparison()?;
        match (&left.node, &right.node) {
            (Node::Boolean(None), _) | (_, Node::Boolean(None)) => {
                return self.wrong("NULL equals nothing, say IS NULL");
            }
            (Node::Boolean(_), Node::Number(_) | Node::Text(_)) => {
                return self.wrong("a boolean does not equal a number or a text");
            }
            _ => {}
        }
        self.above(left.levels.max(right.levels), Node::Equal([left.node, right.node].into()))
    }

    fn comparison(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let order = match self.token {
                Token::Less => Some(Order::Less),
                Token::LessOrEqual => Some(Order::LessOrEqual),
                Token::Greater => Some(Order::Greater),
                Token::GreaterOrEqual => Some(Order::GreaterOrEqual),
                _ => None,
            };
            left = if let Some(order) = order {
                self.advance()?;
                let right = self.unary()?;
                self.ordered([&left.node, &right.node])?;
                self.above(left.levels.max(right.levels), Node::Order(order, [left.node, right.node].into()))?
            } else {
                let not = self.take(Token::Keyword(Keyword::Not))?;
                match self.token {
                    Token::Keyword(Keyword::Contains) => self.affix(left, Affix::Anywhere, not)?,
                    Token::Keyword(Keyword::StartsWith) => self.affix(left, Affix::Start, not)?,
                    Token::Keyword(Keyword::EndsWith) => self.affix(left, Affix::End, not)?,
                    Token::Keyword(Keyword::Between) => self.between(left, not)?,
                    Token::Keyword(Keyword::In) => self.list(&left, not)?,
                    _ if not => {
                        return self.wrong(
                            "NOT stands before a value, CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN",
                        );
                    }
                    _ => return Ok(left),
                }
            }
        }
    }

    fn affix(&mut self, left: Part, affix: Affix, not: bool) -> Parsed {
        self.advance()?;
        let text = self.quoted()?;
        self.above(left.levels, Node::Affix { affix, not, value: left.node.into(), text })
    }

    fn between(&mut self, value: Part, not: bool) -> Parsed {
        self.advance()?;
        let low = self.unary()?;
        self.expect(Token::Keyword(Keyword::And), "AND")?;
        let high = self.unary()?;
        if let (Node::Number(low), Node::Number(high)) = (&low.node, &high.node)
            && !not
            && low.compare(*high).is_gt()
        {
            return self.wrong("the lower end of BETWEEN is above its upper end");
        }
        self.ordered([&value.node, &low.node, &high.node])?;
        let levels = value.levels.max(low.levels).max(high.levels);
        self.above(levels, Node::Between { not, operands: [value.node, low.node, high.node].into() })
    }

    fn list(&mut self, left: &Part, not: bool) -> Parsed {
        self.advance()?;
        self.expect(Token::Open, "(")?;
        let mut texts = vec![self.quoted()?];
        while self.take(Token::Comma)? {
            texts.push(self.quoted()?);
        }
        self.expect(Token::Close, ", or )")?;
        let Node::Property(property) = left.node else {
            return self.wrong("IN stands behind the name of a property");
        };
        texts.sort_unstable();
        texts.dedup();
        Ok(Part::leaf(Node::In { not, property, texts: texts.into() }))
    }

    fn unary(&mut self) -> Parsed {
        let sign = self.token;
        if !matches!(sign, Token::Plus | Token::Minus | Token::Keyword(Keyword::Not)) {
            return self.primary();
        }
        self.advance()?;
        let part = self.nested(Self::unary)?;
        match sign {
            Token::Plus => Ok(part),
            Token::Minus => self.above(part.levels, Node::Negative(part.node.into())),
            _ => {
                let part = self.boolean(part)?;
                self.above(part.levels, Node::Not(part.node.into()))
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let node = match self.token {
            Token::Open => {
                self.advance()?;
                let part = self.nested(Self::disjunction)?;
                self.expect(Token::Close, "an operator or )")?;
                return Ok(part);
            }
            Token::Text(_) => return Ok(Part::leaf(Node::Text(self.quoted()?))),
            Token::Name(name) => Node::Property(self.property(name)?),
            Token::Whole(literal) => match Number::whole(literal) {
                Some(number) => Node::Number(number),
                None => return self.wrong("the number is larger than 64 bits hold"),
            },
            Token::Fraction(literal) => match Number::fraction(literal) {
                Some(number) => Node::Number(number),
                None => return self.wrong("the number is 0 or beyond what a double holds"),
            },
            Token::Keyword(Keyword::True) => Node::Boolean(Some(true)),
            Token::Keyword(Keyword::False) => Node::Boolean(Some(false)),
            Token::Keyword(Keyword::Null) => Node::Boolean(None),
            _ => return self.expected("a value"),
        };
        self.advance()?;
        Ok(Part::leaf(node))
    }

    /// What `inner` reads, one level deeper.
    fn nested(&mut self, inner: fn(&mut Self) -> Parsed) -> Parsed {
        if self.open == NESTING_MAX {
            return self.too_deep();
        }
        self.open += 1;
        let part = inner(self);
        self.open -= 1;
        part
    }

    /// `node` over parts of so many levels.
    fn above(&self, levels: usize, node: Node) -> Parsed {
        if levels == NESTING_MAX { self.too_deep() } else { Ok(Part { node, levels: levels + 1 }) }
    }

    /// `part` where only a boolean can stand.
    fn boolean(&self, part: Part) -> Parsed {
        match part.node.into_boolean() {
            Ok(node) => Ok(Part { node, levels: part.levels }),
            Err(NotBoolean) => self.wrong("what stands before is a value and no condition"),
        }
    }

    /// Refuses what has no order, whatever the message is.
    fn ordered<const N: usize>(&self, operands: [&Node; N]) -> Result<(), SqlError> {
        let unordered = |node: &&Node| matches!(node, Node::Text(_)) || node.is_boolean();
        if operands.iter().any(unordered) { self.wrong("only numbers have an order") } else { Ok(()) }
    }

    fn property(&mut self, name: &str) -> Result<u8, SqlError> {
        let known = self.names.iter().position(|known| **known == *name);
        let slot = known.unwrap_or(self.names.len());
        if slot == PROPERTIES_MAX {
            return self.wrong(&format!("it names more than {PROPERTIES_MAX} properties"));
        }
        if known.is_none() {
            self.names.push(name.into());
        }
        Ok(slot as u8)
    }

    fn quoted(&mut self) -> Result<Box<str>, SqlError> {
        let Token::Text(text) = self.token else { return self.expected("a text in quotes") };
        self.advance()?;
        Ok(text.replace("''", "'").into())
    }

    fn advance(&mut self) -> Result<(), SqlError> {
        (self.at, self.token) = self.lexer.next()?;
        Ok(())
    }

    /// Goes on if `token` is next.
    fn take(&mut self, token: Token<'static>) -> Result<bool, SqlError> {
        let next = self.token == token;
        if next {
            self.advance()?;
        }
        Ok(next)
    }

    fn expect(&mut self, token: Token<'static>, name: &str) -> Result<(), SqlError> {
        if self.take(token)? { Ok(()) } else { self.expected(name) }
    }

    fn expected<T>(&self, what: &str) -> Result<T, SqlError> {
        self.wrong(&format!("{what} is expected"))
    }

    fn too_deep<T>(&self) -> Result<T, SqlError> {
        self.wrong(&format!("it nests deeper than {NESTING_MAX} levels"))
    }

    fn wrong<T>(&self, reason: &str) -> Result<T, SqlError> {
        Err(SqlError::new(self.text, self.at, reason))
    }
}
