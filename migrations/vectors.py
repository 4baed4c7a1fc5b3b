"""The table of the semantic cache: there where the server has pgvector, and only there.

No version of its own: each run of the migrations looks again, so that pgvector may come later, and what goes
wrong here never stops them. Without the table semantic mode is refused by name (api/caching.py).
"""

# jobs.cache is version 0012's: below it, on a way down, there is nothing to add to.
PREPARE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')
       AND EXISTS (SELECT FROM information_schema.columns WHERE table_schema = current_schema()
                   AND table_name = 'jobs' AND column_name = 'cache') THEN
        CREATE EXTENSION IF NOT EXISTS vector;
        CREATE TABLE IF NOT EXISTS cache_vectors (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant_id varchar(40) NOT NULL REFERENCES tenants (id),
            context varchar(64) NOT NULL,
            job_id varchar(40) NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
            vector vector NOT NULL,
            expires_at timestamptz NOT NULL
        );
        CREATE INDEX IF NOT EXISTS ix_cache_vectors_place ON cache_vectors (tenant_id, context);
        CREATE INDEX IF NOT EXISTS ix_cache_vectors_job ON cache_vectors (job_id);
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'no semantic cache: pgvector cannot be used here: %', SQLERRM;
END $$
"""
