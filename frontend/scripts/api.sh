#!/bin/sh
# Generate src/api/schema.d.ts from the API itself. PYTHON: the Python that has the studio's packages.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-$(cd .. && pwd)/.venv/bin/python}
description=$(mktemp)
trap 'rm -f "$description"' EXIT
(cd .. && PYTHONPATH=. "$python" scripts/openapi.py >"$description")
npx openapi-typescript "$description" --output src/api/schema.d.ts
npx prettier --log-level warn --write src/api/schema.d.ts
