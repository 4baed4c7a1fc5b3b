"""The semantic cache's table: where pgvector may be used, and never a reason for migrations to fail."""

import psycopg

from core.config import Settings
from core.db.session import Database
from core.jobs import alike
from tests.rig import migrate

GUEST = """
CREATE ROLE guest LOGIN PASSWORD 'guest';
GRANT CREATE ON SCHEMA public TO guest;
"""


async def there(url: str) -> bool:
    opened = Database(Settings(_env_file=None, database_url=url), name="test", pool=1)
    try:
        async with opened.single() as session:
            return await alike.there(session)
    finally:
        await opened.close()


async def test_the_embedded_postgres_brings_pgvector(postgres_url: str) -> None:
    assert await there(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT '[1,0]'::vector <=> '[0,1]'::vector").fetchone()
    assert row == (1.0,)


async def test_a_role_that_may_not_load_it_migrates_all_the_same_and_it_may_come_later(
    postgres_url: str,
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE guarded")
        owned = postgres_url.rsplit("/", 1)[0] + "/guarded"
        with psycopg.connect(owned, autocommit=True) as inside:
            inside.execute(GUEST)
        host = postgres_url.partition("@")[2].rsplit("/", 1)[0]
        guest = f"postgresql://guest:guest@{host}/guarded"
        migrate(guest)
        assert not await there(guest)
        with psycopg.connect(owned, autocommit=True) as inside:
            inside.execute("CREATE EXTENSION vector")
        migrate(guest)
        assert await there(guest)
        admin.execute("DROP DATABASE guarded WITH (FORCE)")
        admin.execute("DROP ROLE guest")
