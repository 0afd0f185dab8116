"""Reports: one frozen model of a run, rendered as JSON, terminal text, markdown and HTML.

Everything here is pure: a :class:`~pytest_multiplicity.report.model.Run` goes in, text comes out.
"""
