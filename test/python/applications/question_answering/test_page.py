"""The page in a real browser: Debian's Chromium, without a window, driven by selenium."""

import shutil
import threading

import pytest

pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
pytest.importorskip("selenium", reason="the package selenium, which drives the browser, is not installed")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)", allow_module_level=True)

import uvicorn
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from secateur.applications.question_answering import server

ATTACK = (
    "<script>document.title = 'broken'</script><img src=x onerror=\"document.title = 'broken'\"> "
    "😀 Its wheel was built in 1742 by </p></section><svg onload=\"document.title='broken'\"> Amos Field & sons. "
)


@pytest.fixture(scope="module")
def address(reader):
    listening = server.listen("127.0.0.1", 0)
    running = uvicorn.Server(uvicorn.Config(server.create_app(reader), log_level="warning"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    running.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, address):
    browser.get(address)
    until(browser, lambda: browser.find_element(By.ID, "context").get_attribute("value"))
    return browser


def until(browser, condition):
    return WebDriverWait(browser, 30, 0.05).until(lambda _: condition())


def write(browser, name, text):
    # Keys cannot be sent for characters beyond the basic plane.
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    browser.execute_script(script, browser.find_element(By.ID, name), text)


def best(browser):
    found = browser.find_elements(By.CSS_SELECTOR, "#answer .best")
    return found[0].text if found else None


def messages(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_a_question_is_answered_and_found_in_the_text(page, reader):
    text = page.find_element(By.ID, "context").get_attribute("value")
    assert "Apollo 11" in text
    question = page.find_element(By.ID, "question")
    question.clear()
    question.send_keys("Who built it?", Keys.ENTER)
    expected = reader.answer(text, "Who built it?", 5, compare=True)
    until(page, lambda: best(page))
    assert best(page) == expected.answers[0].text
    marks = [m.get_attribute("textContent") for m in page.find_elements(By.CSS_SELECTOR, "#text mark")]
    assert sorted(marks) == sorted(a.text for a in expected.answers)
    assert page.find_element(By.ID, "text").get_attribute("textContent") == text
    assert page.find_element(By.CSS_SELECTOR, "#answer .sentence mark").text == expected.answers[0].text
    assert len(page.find_elements(By.CSS_SELECTOR, "#candidates li")) == 5
    # Both models, side by side.
    names = [found.text for found in page.find_elements(By.CSS_SELECTOR, "#times dt b")]
    assert names[0] == "dense" and names[1].endswith("% pruned")
    assert not messages(page)


def test_what_a_text_holds_stays_text(page, reader):
    write(page, "context", ATTACK)
    write(page, "question", "<b>Who</b> built it?")
    page.find_element(By.ID, "ask").click()
    until(page, lambda: best(page))
    expected = reader.answer(ATTACK, "<b>Who</b> built it?", 5)
    assert best(page) == " ".join(expected.answers[0].text.split())
    assert page.find_element(By.ID, "text").get_attribute("textContent") == ATTACK
    marks = [m.get_attribute("textContent") for m in page.find_elements(By.CSS_SELECTOR, "#text mark")]
    assert sorted(marks) == sorted(a.text for a in expected.answers)
    assert not page.find_elements(
        By.CSS_SELECTOR, ".results img, #reading img, .results script, svg, #text *:not(mark)"
    )
    assert page.title == "Ask a text · Secateur"
    assert not messages(page)


def test_the_policy_stops_what_would_be_injected(page):
    """What the page's own code must never do would have no effect either."""
    page.execute_script("const s = document.createElement('script'); s.textContent = 'document.title = 1'; "
                        "document.body.append(s)")  # fmt: skip
    assert page.title == "Ask a text · Secateur"
    assert any("Content Security Policy" in message for message in messages(page))


def test_by_keyboard_alone(page):
    order = []
    for _ in range(6):
        page.switch_to.active_element.send_keys(Keys.TAB)
        order.append(page.switch_to.active_element.get_attribute("id"))
    assert order[:5] == ["context", "question", "compare", "ask", "example"]
    page.find_element(By.ID, "context").send_keys(Keys.CONTROL, Keys.ENTER)
    until(page, lambda: best(page))
    button = page.find_element(By.CSS_SELECTOR, "#candidates li:nth-child(3) button")
    button.send_keys(Keys.ENTER)
    chosen = page.find_elements(By.CSS_SELECTOR, "#text mark.chosen")
    assert [mark.get_attribute("id") for mark in chosen] == ["mark-2"]
    assert page.switch_to.active_element.get_attribute("id") == "text"


def test_faults_are_told(page):
    write(page, "question", " ")
    page.find_element(By.ID, "ask").click()
    alarm = page.find_element(By.ID, "alarm")
    until(page, alarm.is_displayed)
    assert alarm.text == "The question is empty."
    write(page, "question", "abcdef " * 20)
    page.find_element(By.ID, "ask").click()
    until(page, lambda: "120 tokens" in alarm.text)
    write(page, "question", "Who built it?")
    page.find_element(By.ID, "ask").click()
    until(page, lambda: best(page))
    assert not alarm.is_displayed()


def test_a_phone_needs_no_sideways_scrolling(page):
    try:
        size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        write(page, "context", "word" * 100 + " " + ATTACK)
        page.find_element(By.ID, "ask").click()
        until(page, lambda: best(page))
        assert page.execute_script("return document.documentElement.scrollWidth") == 360
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
