"""Quantities: what Kubernetes' own tables say of parsing, printing and rounding."""

# Tables of cases read best with a case on a line, however long.
# ruff: noqa: E501

import pytest

from ksql.schema import quantities
from ksql.schema.quantities import Quantity, parse


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"), ("0Ki", "0"), ("0.0", "0"), ("-0", "0"), ("+5", "+5"), (".5", "500m"), ("1.", "1."),
        ("1000m", "1"), ("1500m", "1500m"), ("1.5", "1500m"), ("0.5", "500m"), ("100k", "100k"), ("1000k", "1M"),
        ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1Ki", "1Ki"), ("0.5Ki", "512"), ("1023", "1023"), ("1025Ki", "1025Ki"),
        ("0.1Ki", "102400m"), ("-1Gi", "-1Gi"), ("-500m", "-500m"), ("1e3", "1e3"), ("1E3", "1E3"), ("1E", "1E"), ("12e6", "12e6"),
        ("1e-3", "1e-3"), ("5e2", "500"), ("1e20", "100e18"), ("0.1n", "1n"), ("1.0000000001", "1000000001n"), ("100u", "100u"),
        (" 2Gi ", "2Gi"), ("0009", "0009"), ("1.250", "1.250"), ("0.250", "250m"),
    ],
)  # fmt: skip
def test_a_quantity_is_printed_in_its_canonical_form(text: str, canonical: str) -> None:
    assert quantities.canonical(text) == canonical


def test_numbers_are_amounts_too() -> None:
    assert (quantities.canonical(2), quantities.canonical(1.5), quantities.canonical(1e22)) == ("2", "1500m", "10e21")


@pytest.mark.parametrize("text", ["", "abc", "1.1.M", "1+1.0M", "0.1am", "1 2", "1٣", "1" * 600])
def test_what_is_no_quantity_is_refused_with_the_expression(text: str) -> None:
    with pytest.raises(ValueError, match=r"^quantities must match the regular expression '\^"):
        parse(text)


@pytest.mark.parametrize("text", ["1e", "1ki", "1Kii", "0.1mi", "-3.01e-", "--1", "1EE"])
def test_a_suffix_that_does_not_exist_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"^unable to parse quantity's suffix$"):
        parse(text)


def test_a_boolean_is_no_amount_even_after_the_number_it_equals() -> None:
    assert quantities.milli(1) == 1000
    with pytest.raises(ValueError, match="quantities must match"):
        quantities.milli(True)


def test_rounding_goes_away_from_zero() -> None:
    assert (quantities.value("1500m"), quantities.value("-1500m"), quantities.milli("1u"), quantities.value("1n")) == (
        2, -2, 1, 1,
    )  # fmt: skip
    assert str(quantities.rounded_to_milli(parse("1234567u"))) == "1235m"


def test_amounts_compare_by_what_they_are_not_by_how_they_are_written() -> None:
    assert parse("1Gi") == parse("1073741824") == parse("1024Mi")
    assert hash(parse("1")) == hash(parse("1000m"))
    assert parse("1G") < parse("1Gi") <= parse("1024Mi")
    assert (quantities.compare("1", "1000m"), quantities.compare("2", "1"), quantities.compare("1m", "1")) == (0, 1, -1)


def test_sums_keep_the_notation_of_their_first_part_that_is_not_zero() -> None:
    assert str(parse("1Gi") + parse("1Gi")) == "2Gi"
    assert str(quantities.ZERO + parse("512Mi")) == "512Mi"
    assert str(parse("1500m") - parse("500m")) == "1"
    assert str(parse("1Gi") - parse("1Gi")) == "0"
    assert -parse("1") == parse("-1")
    assert not quantities.ZERO and parse("1n")


def test_a_giant_exponent_costs_nothing_and_is_capped() -> None:
    assert parse("1e999999999").value == quantities.VALUE_MAX
    assert parse("1e-999999999") == Quantity(1)
    assert parse("9" * 400).value == int("9" * 400)
    assert parse("9999999Ei").value == quantities.VALUE_MAX
