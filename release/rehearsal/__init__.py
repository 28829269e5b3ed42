"""The rehearsal: a whole release on this machine alone, with the real clients and an embedded world.

`world` starts an OIDC issuer, two package indexes and a proxy on 127.0.0.1; `drive` walks a scratch clone
through every stage against them. Nothing here is imported by a stage that runs in a real release.
"""
