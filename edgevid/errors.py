"""The exceptions of edgevid, in one tree.

    EdgevidError
    ├── InputError            ValueError     a value, shape or dtype that cannot be used
    │   ├── FieldError        ValueError     one field of a value
    │   └── FileFormatError   ValueError     a recipe, calibration, policy or site file with mistakes in it
    ├── SourceError           OSError        a video or image source that cannot be opened or read
    ├── ModelError            RuntimeError   a model or engine that cannot be loaded or run
    │   └── ParityError       RuntimeError   an engine that disagrees with its reference
    ├── DownloadError         OSError        a model or sample that cannot be fetched or verified
    ├── UnknownAttributeError AttributeError a name that is not there; says which one to use
    ├── NativeKernelsError    ImportError    the compiled kernels are required and not installed
    └── MissingExtraError     ImportError    an optional package is missing; names the pip command

Each is also the builtin exception that a user would guess. Each message states what was expected, what was
received and what to do next."""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import ModuleType

log = logging.getLogger("edgevid")  # What is no error
LISTED = 50  # Mistakes of a file, or names of its columns, that a message lists
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, separators of lines, what turns the direction of writing around, and bytes that are no UTF-8."""
SCHEMES = "rtsp[stu]?|rtmp[a-z]*|https?|srt|udp|tcp|tls|rtp|ftps?|sftp|mms|rist|wss?"
_START = re.compile(rf"(?i)\b(?:{SCHEMES}):/{{0,3}}|(?<![\w:/@.%-])[a-z][a-z0-9+.-]{{0,30}}://|(?<![\w:/])//")
"""Where an address begins: with one slash too, as one mistyped or normalized as a path."""
_IP_HOST = re.compile(r"(?i)(?:\d+(?:\.\d+){3}|\[[0-9a-f:.]+\]|localhost)(?::\d+)?$")
_HOST_END = re.compile(r"[^:\s/?#]*(?::\d+)?(?::\s|[/?#\s])")
_FIELD = r"(?=[\w-]*(?:pas|pwd|psw|token|key|secret|auth|user|usr|loginuse|cred|sig|jwt))[\w-]+|pw|[pu]"
"""Names of query fields whose values are secrets."""
_FIELDS = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        # In a query a value may have blanks; a message goes on after ": ", "; ", ", " or a quotation mark.
        rf"([?&;#](?:{_FIELD})=)(?!\*\*\*)((?:(?!(?:[:;,]\s|[\"'`](?:[\s,;:.)\]]|$))(?!.{{0,999}}&[\w-]+=))[^&\n])+)",
        rf"((?<![\w-])(?:{_FIELD.removesuffix('|[pu]')})=)(?!\*\*\*)([^&\s]*[^&\s:;,.)'\"\]])",
        rf"((?:%(?:25)*(?:3F|26|3B|23)|[?&;#])(?:{_FIELD})%(?:25)*3D)((?:(?!%(?:25)*26)[^&\s])+)",
    )
)
_NESTED = re.compile(r"(?i)(%(?:25)*3A(?:%(?:25)*2F){2})(?:[^&\s]*(%(?:25)*40)|[^&\s]*)")
"""The user name and the password of an encoded address inside another one."""


@lru_cache(maxsize=1024)
def log_once(sentence: str, level: int = logging.INFO) -> None:
    """Logs a sentence at its first call; the same sentence again is dropped."""
    log.log(level, "%s", sentence)


_HIDDEN: set[str] = set()


def hide(secret: str) -> None:
    """Makes `masked`, and so every message, mask this text from now on."""
    if len(secret) > 3:  # a shorter one is a part of too many words
        _HIDDEN.add(secret)


def masked(text: str) -> str:
    """`text` with the passwords of addresses, and the secrets in their queries, masked.

    A password may hold anything, "/", "#", "@" and blanks too; more is masked where its end is unclear.

    >>> masked("rtsp://admin:hunter2@gate/1?token=abc&channel=2")
    'rtsp://***:***@gate/1?token=***&channel=2'
    """
    for secret in sorted(_HIDDEN, key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, "***")
    for field in _FIELDS:  # first: their values may hold an "@"
        text = field.sub(r"\1***", text)
    parts, end = list[str](), 0
    for begin, stop in _login_spans(text):
        parts += text[end:begin], "***:***"
        end = stop
    text = "".join(parts) + text[end:]
    return _NESTED.sub(lambda one: f"{one[1]}***{one[2]}" if one[2] else one[0], text)


def _login_spans(text: str) -> list[tuple[int, int]]:
    """Begin and end of each "user:password" in front of the "@" of an address in `text`."""
    starts, over = list[tuple[int, int]](), 0  # Where the login of the last one has ended at the latest
    ends = [*(one.end() for one in re.finditer(r"@[\w\[*]|\n", text)), len(text)]
    for start in _START.finditer(text):
        inside = start.start() < over and text.find(":", starts[-1][1], start.start()) >= 0
        if not inside or re.match(rf"(?i)(?:{SCHEMES})://", start[0]):  # else it is a part of a password
            starts.append(start.span())
            host = _HOST_END.match(text, start.end())
            over = min(ends[bisect_left(ends, start.end())], host.end() if host else len(text))
    stops = [begin for begin, _ in starts[1:]] + [len(text)]
    spans = [(begin, stop) for (_, begin), stop in zip(starts, stops, strict=False)]
    lengths = [login_length(text[begin:stop].partition("\n")[0]) for begin, stop in spans]
    return [(begin, begin + length) for (begin, _), length in zip(spans, lengths, strict=True) if length]


def login_length(address: str) -> int:
    """The length of "user:password" in front of an "@" in `address`, what follows "//"; 0 where none is."""
    found = re.match(r"(.*)@(?=[\w\[*])", address)
    if not found:
        return 0
    login, after = found[1], address[found.end() :]
    head = re.split(r"[/?#]", login, maxsplit=1)[0]
    if len(head) < len(login) and (":" not in head or _IP_HOST.match(head)):
        return 0  # an "@" in the path of a host
    if re.search(r":\d+/$", login) and re.fullmatch(r"\w+", after):  # http://gate:8080/@lobby
        return 0
    return len(login) if ":" in login or not re.search(r"\s", login) else 0


def visible(text: str, keep: str = "") -> str:
    r"""`text` in one line, with escapes for what a terminal, a log or a broker would obey; `keep` stays as it is.

    >>> visible("gate\x1b[2J\nERROR")
    'gate\\x1b[2J\\nERROR'
    """
    return _UNSEEN.sub(lambda one: one[0] if one[0] in keep else one[0].encode("unicode_escape").decode(), text)


def _one_line(record: logging.LogRecord) -> bool:
    """Makes a message of the log one line, whatever is in it, and without secrets."""
    record.msg, record.args = visible(masked(record.getMessage())), ()
    return True


log.addFilter(_one_line)


class EdgevidError(Exception):
    """Base of all exceptions of edgevid; passwords in addresses are masked in its text."""

    def __str__(self) -> str:
        text = super().__str__()
        return masked(text) if _HIDDEN or "@" in text or "://" in text else text


class InputError(EdgevidError, ValueError):
    """A value, shape or dtype that cannot be used."""


class FieldError(InputError):
    """A field of a value that cannot be used: its name `key`, what is `expected` and what it `got`."""

    def __init__(self, name: str, key: str, expected: str, got: object = None) -> None:
        """`name` is what the message calls the value: "zone 'yard'"; an empty `key` means the whole of it."""
        self.key, self.expected, self.got = key, expected, got
        super().__init__(f"{f'{name} {key}'.strip()}: expected {expected}, got {clipped(repr(got))}")


def clipped(text: str) -> str:
    """At most 500 characters of a text, for a message."""
    return text if len(text) <= 500 else f"{text[:500]}..."


class FileFormatError(InputError):
    """A recipe, calibration, policy or site file with mistakes in it; `mistakes` holds one error for each."""

    def __init__(self, path: object, key: str, *, expected: str, got: object, text: str = "") -> None:
        """`text` says what was received, where the value itself does not: "it is missing"."""
        self.path, self.key, self.expected, self.got = str(path), key, expected, got
        self.mistakes: tuple[FileFormatError, ...] = (self,)
        self.sentence = f"{clipped(key)}: expected {expected}, {clipped(text) or f'got {clipped(repr(got))}'}"
        super().__init__(f"{path}: {self.sentence}")

    @classmethod
    def of(cls, mistakes: Sequence[FileFormatError]) -> FileFormatError:
        """One error with a file's mistakes, a line for each of the first LISTED; its key is that of the first."""
        first = mistakes[0]
        if len(mistakes) == 1:
            return first
        made = cls(first.path, first.key, expected=first.expected, got=first.got)
        made.mistakes, many = tuple(mistakes[:LISTED]), len(mistakes) > LISTED
        lines = (one.sentence for one in made.mistakes)
        made.args = ("\n  ".join([f"{first.path}: {'more than ' * many}{len(made.mistakes)} mistakes", *lines]),)
        return made


class SourceError(EdgevidError, OSError):
    """A video or image source that cannot be opened or read."""


class ModelError(EdgevidError, RuntimeError):
    """A model or engine that cannot be loaded or run."""


class ParityError(ModelError):
    """An engine whose agreement with its reference is below the minimum."""


class DownloadError(EdgevidError, OSError):
    """A model or sample that cannot be fetched or verified."""


class UnknownAttributeError(EdgevidError, AttributeError):
    """An attribute that does not exist; the message names what to use."""


class NativeKernelsError(EdgevidError, ImportError):
    """The compiled kernels are required and not installed."""


class MissingExtraError(EdgevidError, ImportError):
    """An optional package is missing; the message names the pip command that installs it."""

    def __init__(
        self, package: str, extra: str, purpose: str, *, problem: str = "is not installed", remedy: str = ""
    ) -> None:
        """`problem` and `remedy` say what is wrong with a package that is there, and what mends it."""
        self.package, self.extra = package, extra
        remedy = remedy or f'pip install "edgevid[{extra}]"'
        super().__init__(f"{purpose} needs the package {package!r}, which {problem}. Add it with: {remedy}")


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """The imported optional module, or MissingExtraError with the pip command that adds it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise  # the package is installed and lacks a module of its own: a different error
        raise MissingExtraError(module.partition(".")[0], extra, purpose) from None


def module_version(module: str, *, unstated: str = "") -> str:
    """The version of a package, not imported; "" where it is absent, `unstated` where it states none."""
    from importlib import metadata, util  # takes 0.02 s

    if util.find_spec(module) is None:
        return ""
    try:
        return metadata.version(module.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return unstated


def check_part(part: object, protocol: type, role: str) -> None:
    """InputError where `part` lacks a method or attribute of `protocol`; names both and what is expected."""
    if isinstance(part, type):
        raise InputError(f"{role}: expected an object, got {shown(part)}; write {part.__name__}()")
    members = [name for name in vars(protocol) if not name.startswith("_")]
    if missing := [name for name in members if not hasattr(part, name)]:
        expected = ", ".join(_signature(name, vars(protocol)[name]) for name in members)
        raise InputError(
            f"{role}: expected an object with {expected}, got {type(part).__name__} without "
            f"{' and '.join(map(repr, missing))}"
        )


def check_type(value: object, kind: type | tuple[type, ...], name: str, expected: str) -> None:
    """InputError where `value` is no `kind`: what `name` is, what is `expected`, what it got."""
    if not isinstance(value, kind):
        raise InputError(f"{name}: expected {expected}, got {shown(value)}")


def check_choice(value: object, known: Iterable[str], name: str) -> None:
    """InputError unless `value` is one of the `known` words: what `name` is, which there are, what it got."""
    known = list(known)
    if value not in known:
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        raise InputError(f"{name}: expected one of {', '.join(known)}, got {shown(value)}{hint}")


def shown(value: object) -> str:
    """A short value itself, else its type; for messages.

    >>> shown(None), shown(int), shown([2.5, object()])
    ('None', 'the class int', '[2.5, object]')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, list) and len(value) <= 4:
        return f"[{', '.join(map(shown, value))}]"
    return repr(value) if isinstance(value, (str, int, float, type(None))) else type(value).__name__


def _signature(name: str, member: object) -> str:
    """`update(tracks: Tracks, time: float) -> SpeedReport` of a protocol's method; an attribute's name."""
    if not inspect.isfunction(member):
        return name
    return name + str(inspect.signature(member)).replace("'", "").replace("(self, ", "(").replace("self", "")


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" where a known word is similar, else "".

    >>> did_you_mean("strids", ["strides", "offset"])
    "; did you mean 'strides'?"
    """
    near = difflib.get_close_matches(got, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
