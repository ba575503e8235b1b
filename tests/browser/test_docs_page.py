"""The interactive docs, as somebody uses them who has only a browser."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browsers import DESKTOP, DESKTOP_DARK, LOOKS, PHONE, PHONE_DARK, Look, Page
from tests.e2e.shops import ADMIN, DEMO, Shop, order_of, stock_of

in_every_look = pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
PRODUCT = 1
"""Which the examples order two of."""


# --- opening it ---


@in_every_look
def test_it_asks_nobody_else_and_complains_of_nothing(page: Page, look: Look) -> None:
    page.open("/docs/", look)
    assert page.others == []
    assert page.errors == []
    assert page.asked("GET /openapi.json") == 1


def test_its_policy_stops_what_is_foreign_and_the_console_tells(page: Page) -> None:
    """Else the test above could not fail."""
    page.open("/docs/")
    page.run(
        "const script = document.createElement('script');"
        "script.textContent = 'window.ran = true'; document.body.append(script);"
        "fetch('http://elsewhere.test/').catch(() => { window.refused = true; });"
    )
    page.wait(lambda: page.run("return window.refused"), "an end of the request")
    assert page.run("return window.ran") is None
    page.read_logs()
    assert len([each for each in page.errors if "Content Security Policy" in each]) >= 2


def test_a_request_to_another_host_is_noticed(page: Page) -> None:
    # Of an empty page, which no policy stops.
    page.run("fetch('http://elsewhere.test/').catch(() => { window.refused = true; })")
    page.wait(lambda: page.run("return window.refused"), "an end of the request")
    assert page.others == ["http://elsewhere.test/"]


def test_the_landing_page_leads_to_it(page: Page) -> None:
    page.open("/")
    assert "never sells what is not there" in page.one("main").text
    page.tab_to("a[href='/docs/']")
    page.press(Keys.ENTER)
    page.one("#operations-Health-health")
    assert page.chromium.current_url == f"{page.address}/docs/"
    assert page.others == []
    assert page.errors == []


# --- using it ---


@in_every_look
def test_one_signs_in_browses_orders_and_sees_the_stock_fall(
    page: Page, shop: Shop, look: Look
) -> None:
    page.open("/docs/", look)
    page.sign_in(DEMO.username, DEMO.password)
    page.says(f"Signed in as {DEMO.username}")
    page.unfold("Products-listProducts")
    status, products = page.execute("Products-listProducts")
    assert (status, len(products["results"])) == (200, 10)
    before = read_stock(page)
    page.unfold("Orders-placeOrder")
    status, order = page.execute("Orders-placeOrder")
    assert status == 201
    [line] = order["items"]
    assert (line["product"]["id"], line["quantity"]) == (PRODUCT, 2)
    page.clear("Products-readProduct")
    assert page.execute("Products-readProduct")[1]["stock"] == before - 2
    with shop.signed_in() as client:
        assert stock_of(client, PRODUCT) == before - 2
    assert page.others == []
    assert page.errors == []


def read_stock(page: Page) -> int:
    """Unfolds and reads the product of the examples."""
    page.unfold("Products-readProduct")
    status, product = page.execute("Products-readProduct")
    assert (status, product["id"]) == (200, PRODUCT)
    stock: int = product["stock"]
    return stock


def test_all_of_it_works_by_keyboard_and_one_sees_where_one_is(page: Page, shop: Shop) -> None:
    page.open("/docs/")
    page.tab_to("#sign-in [name=username]", presses_max=1)
    page.press(DEMO.username)
    page.tab_to("#sign-in [name=password]", presses_max=1)
    page.press(DEMO.password, Keys.ENTER)
    page.says(f"Signed in as {DEMO.username}")
    page.tab_to("#sign-in [type=submit]", presses_max=1)
    page.tab_to("#sign-out", presses_max=1)
    with shop.signed_in() as client:
        before = stock_of(client, PRODUCT)
        page.tab_to("#operations-Orders-placeOrder .opblock-summary-control", presses_max=100)
        page.press(Keys.ENTER)
        page.one("#operations-Orders-placeOrder .execute")
        page.tab_to("#operations-Orders-placeOrder .execute")
        page.press(Keys.ENTER)
        assert page.answer("Orders-placeOrder")[0] == 201
        assert stock_of(client, PRODUCT) == before - 2


def test_who_signs_out_is_signed_out_in_the_shop_too(page: Page, shop: Shop) -> None:
    with shop.signed_in() as client:
        before = len(client.get("/api/users/me/sessions/").json())
    page.open("/docs/")
    page.sign_in(DEMO.username, DEMO.password)
    page.says("Signed in as")
    page.click("#sign-out")
    page.says("Signed out.")
    page.unfold("Users-readMe")
    assert page.execute("Users-readMe")[0] == 401
    with shop.signed_in() as client:
        assert len(client.get("/api/users/me/sessions/").json()) == before + 1


# --- what goes wrong ---


def test_a_wrong_password_is_told_in_words_and_can_be_typed_anew(page: Page) -> None:
    page.open("/docs/")
    page.sign_in(DEMO.username, "not-the-password")
    page.says("Not signed in. No active user has this name and password.")
    assert "wrong" in (page.one("#signed-in").get_attribute("class") or "")
    # The wrong one is selected: what is typed replaces it.
    page.press(DEMO.password, Keys.ENTER)
    page.says(f"Signed in as {DEMO.username}")
    assert "wrong" not in (page.one("#signed-in").get_attribute("class") or "")


def later(page: Page, seconds: int) -> None:
    """For the page this much time has passed."""
    page.run("const now = Date.now; Date.now = () => now() + arguments[0] * 1000", seconds)


def test_a_session_outlives_its_access_tokens_and_is_extended_once_for_all_who_wait(
    page: Page,
) -> None:
    page.open("/docs/")
    page.sign_in(DEMO.username, DEMO.password)
    page.says("Signed in as")
    for operation in ("Users-readMe", "Users-listSessions"):
        page.unfold(operation)
    assert page.asked("POST /api/token/refresh/") == 0
    later(page, 295)
    page.run(
        "for (const name of ['Users-readMe', 'Users-listSessions'])"
        " document.querySelector(`#operations-${name} .execute`).click()"
    )
    assert page.answer("Users-readMe")[0] == 200
    assert page.answer("Users-listSessions")[0] == 200
    assert page.asked("POST /api/token/refresh/") == 1
    page.says("Signed in as")


@pytest.mark.parametrize("seconds", [0, 295], ids=["at once", "when the access token is old"])
def test_who_was_signed_out_elsewhere_is_told_so(page: Page, shop: Shop, seconds: int) -> None:
    page.open("/docs/")
    page.sign_in(DEMO.username, DEMO.password)
    page.says("Signed in as")
    page.unfold("Users-readMe")
    with shop.signed_in() as client:
        assert client.post("/api/token/revoke-all/").status_code == 204
    if seconds:
        later(page, seconds)
        assert page.execute("Users-readMe")[0] == 401
    else:
        # An access token that is out works until it expires, unless the shop changes its key.
        assert page.execute("Users-readMe")[0] == 200
        change_the_key(shop)
        page.clear("Users-readMe")
        assert page.execute("Users-readMe")[0] == 401
    page.says("Your session has ended. Sign in again to go on.")
    assert not page.chromium.find_element("id", "sign-out").is_displayed()
    page.sign_in(DEMO.username, DEMO.password)
    page.says("Signed in as")
    page.clear("Users-readMe")
    assert page.execute("Users-readMe")[0] == 200


def change_the_key(shop: Shop) -> None:
    assert shop.server.stop() == 0
    (shop.folder / "var/secret_key").unlink()
    shop.server.start()


def test_who_cannot_reach_the_shop_is_told_so_and_stays_signed_in(page: Page, shop: Shop) -> None:
    page.open("/docs/")
    page.sign_in(DEMO.username, DEMO.password)
    page.says("Signed in as")
    page.unfold("Users-readMe")
    later(page, 295)
    assert shop.server.stop() == 0
    page.click("#operations-Users-readMe .execute")
    page.says("Your session could not be extended. The shop cannot be reached. Try again.")
    shop.server.start()
    page.wait(lambda: page.execute("Users-readMe")[0] == 200, "an answer to somebody signed in")


def test_an_order_that_is_too_large_is_refused_with_what_there_is(page: Page, shop: Shop) -> None:
    page.open("/docs/")
    page.sign_in(DEMO.username, DEMO.password)
    page.says("Signed in as")
    page.unfold("Orders-placeOrder")
    body = page.one("#operations-Orders-placeOrder textarea")
    body.clear()
    body.send_keys(str(order_of(PRODUCT, 100_000)).replace("'", '"'))
    status, problem = page.execute("Orders-placeOrder")
    assert (status, problem["code"]) == (409, "out_of_stock")
    with shop.signed_in() as client:
        assert problem["lines"][0]["available"] == stock_of(client, PRODUCT)


# --- seeing it ---

# What Swagger UI does, and this page cannot change: in each of its rows is a button with a button
# inside, and a label has the id of its select.
_OF_SWAGGER_UI = {"nested-interactive", "duplicate-id-active", "duplicate-id-aria"}
# Browsers let the keyboard reach what scrolls, without the attribute that this rule looks for.
_OF_BROWSERS = {"scrollable-region-focusable"}


def unfold_some(page: Page) -> None:
    """Something of everything: parameters, bodies, an answer, a schema."""
    page.sign_in(ADMIN.username, ADMIN.password)
    page.says("Signed in as")
    for operation in ("Products-listProducts", "Products-archiveProduct", "Orders-amendOrder"):
        page.unfold(operation)
    assert page.execute("Products-listProducts")[0] == 200
    page.click("section.models .json-schema-2020-12-accordion, section.models .models-control")


@pytest.mark.parametrize("look", [DESKTOP, PHONE_DARK], ids=lambda look: look.name)
@pytest.mark.parametrize("path", ["/", "/docs/"])
def test_everybody_can_read_it_and_a_screen_reader_too(page: Page, look: Look, path: str) -> None:
    """The rules of WCAG 2 that a program can check: contrast, names of fields, language, title."""
    page.open(path, look)
    assert page.chromium.title in {"Shop", "Shop API"}
    if path == "/docs/":
        unfold_some(page)
    assert broken_rules(page) == {}


def test_the_dialog_for_tokens_can_be_read_in_the_dark(page: Page) -> None:
    page.open("/docs/", DESKTOP_DARK)
    page.click(".auth-wrapper .authorize")
    page.one(".modal-ux input")
    assert broken_rules(page, ".modal-ux") == {}


def broken_rules(page: Page, within: str = "html") -> dict[str, list[str]]:
    """The rules of axe-core that something breaks, with what does."""
    spec = find_spec("axe_core_python")
    assert spec is not None
    assert spec.submodule_search_locations
    page.run((Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text())
    result: dict[str, Any] = page.chromium.execute_async_script(
        "const rules = {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']};"
        "axe.run(document.querySelector(arguments[0]), rules).then(arguments[1])",
        within,
    )
    assert len(result["passes"]) > 5
    return {
        rule["id"]: [f"{node['html']}: {node['failureSummary']}" for node in rule["nodes"][:5]]
        for rule in result["violations"]
        if rule["id"] not in _OF_SWAGGER_UI | _OF_BROWSERS
    }


def test_faint_words_are_noticed(page: Page) -> None:
    """Else the tests above could not fail."""
    page.open("/")
    page.run("document.querySelector('p').style.color = '#aaa'; document.title = ''")
    assert set(broken_rules(page)) == {"color-contrast", "document-title"}


@pytest.mark.parametrize("look", [PHONE, PHONE_DARK], ids=lambda look: look.name)
def test_on_a_phone_nothing_sticks_out(page: Page, look: Look) -> None:
    page.open("/docs/", look)
    unfold_some(page)
    assert page.run("return document.documentElement.scrollWidth") == look.width
    assert page.run(_STICKING_OUT) == []


# Of what one reads and uses: what is wider than the frame that it stands in.
_STICKING_OUT = """
return [...document.querySelectorAll("#sign-in *, #docs :is(a, button, input, select, td, th)")]
  .filter((each) => {
    const frame = each.closest(".opblock, #sign-in") ?? document.documentElement;
    return each.checkVisibility()
      && each.getBoundingClientRect().right > frame.getBoundingClientRect().right + 1;
  })
  .map((each) => each.outerHTML.slice(0, 150));
"""


@in_every_look
@pytest.mark.parametrize("path", ["/", "/docs/"])
def test_it_is_as_light_or_dark_as_one_wants(page: Page, look: Look, path: str) -> None:
    page.open(path, look)
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    words = page.run(
        "return getComputedStyle(document.querySelector(arguments[0])).color",
        "#docs .info .title" if path == "/docs/" else "h1",
    )
    is_dark = brightness(ground) < brightness(words)
    assert is_dark == (look.scheme == "dark"), (ground, words)


def brightness(color: str) -> int:
    """Of `rgb(1, 2, 3)`."""
    return sum(int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))
