"""Writes the pages that are made from the code to standard output, as JSON: path to Markdown.

`make docs` starts it as a process of its own, because the application takes over logging.
"""

import json
import sys

from dev.docs.reference import pages

sys.stdout.write(json.dumps(pages()))
