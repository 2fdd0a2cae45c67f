"""What a model file takes on its chip: time by op, engine and part, memory over time; as trace, tables and pictures."""

from stepdown.perf.account import Account, Work, account_of

__all__ = ["Account", "Work", "account_of"]
