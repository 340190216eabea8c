"""The yardstick: the least that Flask can do with a JSON body.

Served by gunicorn with the same configuration file and settings as the real application.
"""

from flask import Flask, Response, jsonify, request

app = Flask(__name__, static_folder=None)


@app.post("/echo")
def echo() -> Response:
    """The body again."""
    return jsonify(request.get_json())
