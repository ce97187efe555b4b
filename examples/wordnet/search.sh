#!/bin/sh
# Searches a node for words, with nothing but curl: search.sh "giant planet"
set -eu
url=${SPECTOR_URL:-http://127.0.0.1:7070}
# The words become a JSON string: backslashes and quotes are escaped, control characters go.
words=$(printf '%s' "${*:-active volcano}" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')

curl --silent --show-error --fail-with-body "$url/api/v1/search" \
  --header 'content-type: application/json' \
  --data "{\"text\": \"$words\", \"topK\": 5, \"withContent\": true}"
echo
