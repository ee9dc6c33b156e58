"""Figures that are drawn once for all who look: drawing takes longer than everything else on a page."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from functools import wraps
from hashlib import blake2b
from typing import Any, ParamSpec, Self

import plotly.graph_objects as go
import streamlit as st

from kswatch.dashboard.charts.margins import make_room

P = ParamSpec("P")

MOST_FIGURES = 300


class Drawing(go.Figure):
    """A figure; once it is finished all sessions share it, and it is not to be changed any more."""

    _drawn_from: str | None = None
    _finished: dict[str, Any] | None = None

    @property
    def drawn_from(self) -> str | None:
        """Stands for everything that a finished figure was drawn from."""
        return self._drawn_from

    def finish(self, drawn_from: str) -> Self:
        """Make its margins and its dictionary, which a page asks for at every look, for good."""
        make_room(self)
        self._finished = json.loads(self.to_json())
        self._drawn_from = drawn_from
        return self

    def to_dict(self) -> dict[str, Any]:
        """The figure as a dictionary; of a finished one always the same."""
        return self._finished or super().to_dict()


def drawn_once(draw: Callable[P, go.Figure]) -> Callable[P, go.Figure]:
    """The same function, which draws only where it has not drawn from equal arguments yet."""

    @wraps(draw)
    def figure(*args: P.args, **kwargs: P.kwargs) -> go.Figure:
        given = [getattr(value, "drawn_from", None) or value for value in args]
        told = pickle.dumps((draw.__module__, draw.__name__, given, sorted(kwargs.items())), protocol=5)
        key = blake2b(told, digest_size=16).hexdigest()
        return _remembered(key, lambda: draw(*args, **kwargs))

    return figure


@st.cache_resource(show_spinner=False, max_entries=MOST_FIGURES)
def _remembered(key: str, _draw: Callable[[], go.Figure]) -> go.Figure:
    figure = _draw()
    return figure.finish(key) if isinstance(figure, Drawing) else figure
