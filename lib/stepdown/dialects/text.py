"""MLIR text to a module and back.

Written in generic form, one op a line, attributes sorted, locations inline: the same module gives the same bytes, and
`mlir-opt --allow-unregistered-dialect` reads it. What mlir-opt writes is read back: its `#loc1 = loc(…)` alias lines,
which may follow their use, are moved to the front.
"""

import io
import re

from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.dialects.func import Func
from xdsl.ir import Operation
from xdsl.parser import Parser, ParserState
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError, VerifyException
from xdsl.utils.lexer import Input
from xdsl.utils.mlir_lexer import MLIRLexer, MLIRToken, MLIRTokenKind

from stepdown.dialects.op import TensorOp, names_of
from stepdown.dialects.quant import QUANT
from stepdown.dialects.types import MAX_RANK
from stepdown.errors import InputError

# The parser takes quadratic time for the sizes of a shape.
_TOO_MANY_DIMENSIONS = re.compile(rf"(?<!\d)(?:\d++x){{{MAX_RANK + 1}}}")
_LOCATION_ALIAS = re.compile(r"^#\w+ = loc\(.*\)$\n?", re.MULTILINE)


def context() -> Context:
    """Return a context that knows our dialects; the TPU dialect is loaded when a text first uses it."""
    known = Context()
    for dialect in (Builtin, Func, QUANT):
        known.load_dialect(dialect)
    known.register_dialect("top", _top)
    known.register_dialect("tpu", _tpu)
    return known


def parse_module(text: str, source: str = "input") -> ModuleOp:
    """Parse MLIR text into a verified module.

    Raises:
        InputError: `source` holds no module, or one that breaks a constraint; names the line, or the op and tensor.
    """
    if _TOO_MANY_DIMENSIONS.search(text):
        raise InputError(f"a tensor has more than {MAX_RANK} dimensions", source)
    hoisted = "".join(_LOCATION_ALIAS.findall(text)) + _LOCATION_ALIAS.sub("", text)
    try:
        module = _parser(hoisted, source).parse_module()
    except ParseError as error:
        raise InputError(
            _first_line(error), source, "give an .mlir file written by model_transform.py or tpuc-opt"
        ) from None
    except _MALFORMED as error:
        raise InputError(f"not a valid module ({_first_line(error)})", source) from None
    verify(module, source)
    return module


# What the parser raises, beside its own error, on text that is malformed or nests too deeply.
_MALFORMED = (
    VerifyException, RuntimeError, ValueError, AssertionError, KeyError, IndexError, TypeError, AttributeError,
    ArithmeticError,
)  # fmt: skip


# The parser computes the range of such a type, which may take gigabytes.
_WIDE_INTEGER = re.compile(r"[su]?i\d{5,}")


class _Lexer(MLIRLexer):
    """A lexer that takes escaped UTF-8, as the printer writes it, for text: names may hold any letters.

    Its pattern of a string never goes back, so that one without an end does not take exponential time.
    """

    _unescaped_characters_regex = re.compile(r'"(?:[^"\\\n\v\f]++|\\(?:["nt\\]|[0-9A-Fa-f]{2}))*+"')

    def _lex_bare_identifier(self, start_pos: int) -> MLIRToken:
        token = super()._lex_bare_identifier(start_pos)
        if _WIDE_INTEGER.fullmatch(token.text):
            raise ParseError(token.span, "an integer type is wider than 9999 bits")
        return token

    def _lex_string_literal(self, start_pos: int) -> MLIRToken:
        token = super()._lex_string_literal(start_pos)
        if token.kind is MLIRTokenKind.BYTES_LIT:
            try:
                MLIRTokenKind.STRING_LIT.get_string_literal_value(token.span)
            except UnicodeDecodeError:
                return token
            return MLIRToken(MLIRTokenKind.STRING_LIT, token.span)
        return token


def _parser(text: str, source: str) -> Parser:
    """Return a parser that reads `text` by our lexer."""
    made = Parser(context(), "", source)
    made._parser_state = ParserState(_Lexer(Input(text, source)))
    return made


def verify(module: ModuleOp, source: str = "") -> None:
    """Verify every op of a module.

    Raises:
        InputError: in one line, the op, the tensor it makes and the constraint it breaks.
    """
    for op in module.walk():
        try:
            op.verify(verify_nested_ops=False)
        except VerifyException as error:
            raise InputError(f"{describe(op)}: {_first_line(error)}", source) from None


def print_module(module: ModuleOp) -> str:
    """Return the module as text; the same module gives the same bytes."""
    for op in module.walk():
        op.attributes = dict(sorted(op.attributes.items()))
    stream = io.StringIO()
    Printer(stream, print_debuginfo=True).print_op(module)
    return stream.getvalue() + "\n"


def describe(op: Operation) -> str:
    """Return an op as users see it: `top.Conv loc("conv1_Conv")`."""
    name = names_of(op)[0] if isinstance(op, TensorOp) else ""
    return f'{op.name} loc("{name}")' if name else op.name


def _first_line(error: Exception) -> str:
    """Return the line of an error that says what is wrong; a parser's has the place in front and a picture below."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, ParseError) and len(lines) > 1:
        message = lines[-1].lstrip("^- ").strip() or lines[1]
        return f"{lines[0].rsplit('/', 1)[-1]}: {message}"
    return lines[0] if lines else type(error).__name__


def _top():  # type: ignore[no-untyped-def]
    from stepdown.dialects.top import TOP

    return TOP


def _tpu():  # type: ignore[no-untyped-def]
    from stepdown.dialects.tpu import TPU

    return TPU
