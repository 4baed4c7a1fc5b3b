"""Telling a tenant's own server what happened: endpoints, signatures, deliveries, retries."""
