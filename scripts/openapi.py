"""Print the API's description; the page's client is generated from it (`npm run api` in frontend/)."""

import json

from backend.app import create_app

print(json.dumps(create_app().openapi(), indent=1, sort_keys=True))
