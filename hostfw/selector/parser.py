"""The text of a selector to its tree.

The grammar is Calico's, exactly (reference/resources/networkpolicy#selector of its documentation, and the behaviour
of its parser where the two differ):

    expression := all-of ( "||" all-of )*
    all-of     := unary ( "&&" unary )*
    unary      := "!"* primary
    primary    := "(" expression ")" | "all()" | "global()" | "has(" LABEL ")" | LABEL comparison
    comparison := ( "==" | "!=" | "contains" | "starts with" | "ends with" ) STRING | ( "in" | "not in" ) SET
    SET        := "{" [ STRING ( "," STRING )* [ "," ] ] "}"

Only spaces and tabs separate words. Strings are quoted with ' or " and know no escapes. The operator words are not
reserved, so they are labels too. A blank selector is `all()`.
"""

import re
from enum import StrEnum
from typing import NamedTuple, NoReturn

from hostfw.selector.nodes import (
    All,
    And,
    Comparison,
    Global,
    Has,
    In,
    Not,
    NotIn,
    Operator,
    Or,
    Selector,
)

DEPTH_LIMIT = 64
"""Deepest nesting of parentheses, counted in the canonical text, which has a pair around each `&&` and `||`.

Calico has no limit; this one keeps the recursion far from Python's.
"""

LABEL_LIMIT = 512
"""The characters that a label may have in a selector, as in Calico's tokenizer."""


class SelectorError(Exception):
    """A text that is no selector: what is wrong at `offset` (characters from 0) and what could stand there."""

    def __init__(self, message: str, offset: int, expected: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.expected = expected


def parse(text: str) -> Selector:
    """The selector that a text stands for; SelectorError where it is none."""
    return _Parser(text).whole()


class _Kind(StrEnum):
    WORD = "word"
    STRING = "string"
    SYMBOL = "symbol"
    END = "end"


class _Token(NamedTuple):
    kind: _Kind
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"""[ \t]*(?: (?P<word>[A-Za-z0-9_./-]+)
                | (?P<string>'[^']*'|"[^"]*")
                | (?P<symbol>&&|\|\||==|!=|[!(){},])
                | (?P<end>\Z) )""",
    re.VERBOSE,
)
_BLANKS = re.compile(r"[ \t]*")

_WORD_OPERATORS: dict[tuple[str, ...], Operator | type[In | NotIn]] = {
    ("contains",): Operator.CONTAINS,
    ("startswith",): Operator.STARTS_WITH,
    ("starts", "with"): Operator.STARTS_WITH,
    ("endswith",): Operator.ENDS_WITH,
    ("ends", "with"): Operator.ENDS_WITH,
    ("in",): In,
    ("notin",): NotIn,
    ("not", "in"): NotIn,
}
_TWO_WORDS = {"starts": "with", "ends": "with", "not": "in"}

_OPERATORS = "one of ==, !=, in, not in, contains, starts with, ends with"
_OPERAND = "a label, has(label), all(), ! or ("
_JOINED = {"and": "&&", "AND": "&&", "or": "||", "OR": "||"}


class _Parser:
    """A cursor over the text: `token` is the next token, not yet consumed."""

    __slots__ = ("deepest", "depth", "text", "token")

    def __init__(self, text: str) -> None:
        self.text = text
        self.depth = 0
        self.deepest = 0
        self.token = self._token_at(0)

    def whole(self) -> Selector:
        if self._at_end():
            return All()
        selector = self._expression()
        if not self._at_end():
            self._fail_after_operand()
        # At most a && within a || at each depth: most selectors are too flat to look at twice.
        if 2 * (self.deepest + 1) > DEPTH_LIMIT and _nesting(selector) > DEPTH_LIMIT:
            raise SelectorError(f"&& and || nest deeper than {DEPTH_LIMIT}", 0)
        return selector

    def _expression(self) -> Selector:
        operands = [self._all_of()]
        while self._accept("||"):
            operands.append(self._all_of())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _all_of(self) -> Selector:
        operands = [self._unary()]
        while self._accept("&&"):
            operands.append(self._unary())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _unary(self) -> Selector:
        negated = False
        while self._accept("!"):
            negated = not negated
        operand = self._primary()
        if not negated:
            return operand
        return operand.operand if isinstance(operand, Not) else Not(operand)

    def _primary(self) -> Selector:
        token = self.token
        if token.kind is _Kind.WORD:
            self._advance()
            # Only a parenthesis right behind makes a call of the word: `has (a)` is the label `has` and a mistake.
            called = self.token.text == "(" and self.token.start == token.end
            match token.text:
                case "has" if called:
                    return self._has()
                case "all" if called:
                    return self._empty_call(All())
                case "global" if called:
                    return self._empty_call(Global())
            return self._comparison(self._label(token))
        if self._accept("("):
            return self._parenthesised(token)
        if token.kind is _Kind.STRING:
            self._fail("a quoted string cannot stand here; labels are written without quotes", _OPERAND)
        return self._fail(f"{self._found()} where an operand should be", _OPERAND)

    def _parenthesised(self, opening: _Token) -> Selector:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise SelectorError(f"parentheses nest deeper than {DEPTH_LIMIT}", opening.start)
        self.deepest = max(self.deepest, self.depth)
        inner = self._expression()
        if not self._accept(")"):
            if self._at_end():
                raise SelectorError("this parenthesis is never closed", opening.start, ")")
            self._fail_after_operand()
        self.depth -= 1
        return inner

    def _has(self) -> Selector:
        self._advance()
        if self.token.kind is not _Kind.WORD:
            self._fail(f"{self._found()} where has( needs a label", "a label without quotes")
        label = self._label(self.token)
        self._advance()
        if not self._accept(")"):
            self._fail(f"{self._found()} where has(label should end", ")")
        return Has(label)

    def _empty_call(self, selector: Selector) -> Selector:
        self._advance()
        if not self._accept(")"):
            self._fail(f"{self._found()} where a closing parenthesis should be; this call takes nothing", ")")
        return selector

    def _comparison(self, label: str) -> Selector:
        if self._accept("=="):
            return Comparison(label, Operator.EQUALS, self._string())
        if self._accept("!="):
            return Comparison(label, Operator.DIFFERS, self._string())
        operator = self._word_operator(label)
        if isinstance(operator, Operator):
            return Comparison(label, operator, self._string())
        return operator(label, self._set())

    def _word_operator(self, label: str) -> "Operator | type[In | NotIn]":
        first = self.token
        if first.kind is not _Kind.WORD:
            self._fail(f'{self._found()} where the label "{label}" needs an operator', _OPERATORS)
        words: tuple[str, ...] = (first.text,)
        self._advance()
        second = _TWO_WORDS.get(first.text)
        if second is not None and self.token.text == second:
            words = (first.text, second)
            self._advance()
        operator = _WORD_OPERATORS.get(words)
        if operator is None:
            raise SelectorError(f'"{first.text}" is no operator', first.start, _OPERATORS)
        return operator

    def _set(self) -> frozenset[str]:
        if not self._accept("{"):
            self._fail(f"{self._found()} where a set of values should begin", "{'a', 'b'}")
        values: set[str] = set()
        while not self._accept("}"):
            values.add(self._string())
            if self.token.text != "}" and not self._accept(","):
                self._fail(f"{self._found()} within a set of values", ", or }")
        return frozenset(values)

    def _string(self) -> str:
        token = self.token
        if token.kind is not _Kind.STRING:
            word = token.kind is _Kind.WORD
            self._fail(f"{self._found()} where a value should be", f"'{token.text}'" if word else "a quoted string")
        self._advance()
        return token.text[1:-1]

    def _fail_after_operand(self) -> NoReturn:
        symbol = _JOINED.get(self.token.text)
        if symbol:
            self._fail(f'"{self.token.text}" does not join operands', symbol)
        self._fail(f"{self._found()} after a complete operand", "&&, || or the end")

    def _at_end(self) -> bool:
        return self.token.kind is _Kind.END

    def _accept(self, symbol: str) -> bool:
        if self.token.kind is _Kind.SYMBOL and self.token.text == symbol:
            self._advance()
            return True
        return False

    def _advance(self) -> None:
        self.token = self._token_at(self.token.end)

    def _label(self, token: _Token) -> str:
        if len(token.text) > LABEL_LIMIT:
            raise SelectorError(f"a label of {len(token.text)} characters", token.start, f"at most {LABEL_LIMIT}")
        return token.text

    def _found(self) -> str:
        if self._at_end():
            return "the selector ends"
        return f"{self.token.text} stands" if self.token.kind is _Kind.STRING else f'"{self.token.text}" stands'

    def _fail(self, message: str, expected: str) -> NoReturn:
        raise SelectorError(message, self.token.start, expected)

    def _token_at(self, offset: int) -> _Token:
        found = _TOKEN.match(self.text, offset)
        if found is None:
            blanks = _BLANKS.match(self.text, offset)
            self._fail_at(blanks.end() if blanks else offset)
        kind = str(found.lastgroup)
        return _Token(_Kind(kind), found[kind], found.start(kind), found.end())

    def _fail_at(self, offset: int) -> NoReturn:
        character = self.text[offset]
        match character:
            case "'" | '"':
                raise SelectorError("this quote is never closed", offset, f"another {character}")
            case "\n" | "\r":
                message = "a line break between words; only spaces and tabs may stand there"
                raise SelectorError(message, offset, "the selector on one line, or folded with >-")
            case "=":
                raise SelectorError('a single "="', offset, "==")
            case "&" | "|":
                raise SelectorError(f'a single "{character}"', offset, character * 2)
        raise SelectorError(f'the character "{character}" has no meaning here', offset, _OPERAND)


def _nesting(selector: Selector) -> int:
    """The number of parentheses around the innermost operand in the canonical text."""
    match selector:
        case And(operands) | Or(operands):
            return 1 + max(map(_nesting, operands))
        case Not(operand):
            return _nesting(operand)
        case _:
            return 0
