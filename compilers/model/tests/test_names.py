"""Forms of names: what fits, and what does not by alphabet or by length."""

import pytest

from compilers.model.names import DNS_LABEL, DNS_SUBDOMAIN, UID, NameForm

FORMS = (DNS_LABEL, DNS_SUBDOMAIN, UID)


@pytest.mark.parametrize(
    ("text", "fitting"),
    [
        ("web", FORMS),
        ("web-0", FORMS),
        ("0", FORMS),
        ("a.b-c.d", (DNS_SUBDOMAIN, UID)),
        ("a" * 63, FORMS),
        ("a" * 64, (DNS_SUBDOMAIN, UID)),
        ("a" * 253, (DNS_SUBDOMAIN, UID)),
        ("a" * 254, ()),
        ("Web_1", (UID,)),
        ("web-", (UID,)),
        ("a..b", (UID,)),
        ("-web", ()),
        (".web", ()),
        ("", ()),
        ("web\n", ()),
        ("wéb", ()),
        ('x" ; accept', ()),
        ("\x1b[31m", ()),
    ],
)
def test_a_text_fits_the_forms_whose_alphabet_and_length_it_keeps(
    text: str, fitting: tuple[NameForm, ...]
) -> None:
    assert tuple(form for form in FORMS if form.fits(text)) == fitting
