"""The sign-in pages, which are shown outside of Streamlit: plain HTML without a script, all escaped."""

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
.error { color: light-dark(#a11, #f99) }
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


def token_form(next_page: str, error: str = "", status: int = 401) -> HTMLResponse:
    """The form for a name and a token; signing in leads to `next_page`."""
    alert = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    body = (
        f'{alert}<form method="post" action="/sign-in">'
        f'<input type="hidden" name="next" value="{escape(next_page)}">'
        '<label>Your name <input name="name" required maxlength="80" autocomplete="name"></label>'
        '<label>Token <input name="token" type="password" required maxlength="200" '
        'autocomplete="current-password"></label><button>Sign in</button></form>'
        "<p>Your name is recorded with every action; the token decides whether you may read or also act.</p>"
    )
    return page("kswatch", body, status)


def provider_link() -> HTMLResponse:
    """The link to the provider; not a form, which must not leave this host."""
    return page("kswatch", '<p><a class="button" href="/sign-in">Sign in</a></p>', 401)


def not_permitted(name: str) -> HTMLResponse:
    """The refusal of a user that the provider knows but no list of this dashboard names."""
    message = f"<p>{escape(name)} has no access to this dashboard. Ask its administrator.</p>"
    return page("kswatch", message + '<p><a href="/sign-out">Sign out</a></p>', 403)


def sign_out_form() -> HTMLResponse:
    """The form that confirms signing out, which a mere link must not do."""
    form = '<form method="post" action="/sign-out"><button>Sign out</button></form>'
    return page("kswatch", f'{form}<p><a href="/">Back</a></p>')
