"""Links of proxied pages lead through the proxy."""

import pytest

from ksql.serve.links import address, led

BASE = "/api/v1/namespaces/shop/pods/web/proxy"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("/page", f"{BASE}/page"),
        ("page?x=1#top", f"{BASE}/page?x=1#top"),
        ("/", f"{BASE}/"),
        (f"{BASE}/page", f"{BASE}/page"),
        ("https://example.com/page", "https://example.com/page"),
        ("//example.com/page", "//example.com/page"),
        ("#part", "#part"),
        ("mailto:a@example.com", "mailto:a@example.com"),
        ("http://[bad/", "http://[bad/"),
    ],
)
def test_paths_get_the_proxys_before_them_and_nothing_else_does(given: str, meant: str) -> None:
    assert address(given, BASE) == meant


def test_only_attributes_that_are_links_are_changed() -> None:
    page = '<a title="/t" HREF=\'/x\'>/text</a><p href="/p"><img src="/i" alt="/alt"><form action="/f"></form>'
    assert led(page, "/b") == (
        '<a title="/t" HREF=\'/b/x\'>/text</a><p href="/p"><img src="/b/i" alt="/alt"><form action="/b/f"></form>'
    )
