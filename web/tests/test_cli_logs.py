"""Log lines: readable by machines, with ids and without what libraries would spill."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from billhook_web import logs


@pytest.fixture(autouse=True)
def _put_logging_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_time_level_event_and_ids() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream=stream)
    structlog.get_logger("x").info("inbox.processed", inbox_id=7)
    [line] = lines(stream)
    assert list(line) == ["time", "level", "event", "inbox_id"]
    assert (line["level"], line["event"], line["inbox_id"]) == ("info", "inbox.processed", 7)
    assert str(line["time"]).endswith("Z")


def test_lines_of_libraries_look_the_same() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream=stream)
    logging.getLogger("some.library").warning("took %d s", 3)
    [line] = lines(stream)
    assert (line["level"], line["event"]) == ("warning", "took 3 s")


def test_a_failure_comes_with_its_traceback_on_one_line() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream=stream)
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger("x").exception("effect.failed")
    [line] = lines(stream)
    assert "ValueError: no" in str(line["exception"])


def test_less_than_the_level_is_not_written() -> None:
    stream = io.StringIO()
    logs.configure("WARNING", stream=stream)
    structlog.get_logger("x").info("quiet")
    logging.getLogger("y").info("quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("name", ["httpx", "httpcore", "httpcore.http11"])
def test_http_libraries_never_write_urls_or_headers(name: str) -> None:
    stream = io.StringIO()
    logs.configure("DEBUG", stream=stream)
    logging.getLogger(name).debug("Authorization: Bearer secret")
    logging.getLogger(name).info("HTTP Request: GET https://example.com/?key=secret")
    assert stream.getvalue() == ""


def test_a_terminal_gets_lines_for_people() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream=stream, terminal=True)
    structlog.get_logger("x").info("inbox.processed", inbox_id=7)
    assert "inbox.processed" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def answer(request_id: str | None) -> tuple[dict[str, str], list[dict[str, object]]]:
    stream = io.StringIO()
    logs.configure("INFO", stream=stream)
    headers: dict[str, str] = {}

    def app(_environ, start_response):  # type: ignore[no-untyped-def]
        structlog.get_logger("x").info("inside")
        start_response("200 OK", [])
        return [b""]

    wrapped = logs.with_request_id(app, new_id=lambda: "made")
    environ = {} if request_id is None else {"HTTP_X_REQUEST_ID": request_id}
    wrapped(environ, lambda _status, given: headers.update(given))
    structlog.get_logger("x").info("outside")
    return headers, lines(stream)


def test_lines_of_a_request_carry_its_id_and_so_does_the_answer() -> None:
    headers, [inside, outside] = answer("abc-1")
    assert headers["X-Request-Id"] == inside["request_id"] == "abc-1"
    assert "request_id" not in outside


@pytest.mark.parametrize("given", [None, "", "a b", 'x"}', "y" * 65])
def test_an_id_that_is_none_is_replaced(given: str | None) -> None:
    headers, [inside, _] = answer(given)
    assert headers["X-Request-Id"] == inside["request_id"] == "made"
