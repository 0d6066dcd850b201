"""log-generator with Python's logging: LOG_COUNT lines of JSON, as fast as it goes."""
import json
import logging
import os
import random
import sys
import uuid
from datetime import datetime, timezone


class Json(logging.Formatter):
    def format(self, record):
        return json.dumps({
            "timestamp": datetime.now(timezone.utc).isoformat(), "level": record.levelname,
            "logger": record.name, "message": record.getMessage(), **record.members})


handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(Json())
log = logging.getLogger("log-generator")
log.setLevel(logging.DEBUG)
log.addHandler(handler)
log.propagate = False


def login():
    log.info("User logged in", extra={"members": {
        "user_id": random.randint(1, 1000), "ip": f"192.168.1.{random.randint(1, 254)}", "session_id": str(uuid.uuid4())}})


def request():
    log.info("API request completed", extra={"members": {
        "method": random.choice(("GET", "POST", "PUT", "DELETE")), "path": random.choice(("/api/users", "/api/orders")),
        "status": random.choice((200, 201, 204, 400, 404)), "duration_ms": round(random.uniform(5, 500), 2),
        "request_id": str(uuid.uuid4())}})


def cache():
    log.debug("Cache lookup", extra={"members": {"key": f"user:{random.randint(1, 1000)}", "hit": random.random() < 0.8}})


def slow():
    log.warning("Slow query", extra={"members": {"duration_ms": round(random.uniform(1000, 5000), 2)}})


def failure():
    log.error("Payment failed", extra={"members": {
        "order_id": random.randint(1000, 9999), "error": random.choice(("insufficient_funds", "card_expired"))}})


def down():
    log.critical("Database connection lost", extra={"members": {"host": "postgres", "port": 5432}})


for _ in range(int(os.environ["LOG_COUNT"])):
    random.choices((login, request, cache, slow, failure, down), (20, 40, 20, 10, 8, 2))[0]()
