"""What `--help` prints: every flag of a command with its kind of value, its meaning and the value that it has.

absl's own help lists a script's own flags alone, or with `--helpfull` those of all libraries, too. A flag that is a
field of a configuration means what the comment beside that field says, which simple-parsing reads.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from absl import flags
from simple_parsing.docstring import get_attribute_docstring

from can.commands import flags as setting_flags
from can.commands.setting import Setting
from can.commands.spec import Spec
from can.config import MethodSettings
from can.errors import ConfigError
from can.fields import OneOf
from can.methods import method_names, settings_class

ASKED = ("--help", "-help", "-h", "-?")
_ROOMS = ("can.", "experiments.", "analysis.")
_OF_RUN = ("method", "model", "data", "epochs", "seed", "name")
_COLUMN = 30  # where meanings begin


def asked(arguments: list[str]) -> bool:
    """Whether a command line asks for help."""
    return any(argument in ASKED for argument in arguments[1:])


def text(arguments: list[str], main: Callable[[], None]) -> str:
    """The help of the command that `main` is, for the command line with its other flags.

    Raises flags.Error for a flag that does not exist or a value that it cannot have, ConfigError for a setting that
    cannot work.
    """
    try:
        flags.FLAGS([argument for argument in arguments if argument not in ASKED])
    except flags.Error:
        if not flags.FLAGS.is_parsed():
            raise  # else a flag is missing that the command needs, and help does not
    module = main.__module__ if main.__module__.startswith("can.commands.") else "__main__"
    values = _Values()
    parts = [(sys.modules[module].__doc__ or "").strip(), values.said]
    for title, own in _sections():
        parts.append("\n".join([title, *(_entry(flag, values) for flag in own)]))
    parts.append("Flags of absl and other libraries: --helpfull")
    return "\n\n".join(part for part in parts if part)


def meaning(name: str) -> str:
    """What the flag `name` is, in words; empty if nobody has said it."""
    declared = setting_flags.declared(name)
    if not declared:
        return flags.FLAGS[name].help or ""
    first, *_ = sorted(declared, key=lambda config: config is not _method_settings())
    said = get_attribute_docstring(first, declared[first])
    return (said.comment_inline or said.comment_above).removesuffix(".")


class _Values:
    """The values that flags have at a setting, those left unset included."""

    def __init__(self) -> None:
        self.setting = setting_flags.setting() if "scale" in flags.FLAGS else None
        self.config = setting_flags.run_of_flags(self.setting).config if self.setting and _has_run() else None
        given = [f"--{name}={flags.FLAGS[name].value}" for name in ("scale", *_OF_RUN[:4]) if name in flags.FLAGS]
        self.said = f"In brackets: the value of a flag that is left out{', with ' if given else ''}{' '.join(given)}."

    def of(self, flag: flags.Flag) -> str:
        """The value as text; empty if there is none."""
        declared = setting_flags.declared(flag.name)
        if not declared:
            value = self._of_scale(flag.name) if flag.value is None else flag.value
            return _shown(value) or ("" if "default:" in (flag.help or "") else "none")
        for part in self._parts():
            if type(part) in declared:
                return _shown(getattr(part, declared[type(part)]))
        by_value: dict[str, list[str]] = {}
        for method in method_names():
            if settings_class(method) in declared:
                by_value.setdefault(self._of_method(method, flag.name), []).append(method)
        if not by_value:
            return "the row's"  # a table has no run of its own
        return "; ".join(f"{value} of {', '.join(methods)}" for value, methods in by_value.items())

    def _parts(self) -> list[Any]:
        """The configurations of the run and of its evaluations."""
        run = [self.config.model, self.config.augment, self.config.optim, self.config.method] if self.config else []
        return run + [getattr(self.setting.scale, name) for name in setting_flags.PROTOCOLS if self.setting]

    def _of_scale(self, name: str) -> Any:
        """The value that the scale gives a flag, if it does."""
        roles = {"labelled": "in1k", "uncurated": "jft"}
        if self.setting is None or name == "name":
            return None
        if name == "augmentation":
            return self.config.augment.name if self.config else None
        return self.setting.scale.data[roles[name]] if name in roles else getattr(self.setting.scale, name, None)

    def _of_method(self, method: str, name: str) -> str:
        """The value that a method has at this scale."""
        settings: Any = settings_class(method)
        if self.setting is not None:
            with contextlib.suppress(ConfigError):
                settings = Setting(self.setting.scale).run(Spec(method, "vit_b", "in1k", 100), 0).config.method
        return _shown(getattr(settings, name))


def _sections() -> Iterator[tuple[str, list[flags.Flag]]]:
    """The flags that are ours, under titles: the command's own first, those of methods that it does not run last."""
    defined, chosen = flags.FLAGS.flags_by_module_dict(), _method_settings()
    ours = [
        (module, flag)
        for module, own in defined.items()
        if module.startswith(_ROOMS) or module not in sys.modules
        for flag in own
    ]
    shared = ("can.commands.flags", "can.commands.folder_flags", "can.commands.several_hosts")
    by_title: dict[str, list[flags.Flag]] = {"This command": [], "The run": [], "Images, places and files": []}
    last: dict[str, list[flags.Flag]] = {}
    for module, flag in ours:
        declared = setting_flags.declared(flag.name)
        of_method = [config for config in declared if issubclass(config, MethodSettings)]
        if chosen in of_method:
            title = f"--method={flags.FLAGS.method}: {_title(chosen)}"
        elif of_method:
            last.setdefault("Of the methods that are named in brackets", []).append(flag)
            continue
        elif declared:
            title = _title(next(iter(declared)))
        elif flag.name in _OF_RUN and module == shared[0]:
            title = "The run"
        else:
            title = "Images, places and files" if module in shared else "This command"
        by_title.setdefault(title, []).append(flag)
    yield from ((title, own) for title, own in (by_title | last).items() if own)


def _entry(flag: flags.Flag, values: _Values) -> str:
    """A flag's lines."""
    kind = _kind(flag)
    left = f"  --[no]{flag.name}" if kind is None else f"  --{flag.name}={kind}"
    value = values.of(flag)
    said = meaning(flag.name) + (f" [{value}]" if value else "")
    width = min(shutil.get_terminal_size().columns, 120)
    lines = textwrap.wrap(said, max(width - _COLUMN, 30), break_long_words=False, break_on_hyphens=False)
    if len(left) + 2 > _COLUMN:
        return "\n".join([left, *(" " * _COLUMN + line for line in lines)])
    return f"{left:<{_COLUMN}}" + f"\n{' ' * _COLUMN}".join(lines)


def _kind(flag: flags.Flag) -> str | None:
    """The kind of a flag's value, as a word; None for a switch."""
    for config, name in setting_flags.declared(flag.name).items():
        hint = get_type_hints(config, include_extras=True)[name]
        for rule in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
            if isinstance(rule, OneOf):
                return "|".join(rule.words)
    if flag.boolean:
        return None
    if isinstance(flag.parser, flags.EnumParser):
        return "|".join(flag.parser.enum_values)
    if isinstance(flag.parser, flags.ListParser) or "commas" in flag.parser.syntactic_help:
        return "A,B,..."
    words = {"int": "INT", "float": "FLOAT"}
    return words.get(flag.flag_type(), "FOLDER" if "folder" in flag.parser.syntactic_help else "TEXT")


def _shown(value: Any) -> str:
    """A value as it is typed; empty for none."""
    if value is None or value == []:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _has_run() -> bool:
    return all(name in flags.FLAGS for name in _OF_RUN)


def _method_settings() -> type[MethodSettings]:
    """The settings of the method that the command runs; of none, if it runs none."""
    return settings_class(flags.FLAGS.method) if _has_run() else MethodSettings


def _title(config: type) -> str:
    return (config.__doc__ or config.__name__).strip().split("\n")[0].rstrip(".")
