"""The servers that tests run against are real, empty at the start, and gone at the end."""

import socket
import threading
import warnings
from pathlib import Path

import pytest
import redis
from pytest_socket import SocketConnectBlockedError
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from tests.servers import NewDatabase, PostgresPrograms, redis_binary, running_postgres, running_redis


def test_postgres_runs_sql_only_a_real_one_knows(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE job (id int primary key, payload jsonb not null)"))
        connection.execute(text("""INSERT INTO job VALUES (1, '{"n": 1}'), (2, '{"n": 2}')"""))
    claim = text("SELECT id FROM job ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1")
    with engine.begin() as first, engine.begin() as second:
        assert (first.scalar(claim), second.scalar(claim)) == (1, 2)
    engine.dispose()


def test_every_postgres_database_is_new(new_postgres_database: NewDatabase) -> None:
    urls = [new_postgres_database(), new_postgres_database()]
    engines = [create_engine(url) for url in urls]
    with engines[0].begin() as connection:
        connection.execute(text("CREATE TABLE left_behind (id int)"))
    assert [inspect(engine).get_table_names() for engine in engines] == [["left_behind"], []]
    for engine in engines:
        engine.dispose()


def test_postgres_is_gone_after_use() -> None:
    programs = PostgresPrograms.find()
    if programs is None:
        pytest.skip("no PostgreSQL programs here")
    with running_postgres(programs) as url:
        folder = Path(str(make_url(url).query["host"]))
        assert folder.is_dir()
    assert not folder.exists()
    engine = create_engine(url)
    with pytest.raises(OperationalError):
        engine.connect()


def test_redis_hands_messages_from_one_client_to_another(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as sender, redis.Redis.from_url(redis_url) as receiver:
        answer: list[object] = []
        waiting = threading.Thread(target=lambda: answer.append(receiver.blpop(["queue"], timeout=5)))
        waiting.start()
        sender.rpush("queue", "wake up")
        waiting.join(10)
    assert answer == [(b"queue", b"wake up")]


@pytest.mark.parametrize("round_number", [1, 2])
def test_redis_is_empty_for_every_test(redis_url: str, round_number: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left behind", round_number)


def test_redis_is_gone_after_use() -> None:
    binary = redis_binary()
    if binary is None:
        pytest.skip("no Redis server program here")
    with running_redis(binary) as url, redis.Redis.from_url(url) as client:
        assert client.ping()
    with redis.Redis.from_url(url) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_no_test_reaches_beyond_loopback() -> None:
    nobody = ("192.0.2.1", 9)  # RFC 5737
    with socket.socket() as attempt, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SocketConnectBlockedError):
            attempt.connect(nobody)
