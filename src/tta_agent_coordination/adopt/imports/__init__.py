"""What `tta-adopt imports` and `tta-adopt status` know: what moved, who imports it, what a person has to do.

`ast` reads, libcst writes. Only `plan` and `status` look at a whole tree; the rest is text in, values out.
"""
