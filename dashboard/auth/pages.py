"""The few pages that are shown outside of Streamlit: plain HTML without a script, everything escaped."""

from __future__ import annotations

from html import escape

from starlette.responses import HTMLResponse

CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 24rem; margin: 15vh auto; padding: 0 1rem }
label { display: block; margin: 1rem 0 }
input { display: block; width: 100%; box-sizing: border-box; font: inherit; padding: .4rem }
button, .button { font: inherit; padding: .4rem 1rem; margin-top: .5rem }
.told { color: light-dark(#a11, #f99) }
"""


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """A page; `body` is HTML already, the title is not."""
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" '
        f'content="noindex"><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>'
    )
    headers = {"Content-Security-Policy": CONTENT_POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(html, status, headers)


def token_form(wanted: str, told: str = "", status: int = 401) -> HTMLResponse:
    """Asks for a name and a token; `wanted` is the page to go to then."""
    said = f'<p class="told" role="alert">{escape(told)}</p>' if told else ""
    body = (
        f'{said}<form method="post" action="/sign-in">'
        f'<input type="hidden" name="next" value="{escape(wanted)}">'
        '<label>Your name <input name="name" required maxlength="80" autocomplete="name"></label>'
        '<label>Token <input name="token" type="password" required maxlength="200" '
        'autocomplete="current-password"></label><button>Sign in</button></form>'
        "<p>The name stands beside what you do; the token says whether you may read or also act.</p>"
    )
    return page("kswatch", body, status)


def provider_link() -> HTMLResponse:
    """Sends to the provider; a link, since a form may not leave this host."""
    return page("kswatch", '<p><a class="button" href="/sign-in">Sign in</a></p>', 401)


def stranger(name: str) -> HTMLResponse:
    """Tells somebody whom the provider knows that this dashboard does not."""
    said = f"<p>{escape(name)} may not read this dashboard. Ask who runs it.</p>"
    return page("kswatch", said + '<p><a href="/sign-out">Sign out</a></p>', 403)


def sign_out_form() -> HTMLResponse:
    """Asks once more: signing out is an act, which a mere link must not do."""
    form = '<form method="post" action="/sign-out"><button>Sign out</button></form>'
    return page("kswatch", f'{form}<p><a href="/">Back</a></p>')
