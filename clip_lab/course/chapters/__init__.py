"""The checks, hints and model answers of each chapter, a module a chapter; importing registers."""

from importlib import import_module
from pkgutil import iter_modules

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
