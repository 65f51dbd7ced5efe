"""One short pure function per rule, ``formula(batch, options) -> values [B, T]``, under its paper's formula.

Every module in this folder is imported here and registers its rules: a new rule is a new file and its test.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
