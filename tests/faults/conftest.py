from support.reports import reports

__all__ = ["reports"]
