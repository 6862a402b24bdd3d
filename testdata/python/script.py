"""script.py DIRECTORY: a small program that uses the interpreter as scripts do (json,
re, files in DIRECTORY), and prints the same on every run.

It writes a JSON file of records, reads it back, counts the words that a pattern finds
in them, writes the counts to a second file, and removes both.
"""

import json
import os
import re
import sys

TEXT = """\
GET /index.html 200
GET /missing 404
POST /orders 201
GET /orders/17 200
DELETE /orders/17 204
GET /orders/17 404
"""

LINE = re.compile(r"^(?P<method>[A-Z]+) (?P<path>\S+) (?P<status>\d{3})$", re.MULTILINE)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: script.py DIRECTORY")
    requests_path = os.path.join(sys.argv[1], "requests.json")
    counts_path = os.path.join(sys.argv[1], "counts.json")

    requests = [match.groupdict() for match in LINE.finditer(TEXT)]
    with open(requests_path, "w", encoding="utf-8") as file:
        json.dump(requests, file, indent=2)

    with open(requests_path, encoding="utf-8") as file:
        requests = json.load(file)
    counts = {}
    for request in requests:
        counts[request["status"]] = counts.get(request["status"], 0) + 1
    with open(counts_path, "w", encoding="utf-8") as file:
        json.dump(counts, file, sort_keys=True)

    with open(counts_path, encoding="utf-8") as file:
        print(file.read())
    sections = {re.sub(r"^/(\w+).*$", r"\1", request["path"]) for request in requests}
    print(f"{len(requests)} requests to {', '.join(sorted(sections))}")

    os.remove(requests_path)
    os.remove(counts_path)


main()
