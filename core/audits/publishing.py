"""When an audit becomes evidence: in the very statement that makes its job succeeded."""

# Days that it counts where its policy does not say.
MAX_AGE_DAYS = 30

# For `outbox.recorded(move, also)` of a statement that ends jobs, as core.catalog.versions.PUBLISH is: whatever else
# ends an audit's job leaves a row that never counts.
PUBLISH = f""", published_audits AS (
    UPDATE audits a SET published_at = now(), expires_at = now() + make_interval(
        days => coalesce((a.policy ->> 'max_age_days')::int, {MAX_AGE_DAYS}))
    FROM moved m
    WHERE m.kind = 'audit' AND m.state = 'succeeded' AND a.job_id = m.id AND a.verdict IS NOT NULL
      AND a.published_at IS NULL
)"""  # noqa: S608 - only constants are formatted in
