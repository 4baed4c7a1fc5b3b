"""The forms in which training data come (docs/data.md); shared by the kinds that read them."""

from typing import Literal

Format = Literal["auto", "chat", "completion", "alpaca", "sharegpt", "text", "preference"]
# Of English in most tokenizers; only for what is reckoned before the data are read.
BYTES_A_TOKEN = 4
