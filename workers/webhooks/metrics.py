"""What the webhook feeder and handler count."""

from prometheus_client import Counter, Gauge, Histogram

# The last bucket is where the default total timeout of 20 s cuts off.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)

DELIVERIES = Counter("penstock_webhook_deliveries_total", "Tries by outcome.", ("outcome",))
DURATION = Histogram(
    "penstock_webhook_duration_seconds", "Dialling to the end of the answer.", buckets=_BUCKETS
)
PENDING = Gauge("penstock_webhook_pending", "Deliveries that wait, as control last counted.")
EXHAUSTED = Counter(
    "penstock_webhook_exhausted_total", "Deliveries that used up their tries and are dead."
)
ENDPOINTS_DISABLED = Counter(
    "penstock_webhook_endpoints_disabled_total", "Endpoints given up on.", ("reason",)
)
