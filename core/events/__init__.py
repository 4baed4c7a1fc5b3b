"""What happened: facts, the outbox that carries them out, the Kafka seam, the live log of a job."""
