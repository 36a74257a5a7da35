"""Structured logs: one JSON object a line, static event names, keyed values.

Whatever stands under a key that begins with `pii_` (numbers, digits, addresses of people) is masked
unless the setting `log_personal` says otherwise.
"""

import logging
import sys
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

MASK = "•••"


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger bound to a module's name."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


def mask_personal(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hides personal values but keeps their keys, so that it shows that there was something."""
    for key, value in event.items():
        if key.startswith("pii_") and value:
            event[key] = MASK
    return event


def _to_json(event: EventDict, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


class _Forward(logging.Handler):
    """Routes what libraries log through the same pipeline."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(module=record.name)
        exception = record.exc_info if record.exc_info and record.exc_info[0] else None
        log.log(record.levelno, "library_log", message=record.getMessage(), exc_info=exception)


def configure(service: str, instance: str, *, level: str, fmt: str, personal: bool) -> None:
    """Sets up logging for the process; called once, by `run_process`."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(serializer=_to_json)
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(),
            # The default one prints local variables, and with them secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if not personal:
        processors.append(mask_personal)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, instance=instance)
    logging.root.handlers[:] = [_Forward()]
    logging.root.setLevel(logging.WARNING)
