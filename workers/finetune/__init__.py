"""Fine-tuning: the supervision of a training in processes of its own."""
