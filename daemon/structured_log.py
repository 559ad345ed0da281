"""Logs as JSON, a line each, with the number of the job that a line is about."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

MOST_BYTES, KEPT = 16 << 20, 3  # of one file, and older files
LOGGERS = ("daemon", "visualdub", "training", "exporters")
_JOB = re.compile(r"\bjob (\d+)")


class JsonLines(logging.Formatter):
    """time (UTC), level, logger, pid, message; job where the message names one; error with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        message = record.getMessage()
        job = getattr(record, "job", None)
        if job is None and (named := _JOB.search(message)):
            job = int(named.group(1))
        values = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            **({"job": job} if job is not None else {}),
            "message": message,
            **({"error": self.formatException(record.exc_info)} if record.exc_info else {}),
        }
        return json.dumps(values, ensure_ascii=False)


def to_stream(stream: TextIO) -> None:
    """Write what this process logs to `stream`; for processes that are ours alone."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def to_file(path: Path) -> logging.Handler:
    """Write what our modules log to the file, too, which is begun anew when it is large; remove the handler
    with `stop`.
    """
    handler = RotatingFileHandler(path, maxBytes=MOST_BYTES, backupCount=KEPT, encoding="utf-8", delay=True)
    handler.setFormatter(JsonLines())
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    return handler


def stop(handler: logging.Handler) -> None:
    """Undo `to_file`."""
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(handler)
    handler.close()
