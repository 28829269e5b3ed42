"""The tools that move a workspace such as TTA's over to this package; extra `adopt`, command `tta-adopt`.

Stands beside the library: nothing imports it, and it imports nothing of the library.
"""
