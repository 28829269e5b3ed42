"""The workflow file itself, rehearsed on this machine by `act`: `nox -s rehearse -- --act`.

`transcript` makes the copy of the file that is run and says in which lines it differs, `standins` takes the
place of each pinned action, `artefacts` that of the artefact store, `run` starts act and reads what it said.
"""
