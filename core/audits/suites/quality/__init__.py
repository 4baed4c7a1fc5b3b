"""Quality: how well a model predicts text, answers, agrees with itself, and knows how sure it may be."""
