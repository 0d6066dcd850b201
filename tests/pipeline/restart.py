"""Starts a broker whose folder is there, so that its starter need not wait: restart.py DIR."""

import sys

from broker import Broker

Broker(sys.argv[1]).start()
