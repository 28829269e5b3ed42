"""The release tools of tta-agent-coordination: what `python -m release <stage>` runs.

Nothing here is shipped. This file imports nothing, so that the noxfile can read
`release.pythons` before any environment exists.
"""
