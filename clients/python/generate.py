"""Writes models.py, the dataclasses of /openapi.json and /asyncapi.json: `make client`.

Needs the project and its development requirements, but no server.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datamodel_code_generator.__main__ import main as generate
from flask import Flask

from core.config import load_settings
from web import create_app
from web.routes.documents.asyncapi import asyncapi_document
from web.routes.documents.openapi import openapi_document

MODELS = Path(__file__).parent / "flashbid_client" / "models.py"
OPTIONS = (
    *("--input-file-type", "openapi", "--output-model-type", "dataclasses.dataclass"),
    *("--target-python-version", "3.11", "--enum-field-as-literal", "all"),
    *("--formatters", "builtin", "--disable-future-imports"),
    *("--custom-file-header", '"""The API\'s bodies and answers. Written by `make client`."""'),
    *("--frozen-dataclasses", "--keyword-only"),
)


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document with the schemas of the WebSocket's messages."""
    whole: dict[str, Any] = json.loads(json.dumps(openapi_document(app)))
    messages = asyncapi_document()["components"]["schemas"]
    whole["components"]["schemas"] = messages | whole["components"]["schemas"]
    return whole


def write_models(path: Path) -> None:
    """Write the models of the project as it is."""
    app = create_app(load_settings({"DEBUG": "true"}))
    with TemporaryDirectory() as folder:
        source = Path(folder) / "flashbid.json"
        source.write_text(json.dumps(document(app)), encoding="utf-8")
        code = generate(["--input", str(source), "--output", str(path), *OPTIONS])
    if code != 0:
        raise SystemExit(int(code))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=MODELS)
    write_models(parser.parse_args().output)
