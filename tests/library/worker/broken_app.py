"""A module that cannot be imported: what it needs is missing."""

import importlib

importlib.import_module("no_such_module_anywhere")
