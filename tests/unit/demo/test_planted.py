"""The demo's secrets are of the shapes that they claim, fresh, and found wherever they stand."""

from pathlib import Path

from indelible.demo.planted import Planted, search


def luhn(number: str) -> int:
    total = 0
    for place, digit in enumerate(reversed([int(char) for char in number if char.isdigit()])):
        total += digit if place % 2 == 0 else sum(divmod(2 * digit, 10))
    return total % 10


def test_cards_have_a_right_check_digit() -> None:
    for _ in range(200):
        card = Planted.draw().card
        assert [len(group) for group in card.split()] == [4, 4, 4, 4]
        assert luhn(card) == 0


def test_every_value_is_new_in_every_run() -> None:
    one, two = Planted.draw().values(), Planted.draw().values()
    assert one.keys() == two.keys()
    assert all(one[name] != two[name] for name in one)
    assert len(set(one.values())) == len(one)


def test_the_search_finds_each_value_in_the_middle_of_a_file(tmp_path: Path) -> None:
    values = Planted.draw().values()
    for name, value in values.items():
        file = tmp_path / "deep" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"\0\xff" + value.encode() + b"\n")
    count, size, found = search([tmp_path], values)
    assert count == len(values)
    assert size == sum(len(value) + 3 for value in values.values())
    assert {line.split(" in ")[0] for line in found} == set(values)
    assert not any(value in line for value in values.values() for line in found)


def test_the_search_finds_nothing_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_text('{"email":"[EMAIL]"}\n')
    assert search([tmp_path], Planted.draw().values()) == (1, 20, [])
