"""The nouns and rules of Penstock: jobs, their events, keys, models, webhooks. Knows neither neighbour."""
