"""Jinja for the templates of strangers: they reach nothing, and can spend no more time and memory than they are given.

The sandbox of Jinja keeps templates from what they must not touch, and lets them loop within loops, repeat a text a
million times, and double it again. Here every turn of a loop, call, filter and output is paid for out of a budget.
"""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

STEPS = 1_000_000
"""What filling in a template may take: a turn of a loop, a call or an output is a step, and so are 300 characters."""

LONGEST = 10_000_000
"""Most characters or items of a value that a template makes."""

LARGEST = 100_000
"""Largest number that a template may pass to a function or filter, as a width or a count."""

LARGEST_BITS = 4096
_TURN, _JOIN = "hf_rare_turn", "hf_rare_join"
_WIDE = re.compile(r"\d{5,}|\*")

_left: ContextVar[list[int] | None] = ContextVar("steps that a template has left", default=None)


class BudgetedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, with a budget for each text that is made within [`spending`]."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(finalize=_pay_for_output, **options)
        del self.globals["lipsum"]
        self.globals |= {_TURN: _pay_for_turn, _JOIN: _join}
        self.filters = {name: _paid(function) for name, function in self.filters.items()}

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Tolls().visit(source), *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Calculate, where the result is not too large."""
        _check_size(_reckon(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or method with arguments that cannot make it too large."""
        if __obj is not _pay_for_turn and __obj is not _join:
            _check_call(getattr(__obj, "__self__", ""), args, kwargs)
        return super().call(__context, __obj, *args, **kwargs)


@contextmanager
def spending(steps: int = STEPS) -> Iterator[None]:
    """Give what is filled in within this context a budget.

    Args:
        steps (`int`, *optional*, defaults to 1000000): the budget.

    Raises:
        jinja2.exceptions.SecurityError: It is spent.
    """
    token = _left.set([steps])
    try:
        yield
    finally:
        _left.reset(token)


class _Tolls(NodeTransformer):
    """Puts a toll at the beginning of what can be run again and again, and a function in the place of `~`."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        return self._with_toll(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._with_toll(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._with_toll(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        function = nodes.Name(_JOIN, "load", lineno=node.lineno)
        return nodes.Call(function, node.nodes, [], None, None, lineno=node.lineno)

    def _with_toll(self, node: Any) -> nodes.Node:
        length = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        self.generic_visit(node)
        price = nodes.Const(1 + length // 300, lineno=node.lineno)
        function = nodes.Name(_TURN, "load", lineno=node.lineno)
        call = nodes.Call(function, [price], [], None, None, lineno=node.lineno)
        node.body = [nodes.ExprStmt(call, lineno=node.lineno), *node.body]
        return node  # type: ignore[no-any-return]


def _pay(steps: int) -> None:
    left = _left.get()
    if left is not None:
        left[0] -= steps
        if left[0] < 0:
            raise SecurityError(f"it takes more than {STEPS:,} steps")


def _pay_for_turn(price: int) -> None:
    _pay(price)


def _pay_for_output(value: Any) -> Any:
    _pay(_price(value))
    return value


def _join(*values: Any) -> str:
    """Join values to a text: what `~` does."""
    texts = [str(value) for value in values]
    _check_size(sum(map(len, texts)))
    return "".join(texts)


def _paid(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a filter be paid for."""

    @functools.wraps(function)  # with what Jinja has noted in it
    def filtered(*args: Any, **kwargs: Any) -> Any:
        values = args[1:] if hasattr(function, "jinja_pass_arg") else args
        _check_call(values[0] if values else "", values[1:], kwargs)
        result = function(*args, **kwargs)
        _pay(_price(result))
        return result

    return filtered


def _check_call(value: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Check the arguments of a method or filter of a value, and let it be paid for."""
    given = [*args, *kwargs.values()]
    if any(isinstance(number, int) and abs(number) > LARGEST for number in given):
        raise SecurityError(f"it passes a number above {LARGEST:,}")
    if isinstance(value, str) and ("%" in value or "{" in value):  # `format`, perhaps
        _check_widths(value)
    lengths = [len(text) for text in given if isinstance(text, str | list | tuple | range)]
    if lengths and max(lengths) > 1 and hasattr(value, "__len__"):
        _check_size(len(value) * max(lengths) // 10)  # such as that of `replace`, at worst
    _pay(_price(value))


def _check_widths(text: str) -> None:
    for place in re.findall(r"%[^a-zA-Z%]*|\{[^}]*\}", text):
        if _WIDE.search(place):
            raise SecurityError("it asks for a width of more than four digits")


def _reckon(operator: str, left: Any, right: Any) -> int:
    """Reckon the length of what an operator makes; whole numbers in units of which there may be as many."""
    if operator == "%" and isinstance(left, str):
        _check_widths(left)
        return len(left)
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        return LONGEST + 1 if bits > LARGEST_BITS else 1
    if operator == "*":
        for sized, count in ((left, right), (right, left)):
            if hasattr(sized, "__len__") and isinstance(count, int):
                return len(sized) * max(0, count)
    if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
        return len(left) + len(right)
    return 1


def _check_size(size: int) -> None:
    if size > LONGEST:
        raise SecurityError(f"it makes a value of {size:,} characters, items or bits; expected at most {LONGEST:,}")
    _pay(1 + size // 300)


def _price(value: Any) -> int:
    """Give what it costs to go through a value."""
    if isinstance(value, str):
        return 1 + len(value) // 300
    return 1 + len(value) // 10 if hasattr(value, "__len__") else 1
