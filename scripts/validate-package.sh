#!/usr/bin/env bash
# What is to pass before a package is merged: this repository's gates, in this order, one verdict line at the end.
# usage: scripts/validate-package.sh NAME     NAME is the project's, as pyproject.toml has it
# Exit: 0 all passed, 1 a gate failed or a tracked file changed, 2 usage. PYTHON names the interpreter that has nox.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

name=$(sed -n 's/^name = "\(.*\)"$/\1/p' pyproject.toml | head -n 1)
if [ "$#" -ne 1 ] || [ "$1" != "$name" ]; then
  echo "usage: scripts/validate-package.sh $name (this folder holds that package and no other)" >&2
  exit 2
fi

# Git's own view: what is ignored (environments, dist/, ledger/) may change.
state() { { git status --porcelain=v1 --untracked-files=all -- . && git diff HEAD -- .; } | git hash-object --stdin; }

before=$(state)
verdict="" failed=0
for gate in build lint test; do
  if "${PYTHON:-python}" -m nox -s "$gate"; then
    verdict+="$gate passed, "
  else
    verdict+="$gate FAILED, "
    failed=1
  fi
done
if [ "$before" = "$(state)" ]; then
  verdict+="no file changed"
else
  verdict+="files CHANGED: see git status"
  failed=1
fi
[ "$failed" -eq 0 ] && word=PASSED || word=FAILED
echo "$word $name: $verdict"
exit "$failed"
