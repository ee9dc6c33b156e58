"""Figures cached for all sessions: drawing takes longer than everything else on a page."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import wraps
from hashlib import blake2b
from typing import Any, ParamSpec, Self

import plotly.graph_objects as go
import streamlit as st

from kswatch.dashboard.charts.margins import set_margins

P = ParamSpec("P")

MOST_FIGURES = 300


class SharedFigure(go.Figure):
    """A figure that all sessions share once it is finished; it must not be changed afterwards."""

    _source_key: str | None = None
    _finished: dict[str, Any] | None = None

    @property
    def source_key(self) -> str | None:
        """The hash of the arguments of a finished figure; None before."""
        return self._source_key

    def finish(self, source_key: str) -> Self:
        """Set the margins and serialise the figure once, for every page that shows it."""
        set_margins(self)
        self._finished = json.loads(self.to_json())
        self._source_key = source_key
        return self

    def to_dict(self) -> dict[str, Any]:
        """The figure as a dictionary; cached for a finished one."""
        return self._finished or super().to_dict()


def cached_figure(draw: Callable[P, go.Figure]) -> Callable[P, go.Figure]:
    """The same function, which returns a cached figure for equal arguments."""

    @wraps(draw)
    def figure(*args: P.args, **kwargs: P.kwargs) -> go.Figure:
        given = [getattr(value, "source_key", None) or value for value in args]
        packed = pickle.dumps((draw.__module__, draw.__name__, given, sorted(kwargs.items())), protocol=5)
        key = blake2b(packed, digest_size=16).hexdigest()
        return _cached(key, lambda: draw(*args, **kwargs))

    return figure


@st.cache_resource(show_spinner=False, max_entries=MOST_FIGURES)
def _cached(key: str, _draw: Callable[[], go.Figure]) -> go.Figure:
    figure = _draw()
    return figure.finish(key) if isinstance(figure, SharedFigure) else figure
