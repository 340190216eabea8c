"""The Flask reference: a minimal application that echoes a JSON body."""

from flask import Flask, Response, jsonify, request

app = Flask(__name__, static_folder=None)


@app.post("/echo")
def echo() -> Response:
    """Echo the body."""
    return jsonify(request.get_json())
