import re

import pytest

FAR_BELOW_5000 = 2500  # ms: a request that was cancelled ends long before the service's 5000 ms, on any machine


@pytest.fixture
def scenes(example):
    """The output: for each scene of the story, its lines as {name: (outcome, ms)}."""
    ran = example("product")
    assert (ran.stderr, ran.returncode) == ("", 0), ran.stdout
    scenes = []
    for line in ran.stdout.splitlines():
        if not line.startswith(" "):
            scenes.append({})
        elif m := re.fullmatch(r"  (\w+) +(.*?) +(\d+) ms", line):
            scenes[-1][m[1]] = (m[2], int(m[3]))
        else:
            scenes[-1]["left over"] = line.strip()
    assert len(scenes) == 4, ran.stdout
    return scenes


def test_the_product_story(scenes):
    both, failing, slow, left_over = scenes

    assert both["availability"][0] == "7 in stock"
    assert both["price"][0] == "19.99"
    assert both["product"][0] == "7 in stock at 19.99"
    assert both["product"][1] >= 99

    assert failing["price"][0] == failing["product"][0] == "503 Service Unavailable"
    assert failing["availability"][0] == "cancelled"
    assert failing["availability"][1] < FAR_BELOW_5000
    assert 19 <= failing["product"][1] < FAR_BELOW_5000

    assert slow["price"][0] == "19.99"
    assert slow["availability"][0] == "cancelled"
    assert slow["product"][0] == "deadline exceeded"
    assert 149 <= slow["product"][1] < FAR_BELOW_5000

    assert re.fullmatch(r"(\w+( \w+)* 0(, )?)+", left_over["left over"])
