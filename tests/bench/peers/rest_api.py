"""rest-api as one writes it with Flask: gunicorn -w 2 rest_api:app. Beside it is measured what
workloads/rest-api does."""
import json
import sys
import time
from datetime import datetime, timezone

from flask import Flask, g, jsonify, request

app = Flask(__name__)
people = [
    {"id": number, "name": name, "email": f"{name.lower()}@example.com"}
    for number, name in enumerate(("Alice", "Bob", "Charlie", "Diana", "Eve"), 1)
]


def now():
    return datetime.now(timezone.utc).isoformat()


@app.before_request
def begin():
    g.began = time.perf_counter()


@app.after_request
def log(response):
    line = {
        "timestamp": now(), "level": "INFO", "service": "rest-api", "message": "request",
        "method": request.method, "path": request.path, "status": response.status_code,
        "duration_ms": round((time.perf_counter() - g.began) * 1000, 3),
        "remote_addr": request.remote_addr,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    return response


@app.get("/health")
def health():
    return jsonify(status="healthy", service="rest-api", timestamp=now())


@app.get("/api/users")
def users():
    return jsonify(users=people, count=len(people), total=len(people), next=None)
