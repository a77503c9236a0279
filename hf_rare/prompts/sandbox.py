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

STEPS = 300_000
"""What filling in a template may take: an expression in the turn of a loop, a call and an output are steps, and so are
1000 characters."""

LONGEST = 10_000_000
"""Most characters or items of a value that a template makes."""

LARGEST = 1000
"""Largest number that a template may pass to a function or filter, as a width or a count."""

CUTTING = ("truncate", "safe_range")
"""Functions that may be passed larger ones, up to `LARGEST_CUT`: they make nothing larger."""

LARGEST_CUT = 1_000_000
LARGEST_BITS = 4096
MOST_DEPTH = 5
_WIDE = re.compile(r"\d{4,}|\*")

_left: ContextVar[list[int] | None] = ContextVar("steps that a template has left", default=None)


class BudgetedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, with a budget for each text that is made within [`spending`]."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(finalize=_pay_for_output, **options)
        del self.globals["lipsum"]
        self.filters = {name: _paid(name, function) for name, function in self.filters.items()}

    @staticmethod
    def pay_for_turn(price: int) -> None:
        """Pay for one turn of a loop. No template can name this."""
        _pay(price)

    @staticmethod
    def join(*values: Any) -> str:
        """Join values to a text: what `~` does."""
        _check_size(sum(map(_length, values)))
        return "".join(map(str, values))

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Tolls().visit(source), *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Calculate, where the result is not too large."""
        _check_size(_reckon(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function or method with arguments that cannot make it too large."""
        if function is self.pay_for_turn or function is self.join:  # ours, for every document of every row
            return function(*args)
        bound = getattr(function, "__wrapped__", function)  # Jinja wraps `format`
        _check_call(getattr(bound, "__name__", ""), getattr(bound, "__self__", ""), args, kwargs)
        return super().call(context, function, *args, **kwargs)


@contextmanager
def spending(steps: int = STEPS) -> Iterator[None]:
    """Set a budget for what is filled in within this context.

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
        return self._call("join", node.nodes, node.lineno)

    def _with_toll(self, node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Node:
        length = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        expressions = sum(1 for _ in node.find_all(nodes.Expr))
        self.generic_visit(node)
        price = nodes.Const(1 + expressions // 4 + length // 1000, lineno=node.lineno)
        toll = nodes.ExprStmt(self._call("pay_for_turn", [price], node.lineno), lineno=node.lineno)
        node.body = [toll, *node.body]
        return node

    def _call(self, name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
        """Call a function of the environment, which no name in a template stands for."""
        function = nodes.EnvironmentAttribute(name, lineno=line)
        return nodes.Call(function, arguments, [], None, None, lineno=line)


def _pay(steps: int) -> None:
    left = _left.get()
    if left is not None:
        left[0] -= steps
        if left[0] < 0:
            raise SecurityError(f"it takes more than {STEPS:,} steps")


def _pay_for_output(value: Any) -> Any:
    if isinstance(value, str):  # it is there already, and is copied once
        _pay(1 + len(value) // 1000)
    else:
        _check_size(_length(value))
    return value


def _paid(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a filter be paid for."""

    @functools.wraps(function)  # with what Jinja has noted in it
    def filtered(*args: Any, **kwargs: Any) -> Any:
        values = args[1:] if hasattr(function, "jinja_pass_arg") else args
        _check_call(name, values[0] if values else "", values[1:], kwargs)
        result = function(*args, **kwargs)
        _pay(1 + _length(result) // 1000)
        return result

    return filtered


def _check_call(name: str, value: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Check the arguments of a method or filter of a value, and let it be paid for."""
    given = [*args, *kwargs.values()]
    numbers = [abs(number) for number in given if isinstance(number, int)]
    largest = LARGEST_CUT if name in CUTTING else LARGEST
    if max(numbers, default=0) > largest:
        raise SecurityError(f"it passes a number above {largest:,} to {name}")
    if isinstance(value, str) and name in ("format", "format_map"):
        _check_widths(value)
        _check_size(_places(value) * max(map(_length, given), default=0))
    texts = [_length(text) for text in given if isinstance(text, str | list | tuple)]
    length = _length(value)
    if name == "join":
        length += (max(texts, default=0)) * (len(value) if hasattr(value, "__len__") else 0)
    elif name in ("indent", "expandtabs") and isinstance(value, str):
        length += (1 + value.count("\n") + value.count("\t")) * max([*numbers, *texts, 8])
    elif max(texts, default=0) > 1 and hasattr(value, "__len__"):
        length += length * max(texts) // 10  # such as that of `replace`, at worst
    _check_size(length)


def _check_widths(text: str) -> None:
    for place in re.findall(r"%[^a-zA-Z%]*|\{[^{}]*:[^}]*\}", text):
        if _WIDE.search(place) or place.count("{") > 1:
            raise SecurityError("it asks for a width of more than three digits")


def _places(text: str) -> int:
    """Count the places of a format at which a value may stand."""
    return text.count("%") + text.count("{")


def _reckon(operator: str, left: Any, right: Any) -> int:
    """Reckon the length of what an operator makes; whole numbers in units of which there may be as many."""
    if operator == "%" and isinstance(left, str):
        _check_widths(left)
        return len(left) + _places(left) * _length(right)
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
    _pay(1 + size // 1000)


def _length(value: Any, depth: int = 0) -> int:
    """Return how long a value is as a text, about; what is in it counts each time that it stands there."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if not isinstance(value, list | tuple) or depth > MOST_DEPTH:
        return 10 * len(value) if hasattr(value, "__len__") else 1
    length = len(value)
    for item in value:
        length += _length(item, depth + 1)
        if length > LONGEST:
            break
    return length
