"""PostgreSQL: a small pool, made on first use (gunicorn forks after the import), and one way to open a transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

#: A connection inside a transaction; rows come as dicts.
Tx: TypeAlias = psycopg.Connection[DictRow]


class Unavailable(Exception):
    """The database cannot be reached, or dropped the connection: the work was not done and may be tried again."""


class Database:
    """`pool_size` connections at most; a caller waits up to `patience` seconds for one. Nothing connects before use."""

    def __init__(self, url: str, *, pool_size: int = 4, patience: float = 5.0) -> None:
        self._url, self._size, self._patience = url, pool_size, patience
        self._pool: ConnectionPool[psycopg.Connection[DictRow]] | None = None
        self._making = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Tx]:
        """Commit on success, roll back on any exception. Raises Unavailable where the server is not there."""
        try:
            with self._open().connection() as connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
            raise Unavailable(f"database: {error}") from error

    def read(self, query: str, params: Mapping[str, Any] | None = None) -> list[DictRow]:
        """The rows of one statement, in one exchange with the server: nothing is begun or committed around it.

        Raises Unavailable where the server is not there.
        """
        with self.transaction() as connection:
            connection.autocommit = True
            try:
                return connection.execute(query, params).fetchall()  # type: ignore[call-overload, no-any-return, unused-ignore]
            finally:
                with suppress(psycopg.Error):  # a broken connection leaves the pool anyway
                    connection.autocommit = False

    def ping(self) -> None:
        """Raises Unavailable unless the server answers."""
        with self.transaction() as tx:
            tx.execute("SELECT 1")

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _open(self) -> ConnectionPool[psycopg.Connection[DictRow]]:
        with self._making:
            if self._pool is None:
                options: dict[str, Any] = {"row_factory": dict_row, "connect_timeout": 5}
                self._pool = ConnectionPool(
                    self._url,
                    kwargs=options,
                    min_size=0,
                    max_size=self._size,
                    timeout=self._patience,
                    max_idle=120,
                    reconnect_timeout=5,
                    check=ConnectionPool.check_connection,
                    open=True,
                )
            return self._pool
